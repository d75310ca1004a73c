"""Means and intervals over tasks: against SciPy's bootstrap, and by hand."""

import numpy as np
import pytest
from scipy import stats

from experiments.statistics import (
    by_task,
    interval,
    resampled,
    share_interval,
    weighted_means,
)

MANY = 20_000


@pytest.fixture(scope="module")
def outcomes():
    """Success of 60 tasks under two conditions that share their luck."""
    rng = np.random.default_rng(1)
    luck = rng.uniform(size=60)
    return (luck < 0.6).astype(float), (luck + rng.normal(0, 0.1, 60) < 0.45).astype(float)


def test_the_interval_of_a_mean_is_that_of_scipys_percentile_bootstrap(outcomes):
    first, _ = outcomes
    ours = interval(resampled(first, np.ones(60), num_resamples=MANY))
    theirs = stats.bootstrap(
        (first,), np.mean, n_resamples=MANY, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    np.testing.assert_allclose(ours, theirs, atol=0.009)  # half a task


def test_a_paired_difference_is_scipys_paired_bootstrap_and_narrower(outcomes):
    first, second = outcomes
    ones = np.ones(60)
    draws = [resampled(x, ones, num_resamples=MANY) for x in outcomes]
    ours = interval(draws[0] - draws[1])
    theirs = stats.bootstrap(
        (first, second),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        paired=True,
        n_resamples=MANY,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    np.testing.assert_allclose(ours, theirs, atol=0.009)
    apart = interval(draws[0] - resampled(second, ones, num_resamples=MANY, seed=1))
    assert np.diff(ours) < np.diff(apart)


def test_episodes_of_a_task_are_drawn_together():
    # Two tasks, the second with three episodes: resamples are (a, a), (a, b) and (b, b).
    total, size = by_task(["a", "b"], [("a", [1]), ("b", [0]), ("b", [0]), ("b", [1])])
    np.testing.assert_array_equal(total, [[1], [1]])
    np.testing.assert_array_equal(size, [1, 3])
    draws = resampled(total, size, num_resamples=1000)[:, 0]
    values, times = np.unique(draws, return_counts=True)
    np.testing.assert_allclose(values, [1 / 3, 0.5, 1])
    np.testing.assert_allclose(times / 1000, [0.25, 0.5, 0.25], atol=0.05)


def test_figures_that_never_vary_have_no_width():
    draws = resampled(np.full((9, 2), 3.0), np.full(9, 2))
    np.testing.assert_array_equal(interval(draws), [[1.5, 1.5], [1.5, 1.5]])


@pytest.mark.parametrize("num_tasks", [2, 7, 200])
@pytest.mark.parametrize("won", [0, 1])
def test_a_share_of_nothing_or_all_has_the_exact_interval_of_its_tasks(num_tasks, won):
    draws = resampled(np.full(num_tasks, won), np.ones(num_tasks))
    theirs = stats.binomtest(won * num_tasks, num_tasks).proportion_ci(method="exact")
    np.testing.assert_allclose(share_interval(draws, num_tasks), theirs, atol=1e-12)


def test_any_other_share_has_that_of_its_draws(outcomes):
    draws = resampled(outcomes[0], np.ones(60))
    np.testing.assert_array_equal(share_interval(draws, 60), interval(draws))


def test_weights_of_starts_count_within_their_task():
    values, weight = np.array([[1.0], [0.0], [1.0]]), np.array([0.25, 0.25, 0.5])
    draws = weighted_means(values, weight, np.array([0, 0, 1]))
    values, times = np.unique(draws, return_counts=True)
    np.testing.assert_allclose(values, [0.5, 0.75, 1])
    assert weighted_means(np.ones((1, 1)), np.ones(1), np.zeros(1, int)) is None


def test_draws_depend_on_seed_and_number_of_tasks_alone():
    total = np.random.default_rng(0).uniform(size=(50, 3))
    whole = resampled(total, np.ones(50), seed=5)
    np.testing.assert_allclose(whole[:, 1], resampled(total[:, 1], np.ones(50), seed=5))
    assert not np.allclose(whole, resampled(total, np.ones(50), seed=6))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: resampled([1.0], [1.0]), "total has 1 tasks, expected at least 2"),
        (lambda: resampled([1.0, 2.0], [1.0]), "size has shape"),
        (lambda: by_task(["a"], [("b", [1])]), "task 'b' is none of the 1 tasks"),
        (lambda: by_task(["a", "b"], [("a", [1])]), "task 'b' has no episode"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
