"""Attention against a softmax written out in numpy, and its derivative against JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.attention import attend

B, H, HEAD = 2, 4, 8


def inputs(queries, keys, key_heads, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(B, H, queries, HEAD), (B, key_heads, keys, HEAD), (B, key_heads, keys, HEAD)]
    return [2 * rng.normal(size=shape).astype(np.float32) for shape in shapes]


def written_out(query, key, value, visible):
    """visible bool [B, T, S]; float64."""
    key, value = (np.repeat(x.astype(float), H // x.shape[1], axis=1) for x in (key, value))
    scores = np.einsum("bhtd,bhsd->bhts", query.astype(float), key) / np.sqrt(HEAD)
    scores = np.where(visible[:, None], scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.einsum("bhts,bhsd->bhtd", weights, value)


def causal(queries, keys, offset=0):
    return np.broadcast_to(
        np.arange(keys)[None, :] <= np.arange(queries)[:, None] + offset, (B, queries, keys)
    )


@pytest.mark.parametrize(
    ("length", "key_heads"), [(1, 2), (31, 4), (70, 1), (131, 2)]
)  # one block to four, of unequal sizes
def test_attention_is_the_softmax_of_the_visible_scores(key_heads, length):
    arrays = inputs(length, length, key_heads)
    expected = written_out(*arrays, causal(length, length))
    np.testing.assert_allclose(jax.jit(attend)(*arrays), expected, atol=1e-5)


def segments(length):
    rng = np.random.default_rng(1)
    packed = np.sort(rng.integers(1, 5, length))
    padded = np.r_[np.zeros(length // 3, int), np.ones(length - length // 3, int)]
    return np.stack([packed, padded]).astype(np.int32)


@pytest.mark.parametrize("length", [9, 131])
def test_nothing_is_seen_across_segments(length):
    arrays, ids = inputs(length, length, 2), segments(length)
    visible = causal(length, length) & (ids[:, :, None] == ids[:, None, :])
    found = jax.jit(attend)(*arrays, query_segments=ids, key_segments=ids)
    np.testing.assert_allclose(found, written_out(*arrays, visible), atol=1e-5)


@pytest.mark.parametrize("traced", [False, True])
def test_queries_at_an_offset_see_the_keys_up_to_themselves(traced):
    arrays, ids = inputs(70, 140, 2), segments(140)
    visible = causal(70, 140, 50) & (ids[:, 50:120, None] == ids[:, None, :])

    def run(offset):
        return attend(*arrays, query_segments=ids[:, 50:120], key_segments=ids, offset=offset)

    found = jax.jit(run)(50) if traced else jax.jit(lambda: run(50))()
    np.testing.assert_allclose(found, written_out(*arrays, visible), atol=1e-5)


def test_the_derivative_is_that_which_jax_finds_by_itself():
    length = 70
    query, key, value = inputs(length, length, key_heads=2)
    ids = segments(length)
    cotangent = np.random.default_rng(2).normal(size=query.shape).astype(np.float32)
    visible = causal(length, length) & (ids[:, :, None] == ids[:, None, :])

    def plain(query, key, value):
        query, key, value = (x.swapaxes(1, 2) for x in (query, key, value))
        out = jax.nn.dot_product_attention(query, key, value, mask=visible[:, None])
        return out.swapaxes(1, 2)

    def ours(query, key, value):
        return attend(query, key, value, query_segments=ids, key_segments=ids)

    def back(attention):
        return jax.jit(lambda *arrays: jax.vjp(attention, *arrays)[1](cotangent))(query, key, value)

    for found, wanted in zip(back(ours), back(plain), strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_half_precision_scores_are_float32():
    arrays = [jnp.asarray(x, jnp.bfloat16) for x in inputs(40, 40, 2)]
    wide = [np.asarray(x, np.float32) for x in arrays]
    found = jax.jit(attend)(*arrays)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(
        np.asarray(found, np.float32), written_out(*wide, causal(40, 40)), atol=0.03
    )


def test_cudnn_is_taken_where_asked_for_and_says_that_it_needs_a_gpu():
    if jax.default_backend() != "cpu":
        pytest.skip("there is a GPU")
    with pytest.raises(RuntimeError, match=r"(?i)cudnn|gpu"):
        attend(*inputs(8, 8, 2), implementation="cudnn")
