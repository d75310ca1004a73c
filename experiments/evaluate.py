"""Plays conditions on test tasks, and says how they differ.

    python -m experiments.evaluate --type=s_obj --split=test_unseen --tasks=200 \\
        --actor=greedy --intervention=reasoner --conditions=conditions.json --out=evaluation

`experiments.conditions` says what stands in the file of conditions. Those that are to meet a number
of calls are set on validation tasks first; test tasks are not looked at for that. What a helper
does on validation tasks is what is expected of it. `--forecast` is a folder of rollouts of such
tasks: from its table alone, without playing, it is foretold what each condition does.
`--known` names folders of rollouts and evaluations in which models' replies are to be found, and
hidden states of what was judged; an evaluation has them if it was made with `--keep`.
Writes OUT/episodes.jsonl, a line an episode, and OUT/evaluation.json; prints a table. What was
found on validation tasks is in OUT/matches.json, all that was tried there in OUT/tries.json.

The same command goes on where it was stopped. Deterministic conditions are played once a task, the
others once a seed.
"""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import app, flags, logging

from adapters.protocols import World
from adapters.spending import SpendingLimit
from experiments import conditions as conditions_lib
from experiments import known_replies, spending_flags, stored_states, summary
from experiments.conditions import Condition, Dial
from experiments.contest import Contest, EpisodeFailed, Job
from experiments.deciders import Deciders
from experiments.episode_log import EpisodeLog
from experiments.forecast import Tables
from experiments.matching import Matched, Matcher, match_all
from experiments.players import Players, Servers, make, make_world
from experiments.progress import Progress
from models.atomic_file import write_bytes

_OUT = flags.DEFINE_string("out", None, "Folder of the results.", required=True)
_CONDITIONS = flags.DEFINE_string("conditions", None, "File of the conditions.", required=True)
_WORLD = flags.DEFINE_string("world", "sif", "sif or MODULE:FUNCTION.")
_WORLD_SEED = flags.DEFINE_integer("world_seed", 0, "Of houses and tasks, in SIF.")
_TYPE = flags.DEFINE_string("type", "s_obj", "Of the tasks, in SIF: pnp, s_obj, s_hum.")
_SPLIT = flags.DEFINE_string("split", "test_unseen", "Split whose tasks are played.")
_TASKS = flags.DEFINE_integer("tasks", None, "The first N of them. [all]", lower_bound=1)
_PARTS = flags.DEFINE_string("parts", None, "File of a JSON object, name -> tasks to sum up apart.")
_VAL_SPLIT = flags.DEFINE_string("val_split", "val_unseen", "Split that dials are set on.")
_VAL_TASKS = flags.DEFINE_integer("val_tasks", None, "The first N of them. [all]", lower_bound=1)
_ACTOR = flags.DEFINE_string("actor", None, "Base actor; see experiments.players.", required=True)
_INTERVENTION = flags.DEFINE_list(
    "intervention", None, "Helps 1, 2, ...; see experiments.players.", required=True
)
_LABEL = flags.DEFINE_string("label", None, "Name of the interventions in the results. [theirs]")
_SCORER = flags.DEFINE_string("scorer", None, "Q for search: MODULE:FUNCTION.")
_PROPOSER = flags.DEFINE_string("proposer", None, "Actor at temperature 1 that search is around.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "Of conditions with chance in them.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "All chance comes from it.")
_FORECAST = flags.DEFINE_string("forecast", None, "Folder of rollouts of validation tasks.")
_PRM = flags.DEFINE_string(
    "prm", None, "Process reward model, for decisions that --forecast never tried."
)
_KNOWN = flags.DEFINE_list(
    "known", [], "Folders of rollouts, or of evaluations with --keep: nothing is computed again."
)
_KEEP = flags.DEFINE_bool(
    "keep", False, "Keep models' replies, and hidden states of what was judged, for who comes next."
)
_BATCH = flags.DEFINE_integer("batch", 256, "Episodes at once.", lower_bound=1)
_MAX_TURNS = flags.DEFINE_integer("max_turns", None, "Of an episode. [the world's own limit]")
_BASE_URL = flags.DEFINE_string("base_url", None, "Of models' server. [OpenAI's]")
_API_KEY_ENV = flags.DEFINE_string(
    "api_key_env", "OPENAI_API_KEY", "Environment variable of the key; none where none is needed."
)
_READS = flags.DEFINE_string("reads", "full", "Style of the texts that models are given.")
_CACHE = flags.DEFINE_string("cache", None, "File of models' replies. [OUT/replies.sqlite]")
spending_flags.define_flags()

MATCHES, TRIES, EVALUATION = "matches.json", "tries.json", "evaluation.json"


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        sys.exit(f"evaluate: unexpected argument {argv[1]!r}.")
    logging.set_verbosity(logging.WARNING)
    try:
        _evaluate()
    except (EpisodeFailed, SpendingLimit) as error:
        sys.exit(f"evaluate: {error}. The same command goes on.")
    except KeyboardInterrupt:
        sys.exit("evaluate: interrupted. The same command goes on.")
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"evaluate: {error}")


def _evaluate() -> None:
    out = pathlib.Path(_OUT.value)
    helps = len(_INTERVENTION.value)
    conditions = conditions_lib.read(_CONDITIONS.value, helps)
    world = _world()
    tasks = _tasks(world, _SPLIT.value, _TASKS.value, "tasks")
    parts = {} if _PARTS.value is None else summary.read_parts(_PARTS.value, tasks)
    matched = any(one.match is not None for one in conditions)
    val_tasks = []
    if matched or _VAL_TASKS.value is not None:
        val_tasks = _tasks(world, _VAL_SPLIT.value, _VAL_TASKS.value, "val_tasks")
    if set(tasks) & set(val_tasks):
        raise ValueError(f"--val_split is {_VAL_SPLIT.value!r}, expected other tasks than --split")
    with Players(world, _servers(out)) as players:
        contest, models = _contest(players)
        for one in conditions:
            if one.method in ("prm", "helper"):
                for either in (False, True) if one.either else (False,):
                    contest.deciders.judge(one, either)  # raises now, not after hours
        for encoder in contest.deciders.encoders:
            for folder in (*_KNOWN.value, out):
                stored_states.recall(encoder, folder)
        config = {
            "world": dict(world.config),
            "tasks": tasks,
            "val_tasks": val_tasks,
            "actor": players.config[_ACTOR.value],
            "interventions": [players.config[name] for name in _INTERVENTION.value],
            "seeds": _SEEDS.value,
            "seed": _SEED.value,
            "max_turns": _MAX_TURNS.value,
            "conditions": json.loads(pathlib.Path(_CONDITIONS.value).read_text()),
            "deciders": contest.deciders.config,
        }
        with EpisodeLog(out, config) as log:
            matches = {}
            if val_tasks:
                matcher = Matcher(contest, val_tasks, _SEEDS.value, out / TRIES)
                matches = match_all(matcher, conditions, out / MATCHES)
            dials = {one.name: matches[one.name].dial if one.name in matches else one.dial
                     for one in conditions}  # fmt: skip
            _play(log, contest, conditions, dials, tasks)
            results = list(log.found.values())
        if _KEEP.value:
            known_replies.keep(models, out)
            for encoder in contest.deciders.encoders:
                stored_states.keep(encoder, out)
    told = {one.name: _told(one, dials[one.name], matches) for one in conditions}
    if _FORECAST.value is not None:
        _foretell(conditions, dials, contest, told)
    where = {
        "task_type": _TYPE.value if _WORLD.value == "sif" else "",
        "intervention": _LABEL.value or "+".join(_INTERVENTION.value),
        "split": _SPLIT.value,
    }
    found = summary.evaluation(conditions, results, tasks, parts, told, where, seed=_SEED.value)
    found = {"version": 1, "config": config, **found}
    write_bytes(out / EVALUATION, (json.dumps(found, indent=1) + "\n").encode())
    if "assumption" in world.config:
        print(world.config["assumption"])
    _print(found)


def _play(
    log: EpisodeLog,
    contest: Contest,
    conditions: Sequence[Condition],
    dials: Mapping[str, Dial | None],
    tasks: Sequence[str],
) -> None:
    """Plays what is missing."""
    jobs = [
        Job(one, dials[one.name], task, seed)
        for one in conditions
        for task in tasks
        for seed in range(contest.seeds(one, dials[one.name], _SEEDS.value))
    ]
    missing = [job for job in jobs if (job.condition.name, job.task, job.seed) not in log.found]
    print(
        f"{len(jobs):,} episodes, {len(jobs) - len(missing):,} of them there already.", flush=True
    )
    if not missing:
        return
    progress = Progress("episodes", len(missing))
    try:
        for _, result in contest.play(missing):
            log.add(result)
            progress.add()
    finally:
        progress.end()


def _contest(players: Players) -> tuple[Contest, list[known_replies.Model]]:
    """And the models among its actors, which know what was found of theirs."""
    players.check(_ACTOR.value, _INTERVENTION.value)
    actor = players.actor(_ACTOR.value)
    helps = [
        players.intervention(
            name, actor, _ACTOR.value, proposer=_PROPOSER.value, scorer=_SCORER.value
        )
        for name in _INTERVENTION.value
    ]
    described = [players.config[name] for name in (_ACTOR.value, *_INTERVENTION.value)]
    folders = [*_KNOWN.value, *known_replies.kept_in(_OUT.value)]
    models = known_replies.recall_all(actor, helps, described, folders)
    contest = Contest(
        players.world,
        actor,
        helps,
        Deciders(len(helps), actor),
        batch=_BATCH.value,
        max_turns=_MAX_TURNS.value,
        seed=_SEED.value,
    )
    return contest, models


def _told(
    condition: Condition, dial: Dial | None, matches: Mapping[str, Matched]
) -> dict[str, Any]:
    """What a row says besides its figures."""
    found: dict[str, Any] = {"expected_usage": None}
    if dial is not None:
        found["dial"] = dataclasses.asdict(dial) | {"values": list(dial.values)}
    if condition.name in matches:
        one = dataclasses.asdict(matches[condition.name])
        del one["dial"]
        found |= {"expected_usage": list(one["usage"]), "validation": one}
    return found


def _foretell(
    conditions: Sequence[Condition],
    dials: Mapping[str, Dial | None],
    contest: Contest,
    told: dict[str, dict[str, Any]],
) -> None:
    """Adds to each condition what is expected of it on the tables of validation tasks."""
    prior = None
    if _PRM.value is not None:
        from adapters.prm import PRM  # takes flax

        prior = make(_PRM.value, contest.num_helps) if ":" in _PRM.value else PRM.load(_PRM.value)
    tables = Tables(_FORECAST.value, prior=prior, seed=_SEED.value)
    if tables.num_helps != contest.num_helps:
        raise ValueError(
            f"--forecast: {_FORECAST.value} has {tables.num_helps} helps, expected "
            f"{contest.num_helps}"
        )
    for one in conditions:
        found = tables.forecast(one, dials[one.name], contest.deciders)
        if found is not None:
            row = told[one.name]
            row["expected_usage"] = row["expected_usage"] or found.usage
            row["forecast"] = found._asdict()
            if one.method == "helper":
                row["forecast"]["ceiling"] = tables.ceiling(found.usage)


def _print(found: Mapping[str, Any]) -> None:
    print(
        f"{'condition':28} {'tasks':>6} {'success':>8} {'95% interval':>16} {'SPL':>6} {'L':>6} "
        f"{'calls':>12} {'expected':>12}"
    )
    for row in found["conditions"]:
        name = f"{row['method']} {row['setting']}"
        if row["part"] != "all":
            name += f" ({row['part']})"
        low_high = "one task only"
        if row["success_ci"] is not None:
            low_high = "{:.1%} - {:.1%}".format(*row["success_ci"])
        spl = "-" if row["spl"] is None else f"{row['spl']:.3f}"
        print(
            f"{name:28} {row['tasks']:6,} {row['success']:8.1%} {low_high:>16} {spl:>6} "
            f"{row['length']:6.2f} {_calls(row['usage']):>12} {_calls(row['expected_usage']):>12}"
        )


def _calls(usage: Sequence[float] | None) -> str:
    return "-" if usage is None else "/".join(f"{one:.3f}" for one in usage)


def _world() -> World:
    reads_past = _READS.value == "full" and any(
        name.startswith("openai:") for name in (_ACTOR.value, *_INTERVENTION.value)
    )
    size = max(_TASKS.value or 0, _VAL_TASKS.value or 0)
    return make_world(_WORLD.value, history_in_key=reads_past, tasks=size, seed=_WORLD_SEED.value)


def _tasks(world: World, split: str, number: int | None, flag: str) -> list[str]:
    found = list(world.tasks(f"{_TYPE.value}/{split}" if _WORLD.value == "sif" else split))
    if number is not None and number > len(found):
        raise ValueError(f"--{flag} is {number}, expected 1 to {len(found)}")
    return found[:number]


def _servers(out: pathlib.Path) -> Servers:
    return Servers(
        base_url=_BASE_URL.value,
        api_key_env=None if _API_KEY_ENV.value == "none" else _API_KEY_ENV.value,
        style=_READS.value,
        cache=_CACHE.value or str(out / "replies.sqlite"),
        **spending_flags.from_flags(),
    )


if __name__ == "__main__":
    app.run(main)
