"""All budgets at once: the frontier of success against usage, for one help; see `core.dp`."""

import dataclasses
import math
from typing import Any

import jax
import numpy as np

from core import checks, solver
from core.table import TransitionTable
from core.tangents import Known

# Of each solution's value: a share of the gap asked for, within these limits.
_TOLERANCE, _SHARE, _MOST = 1e-10, 2e-2, 1e-7
_MOST_USAGE = 1e-6  # of the usage: the gap asked for, up to this
_SAME = 10  # tolerances; values closer than that cannot be told apart
_BATCH_ELEMENTS = 2**18  # nodes x costs of a batch, unless that is fewer than _MIN_BATCH costs
_MIN_BATCH, _MAX_BATCH = 32, 256
_MOST_PIECES = 8  # that a pair of vertices is divided into at one time
_MARGIN = 1.1  # for what is not known of the curve between them
_LEAST_COST = 1e-4  # to begin with, besides 0
_LEAST_COST_ENDLESS = 1e-2  # where some policy never ends: the bound at cost r grows with 1 / r
# Where nohelp is not offered everywhere, to begin with and at most, success being 1 at most, for
# vertices that are 1e-9 calls apart; 1 is enough where it is.
_LARGEST_COST, _STEEPEST_COST = 1e4, 1e9


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Frontier:
    """The vertices of the best success for each usage: a concave, piecewise linear curve.

    Between two vertices the optimum is a mixture of their policies (`core.dp.plan`).

    Attributes:
      cost: [V] r below which vertex v is better than the one before it, the slope between them;
        inf for the first. Vertex v is optimal for costs from cost[v + 1] to cost[v].
      usage: [V] expected calls an episode, ascending; of the policy to within the gap asked for, or
        1e-6 if that is less.
      success: [V] expected success, ascending; to within cost times that.
      policy: [V, S] int8.
      gap: no policy's success is further than this above the curve; true also when stopped early.
      complete: whether there are no further vertices, as far as 1e-9 of success, or a fifth of the
        gap asked for, can tell, or 1e-9 calls where help is forced.
    """

    cost: np.ndarray
    usage: np.ndarray
    success: np.ndarray
    policy: np.ndarray
    gap: float
    complete: bool


def frontier(
    table: TransitionTable,
    *,
    discount: float = 1.0,
    max_vertices: int | None = None,
    gap: float = 0.0,
    batch: int | None = None,
    devices: Any = None,
) -> Frontier:
    """Every vertex from the fewest calls to the most useful call rate.

    V(r) = max over policies of S - r U is convex and piecewise linear, and each of its pieces is a
    vertex. Two vertices are neighbours exactly if V at the slope between them is no more than both
    give; else the solution there is a vertex between them. All open pairs are tried at once, a
    batch of costs a solution, those with the largest gap first (Cohon's non-inferior set
    estimation, a batch at a time).

    Args:
      table: the problem, K = 1.
      discount: gamma in (0, 1].
      max_vertices: stop once there are this many. None: no limit.
      gap: stop once the remaining gap is at most this; 0 asks for all vertices, up to the accuracy
        of the solutions, about 1e-9.
      batch: costs solved at once, raised to a multiple of the devices; None chooses by the size of
        the table.
      devices: JAX devices to split the costs over; None is the default device.

    Raises:
      ValueError: for K > 1 (use `plan`), and for arguments out of range.
    """
    if table.num_helps != 1:
        raise ValueError(
            f"table must have one help for a frontier, got K = {table.num_helps}; use plan."
        )
    discount = checks.discount(discount)
    gap = checks.in_range("gap", gap, 0.0, np.inf)
    if max_vertices is not None:
        checks.whole("max_vertices", max_vertices, 2, 2**31 - 1)
    if batch is not None:
        checks.whole("batch", batch, 4, 2**31 - 1)
    devices = checks.devices(devices)
    dtype, context = solver.precision(None)
    with context:
        problem = solver.prepare(table, discount, dtype)
        share = solver.num_shares(devices)
        batch = -(-(batch or _batch_size(problem)) // share) * share
        search = _Search(problem, batch, gap, devices)
        least = _LEAST_COST if np.isfinite(problem.steps) else _LEAST_COST_ENDLESS
        costs = _first_costs(table, search.batch, least)
        search.solve(costs)
        if costs[-1] == _LARGEST_COST:
            costs = np.geomspace(_LARGEST_COST, _STEEPEST_COST, search.batch)
            search.solve(costs, only_fewer_calls=True)
        most = search.batch if gap == 0 or max_vertices is not None else None
        while max_vertices is None or len(search.vertices) < max_vertices:
            costs = search.open_costs(max(gap - search.bound, gap / 2), most)
            if costs.size == 0:
                break
            for start in range(0, costs.size, search.batch):
                search.solve(costs[start : start + search.batch])
        return search.result(max_vertices)


def _first_costs(table: TransitionTable, num_costs: int, least: float) -> np.ndarray:
    """[num_costs] 0, then from `least` to one above which no help pays."""
    has_nohelp = table.available[:, 0] | ~table.available.any(axis=1)
    # With nohelp everywhere the worst that not calling can do is to fail: help never pays above 1.
    largest = 1.0 + 1e-6 if has_nohelp.all() else _LARGEST_COST
    grid = np.geomspace(least, 1.0, num_costs - 2)
    return np.concatenate([[0.0], grid, [largest]])


def _batch_size(problem: solver.Problem) -> int:
    size = _BATCH_ELEMENTS // problem.num_nodes
    return int(np.clip(2 ** int(np.log2(max(size, 1))), _MIN_BATCH, _MAX_BATCH))


@dataclasses.dataclass
class _Vertex:
    usage: float
    success: float
    policy: np.ndarray  # [S] int8
    least_cost: float  # the range of costs it was found for
    most_cost: float


class _Search:
    """Vertices found so far, by usage, and the pairs that are proven neighbours."""

    def __init__(
        self,
        problem: solver.Problem,
        batch: int,
        gap: float,
        devices: tuple[jax.Device, ...] | None,
    ):
        self.problem, self.batch, self.devices = problem, batch, devices
        self.tolerance = max(_TOLERANCE, min(_SHARE * gap, _MOST))
        # Points off by that lie on the same tangents, so the gap stays true.
        self.usage_tolerance = max(self.tolerance, min(gap, _MOST_USAGE))
        self.same = _SAME * self.tolerance
        self.vertices: list[_Vertex] = []
        self.bound = 0.0
        self._closed: dict[tuple[float, float], float] = {}  # neighbours, and the gap between them
        self._lost = 0.0  # of success, by taking vertices for the same
        self._asked: dict[float, tuple[_Vertex, _Vertex]] = {}  # pairs by slopes to be solved
        self._divided: set[tuple[float, float]] = set()  # pairs whose costs were divided evenly
        self._known: Known | None = None  # what was solved, to begin at
        self._spent: solver.Block | None = None  # the last block

    def solve(self, costs: np.ndarray, *, only_fewer_calls: bool = False) -> None:
        """Solves a batch of costs and takes in the vertices found.

        The larger a cost, the less exact its solution: `only_fewer_calls`, for ascending costs,
        takes in none but the first to call less than those before, and counts its bound alone.
        """
        padded = np.resize(costs, self.batch)[:, None]
        block = solver.solve(
            self.problem,
            padded,
            tolerance=self.tolerance,
            usage_tolerance=self.usage_tolerance,
            start=None if self._known is None else self._known.start(padded),
            devices=self.devices,
            spent=self._spent,
        )
        known = Known.of(self.problem, block, range(costs.size))
        self._known = known if self._known is None else self._known.and_others(known)
        reached = solver.at_start(self.problem, block)
        self._spent = block
        fresh = [
            _Vertex(float(u), float(s), policy, float(r), float(r))
            for r, u, s, policy in zip(
                costs, reached.usage[:, 0], reached.success, reached.policy, strict=False
            )
        ]
        bound = block.bound[: len(costs)]
        if only_fewer_calls:
            fewer = self._fewer_calls(fresh)
            bound, fresh = bound[fewer], [fresh[j] for j in fewer]
        self.bound = max(self.bound, float(bound.max(initial=0.0)))
        self._close_tried(fresh)
        self._merge(fresh)

    def _fewer_calls(self, fresh: list[_Vertex]) -> list[int]:
        """Those that call less than the vertices, and than those before them."""
        margin = max(1.0 / _STEEPEST_COST, 2 * self.usage_tolerance)
        fewest, fewer = self.vertices[0].usage, []
        for j, v in enumerate(fresh):
            if v.usage < fewest - margin:
                fewer.append(j)
                fewest = v.usage
        return fewer

    def _close_tried(self, fresh: list[_Vertex]) -> None:
        for vertex in fresh:
            r = vertex.least_cost
            if r not in self._asked:
                continue
            low, high = self._asked.pop(r)
            above = vertex.success - r * vertex.usage - (low.success - r * low.usage)
            if above <= self.same * max(r, 1.0):  # r times what usage is off by
                self._closed[low.usage, high.usage] = max(above, 0.0)

    def _merge(self, fresh: list[_Vertex]) -> None:
        """Keeps the vertices of the upper envelope; those that are the same become one."""
        merged: list[_Vertex] = []
        for v in sorted([*self.vertices, *fresh], key=lambda v: (v.usage, -v.success)):
            if merged and v.success <= merged[-1].success + self.same:
                self._lost = max(self._lost, v.success - merged[-1].success)
                continue  # as good with fewer calls
            merged.append(v)
        hull: list[_Vertex] = []
        for v in merged:
            while len(hull) > 1 and _slope(hull[-2], hull[-1]) <= _slope(hull[-1], v):
                hull.pop()
            hull.append(v)
        self.vertices = hull

    def _pairs(self) -> list[tuple[_Vertex, _Vertex]]:
        return [
            pair
            for pair in zip(self.vertices[:-1], self.vertices[1:], strict=True)
            if (pair[0].usage, pair[1].usage) not in self._closed
        ]

    def open_costs(self, gap: float, most: int | None) -> np.ndarray:
        """The costs that are to be solved next, ascending, so that like costs are solved together.

        A pair is split where both ends give the same, at its slope: that divides its gap by four or
        closes it. Where few parts would do, a quarter of the gap asked for would be more than is
        needed: then its costs are divided evenly, once, and all gaps come out just small enough.

        Args:
          gap: that pairs may have.
          most: pairs are split at most, those of the largest gaps, each at its slope; None splits
            them all, for a gap above 0.
        """
        pairs = sorted(self._pairs(), key=lambda pair: -_pair_gap(*pair))[:most]
        self._asked, costs = {}, []
        for low, high in pairs:
            if (left := _pair_gap(low, high)) <= gap:
                break
            between = low.usage, high.usage
            chord = most is not None or between in self._divided
            number = 2 if chord else _pieces(left, gap)
            if number == 2:
                costs.append(_slope(low, high))
                self._asked[costs[-1]] = low, high
            else:
                self._divided.add(between)
                costs += np.linspace(high.most_cost, low.least_cost, number + 1)[1:-1].tolist()
        full = len(costs) // self.batch * self.batch  # what is left over waits for others
        return np.sort(costs[: full or None])

    def result(self, max_vertices: int | None) -> Frontier:
        vertices = self.vertices
        if max_vertices is not None and len(vertices) > max_vertices:
            keep = np.unique(np.linspace(0, len(vertices) - 1, max_vertices).round().astype(int))
            vertices = [vertices[i] for i in keep]
        usage = np.array([v.usage for v in vertices])
        success = np.array([v.success for v in vertices])
        left = max((_pair_gap(*pair) for pair in self._pairs()), default=0.0)
        left = max(left, *self._closed.values(), self._lost)
        curve = np.interp([v.usage for v in self.vertices], usage, success)
        dropped = max(0.0, float(np.max([v.success for v in self.vertices] - curve)))
        complete = left <= self.same and len(vertices) == len(self.vertices)
        slopes = np.diff(success) / np.diff(usage)
        return Frontier(
            cost=np.concatenate([[np.inf], slopes]),
            usage=usage,
            success=success,
            policy=np.stack([v.policy for v in vertices]),
            gap=left + dropped + self.bound,
            complete=complete,
        )


def _pieces(gap: float, wanted: float) -> int:
    """Parts of a pair's costs whose gaps are small enough, as these fall as the square; 2 if that
    is too many to be foretold."""
    number = math.ceil(_MARGIN * math.sqrt(gap / wanted))
    return number if 2 < number <= _MOST_PIECES else 2


def _slope(low: _Vertex, high: _Vertex) -> float:
    return (high.success - low.success) / (high.usage - low.usage)


def _pair_gap(low: _Vertex, high: _Vertex) -> float:
    """How far above the chord the frontier can be, given the costs at which both are optimal."""
    slope = _slope(low, high)
    steep, flat = low.least_cost - slope, slope - high.most_cost
    if steep <= 0 or flat <= 0:
        return 0.0
    # The lines of slope least_cost through `low` and most_cost through `high` meet at this height.
    return (high.usage - low.usage) * steep * flat / (steep + flat)
