"""A stage as a process: what it prints, how long it takes, how much memory, and that it ends."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.main_job import fork_server

_TAIL = 1 << 16  # bytes of a log in which its last line is looked for


class ForkServer:
    """Where stages are forked, one at a time: see `experiments.main_job.fork_server`.

    Attributes:
      cores: those that its stages stay on; all if empty.
    """

    def __init__(self, cores: Sequence[int], lock: int, env: Mapping[str, str]):
        """Starts it.

        Args:
          cores: see above.
          lock: a descriptor that it and its stages keep open while they live.
          env: their environment.
        """
        self.cores = cores
        self._here, there = socket.socketpair()
        self._heard = b""
        stay = ",".join(map(str, cores))
        with there:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    fork_server.__name__,
                    str(os.getpid()),
                    stay,
                    str(there.fileno()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[lock, there.fileno()],
                env={**env, "PYTHONUNBUFFERED": "1"},
            )
        self._here.setblocking(False)

    def ask(self, arguments: Sequence[str], log: pathlib.Path) -> None:
        """Has a stage forked."""
        request = {"arguments": arguments, "log": os.path.abspath(log)}
        with contextlib.suppress(ConnectionError):  # it has ended, which `answers` says
            self._here.setblocking(True)
            self._here.sendall((json.dumps(request) + "\n").encode())
        self._here.setblocking(False)

    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def answers(self) -> list[dict[str, Any]]:
        """What has come since; if it has ended, the last one says how."""
        found: list[dict[str, Any]] = []
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while part := self._here.recv(1 << 16):
                self._heard += part
        *lines, self._heard = self._heard.split(b"\n")
        found += [json.loads(line) for line in lines]
        if not self.alive():
            found.append({"code": self._process.returncode or 1})
        return found

    def signal(self, number: int, pid: int | None) -> None:
        """Sends a signal to a stage, or to the fork server while that has none."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid if pid is None else pid, number)

    def close(self) -> None:
        """Ends it; no stage may be left in it."""
        self._here.close()
        self._process.wait()


class Child:
    """A stage that runs.

    Attributes:
      log: the file that its output is appended to.
      server: that it was forked in.
      code: its exit status, or the negative number of a signal; None while it runs.
      peak_memory_mb: in MiB, of the largest process of it, once it has ended.
      cpu_seconds: of a processor that it took, once it has ended.
    """

    def __init__(self, arguments: Sequence[str], log: pathlib.Path, server: ForkServer):
        """Starts it.

        Args:
          arguments: for the Python interpreter.
          log, server: see above.
        """
        self.log, self.server = log, server
        self.code, self.peak_memory_mb, self.cpu_seconds = None, 0.0, 0.0
        self._pid: int | None = None
        with log.open("ab") as file:
            file.write(f"$ python {' '.join(arguments)}\n".encode())
        self._began = time.monotonic()
        server.ask(arguments, log)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def ended(self) -> bool:
        """Whether it has; then `code` and what it used are set."""
        unit = 1 << 20 if sys.platform == "darwin" else 1 << 10  # of ru_maxrss: bytes, or KiB
        for told in self.server.answers() if self.code is None else []:
            self._pid = told.get("pid", self._pid)
            if self.code is None and "code" in told:
                self.code = told["code"]
                self.peak_memory_mb = told.get("max_rss", 0) / unit
                self.cpu_seconds = told.get("cpu_seconds", 0.0)
        return self.code is not None

    def signal(self, number: int) -> None:
        """Sends it a signal, if it is still there."""
        if not self.ended():
            self.server.signal(number, self._pid)

    def last_line(self) -> str:
        """The last thing it printed in this run."""
        return (self._lines() or [""])[-1].strip()

    def complaint(self) -> str:
        """The last line that is not indented: lists of what is wrong stand below what it is."""
        lines = self._lines()
        heads = [line for line in lines if not line[0].isspace()]
        return (heads or lines or [""])[-1].strip().removesuffix(":")

    def _lines(self) -> list[str]:
        """Those of this run, without empty ones."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - _TAIL))
            lines = file.read().decode(errors="replace").replace("\r", "\n").split("\n")
        lines = [line for line in lines if line.strip()]
        began = [i for i, line in enumerate(lines) if line.startswith("$ python")]
        return lines[began[-1] + 1 :] if began else lines


def cores(jobs: int, *, one_each: bool) -> list[list[int]]:
    """For each of so many jobs the cores that are its; none of them is to stay where it is put if
    the list is empty.

    With `one_each` a job has one core however many there are, so that what it computes does not
    depend on how many run: sums over several threads are rounded otherwise. Jobs share cores where
    there are too few.
    """
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}, expected at least 1")
    there = at_hand()
    return [there[i % len(there) :][:1] if one_each and there else [] for i in range(jobs)]


def at_hand() -> list[int]:
    """The cores that this process may use; empty where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
