"""Runs the main job and kills each of its stages once, with SIGKILL, while it is at work.

    python tests/experiments/kill_stages.py SECONDS --out=DIR --scale=smoke --actors=scripted

SECONDS is the longest that a stage may work before it is killed; how long each does is drawn. The
flags are those of `experiments.reproduce`, which is begun again after each kill until it ends well.
"""

import contextlib
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

_COMMAND = [sys.executable, "-m", "experiments.reproduce"]


def main() -> None:
    longest, *flags = sys.argv[1:]
    out = next(pathlib.Path(one.partition("=")[2]) for one in flags if one.startswith("--out="))
    killed: dict[str, float] = {}  # seconds after which, by stage
    met: set[str] = set()
    draws = random.Random(0)
    while True:
        job = subprocess.Popen([*_COMMAND, *flags], stderr=subprocess.PIPE, text=True)
        while job.poll() is None:
            at_work = _at_work(job.pid, out.resolve() / "logs")
            victim = next((one for one in at_work if one[1] not in met), None)
            if victim is None:
                time.sleep(0.02)
                continue
            pid, stage = victim
            met.add(stage)
            seconds = draws.uniform(0.0, float(longest))
            time.sleep(seconds)
            with contextlib.suppress(ProcessLookupError):  # where it was done before
                os.kill(pid, signal.SIGKILL)
                killed[stage] = seconds
        said = job.stderr.read()
        if job.returncode == 0:
            break
        if "ended by signal 9" not in said:
            sys.exit(f"the job ended with {job.returncode}: {said}")
    print(f"{len(killed)} of {len(met)} stages were killed, each after the seconds told:")
    for stage, seconds in killed.items():
        print(f"  {stage:40} {seconds:.1f}")
    left = sorted(str(path) for path in out.rglob("*.tmp"))
    print(f"temporary files left: {', '.join(left) or 'none'}")


def _at_work(job: int, logs: pathlib.Path) -> list[tuple[int, str]]:
    """Processes of the job's stages, and their names."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            log = (path / "fd" / "1").readlink()
        except (OSError, ValueError):
            continue
        if parent == job and log.parent == logs:
            found.append((int(path.name), log.stem))
    return found


if __name__ == "__main__":
    main()
