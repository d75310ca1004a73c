"""The compiled part of generation: prefill, then a loop that draws one token for every row.

One program for each (B prompts, R rows, P places, N new tokens, states of the stop table, method);
all else is an argument. `models.generation` chooses these sizes.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from models import sampling
from models.kv_cache import KVCache
from models.layers import wide_product
from models.llama import Llama
from models.stopping import AT_END

# Tokens that prefill takes at once. What is computed from them stays in the cache of a CPU's core;
# elsewhere it is memory that sets the limit, where scores and the SwiGLU need most.
_CPU_PREFILL, _ACCELERATOR_PREFILL = 1024, 2**15
# New tokens that the KV cache has room for at first; then it is made larger. A step reads all of
# it, and most replies end long before they must.
_FIRST_ROOM, _GROWTH = 32, 4


class Block(NamedTuple):
    """B prompts and R rows.

    Attributes:
      tokens, segments: int32 [B, P]; segments are 0 where padding.
      prompt_of: int32 [R]; None where row i has prompt i.
      keys: uint32 [R, 2].
      real: bool [R]; False where padding.
    """

    tokens: np.ndarray
    segments: np.ndarray
    prompt_of: np.ndarray | None
    keys: np.ndarray
    real: np.ndarray


class _Loop(NamedTuple):
    """What the loop carries.

    Attributes:
      drawn: int32 []; tokens drawn for each row that is not finished.
      tokens, logprobs: [R, N].
      lengths: int32 [R]; tokens drawn for each row.
      state: int16 [R], of the `StopTable`.
      cache: of all tokens but the last drawn.
    """

    drawn: jax.Array
    tokens: jax.Array
    logprobs: jax.Array
    lengths: jax.Array
    state: jax.Array
    cache: KVCache


@functools.partial(jax.jit, static_argnames=("graphdef", "method", "new_size"))
def run(
    graphdef,
    weights,
    block: Block,
    table: jax.Array,
    max_new_tokens: jax.Array,
    temperature: jax.Array,
    top_p: jax.Array,
    *,
    method: sampling.Method,
    new_size: int,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Tokens [R, N], log-probabilities [R, N], lengths [R] and states [R] of a block."""
    model = nnx.merge(graphdef, weights)
    first, *larger = _rooms(new_size)
    kernel = model.output_kernel()
    if model.lm_head is None and jax.default_backend() == "cpu":
        kernel = jax.lax.optimization_barrier(kernel)  # or it is transposed again at each token
    hidden, cache = _prefill(model, block.tokens, block.segments, first)
    if block.prompt_of is not None:
        hidden, cache = hidden[block.prompt_of], _rows(cache, block.prompt_of)
    num_rows = len(block.keys)
    uniforms = sampling.uniforms(block.keys, new_size)  # not computed where nothing reads it

    def draw(loop: _Loop, hidden: jax.Array) -> _Loop:
        tokens, logprobs = sampling.draw(
            wide_product(hidden, kernel),
            uniforms[:, loop.drawn],
            temperature,
            top_p,
            method=method,
        )
        running = loop.state >= 0
        return loop._replace(
            drawn=loop.drawn + 1,
            tokens=loop.tokens.at[:, loop.drawn].set(tokens),
            logprobs=loop.logprobs.at[:, loop.drawn].set(logprobs),
            lengths=loop.lengths + running,
            state=jnp.where(running, table[jnp.maximum(loop.state, 0), tokens], loop.state),
        )

    def unfinished(loop: _Loop, room: int) -> jax.Array:
        return (loop.drawn < jnp.minimum(max_new_tokens, room)) & jnp.any(loop.state >= 0)

    def go_on(loop: _Loop) -> _Loop:
        last = jax.lax.dynamic_slice_in_dim(loop.tokens, loop.drawn - 1, 1, axis=1)
        hidden, cache = model.step(last, loop.cache)
        return draw(loop._replace(cache=cache), hidden[:, 0])

    start = _Loop(
        drawn=jnp.int32(0),
        tokens=jnp.zeros((num_rows, new_size), jnp.int32),
        logprobs=jnp.zeros((num_rows, new_size), jnp.float32),
        lengths=jnp.zeros(num_rows, jnp.int32),
        state=jnp.where(block.real, 0, AT_END).astype(jnp.int16),
        cache=cache,
    )

    def go_on_in(room: int, loop: _Loop) -> _Loop:
        return jax.lax.while_loop(functools.partial(unfinished, room=room), go_on, loop)

    loop = go_on_in(first, draw(start, hidden))
    for room in larger:
        cache = loop.cache.grown(block.tokens.shape[1] + room)
        loop = go_on_in(room, loop._replace(cache=cache))
    return loop.tokens, loop.logprobs, loop.lengths, loop.state


def _rooms(new_size: int) -> list[int]:
    """New tokens that the cache has room for, one after another; the last is `new_size`."""
    found = [_FIRST_ROOM]
    while found[-1] < new_size:
        found.append(found[-1] * _GROWTH)
    return [*found[:-1], new_size]


def _prefill(
    model: Llama, tokens: jax.Array, segments: jax.Array, room: int
) -> tuple[jax.Array, KVCache]:
    """Hidden states [B, D] of the last tokens, and the cache with room for `room` more."""
    num_rows, length = tokens.shape

    def some(tokens, segments):
        hidden, cache = model.prefill(tokens, length + room, segments=segments, last=True)
        return hidden[:, 0], cache

    most = _CPU_PREFILL if jax.default_backend() == "cpu" else _ACCELERATOR_PREFILL
    fitting = [n for n in range(1, num_rows + 1) if num_rows % n == 0 and n * length <= most]
    at_once = max(fitting, default=1)
    if at_once == num_rows or model.execution.mesh is not None:  # over a mesh the batch is cut
        return some(tokens, segments)
    parts = (part.reshape(-1, at_once, length) for part in (tokens, segments))
    hidden, cache = jax.lax.map(lambda part: some(*part), tuple(parts))
    joined = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]) if x.ndim > 1 else x[0], cache)
    return hidden.reshape(num_rows, -1), joined


def _rows(cache: KVCache, index: jax.Array) -> KVCache:
    """The cache of the rows `index`; one row may be there several times."""
    return jax.tree.map(lambda x: x[index] if x.ndim else x, cache)
