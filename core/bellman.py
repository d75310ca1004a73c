"""The Bellman backup of one tile of a packed table, for many costs at once.

With the self-loop of each row eliminated exactly,

  scale(s, a) = 1 / (1 - gamma P(s | s, a)),     weight(s' | s, a) = gamma P(s' | s, a) scale(s, a),
  Q(s, a)     = (exit_success(s, a) - r_a) scale(s, a) + sum_{s' != s} weight(s' | s, a) V(s').

Values are held as [N, R]: N nodes of the layout, R costs in the minor axis, so that one gathered
row serves all costs. The loop over tiles updates values in place: a tile sees the new values of the
tiles before it, which makes a sweep a block Gauss-Seidel step.

Which actions a state may take, for each cost, is a bit mask [N, R]: bit a for action a.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from core.layout import Layout

# The tolerance of row sums: no more mass than this cannot be told from rounding. A little above
# 1e-9, lest 1 - (1 - 1e-9) be more.
NO_MASS = 1.000001e-9


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of one class of T tiles at one discount; without T, those of one tile.

    Attributes:
      widths: [A] slots of each action's row, W together.
      node: [T, W, B] int32.
      weight: [T, W, B], gamma P scale; padding has none.
      self_weight: [T, A, B], gamma P(s | s, a) where the self-loop is not eliminated, else 0.
      gain: [T, A, B], success at once.
      calls: [T, A, B], calls of a help; 0 for action 0.
      auxiliary: [T, B] bool, nodes that stand for a part of a wide row.
      offset: [T] int32, the tile's first node.
    """

    widths: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    node: Any
    weight: Any
    self_weight: Any
    gain: Any
    calls: Any
    auxiliary: Any
    offset: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Backups:
    """A table at one discount, ready for sweeps over N nodes.

    Attributes:
      tile_size: B.
      feedback: [F] int32, the nodes whose values decide what a sweep comes to, and
      first_tile: [windows + 1, C], see `core.layout.Layout`.
      classes: the rows of the C classes of tiles.
      offered: [N] bit masks; nohelp where a node has no action at all.
    """

    tile_size: int = dataclasses.field(metadata={"static": True})
    feedback: Any
    first_tile: Any
    classes: tuple[Rows, ...]
    offered: Any

    @property
    def num_actions(self) -> int:
        """A."""
        return len(self.classes[0].widths)


def discount_rows(
    layout: Layout, discount: float, dtype: Any, *, eliminate: tuple[bool, ...]
) -> Backups:
    """The table at one discount, on the default device, self-loops eliminated where eliminate[a].

    A row that only loops (gamma = 1, P(s | s, a) = 1) never ends and never succeeds: nohelp is left
    with no weight and no gain, a help, whose calls have no end, is not offered.
    """
    num_actions = len(eliminate)
    masks = mask_type(num_actions)
    offered = np.zeros(layout.num_nodes, masks)
    is_help = np.arange(num_actions)[:, None] > 0
    dropped = np.array(eliminate)[:, None]
    classes = []
    for tiles in layout.classes:
        gamma = np.where(tiles.auxiliary, 1.0, discount)[:, None]  # [T, 1, B]
        loop = gamma * tiles.self_prob
        endless = dropped & (loop >= 1.0 - NO_MASS)
        scale = 1.0 / np.where(dropped & ~endless, 1.0 - loop, 1.0)
        action_of_slot = np.repeat(np.arange(num_actions), tiles.widths)
        on_offer = tiles.available & ~(endless & is_help)
        on_offer[:, 0] |= ~tiles.available.any(axis=1)
        bits = (on_offer << np.arange(num_actions)[:, None]).sum(axis=1)
        offered.reshape(-1, layout.tile_size)[tiles.offset // layout.tile_size] = bits
        classes.append(
            Rows(
                widths=tiles.widths,
                node=tiles.node,
                weight=(gamma * tiles.prob * scale[:, action_of_slot]).astype(dtype),
                self_weight=np.where(dropped, 0.0, loop).astype(dtype),
                gain=(tiles.exit_success * scale).astype(dtype),
                calls=np.where(is_help, scale, 0.0).astype(dtype),
                auxiliary=tiles.auxiliary,
                offset=tiles.offset,
            )
        )
    backups = Backups(layout.tile_size, layout.feedback, layout.first_tile, tuple(classes), offered)
    return jax.device_put(backups)  # jnp.asarray would compile a program for each shape


def mask_type(num_actions: int) -> Any:
    """The integers that hold a bit for each action."""
    return np.uint8 if num_actions <= 8 else np.uint32


def visit_tiles(backups: Backups, visit: Callable[[Rows, Any], Any], carry: Any) -> Any:
    """carry = visit(tile, carry) for every tile, successors before predecessors."""
    first_tile = backups.first_tile

    def window(w, carry):
        for c, rows in enumerate(backups.classes):

            def step(t, carry, rows=rows):
                tile = jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, t, 0, False), rows)
                return visit(tile, carry)

            carry = jax.lax.fori_loop(first_tile[w, c], first_tile[w + 1, c], step, carry)
        return carry

    return jax.lax.fori_loop(0, first_tile.shape[0] - 1, window, carry)


def expectation(tile: Rows, values: jax.Array) -> list[jax.Array]:
    """A arrays [B, R]: sum_s' weight(s' | s, a) values(s') for a tile's nodes; values is [N, R].

    The sum over slots is unrolled so that XLA fuses gather, product and sum into one loop.
    """
    result, slot = [], 0
    for width in tile.widths:
        total = jnp.zeros((tile.node.shape[1], values.shape[1]), values.dtype)
        for k in range(slot, slot + width):
            gathered = values.at[tile.node[k]].get(mode="promise_in_bounds")
            total += tile.weight[k, :, None] * gathered
        slot += width
        result.append(total)
    return result


def backup(tile: Rows, values: jax.Array, gain_weight: Any, prices: jax.Array) -> list[jax.Array]:
    """A arrays [B, R]: gain_weight gain - prices[a] calls + sum_s' weight(s' | s, a) values(s').

    With gain_weight 1 and prices r this is Q(s, a); with 0 and -1, the calls that follow.

    Args:
      tile: one tile.
      values: [N, R].
      gain_weight: what a success is worth.
      prices: [K, R], what a call of each help costs.
    """
    result = []
    for a, later in enumerate(expectation(tile, values)):
        now = gain_weight * tile.gain[a, :, None]
        if a > 0:
            now = now - prices[a - 1] * tile.calls[a, :, None]
        result.append(now + later)
    return result


def best_allowed(values: list[jax.Array], allowed: jax.Array) -> jax.Array:
    """[B, R] the largest of A arrays over the actions whose bit is set in `allowed` [B, R]."""
    kept = [jnp.where(has_bit(allowed, a), q, -jnp.inf) for a, q in enumerate(values)]
    return functools.reduce(jnp.maximum, kept)


def near_best(values: list[jax.Array], allowed: jax.Array, tie: Any) -> jax.Array:
    """[B, R] bit masks of the actions in `allowed` [B, R] within `tie` of the best of A arrays."""
    least = best_allowed(values, allowed) - tie
    mask = jnp.zeros_like(allowed)
    for a, x in enumerate(values):
        mask |= (x >= least).astype(allowed.dtype) << a
    return mask & allowed


def has_bit(mask: jax.Array, action: int) -> jax.Array:
    """Whether the bit of the action is set, elementwise."""
    return (mask >> action) & 1 == 1


def own(tile: Rows, values: jax.Array) -> jax.Array:
    """[B, ...] the values of the tile's own nodes."""
    return jax.lax.dynamic_slice_in_dim(values, tile.offset, tile.node.shape[1])


def write(tile: Rows, values: jax.Array, new: jax.Array) -> jax.Array:
    """`values` with those of the tile's own nodes replaced by `new` [B, ...]."""
    return jax.lax.dynamic_update_slice_in_dim(values, new, tile.offset, 0)


def sweep(
    backups: Backups, update: Callable[[Rows, jax.Array], jax.Array], values: jax.Array
) -> jax.Array:
    """values [N, R] with update(tile, values) [B, R] written for each tile in turn.

    XLA writes in place only if each read of the old values must come before the write, and keeps
    the update in one loop only if something else wants it too: hence the update that is carried
    along.
    """

    def visit(tile, carry):
        new = update(tile, carry[0])
        return write(tile, carry[0], new), new

    unused = jnp.zeros((backups.tile_size, values.shape[1]), values.dtype)
    return visit_tiles(backups, visit, (values, unused))[0]


def measured_sweep(
    backups: Backups, update: Callable[[Rows, jax.Array], jax.Array], values: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """`sweep`, and the largest change [R] it made."""
    swept = sweep(backups, update, values)
    return swept, jnp.abs(swept - values).max(axis=0)
