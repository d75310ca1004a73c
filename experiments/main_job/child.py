"""A stage as a process: what it prints, how long it takes, how much memory, and that it ends."""

import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from experiments.main_job import leash

_TAIL = 1 << 16  # bytes of a log in which its last line is looked for


class Child:
    """A stage that runs.

    Attributes:
      log: the file that its output is appended to.
      cores: those that it stays on; all if empty.
      code: its exit status, or the negative number of a signal, once it has ended.
      peak_memory_mb: in MiB, of the largest process of it, once it has ended.
      cpu_seconds: of a processor that it took, once it has ended.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        log: pathlib.Path,
        cores: Sequence[int],
        lock: int,
        env: Mapping[str, str],
    ):
        """Starts it.

        Args:
          arguments: for the Python interpreter.
          log, cores: see above.
          lock: a descriptor that it keeps open while it lives.
          env: its environment.
        """
        self.log, self.cores = log, cores
        self.code, self.peak_memory_mb, self.cpu_seconds = 0, 0.0, 0.0
        stay = ",".join(map(str, cores))
        held = [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), stay]
        with log.open("ab") as file:
            file.write(f"$ python {' '.join(arguments)}\n".encode())
            file.flush()
            self._began = time.monotonic()
            self.process = subprocess.Popen(
                [*held, sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                pass_fds=[lock],
                env={**env, "PYTHONUNBUFFERED": "1"},
            )

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def ended(self) -> bool:
        """Whether it has; then `code` and what it used are set."""
        if self.process.returncode is not None:
            return True
        pid, status, used = os.wait4(self.process.pid, os.WNOHANG)
        if not pid:
            return False
        self.code = self.process.returncode = os.waitstatus_to_exitcode(status)
        unit = 1 << 20 if sys.platform == "darwin" else 1 << 10  # of ru_maxrss: bytes, or KiB
        self.peak_memory_mb = used.ru_maxrss / unit
        self.cpu_seconds = used.ru_utime + used.ru_stime
        return True

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
