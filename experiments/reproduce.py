"""The main job: from tasks to a helper that asks at the right moment, with the paper's tables.

    python -m experiments.reproduce --out=reproduced
    python -m experiments.reproduce --out=reproduced --scale=smoke --actors=scripted

plays tasks of the simulated SIF with help at random, trains process reward models, solves for
budgets, trains helpers and evaluates them on test tasks. It writes results.json, report.html and
pictures into --out, and beside them all that was made on the way. Every stage is a script of its
own (`collect`, `train_prm`, `plan`, `train_helper`, `evaluate`, `examine`, `report`); this one
knows their order alone: see `experiments.main_job.graph`.

--scale    smoke   tests that all fits together; about 2 minutes on two cores
           small   the default; about 20 minutes on two cores
           paper   1,000 tasks a type, for an accelerator
--actors   embedded  the two small language models of this repository; S_hum is played by scripts
           scripted  all are scripts
           openai    --base and --stronger say which models, as openai:MODEL or openai:MODEL@URL

--base and --stronger take the names that `experiments.players` explains: llama:FOLDER, for example.

--prices, --spend_calls and --spend_money are those of `experiments.collect`. Each stage that plays
has them for itself, once every time it is started, and they may be others when the run goes on.

The same command goes on where it was stopped, by a signal, a failure or a crash; a stage whose
inputs have not changed is not run again. A folder belongs to one set of flags.
"""

import hashlib
import json
import pathlib
import sys
from importlib import metadata
from typing import Any

from absl import app, flags, logging

from experiments import players, spending_flags, stages
from experiments.bench.runner import replace_text
from experiments.main_job import report_page
from experiments.main_job.assemble import assemble, environment
from experiments.main_job.child import at_hand
from experiments.main_job.graph import Job, Players
from experiments.main_job.scales import SCALES
from experiments.stages import StageError, Stopped

_OUT = flags.DEFINE_string("out", None, "Folder of the run.", required=True)
_SCALE = flags.DEFINE_enum("scale", "small", list(SCALES), "How large a run.")
_ACTORS = flags.DEFINE_enum("actors", "embedded", ["embedded", "scripted", "openai"], "Who plays.")
_BASE = flags.DEFINE_string("base", None, "Base actor, by experiments.players. [of --actors]")
_STRONGER = flags.DEFINE_string("stronger", None, "Stronger model, likewise. [of --actors]")
_BACKBONE = flags.DEFINE_string(
    "backbone",
    None,
    "Folder of the language model that is trained. [the base actor's, or a new one]",
)
_BASE_URL = flags.DEFINE_string("base_url", None, "Of models' server. [OpenAI's]")
_API_KEY_ENV = flags.DEFINE_string(
    "api_key_env", "OPENAI_API_KEY", "Environment variable of the key; none where none is needed."
)
spending_flags.define_flags()
_JOBS = flags.DEFINE_integer(
    "jobs", None, "Stages at once. [as many as there are cores, 4 at most; 1 at --scale=paper]", 1
)
_SEED = flags.DEFINE_integer("seed", 0, "All chance comes from it.", lower_bound=0)

ACTORS = pathlib.Path(__file__).parent / "actors"
_LLAMA, _OPENAI = "llama:", "openai:"
_MOST_JOBS = 4
_SCRIPTED = Players("greedy", "reasoner", proposer="experiments.main_job.proposer:greedy")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        sys.exit(f"reproduce: unexpected argument {argv[1]!r}.")
    logging.set_verbosity(logging.WARNING)
    try:
        _reproduce(pathlib.Path(_OUT.value).resolve())
    except StageError as error:
        sys.exit(f"reproduce: {error}. Once that is mended the same command goes on.")
    except Stopped as error:
        sys.exit(f"reproduce: stopped by {error}. The same command goes on.")
    except KeyboardInterrupt:
        sys.exit("reproduce: interrupted. The same command goes on.")
    except (ValueError, OSError) as error:
        sys.exit(f"reproduce: {error}")


def _reproduce(out: pathlib.Path) -> None:
    job = _job()
    _check_models(job)
    config = _config(job)
    graph = job.stages()
    stages.hashes(graph, _version())  # raises now what would be wrong
    _check_config(out / "config.json", config)
    how = dict(version=_version(), env=_env(out), one_core_each=not job.scale.accelerator)
    records = stages.run(graph, out, jobs=_jobs(job), **how)
    pairs = [(kind, one) for kind in job.scale.tasks for one in job.pairs(kind)]
    found = assemble(out, pairs, config, records)
    replace_text(out / "results.json", json.dumps(found, indent=1) + "\n")
    for path in (out / "results.json", *report_page.write(found, out)):
        print(path)


def _job() -> Job:
    scale = SCALES[_SCALE.value]
    playing = {kind: _players(kind) for kind in scale.tasks}
    backbone = _BACKBONE.value
    if backbone is None:
        bases = (one.base for one in playing.values())
        llama = next((base for base in bases if base.startswith(_LLAMA)), None)
        backbone = None if llama is None else llama.removeprefix(_LLAMA)
    if backbone is None and not scale.backbone:
        raise ValueError("--backbone is missing, expected a language model's folder at this scale")
    return Job(scale, playing, backbone, _SEED.value)


def _jobs(job: Job) -> int:
    """Stages at once: they take up to 2 GiB each, and share an accelerator badly."""
    if _JOBS.value is not None:
        return _JOBS.value
    return 1 if job.scale.accelerator else min(len(at_hand()) or 2, _MOST_JOBS)


def _players(kind: str) -> Players:
    """Who plays tasks of a type."""
    base, stronger = _BASE.value, _STRONGER.value
    if _ACTORS.value == "openai":
        if not (base or "").startswith(_OPENAI) or stronger is None:
            raise ValueError("--actors=openai needs --base=openai:MODEL and --stronger")
    elif _ACTORS.value == "embedded" and kind != "s_hum":
        base = base or f"{_LLAMA}{ACTORS / 'base'}"
        if stronger is None and (ACTORS / "strong").exists():
            stronger = f"{_LLAMA}{ACTORS / 'strong'}"
    base, stronger = base or _SCRIPTED.base, stronger or _SCRIPTED.stronger
    folders = [one.removeprefix(_LLAMA) for one in (base, stronger) if one.startswith(_LLAMA)]
    proposer = _SCRIPTED.proposer if base == _SCRIPTED.base else None
    if base.startswith((_LLAMA, _OPENAI)):
        proposer = base
    limits = spending_flags.given()
    if limits and not _is_served():
        raise ValueError(f"{limits[0]}: nobody plays behind a server, expected openai:MODEL")
    return Players(base, stronger, proposer, tuple(folders), _server(), limits)


def _check_models(job: Job) -> None:
    """Raises ValueError where who plays or is trained is not there: the folder of a run that never
    was would refuse the right names."""
    key = None if _API_KEY_ENV.value == "none" else _API_KEY_ENV.value
    servers = players.Servers(api_key_env=key, **spending_flags.from_flags())
    with players.Players(players.make_world("sif"), servers) as found:
        for one in job.players.values():
            found.check(one.base)
            found.check(one.stronger)
    if job.backbone is not None:
        players.check_model(job.backbone)


def _is_served() -> bool:
    return any((name or "").startswith(_OPENAI) for name in (_BASE.value, _STRONGER.value))


def _server() -> tuple[str, ...]:
    if not _is_served():
        return ()
    found = [f"--api_key_env={_API_KEY_ENV.value}"]
    if _BASE_URL.value is not None:
        found.append(f"--base_url={_BASE_URL.value}")
    return tuple(found)


def _config(job: Job) -> dict[str, Any]:
    """What the run follows from."""
    return {
        "scale": _SCALE.value,
        "actors": _ACTORS.value,
        "seed": _SEED.value,
        "players": {
            kind: {"base": _name(one.base), "stronger": _name(one.stronger)}
            for kind, one in job.players.items()
        },
        "tasks": {kind: dict(number) for kind, number in job.scale.tasks.items()},
        "alone": dict(job.scale.alone),
        "repetitions": dict(job.scale.repetitions),
        "val_tasks": job.scale.val_tasks,
        "test_tasks": dict(job.scale.test_tasks),
        "forecast_tasks": job.scale.forecast_tasks,
        "search_tasks": job.scale.search_tasks,
        "search_val_tasks": job.scale.search_val_tasks,
        "train_tasks": job.scale.train_tasks,
        "whole_tasks": job.scale.whole_tasks,
        "seeds": job.scale.seeds,
        "budgets": list(job.scale.budgets),
        "variants": list(job.scale.variants),
        "tune": job.scale.tune,
        "tokens": dict(job.scale.tokens),
        "members": dict(job.scale.members),
        "less_tokens": job.scale.less_tokens,
    }


def _name(player: str) -> str:
    """Without where this machine keeps it."""
    return player.replace(f"{ACTORS}/", "")


def _check_config(path: pathlib.Path, config: dict[str, Any]) -> None:
    """Writes it down, or raises ValueError where the folder is of another run."""
    config = json.loads(json.dumps(config))
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, json.dumps(config, indent=1) + "\n")
        return
    try:
        before = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    for name, value in config.items():
        if (was := before.get(name)) != value:
            raise ValueError(
                f"{path}: {name} is {value!r}, was {was!r}; expected the same, or another --out"
            )


def _env(out: pathlib.Path) -> dict[str, str]:
    """For the stages: what one has compiled others need not compile again."""
    # Programs for another processor might not run here.
    key = hashlib.sha256(json.dumps(environment()).encode()).hexdigest()[:16]
    return {
        "JAX_COMPILATION_CACHE_DIR": str(out / ".cache" / key),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "TRANSFORMERS_VERBOSITY": "error",
    }


def _version() -> str:
    try:
        return metadata.version("selfreg")
    except metadata.PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    app.run(main)
