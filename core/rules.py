"""The loops: sweeps of the backup until they come to rest.

* `maximize`, `tied_actions`, `choose`: the exact rule. V by value iteration, then among the actions
  that tie for V those of least usage; the policy maximises S - r.M and ties go to fewer calls.
* `paper`: usage/policy iteration as printed in arXiv 2502.04576 (Section 5.3, Appendix E.3).
* `evaluate`: no choice, the policy is given.
* `price_certificate`: turns residuals into bounds on the error where `core.certificate` cannot.

All are jitted once per shape of table and costs; tables, costs and tolerances are arguments. Arrays
of nodes are [N, R], in the layout's order.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from core import bellman
from core.bellman import Backups

_BLOCK = 3  # sweeps between two looks at the change
_WORSE = 2.0  # growth of the change, over the least seen, that ends extrapolating
_MAX_PRICE_SWEEPS = 3000
_ROUNDING = 16.0  # unit roundings per backup: a row sums at most 8 products a slot level


class Reached(NamedTuple):
    """Where `maximize` ended."""

    values: jax.Array  # [N, R]
    change: jax.Array  # [R] of the last block of sweeps
    iterations: jax.Array  # [R] sweeps until this cost was done


@functools.partial(jax.jit, donate_argnames=("values",))
def maximize(
    backups: Backups,
    values: jax.Array,
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

    It stops when a block of sweeps has changed nothing by more than `target`, or rounding is all
    that is left of the change. Between blocks y = G(x) it extrapolates (Anderson acceleration of
    depth 1: Walker and Ni 2011; for value iteration Geist and Scherrer 2018), for each cost apart:

      f = y - x,    c = <f - f', f> / <f - f', f - f'>,    next x = y - c (y - y')

    with f', y' of the block before. A cost whose change has grown by this goes on without.

    Args:
      backups: the table.
      values: [N, R] where to begin; its memory is given to the result.
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

    def body(carry):
        values, last, least, barred, _, iterations, sweeps = carry
        count = jnp.minimum(_BLOCK, max_sweeps - sweeps)
        swept = jax.lax.fori_loop(0, count, lambda _, x: bellman.sweep(backups, update, x), values)
        difference = swept - values
        change = jnp.abs(difference).max(axis=0)
        sweeps += count
        done = change <= jnp.maximum(target, rounding(swept))
        iterations = jnp.where(done & (iterations == 0), sweeps, iterations)
        iterations = jnp.where(done, iterations, 0)
        barred |= change > _WORSE * least
        step = jnp.where(done | barred, 0.0, _anderson(difference, last[1]))
        values = swept - step * (swept - last[0])
        least = jnp.minimum(least, change)
        return values, (swept, difference), least, barred, change, iterations, sweeps

    num_costs = values.shape[1]
    unknown = jnp.full(num_costs, jnp.inf, values.dtype)
    values, (swept, _), _, _, change, iterations, sweeps = jax.lax.while_loop(
        lambda carry: (carry[6] < max_sweeps) & (carry[5] == 0).any(),
        body,
        (
            values,
            (values, jnp.zeros_like(values)),
            unknown,
            jnp.broadcast_to(~extrapolate, num_costs),
            unknown,
            jnp.zeros(num_costs, jnp.int32),
            jnp.int32(0),
        ),
    )
    return Reached(swept, change, jnp.where(iterations > 0, iterations, sweeps))


def _anderson(difference: jax.Array, last: jax.Array) -> jax.Array:
    """[R] c of the two changes [N, R]; 0 where they tell nothing, as in the first block."""
    apart = difference - last
    size = (apart * apart).sum(axis=0)
    known = (size > 0) & (last != 0).any(axis=0)
    return jnp.where(known, (apart * difference).sum(axis=0) / jnp.where(known, size, 1.0), 0.0)


@jax.jit
def action_values(
    backups: Backups, values: jax.Array, gain_weight: Any, prices: jax.Array
) -> tuple[jax.Array, ...]:
    """A arrays [N, R], `bellman.backup` of all nodes."""

    def visit(tile, totals):
        q = bellman.backup(tile, values, gain_weight, prices)
        return tuple(bellman.write(tile, total, x) for total, x in zip(totals, q, strict=True))

    zeros = tuple(jnp.zeros_like(values) for _ in range(backups.num_actions))
    return bellman.visit_tiles(backups, visit, zeros)


@jax.jit
def tied_actions(offered: jax.Array, q: tuple[jax.Array, ...], tie: Any) -> jax.Array:
    """[N, R] bit masks of the actions within `tie` of the best; arguments as of `choose`."""
    best = bellman.best_allowed(list(q), offered[:, None])
    tied = jnp.zeros(best.shape, offered.dtype)
    for a, x in enumerate(q):
        near = bellman.has_bit(offered[:, None], a) & (x >= best - tie)
        tied |= near.astype(tied.dtype) << a
    return tied


class Choice(NamedTuple):
    """The policy that V and the least total usage call for."""

    policy: jax.Array  # [N, R] int8, of the actions that tie that of least total usage
    defect: jax.Array  # [R] 2 max |TV - V| + max of TV - Q(s, policy) + rounding


@jax.jit
def choose(
    offered: jax.Array,
    value: jax.Array,
    q: tuple[jax.Array, ...],
    negative_usage: tuple[jax.Array, ...],
    tie: Any,
) -> Choice:
    """Of the actions that tie, the one after which least total usage follows.

    Args:
      offered: [N] bit masks.
      value: [N, R] V.
      q: A arrays [N, R], Q(s, a) under V.
      negative_usage: A arrays [N, R], minus the total usage after each action.
      tie: how far from the best an action may be.
    """
    best = bellman.best_allowed(list(q), offered[:, None])
    most = jnp.full(best.shape, -jnp.inf, best.dtype)
    policy, taken = jnp.zeros(best.shape, jnp.int8), best
    for a, (x, u) in enumerate(zip(q, negative_usage, strict=True)):
        near = bellman.has_bit(offered[:, None], a) & (x >= best - tie)
        better = near & (u > most)
        most = jnp.where(better, u, most)
        policy = jnp.where(better, jnp.int8(a), policy)
        taken = jnp.where(better, x, taken)
    residual, loss = jnp.abs(best - value).max(axis=0), (best - taken).max(axis=0)
    return Choice(policy, 2 * residual + loss + rounding(value))


@functools.partial(jax.jit, donate_argnames=("negative_total",))
def split_usage(
    value: jax.Array, negative_total: jax.Array, usage: tuple[jax.Array, ...], prices: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """S = V + r.M, and the usage of all K helps, given that of all but the last; [N, R] each."""
    usage = (*usage, -negative_total - sum(usage))
    return value + sum(r * m for r, m in zip(prices, usage, strict=True)), usage


@jax.jit
def only_action(policy: jax.Array, offered: jax.Array) -> jax.Array:
    """[N, R] bit masks, of the type of `offered`, that allow what the policy does."""
    return jnp.ones((), offered.dtype) << policy.astype(offered.dtype)


def rounding(values: jax.Array) -> jax.Array:
    """[R] what a backup of [N, R] values may be off by, in their arithmetic."""
    return _ROUNDING * jnp.finfo(values.dtype).eps * (1 + jnp.abs(values).max(axis=0))


@jax.jit
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


@jax.jit
def evaluate(
    backups: Backups,
    mixture: tuple[jax.Array, ...],
    at_once: jax.Array,
    *,
    target: Any,
    max_sweeps: Any,
) -> Reached:
    """The least solution of x = at_once + sum_a pi_a sum weight_a x, from 0.

    Args:
      backups: the table.
      mixture: A arrays [N, R], pi_a once self-loops are eliminated: the share of action a in how
        the policy leaves the state.
      at_once: [N, R] what the policy gains, or calls, until it leaves the state.
      target: the largest change of a sweep to stop at.
      max_sweeps: sweeps at most.
    """
    num_policies = at_once.shape[1]

    def update(tile, values):
        share = [bellman.own(tile, pi) for pi in mixture]
        later = bellman.expectation(tile, values)
        return bellman.own(tile, at_once) + sum(x * y for x, y in zip(share, later, strict=True))

    def body(carry):
        values, _, iterations, sweeps = carry
        values, change = bellman.measured_sweep(backups, update, values)
        done = change <= jnp.maximum(target, rounding(values))
        sweeps += 1
        iterations = jnp.where(done & (iterations == 0), sweeps, iterations)
        return values, change, jnp.where(done, iterations, 0), sweeps

    values, change, iterations, _ = jax.lax.while_loop(
        lambda carry: (carry[3] < max_sweeps) & (carry[2] == 0).any(),
        body,
        (
            jnp.zeros_like(at_once),
            jnp.full(num_policies, jnp.inf, at_once.dtype),
            jnp.zeros(num_policies, jnp.int32),
            jnp.int32(0),
        ),
    )
    return Reached(values, change, iterations)


class Iterated(NamedTuple):
    """Where the paper's iteration ended."""

    policy: jax.Array  # [N, R] int8
    converged: jax.Array  # [R] bool
    iterations: jax.Array  # [R]
    period: jax.Array  # [R] of the limit cycle found, 0 if none


@jax.jit
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
