"""The loops: sweeps of the backup until they come to rest.

* `maximize`, `greedy`: the exact rule. V by value iteration, then among the actions that tie for V
  those of least usage; the policy maximises S - r.M and ties go to fewer calls.
* `paper`: usage/policy iteration as printed in arXiv 2502.04576 (Section 5.3, Appendix E.3).
* `evaluate`: no choice, the policy is given.
* `price_certificate`: turns residuals into bounds on the error where `core.certificate` cannot.

All are jitted once per shape of table and costs; tables, costs and tolerances are arguments. Arrays
of nodes are [N, R], in the layout's order.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from core import acceleration, bellman
from core.bellman import Backups
from core.compiling import jit

_FEW = 1 / 8  # of the nodes: so few feedback nodes are extrapolated at hardly any cost
_BLOCK = 2, 3  # sweeps between two extrapolations: where they are few, and where not
_HISTORY = 4, 3  # iterations that are remembered
_NOISE = 1 / 4  # of the largest rounding there can be: what is left of a change in the end
_MAX_PRICE_SWEEPS = 3000
_ROUNDING = 16.0  # unit roundings per backup: a row sums at most 8 products a slot level


class Reached(NamedTuple):
    """Where `maximize` ended."""

    values: jax.Array  # [N, R]
    change: jax.Array  # [R] largest, of the last sweep
    iterations: jax.Array  # [R] sweeps until this cost was done


@jit(donate_argnames=("memory",), keep_unused=True)
def maximize(
    backups: Backups,
    memory: jax.Array,
    start: jax.Array,
    allowed: jax.Array,
    gain_weight: Any,
    prices: jax.Array,
    *,
    target: Any,
    max_sweeps: Any,
    extrapolate: Any,
) -> Reached:
    """Sweeps of x(s) = max_{a allowed} gain_weight gain - prices calls + sum weight x.

    The one loop behind every exact solution: V (gain_weight 1, prices r), the least total usage
    (0, 1; negative) and the usage of one help under a policy (0, -1 for it).

    A sweep is a function of the feedback nodes alone (`core.layout`), so every few sweeps their
    values are extrapolated (`core.acceleration`), and it stops when a sweep has changed none of
    them by more than `target`, or rounding is all that is left of the change. That change is also
    a bound on the residual max |TV - V|: each node was backed up from the values of others, of
    which only feedback nodes have changed since.

    Args:
      backups: the table.
      memory: [N, R] an array whose place the values take.
      start: [F, R] where to begin, the values of the feedback nodes.
      allowed: [N, R] bit masks of actions.
      gain_weight: [] or [R].
      prices: [K, R].
      target: [] or [R].
      max_sweeps: sweeps at most.
      extrapolate: [] bool; False where the equation has more than one solution.
    """

    def update(tile, values):
        q = bellman.backup(tile, values, gain_weight, prices)
        return bellman.best_allowed(q, bellman.own(tile, allowed))

    return settle(
        backups,
        update,
        memory,
        start,
        target=target,
        max_sweeps=max_sweeps,
        extrapolate=extrapolate,
    )


def settle(
    backups: Backups,
    update: Callable[[bellman.Rows, jax.Array], jax.Array],
    memory: jax.Array,
    start: jax.Array,
    *,
    target: Any,
    max_sweeps: Any,
    extrapolate: Any,
    joined: bool = False,
) -> Reached:
    """Sweeps of any update, see `maximize`.

    Args:
      backups, memory, start, target, max_sweeps, extrapolate: as of `maximize`.
      update: as of `core.bellman.sweep`.
      joined: whether a column may depend on others: all are then extrapolated as one, and `target`
        is one number.
    """

    def unjoined(x):
        return x.reshape(start.shape)

    def join(x):
        return x.reshape(-1, 1) if joined else x

    def body(carry):
        values, history, onward, iterations, sweeps = carry
        values = _put(backups, values, unjoined(onward))
        count = jnp.minimum(block, max_sweeps - sweeps)

        def part(last, carry):  # all sweeps but the last, and the last: one program for both
            values, _, before = carry
            values = jax.lax.fori_loop(
                0,
                jnp.where(last, 1, count - 1),
                lambda _, x: bellman.sweep(backups, update, x),
                values,
            )
            return values, before, join(_feedback(backups, values))

        values, before, after = jax.lax.fori_loop(0, 2, part, (values, onward, onward))
        history, onward = acceleration.advance(history, before, after)
        sweeps += count
        done = history.change <= jnp.maximum(target, _NOISE * rounding(after))
        iterations = jnp.where(done & (iterations == 0), sweeps, iterations)
        iterations = jnp.where(done, iterations, 0)
        return values, history, jnp.where(done, after, onward), iterations, sweeps

    many = start.shape[0] > _FEW * memory.shape[0]
    block = _BLOCK[many]
    begin = join(start)
    values, history, _, iterations, sweeps = jax.lax.while_loop(
        lambda carry: (carry[4] < max_sweeps) & (carry[3] == 0).any(),
        body,
        (
            jnp.zeros_like(memory),
            acceleration.begin(begin, _HISTORY[many], extrapolate),
            begin,
            jnp.zeros(begin.shape[1], jnp.int32),
            jnp.int32(0),
        ),
    )
    return Reached(values, history.change, jnp.where(iterations > 0, iterations, sweeps))


def _feedback(backups: Backups, values: jax.Array) -> jax.Array:
    """[F, R] the values of the feedback nodes, of [N, R]."""
    if len(backups.feedback) == len(values):
        return values
    return values.at[backups.feedback].get(mode="promise_in_bounds")


def _put(backups: Backups, values: jax.Array, feedback: jax.Array) -> jax.Array:
    """`values` [N, R] with those of the feedback nodes replaced by `feedback` [F, R]."""
    if len(feedback) == len(values):
        return feedback
    return values.at[backups.feedback].set(
        feedback, mode="promise_in_bounds", unique_indices=True, indices_are_sorted=True
    )


@jit
def greedy(
    backups: Backups,
    values: jax.Array,
    allowed: jax.Array,
    gain_weight: Any,
    prices: jax.Array,
    tie: Any,
) -> jax.Array:
    """[N, R] bit masks of the allowed actions that are within `tie` of the best.

    Args:
      backups: the table.
      values: [N, R] what follows.
      allowed: [N, R] bit masks.
      gain_weight: as of `maximize`.
      prices: [K, R].
      tie: [].
    """

    def visit(tile, kept):
        q = bellman.backup(tile, values, gain_weight, prices)
        return bellman.write(tile, kept, bellman.near_best(q, bellman.own(tile, allowed), tie))

    return bellman.visit_tiles(backups, visit, jnp.zeros_like(allowed))


@jax.jit
def first_action(mask: jax.Array) -> jax.Array:
    """[N, R] int8, the lowest bit that is set in each mask."""
    lowest = mask & (~mask + 1)
    return jax.lax.population_count(lowest - 1).astype(jnp.int8)


@functools.partial(jax.jit, donate_argnames=("value", "negative_total"))
def split_usage(
    value: jax.Array,
    negative_total: jax.Array,
    usage: tuple[jax.Array, ...],
    prices: jax.Array,
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """S = V + r.M, and the usage of all K helps, given that of all but the last; [N, R] each."""
    usage = (*usage, -negative_total - sum(usage))
    return value + sum(r * m for r, m in zip(prices, usage, strict=True)), usage


@jax.jit
def only_action(policy: jax.Array, offered: jax.Array) -> jax.Array:
    """[N, R] bit masks, of the type of `offered`, that allow what the policy does."""
    return jnp.ones((), offered.dtype) << policy.astype(offered.dtype)


@jax.jit
def rows(arrays: tuple[jax.Array, ...], nodes: jax.Array) -> tuple[jax.Array, ...]:
    """[G, R] of each array [N, R], the values of G nodes."""
    return tuple(x.at[nodes].get(mode="promise_in_bounds") for x in arrays)


@jax.jit
def rounding(values: jax.Array) -> jax.Array:
    """[R] what a backup of [N, R] values may be off by, in their arithmetic."""
    return _ROUNDING * jnp.finfo(values.dtype).eps * (1 + jnp.abs(values).max(axis=0))


@jit
def price_certificate(
    backups: Backups, value: jax.Array, costs: jax.Array, defect: jax.Array
) -> jax.Array:
    """[R] w such that |V - V*| and the loss of the policy are at most 4 defect w; else inf.

    Where some policy never ends there is no certificate for all costs, but one for each: going
    round by help costs r a call, which shows as slack delta(s, a) = V(s) - Q(s, a) along the way.
    With eps = 2 defect it is enough that

      w(s) >= 1 - delta(s, a) / eps + sum_s' weight(s' | s, a) w(s')    for all a,

    for then V + eps w is a supersolution; the chosen action has slack at most eps / 2, so 2 w
    bounds the steps of the policy. Iterated from 0 with 2 in place of 1 until a sweep adds at most
    1.

    Args:
      backups: the table.
      value: [N, R] V.
      costs: [K, R].
      defect: [R] > 0, of V.
    """

    def update(tile, weight):
        q = bellman.backup(tile, value, 1.0, costs)
        ahead = bellman.expectation(tile, weight)
        mine = bellman.own(tile, value)
        steps = [
            2.0 - jnp.maximum(mine - x, 0.0) / (2 * defect) + y
            for x, y in zip(q, ahead, strict=True)
        ]
        offered = bellman.own(tile, backups.offered)[:, None]
        return jnp.maximum(bellman.best_allowed(steps, offered), 0.0)

    def body(carry):
        weight, _, sweeps = carry
        return (*bellman.measured_sweep(backups, update, weight), sweeps + 1)

    weight, growth, _ = jax.lax.while_loop(
        lambda carry: (carry[1] > 1.0).any() & (carry[2] < _MAX_PRICE_SWEEPS),
        body,
        (jnp.zeros_like(value), jnp.full(value.shape[1], jnp.inf, value.dtype), 0),
    )
    return jnp.where(growth <= 1.0, weight.max(axis=0), jnp.inf)


@jit
def evaluate(
    backups: Backups,
    mixture: tuple[jax.Array, ...],
    at_once: jax.Array,
    *,
    target: Any,
    max_sweeps: Any,
) -> Reached:
    """The solution of x = at_once + sum_a pi_a sum weight_a x, where there is but one.

    Args:
      backups: the table.
      mixture: A arrays [N, R], pi_a once self-loops are eliminated: what action a is taken until
        the policy leaves the state.
      at_once: [N, R] what the policy gains, or calls, until it leaves the state.
      target: [] or [R], as of `maximize`.
      max_sweeps: sweeps at most.
    """

    def update(tile, values):
        share = [bellman.own(tile, pi) for pi in mixture]
        later = bellman.expectation(tile, values)
        return bellman.own(tile, at_once) + sum(x * y for x, y in zip(share, later, strict=True))

    return settle(
        backups,
        update,
        at_once,
        jnp.zeros((backups.feedback.shape[0], at_once.shape[1]), at_once.dtype),
        target=target,
        max_sweeps=max_sweeps,
        extrapolate=True,
    )


class Iterated(NamedTuple):
    """Where the paper's iteration ended."""

    policy: jax.Array  # [N, R] int8
    converged: jax.Array  # [R] bool
    iterations: jax.Array  # [R]
    period: jax.Array  # [R] of the limit cycle found, 0 if none


@jit
def paper(
    backups: Backups,
    costs: jax.Array,
    action_success: tuple[jax.Array, ...],
    *,
    tolerance: Any,
    max_sweeps: Any,
) -> Iterated:
    """Usage/policy iteration as printed; `core.dp.sweep` says how it differs from the exact rule.

    From M = 0, all states at once (Jacobi), self-loops as they are:

      M^i(s, a) = [a = i] + gamma sum_s' P(s' | s, a) M^i(s')
      ratio_i(s) = (p_i - p_0) / (p_i M^i(s, i) - p_0 M^i(s, 0))
      candidates = {i: ratio_i > r_i};  none: nohelp;  else that of least sum_j r_j M^j(s, i).

    A denominator within 1e-12 of zero defaults to nohelp, as the paper has it. A cycle is found by
    comparing with the iterate at the last power of two (Brent).

    Args:
      backups: the table, no self-loop eliminated.
      costs: [K, R].
      action_success: A arrays [N, 1], the paper's p_nohelp, p_help1, ...
      tolerance: the largest change of usage to stop at.
      max_sweeps: iterations at most.
    """
    dtype = costs.dtype
    num_helps, num_costs = costs.shape
    shape = (backups.offered.shape[0], num_costs)

    def used_after(tile, old):
        """[K][A] of [B, R]."""
        result = []
        for k, m in enumerate(old):
            mine = bellman.own(tile, m)
            later = bellman.expectation(tile, m)
            for a in range(num_helps + 1):
                later[a] = later[a] + tile.self_weight[a, :, None] * mine + float(a == k + 1)
            result.append(later)
        return result

    def choice(tile, used):
        """[B, R] int8."""
        p = [bellman.own(tile, x) for x in action_success]
        offered = bellman.own(tile, backups.offered)[:, None]
        least = jnp.full(used[0][0].shape, jnp.inf, dtype)
        chosen = jnp.zeros(least.shape, jnp.int8)
        for i in range(1, num_helps + 1):
            gap = p[i] * used[i - 1][i] - p[0] * used[i - 1][0]
            small = jnp.abs(gap) < 1e-12
            ratio = (p[i] - p[0]) / jnp.where(small, 1.0, gap)
            passes = (~small & (costs[i - 1] < ratio)) | ~bellman.has_bit(offered, 0)
            price = sum(costs[k] * used[k][i] for k in range(num_helps))
            better = passes & bellman.has_bit(offered, i) & (price < least)
            least = jnp.where(better, price, least)
            chosen = jnp.where(better, jnp.int8(i), chosen)
        return jnp.where(tile.auxiliary[:, None], jnp.int8(0), chosen)

    def visit(tile, carry):
        old, new, policy = carry
        used = used_after(tile, old)
        chosen = choice(tile, used)
        written = []
        for k in range(num_helps):
            fresh = used[k][0]
            for i in range(1, num_helps + 1):
                fresh = jnp.where(chosen == i, used[k][i], fresh)
            written.append(bellman.write(tile, new[k], fresh))
        return old, tuple(written), bellman.write(tile, policy, chosen)

    def sum_parts(tile, usage):
        """Parts of wide rows take the sums of this iteration: they are no states of their own."""
        return tuple(
            bellman.write(
                tile,
                m,
                jnp.where(
                    tile.auxiliary[:, None], bellman.expectation(tile, m)[0], bellman.own(tile, m)
                ),
            )
            for m in usage
        )

    def largest_change(usage, other):
        return jnp.stack(
            [jnp.abs(x - y).max(axis=0) for x, y in zip(usage, other, strict=True)]
        ).max(axis=0)

    def body(carry):
        old, new, policy, snapshot, snapshot_at, done, iterations, period, sweeps = carry
        old = bellman.visit_tiles(backups, sum_parts, old)
        _, new, policy = bellman.visit_tiles(backups, visit, (old, new, policy))
        new = bellman.visit_tiles(backups, sum_parts, new)
        sweeps += 1
        converged = ~done & (largest_change(new, old) < tolerance)
        returned = largest_change(new, snapshot) < tolerance
        cycles = ~done & ~converged & returned & (snapshot_at > 0)
        iterations = jnp.where(converged | cycles, sweeps, iterations)
        period = jnp.where(cycles, sweeps - snapshot_at, period)
        done |= converged | cycles
        is_power = (sweeps & (sweeps - 1)) == 0
        snapshot = jax.lax.cond(is_power, lambda: new, lambda: snapshot)
        snapshot_at = jnp.where(is_power, sweeps, snapshot_at)
        return new, old, policy, snapshot, snapshot_at, done, iterations, period, sweeps

    zeros = tuple(jnp.zeros(shape, dtype) for _ in range(num_helps))
    final = jax.lax.while_loop(
        lambda carry: (carry[8] < max_sweeps) & ~carry[5].all(),
        body,
        (
            zeros,
            zeros,
            jnp.zeros(shape, jnp.int8),
            zeros,
            jnp.int32(0),
            jnp.zeros(num_costs, bool),
            jnp.zeros(num_costs, jnp.int32),
            jnp.zeros(num_costs, jnp.int32),
            jnp.int32(0),
        ),
    )
    policy, (done, iterations, period, sweeps) = final[2], final[5:]
    iterations = jnp.where(done, iterations, sweeps)
    return Iterated(policy, done & (period == 0), iterations, period)
