"""Scores of probabilities by hand and by brute force, calibration where the truth is known."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from models.calibration import (
    Isotonic,
    Temperature,
    auroc,
    ece,
    quality,
    reliability,
    split_tasks,
    task_folds,
)


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from([0.0, 0.25, 1.0])), min_size=1, max_size=12
    )
)
def test_auroc_is_the_share_of_pairs_in_order(pairs):
    scores, y = np.array(pairs).T
    wins = total = 0.0
    for (a, one), (b, two) in itertools.product(zip(scores, y, strict=True), repeat=2):
        weight = one * (1 - two)
        wins += weight * ((a > b) + 0.5 * (a == b))
        total += weight
    found = auroc(scores, y)
    assert (math.isnan(found) and total == 0) or found == pytest.approx(wins / total)


def test_scores_by_hand():
    p, y = [0.1, 0.1, 0.6, 0.8], [0, 1, 0, 1]
    found = quality(p, y, bins=2)
    assert found.auroc == pytest.approx((0.5 + 1 + 1) / 4)
    assert found.ece == pytest.approx((0.4 * 2 + 0.2 * 2) / 4)
    assert found.brier == pytest.approx((0.01 + 0.81 + 0.36 + 0.04) / 4)
    assert found.nll == pytest.approx(-np.log([0.9, 0.1, 0.4, 0.8]).mean())


def test_sure_and_right_costs_nothing():
    assert quality([0.0, 1.0], [0, 1]) == (1.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("equal_width", [False, True])
def test_reliability_holds_all_and_equal_probabilities_share_a_bin(equal_width):
    p = np.repeat([0.05, 0.5, 0.95, 1.0], [50, 30, 15, 5])
    y = np.arange(100) % 2
    found = reliability(p, y, bins=10, equal_width=equal_width)
    assert found.count.sum() == 100 and len(found.count) <= 4
    assert found.count @ found.probability == pytest.approx(p.sum())
    assert found.count @ found.outcome == pytest.approx(y.sum())
    assert np.all(np.diff(found.probability) > 0)


def test_equal_counts_are_equal():
    found = reliability(np.linspace(0, 1, 100), np.zeros(100), bins=10)
    assert found.count.tolist() == [10] * 10


def drawn(scale, size=20_000, seed=0):
    """Logits that are `scale` times the true ones, true probabilities, outcomes."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=size) * 1.5
    p = special.expit(true)
    return true * scale, p, (rng.random(size) < p).astype(float)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_temperature_finds_by_how_much_logits_are_too_large(scale):
    """ECE against the truth falls to .001, from .096 at scale .5 and .149 at scale 3."""
    logits, p, y = drawn(scale)
    fitted = Temperature.fit(logits, y)
    assert fitted.temperature == pytest.approx(scale, rel=0.05)
    assert ece(fitted(logits), p) < 0.01
    if scale != 1:
        assert ece(special.expit(logits), p) > 0.05


def test_isotonic_straightens_what_no_temperature_can():
    """Probabilities squared: ECE against the truth .177, by temperature .123, by this .008."""
    _, p, y = drawn(1.0)
    logits = special.logit(p**2)
    half = len(p) // 2
    fitted = Isotonic.fit(logits[:half], y[:half])
    assert ece(fitted(logits[half:]), p[half:]) < 0.015
    scaled = Temperature.fit(logits[:half], y[:half])
    assert ece(scaled(logits[half:]), p[half:]) > 0.1


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1)), min_size=1, max_size=30),
)
def test_isotonic_is_ascending_and_keeps_the_mean(pairs):
    scores, y = np.array(pairs, float).T
    fitted = Isotonic.fit(scores, y)
    assert np.all(np.diff(fitted(np.linspace(-1, 7, 50))) >= -1e-12)
    assert fitted(scores).mean() == pytest.approx(y.mean())
    constant = np.var(y)
    assert np.mean((fitted(scores) - y) ** 2) <= constant + 1e-12


def test_isotonic_pools_violators_by_hand():
    fitted = Isotonic.fit([0, 1, 2, 3, 4], [0, 1, 0, 1, 1])
    assert fitted([0, 1, 2, 3, 4]).tolist() == [0, 0.5, 0.5, 1, 1]
    assert fitted([-5, 0.5, 9]).tolist() == [0, 0.25, 1]


def test_tasks_are_split_never_states():
    tasks = [f"task {i % 40}" for i in range(400)]
    held = split_tasks(tasks, 0.25, seed=3)
    assert held.sum() == 100
    assert {t for t, h in zip(tasks, held, strict=True) if h}.isdisjoint(
        {t for t, h in zip(tasks, held, strict=True) if not h}
    )
    assert np.array_equal(held, split_tasks(tasks, 0.25, seed=3))
    assert not np.array_equal(held, split_tasks(tasks, 0.25, seed=4))


def test_folds_hold_whole_tasks_and_are_even():
    tasks = [i % 23 for i in range(500)]
    folds = task_folds(tasks, 5)
    of_task = {task: {f for t, f in zip(tasks, folds, strict=True) if t == task} for task in tasks}
    assert all(len(found) == 1 for found in of_task.values())
    sizes = np.bincount([found.pop() for found in of_task.values()])
    assert sizes.min() >= 4 and sizes.max() <= 5 and len(sizes) == 5


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: quality([], []), "no probabilities"),
        (lambda: quality([0.5, 1.5], [0, 1]), r"probabilities\[1\] is 1.5, expected 0..1"),
        (lambda: quality([0.5], [2]), r"outcomes\[0\] is 2.0, expected 0..1"),
        (lambda: ece([0.5, 0.5], [1]), r"probabilities \(2,\) and outcomes \(1,\)"),
        (lambda: Temperature.fit([np.nan], [1]), r"logits\[0\] is nan, expected a finite number"),
        (lambda: Isotonic.fit([1.0], [-1]), r"outcomes\[0\] is -1.0"),
        (lambda: reliability([0.5], [1], bins=0), "bins is 0"),
        (lambda: split_tasks(["a", "a"], 0.5), "1 tasks, expected 2 or more"),
        (lambda: split_tasks(["a", "b"], 1.0), "share is 1.0"),
        (lambda: task_folds(["a", "b"], 3), "2 tasks, expected 3 or more"),
        (lambda: task_folds(["a", "b"], 1), "folds is 1"),
        (lambda: Temperature(0.0), "temperature is 0.0, expected a number above 0"),
        (lambda: Temperature(np.nan), "temperature is nan"),
        (lambda: Isotonic((2.0, 1.0), (0.1, 0.2)), "scores are .*, expected finite and ascending"),
        (lambda: Isotonic((1.0, 2.0), (0.2, 0.1)), "probabilities are .*, expected ascending in"),
        (lambda: Isotonic((1.0, 2.0), (0.2, 1.1)), "probabilities are .*, expected ascending in"),
        (lambda: Isotonic((), ()), "expected as many, one or more"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
