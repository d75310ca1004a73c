"""Drawing the next token: greedy, by temperature, by nucleus (top-p).

    p = softmax(logits / temperature)
    top-p: p is set to 0 outside the smallest set of most probable tokens whose p sum to top_p or
    more, and scaled to sum to 1 (Holtzman et al., arXiv 1904.09751)

A draw inverts the cumulative distribution at one uniform number, which comes from the row's own
seed and the token's place in the reply: nothing of the batch enters it.
"""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

Method = Literal["greedy", "temperature", "top_p"]
_IMPLEMENTATION = "threefry2x32"  # the same numbers on every device


def method(temperature: float, top_p: float) -> Method:
    """How to draw.

    Raises:
      ValueError: temperature is negative or not finite, or top_p not in (0, 1].
    """
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature is {temperature}, expected a number from 0")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p}, expected 0 < top_p <= 1")
    if temperature == 0:
        return "greedy"
    return "temperature" if top_p == 1 else "top_p"


def row_keys(seeds: Sequence[int]) -> np.ndarray:
    """uint32 [R, 2]: the key of each row, as `jax.random.key(seed)` has it, but of 64 bits.

    Raises:
      ValueError: a seed is out of range.
    """
    for seed in seeds:
        if not 0 <= seed < 2**64:
            raise ValueError(f"a seed is {seed}, expected 0 <= seed < 2**64")
    wide = np.array([int(seed) for seed in seeds], np.uint64)
    return np.stack([wide >> np.uint64(32), wide & np.uint64(2**32 - 1)], -1).astype(np.uint32)


def uniforms(keys: jax.Array, count: int) -> jax.Array:
    """float32 [R, count] in [0, 1): a number for each place of each row's reply.

    Args:
      keys: uint32 [R, 2], of `row_keys`.
      count: places; a larger number leaves what stands at the first ones as it is.
    """

    def one(data, place):
        key = jax.random.wrap_key_data(data, impl=_IMPLEMENTATION)
        return jax.random.uniform(jax.random.fold_in(key, place))

    return jax.vmap(jax.vmap(one, (None, 0)), (0, None))(keys, jnp.arange(count))


def draw(
    logits: jax.Array,
    uniform: jax.Array,
    temperature: jax.Array | float,
    top_p: jax.Array | float,
    *,
    method: Method,
) -> tuple[jax.Array, jax.Array]:
    """One token for each row.

    Args:
      logits: float32 [R, V].
      uniform: float32 [R], of `uniforms`; not looked at by "greedy".
      temperature: above 0; not looked at by "greedy".
      top_p: in (0, 1]; only looked at by "top_p".
      method: of `method`.

    Returns:
      Tokens, int32 [R], and the log-probabilities that the model gives them, float32 [R]: of
      softmax(logits), whatever the method. NaN or infinite where a logit of the row is NaN or inf.
    """
    if method == "greedy":
        tokens = _first_largest(logits)
    else:
        probabilities = jax.nn.softmax(logits / temperature, axis=-1)
        if method == "temperature":
            tokens = _invert(probabilities, uniform)
        else:
            tokens = _nucleus(probabilities, uniform, top_p)
    tokens = tokens.astype(jnp.int32)
    chosen = jnp.take_along_axis(logits, tokens[:, None], axis=-1)[:, 0]
    return tokens, chosen - jax.nn.logsumexp(logits, axis=-1)


def _first_largest(logits: jax.Array) -> jax.Array:
    """int32 [R], as argmax of logits [R, V] by two plain reductions: less than half of its time on
    CPUs. The last place where a logit is NaN."""
    last = logits.shape[-1] - 1
    places = jnp.arange(logits.shape[-1], dtype=jnp.int32)
    is_largest = logits == jnp.max(logits, axis=-1, keepdims=True)
    return jnp.min(jnp.where(is_largest, places, last), axis=-1)


def _invert(probabilities: jax.Array, uniform: jax.Array) -> jax.Array:
    """[R]: the first place at which the cumulative sum passes `uniform` of the whole."""
    cumulative = jnp.cumsum(probabilities, axis=-1)
    passed = cumulative > (uniform * cumulative[:, -1])[:, None]
    # Sums are rounded: one may grow where the probability is 0, and none may pass.
    possible = passed & (probabilities > 0)
    found = jnp.argmax(possible, axis=-1)
    return jnp.where(jnp.any(possible, axis=-1), found, jnp.argmax(probabilities, axis=-1))


def _nucleus(probabilities: jax.Array, uniform: jax.Array, top_p: jax.Array | float) -> jax.Array:
    order = jnp.argsort(-probabilities, axis=-1)
    ordered = jnp.take_along_axis(probabilities, order, axis=-1)
    before = jnp.pad(jnp.cumsum(ordered, axis=-1)[:, :-1], ((0, 0), (1, 0)))
    chosen = _invert(jnp.where(before < top_p, ordered, 0), uniform)
    return jnp.take_along_axis(order, chosen[:, None], axis=-1)[:, 0]
