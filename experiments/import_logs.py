"""Logs of other people's agents into a folder of rollouts, for plan, coverage and train_helper.

    python -m experiments.import_logs --format=jsonl --out=rollouts/mine logs.jsonl
    python -m experiments.import_logs --format=chat --model_field=model --help_models=gpt-4o \
        --out=rollouts/mine results.json.gz
    python -m experiments.import_logs --format=intercode --splice --models=gpt-3.5,gpt-4 \
        --out=rollouts/sql sql_gpt-3.5.json.gz sql_gpt-4.json.gz

`--format` is intercode (its turn_history), chat (OpenAI messages with a reward, as tau-bench has
them), atif (Harbor's trajectories; a folder stands for every trajectory.json in it) or jsonl (an
episode a line, `adapters.logs.own`). Files may be compressed by gzip.

What decided help at each turn is one of
    --help_field=PATH[=VALUE[=I]]   a field of the turn: false, true or the number of the help; or,
                                    with a value, help I where it has that value
    --help_models=MODEL[=I],...     the model that acted: those named are help
    --decisions=FILE                JSON lines of task, trial, run, turn and decision
In jsonl it is the field `help`, if nothing else is said.

The same command goes on where it was stopped, and with further files of the same kind adds those.
Whatever cannot be used is named, with its reason, on standard error and in OUT/refused.txt.

`--splice` makes an exact table of recorded turns instead (`adapters.logs.splice`): the first file
is of the base model, the others are of the helps.
"""

import contextlib
import pathlib
import sys
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from absl import app, flags

from adapters.imported import imported
from adapters.logs.decisions import ByField, ByFile, ByModel, Rule, named
from adapters.logs.fields import Fields
from adapters.logs.importing import Imported, import_logs
from adapters.logs.prefixes import MAX_PIECE, MAX_TEXT, Prefix, TextLimits
from adapters.logs.reader import FORMATS, MAX_MB
from adapters.logs.splits import Splits
from experiments.log_files import Reader, Refused

_FORMAT = flags.DEFINE_enum("format", None, FORMATS, "Of the files.", required=True)
_OUT = flags.DEFINE_string("out", None, "Folder of the rollouts.", required=True)
_MODELS = flags.DEFINE_list("models", [], "Names of the runs, one a file: the models that acted.")
_HELPS = flags.DEFINE_list("helps", [], "Names of helps 1, 2, ... [of --help_models, or help I]")
_HELP_FIELD = flags.DEFINE_list("help_field", [], "PATH or PATH=VALUE or PATH=VALUE=I.")
_HELP_MODELS = flags.DEFINE_list("help_models", [], "MODEL or MODEL=I: whose turns are help.")
_DECISIONS = flags.DEFINE_string("decisions", None, "JSON lines of decisions.")

_TASK_FIELD = flags.DEFINE_string("task_field", None, "Path of the task. [the format's]")
_TRIAL_FIELD = flags.DEFINE_string("trial_field", None, "Path of the trial. [the format's]")
_REWARD_FIELD = flags.DEFINE_string("reward_field", None, "Path of the reward. [the format's]")
_TURNS_FIELD = flags.DEFINE_string("turns_field", None, "Path of the turns. [the format's]")
_MODEL_FIELD = flags.DEFINE_string("model_field", None, "Path of a turn's model. [the format's]")
_SUCCESS_AT = flags.DEFINE_float("success_at", 1.0, "Rewards from here on are a success.")

_STATE_KEY = flags.DEFINE_string("state_key", None, "MODULE:FUNCTION. [the exact prefix]")
_MAX_PIECE = flags.DEFINE_integer("max_piece", MAX_PIECE, "Characters of a turn in a text.")
_MAX_TEXT = flags.DEFINE_integer("max_text", MAX_TEXT, "Characters of a state's text.")
_MAX_MB = flags.DEFINE_float("max_mb", MAX_MB, "Of one trajectory in a file, in MiB.", 0.001)
_STRICT = flags.DEFINE_bool("strict", False, "End with an error if anything was refused.")
_SHOW = flags.DEFINE_integer("show", 20, "Refused ones of each reason that are printed.", 0)

_VAL = flags.DEFINE_float("val", Splits.val, "Share of the tasks that is for validation.")
_TEST = flags.DEFINE_float("test", Splits.test, "Share of the tasks that is for the test.")
_SPLIT_SEED = flags.DEFINE_integer("split_seed", Splits.seed, "Another one splits otherwise.")

_SPLICE = flags.DEFINE_bool("splice", False, "Put turns of several models together.")
_MAX_TURNS = flags.DEFINE_integer("max_turns", 10, "Of an episode that is put together.", 1)


def main(argv: list[str]) -> None:
    try:
        refused = _import([pathlib.Path(one) for one in argv[1:]])
    except KeyboardInterrupt:
        sys.exit("import_logs: interrupted. The same command goes on.")
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"import_logs: {error}")
    if refused and _STRICT.value:
        sys.exit(f"import_logs: {refused:,} could not be used")


def _import(given: list[pathlib.Path]) -> int:
    """Imports the files; how many trajectories could not be used."""
    files = _files(given)
    if _MODELS.value and len(_MODELS.value) != len(files):
        raise ValueError(f"--models has {len(_MODELS.value)} names, expected {len(files)}")
    with contextlib.closing(
        Refused(pathlib.Path(_OUT.value) / "refused.txt", _SHOW.value)
    ) as refused:
        if _SPLICE.value:
            return _splice(files, refused)
        rule, helps, decided_by = _rule()
        runs = _MODELS.value or [""] * len(files)
        reader = _reader(files)
        found = import_logs(
            ((run, reader.read(path)) for run, path in zip(runs, files, strict=True)),
            _OUT.value,
            rule=rule,
            helps=helps,
            config={
                "logs": _source()
                | {
                    "decided_by": decided_by,
                    "state_key": _STATE_KEY.value or "exact prefix",
                    "max_piece": _MAX_PIECE.value,
                    "max_text": _MAX_TEXT.value,
                },
            },
            key=_key(),
            limits=TextLimits(_MAX_PIECE.value, _MAX_TEXT.value),
            splits=_splits(),
            on_problem=refused.add,
        )
        reader.end()
        refused.keep()
        if not found.written + found.there:
            raise ValueError(f"no trajectory could be used; {refused.summary()}")
        _report(found, helps, rule, refused)
        return refused.number


def _files(given: list[pathlib.Path]) -> list[pathlib.Path]:
    if not given:
        raise ValueError("files are missing, expected one or more")
    files: list[pathlib.Path] = []
    for path in given:
        if path.is_dir():
            found = sorted(path.rglob("trajectory.json")) if _FORMAT.value == "atif" else []
            if not found:
                raise ValueError(f"{path} is a folder, expected a file, or trajectories of atif")
            files += found
        elif path.exists():
            files.append(path)
        else:
            raise FileNotFoundError(f"{path}: there is no such file")
    return files


def _rule() -> tuple[Rule, list[str], dict[str, Any]]:
    """Who decided; the names of the helps; and both as JSON values."""
    given = [bool(_HELP_FIELD.value), bool(_HELP_MODELS.value), _DECISIONS.value is not None]
    if sum(given) > 1:
        raise ValueError("--help_field, --help_models and --decisions: expected one of them")
    if _HELP_MODELS.value:
        models = named(_HELP_MODELS.value, "--help_models")
        helps = _helps(models, "--help_models")
        return ByModel(len(helps), models), helps, {"models": models}
    if _DECISIONS.value is not None:
        helps = _HELPS.value or ["help 1"]
        digest = sha256(pathlib.Path(_DECISIONS.value).read_bytes()).hexdigest()
        return ByFile.read(_DECISIONS.value, len(helps)), helps, {"file": digest}
    path, values = _help_field()
    if path is None and _FORMAT.value != "jsonl":
        raise ValueError(
            "nothing says in which turns help acted: --help_field=PATH, --help_models=MODEL or "
            "--decisions=FILE"
        )
    helps = _helps(values, "--help_field") if values else _HELPS.value or ["help 1"]
    return ByField(len(helps), values), helps, {"field": path or "help", "values": values}


def _help_field() -> tuple[str | None, dict[str, int]]:
    """The path, and the values that are help."""
    if not _HELP_FIELD.value:
        return None, {}
    path = _HELP_FIELD.value[0].partition("=")[0]
    values = []
    for entry in _HELP_FIELD.value:
        begin, equals, value = entry.partition("=")
        if begin != path or not path or (not equals and len(_HELP_FIELD.value) > 1):
            raise ValueError(f"--help_field: {entry!r}, expected {path}=VALUE=I as in the first")
        if equals:
            values.append(value)
    return path, named(values, "--help_field")


def _helps(numbers: dict[str, int], flag: str) -> list[str]:
    """Names of the helps that `numbers` knows: as given, or what is that help."""
    helps = [
        "/".join(name for name, number in numbers.items() if number == i)
        for i in range(1, max(numbers.values()) + 1)
    ]
    if not all(helps):
        raise ValueError(f"{flag}: nothing is help {helps.index('') + 1}, but {helps[-1]} is more")
    if _HELPS.value and len(_HELPS.value) != len(helps):
        raise ValueError(f"--helps has {len(_HELPS.value)} names, expected {len(helps)}")
    return _HELPS.value or helps


def _fields() -> Fields:
    return Fields(
        task=_TASK_FIELD.value,
        trial=_TRIAL_FIELD.value,
        reward=_REWARD_FIELD.value,
        turns=_TURNS_FIELD.value,
        model=_MODEL_FIELD.value,
        help=_help_field()[0],
    )


def _source() -> dict[str, Any]:
    """How the files are read."""
    fields = _fields()
    named_fields = {name: getattr(fields, name) for name in fields.__dataclass_fields__}
    return {"format": _FORMAT.value, "fields": named_fields, "success_at": _SUCCESS_AT.value}


def _reader(files: list[pathlib.Path]) -> Reader:
    how = dict(fields=_fields(), success_at=_SUCCESS_AT.value, max_mb=_MAX_MB.value)
    return Reader(files, _FORMAT.value, **how)


def _splits() -> Splits:
    return Splits(_VAL.value, _TEST.value, _SPLIT_SEED.value)


def _key() -> Callable[[Prefix], str] | None:
    if _STATE_KEY.value is None:
        return None
    try:
        return imported(_STATE_KEY.value)
    except ValueError as error:
        raise ValueError(f"--state_key: {error}") from error


def _splice(files: list[pathlib.Path], refused: Refused) -> int:
    from adapters.logs.splice import import_spliced

    for flag in (_HELPS, _HELP_FIELD, _HELP_MODELS, _DECISIONS, _STATE_KEY):
        if flag.value:
            raise ValueError(f"--{flag.name} and --splice: each file is one model's, see --models")
    names = _MODELS.value or [path.name.split(".json")[0] for path in files]
    reader = _reader(files)
    found = import_spliced(
        [reader.read(path) for path in files],
        _OUT.value,
        names=names,
        max_turns=_MAX_TURNS.value,
        splits=_splits(),
        source=_source(),
    )
    reader.end()
    for problem in found.problems:
        refused.add(problem)
    refused.keep()
    print(
        f"{_OUT.value}: {found.tasks:,} tasks, {found.states:,} states, {found.steps:,} steps of "
        f"{names[0]} helped by {', '.join(names[1:])}; {refused.summary()}"
    )
    return refused.number


def _report(found: Imported, helps: list[str], rule: Rule, refused: Refused) -> None:
    number = found.written + found.there
    print(
        f"{_OUT.value}: {number:,} trajectories of {len(found.tasks):,} tasks, {found.there:,} of "
        f"them there already; {found.successes / number:.1%} succeeded; {refused.summary()}"
    )
    turns = ", ".join(
        f"{name} {n:,}" for name, n in zip(["nohelp", *helps], found.turns, strict=True)
    )
    print(f"{sum(found.turns):,} turns by decision: {turns}")
    if isinstance(rule, ByModel):
        print(
            "turns by model: " + ", ".join(f"{name} {n:,}" for name, n in sorted(rule.met.items()))
        )
    for name, n in zip(["nohelp", *helps], found.turns, strict=True):
        if not n:
            print(f"{name} decided no turn: a plan needs turns of every kind")


if __name__ == "__main__":
    app.run(main)
