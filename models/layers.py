"""The parts of a decoder layer: attention with rotated heads, SwiGLU, norms, plain products.

A kernel is [in, out]. Products are computed in the dtype of the activations, norm statistics in
float32.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from models import rope as rope_lib
from models.attention import attend
from models.config import Execution, LlamaConfig
from models.sharding import BATCH, WEIGHT_AXES, constrain, param


class DecoderLayer(nnx.Module):
    """Attention and SwiGLU, each on the norm of what it is added to."""

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs, dtype: jnp.dtype):
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps, dtype=dtype)
        self.self_attn = Attention(config, rngs=rngs, dtype=dtype)
        self.post_attention_layernorm = RMSNorm(
            config.hidden_size, config.rms_norm_eps, dtype=dtype
        )
        self.mlp = SwiGLU(config, rngs=rngs, dtype=dtype)

    def __call__(self, x, cos, sin, segments, execution: Execution, reads=None) -> jax.Array:
        """[B, T, D] from x [B, T, D], or [B, R, D] at the reads; the rest as in `Attention`."""
        out = self.self_attn(self.input_layernorm(x), cos, sin, segments, execution, reads)
        x = (x if reads is None else read(x, reads)) + out
        x = x + self.mlp(self.post_attention_layernorm(x), execution)
        return constrain(x, execution.mesh, BATCH, None, None)

    def step(self, x, cos, sin, segments, cached: "Cached", execution: Execution, reads=None):
        """[B, T, D] and the layer's keys and values, from x [B, T, D] and what is cached; or
        [B, R, D] at the reads, where nothing is cached yet."""
        out, keys, values = self.self_attn.step(
            self.input_layernorm(x), cos, sin, segments, cached, execution, reads
        )
        x = (x if reads is None else read(x, reads)) + out
        x = x + self.mlp(self.post_attention_layernorm(x), execution)
        return constrain(x, execution.mesh, BATCH, None, None), keys, values


class Cached(NamedTuple):
    """One layer's part of a `KVCache`, and where T more tokens are written."""

    keys: jax.Array  # [B, K, S, h]
    values: jax.Array  # [B, K, S, h]
    segments: jax.Array  # int32 [B, S], the T tokens' too
    length: jax.Array | int  # int32 []; the int 0 where nothing is cached yet


class Attention(nnx.Module):
    """Rotary attention with grouped queries."""

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs, dtype: jnp.dtype):
        make = functools.partial(
            Linear, scale=config.initializer_range, rngs=rngs, dtype=dtype, bias=config.qkv_bias
        )
        embed = (config.hidden_size, "embed")
        heads = (config.num_attention_heads * config.head_dim, "heads")
        groups = (config.num_key_value_heads * config.head_dim, "kv_heads")
        self.head_dim = config.head_dim
        self.q_proj, self.k_proj = make(embed, heads), make(embed, groups)
        self.v_proj, self.o_proj = make(embed, groups), make(heads, embed, bias=config.o_bias)
        norm = functools.partial(RMSNorm, config.head_dim, config.rms_norm_eps, dtype=dtype)
        self.q_norm = norm() if config.qk_norm else None
        self.k_norm = norm() if config.qk_norm else None

    def __call__(self, x, cos, sin, segments, execution: Execution, reads=None) -> jax.Array:
        """[B, T, D] from x [B, T, D].

        Args:
          cos, sin: float32 [B, 1, T, h / 2].
          segments: int [B, T] or None.
          reads: int [B, R], the places whose results are wanted, [B, R, D]; None is all.
        """
        query, key, value = self.project(x, cos, sin, execution, reads)
        out = attend(
            query,
            key,
            value,
            query_segments=_at(segments, reads),
            key_segments=segments,
            places=reads,
            implementation=execution.attention,
        )
        return self._joined(out)

    def step(self, x, cos, sin, segments, cached: Cached, execution: Execution, reads=None):
        """[B, T, D] (or [B, R, D]), and the cached keys and values with those of x."""
        query, key, value = self.project(x, cos, sin, execution, reads)
        start = (0, 0, cached.length, 0)
        keys = jax.lax.dynamic_update_slice(cached.keys, key.astype(cached.keys.dtype), start)
        values = jax.lax.dynamic_update_slice(
            cached.values, value.astype(cached.values.dtype), start
        )
        if not isinstance(cached.length, int):  # else nothing but x is to be seen
            key, value = keys.astype(query.dtype), values.astype(query.dtype)
        out = attend(
            query,
            key,
            value,
            query_segments=_at(segments, reads),
            key_segments=cached.segments,
            offset=cached.length,
            places=reads,
            implementation=execution.attention,
        )
        return self._joined(out), keys, values

    def _joined(self, out):
        """[B, T, D] of what the heads found, [B, H, T, h]."""
        return self.o_proj(out.swapaxes(1, 2).reshape(out.shape[0], out.shape[2], -1))

    def project(self, x, cos, sin, execution: Execution, reads=None):
        """Rotated queries [B, H, T, h] and keys [B, K, T, h], values [B, K, T, h]; queries at the
        reads alone, [B, H, R, h], where there are any."""
        asking = x if reads is None else read(x, reads)
        query, key, value = (
            project(x).reshape(*x.shape[:2], -1, self.head_dim).swapaxes(1, 2)
            for project, x in ((self.q_proj, asking), (self.k_proj, x), (self.v_proj, x))
        )
        query, key, value = (
            constrain(heads, execution.mesh, BATCH, WEIGHT_AXES["heads"], None, None)
            for heads in (query, key, value)
        )
        if self.q_norm is not None:
            query, key = self.q_norm(query), self.k_norm(key)
        key = rope_lib.rotate(key, cos, sin)
        if reads is not None:
            cos, sin = (read(angle[:, 0], reads)[:, None] for angle in (cos, sin))
        return rope_lib.rotate(query, cos, sin), key, value


class SwiGLU(nnx.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs, dtype: jnp.dtype):
        make = functools.partial(Linear, scale=config.initializer_range, rngs=rngs, dtype=dtype)
        embed, ffn = (config.hidden_size, "embed"), (config.intermediate_size, "ffn")
        self.gate_proj, self.up_proj = make(embed, ffn), make(embed, ffn)
        self.down_proj = make(ffn, embed)

    def __call__(self, x: jax.Array, execution: Execution) -> jax.Array:
        """[B, T, D] from x [B, T, D]."""
        inner = jax.nn.silu(self.gate_proj(x)) * self.up_proj(x)
        inner = constrain(inner, execution.mesh, BATCH, None, WEIGHT_AXES["ffn"])
        return self.down_proj(inner)


def read(x: jax.Array, places: jax.Array) -> jax.Array:
    """[B, R, D]: of x [B, T, D] what stands at places int [B, R]."""
    return jnp.take_along_axis(x, places[..., None], axis=1, mode="clip")


def _at(segments, reads):
    """[B, R] of the segments [B, T] at the reads; all where there are none."""
    if segments is None or reads is None:
        return segments
    return jnp.take_along_axis(segments, reads, axis=1, mode="clip")


class Embedding(nnx.Module):
    """The embedding [V, D]."""

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs, dtype: jnp.dtype):
        shape = (config.vocab_size, config.hidden_size)
        value = normal(rngs, shape, config.initializer_range, dtype)
        self.embedding = param(value, "vocab", "embed")


class Linear(nnx.Module):
    """x @ kernel + bias, in the dtype of x."""

    def __init__(
        self,
        inner: tuple[int, str],
        outer: tuple[int, str],
        *,
        scale: float,
        rngs: nnx.Rngs,
        dtype: jnp.dtype,
        bias: bool = False,
    ):
        """Random kernel, bias 0.

        Args:
          inner, outer: size and name (see `models.sharding`) of the two dimensions.
          scale: standard deviation of the kernel.
          rngs: the stream `params` is drawn from.
          dtype: of the weights.
          bias: whether there is one.
        """
        (inner_size, inner_name), (outer_size, outer_name) = inner, outer
        value = normal(rngs, (inner_size, outer_size), scale, dtype)
        self.kernel = param(value, inner_name, outer_name)
        self.bias = param(jnp.zeros((outer_size,), dtype), outer_name) if bias else None

    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., outer] from x [..., inner]."""
        out = product(x, self.kernel[...])
        return out if self.bias is None else out + self.bias[...].astype(x.dtype)


class RMSNorm(nnx.Module):
    """scale * x / sqrt(mean(x ** 2) + eps); the statistics in float32."""

    def __init__(self, size: int, eps: float, *, dtype: jnp.dtype):
        self.scale = param(jnp.ones((size,), dtype), None)
        self.eps = eps

    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., size] from x [..., size]."""
        wide = x.astype(jnp.float32)
        mean_square = jnp.mean(wide * wide, axis=-1, keepdims=True)
        normed = (wide * jax.lax.rsqrt(mean_square + self.eps)).astype(x.dtype)
        return self.scale[...].astype(x.dtype) * normed


def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """x @ kernel, computed and given out in x's dtype.

    On a flat x: the kernel's gradient is then a plain product, which XLA:CPU does twice as fast.
    """
    return _on_flat(jnp.matmul, x, kernel)


def wide_product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """x @ kernel from x's dtype to float32; cotangents go back in x's dtype.

    JAX's own derivative multiplies in float32, which costs a GPU many times the forward product.
    """
    return _on_flat(_wide_matmul, x, kernel)


def _on_flat(matmul, x, kernel):
    out = matmul(x.reshape(-1, x.shape[-1]), kernel.astype(x.dtype))
    return out.reshape(*x.shape[:-1], kernel.shape[-1])


@jax.custom_vjp
def _wide_matmul(x, kernel):
    return jnp.matmul(x, kernel, preferred_element_type=jnp.float32)


def _wide_matmul_backward(kept, cotangent):
    x, kernel = kept
    cotangent = cotangent.astype(x.dtype)
    return cotangent @ kernel.T, x.T @ cotangent


_wide_matmul.defvjp(lambda x, kernel: (_wide_matmul(x, kernel), (x, kernel)), _wide_matmul_backward)


def normal(rngs: nnx.Rngs, shape, scale: float, dtype: jnp.dtype) -> jax.Array:
    return (scale * jax.random.normal(rngs.params(), shape, jnp.float32)).astype(dtype)
