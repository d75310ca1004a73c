"""Streams rollouts back: whole episodes only, each once."""

import contextlib
import dataclasses
import io
import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from adapters.rollouts import shards
from adapters.rollouts.shards import Problem, Problems
from adapters.step import Step

_BUFFER = 1 << 20  # bytes read at once
_NO_SHARDS = "no shard-*.jsonl there, expected rollouts"


@dataclasses.dataclass(frozen=True, slots=True)
class EpisodeError:
    """An episode that failed for good, and is to be tried again by the next run.

    Attributes:
      task, episode: as in `Step`.
      error: why.
      turns: played before; they are not in the data.
      cost, input_tokens, output_tokens: what those turns took.
    """

    task: str
    episode: str
    error: str
    turns: int = 0
    cost: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0


def read_episodes(
    directory: str | os.PathLike,
    *,
    strict: bool = True,
    problems: Problems | None = None,
    step_type: type = Step,
) -> Iterator[list[Any]]:
    """Yields the complete episodes of a folder, shard by shard, each once.

    Args:
      directory: where `RolloutWriter` wrote; it may be writing still.
      strict: errors raise; else they are skipped. See `adapters.rollouts.shards`.
      problems: is told of all that was found.
      step_type: `adapters.rollouts.shards.Turn` is read faster than `Step`, with fewer fields;
        the others are not looked at. Any class with the fields of `Turn` will do.

    Raises:
      FileNotFoundError: there are no shards.
      ValueError: naming file and line: an error, if `strict`; always another format, version,
        config or number of helps than the first shard has.
    """
    for _, episode in _found(directory, strict, problems, step_type):
        yield episode


def read_sorted_episodes(
    directory: str | os.PathLike,
    *,
    strict: bool = True,
    problems: Problems | None = None,
    step_type: type = Step,
) -> Iterator[list[Any]]:
    """Yields what `read_episodes` does, by the names of the episodes, reading all of it twice.

    They stand in a folder as they ended, and a killed run goes on with others side by side. What
    must not depend on that, such as the order of examples in a training, is made of this.
    Arguments and errors are those of `read_episodes`.
    """
    found = _found(directory, strict, problems, step_type)
    places = sorted((episode[0].episode, place) for place, episode in found)
    decode = msgspec.json.Decoder(step_type).decode
    with contextlib.ExitStack() as stack:
        files = {
            path: stack.enter_context(open(path, "rb"))
            for path in dict.fromkeys(place.path for _, place in places)
        }
        for _, place in places:
            files[place.path].seek(place.begin)
            block = files[place.path].read(place.end - place.begin)
            # What is wrong in between was told of already.
            lines = _decoded(place.path, io.BytesIO(block), decode, False, Problems())
            yield [step for *_, step in lines]


def read_steps(
    directory: str | os.PathLike, *, strict: bool = True, problems: Problems | None = None
) -> Iterator[Step]:
    """Yields the steps of the complete episodes; see `read_episodes`."""
    return chain.from_iterable(read_episodes(directory, strict=strict, problems=problems))


def read_config(directory: str | os.PathLike) -> dict[str, Any]:
    """What the rollouts of a folder are made from, as its first shard with a header says.

    Raises:
      FileNotFoundError: there is no such shard.
      ValueError: it has another format or version.
    """
    for path in shards.files(Path(directory), shards.STEPS):
        with open(path, "rb") as file:
            header = _read_header(path, file, shards.STEPS, False, Problems())
        if header is not None:
            return header.config
    raise FileNotFoundError(f"{directory}: {_NO_SHARDS}")


def read_errors(
    directory: str | os.PathLike, *, strict: bool = True, problems: Problems | None = None
) -> Iterator[EpisodeError]:
    """Yields what `RolloutWriter.note_error` noted, of all runs; an episode may come repeatedly.

    Raises:
      ValueError: naming file and line: a line that is none of these, if `strict`; always another
        format or version.
    """
    problems = Problems() if problems is None else problems
    for path in shards.files(Path(directory), shards.ERRORS):
        with open(path, "rb", buffering=_BUFFER) as file:
            if _read_header(path, file, shards.ERRORS, strict, problems) is None:
                continue
            decode = msgspec.json.Decoder(EpisodeError).decode
            for *_, error in _decoded(path, file, decode, strict, problems):
                yield error


def scan(
    directory: Path,
    config: dict[str, Any] | None,
    strict: bool,
    problems: Problems,
    step_type: type = Step,
) -> Iterator[list[Any]]:
    """Yields the complete episodes, each once.

    Args:
      directory: nothing is yielded if it has no shards.
      config: what all shards must have; that of the first shard if None.
      strict, problems, step_type: as `read_episodes`.
    """
    for _, episode in _scan(directory, config, strict, problems, step_type):
        yield episode


class _Place(NamedTuple):
    """Where an episode stands: its first line, which counts from 1, and its bytes."""

    path: Path
    line: int
    begin: int
    end: int


def _found(
    directory: str | os.PathLike, strict: bool, problems: Problems | None, step_type: type
) -> Iterator[tuple[_Place, list[Any]]]:
    """What `read_episodes` yields, and where it stands."""
    problems = Problems() if problems is None else problems
    directory = Path(directory)
    if not shards.files(directory, shards.STEPS):
        raise FileNotFoundError(f"{directory}: {_NO_SHARDS}")
    for path in shards.missing(directory, shards.STEPS):
        problems.add(Problem(path, 0, "missing", "missing, though later shards are there"), strict)
    yield from _scan(directory, None, strict, problems, step_type)


def _scan(
    directory: Path,
    config: dict[str, Any] | None,
    strict: bool,
    problems: Problems,
    step_type: type,
) -> Iterator[tuple[_Place, list[Any]]]:
    """What `scan` yields, and where it stands."""
    decode = msgspec.json.Decoder(step_type).decode
    for path in shards.strangers(directory):
        problems.add(Problem(path, 0, "unread", "no shard by its name, so it is not read"), strict)
    whose = "this run has"
    num_helps: int | None = None
    names: set[str] = set()
    for path in shards.files(directory, shards.STEPS):
        with open(path, "rb", buffering=_BUFFER) as file:
            header = _read_header(path, file, shards.STEPS, strict, problems)
            if header is None:
                continue
            if config is None:
                config, whose = header.config, f"{path} has"
            shards.check_config(path, header.config, config, whose)
            for place, episode in _blocks(path, file, decode, strict, problems):
                first = episode[0]
                num_helps = len(first.probabilities) if num_helps is None else num_helps
                if (number := len(first.probabilities)) != num_helps:
                    raise ValueError(
                        f"{path}:{place.line}: probabilities has {number} numbers, "
                        f"expected {num_helps} as in all episodes before"
                    )
                if first.episode in names:
                    text = f"episode {first.episode!r} once more; the first one counts"
                    problems.add(Problem(path, place.line, "duplicate", text), strict)
                    continue
                names.add(first.episode)
                yield place, episode


def _blocks(path, file, decode, strict, problems) -> Iterator[tuple[_Place, list[Any]]]:
    """Yields place and steps of each complete episode of a shard whose header was read."""
    block = []
    dropped: str | None = None  # the episode whose lines are passed over, told of already
    for line, begin, end, step in _decoded(path, file, decode, strict, problems):
        complaint = shards.why_not_next(block, step)
        if complaint is not None:
            if block or step.episode != dropped or step.turn == 0:
                name = block[0].episode if block else step.episode
                text = f"episode {name!r} is broken: {complaint}"
                problems.add(Problem(path, line, "broken", text), strict)
            block, dropped = [], step.episode
            if shards.why_not_next(block, step) is not None:
                continue
        if not block:
            first = line, begin
        block.append(step)
        if step.outcome is not None:
            yield _Place(path, *first, end), block
            block = []
    if block:
        text = f"the file ends after turn {block[-1].turn} of episode {block[0].episode!r}"
        problems.add(Problem(path, line, "unfinished", text), strict)


def _decoded(path, file, decode, strict, problems) -> Iterator[tuple[int, int, int, Any]]:
    """Yields number, first byte, end and content of each whole line after the header."""
    end = file.tell()
    for number, line in enumerate(file, start=2):
        begin, end = end, end + len(line)
        if not line.endswith(b"\n"):
            text = f"the last line is torn after {len(line)} bytes"
            problems.add(Problem(path, number, "torn", text), strict)
            return
        try:
            content = decode(line)
        except ValueError as error:
            text = f"foreign line: {error}: {shards.short(line)}"
            problems.add(Problem(path, number, "foreign", text), strict)
            continue
        yield number, begin, end, content


def _read_header(path, file, format, strict, problems) -> shards.Header | None:
    """The first line of a file; None if it is torn."""
    line = file.readline()
    if not line.endswith(b"\n"):
        text = f"the header is torn after {len(line)} bytes; there is nothing behind it"
        problems.add(Problem(path, 1, "torn", text), strict)
        return None
    expected = f"a header of {format!r}, version {shards.VERSION}"
    try:
        header = msgspec.json.decode(line, type=shards.Header)
    except ValueError as error:
        message = f"{path}:1: {error}: {shards.short(line)}, expected {expected}"
        raise ValueError(message) from error
    if (header.format, header.version) != (format, shards.VERSION):
        raise ValueError(
            f"{path}:1: format is {header.format!r}, version {header.version}, expected {expected}"
        )
    return header
