"""Causal attention with grouped queries, within the segments of packed rows.

    out[i] = sum_j p[i, j] v[j],  p[i, :] = softmax over j of q[i] . k[j] / sqrt(h),
    where j <= i and segment[j] = segment[i]

i and j are places in the row, not positions in the document. Scores and softmax are float32.
Padding has a segment of its own (0), so a padded query sees padding and nothing is divided by 0.
Heads stand before places in all arrays: that is how batched products are fast on CPU.
"""

import functools
import math

import jax
import jax.numpy as jnp

# Queries are taken in up to this many blocks, so that most scores above the diagonal are never
# computed: with 4 blocks 3/8 of all. More would gain little and compile longer.
_MAX_BLOCKS = 4
_MIN_BLOCK = 32


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    *,
    query_segments: jax.Array | None = None,
    key_segments: jax.Array | None = None,
    offset: jax.Array | int = 0,
    places: jax.Array | None = None,
    implementation: str = "xla",
) -> jax.Array:
    """Attention of T queries over S keys.

    Args:
      query: [B, H, T, h].
      key, value: [B, K, S, h]; H / K queries share a key.
      query_segments, key_segments: int [B, T] and [B, S]; None where each row is one document.
      offset: place of the first query among the keys. An int spares what cannot be seen.
      places: int [B, T], of each query among the keys, where they do not follow one another; "xla"
        then, and no offset.
      implementation: "xla" or "cudnn"; a single query is "xla" always.

    Returns:
      [B, H, T, h], in query's dtype.
    """
    length, known = query.shape[2], isinstance(offset, int)
    if places is not None:
        mask = _seen(places[:, None, :, None], key.shape[2], query_segments, key_segments)
        return _attend(query, key, value, mask)
    if implementation == "cudnn" and length > 1:
        plain = query_segments is None and known and offset == 0
        mask = None
        if not plain:
            mask = _mask(slice(0, length), key.shape[2], query_segments, key_segments, offset)
        query, key, value = (x.swapaxes(1, 2) for x in (query, key, value))
        out = jax.nn.dot_product_attention(
            query, key, value, mask=mask, is_causal=plain, implementation="cudnn"
        )
        return out.swapaxes(1, 2)
    blocks = max(1, min(_MAX_BLOCKS, length // _MIN_BLOCK)) if known else 1
    bounds = [length * i // blocks for i in range(blocks + 1)]
    out = []
    for begin, end in zip(bounds[:-1], bounds[1:], strict=True):
        seen = offset + end if known else key.shape[2]
        mask = _mask(slice(begin, end), seen, query_segments, key_segments, offset)
        out.append(_attend(query[:, :, begin:end], key[:, :, :seen], value[:, :, :seen], mask))
    return out[0] if blocks == 1 else jnp.concatenate(out, axis=2)


@jax.custom_vjp
def _attend(query, key, value, mask):
    """[B, H, T, h] of attention where bool mask [B or 1, 1, T, S] allows it.

    With g the cotangent of out, per query i (as in FlashAttention, arXiv 2205.14135, appendix B):

        dv[j] = sum_i p[i, j] g[i]
        ds[i, j] = p[i, j] (g[i] . v[j] - g[i] . out[i])
        dq[i] = sum_j ds[i, j] k[j] / sqrt(h);  dk[j] = sum_i ds[i, j] q[i] / sqrt(h)

    JAX's own derivative of softmax passes over [T, S] more often, and leaves ds in float32.
    """
    return _attend_forward(query, key, value, mask)[0]


def _attend_forward(query, key, value, mask):
    grouped = _group(query, key)
    scores = _product("bkth,bksh->bkts", grouped, key)
    scores = scores.reshape(*scores.shape[:2], -1, *mask.shape[2:]) / math.sqrt(key.shape[-1])
    weights = jax.nn.softmax(jnp.where(mask[:, :, None], scores, -jnp.inf), axis=-1)
    weights = weights.astype(value.dtype).reshape(*grouped.shape[:3], -1)
    out = jnp.einsum("bkts,bksh->bkth", weights, value).reshape(query.shape)
    return out, (query, key, value, weights, out)


def _attend_backward(kept, cotangent):
    query, key, value, weights, out = kept
    grouped, out, cotangent = (_group(x, key) for x in (query, out, cotangent))
    d_value = jnp.einsum("bkts,bkth->bksh", weights, cotangent)
    inner = jnp.sum(cotangent.astype(jnp.float32) * out, axis=-1, keepdims=True)
    d_scores = weights * (_product("bkth,bksh->bkts", cotangent, value) - inner)
    d_scores = d_scores.astype(query.dtype)
    d_query = _product("bkts,bksh->bkth", d_scores, key) / math.sqrt(key.shape[-1])
    d_key = _product("bkts,bkth->bksh", d_scores, grouped) / math.sqrt(key.shape[-1])
    d_query = d_query.astype(query.dtype).reshape(query.shape)
    return d_query, d_key.astype(key.dtype), d_value, None


_attend.defvjp(_attend_forward, _attend_backward)
_product = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)


def _group(x, key):
    """[B, K, H / K * T, h] from [B, H, T, h]: the queries that share a key, one after another."""
    return x.reshape(*key.shape[:2], -1, x.shape[-1])


def _mask(queries: slice, num_keys: int, query_segments, key_segments, offset) -> jax.Array:
    """bool [B or 1, 1, T, S]: what these queries may see of the first `num_keys` keys."""
    place = jnp.arange(queries.start, queries.stop)[None, None, :, None] + offset
    if query_segments is not None:
        query_segments = query_segments[:, queries]
    return _seen(place, num_keys, query_segments, key_segments)


def _seen(place, num_keys: int, query_segments, key_segments) -> jax.Array:
    """bool [B or 1, 1, T, S]: keys at or before the places [B or 1, 1, T, 1], in the segments."""
    mask = jnp.arange(num_keys) <= place
    if query_segments is None:
        return mask
    return mask & (query_segments[:, None, :, None] == key_segments[:, None, None, :num_keys])
