"""Coverage of small tables, computed by hand, and visits against a dense linear solve."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import coverage as coverage_module
from core.counts import FAILURE, SUCCESS, TRUNCATED, TransitionCounts
from core.coverage import coverage
from core.table import TransitionTable


def table_of(steps, start=(0,), start_weight=None, num_states=None):
    """The table of steps (state, action, next_state, n)."""
    counts = TransitionCounts(2)
    for step in steps:
        counts.add(*step)
    return counts.table(start, start_weight, num_states=num_states)


def small_table():
    """Visits: state 0 once, 1 by 3/4, 2 by half of that, 3 never."""
    steps = [
        (0, 0, 1, 3),
        (0, 0, FAILURE, 1),
        (1, 0, SUCCESS, 1),
        (1, 1, 2, 1),
        (3, 0, SUCCESS, 5),
    ]
    return table_of(steps)


def test_by_hand():
    result = coverage(small_table())
    np.testing.assert_allclose(result.visits, [1, 0.75, 0.375, 0])
    np.testing.assert_allclose(result.state_share, [[0.25] * 4, [0.75, 0.25, 0, 0]])
    total = 1 + 0.75 + 0.375
    np.testing.assert_allclose(
        result.visit_share,
        [[0.375 / total, 0.75 / total, 1 / total, 0], [1.375 / total, 0.75 / total, 0, 0]],
    )
    assert [states.tolist() for states in result.untried] == [[2], [0, 2]]
    assert result.walking == 0


def test_reads_as_a_table():
    assert str(coverage(small_table(), top=1)).splitlines() == [
        "coverage of 4 states, by how often an action was tried",
        "                           share of states                    share of visits",
        "times            0       1     2-4      5+          0       1     2-4      5+",
        "nohelp       25.0%   25.0%   25.0%   25.0%      17.6%   35.3%   47.1%    0.0%",
        "help 1       75.0%   25.0%    0.0%    0.0%      64.7%   35.3%    0.0%    0.0%",
        "most visited states where an action was never tried (share of visits)",
        "nohelp    2 (17.6%)",
        "help 1    0 (47.1%)",
    ]


def test_reads_none_where_all_was_tried():
    assert str(coverage(table_of([(0, 0, SUCCESS, 1)]))).splitlines()[-2] == "nohelp    none"


def test_bounds_of_the_buckets():
    tried = [1, 2, 4, 5, 6]
    table = table_of([(s, 0, SUCCESS, n) for s, n in enumerate(tried)], num_states=6)
    np.testing.assert_allclose(coverage(table).state_share[0], np.array([1, 1, 2, 2]) / 6)


@pytest.mark.parametrize("top", [0, 1, 2, 9])
def test_top_names_the_most_visited_first(top):
    steps = [(0, 0, 1, 1), (0, 0, 2, 5), (0, 0, 3, 4)]
    result = coverage(table_of(steps), top=top)
    assert [states.tolist() for states in result.untried] == [[2, 3, 1][:top], [0, 2, 3, 1][:top]]


def test_returns_count_as_visits():
    # 0 stays half of the time and comes back from 1 half of the time: 4 visits, a geometric series.
    steps = [(0, 0, 0, 1), (0, 0, 1, 1), (1, 0, 0, 1), (1, 0, SUCCESS, 1)]
    result = coverage(table_of(steps))
    np.testing.assert_allclose(result.visits, [4, 2], rtol=1e-6)
    assert result.walking <= 1e-9


def test_classes_that_are_never_left_count_once_per_arrival():
    steps = [
        (0, 0, 0, 2),  # 0: half stays, an eighth each to 1, 2 and 4, an eighth fails
        (0, 0, 1, 1),
        (0, 0, 2, 0.5),
        (0, 0, 4, 0.5),
        (1, 0, 2, 1),  # 1 -> 2 <-> 3 for ever
        (2, 0, 3, 1),
        (3, 0, 2, 1),
        (4, 0, 4, 1),  # 4 stays for ever
    ]
    table = table_of([(s, a, t, int(2 * n)) for s, a, t, n in steps])
    np.testing.assert_allclose(coverage(table).visits, [2, 0.5, 0.75, 0.75, 0.25])


def test_start_inside_a_class_that_is_never_left():
    steps = [(0, 0, 1, 1), (1, 0, 0, 1), (2, 0, 0, 1)]
    result = coverage(table_of(steps, start=[0, 2], start_weight=[0.25, 0.75]))
    np.testing.assert_allclose(result.visits, [1, 1, 0.75])
    assert result.walking == 0


def test_long_walks_are_cut_and_it_says_so(monkeypatch):
    steps = [(0, 0, 1, 1), (1, 0, 0, 99), (1, 0, SUCCESS, 1)]
    whole = coverage(table_of(steps))
    np.testing.assert_allclose(whole.visits, [100, 100], rtol=1e-6)
    assert "go on beyond" not in str(whole)
    monkeypatch.setattr(coverage_module, "_MAX_STEPS", 4)
    cut = coverage(table_of(steps))
    np.testing.assert_allclose(cut.visits, [1.99, 1.99])
    assert cut.walking == pytest.approx(0.99**2)
    assert "98.0% of the episodes go on beyond the steps followed here" in str(cut)


@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 5),
            st.integers(0, 1),
            st.sampled_from([SUCCESS, FAILURE, TRUNCATED]) | st.integers(0, 5),
            st.integers(1, 4),
        ),
        min_size=1,
        max_size=25,
    )
)
def test_visits_solve_the_linear_system(steps):
    steps = steps + [
        (s, 0, FAILURE, 1) for s in range(6)
    ]  # every state may end: no recurrent class
    step = np.zeros((6, 6))
    tries = np.zeros((6, 1))
    for s, _, t, n in steps:
        tries[s] += n
        if t >= 0:
            step[s, t] += n
    expected = np.linalg.solve((np.eye(6) - step / tries).T, [0.5, 0, 0, 0.5, 0, 0])
    result = coverage(table_of(steps, start=[0, 3]))
    np.testing.assert_allclose(result.visits, expected, rtol=1e-6, atol=1e-7)


@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 5), st.just(0), st.just(SUCCESS) | st.integers(0, 5), st.integers(1, 4)
        ),
        min_size=1,
        max_size=12,
    )
)
def test_visits_are_finite_and_name_what_can_be_reached(steps):
    edges = {(s, t) for s, _, t, _ in steps if t >= 0}
    reached = {0}
    for _ in range(6):
        reached |= {t for s, t in edges if s in reached}
    result = coverage(table_of(steps, num_states=6))
    assert np.isfinite(result.visits).all()
    assert set(np.flatnonzero(result.visits).tolist()) == reached
    np.testing.assert_allclose(result.visit_share.sum(axis=1), 1)


def test_table_stays_as_it_is():
    table = small_table()
    before = [table.indptr.copy(), table.successor.copy(), table.prob.copy(), table.count.copy()]
    coverage(table)
    after = [table.indptr, table.successor, table.prob, table.count]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_prior_is_no_try():
    table = small_table()
    mixed = table.with_prior(np.full((4, 2), 0.5), strength=1)
    assert mixed.available.all()
    result = mixed.coverage(top=3)
    np.testing.assert_array_equal(result.state_share, table.coverage().state_share)
    assert [states.tolist() for states in result.untried] == [[2], [0, 2]]
    # Of 4 tries in state 0 three went on; one in five is now the prior's, and leaves.
    np.testing.assert_allclose(result.visits, [1, 0.6, 0.6 * 0.5 * 0.5, 0])


def test_needs_counts():
    table = TransitionTable.from_arrays(
        [0, 1],
        [0, 0],
        [1, 2],
        [1.0, 1.0],
        num_states=4,
        num_actions=2,
        success=2,
        failure=3,
        start=0,
    )
    with pytest.raises(ValueError, match=r"table.count\[0, 0\] is nan, .* made from counts"):
        coverage(table)


def test_bad_top():
    with pytest.raises(ValueError, match="top is -1, expected at least 0"):
        coverage(small_table(), top=-1)
