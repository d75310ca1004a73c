"""A hard cap on the calls of an episode; see `core.dp` for the problem."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from core import bellman, checks, cycles, rules, solver
from core.compiling import jit
from core.table import TransitionTable

_TOLERANCE = 1e-10
_MAX_SWEEPS = 10_000_000


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Capped:
    """The best policy that never calls help k more than cap[k] times in an episode.

    The state of the problem is (s, calls left); arrays have an axis of cap[k] + 1 for each help,
    indexed by its calls left.

    Attributes:
      policy: [S, cap[0] + 1, ..] int8.
      success: [S, cap[0] + 1, ..].
      usage: [S, cap[0] + 1, .., K].
      expected_success: over the start distribution, with all calls left.
      expected_usage: [K] likewise.
    """

    policy: np.ndarray
    success: np.ndarray
    usage: np.ndarray
    expected_success: float
    expected_usage: np.ndarray


def capped(
    table: TransitionTable,
    cap: Any,
    cost: Any = 0.0,
    *,
    discount: float = 1.0,
) -> Capped:
    """Maximises S - cost . M over the policies that know the calls left and never exceed them.

      V(s, c) = max(Q_0, Q_k for c_k > 0)
      Q_0 = exit_success(s, 0) + gamma sum_s' P(s' | s, 0) V(s', c)
      Q_k = exit_success(s, k) - cost_k + gamma sum_s' P(s' | s, k) V(s', c - e_k)

    solved for all c at once, c in the minor axis of the arrays. Ties go to fewer calls. Where only
    helps are offered and no call is left, the episode ends and has failed.

    Args:
      table: the problem.
      cap: calls an episode at most; an integer if K = 1, else [K] integers.
      cost: r >= 0, a number or [K]: 0 uses every call that helps at all.
      discount: gamma in (0, 1].

    Raises:
      ValueError: for a cap that is negative or not whole, and other arguments out of range.
    """
    discount = checks.in_range("discount", discount, 0.0, 1.0, open_low=True)
    num_helps = table.num_helps
    given = np.asarray(cap)
    if given.shape != (num_helps,) and not (given.shape == () and num_helps == 1):
        expected = "an integer" if num_helps == 1 else f"[{num_helps}] integers"
        raise ValueError(f"cap must be {expected}, got shape {given.shape}.")
    if given.dtype.kind not in "iu":
        raise ValueError(f"cap must be integers, got {cap!r}.")
    limits = given.reshape(num_helps).astype(np.int64)
    checks.first("cap", limits, limits < 0, "at least 0")
    prices = checks.non_negative("cost", cost)
    if prices.shape not in ((), (num_helps,)):
        raise ValueError(f"cost must be a number or [{num_helps}], got shape {prices.shape}.")
    prices = np.broadcast_to(prices, (num_helps,))

    shape = tuple(int(c) + 1 for c in limits)
    left = np.stack(np.unravel_index(np.arange(np.prod(shape)), shape))  # [K, C]
    stride = np.array([int(np.prod(shape[k + 1 :])) for k in range(num_helps)])
    after = np.maximum(np.arange(left.shape[1]) - stride[:, None], 0)  # [K, C] one call fewer
    dtype, context = solver.precision(None)
    with context:
        # Calls are limited, so only nohelp can go round for ever; chains of it end.
        chained, free = cycles.break_free_cycles(table) if discount == 1.0 else (table, None)
        layout = chained.layout
        found = _solve(
            bellman.discount_rows(
                layout, discount, dtype, eliminate=(True,) + (False,) * num_helps
            ),
            jnp.asarray(prices, dtype),
            jnp.asarray(left > 0),
            jnp.asarray(after),
            target=_TOLERANCE * max(1.0 - discount, 1e-3),
        )
        head = np.arange(table.num_states) if free is None else free.head
        at = layout.position[head]
        value, *usage = (np.asarray(x)[at] for x in (found.value, *found.usage))
        policy = np.asarray(found.policy)[layout.position]
    usage = np.stack(usage, axis=-1)
    success = value + usage @ prices
    success[table.terminal == 1] = 1.0
    policy = policy if free is None else free.lift_policy(policy)
    start = success[table.start, -1], usage[table.start, -1]
    return Capped(
        policy=policy.reshape(-1, *shape),
        success=success.reshape(-1, *shape),
        usage=usage.reshape(-1, *shape, num_helps),
        expected_success=float(table.start_weight @ start[0]),
        expected_usage=table.start_weight @ start[1],
    )


class _Solved(NamedTuple):
    value: jax.Array  # [N, C]
    usage: tuple[jax.Array, ...]  # K arrays [N, C]
    policy: jax.Array  # [N, C] int8


@jit
def _solve(backups, prices, may_call, after, *, target) -> _Solved:
    """Gauss-Seidel sweeps over [N, C] values; helps read the columns `after` [K, C] of theirs.

    Self-loops are eliminated for nohelp only: a help leads to another column.
    """
    dtype = prices.dtype
    num_helps, num_columns = after.shape
    tie = 4 * target

    def visit(tile, carry):
        totals, policy = carry  # V, M_1, .., M_K
        by_action = [_later(tile, total, after) for total in totals]  # [1 + K][A]
        offered = bellman.own(tile, backups.offered)[:, None]
        best = jnp.full(by_action[0][0].shape, -jnp.inf, dtype)
        q = []
        for a in range(num_helps + 1):
            allowed, price = bellman.has_bit(offered, a), 0.0
            if a > 0:
                allowed, price = allowed & may_call[a - 1], prices[a - 1]
            x = tile.gain[a, :, None] - price + by_action[0][a]
            q.append(jnp.where(allowed, x, -jnp.inf))
            best = jnp.maximum(best, q[a])
        stuck = best == -jnp.inf  # only helps are offered, and no call is left
        new = [jnp.where(stuck, 0.0, best)] + [jnp.zeros_like(best)] * num_helps
        least = jnp.where(stuck, -jnp.inf, jnp.inf)
        chosen = jnp.zeros(best.shape, jnp.int8)
        for a in range(num_helps + 1):
            used = [m[a] + float(a == k + 1) for k, m in enumerate(by_action[1:])]
            better = (q[a] >= best - tie) & (sum(used) < least)
            least = jnp.where(better, sum(used), least)
            chosen = jnp.where(better, jnp.int8(a), chosen)
            new[1:] = [jnp.where(better, u, m) for u, m in zip(used, new[1:], strict=True)]
        written = tuple(bellman.write(tile, x, y) for x, y in zip(totals, new, strict=True))
        return written, bellman.write(tile, policy, chosen)

    def body(carry):
        before, policy, _, sweeps = carry
        totals, policy = bellman.visit_tiles(backups, visit, (before, policy))
        moving = jnp.asarray(False)
        for old, new in zip(before, totals, strict=True):
            moving |= (jnp.abs(new - old) > jnp.maximum(target, rules.rounding(new))).any()
        return totals, policy, moving, sweeps + 1

    shape = (backups.offered.shape[0], num_columns)
    start = tuple(jnp.zeros(shape, dtype) for _ in range(1 + num_helps))
    totals, policy, _, _ = jax.lax.while_loop(
        lambda carry: carry[2] & (carry[3] < _MAX_SWEEPS),
        body,
        (start, jnp.zeros(shape, jnp.int8), jnp.asarray(True), 0),
    )
    return _Solved(totals[0], totals[1:], policy)


def _later(tile, values, after) -> list[jax.Array]:
    """A arrays [B, C]: what follows each action, helps with one call fewer."""
    later = bellman.expectation(tile, values)
    mine = bellman.own(tile, values)
    for a in range(1, len(later)):
        later[a] = (later[a] + tile.self_weight[a, :, None] * mine)[:, after[a - 1]]
    return later
