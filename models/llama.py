"""The decoder of Llama 2 to 3.2, Qwen2 and Qwen3, in Flax NNX.

    x = embed[tokens]
    x = x + o(attend(rotate(q(n)), rotate(k(n)), v(n))),  n = norm(x)       for each layer
    x = x + down(silu(gate(n)) * up(n)),                  n = norm(x)
    hidden = norm(x);  logits = hidden @ lm_head

Weights have the dtype of the checkpoint. Norm statistics, angles, attention scores, softmax and
logits are float32. Heads are put on `hidden`; the logits are a call of their own.

Modules and their parameters are named as in Hugging Face's checkpoints; a kernel is [in, out],
the transpose of PyTorch's weight.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from models import rope as rope_lib
from models.config import Execution, LlamaConfig
from models.kv_cache import KVCache
from models.layers import Cached, DecoderLayer, Embedding, Linear, RMSNorm, read, wide_product
from models.sharding import BATCH, constrain

_FEW = 2  # tokens a read, from which on it pays to compute the last layer at the reads alone


class Llama(nnx.Module):
    """A decoder and its output matrix.

    Attributes:
      config: the architecture.
      execution: how passes are computed; may be set to another one at any time.
      embed_tokens: embedding [V, D].
      layers: L of `DecoderLayer`.
      norm: the last norm.
      lm_head: kernel [D, V]; None where the embeddings are tied.
    """

    def __init__(
        self,
        config: LlamaConfig,
        *,
        rngs: nnx.Rngs,
        dtype: str | jnp.dtype | None = None,
        execution: Execution = Execution(),  # noqa: B008 (frozen)
    ):
        """Random weights: normal with `config.initializer_range`, norms 1, biases 0.

        Args:
          config: the architecture.
          rngs: the stream `params` is drawn from.
          dtype: of the weights; None is `config.dtype`, or else bfloat16.
          execution: how passes are computed.
        """
        dtype = jnp.dtype(dtype or config.dtype or "bfloat16")
        self.config, self.execution = config, execution
        self.embed_tokens = Embedding(config, rngs=rngs, dtype=dtype)
        self.layers = nnx.List(
            [DecoderLayer(config, rngs=rngs, dtype=dtype) for _ in range(config.num_hidden_layers)]
        )
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps, dtype=dtype)
        self.lm_head = (
            None
            if config.tie_word_embeddings
            else Linear(
                (config.hidden_size, "embed"),
                (config.vocab_size, "vocab"),
                scale=config.initializer_range,
                rngs=rngs,
                dtype=dtype,
            )
        )

    def __call__(
        self,
        tokens: jax.Array,
        *,
        segments: jax.Array | None = None,
        positions: jax.Array | None = None,
        reads: jax.Array | None = None,
    ) -> jax.Array:
        """Hidden states after the last norm: what heads and `logits` read.

        Args:
          tokens: int [B, T].
          segments: int [B, T]; a token sees the tokens before it in its row with its own segment.
            Documents packed into a row have different ones, padding has 0. None: each row is one
            document without padding.
          positions: int [B, T], of each token in its document; None counts from 0 at each
            segment's first token in the row.
          reads: int [B, R], the places whose hidden states are wanted. Where they are few, the
            last layer is computed at these alone.

        Returns:
          [B, T, D] in the dtype computed in, or [B, R, D]. What stands at padding means nothing,
          but is finite.
        """
        if positions is None:
            positions = positions_of(tokens, segments)
        x, cos, sin = self._enter(tokens, positions)
        execution = self.execution

        def run(graphdef, state, x, reads=None):
            return nnx.merge(graphdef, state)(x, cos, sin, segments, execution, reads)

        if execution.remat != "none":
            policy = None
            if execution.remat == "dots":
                policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
            run = jax.checkpoint(
                run, static_argnums=0, policy=policy, prevent_cse=not execution.scan_layers
            )
        graphdefs, states = zip(*(nnx.split(layer) for layer in self.layers), strict=True)
        if execution.scan_layers:
            # Cast first: the copy is then as narrow as what is computed.
            stacked = jax.tree.map(
                lambda *leaves: jnp.stack([leaf.astype(x.dtype) for leaf in leaves]), *states
            )
            x, _ = jax.lax.scan(lambda x, state: (run(graphdefs[0], state, x), None), x, stacked)
        else:
            few = reads is not None and _FEW * reads.shape[1] <= tokens.shape[1]
            for graphdef, state in zip(graphdefs[:-1], states[:-1], strict=True):
                x = run(graphdef, state, x)
            x = run(graphdefs[-1], states[-1], x, reads if few else None)
            reads = None if few else reads
        return self.norm(x if reads is None else read(x, reads))

    def prefill(
        self,
        tokens: jax.Array,
        size: int,
        *,
        segments: jax.Array | None = None,
        positions: jax.Array | None = None,
        last: bool = False,
    ) -> tuple[jax.Array, KVCache]:
        """Hidden states of T tokens a row, and a cache of `size` slots that holds them.

        Args:
          tokens: int [B, T], T <= size.
          size: slots, for these tokens and those to come.
          segments: int [B, T], 0 where padding, which stands on the left; None is 1 everywhere.
          positions: int [B, T]; None counts each row's tokens from 0, without padding.
          last: only the last tokens' hidden states are wanted.

        Returns:
          hidden states [B, T, D] or [B, 1, D], the cache.
        """
        if tokens.shape[1] > size:
            raise ValueError(f"tokens are {tokens.shape[1]} a row, expected at most {size} (size)")
        dtype = self.execution.dtype or self.embed_tokens.embedding.dtype
        cache = KVCache.empty(self.config, batch=tokens.shape[0], size=size, dtype=dtype)
        reads = jnp.full((len(tokens), 1), tokens.shape[1] - 1) if last else None
        return self._extend(tokens, cache, 0, segments, positions, reads)

    def step(
        self,
        tokens: jax.Array,
        cache: KVCache,
        *,
        segments: jax.Array | None = None,
        positions: jax.Array | None = None,
    ) -> tuple[jax.Array, KVCache]:
        """Hidden states of T more tokens a row (T = 1: decoding), and the cache with them.

        Args:
          tokens: int [B, T], written at slots cache.length .. cache.length + T - 1, which must be
            below cache.size.
          cache: what was seen before.
          segments, positions: as in `prefill`; positions go on from each row's last token.

        Returns:
          hidden states [B, T, D], the cache.
        """
        return self._extend(tokens, cache, cache.length, segments, positions)

    def _extend(self, tokens, cache: KVCache, length, segments, positions, reads=None):
        real = jnp.ones_like(tokens) if segments is None else segments
        if positions is None:
            positions = cache.positions[:, None] + jnp.cumsum(real != 0, axis=1, dtype=jnp.int32)
            positions = jnp.maximum(positions, 0)  # of padding on the left
        x, cos, sin = self._enter(tokens, positions)
        all_segments = jax.lax.dynamic_update_slice(
            cache.segments, real.astype(jnp.int32), (0, length)
        )
        # Nothing before and no padding: plain causal attention, which has the fastest kernels.
        plain = segments is None and isinstance(length, int)
        keys, values = [], []
        for i, (layer, *old) in enumerate(zip(self.layers, cache.keys, cache.values, strict=True)):
            cached = Cached(*old, all_segments, length)
            at = reads if i == len(self.layers) - 1 else None
            x, *new = layer.step(x, cos, sin, None if plain else real, cached, self.execution, at)
            keys.append(new[0])
            values.append(new[1])
        last = jnp.max(jnp.where(real != 0, positions, -1), axis=1)
        cache = KVCache(
            keys=tuple(keys),
            values=tuple(values),
            segments=all_segments,
            positions=jnp.maximum(cache.positions, last),
            length=cache.length + tokens.shape[1],
        )
        return self.norm(x), cache

    def logits(self, hidden: jax.Array) -> jax.Array:
        """float32 [..., V] from hidden states [..., D]. Pick the places first: V is large."""
        return wide_product(hidden, self.output_kernel())

    def output_kernel(self) -> jax.Array:
        """[D, V], from hidden states to logits: the transposed embedding where they are tied."""
        if self.lm_head is None:
            return self.embed_tokens.embedding[...].T
        return self.lm_head.kernel[...]

    def _enter(self, tokens, positions):
        """Embedded tokens [B, T, D], cosines and sines float32 [B, 1, T, h / 2]."""
        embedding = self.embed_tokens.embedding[...]
        x = jnp.take(embedding, tokens, axis=0).astype(self.execution.dtype or embedding.dtype)
        x = constrain(x, self.execution.mesh, BATCH, None, None)
        frequencies = self.config.rope.frequencies(self.config.head_dim)
        cos, sin = rope_lib.angles(positions[:, None], frequencies)
        if x.dtype == jnp.float32:  # as on CPUs; elsewhere no float32 product is wanted
            cos, sin = rope_lib.computed_once(cos), rope_lib.computed_once(sin)
        return x, cos, sin


def positions_of(tokens: jax.Array, segments: jax.Array | None) -> jax.Array:
    """int32 [B, T]: how far each token is from its segment's first one in the row."""
    place = jnp.arange(tokens.shape[1], dtype=jnp.int32)[None, :]
    if segments is None:
        return jnp.broadcast_to(place, tokens.shape)
    new = jnp.pad(segments[:, 1:] != segments[:, :-1], ((0, 0), (1, 0)))
    return place - jax.lax.cummax(jnp.where(new, place, 0), axis=1)
