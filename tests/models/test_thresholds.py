"""Thresholds against all others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.thresholds import bracket, difficulty, judge, self_regulation, usage_threshold


def test_difficulty_leaves_the_final_state_out():
    assert difficulty([[0.9, 0.4, 0.1], [0.2, 0.9]]).tolist() == pytest.approx([0.6, 0.8])


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=20))
def test_no_threshold_is_more_accurate(pairs):
    difficulties, successes = np.array(pairs, float).T
    difficulties /= 6
    best = self_regulation(difficulties, successes)
    tried = [
        judge(threshold, difficulties, successes).accuracy
        for threshold in [*difficulties, *(difficulties - 1 / 12), -1, 2]
    ]
    assert best.accuracy == max(tried)
    assert best == pytest.approx(judge(best.threshold, difficulties, successes), nan_ok=True)


def test_self_regulation_by_hand():
    """Successes at .1, .2, .5 and failures at .4, .9: a cut in .2...4 or .5...9, the wider one."""
    found = self_regulation([0.1, 0.2, 0.5, 0.4, 0.9], [1, 1, 1, 0, 0])
    assert found == pytest.approx((0.7, 4 / 5, 3 / 4, 1.0))


def test_of_no_success_nothing_is_let_go_on():
    found = self_regulation([0.3, 0.5], [0, 0])
    assert found.threshold < 0.3 and found.accuracy == 1
    assert np.isnan(found.precision) and np.isnan(found.recall)


def usage_in(margins):
    """Asks once in each state above the threshold; counts how often it was asked for usage."""

    def usage_of(thresholds):
        usage_of.calls += 1
        return (margins[:, None] > thresholds).sum(0) / 10

    usage_of.calls = 0
    return usage_of


@given(
    st.lists(st.integers(-50, 50), min_size=1, max_size=200),
    st.floats(0, 1),
)
def test_usage_meets_the_plan(values, share):
    margins = np.array(values) / 7
    usage_of = usage_in(margins)
    planned = share * len(margins) / 10
    found = usage_threshold(margins, usage_of, planned)
    np.testing.assert_allclose(usage_of(np.array(found.thresholds)), found.usages)
    assert found.usages[0] <= planned <= found.usages[1]
    mixed = (1 - found.share) * found.usages[0] + found.share * found.usages[1]
    assert mixed == pytest.approx(planned)
    # Nothing lies between the two: they differ by the states of one margin.
    between = np.unique(margins[(margins > found.thresholds[1]) & (margins <= found.thresholds[0])])
    assert len(between) <= 1
    assert abs(found.usage - planned) == min(abs(np.array(found.usages) - planned))


def test_many_states_need_few_evaluations():
    margins = np.random.default_rng(0).normal(size=100_000)
    usage_of = usage_in(margins)
    found = usage_threshold(margins, usage_of, 1234.5)
    assert found.usage == pytest.approx(1234.5, abs=0.1)
    assert usage_of.calls <= 6


def test_plans_out_of_reach_are_refused():
    margins = np.arange(5.0)
    with pytest.raises(
        ValueError, match=r"planned usage is 0.6, expected 0 \(never asking\) to 0.5"
    ):
        usage_threshold(margins, usage_in(margins), 0.6)
    with pytest.raises(ValueError, match="0 finite values"):
        usage_threshold([], usage_in(margins), 0.1)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: self_regulation([], []), "one episode or more"),
        (lambda: self_regulation([0.1], [1, 0]), r"difficulties \(1,\) and successes \(2,\)"),
        (lambda: self_regulation([0.1], [0.5]), "other values than 0 and 1"),
        (lambda: difficulty([[0.1, 0.2], [0.3]]), "episode 1: scores of shape"),
        (lambda: self_regulation([np.nan, 0.2], [1, 0]), r"difficulties\[0\] is nan, expected a"),
        (lambda: judge(0.5, [0.1, 0.2], [1]), r"difficulties \(2,\) and successes \(1,\)"),
        (lambda: judge(0.5, [0.1, 0.2], [1, 2]), "successes holds other values than 0 and 1"),
        (lambda: judge(np.nan, [0.1], [1]), "threshold is nan, expected a number"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("width, most", [(3, 2 + 3 * 3), (None, 2 + 8)])
@pytest.mark.parametrize("wanted", [0.0, 0.3, 4.7, 9.0, 30.0, 62.6, 63.0])
def test_neighbours_hold_the_wanted_number_after_few_tries(wanted, width, most):
    tried = []

    def usage_of(places):
        tried.extend(places)
        return [0.0 if place < 5 else float(place) for place in places]

    low, high, used = bracket(usage_of, 64, wanted, width=width, near=0.01)
    if low == high:
        assert used[low] == pytest.approx(wanted, rel=0.01)
    else:
        assert high == low + 1
        assert used[low] <= wanted <= used[high]
    assert len(tried) == len(set(tried)) <= most


def test_a_line_comes_near_a_bent_curve_at_once_and_asks_nothing_far_away():
    tried = []

    def usage_of(places):
        tried.extend(places)
        return [9 * (1 - (1 - place / 63) ** 1.5) for place in places]

    low, high, used = bracket(usage_of, 64, 1.0)
    assert high == low + 1 and used[low] <= 1.0 <= used[high]
    assert len(tried) <= 2 + 4 and max(tried[2:]) <= 2 * high


def test_no_dial_is_made_up_for_more_calls_than_there_are():
    with pytest.raises(ValueError, match=r"expected 0 \(never asking\) to 63"):
        bracket(lambda places: [float(place) for place in places], 64, 64.0, width=3)
