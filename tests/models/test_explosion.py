"""What counts as an explosion, and what is noise."""

import itertools
import math

import numpy as np
import pytest

from models.explosion import Course


def stops(losses, ratio=10.0):
    """The step at which a training with these losses stops; None if it does not."""
    course = Course(ratio)
    for step, loss in enumerate(losses, start=1):
        if course.problem(loss):
            return step
        course.add(loss)
    return None


FALL = np.geomspace(4.0, 0.001, 100).tolist()


def test_learning_that_is_lost_is_found_within_ten_steps():
    assert stops(FALL) is None
    assert 103 < stops([*FALL, *[4.0] * 20]) <= 110
    assert stops([*FALL, *[4.0] * 3]) is None


def test_it_may_come_about_slowly():
    assert 150 < stops([*FALL, *np.linspace(0, 4, 200)]) < 200


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_no_explosion(seed):
    """Little to learn; outliers; rows of two kinds that take turns."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=2000)
    assert stops(0.6 + 0.1 * np.exp(-np.arange(2000) / 300) + 0.15 * noise) is None
    assert stops(np.where(np.arange(2000) % 100 == 99, 30.0, 0.5) + 0.1 * noise) is None
    assert stops(np.where(rng.random(2000) < 0.5, 2.0, 0.2)) is None


def test_a_training_that_starts_well_is_held_to_a_multiple_of_its_start():
    well = [0.2, 0.1] * 50
    assert stops([*well, *[2.0] * 10]) is not None
    assert "times 0.15, that of the first 10" in Course(10.0, well).problem(100.0)
    assert stops([*well, *[2.0] * 10], ratio=None) is None


def test_the_first_bad_step_is_named_and_a_run_that_goes_on_knows_what_was_before():
    course = Course(10.0, [*FALL, *[4.0] * 3])
    assert course.first_bad() == 101
    other = Course(10.0, FALL)
    for loss in [4.0] * 3:
        other.add(loss)
    assert (other.bar, other.first_bad()) == (course.bar, 101)
    assert Course(10.0, FALL).first_bad() == 101
    assert Course(10.0, itertools.repeat(1.0, 9)).bar == math.inf
