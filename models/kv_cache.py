"""Keys and values of the tokens seen so far, in arrays of fixed size.

All rows share one write position, so that prefill and decoding compile once per (B, S):

    hidden, cache = model.prefill(prompts, size=S, segments=mask)    # T tokens, left-padded
    cache = cache.repeat(n)                                          # n samples a prompt
    hidden, cache = model.step(next_tokens, cache)                   # decode: 1 token, T = 1

Slot j of a row is seen from slot i if j <= i and both have the same segment. Segment 0 is padding
and empty slots. Whoever writes must not write past `size`: inside jit that cannot be refused.
"""

import dataclasses

import jax
import jax.numpy as jnp

from models.config import LlamaConfig


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KVCache:
    """One entry a layer, so that each is updated in place when the cache is donated or carried.

    Attributes:
      keys, values: L arrays [B, K, S, h]; keys are rotated already.
      segments: int32 [B, S]; 0 where padding or nothing was written.
      positions: int32 [B]; the position of the last token of each row, -1 where there is none.
      length: int32 []; slots written, the next one to write.
    """

    keys: tuple[jax.Array, ...]
    values: tuple[jax.Array, ...]
    segments: jax.Array
    positions: jax.Array
    length: jax.Array

    @classmethod
    def empty(cls, config: LlamaConfig, *, batch: int, size: int, dtype) -> "KVCache":
        """A cache of `size` slots for `batch` rows, nothing written."""
        shape = (batch, config.num_key_value_heads, size, config.head_dim)

        def arrays():
            return tuple(jnp.zeros(shape, dtype) for _ in range(config.num_hidden_layers))

        return cls(
            keys=arrays(),
            values=arrays(),
            segments=jnp.zeros((batch, size), jnp.int32),
            positions=jnp.full((batch,), -1, jnp.int32),
            length=jnp.zeros((), jnp.int32),
        )

    @property
    def size(self) -> int:
        """S, slots of a row."""
        return self.segments.shape[1]

    def grown(self, size: int) -> "KVCache":
        """With `size` slots, which are no fewer; what was written stays where it is."""
        more = (0, size - self.size)

        def pad(x):
            return jnp.pad(x, ((0, 0), (0, 0), more, (0, 0)))

        return dataclasses.replace(
            self,
            keys=tuple(map(pad, self.keys)),
            values=tuple(map(pad, self.values)),
            segments=jnp.pad(self.segments, ((0, 0), more)),
        )

    def repeat(self, n: int) -> "KVCache":
        """Each row n times in a row, [B * n, ...]: n samples that share one prefill."""
        return dataclasses.replace(
            self,
            keys=tuple(jnp.repeat(k, n, axis=0) for k in self.keys),
            values=tuple(jnp.repeat(v, n, axis=0) for v in self.values),
            segments=jnp.repeat(self.segments, n, axis=0),
            positions=jnp.repeat(self.positions, n, axis=0),
        )
