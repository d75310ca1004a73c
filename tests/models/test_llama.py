"""One decoder computed in different ways gives the same hidden states."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from models.config import Execution, LlamaConfig
from models.kv_cache import KVCache
from models.llama import Llama, positions_of
from models.rope import Llama3Rope

CONFIG = LlamaConfig(
    vocab_size=50,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    rope=Llama3Rope(8.0, 1.0, 4.0, 128),
    initializer_range=0.2,
    dtype="float32",
)
TOLERANCE = dict(rtol=1e-4, atol=1e-5)


@functools.cache
def model(family="llama", tied=False):
    config = dataclasses.replace(CONFIG, family=family, tie_word_embeddings=tied)
    return Llama(config, rngs=nnx.Rngs(0))


def tokens(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, CONFIG.vocab_size, shape)


def hidden(tokens, execution=None, decoder=None, **rest):
    graphdef, state = nnx.split(decoder or model())
    return np.asarray(run(graphdef, execution or Execution(), state, tokens, rest))


@functools.partial(jax.jit, static_argnums=(0, 1))
def run(graphdef, execution, state, tokens, rest):
    decoder = nnx.merge(graphdef, state)
    decoder.execution = execution
    return decoder(tokens, **rest)


def test_packed_documents_are_as_each_alone():
    lengths, row = [5, 5, 5], tokens(1, 16)
    segments = np.zeros((1, 16), np.int32)
    starts = np.cumsum([0, *lengths])
    for number, (start, length) in enumerate(zip(starts, lengths, strict=False), 1):
        segments[0, start : start + length] = number
    packed = hidden(row, segments=segments)
    assert np.isfinite(packed).all()
    for start, length in zip(starts, lengths, strict=False):
        part = slice(start, start + length)
        np.testing.assert_allclose(packed[:, part], hidden(row[:, part]), **TOLERANCE)


def test_a_segment_may_come_twice_only_as_one_document():
    # What is between them has another segment: the second part goes on seeing the first one.
    row, segments = tokens(1, 6), np.array([[1, 1, 2, 2, 1, 1]])
    positions = np.array([[0, 1, 0, 1, 2, 3]])
    found = hidden(row, segments=segments, positions=positions)
    np.testing.assert_allclose(found[:, [0, 1, 4, 5]], hidden(row[:, [0, 1, 4, 5]]), **TOLERANCE)


def test_left_padding_changes_nothing():
    row = tokens(2, 12)
    segments = np.ones((2, 12), np.int32)
    segments[1, :5] = 0
    found = hidden(row, segments=segments)
    np.testing.assert_allclose(found[0], hidden(row)[0], **TOLERANCE)
    np.testing.assert_allclose(found[1:, 5:], hidden(row[1:, 5:]), **TOLERANCE)


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("count", [3, 10])
def test_what_is_read_is_the_same_where_the_last_layer_is_computed_for_it_alone(family, count):
    decoder, row = model(family), tokens(2, 16)
    segments = np.array([[1] * 6 + [2] * 10, [0] * 5 + [3] * 11])
    reads = np.random.default_rng(count).integers(0, 16, (2, count))
    expected = np.take_along_axis(
        hidden(row, decoder=decoder, segments=segments), reads[..., None], axis=1
    )
    for execution in (Execution(), Execution(remat="full"), Execution(scan_layers=True)):
        found = hidden(row, execution, decoder, segments=segments, reads=reads)
        np.testing.assert_allclose(found, expected, **TOLERANCE)
    without = hidden(row, decoder=decoder, reads=reads)
    expected = np.take_along_axis(hidden(row, decoder=decoder), reads[..., None], axis=1)
    np.testing.assert_allclose(without, expected, **TOLERANCE)


def test_few_reads_are_cheaper():
    graphdef, state = nnx.split(model())
    row, some, many = tokens(4, 64), np.zeros((4, 2), int), np.zeros((4, 60), int)

    def flops(reads):
        lowered = run.lower(graphdef, Execution(), state, row, {"reads": reads})
        return lowered.compile().cost_analysis()["flops"]

    assert flops(some) < 0.7 * flops(many)


def test_positions_count_from_each_segment_s_first_token():
    segments = jnp.array([[3, 3, 1, 1, 1, 0, 0], [0, 0, 5, 5, 5, 5, 5]])
    found = positions_of(segments, segments)
    np.testing.assert_array_equal(found, [[0, 1, 0, 1, 2, 0, 1], [0, 1, 0, 1, 2, 3, 4]])
    np.testing.assert_array_equal(positions_of(segments, None), [list(range(7))] * 2)


def test_no_token_sees_a_later_one():
    row = tokens(1, 80)
    changed = row.copy()
    changed[0, 50:] = tokens(30, seed=1)
    before, after = hidden(row), hidden(changed)
    np.testing.assert_array_equal(before[:, :50], after[:, :50])
    assert np.abs(before[:, 50:] - after[:, 50:]).max() > 0.1


def test_cache_or_no_cache_is_the_same():
    row = tokens(2, 20)
    segments = np.ones((2, 20), np.int32)
    segments[1, :4] = 0
    segments[1, 13] = 0  # padding in the middle, where the rows' turns are of unequal length
    positions = np.maximum(np.cumsum(segments, axis=1) - 1, 0)
    decoder = model("qwen3")
    expected = hidden(row, decoder=decoder, segments=segments, positions=positions)
    graphdef, state = nnx.split(decoder)

    @jax.jit
    def cached(state, row, segments):
        decoder = nnx.merge(graphdef, state)
        found, cache = decoder.prefill(row[:, :8], 9, segments=segments[:, :8])
        parts = [found]
        for begin, end, size in ((8, 9, 9), (9, 15, 24), (15, 20, 24)):
            part, cache = slice(begin, end), cache.grown(size)
            found, cache = decoder.step(row[:, part], cache, segments=segments[:, part])
            parts.append(found)
        return jnp.concatenate(parts, axis=1), cache

    found, cache = cached(state, row, segments)
    real = segments == 1
    np.testing.assert_allclose(np.asarray(found)[real], expected[real], **TOLERANCE)
    assert int(cache.length) == 20 and cache.size == 24
    np.testing.assert_array_equal(cache.positions, [19, 14])
    np.testing.assert_array_equal(cache.segments[:, :20], segments)


def test_the_last_tokens_of_a_prefill_alone():
    row, segments = tokens(2, 12), np.ones((2, 12), np.int32)
    segments[1, :5] = 0
    graphdef, state = nnx.split(model())

    @functools.partial(jax.jit, static_argnums=1)
    def prefilled(state, last, segments):
        return nnx.merge(graphdef, state).prefill(row, 16, segments=segments, last=last)

    for some in (segments, None):
        (whole, cache), (ends, other) = (prefilled(state, last, some) for last in (False, True))
        np.testing.assert_allclose(ends, whole[:, -1:], **TOLERANCE)
        jax.tree.map(np.testing.assert_array_equal, cache, other)


def test_samples_share_one_prefill():
    prompts, replies = tokens(2, 6), tokens(6, 3, seed=1)
    graphdef, state = nnx.split(model())

    @jax.jit
    def sampled(state):
        decoder = nnx.merge(graphdef, state)
        _, cache = decoder.prefill(prompts, 9)
        return decoder.step(replies, cache.repeat(3))[0]

    found = sampled(state)
    expected = hidden(np.concatenate([np.repeat(prompts, 3, axis=0), replies], axis=1))
    np.testing.assert_allclose(found, expected[:, 6:], **TOLERANCE)


def test_decoding_compiles_once():
    graphdef, state = nnx.split(model())

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(state, token, cache):
        return nnx.merge(graphdef, state).step(token, cache)

    cache = KVCache.empty(CONFIG, batch=2, size=4, dtype=jnp.float32)
    for _ in range(4):
        _, cache = step(state, tokens(2, 1), cache)
    assert int(cache.length) == 4


def test_a_prompt_longer_than_the_cache_is_refused():
    with pytest.raises(ValueError, match=r"tokens are 6 a row, expected at most 5"):
        model().prefill(tokens(2, 6), 5)


def test_an_empty_cache_is_all_padding():
    cache = KVCache.empty(CONFIG, batch=2, size=7, dtype=jnp.bfloat16)
    assert cache.keys[0].shape == (2, 2, 7, 8) and len(cache.values) == 2
    assert not cache.segments.any() and (cache.positions == -1).all()


def loss(graphdef, state, row, execution, **rest):
    decoder = nnx.merge(graphdef, state)
    decoder.execution = execution
    return jnp.mean(jax.nn.log_softmax(decoder.logits(decoder(row, **rest))) ** 2)


@functools.cache
def gradients(execution):
    row = tokens(2, 16)
    segments = np.sort(np.random.default_rng(2).integers(0, 3, (2, 16)))
    graphdef, state = nnx.split(model())
    return jax.jit(
        jax.value_and_grad(lambda state: loss(graphdef, state, row, execution, segments=segments))
    )(state)


@pytest.mark.parametrize(
    "execution",
    [Execution(remat="full"), Execution(remat="dots", scan_layers=True)],
    ids=["full", "dots, scan"],
)
def test_remat_and_scan_change_neither_loss_nor_gradients(execution):
    chex.assert_trees_all_close(gradients(execution), gradients(Execution()), rtol=2e-4, atol=1e-5)


def test_recomputing_keeps_less():
    graphdef, state = nnx.split(model())
    row = tokens(4, 128)

    def kept(execution):
        def back(state):
            return jax.vjp(lambda state: loss(graphdef, state, row, execution), state)[1]

        return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(back, state)))

    for scan in (False, True):
        none, dots, full = (
            kept(Execution(remat=remat, scan_layers=scan)) for remat in ("none", "dots", "full")
        )
        assert full < 0.7 * dots < 0.7 * 0.7 * none


def test_half_precision_weights_compute_in_half_precision_and_give_float32_logits():
    decoder = Llama(CONFIG, rngs=nnx.Rngs(0), dtype="bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(decoder))} == {jnp.bfloat16.dtype}
    found = jax.jit(lambda decoder, row: decoder(row))(decoder, tokens(2, 12))
    assert found.dtype == jnp.bfloat16
    logits = decoder.logits(found)
    assert logits.dtype == jnp.float32
    expected = model().logits(hidden(tokens(2, 12)))
    assert np.corrcoef(np.ravel(logits), np.ravel(expected))[0, 1] > 0.999


def test_float32_weights_may_compute_in_half_precision():
    decoder = model()
    wide, narrow = hidden(tokens(2, 12)), hidden(tokens(2, 12), Execution(dtype="bfloat16"))
    assert narrow.dtype == jnp.bfloat16
    assert 0 < np.abs(wide - narrow.astype(np.float32)).max() < 0.3
    assert decoder.embed_tokens.embedding.dtype == jnp.float32


@pytest.mark.parametrize("tied", [True, False])
def test_gradients_in_half_precision_multiply_no_float32_matrices(tied):
    decoder = Llama(
        dataclasses.replace(CONFIG, tie_word_embeddings=tied), rngs=nnx.Rngs(0), dtype="bfloat16"
    )
    graphdef, state = nnx.split(decoder)

    def loss(state, row):
        decoder = nnx.merge(graphdef, state)
        return jax.nn.log_softmax(decoder.logits(decoder(row))).mean()

    jaxpr = jax.make_jaxpr(jax.grad(loss))(state, tokens(2, 40))
    products = [eqn for eqn in equations(jaxpr.jaxpr) if eqn.primitive.name == "dot_general"]
    assert len(products) == 3 * (CONFIG.num_hidden_layers * 9 + 1)  # forward, and two back
    assert all(variable.aval.dtype == jnp.bfloat16 for eqn in products for variable in eqn.invars)


def equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, list | tuple) else [value]:
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from equations(inner)


def test_a_token_out_of_range_gives_nan_not_another_token():
    assert np.isnan(hidden(np.array([[1, 50]]))[0, 1]).all()


def test_weights_are_reproduced_by_the_seed():
    one, two, other = (Llama(CONFIG, rngs=nnx.Rngs(seed)) for seed in (1, 1, 2))
    chex.assert_trees_all_equal(nnx.state(one), nnx.state(two))
    kernel = one.layers[0].mlp.up_proj.kernel[...]
    assert np.std(kernel) == pytest.approx(0.2, rel=0.05)
    assert not np.allclose(kernel, other.layers[0].mlp.up_proj.kernel[...])
