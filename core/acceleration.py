"""Anderson acceleration of a fixed-point iteration, for many costs at once, each for itself.

Of iterations y_j = G(x_j) with residuals f_j = y_j - x_j, the next step is taken from the average
whose residual would be least if G were linear:

  alpha = argmin |sum_j alpha_j f_j|  subject to  sum_j alpha_j = 1,    next x = sum_j alpha_j y_j

over the last m iterations, by the normal equations (type II: Walker and Ni 2011; for value
iteration Geist and Scherrer 2018). Because of the maximum in it G is only piecewise linear: a cost
whose residual has grown forgets its past and takes the plain step, and one that has done so
_STRIKES times goes on without.

Long residuals are remembered folded: rows in groups, each group summed with random signs, which
keeps inner products on average (a count sketch; for least squares Clarkson and Woodruff 2013).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_WORSE = 2.0  # growth of the residual, over the least since it last grew, that counts as a strike
_STRIKES = 4
_RIDGE = 2 / 3  # power of the unit rounding that is added to the diagonal of the normal equations:
# far above what rounding does to them, lest it steer the step where residuals are all but parallel
_FOLDED, _FOLDS = 512, 8  # rows of a folded residual at least, and rows that make one at most


class History(NamedTuple):
    """The last m iterations of F values for R costs, in a ring."""

    image: jax.Array  # [m, F, R] y
    residual: jax.Array  # [m, G, R] f, folded
    sign: jax.Array  # [folds, G] of the rows that are folded
    gram: jax.Array  # [m, m, R] inner products of residuals
    slot: jax.Array  # [] int32, to be written next
    usable: jax.Array  # [R] int32, how many of the newest slots count
    change: jax.Array  # [R] the largest residual of the last iteration
    least: jax.Array  # [R] the least of those since the last strike
    strikes: jax.Array  # [R] int32


def begin(start: jax.Array, size: int, allowed: jax.Array) -> History:
    """No history.

    Args:
      start: [F, R], for its shape and dtype.
      size: m.
      allowed: [] bool; False leaves every step plain.
    """
    (length, num_costs), dtype = start.shape, start.dtype
    folds = int(np.clip(length // _FOLDED, 1, _FOLDS))
    folded = -(-length // folds)
    return History(
        image=jnp.zeros((size, *start.shape), dtype),
        residual=jnp.zeros((size, folded, num_costs), dtype),
        sign=_signs(folds * folded, dtype).reshape(folds, folded),
        gram=jnp.zeros((size, size, num_costs), dtype),
        slot=jnp.int32(0),
        usable=jnp.zeros(num_costs, jnp.int32),
        change=jnp.full(num_costs, jnp.inf, dtype),
        least=jnp.full(num_costs, jnp.inf, dtype),
        strikes=jnp.where(allowed, 0, jnp.full(num_costs, _STRIKES, jnp.int32)),
    )


def advance(history: History, before: jax.Array, after: jax.Array) -> tuple[History, jax.Array]:
    """Takes in one iteration; the history, and the values [F, R] to go on from.

    Args:
      history: so far.
      before: [F, R] x.
      after: [F, R] y = G(x).
    """
    slot, size = history.slot, len(history.image)
    newest = _fold(history.sign, before, after)
    residual = _put(history.residual, newest, slot)
    image = _put(history.image, after, slot)
    change = jnp.abs(after - before).max(axis=0)
    struck = change > _WORSE * history.least
    strikes = history.strikes + struck
    usable = jnp.where(struck | (strikes >= _STRIKES), 1, jnp.minimum(history.usable + 1, size))
    row = jnp.stack([(residual[j] * newest).sum(axis=0) for j in range(size)])
    gram = history.gram.at[slot].set(row).at[:, slot].set(row)
    age = (slot - jnp.arange(size)) % size
    alpha = _least_average(gram, age[:, None] < usable)
    onward = sum(alpha[j] * image[j] for j in range(size))
    history = History(
        image=image,
        residual=residual,
        sign=history.sign,
        gram=gram,
        slot=(slot + 1) % size,
        usable=usable,
        change=change,
        least=jnp.where(struck, change, jnp.minimum(history.least, change)),
        strikes=strikes,
    )
    return history, onward


def _signs(number: int, dtype: jax.typing.DTypeLike) -> jax.Array:
    """Numbers 1 and -1 as if at random: a bit of a hash of their places (MurmurHash3's last step);
    JAX's own generator takes long to compile."""
    x = jnp.arange(number, dtype=jnp.uint32)
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return 1 - 2 * ((x >> 16) & 1).astype(dtype)


def _fold(sign: jax.Array, before: jax.Array, after: jax.Array) -> jax.Array:
    """[G, R] the residual, folded; the last two folds overlap where F is no multiple of them."""
    folded, last = sign.shape[1], len(before) - sign.shape[1]
    if last == 0:
        return after - before
    total = 0.0
    for k, signs in enumerate(sign):
        part = slice(min(k * folded, last), min(k * folded, last) + folded)
        total += signs[:, None] * (after[part] - before[part])
    return total


def _put(ring: jax.Array, values: jax.Array, slot: jax.Array) -> jax.Array:
    """The ring with `values` in a slot; in a loop of one turn, for XLA then writes in place: fused
    with what reads the ring next, the write would copy all of it."""
    return jax.lax.fori_loop(
        slot,
        slot + 1,
        lambda i, ring: jax.lax.dynamic_update_index_in_dim(ring, values, i, 0),
        ring,
    )


def _least_average(gram: jax.Array, usable: jax.Array) -> jax.Array:
    """[m, R] alpha that sum to one, over usable [m, R] columns, of least alpha gram alpha.

    gram is [m, m, R]. alpha is along gram^-1 1: columns are scaled to length one, then it is
    Gauss-Jordan elimination, the pivots in their order.
    """
    length = jnp.sqrt(jnp.diagonal(gram).T)
    usable &= length > 0
    scale = jnp.where(usable, 1.0 / jnp.where(usable, length, 1.0), 0.0)
    ridge = float(jnp.finfo(gram.dtype).eps) ** _RIDGE
    diagonal = jnp.where(usable, ridge, 1.0) * jnp.eye(len(gram), dtype=gram.dtype)[..., None]

    def eliminate(k, carry):
        a, x = carry
        factor = jnp.where(jnp.arange(len(gram))[:, None] == k, 0.0, a[:, k] / a[k, k])
        return a - factor[:, None] * a[k], x - factor * x[k]

    a, x = jax.lax.fori_loop(
        0,
        len(gram),
        eliminate,
        (gram * scale * scale[:, None] + diagonal, scale / scale.max(axis=0)),
    )
    z = scale * x / jnp.diagonal(a).T
    return z / z.sum(axis=0)
