"""One measurement of `bench_dp`, in a process of its own: `python -m experiments.bench.cell JSON`.

A fresh process makes a first call pay for its compilation and gives memory a clean start. The
request is a JSON object with the fields of `Cell`; the answer is a JSON file, for solvers write
to the standard streams as they like.
"""

import dataclasses
import importlib
import json
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments import peers
from experiments.bench.measure import forget_peak_memory, peak_memory
from experiments.instances import Instance

SWEEP = "core.dp.sweep"
FRONTIER = "core.dp.frontier"
TOLERANCE = {"float32": 1e-6, "float64": peers.ACCURACY}


@dataclasses.dataclass(frozen=True)
class Cell:
    """What to measure.

    Attributes:
      solver: SWEEP, FRONTIER or a name of `peers.PEERS`.
      instance: the .npz file of an `Instance`.
      answer: the JSON file to write.
      core: the processor core to stay on, or None.
      budget: seconds that repeated calls, or a call for each cost, may take in all.
      num_costs: R, see `costs`.
      dtype: of the values; peers know float64 alone.
      gap: of the frontier.
      reference: .npy file of V [S, R] to compare with, or None.
      save_values: .npy file to write V [S, R] to, or None.
    """

    solver: str
    instance: str
    answer: str
    core: int | None
    budget: float
    num_costs: int = 0
    dtype: str = "float64"
    gap: float = 0.0
    reference: str | None = None
    save_values: str | None = None


def costs(num_costs: int) -> np.ndarray:
    """R costs of a call, geometric from 1e-3 to 1; for R = 1 the one in the middle."""
    return np.geomspace(1e-3, 1.0, num_costs) if num_costs > 1 else np.array([10**-1.5])


def measure(cell: Cell) -> dict[str, Any]:
    """Seconds, memory and agreement of one solver; see `bench_dp` for the columns."""
    if cell.core is not None:
        os.sched_setaffinity(0, {cell.core})
    if cell.solver == FRONTIER:
        return _measure_frontier(cell)
    if cell.solver == SWEEP:
        return _measure_sweep(cell)
    return _measure_peer(cell)


def _measure_sweep(cell: Cell) -> dict[str, Any]:
    # Imported here, so that other solvers do not carry JAX about.
    from core import dp
    from core.transitions import TransitionTable

    instance, problem, memory = _load(cell)
    price = costs(cell.num_costs)
    table, build = _timed(lambda: TransitionTable.from_arrays(**instance.table_arguments()))

    def sweep() -> dp.Solution:
        return dp.sweep(
            table,
            price,
            discount=instance.discount,
            tolerance=TOLERANCE[cell.dtype],
            dtype=cell.dtype,
        )

    solution, cold = _timed(sweep)
    warm, count = _repeated(sweep, cell.budget, at_least=3)
    peak = memory()
    success, usage = np.asarray(solution.success), np.asarray(solution.usage)
    value = (success - price * usage.sum(axis=-1))[: problem.num_states]
    iterations = np.asarray(solution.iterations)
    return {
        "build": build,
        "cold": cold,
        "warm": warm,
        "calls": count,
        "peak_bytes": peak,
        "iterations_max": int(iterations.max()),
        "iterations_sum": int(iterations.sum()),
        "converged": bool(np.asarray(solution.converged).all()),
        "bound": float(np.asarray(solution.bound).max()),
        **_compared(cell, problem, value, np.arange(price.size)),
    }


def _measure_frontier(cell: Cell) -> dict[str, Any]:
    from core import dp
    from core.transitions import TransitionTable

    instance, _, memory = _load(cell)
    table, build = _timed(lambda: TransitionTable.from_arrays(**instance.table_arguments()))

    def frontier() -> dp.Frontier:
        return dp.frontier(table, discount=instance.discount, gap=cell.gap)

    found, cold = _timed(frontier)
    warm, count = _repeated(frontier, cell.budget, at_least=1)
    return {
        "build": build,
        "cold": cold,
        "warm": warm,
        "calls": count,
        "peak_bytes": memory(),
        "vertices": int(np.asarray(found.usage).size),
        "gap_left": float(found.gap),
        "complete": bool(found.complete),
    }


def _measure_peer(cell: Cell) -> dict[str, Any]:
    peer = peers.PEERS[cell.solver]
    importlib.import_module(f"experiments.peers.{peer.module}")
    _, problem, memory = _load(cell)
    solve, build = _timed(lambda: peer.build(problem))
    price = costs(cell.num_costs)
    columns = np.arange(price.size)
    if not peer.many:
        middle = price[price.size // 2 :][:1]
        _, first = _timed(lambda: solve(middle))
        columns = _affordable(price.size, first["wall"], cell.budget)
    scale = price.size / columns.size
    value, once = _timed(lambda: solve(price[columns]))
    warm, count = _repeated(
        lambda: solve(price[columns]), cell.budget - once["wall"], before=(once,)
    )
    peak = memory()
    if cell.save_values:
        np.save(cell.save_values, value)
    return {
        "build": build,
        "warm": {clock: seconds * scale for clock, seconds in warm.items()},
        "calls": count,
        "costs_solved": columns.size,
        "peak_bytes": peak,
        **_compared(cell, problem, value, columns),
    }


def _load(cell: Cell) -> tuple[Instance, peers.Problem, Callable[[], int]]:
    """The instance, its problem, and what later says how much memory was added at the peak."""
    instance = Instance.load(pathlib.Path(cell.instance))
    problem = peers.from_instance(instance)
    forget_peak_memory()
    baseline = peak_memory()
    return instance, problem, lambda: peak_memory() - baseline


def _timed(function: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What it returns, and its seconds by the wall clock and of processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return result, {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def _repeated(
    function: Callable[[], Any],
    budget: float,
    *,
    at_least: int = 0,
    at_most: int = 5,
    before: tuple[dict[str, float], ...] = (),
) -> tuple[dict[str, float], int]:
    """The median seconds of several calls, those made `before` included, and how many.

    Stops when one more call would exceed the budget.
    """
    calls = list(before)
    spent = 0.0
    while len(calls) < at_most:
        if len(calls) >= max(at_least, 1) and spent + calls[-1]["wall"] > budget:
            break
        calls.append(_timed(function)[1])
        spent += calls[-1]["wall"]
    return {clock: statistics.median(c[clock] for c in calls) for clock in ("wall", "cpu")}, len(
        calls
    )


def _affordable(num_costs: int, seconds_each: float, budget: float) -> np.ndarray:
    """The positions of as many evenly spread costs as one pass within the budget allows."""
    count = int(np.clip(budget / max(seconds_each, 1e-9), 1, num_costs))
    if count == 1:
        return np.array([num_costs // 2])
    return np.linspace(0, num_costs - 1, count).round().astype(int)


def _compared(
    cell: Cell, problem: peers.Problem, value: np.ndarray, columns: np.ndarray
) -> dict[str, float]:
    """The largest differences from the reference, over all states and at the start."""
    if cell.reference is None:
        return {}
    difference = value - np.load(cell.reference, mmap_mode="r")[:, columns]
    return {
        "start_difference": float(np.abs(problem.at_start(difference)).max()),
        "value_difference": float(np.abs(difference).max()),
    }


def main() -> None:
    cell = Cell(**json.loads(sys.argv[1]))
    pathlib.Path(cell.answer).write_text(json.dumps(measure(cell)))


if __name__ == "__main__":
    main()
