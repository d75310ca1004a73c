"""What `bench_dp` measures, in which order, and how long that may take."""

import dataclasses
from collections.abc import Sequence

from experiments.bench.cell import FRONTIER, SWEEP

# Seconds that a process needs before it measures anything.
_START_SECONDS = 2.0


@dataclasses.dataclass(frozen=True)
class Task:
    """One line of the tables."""

    family: str
    size: int
    seed: int
    solver: str
    num_costs: int = 0
    dtype: str = "float64"
    gap: float = 0.0

    @property
    def instance(self) -> str:
        return f"{self.family}-{self.size}-{self.seed}"

    @property
    def work(self) -> int:
        """What its time is taken to grow with."""
        return self.size * max(self.num_costs, 1)

    def key(self) -> str:
        """Its name among the results."""
        return "/".join(map(str, dataclasses.astuple(self)))

    def __str__(self) -> str:
        what = f"gap {self.gap:g}" if self.solver == FRONTIER else f"R={self.num_costs}"
        return f"{self.instance}, {what}, {self.solver} {self.dtype}"


def plan(
    *,
    sizes: Sequence[int],
    families: Sequence[str],
    seed: int,
    costs: Sequence[int],
    dtypes: Sequence[str],
    solvers: Sequence[str],
    reference: str,
    frontier_sizes: Sequence[int],
    frontier_gaps: Sequence[float],
) -> list[Task]:
    """All tasks, small ones first; the reference leads those that are compared with it."""
    tasks = []
    for size in sorted({*sizes, *frontier_sizes}):
        for family in families if size in sizes else ():
            for num_costs in costs:
                tasks += [Task(family, size, seed, reference, num_costs)]
                tasks += [Task(family, size, seed, SWEEP, num_costs, dtype) for dtype in dtypes]
                tasks += [Task(family, size, seed, name, num_costs) for name in solvers]
        if size in frontier_sizes:
            tasks += [Task("layered", size, seed, FRONTIER, gap=gap) for gap in frontier_gaps]
    return list(dict.fromkeys(tasks))


def time_left(done: Sequence[tuple[Task, float]], left: Sequence[Task], limit: float) -> float:
    """Seconds the tasks left may take, from those done and their seconds.

    Beyond its start a task is taken to need time in proportion to states times costs.
    """
    spent = sum(max(seconds - _START_SECONDS, 0.0) for _, seconds in done)
    rate = spent / max(sum(task.work for task, _ in done), 1)
    return sum(min(limit, _START_SECONDS + rate * task.work) for task in left)
