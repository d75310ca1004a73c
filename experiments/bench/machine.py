"""What the figures of `bench_dp` depend on besides the code: the machine and the versions."""

import importlib.metadata
import os
import pathlib
import platform
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.linalg.blas

from experiments import peers


def measure_triad(num_items: int = 2**25, repeats: int = 5) -> float:
    """Bytes a second of y <- a x + y on arrays far larger than the cache: two reads, one write."""
    x, y = np.ones(num_items), np.ones(num_items)
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        scipy.linalg.blas.daxpy(x, y, a=0.5)
        seconds.append(time.perf_counter() - begin)
    return 3 * x.nbytes / min(seconds)


def describe(jax_platform: str) -> dict[str, Any]:
    """Processor, JAX platform, load, and versions of Python and of the solvers."""
    processor = platform.processor() or platform.machine()
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        processor = names[0].partition(":")[2].strip() if names else processor
    owners = importlib.metadata.packages_distributions()
    packages = {"jax", *(peer.package for peer in peers.PEERS.values())}
    names = sorted({name for package in packages for name in owners.get(package, ())})
    return {
        "processor": processor,
        "platform": jax_platform,
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "versions": {name: importlib.metadata.version(name) for name in names},
    }


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Of packages that figures depend on, or that one is not installed."""
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "is not installed"
    return found
