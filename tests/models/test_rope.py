"""Rotary embeddings: the three bands by hand, and what a rotation must keep."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.rope import DefaultRope, Llama3Rope, angles, computed_once, rotate


def test_default_frequencies_by_hand():
    np.testing.assert_allclose(
        DefaultRope(theta=10_000.0).frequencies(8), [1.0, 0.1, 0.01, 0.001], rtol=1e-6
    )


def test_llama3_keeps_short_wavelengths_stretches_long_ones_and_blends_between():
    # Wavelengths 2 pi (1, 10, 100, 1000) = 6.28, 62.8, 628, 6283 tokens, bounds 128 / 4 = 32
    # and 128 / 1 = 128. Between, s = (128 / 62.83 - 1) / (4 - 1) = 0.34574.
    rope = Llama3Rope(8.0, 1.0, 4.0, 128)
    share = (128 / (20 * math.pi) - 1) / 3
    middle = (1 - share) * 0.1 / 8 + share * 0.1
    np.testing.assert_allclose(rope.frequencies(8), [1.0, middle, 0.01 / 8, 0.001 / 8], rtol=1e-6)
    assert rope.frequencies(8).dtype == np.float32


def test_llama_3_1_and_3_2_differ_by_the_factor():
    one = Llama3Rope(8.0, 1.0, 4.0, 8192, theta=500_000.0).frequencies(128)
    two = Llama3Rope(32.0, 1.0, 4.0, 8192, theta=500_000.0).frequencies(128)
    plain = DefaultRope(500_000.0).frequencies(128)
    np.testing.assert_array_equal(one[:25], plain[:25])
    np.testing.assert_allclose(one[-20:], plain[-20:] / 8, rtol=1e-6)
    np.testing.assert_allclose(two[-20:], plain[-20:] / 32, rtol=1e-6)


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_products_depend_on_the_distance_alone(first, second, shift):
    rng = np.random.default_rng(0)
    query, key = rng.normal(size=(2, 16)).astype(np.float32)
    frequencies = DefaultRope().frequencies(16)

    def product(a, b):
        cos, sin = angles(jnp.array([a, b]), frequencies)
        turned = rotate(jnp.stack([query, key]), cos, sin)
        return float(turned[0] @ turned[1])

    np.testing.assert_allclose(
        product(first, second), product(first + shift, second + shift), atol=2e-3
    )


def test_the_pair_of_an_element_is_half_a_head_away():
    cos, sin = angles(jnp.array([1]), np.array([math.pi / 2, 0.0], np.float32))
    turned = rotate(jnp.array([[1.0, 2.0, 3.0, 4.0]]), cos, sin)
    np.testing.assert_allclose(turned, [[-3.0, 2.0, 1.0, 4.0]], atol=1e-6)


def test_half_precision_is_rotated_in_float32():
    x = np.random.default_rng(0).normal(size=(1, 8)).astype(np.float32)
    cos, sin = angles(jnp.array([100_003]), DefaultRope().frequencies(8))
    narrow = rotate(jnp.asarray(x, jnp.bfloat16), cos, sin)
    wide = rotate(jnp.asarray(x, jnp.bfloat16).astype(jnp.float32), cos, sin)
    assert narrow.dtype == jnp.bfloat16
    np.testing.assert_array_equal(narrow, wide.astype(jnp.bfloat16))


def test_what_is_computed_once_is_the_same_to_the_last_bit():
    x = jax.random.normal(jax.random.key(0), (3, 1, 5, 16))
    np.testing.assert_array_equal(jax.jit(computed_once)(x), x)
