"""How large a run of the main job is."""

import dataclasses
from collections.abc import Mapping

INTERVENTIONS = ("stronger", "search", "both")


@dataclasses.dataclass(frozen=True)
class Scale:
    """How large a run is.

    Attributes:
      tasks: training tasks, by type and intervention; what is not there is not played.
      alone: further training tasks that the base actor plays alone, by type, for process reward
        models.
      repetitions: of those with a stronger model, by type; if a type is missing, as many as
        `collect` plays. Those with search are played once.
      val_tasks: of each type.
      test_tasks: by type.
      forecast_tasks: of validation, played with help at random: the tables of forecasts.
      search_tasks, search_val_tasks: test and validation tasks where search takes part: it is dear.
      train_tasks: of those evaluated for Table 4.
      seeds: of conditions with chance in them.
      budgets: calls a task; the first three are r high, mid, low.
      variants: of the helper that are trained besides the method, for S_obj and a stronger model.
      whole_tasks: help for whole tasks, too, and an oracle's, of so many test tasks; 0 for neither.
      curve: more points of the curve of asking at random.
      all_settings: variants at each setting, not at r mid alone.
      tune: of process reward models.
      tokens: of each decoder of those that read replies, by type.
      members: decoders of these, by type; if a type is missing, one. With search they are those of
        the stronger model's.
      less_tokens: of those that read states alone, or actions.
      tune_helper: of helpers, whose decoder is the process reward model's.
      accelerator: does the work, so that stages are not bound to a core each.
      backbone: flags of train_actor, where no language model is given.
    """

    tasks: Mapping[str, Mapping[str, int]]
    alone: Mapping[str, int]
    repetitions: Mapping[str, int]
    val_tasks: int
    test_tasks: Mapping[str, int]
    forecast_tasks: int
    search_tasks: int
    search_val_tasks: int
    train_tasks: int
    seeds: int
    budgets: tuple[float, ...]
    variants: tuple[str, ...]
    whole_tasks: int
    curve: bool
    all_settings: bool
    tune: str
    tune_helper: str
    tokens: Mapping[str, int]
    members: Mapping[str, int]
    less_tokens: int
    backbone: tuple[str, ...]
    accelerator: bool = False


_ALL = ("labels", "balanced", "trajectory", "advantage", "one_cost")
_ALL += ("paper_rule", "state_alone", "prior_0.05", "prior_1", "prior_5")
SCALES = {
    "smoke": Scale(
        tasks={"s_obj": {"stronger": 60}},
        alone={"s_obj": 20},
        repetitions={},
        val_tasks=20,
        test_tasks={"s_obj": 30},
        forecast_tasks=20,
        search_tasks=30,
        search_val_tasks=20,
        train_tasks=30,
        seeds=2,
        budgets=(0.5, 1.0, 2.0),
        variants=("labels", "trajectory", "prior_0.05"),
        whole_tasks=0,
        curve=False,
        all_settings=True,
        tune="head",
        tune_helper="head",
        tokens={"s_obj": 100_000},
        members={},
        less_tokens=100_000,
        backbone=("--tasks=40", "--steps=30", "--width=64", "--depth=2", "--played=0"),
    ),
    "small": Scale(
        tasks={
            "s_obj": {"stronger": 200, "search": 60, "both": 60},
            "pnp": {"stronger": 300},
            "s_hum": {"stronger": 150},
        },
        alone={"s_obj": 400, "pnp": 1200},
        repetitions={"pnp": 1},
        val_tasks=200,
        test_tasks={"s_obj": 300, "pnp": 200, "s_hum": 200},
        forecast_tasks=60,
        search_tasks=40,
        search_val_tasks=40,
        train_tasks=150,
        seeds=3,
        budgets=(0.5, 1.0, 2.0, 0.25, 0.75, 1.5, 3.0),
        variants=_ALL,
        whole_tasks=60,
        curve=False,
        all_settings=False,
        tune="full",
        tune_helper="head",
        tokens={"s_obj": 800_000, "pnp": 700_000, "s_hum": 300_000},
        members={"s_obj": 3, "pnp": 3},
        less_tokens=300_000,
        backbone=("--tasks=300", "--steps=300", "--width=96", "--depth=3", "--played=0"),
    ),
    "paper": Scale(
        tasks={
            "s_obj": dict.fromkeys(INTERVENTIONS, 1000),
            "pnp": dict.fromkeys(INTERVENTIONS, 1000),
            "s_hum": {"stronger": 1000},
        },
        alone=dict.fromkeys(("s_obj", "pnp", "s_hum"), 1000),
        repetitions={},
        val_tasks=200,
        test_tasks=dict.fromkeys(("s_obj", "pnp", "s_hum"), 200),
        forecast_tasks=200,
        search_tasks=200,
        search_val_tasks=200,
        train_tasks=1000,
        seeds=3,
        budgets=(0.5, 1.0, 2.0, 0.25, 0.75, 1.5, 3.0),
        variants=_ALL,
        whole_tasks=200,
        curve=True,
        all_settings=True,
        tune="lora",
        tune_helper="lora",
        tokens=dict.fromkeys(("s_obj", "pnp", "s_hum"), 20_000_000),
        members={},
        less_tokens=20_000_000,
        backbone=(),
        accelerator=True,
    ),
}
