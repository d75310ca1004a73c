"""Forks stages from a process that has imported what most of them need, which takes two seconds.

    python -m experiments.main_job.fork_server PARENT CORES SOCKET

SOCKET is a descriptor. Each line that comes from it is a stage, {"arguments": [], "log": PATH}. It
is answered by its process, {"pid": N}, and once that has ended by what became of it, {"code": N,
"max_rss": N, "cpu_seconds": X}. One at a time; PARENT and CORES are as in `leash`.

The standard library's fork server would import its parent's program into each stage, whose flags
are then defined twice, and does not tell what memory a stage took.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
from typing import Any

from experiments.main_job import leash

# None of these defines flags, of which each stage has its own, nor starts a thread or a backend of
# JAX, neither of which outlives a fork.
_NEEDED = (
    "flax.nnx",
    "optax",
    "orbax.checkpoint",
    "scipy.optimize",
    "transformers",
    "core.dp",
    "adapters.encoder",
    "models.training",
)


def main() -> None:
    parent, cores, descriptor = sys.argv[1:]
    leash.hold(int(parent), cores)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks for stages ends them
    arguments = _serve(socket.socket(fileno=int(descriptor)))
    if arguments is not None:
        _become(arguments)


def _serve(there: socket.socket) -> list[str] | None:
    """The arguments of a stage, in its own process; None once no more are asked for."""
    for line in there.makefile("r"):
        request = json.loads(line)
        log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        if _is_forked(request["arguments"]):
            for name in _NEEDED:
                with contextlib.suppress(ImportError):  # the stage that needs it says so
                    importlib.import_module(name)
            gc.freeze()  # what is here is not looked through, and so not copied, by each stage
        own = os.getpid()
        pid = os.fork()
        if pid == 0:
            there.close()
            leash.hold(own, "")
            signal.signal(signal.SIGINT, signal.default_int_handler)
            return request["arguments"]
        _answer(there, pid=pid)
        _, status, used = os.wait4(pid, 0)
        code, seconds = os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
        _answer(there, code=code, max_rss=used.ru_maxrss, cpu_seconds=seconds)
    return None


def _is_forked(arguments: list[str]) -> bool:
    """Whether it is a program of this package; elsewhere libraries may not stand a fork."""
    return arguments[0] == "-m" and sys.platform == "linux"


def _answer(there: socket.socket, **values: Any) -> None:
    there.sendall((json.dumps(values) + "\n").encode())


def _become(arguments: list[str]) -> None:
    """What `python ARGUMENT ...` does, here."""
    if not _is_forked(arguments):
        os.execv(sys.executable, [sys.executable, *arguments])
    sys.argv = arguments[1:]
    runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
