"""Measurements in processes of their own: how to ask for one, and the seconds and memory it took.

A fresh process gives memory a clean start. It takes a JSON object as its only argument and writes
its answer into a JSON file, as what is measured may write to the standard streams.
"""

import contextlib
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any, Self


def ask(
    module: str, request: Mapping[str, Any], *, limit: float, env: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What `python -m MODULE REQUEST` answers.

    Args:
      module: writes JSON into the file that the field `answer` of its request names.
      request: the other fields, JSON values.
      limit: seconds.
      env: of the process; as here if None.

    Returns:
      The answer with "status": "ok". Else a status alone, "> 60 s", or "failed" with the "reason".
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = pathlib.Path(folder, "answer.json")
        command = [sys.executable, "-m", module, json.dumps({**request, "answer": str(answer)})]
        try:
            done = subprocess.run(
                command, env=env or os.environ, capture_output=True, text=True, timeout=limit
            )
        except subprocess.TimeoutExpired:
            return {"status": f"> {limit:g} s"}
        if done.returncode:
            return {"status": "failed", "reason": _reason(done)}
        return {"status": "ok"} | json.loads(answer.read_text())


class Meter:
    """Seconds and memory of the work inside `with meter:`, which may come in pieces.

    Processor seconds are those of all threads of this process, and of no other process.
    """

    def __init__(self):
        self._wall = self._cpu = 0.0
        self._before: int | None = None  # bytes held when the work began

    def __enter__(self) -> Self:
        if self._before is None:
            forget_peak_memory()
            self._before = peak_memory()
        self._began = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_) -> None:
        self._cpu += time.process_time() - self._began[1]
        self._wall += time.perf_counter() - self._began[0]

    def result(self, count: int, note: str = "") -> dict[str, Any]:
        """What was measured: `count` things done, their seconds, bytes at the peak and added."""
        peak = peak_memory()
        return {
            "count": count,
            "cpu": self._cpu,
            "wall": self._wall,
            "peak_bytes": peak,
            "added_bytes": max(peak - (self._before or 0), 0),  # the kernel counts in batches
            "note": note,
        }


def peak_memory() -> int:
    """The largest resident size of this process so far, in bytes.

    Linux passes ru_maxrss on from the process that started this one; its VmHWM does not.
    """
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def forget_peak_memory() -> None:
    """Sets the peak back to what is held now, where the system can: what came before is past."""
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/clear_refs").write_text("5")


def _reason(done: subprocess.CompletedProcess) -> str:
    if done.returncode < 0:
        return f"killed by signal {-done.returncode}" + " (memory?)" * (done.returncode == -9)
    lines = done.stderr.strip().splitlines()
    return lines[-1][:200] if lines else f"exit status {done.returncode}"
