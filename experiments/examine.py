"""Looks into episodes of test tasks: stopping oneself, toggling, an example.

    python -m experiments.examine --type=s_obj --tasks=200 --actor=greedy --intervention=reasoner \
        --prm=PRM --evaluation=EVALUATION --conditions=CONDITIONS --out=OUT

Plays some of the conditions that `experiments.evaluate` has played, with the dials it has set, and
keeps what it does not keep: every turn, and p(s) of the process reward model in it. In
OUT/examine.json are

    self_regulation  how often "does not stop" and "succeeds" agree for the base actor alone; it
                     stops as 1 - p(s) exceeds the threshold that is best on validation tasks;
                     a row for each process reward model, and for the most of 1 - p(s) in all
                     states (the paper's rule) and its mean in the last two
    turns            of each condition: calls, turns, and how often who plays changes, a task
    examples         a task on which thresholds on p(s) toggle, and one that help decides

The first task that shows the thing is taken, and the page says so: no example proves anything.
"""

import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from absl import app, flags, logging

from adapters.episodes import Episode, play
from adapters.helpers import Watch
from adapters.made import check_made
from adapters.prm import PRM
from adapters.proposals import REPLY, Proposals
from adapters.protocols import State
from adapters.seeds import derive
from adapters.spending import SpendingLimit
from adapters.step import Step
from experiments import conditions as conditions_lib
from experiments import known_replies, spending_flags, stored_states
from experiments.bench.runner import replace_text
from experiments.conditions import Condition, Dial
from experiments.deciders import Deciders
from experiments.main_job.watched import Watched, examples, self_regulation, threshold
from experiments.players import Players, Servers, make_world

_OUT = flags.DEFINE_string("out", None, "Folder of the result.", required=True)
_TYPE = flags.DEFINE_string("type", "s_obj", "Of the tasks.")
_SPLIT = flags.DEFINE_string("split", "test_unseen", "Split whose tasks are played.")
_TASKS = flags.DEFINE_integer("tasks", 40, "The first N of them.", lower_bound=2)
_ACTOR = flags.DEFINE_string("actor", None, "See experiments.players.", required=True)
_INTERVENTION = flags.DEFINE_list("intervention", None, "Likewise.", required=True)
_LABEL = flags.DEFINE_string("label", "stronger", "Name of the interventions in the results.")
_VAL_TASKS = flags.DEFINE_integer("val_tasks", 40, "Validation tasks, for thresholds.", 2)
_PRM = flags.DEFINE_list(
    "prm", None, "Process reward models; the first one's p(s) stands in examples.", required=True
)
_CONDITIONS = flags.DEFINE_string("conditions", None, "File of the conditions.", required=True)
_EVALUATION = flags.DEFINE_string("evaluation", None, "What evaluate wrote.", required=True)
_TURNS_OF = flags.DEFINE_list(
    "turns_of",
    ["never 0%", "random as often as r mid", "prm as often as r mid", "helper r mid"],
    "Conditions that are looked into; those that are not there are passed over.",
)
_SEED = flags.DEFINE_integer("seed", 0, "As that of the evaluation.")
_BASE_URL = flags.DEFINE_string("base_url", None, "Of models' server. [OpenAI's]")
_API_KEY_ENV = flags.DEFINE_string("api_key_env", "OPENAI_API_KEY", "Of the key; none for none.")
_READS = flags.DEFINE_string("reads", "full", "Style of the texts that models are given.")
_CACHE = flags.DEFINE_string("cache", None, "File of models' replies. [OUT/replies.sqlite]")
spending_flags.define_flags()


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        sys.exit(f"examine: unexpected argument {argv[1]!r}.")
    logging.set_verbosity(logging.WARNING)
    try:
        found = _examine()
    except SpendingLimit as error:
        sys.exit(f"examine: {error}. The same command goes on.")
    except KeyboardInterrupt:
        sys.exit("examine: interrupted. The same command goes on.")
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"examine: {error}")
    out = pathlib.Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    replace_text(out / "examine.json", json.dumps(found, indent=1) + "\n")
    print(f"{len(found['examples'])} examples, {len(found['turns'])} conditions.")


def _examine() -> dict[str, Any]:
    prms = [PRM.load(folder) for folder in _PRM.value]
    for prm in prms:
        stored_states.recall(prm.encoder, _EVALUATION.value)
    world = make_world("sif", tasks=max(_TASKS.value, _VAL_TASKS.value))
    tasks = list(world.tasks(f"{_TYPE.value}/{_SPLIT.value}"))[: _TASKS.value]
    val_tasks = list(world.tasks(f"{_TYPE.value}/val_unseen"))[: _VAL_TASKS.value]
    conditions = conditions_lib.read(_CONDITIONS.value, len(_INTERVENTION.value))
    with Players(world, _servers()) as players:
        looker = _Looker(players)
        watched = [looker.watch(one, tasks, prms[:1])[0] for one in conditions if _wanted(one)]
        alone = [looker.watch(Condition("never", "0%"), some, prms) for some in (val_tasks, tasks)]
    p = {key: value for one in watched for key, value in one.p.items()}
    here = dict(task_type=_TYPE.value, intervention=_LABEL.value)
    regulated = [
        here
        | dict(reads=one.style)
        | self_regulation(test.episodes, test.p, threshold(val, states), states)
        for one, val, test in zip(prms, *alone, strict=True)
        for states in ("all", "last two")
    ]
    return {
        "version": 1,
        "self_regulation": regulated,
        "turns": [here | one.turns() for one in watched],
        "examples": [here | one for one in examples(watched, p)],
    }


def _wanted(condition: Condition) -> bool:
    return condition.name in _TURNS_OF.value


class _Looker:
    """Plays tasks as the first seed of the evaluation does, and keeps what is seen."""

    def __init__(self, players: Players):
        players.check(_ACTOR.value, _INTERVENTION.value)
        self._world, self._actor = players.world, players.actor(_ACTOR.value)
        self._helps = [
            players.intervention(name, self._actor, _ACTOR.value) for name in _INTERVENTION.value
        ]
        described = [players.config[name] for name in (_ACTOR.value, *_INTERVENTION.value)]
        kept = known_replies.kept_in(_EVALUATION.value)
        known_replies.recall_all(self._actor, self._helps, described, kept)

    def watch(
        self, condition: Condition, tasks: Sequence[str], prms: Sequence[PRM]
    ) -> list[Watched]:
        """The tasks under a condition, with p(s) of each process reward model."""
        deciders, dial = Deciders(len(self._helps), self._actor), _dial(condition)
        watch, episodes = Watch(), []
        for task in tasks:
            seed = derive(_SEED.value, task, 0)
            helper = watch.over(deciders.helper(condition, dial, seed))
            episodes.append(Episode(task, task, helper, seed=seed, cap=condition.cap))
        found: dict[str, list[Step]] = {}
        played = play(self._world, self._actor, self._helps, episodes, style=None, batch=256)
        for over in played:
            if over.error is not None:
                raise ValueError(f"task {over.episode.name}: {over.error}")
            found[over.episode.task] = over.steps
        states = list(watch.met.values())
        reasons = {}
        if condition.method == "helper":
            reasons = _reasons(deciders.judge(condition, bool(dial and dial.either)), states)
        ordered = {task: found[task] for task in tasks}
        return [
            Watched(condition.method, condition.setting, ordered, reasons, self._p(prm, states))
            for prm in prms
        ]

    def _p(self, prm: PRM, states: Sequence[State]) -> dict[str, float]:
        """p(s) by state key."""
        if prm.style.endswith(REPLY):
            states = Proposals(self._actor).read(states)
        p = prm.probabilities([state.text(prm.style) for state in states])[:, 0].tolist()
        return {state.key: one for state, one in zip(states, p, strict=True)}


def _reasons(helper: Any, states: Sequence[State]) -> dict[str, str]:
    """What the helper thinks of a call, by state key."""
    most = helper.margins(states).max(axis=1).tolist()
    return {state.key: f"a call is worth {m:+.3f}" for state, m in zip(states, most, strict=True)}


def _dial(condition: Condition) -> Dial | None:
    """As validation tasks have set it."""
    if condition.match is None:
        return condition.dial
    path = pathlib.Path(_EVALUATION.value, "matches.json")
    check_made(path, "an evaluation, which experiments.evaluate makes")
    found = json.loads(path.read_text())
    if condition.name not in found:
        raise ValueError(f"{path}: no {condition.name!r}, expected it from the evaluation")
    dial = found[condition.name]["dial"]
    return Dial(tuple(dial["values"]), dial["share"], dial["either"], dial["rise"])


def _servers() -> Servers:
    return Servers(
        base_url=_BASE_URL.value,
        api_key_env=None if _API_KEY_ENV.value == "none" else _API_KEY_ENV.value,
        style=_READS.value,
        cache=_CACHE.value or str(pathlib.Path(_OUT.value) / "replies.sqlite"),
        **spending_flags.from_flags(),
    )


if __name__ == "__main__":
    app.run(main)
