"""Helpers without a model."""

import pytest

from adapters.helpers import Always, Never, Random
from tests.adapters.doors import Doors

STATE = Doors().reset("doors/train/0")


def helps(helper, n):
    return [decision.help for decision in helper.decide([STATE] * n, None, range(n))]


def test_random_asks_as_often_as_it_says():
    n = 20_000
    found = helps(Random((0.1, 0.3)), n)
    # Three standard errors of a share of 0.6 are 0.0104.
    for help, share in enumerate((0.6, 0.1, 0.3)):
        assert found.count(help) / n == pytest.approx(share, abs=0.0104)


def test_random_depends_on_the_seed_alone():
    helper = Random((0.5,))
    one_by_one = [helper.decide([STATE], [(3,)], [seed])[0].help for seed in range(50)]
    assert one_by_one == helps(helper, 50)
    assert set(one_by_one) == {0, 1}


def test_the_ends_are_certain():
    assert set(helps(Random((0.0, 0.0)), 1000)) == {0}
    assert set(helps(Random((0.0, 1.0)), 1000)) == {2}
    assert set(helps(Never(), 3)) == {0}
    assert set(helps(Always(2), 3)) == {2}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Random((0.2, -0.1)), r"probabilities\[1\] is -0.1"),
        (lambda: Random((float("nan"),)), r"probabilities\[0\] is nan"),
        (lambda: Random((0.7, 0.7)), "add up to 1.4"),
        (lambda: Always(-1), "help is -1"),
    ],
)
def test_impossible_helpers_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
