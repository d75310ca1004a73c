"""Looks into episodes of test tasks: stopping oneself, toggling, an example.

    python -m experiments.examine --type=s_obj --tasks=200 --actor=greedy --intervention=reasoner \
        --prm=PRM --evaluation=EVALUATION --conditions=CONDITIONS --out=OUT

Plays some of the conditions that `experiments.evaluate` has played, with the dials it has set, and
keeps what it does not keep: every turn, and p(s) of the process reward model in it. In
OUT/examine.json are

    self_regulation  how often "does not stop" and "succeeds" agree for the base actor alone; it
                     stops as 1 - p(s) exceeds the threshold that prm.json has from tasks held out
    turns            of each condition: calls, turns, and how often who plays changes, a task
    examples         a task on which thresholds on p(s) toggle, and one that help decides

The first task that shows the thing is taken, and the page says so: no example proves anything.
"""

import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import app, flags, logging

from adapters.episodes import Episode, play
from adapters.prm import PRM
from adapters.recorded import RecordedState
from adapters.seeds import derive
from adapters.sif.generator import SifConfig
from adapters.sif.world import SifWorld
from adapters.step import Step
from experiments import conditions as conditions_lib
from experiments.bench.runner import replace_text
from experiments.conditions import Condition, Dial
from experiments.deciders import Deciders
from experiments.main_job.watched import Watched, examples, self_regulation
from experiments.players import Players, Servers

_OUT = flags.DEFINE_string("out", None, "Folder of the result.", required=True)
_TYPE = flags.DEFINE_string("type", "s_obj", "Of the tasks.")
_SPLIT = flags.DEFINE_string("split", "test_unseen", "Split whose tasks are played.")
_TASKS = flags.DEFINE_integer("tasks", 40, "The first N of them.", lower_bound=2)
_ACTOR = flags.DEFINE_string("actor", None, "See experiments.players.", required=True)
_INTERVENTION = flags.DEFINE_list("intervention", None, "Likewise.", required=True)
_LABEL = flags.DEFINE_string("label", "stronger", "Name of the interventions in the results.")
_PRM = flags.DEFINE_string("prm", None, "Process reward model.", required=True)
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


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        sys.exit(f"examine: unexpected argument {argv[1]!r}.")
    logging.set_verbosity(logging.WARNING)
    try:
        found = _examine()
    except KeyboardInterrupt:
        sys.exit("examine: interrupted. The same command goes on.")
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"examine: {error}")
    out = pathlib.Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    replace_text(out / "examine.json", json.dumps(found, indent=1) + "\n")
    print(f"{len(found['examples'])} examples, {len(found['turns'])} conditions.")


def _examine() -> dict[str, Any]:
    prm = PRM.load(_PRM.value)
    size, usual = _TASKS.value, SifConfig()
    # A larger split begins with the tasks of a smaller one.
    world = SifWorld(SifConfig(test_tasks=max(size, usual.test_tasks)))
    tasks = list(world.tasks(f"{_TYPE.value}/{_SPLIT.value}"))[:size]
    conditions = conditions_lib.read(_CONDITIONS.value, len(_INTERVENTION.value))
    with Players(world, _servers()) as players:
        watched = [
            _watch(players, one, tasks, prm.style)
            for one in conditions
            if one.name in _TURNS_OF.value
        ]
    steps = [step for one in watched for some in one.episodes.values() for step in some]
    texts = list(dict.fromkeys(step.state_text for step in steps))
    p = dict(zip(texts, prm.probabilities(texts)[:, 0].tolist(), strict=True))
    here = dict(task_type=_TYPE.value, intervention=_LABEL.value)
    alone = [one.episodes for one in watched if one.method == "never"]
    threshold = _threshold()
    return {
        "version": 1,
        "self_regulation": [here | self_regulation(one, p, threshold) for one in alone],
        "turns": [here | one.turns() for one in watched],
        "examples": [here | one for one in examples(watched, p)],
    }


def _watch(players: Players, condition: Condition, tasks: Sequence[str], style: str) -> Watched:
    """Plays each task as the first seed of the evaluation does."""
    actor = players.actor(_ACTOR.value)
    helps = [players.intervention(name, actor, _ACTOR.value) for name in _INTERVENTION.value]
    deciders, dial = Deciders(len(helps)), _dial(condition)
    episodes = []
    for task in tasks:
        seed = derive(_SEED.value, task, 0)
        helper = deciders.helper(condition, dial, seed)
        episodes.append(Episode(name=task, task=task, helper=helper, seed=seed))
    found: dict[str, list[Step]] = {}
    for over in play(players.world, actor, helps, episodes, style=style, batch=256):
        if over.error is not None:
            raise ValueError(f"task {over.episode.name}: {over.error}")
        found[over.episode.task] = over.steps
    reasons = {}
    if condition.method == "helper":
        texts = {step.state_key: step.state_text for steps in found.values() for step in steps}
        reasons = _reasons(deciders.judge(condition), texts, style)
    ordered = {task: found[task] for task in tasks}
    return Watched(condition.method, condition.setting, ordered, reasons)


def _reasons(helper: Any, texts: Mapping[str, str], style: str) -> dict[str, str]:
    """What the helper thinks of a call, by state key."""
    states = [RecordedState(key, text, style) for key, text in texts.items()]
    most = helper.margins(states).max(axis=1).tolist()
    return {key: f"a call is worth {m:+.3f}" for key, m in zip(texts, most, strict=True)}


def _threshold() -> float:
    """On 1 - p(s), as the model's own held-out tasks have set it."""
    path = pathlib.Path(_PRM.value, "prm.json")
    found = json.loads(path.read_text())["self_regulation"]
    if found is None:
        raise ValueError(f"{path}: no self_regulation, expected a threshold")
    return found["threshold"]


def _dial(condition: Condition) -> Dial | None:
    """As validation tasks have set it."""
    if condition.match is None:
        return condition.dial
    path = pathlib.Path(_EVALUATION.value, "matches.json")
    found = json.loads(path.read_text())
    if condition.name not in found:
        raise ValueError(f"{path}: no {condition.name!r}, expected it from the evaluation")
    dial = found[condition.name]["dial"]
    return Dial(tuple(dial["values"]), dial["share"])


def _servers() -> Servers:
    return Servers(
        base_url=_BASE_URL.value,
        api_key_env=None if _API_KEY_ENV.value == "none" else _API_KEY_ENV.value,
        style=_READS.value,
        cache=_CACHE.value or str(pathlib.Path(_OUT.value) / "replies.sqlite"),
    )


if __name__ == "__main__":
    app.run(main)
