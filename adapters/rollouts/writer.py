"""Appends whole episodes to a folder of rollouts, and says which are there already.

Each write is one append, so a kill at any moment loses at most the episode being written; a failed
write is taken back. What a killed writer left half written stays where it is, and readers pass over
it: the next writer begins a file of its own.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np

from adapters.rollouts import shards
from adapters.rollouts.reader import EpisodeError, scan
from adapters.rollouts.shards import Problems
from adapters.step import Step

MAX_BYTES = 1 << 28  # of a shard


class RolloutWriter:
    """The one writer of a folder of rollouts; a context manager.

    It begins a new shard, and another one whenever that has grown large. A shard without an episode
    is removed at the end. After a write that raised OSError the writer can go on.

    Example:
      >>> import tempfile
      >>> step = Step(task="t", episode="t p=0 seed=0", probabilities=(0.0,), seed=0, turn=0,
      ...     state_key="a", state_text="", decision=0, actor="base", raw="go", action="go",
      ...     next_state_key="b", outcome="success")
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     with RolloutWriter(folder, {"split": "train"}) as writer:
      ...         writer.write([step])
      ...     with RolloutWriter(folder, {"split": "train"}) as writer:
      ...         print(writer.finished)
      {'t p=0 seed=0'}
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        config: Mapping[str, Any],
        *,
        resume: bool = True,
        strict: bool = True,
        max_bytes: int = MAX_BYTES,
    ):
        """Locks the folder, made if it is missing, and reads which episodes it holds.

        Args:
          directory: of this store alone.
          config: what the rollouts are made from, JSON values only; a folder has one.
          resume: go on where rollouts are there already.
          strict: errors in the files raise; else they are passed over. See
            `adapters.rollouts.shards`.
          max_bytes: a shard that would grow beyond this is closed and a new one begun.

        Raises:
          BlockingIOError: another writer has the folder.
          FileExistsError: there are rollouts, and `resume` is false.
          OSError: the folder cannot be written.
          TypeError: `config` holds what is no JSON value.
          ValueError: the rollouts there have another config, version or format; or an error in
            them, if `strict`.
        """
        self._directory = Path(directory)
        self._config = shards.as_json(config)
        self._max_bytes = max_bytes
        self._problems = Problems()
        self._shards = _Series(self._directory, shards.STEPS, self._config)
        self._errors = _Series(self._directory, shards.ERRORS, self._config)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._lock: int | None = _lock(self._directory)
        try:
            there = shards.files(self._directory, shards.STEPS)
            if there and not resume:
                raise FileExistsError(
                    errno.EEXIST, "There are rollouts already, expected none", str(there[0])
                )
            self._finished: set[str] = set()
            self._num_helps: int | None = None
            for episode in scan(self._directory, self._config, strict, self._problems):
                self._finished.add(episode[0].episode)
                self._num_helps = len(episode[0].probabilities)
            self._shards.pass_over(shards.missing(self._directory, shards.STEPS)[1:])
            self._shards.open()  # now, as an episode that cannot be kept should not be paid for
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def finished(self) -> Set[str]:
        """Names of the complete episodes in the folder, those just written among them."""
        return self._finished

    @property
    def problems(self) -> Problems:
        """What was found in the files at opening."""
        return self._problems

    def write(self, episode: Sequence[Step]) -> None:
        """Appends one complete episode, or nothing. Once it returns, a kill cannot undo it.

        Raises:
          OSError: the disk is full, or the like; naming the file.
          ValueError: the episode is not complete, would not read back, is there already or has
            another number of helps than those there; naming it, and the step.
        """
        lines = _encode(episode)
        name, num_helps = episode[0].episode, len(episode[0].probabilities)
        if name in self._finished:
            raise ValueError(f"episode {name!r} is there already, expected a new one")
        if self._num_helps not in (None, num_helps):
            raise ValueError(
                f"episode {name!r}: probabilities has {num_helps} numbers, "
                f"expected {self._num_helps} as in all episodes before"
            )
        shard = self._shards.open()
        if shard.blocks and shard.size + len(lines) > self._max_bytes:
            self._shards.close()
            shard = self._shards.open()
        shard.append(lines)
        self._finished.add(name)
        self._num_helps = num_helps

    def note_error(self, task: str, episode: str, error: str, steps: Sequence[Step] = ()) -> None:
        """Notes an episode that failed for good: it is not finished, and no part of the data.

        Args:
          task, episode: its names.
          error: why.
          steps: its turns so far, for what they took.

        Raises:
          OSError, ValueError: as `write`.
        """
        noted = EpisodeError(
            task=task,
            episode=episode,
            error=error,
            turns=len(steps),
            cost=sum(step.cost for step in steps),
            input_tokens=sum(step.input_tokens for step in steps),
            output_tokens=sum(step.output_tokens for step in steps),
        )
        line, _ = _round_trip(noted, f"the error of episode {episode!r}")
        self._errors.open().append(line)

    def close(self) -> None:
        """Forces all to disk and gives the folder free. A closed writer stays so."""
        with contextlib.ExitStack() as stack:  # each, whatever the others raise
            if self._lock is not None:
                stack.callback(os.close, self._lock)
                self._lock = None
            stack.callback(self._errors.close, for_good=True)
            stack.callback(self._shards.close, for_good=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception) -> None:
        self.close()


class _Series:
    """Files of one format in a folder: at most one is open, always a new one."""

    def __init__(self, directory: Path, format: str, config: dict[str, Any]):
        self._directory, self._format = directory, format
        header = shards.Header(format, shards.VERSION, config)
        self._header = msgspec.json.encode(header) + b"\n"
        self._file: _Appender | None = None
        self._closed = False

    def open(self) -> "_Appender":
        """The open file; a new one if there is none, or if a failed write cannot be taken back."""
        if self._closed:
            raise ValueError(f"the writer of {self._directory} is closed")
        if self._file is not None and not self._file.sound:
            self.close()
        if self._file is None:
            path = shards.next_file(self._directory, self._format)
            self._file = _Appender(path, self._header)
        return self._file

    def pass_over(self, missing: Sequence[Path]) -> None:
        """Files without a block in place of those that are missing."""
        for path in missing:
            path.write_bytes(self._header)

    def close(self, *, for_good: bool = False) -> None:
        self._closed |= for_good
        file, self._file = self._file, None
        if file is not None:
            file.close()


class _Appender:
    """A new file that grows by whole blocks."""

    def __init__(self, path: Path, header: bytes):
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
        self.sound = True
        self.blocks = -1  # not counting the header
        try:
            self.append(header)
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def append(self, block: bytes) -> None:
        """Appends the whole of `block`, or leaves the file as it was."""
        before, rest = self.size, memoryview(block)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            self.blocks += 1
        except BaseException as error:
            self._take_back(before)
            if isinstance(error, OSError):
                raise OSError(error.errno, error.strerror, str(self._path)) from error
            raise

    def close(self) -> None:
        """Forces the file to disk; removes it if it never got a block."""
        try:
            os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)
            if self.blocks < 1:
                self._path.unlink()

    def _take_back(self, size: int) -> None:
        try:
            os.ftruncate(self._descriptor, size)
        except OSError:
            self.sound = False  # a torn end, which readers pass over; nothing may follow it


def _lock(directory: Path) -> int:
    """Locks the folder for as long as the returned descriptor is open; the kernel sees to that."""
    path = directory / ".lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
    except BaseException as error:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace")
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            text = f"Process {holder} is writing there, expected no other writer"
            raise BlockingIOError(errno.EWOULDBLOCK, text, str(directory)) from error
        raise
    return descriptor


def _encode(episode: Sequence[Step]) -> bytes:
    """The lines of a complete episode, as they read back."""
    if not episode:
        raise ValueError("episode is empty, expected its turns")
    lines, read = [], []
    for i, given in enumerate(episode):
        where = f"episode {episode[0].episode!r}, step {i}"
        line, step = _round_trip(given, where)
        complaint = shards.why_not_next(read, step)
        if complaint is None and (step.outcome is None) == (i == len(episode) - 1):
            expected = "one, as it is the last" if step.outcome is None else "None before the last"
            complaint = f"outcome is {step.outcome!r}, expected {expected}"
        if complaint is not None:
            raise ValueError(f"{where}: {complaint}")
        lines.append(line)
        read.append(step)
    return b"".join(lines)


def _round_trip(content: Any, where: str) -> tuple[bytes, Any]:
    """The line of a step or an error, and what a reader makes of it."""
    try:
        line = msgspec.json.encode(content, enc_hook=_plain) + b"\n"
        return line, msgspec.json.decode(line, type=type(content))
    except (TypeError, ValueError) as error:
        # NaN and infinities are written as null: JSON has no word for them.
        raise ValueError(f"{where}: would not read back: {error}") from error


def _plain(value: Any) -> Any:
    """A NumPy scalar, as worlds like to give them, as a number of Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is {type(value).__name__}, expected what JSON can hold")
