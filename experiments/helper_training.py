"""Trains a helper from labelled states: what `experiments.train_helper` does.

What it learns of a state, at a cost r or at all costs of the labels with r told to it:

    labels      the best decision: the paper's helper (Section 5.3, phase 3), on all states
    balanced    likewise, each decision weighing as much as any other
    trajectory  likewise, on the states that the best policy comes to (Section 6.2)
    advantage   A_i, what help i adds to the value of nohelp, at cost r
    gains       what it adds to success and to the calls of each help, which make A_i at any cost

With `states` "trajectory" any of them is learnt on the states alone that the best policy comes to
at the cost in question; the target of that name is labels learnt so.

Only states are used in which nohelp and a help both have values. A share of the tasks is held out
and says how good it is; never single states.
"""

import dataclasses
import functools
import pathlib
from typing import Any, Literal, NamedTuple

import numpy as np

from adapters.head_folder import BACKBONE, HEAD
from adapters.json_file import VERSION, read_json
from adapters.labels import Labels
from adapters.logs.texts import players
from adapters.model_helper import NAME
from adapters.numbers import Numbers
from adapters.prm import NAME as PRM_NAME
from experiments import tuning
from experiments.run_files import check_settings, compare_settings, or_none, write_json
from experiments.tuning import Backbone, Tuning
from models.calibration import split_tasks
from models.heads import HeadConfig, decide, margins
from models.lookup import StoredHead
from models.losses import Policy, Regression, class_weights
from models.prefixes import Reads

Target = Literal["labels", "balanced", "trajectory", "advantage", "gains"]
TARGETS: tuple[Target, ...] = ("labels", "balanced", "trajectory", "advantage", "gains")
_KINDS = {"advantage": "advantage", "gains": "gains"}  # of the head; else "policy"
LABELS = "labels.npz"
_LEAST_SCALE = 0.05  # of a number that hardly ever changes


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a helper is made from.

    Attributes:
      labels: folder with labels.npz.
      backbone: folder of the language model.
      target: what it learns.
      cost: "all", a cost of the labels ("0.05"; "0.05/0.1" with two helps), or its place ("#3").
      states: all that were visited, or those on the trajectories of the best policy alone.
      weights: of states: as often as they were visited, or all alike.
      held_out: share of the tasks.
      numbers: whether it reads numbers beside the texts (`adapters.numbers`).
      tuning: how it is trained.
    """

    labels: str
    backbone: str
    target: Target = "gains"
    cost: str = "all"
    states: Literal["all", "trajectory"] = "all"
    weights: Literal["visits", "uniform"] = "visits"
    held_out: float = 0.1
    numbers: bool = False
    tuning: Tuning = dataclasses.field(default_factory=Tuning)

    @property
    def kind(self) -> str:
        """Of the head."""
        return _KINDS.get(self.target, "policy")


def train_helper(recipe: Recipe, out: pathlib.Path) -> dict[str, Any]:
    """Makes the folder `out`, or goes on with it.

    Returns:
      What helper.json says.

    Raises:
      OSError, ValueError: the labels or the language model are not as expected, or `out` was begun
        with another recipe.
      DivergedError: as `models.training.train`.
    """
    path = pathlib.Path(recipe.labels) / LABELS
    labels = Labels.load(path)
    try:
        columns = _columns(labels, recipe.cost)
        examples = _examples(labels, columns, recipe)
        held = split_tasks(labels.task.tolist(), recipe.held_out, seed=recipe.tuning.seed)
        learnt, judged = (examples.of(chosen[examples.state]) for chosen in (~held, held))
        if not len(learnt.state) or not len(judged.state):
            raise ValueError(
                f"{len(learnt.state)} examples to learn from and {len(judged.state)} held out, "
                "expected some of each"
            )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    _check_style(pathlib.Path(recipe.backbone), labels.style)
    backbone = tuning.load_backbone(recipe.backbone, recipe.tuning)
    numbers, beside = _numbers(labels, learnt.state, recipe)
    config = _head_config(labels, columns, recipe, backbone, beside[learnt.state])
    settings = out / "settings.json", dataclasses.asdict(recipe)
    compare_settings(*settings)
    found, place = np.unique(judged.state, return_inverse=True)
    texts = [labels.text[i] for i in found]
    tuning.check_lengths(backbone, texts, "held out")
    states, reads = learnt.reads(config, labels.costs, beside)
    head = tuning.tune(
        backbone,
        config,
        [labels.text[i] for i in states],
        reads,
        Policy() if config.kind == "policy" else Regression(),
        recipe.tuning,
        out / "run",
        bias=learnt.bias(config),
        begin=functools.partial(check_settings, *settings),
    )
    hidden = tuning.hidden_states(backbone, texts, recipe.tuning, out / "run")[place]
    features = judged.features(config, labels.costs, beside)
    outputs = StoredHead(head)(hidden, features)
    tuning.save_backbones([backbone], out / BACKBONE, recipe.tuning)
    head.save(out / HEAD)
    if numbers is not None:
        numbers.save(out)
    values = {
        "version": VERSION,
        "style": labels.style,
        "too_long": recipe.tuning.too_long,
        "helps": list(labels.helps),
        "numbers": recipe.numbers,
        "kind": config.kind,
        "target": recipe.target,
        "cost": None if config.cost_range else labels.costs[columns[0]].tolist(),
        "cost_range": config.cost_range,
        "quality": _quality(labels, judged, outputs, config),
        "threshold": 0.0,
    }
    write_json(out / NAME, values)
    return values


class _Examples(NamedTuple):
    """N examples, each of a state at a cost; ordered by state.

    Attributes:
      state, column: int [N], of the labels.
      target: [N, ...] of the loss.
      weight: [N] or as target.
    """

    state: np.ndarray
    column: np.ndarray
    target: np.ndarray
    weight: np.ndarray

    def of(self, chosen: np.ndarray) -> "_Examples":
        return _Examples(*(values[chosen] for values in self))

    def features(self, config: HeadConfig, costs: np.ndarray, beside: np.ndarray) -> np.ndarray:
        told = costs[self.column] if config.cost_range else None
        numbers = beside[self.state] if beside.shape[1] else None
        return config.features(len(self.state), numbers=numbers, costs=told)

    def reads(
        self, config: HeadConfig, costs: np.ndarray, beside: np.ndarray
    ) -> tuple[np.ndarray, Reads]:
        """The states whose texts are read, and the reads of them."""
        states, text = np.unique(self.state, return_inverse=True)
        target = self.target if config.kind == "policy" else self.target.astype(np.float32)
        return states, Reads(
            text, target, self.weight.astype(np.float32), self.features(config, costs, beside)
        )

    def bias(self, config: HeadConfig) -> np.ndarray:
        """Outputs that are best for all examples alike: where training begins."""
        if config.kind == "policy":
            share = np.bincount(self.target, self.weight, config.num_outputs) / self.weight.sum()
            return np.log(np.maximum(share, 1e-3))
        return (self.weight * self.target).sum(0) / np.maximum(self.weight.sum(0), 1e-9)


def _columns(labels: Labels, cost: str) -> np.ndarray:
    """Which of the costs of the labels are meant."""
    if cost == "all":
        found = np.flatnonzero((labels.costs > 0).all(axis=1))
        if len(found) < 2:
            raise ValueError(f"{len(found)} costs above 0, expected 2 or more for --cost=all")
        return found
    try:
        if cost.startswith("#"):
            found = int(cost[1:])
            if not 0 <= found < len(labels.costs):
                raise ValueError(f"--cost is {cost!r}, expected #0 to #{len(labels.costs) - 1}")
            return np.array([found])
        wanted = [float(part) for part in cost.split("/")]
    except ValueError as error:
        if "expected" in str(error):
            raise
        raise ValueError(f"--cost is {cost!r}, expected all, a cost or #PLACE") from None
    return np.array([labels.cost_index(wanted)])


def _examples(labels: Labels, columns: np.ndarray, recipe: Recipe) -> _Examples:
    """Of the recipe's states, those that can be learnt from."""
    gained, called = labels.gains  # [S, K, R], [S, K, K, R]
    known = labels.comparable[..., None] & np.isfinite(gained) & np.isfinite(called).all(axis=2)
    number = labels.visits.sum(axis=1) if recipe.weights == "visits" else np.ones(len(labels.key))
    state, place = np.nonzero(known[..., columns].any(axis=1))
    if not len(state):
        raise ValueError(
            "no state has values of both nohelp and a help, expected some to learn from"
        )
    column = columns[place]
    weight = np.maximum(number[state], 1).astype(float)
    if "trajectory" in (recipe.states, recipe.target):
        there = labels.reach[state, column] > 0
        state, column, weight = state[there], column[there], weight[there]
    known = known[state, :, column]  # [N, K]
    if recipe.kind == "policy":
        target = labels.policy[state, column].astype(np.int32)
        if recipe.target == "balanced" and len(target):
            weight = weight * _balance(target, weight, 1 + len(labels.helps))
    elif recipe.target == "advantage":
        target, weight = labels.advantage[state, :, column], weight[:, None] * known
    else:
        target = np.concatenate(
            [gained[state, :, None, column], called[state, :, :, column]], axis=2
        ).reshape(len(state), -1)
        weight = np.repeat(weight[:, None] * known, 1 + len(labels.helps), axis=1)
    if recipe.kind != "policy" and len(target):
        target = np.where(weight > 0, target, 0.0)
        weight = weight / _variance(target, weight)
    return _Examples(state, column, target, weight / max(weight.mean(), 1e-9))


def _balance(target: np.ndarray, weight: np.ndarray, number: int) -> np.ndarray:
    """[N] so that with `weight` each decision weighs the same."""
    total = np.bincount(target, weight, number)
    return (
        class_weights(target, number)[target]
        * np.bincount(target, minlength=number)[target]
        / total[target]
    )


def _variance(target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Of each column: differences in calls are larger than those in success."""
    total = np.maximum(weight.sum(0), 1e-9)
    mean = (weight * target).sum(0) / total
    return np.maximum((weight * (target - mean) ** 2).sum(0) / total, 1e-6)


def _numbers(
    labels: Labels, learnt: np.ndarray, recipe: Recipe
) -> tuple[Numbers | None, np.ndarray]:
    """What gives numbers of texts, fitted to the states `learnt`; and all states' [S, F]."""
    if not recipe.numbers:
        return None, np.zeros((len(labels.key), 0), np.float32)
    texts = [labels.text[i] for i in np.unique(learnt)]
    numbers = Numbers.fit(texts, players(texts, labels.helps), seed=recipe.tuning.seed)
    return numbers, numbers.for_head(labels.text)


def _head_config(
    labels: Labels, columns: np.ndarray, recipe: Recipe, backbone: Backbone, beside: np.ndarray
) -> HeadConfig:
    costs = labels.costs[columns]
    conditioned = recipe.cost == "all"
    return HeadConfig(
        recipe.kind,
        len(labels.helps),
        cost_range=(float(costs.min()), float(costs.max())) if conditioned else None,
        # Without an inner layer the cost would be added to what the text says, and no more.
        inner_size=recipe.tuning.inner_size(backbone, needed=conditioned or recipe.numbers),
        feature_means=tuple(beside.mean(axis=0).tolist()),
        feature_scales=tuple(np.maximum(beside.std(axis=0), _LEAST_SCALE).tolist()),
    )


def _check_style(backbone: pathlib.Path, style: str) -> None:
    """Raises ValueError where the language model was tuned to texts of another style."""
    path = backbone.parent / PRM_NAME
    if path.exists() and (found := read_json(path, {"style": str})["style"]) != style:
        raise ValueError(f"{path}: style is {found!r}, expected {style!r} as the labels have")


def _quality(
    labels: Labels, judged: _Examples, outputs: np.ndarray, config: HeadConfig
) -> dict[str, Any]:
    """On the states held out, each example alike, asking at threshold 0.

    asked and labelled are the shares of the examples where the helper, and the best policy, asks;
    captured is the advantage of asking so as a share of that of asking wherever it is above 0; r2
    is of the advantage; accuracy of the label.
    """
    costs = labels.costs[judged.column]
    found = margins(outputs, config, costs if config.kind == "gains" else None)
    true = np.nan_to_num(labels.advantage[judged.state, :, judged.column])
    decided, label = decide(found), labels.policy[judged.state, judged.column]
    taken = np.concatenate([np.zeros((len(true), 1)), true], axis=1)
    best = np.maximum(true.max(axis=1), 0).sum()
    won = np.take_along_axis(taken, decided[:, None], axis=1).sum()
    values = dict(
        asked=np.mean(decided > 0),
        labelled=np.mean(label > 0),
        captured=won / best if best > 0 else np.nan,
        accuracy=np.mean(decided == label),
    )
    if config.kind != "policy":
        spread = ((true - true.mean(0)) ** 2).sum()
        values["r2"] = 1 - ((found - true) ** 2).sum() / spread if spread > 0 else np.nan
    sizes = dict(states=len(set(judged.state.tolist())), examples=len(judged.state))
    return or_none(values) | sizes | dict(tasks=len(set(labels.task[judged.state].tolist())))
