"""Seeds from names."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adapters.seeds import derive, uniform

PART = st.one_of(st.text(max_size=3), st.integers(), st.none(), st.tuples(st.integers(0, 2)))


def test_seeds_are_the_same_in_every_version():
    assert derive("task", 3, 0.1, None) == 3059770901229728
    assert uniform(0) == 0.04193841584189406


@given(st.lists(PART, max_size=4).map(tuple), st.lists(PART, max_size=4).map(tuple))
def test_other_parts_give_other_seeds(one, two):
    assert 0 <= derive(*one) < 2**53
    assert (derive(*one) == derive(*two)) == (one == two)


def test_neighbouring_seeds_are_spread_evenly():
    found = np.array([uniform(seed) for seed in range(10_000)])
    counts = np.histogram(found, bins=10, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 27.9  # chi-square, 9 degrees, 0.999
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.04
