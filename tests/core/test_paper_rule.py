"""rule="paper" against a plain-numpy transcription of the printed algorithm
(tests/oracles/paper.py).
"""

import numpy as np
import pytest

from core import dp
from tests.core.thin import FAIL, WIN, build, check, load, sweep
from tests.oracles import dense, paper, tables
from tests.oracles.problem import Problem

# Nohelp fails. Help succeeds with 1/8. M_help = 1, M_nohelp = 0, so
#   dp / dM = (1/8 - 0) / (1/8 * 1 - 0) = 1: the rule asks for every r < 1 and is worth 1/8 - r.
# Whenever p_nohelp = 0 the ratio is 1 / M_help, whatever p_help is.
HOPELESS = [(0, 0, FAIL, 1.0), (0, 1, WIN, 0.125), (0, 1, FAIL, 0.875)]
HOPELESS_P = [[0.0, 0.125]]

# State 0: nohelp goes to state 1 with 1/2, else fails; help succeeds. State 1: nohelp fails, help
# succeeds. r = 3/4.
#   State 1: dp / dM = 1 / 1 > 3/4, help, M_1 = 1.
#   State 0: M_help = 1, M_nohelp = 1/2, dp / dM = (1 - 1/2) / (1 * 1 - 1/2 * 1/2) = 2/3 < 3/4:
#   nohelp, worth 1/2 (1 - 3/4) = 1/8. But the half call more than M_nohelp = 1/2 costs 3/8 and buys
#   1/2: help is worth 1 - r = 1/4.
LATE = [(0, 0, 1, 0.5), (0, 0, FAIL, 0.5), (0, 1, WIN, 1.0), (1, 0, FAIL, 1.0), (1, 1, WIN, 1.0)]
LATE_P = [[0.5, 1.0], [0.0, 1.0]]

# Nohelp: 1/2 again, 1/4 success, 1/4 failure. Help: 3/4 again, 1/4 success. p = (1/2, 1), r = 0.3.
# With usage m from here on M_help = 1 + 3/4 m, M_nohelp = m / 2, so
#   dp / dM = 1/2 / (1 + 3/4 m - m/4) = 1 / (2 + m).
# M = 0, 1, 1.75, 0.875, 1.656, 0.828, ... -> 0.8 and 1.6: at 0.8 the ratio is 0.357 > 0.3, help,
# M = 1.6; at 1.6 it is 0.278 < 0.3, nohelp, M = 0.8. Help wants m < 4/3 but its fixed point is 4;
# nohelp wants m > 4/3 but its fixed point is 0: there is no fixed point.
# Exact: nohelp, 1/2 (help for ever: 1 - 4 * 0.3 = -0.2).
CYCLE = [(0, 0, 0, 0.5), (0, 0, WIN, 0.25), (0, 0, FAIL, 0.25), (0, 1, 0, 0.75), (0, 1, WIN, 0.25)]
CYCLE_P = [[0.5, 1.0]]

# The same with two states that lead to each other in place of the self-loop.
CYCLE_OF_TWO = [(s, a, 1 - s if t == 0 else t, p) for s in (0, 1) for _, a, t, p in CYCLE]
CYCLE_OF_TWO_P = [[0.5, 1.0], [0.5, 1.0]]


def padded(p):
    """[24, A] success probabilities of the first states; help does nothing for the others."""
    p = np.asarray(p, float)
    return np.concatenate([p, np.zeros((tables.THIN_STATES - len(p), p.shape[1]))])


def paper_sweep(rows, costs, p, num_helps=1, **kwargs):
    table = build(rows, len(p), num_helps)
    return sweep(table, costs, rule="paper", action_success=padded(p), **kwargs)


def exact_sweep(rows, costs, p, num_helps=1):
    return sweep(build(rows, len(p), num_helps), costs)


def test_asks_where_help_is_hardly_any_use():
    solution = paper_sweep(HOPELESS, [0.5, 1.5], HOPELESS_P)
    assert solution.converged.all()
    np.testing.assert_array_equal(solution.period, [0, 0])
    np.testing.assert_array_equal(solution.policy[0], [1, 0])
    np.testing.assert_allclose(solution.expected_usage[:, 0], [1.0, 0.0])
    np.testing.assert_allclose(solution.expected_success, [0.125, 0.0])
    exact = exact_sweep(HOPELESS, [0.5], HOPELESS_P)
    assert exact.policy[0, 0] == 0
    paper_value = solution.expected_success[0] - 0.5 * solution.expected_usage[0, 0]
    exact_value = exact.expected_success[0] - 0.5 * exact.expected_usage[0, 0]
    np.testing.assert_allclose([paper_value, exact_value], [-0.375, 0.0])
    # The bound says how far from the optimum the rule has ended.
    assert 0.375 <= solution.bound[0] <= 0.375 + 1e-5
    assert solution.bound[1] <= 1e-5


def test_does_not_ask_where_asking_early_is_better():
    solution = paper_sweep(LATE, [0.75], LATE_P)
    assert solution.converged.all()
    np.testing.assert_array_equal(solution.policy[:2, 0], [0, 1])
    np.testing.assert_allclose(solution.expected_success[0], 0.5)
    np.testing.assert_allclose(solution.expected_usage[0, 0], 0.5)
    exact = exact_sweep(LATE, [0.75], LATE_P)
    np.testing.assert_array_equal(exact.policy[:2, 0], [1, 1])
    np.testing.assert_allclose(exact.expected_success[0], 1.0)
    np.testing.assert_allclose(exact.expected_usage[0, 0], 1.0)
    assert 0.125 <= solution.bound[0] <= 0.125 + 1e-5


@pytest.mark.parametrize(
    "rows, p", [(CYCLE, CYCLE_P), (CYCLE_OF_TWO, CYCLE_OF_TWO_P)], ids=["self-loop", "two states"]
)
def test_a_cycle_is_found_and_said(rows, p):
    # At r = 0.1 help stays (4 is its fixed point, 1 / (2 + 4) > 0.1); at r = 0.6 it never starts
    # (1/2 < 0.6).
    solution = paper_sweep(rows, [0.1, 0.3, 0.6], p)
    np.testing.assert_array_equal(solution.converged, [True, False, True])
    np.testing.assert_array_equal(solution.period, [0, 2, 0])
    np.testing.assert_allclose(solution.expected_usage[[0, 2], 0], [4.0, 0.0], atol=1e-4)
    np.testing.assert_allclose(solution.expected_success[[0, 2]], [1.0, 0.5], atol=1e-4)
    # What is reported is the truth about the policy reported, converged or not.
    check(build(rows, len(p)), solution)
    exact = exact_sweep(rows, [0.3], p)
    np.testing.assert_allclose(exact.expected_success[0], 0.5, atol=1e-6)


def test_a_difference_of_nothing_is_nohelp():
    # Usage that weighs nothing because success is impossible: dM = 0.
    rows = [(0, 0, FAIL, 1.0), (0, 1, FAIL, 1.0)]
    solution = paper_sweep(rows, [0.0, 0.5], [[0.0, 0.0]])
    np.testing.assert_array_equal(solution.policy[0], [0, 0])
    # dp = 0 with dM > 0: the ratio is 0, and 0 < 0 does not hold.
    solution = paper_sweep(rows, [0.0], [[0.5, 0.5]])
    assert solution.policy[0, 0] == 0


def test_two_helps_take_the_least_combined_cost():
    # Both helps pass the test, help 1 by far. One call each: r.M is 0.4 for help 1, 0.3 for help 2:
    # help 2. The exact rule takes help 1: 0.9 - 0.4 against 0.5 - 0.3.
    rows = [(0, 0, FAIL, 1.0), (0, 1, WIN, 0.9), (0, 1, FAIL, 0.1), (0, 2, WIN, 0.5)]
    rows += [(0, 2, FAIL, 0.5)]
    p = [[0.0, 0.9, 0.5]]
    solution = paper_sweep(rows, [[0.4, 0.3], [0.4, 1.3]], p, 2)
    np.testing.assert_array_equal(solution.policy[0], [2, 1])
    np.testing.assert_allclose(solution.expected_usage, [[0, 1], [1, 0]])
    assert exact_sweep(rows, [[0.4, 0.3]], p, 2).policy[0, 0] == 1


def test_help_for_ever_is_reported_as_it_is():
    # Help stays for ever; nohelp fails. M grows without end, and dp > 0 although neither succeeds.
    # ratio = 1/2 / (1/2 (1 + m)): the rule asks until m > 1 / r - 1, then not once: M = 0 again.
    rows = [(0, 0, FAIL, 1.0), (0, 1, 0, 1.0)]
    solution = paper_sweep(rows, [0.0, 0.35], [[0.0, 0.5]], max_iterations=50)
    assert not solution.converged.any()
    # r = 0.35: M = 1, 2 (1 / (1 + 1) > 0.35), then 1 / (1 + 2) < 0.35: nohelp, M = 0, and again.
    np.testing.assert_array_equal(solution.period, [0, 3])
    assert not np.isnan(solution.bound).any()
    check(build(rows, 1), solution)


@pytest.mark.parametrize("helps", [1, 2, 3])
@pytest.mark.parametrize("discount", [1.0, 0.95])
def test_agrees_with_the_printed_algorithm(helps, discount):
    """Same policy, same M, same convergence and same period, over random tables with cycles, where
    no tie is near.
    """
    settled = cycling = 0
    grid = np.array([0.05, 0.15, 0.3, 0.6])
    costs = np.stack([grid * (1 + 0.3 * k) for k in range(helps)], axis=1)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        table = tables.random_thin(rng, 5, helps)
        problem = Problem.of(**table)
        p = rng.random((5, helps + 1)).round(3)
        solution = sweep(
            load(table),
            costs,
            rule="paper",
            action_success=padded(p),
            discount=discount,
            tolerance=1e-9,
        )
        for r, cost in enumerate(costs):
            expected = paper.run(
                problem, cost, padded(p)[:7], discount=discount, max_iterations=1000
            )
            if expected.margin < 1e-6 or not (expected.converged or expected.period):
                continue
            assert bool(solution.converged[r]) == expected.converged
            assert solution.period[r] == expected.period
            if expected.converged:
                settled += 1
                np.testing.assert_array_equal(solution.policy[:7, r], expected.policy)
                np.testing.assert_allclose(solution.usage[:7, r], expected.usage, atol=1e-6)
                success, _ = dense.evaluate(problem, expected.policy[None], discount)
                np.testing.assert_allclose(solution.success[:5, r], success[0, :5], atol=1e-6)
            else:
                cycling += 1
    assert settled >= 5 and cycling >= 3, (settled, cycling)


def test_it_needs_success_probabilities():
    table = build(CYCLE, 1)
    with pytest.raises(ValueError, match="action_success"):
        dp.sweep(table, [0.1], rule="paper")
