"""What is drawn follows softmax and nucleus, from the row's seed alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from models import sampling

P = np.array([0.4, 0.05, 0.3, 0.05, 0.2])
LOGITS = np.log(P).astype(np.float32)
ROWS = 20_000


draw = jax.jit(sampling.draw, static_argnames="method")


def drawn(logits, *, temperature, top_p=1.0, place=0, rows=ROWS):
    """A token for each row, all of the same logits, and the log-probabilities given with them."""
    keys = sampling.row_keys(range(rows))
    method = sampling.method(temperature, top_p)
    logits = jnp.broadcast_to(jnp.asarray(logits), (rows, len(logits)))
    uniform = sampling.uniforms(keys, 2)[:, place]
    return map(np.asarray, draw(logits, uniform, temperature, top_p, method=method))


def p_value(tokens, probabilities):
    """Of the chi-square test that tokens follow these probabilities; asserts that tokens of
    probability 0 do not occur."""
    counts = np.bincount(tokens, minlength=len(probabilities))
    possible = probabilities > 0
    assert not counts[~possible].any()
    return scipy.stats.chisquare(counts[possible], ROWS * probabilities[possible]).pvalue


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_draws_follow_the_softmax_at_any_temperature(temperature):
    """Chi-square over 20,000 draws; a wrong temperature would give p < 1e-100."""
    tokens, logprobs = drawn(LOGITS, temperature=temperature)
    expected = P ** (1 / temperature)
    assert p_value(tokens, expected / expected.sum()) > 0.01
    np.testing.assert_allclose(logprobs, LOGITS[tokens], atol=1e-6)  # at temperature 1


@pytest.mark.parametrize(
    "top_p, kept", [(0.3, [0]), (0.5, [0, 2]), (0.75, [0, 2, 4]), (0.999, [0, 1, 2, 3, 4])]
)
def test_top_p_keeps_the_smallest_nucleus_and_its_proportions(top_p, kept):
    tokens, logprobs = drawn(LOGITS, temperature=1.0, top_p=top_p)
    expected = np.zeros(5)
    expected[kept] = P[kept]
    assert (
        p_value(tokens, expected / expected.sum()) > 0.01 if len(kept) > 1 else set(tokens) == {0}
    )
    np.testing.assert_allclose(logprobs, LOGITS[tokens], atol=1e-6)


def test_top_p_acts_after_the_temperature():
    """At temperature 0.5 the probabilities are .55, .01, .31, .01, .12."""
    tokens, _ = drawn(LOGITS, temperature=0.5, top_p=0.54)
    assert set(tokens) == {0}
    tokens, _ = drawn(LOGITS, temperature=0.5, top_p=0.57)
    assert set(tokens) == {0, 2}


def test_greedy_takes_the_most_likely():
    tokens, logprobs = drawn(LOGITS, temperature=0.0)
    assert set(tokens) == {0}
    np.testing.assert_allclose(logprobs, LOGITS[0], atol=1e-6)


def test_greedy_takes_the_first_of_the_most_likely():
    logits = np.random.default_rng(0).integers(0, 4, (200, 9)).astype(np.float32)  # full of ties
    tokens, _ = draw(logits, np.zeros(200), 1.0, 1.0, method="greedy")
    np.testing.assert_array_equal(tokens, logits.argmax(axis=1))


def test_places_and_neighbouring_seeds_are_unrelated():
    """Pairs of draws against the product of the two distributions, 25 cells."""
    first, _ = drawn(LOGITS, temperature=1.0)
    later, _ = drawn(LOGITS, temperature=1.0, place=1)
    counts = np.zeros((5, 5))
    np.add.at(counts, (first, later), 1)
    expected = ROWS * np.outer(P, P)
    assert scipy.stats.chisquare(counts.ravel(), expected.ravel()).pvalue > 0.01
    counts = np.zeros((5, 5))
    np.add.at(counts, (first[:-1], first[1:]), 1)
    assert scipy.stats.chisquare(counts.ravel(), expected.ravel() * (1 - 1 / ROWS)).pvalue > 0.01


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_impossible_tokens_are_never_drawn_from_a_large_vocabulary(top_p):
    """Most of 3,000 logits are -inf; cumulative sums are rounded, and must not reach them."""
    logits = np.full(3000, -np.inf, np.float32)
    logits[::100] = np.random.default_rng(0).normal(size=30)
    tokens, logprobs = drawn(logits, temperature=0.7, top_p=top_p, rows=1000)
    assert not (tokens % 100).any()
    assert np.isfinite(logprobs).all()


@pytest.mark.parametrize("temperature, top_p", [(0.0, 1.0), (1.0, 1.0), (1.0, 0.5)])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_show_in_the_log_probabilities(temperature, top_p, bad):
    logits = np.array([0, bad, 1, 2, 0], np.float32)
    _, logprobs = drawn(logits, temperature=temperature, top_p=top_p)
    assert not np.isfinite(logprobs).any()


def test_numbers_do_not_depend_on_how_many_places_there_are():
    keys = sampling.row_keys([5, 6])
    np.testing.assert_array_equal(sampling.uniforms(keys, 3), sampling.uniforms(keys, 7)[:, :3])


def test_keys_are_those_of_jax_and_take_64_bits():
    seeds = [0, 1, 12345, 2**32 - 1]
    expected = [jax.random.key_data(jax.random.key(s, impl="threefry2x32")) for s in seeds]
    np.testing.assert_array_equal(sampling.row_keys(seeds), expected)
    assert sampling.row_keys([2**53 - 1, 2**64 - 1]).tolist() == [[2**21 - 1, 2**32 - 1]] + [
        [2**32 - 1] * 2
    ]


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_out_of_range_are_refused(seed):
    with pytest.raises(ValueError, match=f"a seed is {seed}, expected 0 <= seed < 2"):
        sampling.row_keys([0, seed])


@pytest.mark.parametrize("temperature, top_p", [(-1, 1), (np.nan, 1), (np.inf, 1), (1, 0), (1, 2)])
def test_methods_out_of_range_are_refused(temperature, top_p):
    with pytest.raises(ValueError, match="temperature is|top_p is"):
        sampling.method(temperature, top_p)
