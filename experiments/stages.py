"""Runs the stages of a long job, each a program of its own, and only what has to run.

A stage is a command, the files it makes and the stages whose files it reads. `run` starts every
stage once those it needs are done, a few at a time, and writes down under OUT:

    .stages/NAME.json   the hash that the stage ran for, its seconds and memory, what it made
    .stages/stale/NAME  what an earlier hash had made; the last one only
    logs/NAME.log       all that the stage printed

The hash is of the command, the version, the files from outside that it reads, and the hashes of the
stages it needs. A stage is passed over when its hash is the one written down and its files are as
they were. A stage that was stopped goes on where it was, as its own program knows how to. Files
that another hash made, or some of which somebody changed or removed, are put aside, and the stage
runs from its beginning.

Stages die with the process that runs them, and a folder has one such process.
"""

import contextlib
import dataclasses
import fcntl
import graphlib
import hashlib
import json
import os
import pathlib
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TextIO

from experiments.bench.runner import replace_text
from experiments.main_job import files
from experiments.main_job.child import Child, ForkServer, cores
from experiments.main_job.line import Line

_VERSION = 1  # of the records
_REFERENCE = re.compile(r"\{([^{}#]+)#((?:/[^{}/]+)+)\}")
_POLL = 0.05  # seconds
_PATIENCE = 10.0  # seconds that a stage has to end when it is told to


class StageError(Exception):
    """A stage failed; says which, how, and where its output is."""


class Stopped(Exception):
    """The process was told to end by a signal."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """One program of the job.

    Attributes:
      name: of it, good for a file's name.
      arguments: for the Python interpreter; {out} in them is the folder of the job, and
        {plan.json#/plans/0/cost} what a JSON file below it, made by then, has there (RFC 6901);
        numbers of a list are joined by slashes.
      outputs: files and folders that it makes, below that folder.
      needs: names of the stages whose outputs it reads.
      inputs: files and folders from outside that it reads.
      keeps: its program goes on with whatever is there already and refuses what does not fit, so
        nothing is put aside: for what was expensive to get.
      limits: further arguments, which change nothing about what it makes and are not hashed.
      seconds: about how long it takes, for the time left.
    """

    name: str
    arguments: tuple[str, ...]
    outputs: tuple[str, ...]
    needs: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    keeps: bool = False
    limits: tuple[str, ...] = ()
    seconds: float = 1.0


class Record(NamedTuple):
    """How a stage ran.

    Attributes:
      seconds: of the run that finished it.
      peak_memory_mb: resident memory of its largest process, in MiB.
      again: it ran now; False if it was passed over.
    """

    seconds: float
    peak_memory_mb: float
    again: bool


def check(stages: Sequence[Stage]) -> None:
    """Raises ValueError where names are not unique, a need is no stage, or needs go in circles."""
    names = [stage.name for stage in stages]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"there are two stages {twice!r}, expected each once")
    for stage in stages:
        strange = next((need for need in stage.needs if need not in names), None)
        if strange is not None:
            raise ValueError(f"stage {stage.name!r} needs {strange!r}, expected one of the stages")
    try:
        graphlib.TopologicalSorter({stage.name: stage.needs for stage in stages}).prepare()
    except graphlib.CycleError as error:
        raise ValueError(f"stages need each other: {' -> '.join(error.args[1])}") from error


def hashes(stages: Sequence[Stage], version: str) -> dict[str, str]:
    """What each stage would run for, by name.

    Raises:
      ValueError: as `check`; a file from outside is missing.
    """
    check(stages)
    by_name = {stage.name: stage for stage in stages}
    order = graphlib.TopologicalSorter({stage.name: stage.needs for stage in stages})
    outside: dict[str, str] = {}
    found: dict[str, str] = {}
    for name in order.static_order():
        stage = by_name[name]
        for path in stage.inputs:
            if path not in outside:
                outside[path] = files.outside(pathlib.Path(path))
        parts = [
            version,
            stage.arguments,
            stage.outputs,
            [outside[path] for path in stage.inputs],
            [found[need] for need in sorted(stage.needs)],
        ]
        found[name] = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return found


def run(
    stages: Sequence[Stage],
    out: str | os.PathLike,
    *,
    jobs: int = 2,
    one_core_each: bool = True,
    version: str = "",
    env: Mapping[str, str] | None = None,
    stream: TextIO | None = None,
    every: float | None = None,
) -> dict[str, Record]:
    """Runs what has to run.

    Args:
      stages: of the job; those that need the longest time after them go first.
      out: its folder, made if it is missing.
      jobs: stages at once. What they find does not depend on it.
      one_core_each: each stage stays on one core; False where an accelerator does the work.
      version: of the programs.
      env: variables of the environment to set for them where they are not set.
      stream: where progress goes; standard error if None.
      every: seconds between lines of progress; if None 0.5 on a terminal, 30 elsewhere.

    Returns:
      A record of every stage, by name.

    Raises:
      StageError: a stage failed, and the others were stopped.
      Stopped: by SIGTERM or SIGHUP, and all stages with it; KeyboardInterrupt likewise.
      BlockingIOError: another process runs stages in `out`.
      OSError: `out` cannot be written.
      ValueError: as `hashes`.
    """
    wanted = hashes(stages, version)
    folder = pathlib.Path(out)
    (folder / ".stages").mkdir(parents=True, exist_ok=True)
    (folder / "logs").mkdir(exist_ok=True)
    with _locked(folder / ".stages" / ".lock") as lock, _signals():
        expected = {stage.name: stage.seconds for stage in stages}
        line = Line(expected, stream or sys.stderr, every)
        free = cores(jobs, one_each=one_core_each)
        return _Run(stages, wanted, folder, free, lock, line, dict(env or {}) | os.environ).run()


class _Run:
    def __init__(
        self,
        stages: Sequence[Stage],
        wanted: dict[str, str],
        out: pathlib.Path,
        free: list[list[int]],
        lock: int,
        line: Line,
        env: Mapping[str, str],
    ):
        self._stages = {stage.name: stage for stage in stages}
        self._wanted, self._out, self._lock, self._line = wanted, out, lock, line
        self._free, self._env = free, env  # the cores of each fork server that may be started
        self._waiting: list[ForkServer] = []  # for a stage
        self._running: dict[str, Child] = {}
        self._records: dict[str, Record] = {}

    def run(self) -> dict[str, Record]:
        graph = {stage.name: stage.needs for stage in self._stages.values()}
        order, after = graphlib.TopologicalSorter(graph), self._after()
        order.prepare()
        ready: list[str] = []
        try:
            while order.is_active():
                for name in order.get_ready():
                    old = self._finished(self._stages[name])
                    if old is None:
                        ready.append(name)
                    else:
                        self._records[name] = old
                        self._line.passed_over(name)
                        order.done(name)
                ready.sort(key=after.__getitem__)
                while ready and (self._waiting or self._free):
                    self._start(self._stages[ready.pop()])
                for name in [name for name, child in self._running.items() if child.ended()]:
                    self._records[name] = record = self._finish(name)
                    self._line.done(name, record.seconds, record.peak_memory_mb)
                    order.done(name)
                self._line.show(self._running)
                if self._running:
                    time.sleep(_POLL)
        finally:
            self._stop()
        self._line.end()
        return self._records

    def _after(self) -> dict[str, float]:
        """Seconds from the start of each stage to the end of the job, if cores were no limit."""
        order = graphlib.TopologicalSorter({s.name: s.needs for s in self._stages.values()})
        found = dict.fromkeys(self._stages, 0.0)
        for name in reversed(list(order.static_order())):
            found[name] += self._stages[name].seconds
            for need in self._stages[name].needs:
                found[need] = max(found[need], found[name])
        return found

    def _finished(self, stage: Stage) -> Record | None:
        """The record of a stage that need not run; else makes way for it, and says why."""
        path = self._record(stage)
        found = _read(path)
        if found.get("hash") == self._wanted[stage.name] and not found.get("finished"):
            return None  # was stopped, goes on
        if found.get("hash") == self._wanted[stage.name]:
            wrong = files.damage(self._out, found["outputs"])
            if wrong is None:
                return Record(found["seconds"], found["peak_memory_mb"], again=False)
            self._line.say(f"{stage.name} is run again: {wrong}")
        elif found:
            self._line.say(f"{stage.name} is run again: what it is made from has changed")
        if found and not stage.keeps:
            files.put_aside(self._out, stage.outputs, self._out / ".stages" / "stale" / stage.name)
        path.unlink(missing_ok=True)
        return None

    def _start(self, stage: Stage) -> None:
        arguments = [_filled(one, self._out) for one in (*stage.arguments, *stage.limits)]
        running = {"version": _VERSION, "hash": self._wanted[stage.name], "finished": False}
        replace_text(self._record(stage), json.dumps(running) + "\n")
        log = self._out / "logs" / f"{stage.name}.log"
        self._running[stage.name] = Child(arguments, log, self._server())

    def _server(self) -> ForkServer:
        """One that waits, if it is still there; else a new one."""
        if self._waiting:
            server = self._waiting.pop()
            if server.alive():
                return server
            server.close()
            self._free.append(server.cores)
        # The lock is its too: while it lives, nobody else works in the folder.
        return ForkServer(self._free.pop(), self._lock, self._env)

    def _finish(self, name: str) -> Record:
        stage, child = self._stages[name], self._running.pop(name)
        self._waiting.append(child.server)
        if child.code != 0:
            how = f"by signal {-child.code}" if child.code < 0 else f"with exit status {child.code}"
            raise StageError(
                f"stage {name} ended {how}: {child.complaint() or 'it said nothing'} "
                f"(all of its output: {child.log})"
            )
        missing = [path for path in stage.outputs if not (self._out / path).exists()]
        if missing:
            raise StageError(
                f"stage {name} ended well but did not make {missing[0]} (its output: {child.log})"
            )
        record = Record(round(child.seconds, 2), round(child.peak_memory_mb, 1), again=True)
        written = {
            "version": _VERSION,
            "hash": self._wanted[name],
            "finished": True,
            "arguments": stage.arguments,
            "seconds": record.seconds,
            "cpu_seconds": round(child.cpu_seconds, 2),
            "peak_memory_mb": record.peak_memory_mb,
            "outputs": files.fingerprints(self._out, stage.outputs),
        }
        replace_text(self._record(stage), json.dumps(written, indent=1) + "\n")
        return record

    def _stop(self) -> None:
        """Ends what still runs."""
        for child in self._running.values():
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE
        for child in self._running.values():
            while not child.ended():
                if time.monotonic() > deadline:
                    child.signal(signal.SIGKILL)
                time.sleep(_POLL)
            self._waiting.append(child.server)
        self._running.clear()
        for server in self._waiting:
            server.close()

    def _record(self, stage: Stage) -> pathlib.Path:
        return self._out / ".stages" / f"{stage.name}.json"


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            text = "Another process, or a stage that it left, works there; expected none"
            raise BlockingIOError(error.errno, text, str(path.parent.parent)) from error
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Turns the signals that end a process into an exception, so that stages are ended too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: Any) -> None:
        raise Stopped(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _filled(argument: str, out: pathlib.Path) -> str:
    def value(match: re.Match) -> str:
        path = out / match[1]
        try:
            found = json.loads(path.read_text())
            for part in match[2].split("/")[1:]:
                found = found[int(part)] if isinstance(found, list) else found[part]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise StageError(f"{path}#{match[2]}: {error!r}, expected a value there") from error
        return "/".join(map(str, found)) if isinstance(found, list) else str(found)

    return _REFERENCE.sub(value, argument).replace("{out}", str(out))


def _read(path: pathlib.Path) -> dict[str, Any]:
    """A record; empty where there is none that this version understands."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}; remove it to run the stage again") from error
    return found if found.get("version") == _VERSION else {"hash": None}
