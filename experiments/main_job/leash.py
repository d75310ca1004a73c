"""Runs a command that ends when the process that started it ends, whatever ended that.

    python leash.py PARENT CORES COMMAND [ARGUMENT ...]

PARENT is the process to live with, CORES a list such as 0,2 to stay on, or empty. The command takes
the place of this process. Linux alone can promise it; elsewhere the command goes on by itself if
its parent is killed.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, cores, *command = sys.argv[1:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
            raise OSError(ctypes.get_errno(), "prctl failed")
        if os.getppid() != int(parent):  # it ended before it could be watched
            sys.exit(1)
    if cores:
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
