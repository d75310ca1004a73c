"""The best policy for each of many costs; see `core.dp` for the problem."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from core import bellman, checks, rules, solver
from core.evaluation import evaluate
from core.table import TransitionTable
from core.tangents import Known

_CHUNK_ELEMENTS = 2**21  # of arrays swept at once: 16 MB of float64, what a cache may hold
_MIN_CHUNK, _MAX_CHUNK = 16, 1024  # fewer costs than that waste each row that is gathered
_ROWS = 1024  # of a solution that are written at a time


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Solution:
    """Policies for R costs on S states with K helps.

    Attributes:
      costs: [R, K] r.
      policy: [S, R] int8, 0 = nohelp, 1..K = helps; 0 in terminals.
      success: [S, R] S of the policy; 1 in success terminals.
      usage: [S, R, K] M of the policy, in (discounted) calls.
      expected_success: [R] over the start distribution.
      expected_usage: [R, K] likewise.
      bound: [R] at every state, neither S - r.M nor the policy's true value is further than this
        from the optimal value.
      converged: [R] bool, the bound is at most the tolerance (rule "exact"); the iteration came to
        rest (rule "paper").
      iterations: [R] int32, sweeps until V was done; usage takes about as many again.
      period: [R] int32, length of the limit cycle the rule "paper" has run into; 0 if none.
    """

    costs: np.ndarray
    policy: np.ndarray
    success: np.ndarray
    usage: np.ndarray
    expected_success: np.ndarray
    expected_usage: np.ndarray
    bound: np.ndarray
    converged: np.ndarray
    iterations: np.ndarray
    period: np.ndarray


def sweep(
    table: TransitionTable,
    costs: Any,
    *,
    discount: float = 1.0,
    rule: str = "exact",
    tolerance: float = 1e-6,
    dtype: Any = None,
    max_iterations: int = 1_000_000,
    chunk: int | None = None,
    devices: Any = None,
    action_success: Any = None,
) -> Solution:
    """The best policy for each cost.

    rule="exact": V(s) = max_a Q(s, a) first, then the least usage M among the actions that tie for
    it, and S = V + r.M. The policy is optimal up to `bound`.

    rule="paper": usage/policy iteration as printed (Section 5.2's boxed equation, Section 5.3; for
    K > 1 Appendix E.3), for comparison. From success probabilities p given beforehand it iterates

      M_s <- M_s^help if r < (p_help - p_nohelp) / (p_help M_s^help - p_nohelp M_s^nohelp),
             else M_s^nohelp.

    The paper derives the ratio from V = S - r M and claims that it equals value iteration. It does
    not: the usages are weighted by success probabilities, which V = S - r M does not do, and p is
    held fixed while the policy changes.

      Suboptimal: one state, where nohelp fails and help succeeds with 1/8. p = (0, 1/8), so the
      ratio is (1/8) / (1/8 * 1) = 1: the rule asks for every r < 1 and is worth 1/8 - r, where
      never asking is worth 0. Cycling: one state, where nohelp succeeds with 1/4 and comes again
      with 1/2, help succeeds with 1/4 and comes again with 3/4; p = (1/2, 1). From usage m the
      ratio is 1 / (2 + m): at r = 0.3 the rule alternates between m = 0.8 (help next) and m = 1.6
      (nohelp next) for ever.

    A limit cycle is found by its return to an earlier iterate and reported in `period`; the policy
    is then that of the last iterate. success and usage are the true ones of the policy, and bound
    is its distance from the optimum. Where nohelp is not offered the best help is taken.

    Args:
      table: the problem.
      costs: [R] if K = 1, else [R, K]; r from 0 to 1e12, in successes a call.
      discount: gamma in (0, 1].
      rule: "exact" or "paper".
      tolerance: the bound to reach; for the paper's rule, the change of usage to stop at.
      dtype: float32 or float64; None is float64, except on TPUs. In float32 bounds much below 1e-4
        cannot be reached, which `bound` and `converged` say.
      max_iterations: sweeps at most; what is not converged by then is said in `converged`.
      chunk: costs solved at once, a device; None chooses by the size of the table.
      devices: JAX devices to split the costs over; None is the default device.
      action_success: [S, A] for rule="paper": p_nohelp, p_help1, ... of each state, in [0, 1].

    Raises:
      ValueError: naming the argument and the first offending element; or, at discount 1, a state
        from which every policy may call help for ever.
    """
    costs = check_costs(costs, table.num_helps)
    discount = checks.discount(discount)
    tolerance = checks.in_range("tolerance", tolerance, 0.0, np.inf, open_low=True)
    max_iterations = checks.whole("max_iterations", max_iterations, 1, 2**31 - 1)
    if chunk is not None:
        checks.whole("chunk", chunk, 1, 2**31 - 1)
    devices = checks.devices(devices)
    if rule not in ("exact", "paper"):
        raise ValueError(f"rule must be 'exact' or 'paper', got {rule!r}.")
    if (action_success is None) != (rule == "exact"):
        raise ValueError("action_success goes with rule='paper', and only with it.")
    if rule == "paper" and not (chunk is None and devices is None):
        raise ValueError("chunk and devices are for rule='exact', expected None with 'paper'.")
    dtype, context = solver.precision(dtype)
    with context:
        problem = solver.prepare(table, discount, dtype)
        options = dict(tolerance=tolerance, max_iterations=max_iterations)
        if rule == "exact":
            return _exact(problem, costs, chunk=chunk, devices=devices, **options)
        p = checks.numbers("action_success", action_success)
        if p.shape != table.available.shape:
            raise ValueError(
                f"action_success must have shape [S, A] = {table.available.shape}, got {p.shape}."
            )
        checks.first("action_success", p, ~((p >= 0) & (p <= 1)), "a number in [0, 1]")
        return _paper(problem, costs, p, discount=discount, **options)


def check_costs(costs: Any, num_helps: int) -> np.ndarray:
    """[R, K] of [R] (K = 1) or [R, K]."""
    array = checks.prices("costs", costs)
    if array.ndim == 1 and num_helps == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] != num_helps or array.shape[0] == 0:
        expected = "[R] or [R, 1]" if num_helps == 1 else f"[R, {num_helps}]"
        raise ValueError(f"costs must have shape {expected} with R >= 1, got {np.shape(costs)}.")
    return array


def _exact(problem, costs, *, tolerance, max_iterations, chunk, devices) -> Solution:
    """Chunk by chunk: costs spread over all come first, and what lies between begins at theirs."""
    table, num_costs = problem.table, len(costs)
    share = solver.num_shares(devices)
    if chunk is None:
        fitting = 2 ** int(np.log2(max(1, _CHUNK_ELEMENTS // problem.elements_a_cost)))
        chunk = min(max(fitting, _MIN_CHUNK), _MAX_CHUNK)
    size = min(chunk, -(-num_costs // share)) * share
    policy = np.empty((table.num_states, num_costs), np.int8)
    success = np.empty(policy.shape, problem.dtype)
    usage = np.empty((*policy.shape, table.num_helps), problem.dtype)
    bound, iterations = np.empty(num_costs), np.empty(num_costs, np.int32)
    known, block = None, None
    chunks = _chunks(costs, size)
    for columns in chunks:
        padded = np.resize(columns, size)
        block = solver.solve(
            problem,
            costs[padded],
            tolerance=tolerance,
            max_sweeps=max_iterations,
            start=None if known is None else known.start(costs[padded]),
            devices=devices,
            spent=block,
        )
        if len(chunks) > 1:
            solved = Known.of(problem, block, range(columns.size))
            known = solved if known is None else known.and_others(solved)
        bound[columns] = block.bound[: columns.size]
        iterations[columns] = block.iterations[: columns.size]
        _put(policy, columns, block.policy, problem.own_position)
        _put(success, columns, block.success, problem.position)
        for k, calls in enumerate(block.usage):
            _put(usage[..., k], columns, calls, problem.position)
    success[table.terminal == 1] = 1.0
    return Solution(
        costs=costs,
        policy=problem.lifted(policy),
        success=success,
        usage=usage,
        expected_success=table.start_weight @ success[table.start],
        expected_usage=np.tensordot(table.start_weight, usage[table.start], 1),
        bound=bound,
        converged=bound <= tolerance,
        iterations=iterations,
        period=np.zeros(num_costs, np.int32),
    )


def _put(whole: np.ndarray, columns: np.ndarray, part: jax.Array, position: np.ndarray) -> None:
    """whole[:, columns] = part[position], a few rows at a time for them to stay in the cache."""
    part = np.asarray(part)
    for first in range(0, position.size, _ROWS):
        rows = slice(first, first + _ROWS)
        whole[rows, columns] = part[position[rows], : columns.size]


def _chunks(costs: np.ndarray, size: int) -> list[np.ndarray]:
    """The columns of each chunk: `size` spread over all, then the others from least to most."""
    order = np.lexsort(costs.T[::-1])
    if order.size <= size:
        return [np.arange(order.size)]
    spread = np.linspace(0, order.size - 1, size).round().astype(int)
    others = np.setdiff1d(np.arange(order.size), spread)
    parts = np.split(others, range(size, others.size, size))
    return [order[part] for part in (spread, *parts)]


def _paper(problem, costs, action_success, *, discount, tolerance, max_iterations) -> Solution:
    table = problem.table
    backups = bellman.discount_rows(
        table.layout, discount, problem.dtype, eliminate=(False,) * table.num_actions
    )
    p = np.zeros((table.layout.num_nodes, table.num_actions), problem.dtype)
    p[table.layout.position] = action_success
    found = rules.paper(
        backups,
        jnp.asarray(costs.T, problem.dtype),
        tuple(jnp.asarray(p[:, a : a + 1]) for a in range(table.num_actions)),
        tolerance=tolerance,
        max_sweeps=max_iterations,
    )
    policy = np.asarray(found.policy)[table.layout.position]
    reached = evaluate(table, policy, discount=discount, dtype=problem.dtype)
    best = _exact(
        problem, costs, tolerance=tolerance, max_iterations=1_000_000, chunk=None, devices=None
    )
    spent = np.where(costs > 0, reached.usage, 0.0) * costs  # for ever at no cost is no cost
    value = reached.success - spent.sum(axis=-1)
    optimum = best.success - (best.usage * costs).sum(axis=-1)
    return Solution(
        costs=costs,
        policy=policy,
        success=reached.success,
        usage=reached.usage,
        expected_success=reached.expected_success,
        expected_usage=reached.expected_usage,
        bound=np.abs(optimum - value).max(axis=0) + best.bound,
        converged=np.asarray(found.converged),
        iterations=np.asarray(found.iterations),
        period=np.asarray(found.period),
    )
