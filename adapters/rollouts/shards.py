"""What a folder of rollouts looks like, and what may be wrong with it.

    shard-000001.jsonl   {"format": "selfreg-rollouts", "version": 1, "config": {...}}
                         {"task": ..., "episode": ..., "turn": 0, ...}     one `Step` a line
                         {"task": ..., "episode": ..., "turn": 1, ...}
    errors-000001.jsonl  {"format": "selfreg-rollout-errors", "version": 1, "config": {...}}
                         {"task": ..., "episode": ..., "error": ...}       one `EpisodeError` a line
    .lock                held by the one writer

A shard is appended to by the one writer that made it and never touched again. The lines of an
episode follow one another in one shard: turns 0, 1, ... up to the only one with an outcome. All
shards of a folder have the same config, and their numbers follow one another from 1. A line counts
once its newline is there.

What a reader may find is of two sorts. Notes are what a killed writer or a copied file leaves
behind; nothing is lost that was complete, and reading goes on:

    torn        the last line of a file has no newline, or a file not even a header
    unfinished  a shard ends before its last episode does
    duplicate   an episode that an earlier block holds already; the first one counts
    unread      a .jsonl file that is no shard by its name

Errors are what no writer leaves behind. They raise ValueError, or are skipped on demand: the line,
and the episode that lacks a turn without it. Where the file is removed, `experiments.collect` plays
its episodes again; a writer passes over the numbers that are missing, and fills the first.

    foreign     a line that is no JSON, or no step: a field of another type, or one missing that
                has no default in `Step`; fields that `Step` does not know are passed over
    broken      a step that does not continue its episode: a gap, no end, no beginning
    missing     a shard that is not there, though one with a higher number is

Another format, version or config, or another number of helps, always raises ValueError.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from adapters.protocols import Outcome
from adapters.step import Step

STEPS, ERRORS = "selfreg-rollouts", "selfreg-rollout-errors"  # formats
_PREFIX = {STEPS: "shard", ERRORS: "errors"}
VERSION = 1

_NOTES = frozenset({"torn", "unfinished", "duplicate", "unread"})
_KEPT = 1000  # problems of a kind that are kept in full


class Header(msgspec.Struct):
    """The first line of a file."""

    format: str
    version: int
    config: dict[str, Any]


class Turn(msgspec.Struct, gc=False):
    """The fields of a `Step` that say where it belongs and what follows; faster to read."""

    task: str
    episode: str
    probabilities: tuple[float, ...]
    seed: int
    turn: int
    state_key: str
    decision: int
    next_state_key: str
    outcome: Outcome | None = None


class Problem(NamedTuple):
    """Something wrong with a file; `line` counts from 1, 0 is the file as a whole."""

    file: Path
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else str(self.file)
        return f"{where}: {self.text}"


class Problems:
    """What was found wrong while reading, in the order found.

    Attributes:
      number: how many of each kind.
      found: the first 1,000 of each kind.
    """

    def __init__(self):
        self.number: Counter[str] = Counter()
        self.found: list[Problem] = []

    def add(self, problem: Problem, strict: bool) -> None:
        """Keeps `problem`; raises ValueError if it is an error and `strict`."""
        if strict and problem.kind not in _NOTES:
            without = "" if problem.kind == "missing" else "remove it and "
            raise ValueError(
                f"{problem}; put the file back as it was, or {without}run again what wrote it, "
                "such as collect"
            )
        self.number[problem.kind] += 1
        if self.number[problem.kind] <= _KEPT:
            self.found.append(problem)

    def format(self) -> str:
        """Returns one line for each kind and one for each problem kept; "" if there are none."""
        lines = []
        for kind, number in self.number.items():
            lines.append(f"{kind}: {number}")
            lines += [f"  {problem}" for problem in self.found if problem.kind == kind]
        return "\n".join(lines)

    __str__ = format


def files(directory: Path, format: str) -> list[Path]:
    """The files of a folder with the given format, by name."""
    return sorted(directory.glob(f"{_PREFIX[format]}-*.jsonl"))


def strangers(directory: Path) -> list[Path]:
    """The .jsonl files of a folder that are none of the store's by their names."""
    known = {path for format in _PREFIX for path in files(directory, format)}
    return sorted(set(directory.glob("*.jsonl")) - known)


def next_file(directory: Path, format: str) -> Path:
    """A name for a new file: the first that is missing, or after all that are there."""
    gaps = missing(directory, format)
    return gaps[0] if gaps else _numbered(directory, format, max(_numbers(directory, format)) + 1)


def missing(directory: Path, format: str) -> list[Path]:
    """The files that are not there, though one with a higher number is."""
    there = _numbers(directory, format)
    gaps = sorted(set(range(max(there))) - there)
    return [_numbered(directory, format, number) for number in gaps]


def as_json(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` as it reads back from a header.

    Raises:
      TypeError, ValueError: it holds what JSON cannot, such as NaN.
    """
    return json.loads(json.dumps(dict(config), allow_nan=False))


def check_config(path: Path, found: Any, expected: Any, place: str) -> None:
    """Raises ValueError naming the fields in which the config of `path` is not as expected."""
    fields = list(_differences(found, expected, "config"))
    if fields:
        raise ValueError(f"{path}: another configuration than {place}: {'; '.join(fields)}")


def why_not_next(before: Sequence[Step | Turn], step: Step | Turn) -> str | None:
    """Why `step` cannot follow the turns `before` it in an episode; None if it can."""
    if step.turn != len(before):
        return f"turn is {step.turn}, expected {len(before)}"
    if not 0 <= step.decision <= len(step.probabilities):
        return f"decision is {step.decision}, expected 0 to {len(step.probabilities)}"
    if not before:
        for i, probability in enumerate(step.probabilities):
            if not 0 <= probability <= 1:
                return f"probabilities[{i}] is {probability}, expected a number in [0, 1]"
        return None
    last = before[-1]
    if step.state_key != last.next_state_key:
        return (
            f"state_key is {short(step.state_key)}, expected {short(last.next_state_key)}, "
            "the next_state_key of the turn before"
        )
    if (
        step.episode == last.episode
        and step.task == last.task
        and step.probabilities == last.probabilities
        and step.seed == last.seed
    ):
        return None
    name = next(
        name
        for name in ("episode", "task", "probabilities", "seed")
        if getattr(step, name) != getattr(last, name)
    )
    found, expected = getattr(step, name), getattr(last, name)
    return f"{name} is {found!r}, expected {expected!r} as in the turn before"


def _numbers(directory: Path, format: str) -> set[int]:
    """Of the files that are there, and 0."""
    found = [re.search(r"-(\d{6})\.jsonl$", path.name) for path in files(directory, format)]
    return {0} | {int(number[1]) for number in found if number}


def _numbered(directory: Path, format: str, number: int) -> Path:
    return directory / f"{_PREFIX[format]}-{number:06d}.jsonl"


def _differences(found: Any, expected: Any, name: str) -> Iterator[str]:
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted(found.keys() | expected.keys()):
            if key not in expected:
                yield f"{name}.{key} is {short(found[key])}, expected none"
            elif key not in found:
                yield f"{name}.{key} is missing, expected {short(expected[key])}"
            else:
                yield from _differences(found[key], expected[key], f"{name}.{key}")
    elif found != expected:
        yield f"{name} is {short(found)}, expected {short(expected)}"


def short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}...{text[-17:]}"
