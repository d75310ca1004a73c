"""A table made ready for sweeps at one discount, and exact solutions of it for blocks of costs."""

import contextlib
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from core import bellman, certificate, cycles, rules
from core.table import TransitionTable

_FIRST_ITERATIONS = 200  # to look for a certificate where there may be none
_MAX_ITERATIONS = 10_000_000
_MAX_SWEEPS = 1_000_000
TIE = 8.0  # how much closer V is than actions that tie: errors must not tell them apart
_HISTORY = 6  # times the feedback nodes' values; chunks by fewer are slower on random tables
_FIRST_GUESS = 64.0  # expected steps, where no certificate tells
_REFINEMENTS = 4
ROOM = 1.5  # the bound is 1.25 targets a step (ties, and what V lacks), and rounding
_EXACT_COST = 2.0  # up to which S = V + r.M is as exact as V


@dataclasses.dataclass(frozen=True)
class Problem:
    """A table, a discount and a dtype, ready for sweeps.

    Attributes:
      table: as given.
      backups: on the device; of the table whose free cycles are chains, where it has any.
      own_position: [S] the node of each state, which holds its policy.
      position: [S] the node that holds each state's values: its own, or the head of its chain's.
      free_cycles: what was made chains, None if nothing was looked for.
      steps: the largest expected number of steps to the end under any policy; inf if some policy
        never ends.
    """

    table: TransitionTable
    backups: bellman.Backups
    own_position: np.ndarray
    position: np.ndarray
    free_cycles: cycles.FreeCycles | None
    steps: float

    @property
    def num_nodes(self) -> int:
        """N."""
        return self.backups.offered.shape[0]

    @property
    def elements_a_cost(self) -> int:
        """What the loops go over for one cost, again and again: values and their history."""
        return self.num_nodes + _HISTORY * self.backups.feedback.shape[0]

    @property
    def dtype(self) -> Any:
        """Of the sweeps."""
        return self.backups.classes[0].weight.dtype

    def lifted(self, policy: np.ndarray) -> np.ndarray:
        """[S, R] for the table as given, from [S, R] for the one that is swept."""
        return policy if self.free_cycles is None else self.free_cycles.lift_policy(policy)


def precision(dtype: Any) -> tuple[Any, contextlib.AbstractContextManager]:
    """The dtype to sweep in, and a context in which JAX offers it.

    None is float64, except on TPUs, where it is float32: float64 is emulated there. The context
    leaves the global x64 switch alone.
    """
    if dtype is None:
        dtype = jnp.float32 if jax.default_backend() == "tpu" else jnp.float64
    if dtype not in (jnp.float32, jnp.float64, "float32", "float64"):
        raise ValueError(f"dtype must be float32, float64 or None, got {dtype!r}.")
    dtype = np.dtype(dtype)
    wide = dtype == np.float64
    return dtype, jax.enable_x64(True) if wide else contextlib.nullcontext()


def prepare(table: TransitionTable, discount: float, dtype: Any) -> Problem:
    """Finds the certificate of the table; at discount 1, deals with what never ends.

    Raises:
      ValueError: if discount is 1 and from some state every policy may call help for ever.
    """
    chained, free_cycles, head = table, None, np.arange(table.num_states)
    iterations = _FIRST_ITERATIONS if discount == 1.0 else _MAX_ITERATIONS
    steps = certificate.expected_steps(table, discount, iterations)
    if np.isinf(steps) and discount == 1.0:
        if (cycles.end_components(table)[0] >= 0).any():
            chained, free_cycles = cycles.break_free_cycles(table)
            head = free_cycles.head
        if (cycles.end_components(chained)[0] >= 0).any():
            cycles.check_can_end(chained)
        else:
            steps = certificate.expected_steps(chained, discount, _MAX_ITERATIONS)
    return Problem(
        table=table,
        backups=bellman.discount_rows(
            chained.layout, discount, dtype, eliminate=(True,) * table.num_actions
        ),
        own_position=chained.layout.position,
        position=chained.layout.position[head],
        free_cycles=free_cycles,
        steps=steps,
    )


def num_shares(devices: tuple[jax.Device, ...] | None) -> int:
    """What the number of costs must be a multiple of."""
    return 1 if devices is None else len(devices)


@dataclasses.dataclass(frozen=True)
class Block:
    """An exact solution for R costs, in the layout's order, on the device.

    Attributes:
      costs: [R, K].
      success: [N, R] S; V is S - r.M.
      usage: K arrays [N, R].
      policy: [N, R] int8.
      bound: [R] how far V, and the true value of the policy, may be from V*.
      iterations: [R] sweeps for V; usage takes about as many again.
    """

    costs: np.ndarray
    success: jax.Array
    usage: tuple[jax.Array, ...]
    policy: jax.Array
    bound: np.ndarray
    iterations: np.ndarray


def solve(
    problem: Problem,
    costs: np.ndarray,
    *,
    tolerance: float,
    usage_tolerance: float | None = None,
    max_sweeps: int = _MAX_SWEEPS,
    start: tuple[jax.Array, jax.Array] | None = None,
    devices: tuple[jax.Device, ...] | None = None,
    spent: Block | None = None,
) -> Block:
    """Solves the problem for costs [R, K], to a bound of `tolerance` where it can.

    With a certificate the residual to reach is known beforehand. Without one (some policy never
    ends) the bound is computed after the fact (`rules.price_certificate`) and the target made
    smaller until the bound is met.

    Args:
      problem: the table.
      costs: [R, K].
      tolerance: for the bound.
      usage_tolerance: for the usage, where it may be less exact than V; None is `tolerance`.
      max_sweeps: sweeps at most for V, and for usage.
      start: V and minus the total usage of the feedback nodes, [F, R], to begin at; zeros if None.
      devices: to split the costs over, R a multiple of `num_shares`; None is the default device.
      spent: a block of as many costs that is done with, whose memory is taken: asking the system
        for more takes longer than a sweep.
    """
    backups, dtype = problem.backups, problem.dtype
    shape = (backups.feedback.shape[0], len(costs))
    prices = np.ascontiguousarray(costs.T, dtype)
    offered = np.repeat(np.asarray(backups.offered)[:, None], len(costs), axis=1)
    zeros = np.zeros(shape, dtype)
    value_start, usage_start = (zeros, zeros) if start is None else start
    place = None
    if devices is not None:
        mesh = jax.sharding.Mesh(np.array(devices), ("costs",))
        place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "costs"))
        whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        backups = jax.device_put(backups, whole)
    prices, offered, value_start, usage_start = jax.device_put(
        (prices, offered, value_start, usage_start), place
    )
    ones, no_gain, gain = np.ones(prices.shape, dtype), dtype.type(0), dtype.type(1)
    proven = np.isfinite(problem.steps)
    target = tolerance / (ROOM * (problem.steps if proven else _FIRST_GUESS))
    slack = 1.0 if usage_tolerance is None else usage_tolerance / tolerance
    iterations = np.zeros(len(costs), np.int32)

    memory = [] if spent is None else [spent.success, *spent.usage]

    def room():
        if memory:
            return memory.pop()
        return jax.device_put(np.zeros((problem.num_nodes, len(costs)), dtype), place)

    def maximize(start, allowed, gain_weight, prices, target, max_sweeps):
        return rules.maximize(
            backups,
            room(),
            start,
            allowed,
            gain_weight,
            prices,
            target=target,
            max_sweeps=max_sweeps,
            extrapolate=proven,
        )

    for _ in range(_REFINEMENTS):
        left = max_sweeps - int(iterations.max())
        reached = maximize(value_start, offered, gain, prices, target / TIE, left)
        value = reached.values
        tied = rules.greedy(backups, value, offered, gain, prices, dtype.type(target))
        negative = maximize(usage_start, tied, no_gain, ones, slack * target, max_sweeps).values
        fewest = rules.greedy(backups, negative, tied, no_gain, ones, dtype.type(0))
        policy = rules.first_action(fewest)
        iterations += np.asarray(reached.iterations)
        # Of its residual and of what a tie gives away.
        defect = 2 * np.asarray(reached.change, np.float64) + target
        defect += np.asarray(rules.rounding(value), np.float64)
        if proven:
            bound = problem.steps * defect
            break
        weight = rules.price_certificate(backups, value, prices, jnp.asarray(defect, dtype))
        bound = 4.0 * defect * np.asarray(weight, np.float64)
        free = (costs == 0).all(axis=1)
        if free.any() and not np.isfinite(bound[free]).all():
            bound[free] = _bound_at_no_cost(problem, np.asarray(value[:, free]), tolerance)
        if (bound <= tolerance).all() or iterations.max() >= max_sweeps:
            break
        target /= 16.0
        value_start, usage_start = value[backups.feedback], negative[backups.feedback]

    def follow(gain_weight, prices):
        chosen = rules.only_action(policy, backups.offered)
        begin = jax.device_put(zeros, place)
        return maximize(begin, chosen, gain_weight, prices, slack * target, max_sweeps).values

    usage = []  # of each help but the last, to which the rest of the total belongs
    for k in range(len(prices) - 1):
        one_call = np.zeros(prices.shape, dtype)
        one_call[k] = -1.0
        usage.append(follow(no_gain, one_call))
    success, usage = rules.split_usage(value, negative, tuple(usage), prices)
    if costs.max() > _EXACT_COST:  # S = V + r.M would lose the digits that r.M has more than S
        success = follow(gain, np.zeros(prices.shape, dtype))
    return Block(costs, success, usage, policy, bound, iterations)


def _bound_at_no_cost(problem: Problem, value: np.ndarray, tolerance: float) -> np.ndarray:
    """[R] the error of V [N, R] at cost 0, by the table whose end components are merged.

    Going round by help is free at cost 0 and shows no slack, so no certificate exists; but without
    end components there is one, and success is the same.
    """
    merged, head = cycles.merge_end_components(problem.table)
    whole = prepare(merged, 1.0, problem.dtype)
    block = solve(whole, np.zeros((1, problem.table.num_helps)), tolerance=tolerance / 2)
    best = np.asarray(block.success)[whole.position[head]]  # [S, 1]
    return np.abs(value[problem.position] - best).max(axis=0) + block.bound[0]


class AtStart(NamedTuple):
    """A block's policies, and what they reach over the start distribution."""

    policy: np.ndarray  # [R, S] int8
    success: np.ndarray  # [R]
    usage: np.ndarray  # [R, K]


def at_start(problem: Problem, block: Block) -> AtStart:
    """Expected success and usage of each of a block's policies; reads only the start states."""
    table = problem.table
    nodes = problem.position[table.start]
    success, *usage = map(np.asarray, rules.rows((block.success, *block.usage), nodes))
    return AtStart(
        np.ascontiguousarray(policies(problem, block).T),
        table.start_weight @ success,
        np.tensordot(table.start_weight, np.stack(usage, axis=-1), 1),
    )


def policies(problem: Problem, block: Block) -> np.ndarray:
    """[S, R] int8, the policies of a block in the order of the states."""
    return problem.lifted(np.asarray(block.policy)[problem.own_position])
