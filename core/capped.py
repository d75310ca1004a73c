"""A hard cap on the calls of an episode; see `core.dp` for the problem."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from core import bellman, certificate, checks, cycles, rules, solver
from core.compiling import jit
from core.table import TransitionTable

_TOLERANCE = 1e-10
_MAX_SWEEPS = 10_000_000
_FIRST_ITERATIONS = 200  # to look for a certificate where nohelp ends soon


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
      cost: r from 0 to 1e12, a number or [K]: 0 uses every call that helps at all.
      discount: gamma in (0, 1].

    Raises:
      ValueError: for a cap that is negative or not whole, and other arguments out of range.
      RuntimeError: nohelp takes so long to end that sweeps do not come to rest.
    """
    discount = checks.discount(discount)
    num_helps = table.num_helps
    given = checks.as_array("cap", cap)
    if given.shape != (num_helps,) and not (given.shape == () and num_helps == 1):
        expected = "an integer" if num_helps == 1 else f"[{num_helps}] integers"
        raise ValueError(f"cap must be {expected}, got shape {given.shape}.")
    if given.dtype.kind not in "iu":
        raise ValueError(f"cap must be integers, got {cap!r}.")
    limits = given.reshape(num_helps).astype(np.int64)
    checks.first("cap", limits, limits < 0, "at least 0")
    prices = checks.prices("cost", cost)
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
        backups = bellman.discount_rows(
            layout, discount, dtype, eliminate=(True,) + (False,) * num_helps
        )
        steps = (left.sum(axis=0).max() + 1.0) * (_nohelp_steps(chained, discount, backups) + 1.0)
        found = _solve(backups, prices.astype(dtype), left, after, steps)
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


def _solve(backups, prices, left, after, steps) -> _Solved:
    """V first, then the least usage among the actions that tie for it, as in `core.solver`.

    steps: of any policy: nohelp until the end, before each call and after the last, and the calls.
    """
    dtype, num_helps = prices.dtype, len(prices)
    target = _TOLERANCE / (solver.ROOM * steps)
    masks = backups.offered.dtype
    may_call = 1 + ((left > 0) << np.arange(1, num_helps + 1)[:, None]).sum(axis=0)  # [C]
    allowed = backups.offered[:, None] & may_call.astype(masks)
    # Only helps are offered, and no call is left: nohelp there has no weight and no gain.
    allowed = jnp.where(allowed == 0, masks.type(1), allowed)

    def maximize(allowed, gain_weight, prices, target):
        reached = _maximize(backups, allowed, after, gain_weight, prices, target=target)
        if reached.iterations.max() >= _MAX_SWEEPS:
            raise RuntimeError(f"nohelp takes too long to end: {_MAX_SWEEPS} sweeps do not rest.")
        return reached.values

    one_call = np.ones(num_helps, dtype)
    value = maximize(allowed, 1.0, prices, target / solver.TIE)
    tie = jnp.maximum(target, rules.rounding(value).max())
    tied = _greedy(backups, value, allowed, after, 1.0, prices, tie)
    negative = maximize(tied, 0.0, one_call, target)
    fewest = _greedy(backups, negative, tied, after, 0.0, one_call, jnp.zeros_like(tie))
    policy = rules.first_action(fewest)
    chosen = rules.only_action(policy, backups.offered)
    usage = [maximize(chosen, 0.0, -one, target) for one in np.eye(num_helps, dtype=dtype)[:-1]]
    return _Solved(value, (*usage, -negative - sum(usage)), policy)


def _nohelp_steps(table, discount, backups) -> float:
    """The largest expected number of steps to the end by nohelp alone."""
    is_help = table.entry_row % table.num_actions > 0
    nohelp = dataclasses.replace(
        table,
        prob=np.where(is_help, 0.0, table.prob),
        available=table.available & (np.arange(table.num_actions) == 0),
    )
    steps = certificate.expected_steps(nohelp, discount, _FIRST_ITERATIONS)
    if np.isfinite(steps):
        return steps
    # It takes long: sweeps come to rest sooner than that iteration, but are compiled first.
    ones = jnp.ones((backups.offered.shape[0], 1), backups.classes[0].weight.dtype)
    offered = bellman.has_bit(backups.offered, 0).astype(ones.dtype)[:, None]
    share = (offered, *[jnp.zeros_like(ones)] * (backups.num_actions - 1))
    found = rules.evaluate(backups, share, ones, target=certificate.GROWTH, max_sweeps=_MAX_SWEEPS)
    [steps] = certificate.largest(found.values, found.change)
    if np.isinf(steps):
        raise RuntimeError(f"nohelp takes too long to end: {_MAX_SWEEPS} sweeps do not rest.")
    return steps


@jit
def _maximize(backups, allowed, after, gain_weight, prices, *, target) -> rules.Reached:
    """As `rules.maximize`, over [N, C] values; helps read the columns `after` [K, C] of theirs."""

    def update(tile, values):
        q = _backup(tile, values, after, gain_weight, prices)
        return bellman.best_allowed(q, bellman.own(tile, allowed))

    return rules.settle(
        backups,
        update,
        jnp.zeros(allowed.shape, prices.dtype),
        jnp.zeros((backups.feedback.shape[0], allowed.shape[1]), prices.dtype),
        target=target,
        max_sweeps=_MAX_SWEEPS,
        extrapolate=True,
        joined=True,
    )


@jit
def _greedy(backups, values, allowed, after, gain_weight, prices, tie) -> jax.Array:
    """[N, C] bit masks of the allowed actions that are within `tie` of the best."""

    def visit(tile, kept):
        q = _backup(tile, values, after, gain_weight, prices)
        return bellman.write(tile, kept, bellman.near_best(q, bellman.own(tile, allowed), tie))

    return bellman.visit_tiles(backups, visit, jnp.zeros_like(allowed))


def _backup(tile, values, after, gain_weight, prices) -> list[jax.Array]:
    """A arrays [B, C]: gain_weight gain - prices[a] and what follows, helps with one call fewer.

    Self-loops are eliminated for nohelp only: a help leads to another column.
    """
    q = bellman.expectation(tile, values)
    mine = bellman.own(tile, values)
    for a in range(1, len(q)):
        q[a] = (q[a] + tile.self_weight[a, :, None] * mine)[:, after[a - 1]] - prices[a - 1]
    return [gain_weight * tile.gain[a, :, None] + x for a, x in enumerate(q)]
