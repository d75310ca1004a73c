"""Ties a process to the one that started it, so that it ends when that ends, whatever ended it.

Linux alone can promise it; elsewhere a process goes on by itself if its parent is killed.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def hold(parent: int, cores: str) -> None:
    """Ties this process to its parent.

    Args:
      parent: the process to live with.
      cores: a list such as 0,2 to stay on, or empty.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
            raise OSError(ctypes.get_errno(), "prctl failed")
        if os.getppid() != parent:  # it ended before it could be watched
            sys.exit(1)
    if cores:
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
