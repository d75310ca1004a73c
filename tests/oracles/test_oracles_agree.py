"""The oracles against each other, before anything is asked of `core`."""

import numpy as np
import pytest
from hypothesis import given, settings

from tests.oracles import dense, discrete_dp, lp, paper, storm, tables
from tests.oracles.problem import Problem

COST = np.array([0.13, 0.21, 0.05])
# Every kind of table with 1, 2 and 3 helps, undiscounted and not.
CASES = [
    (kind, seed, 1 + seed % 3, (1.0, 0.9)[seed % 2]) for kind in tables.KINDS for seed in range(4)
]


def tiny(kind, seed, helps):
    # At most 4096 policies: seven states for one help, six for two, five for three.
    return tables.random_kind(kind, seed, num_states={1: 7, 2: 6, 3: 5}[helps], num_helps=helps)


@pytest.mark.parametrize("kind, seed, helps, discount", CASES)
def test_linear_program_agrees_with_enumeration(kind, seed, helps, discount):
    problem = Problem.of(**tiny(kind, seed, helps))
    every = dense.Enumeration.of(problem, discount)
    cost = COST[:helps]
    value, success, usage = every.best(cost)
    np.testing.assert_allclose(lp.values(problem, cost, discount=discount), value, atol=1e-8)
    found = lp.best_value(problem, cost, discount=discount)
    np.testing.assert_allclose(found.value, value @ problem.start, atol=1e-9)
    np.testing.assert_allclose(found.success - found.usage @ cost, found.value, atol=1e-9)
    np.testing.assert_allclose(dense.value(success, usage, cost), value, atol=1e-8)
    ones = np.ones(helps)
    least = lp.least_usage(problem, ones, discount=discount)
    total = every.expected_usage.sum(axis=1)
    np.testing.assert_allclose(least.value, total.min(), atol=1e-9)
    np.testing.assert_allclose(lp.most_usage(problem, ones, discount=discount).value, total.max())
    for more in (0.0, 0.1, 0.7, 50.0):
        budget = least.usage + more
        found = lp.best_success(problem, budget, discount=discount)
        assert (found.usage <= budget + 1e-8).all()
        np.testing.assert_allclose(found.success, every.best_success(budget), atol=1e-8)


@pytest.mark.parametrize("kind, seed, helps, discount", CASES)
def test_storm_agrees_with_the_linear_program(kind, seed, helps, discount):
    if not storm.available():
        pytest.skip("stormpy 2 is not installed")
    table = tables.random_kind(kind, 100 + seed, num_states=30, num_helps=helps)
    problem = Problem.of(**table)
    cost = COST[:helps]
    expected = lp.values(problem, cost, discount=discount)
    np.testing.assert_allclose(storm.values(problem, cost, discount=discount), expected, atol=1e-8)
    budget = lp.least_usage(problem, np.ones(helps), discount=discount).usage + 0.25
    expected = lp.best_success(problem, budget, discount=discount).success
    found = storm.best_success(problem, budget, discount=discount)
    np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize("kind", tables.KINDS)
def test_quantecon_agrees_with_the_linear_program(kind):
    pytest.importorskip("quantecon")
    problem = Problem.of(**tables.random_kind(kind, 7, num_states=60, num_helps=2))
    cost = COST[:2]
    value, _ = discrete_dp.solve(problem, cost, discount=0.95)
    np.testing.assert_allclose(lp.values(problem, cost, discount=0.95), value, atol=1e-8)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(table=tables.thin_tables(num_states=4, num_helps=2))
def test_any_thin_table(table):
    """Undiscounted, every shape of cycle."""
    problem = Problem.of(**table)
    every = dense.Enumeration.of(problem)
    cost = COST[:2]
    value, _, _ = every.best(cost)
    np.testing.assert_allclose(lp.values(problem, cost), value, atol=1e-8)
    least = lp.least_usage(problem, np.ones(2))
    np.testing.assert_allclose(least.value, every.expected_usage.sum(axis=1).min(), atol=1e-9)
    budget = least.usage + 0.3
    np.testing.assert_allclose(
        lp.best_success(problem, budget).success, every.best_success(budget), atol=1e-8
    )


@settings(max_examples=40, derandomize=True, deadline=None)
@given(table=tables.thin_tables(num_states=4, num_helps=1))
def test_frontier_is_the_constrained_optimum(table):
    every = dense.Enumeration.of(Problem.of(**table))
    hull = every.frontier()
    assert (np.diff(hull, axis=0) > 0).all()
    for budget in np.linspace(hull[0, 0], hull[-1, 0], 5):
        expected = np.interp(budget, hull[:, 0], hull[:, 1])
        np.testing.assert_allclose(every.best_success(budget + 1e-12), expected, atol=1e-8)


@pytest.mark.parametrize("helps", [1, 2])
def test_quarter_tables(helps):
    """Undiscounted, denser than the thin ones."""
    rng = np.random.default_rng(helps)
    for _ in range(25):
        problem = Problem.of(**tables.quarter_table(rng, 4, helps))
        every = dense.Enumeration.of(problem)
        for cost in (np.zeros(helps), COST[:helps], np.full(helps, 0.25)):
            value, _, _ = every.best(cost)
            np.testing.assert_allclose(lp.values(problem, cost), value, atol=1e-8)
        budget = lp.least_usage(problem, np.ones(helps)).usage + 0.2
        expected = every.best_success(budget)
        found = lp.best_success(problem, budget)
        np.testing.assert_allclose(found.success, expected, atol=1e-8)


def test_evaluate_by_hand():
    """Three states, nohelp: 0 -> 1 -> 0 for ever; help at 0: stay 1/2, win 1/2; help at 1: stay; 2:
    help wins.

    policy (help, nohelp, help): M_0 = 1 + M_0 / 2 = 2, S_0 = 1; M_1 = M_0, S_1 = 1; M_2 = 1, S_2 =
    1 policy (nohelp, nohelp, help): S = (0, 0, 1), M = (0, 0, 1) policy (nohelp, help, nohelp): M_1
    = M_0 = inf, S = 0; nohelp at 2 goes to 1 or fails, each 1/2: M_2 = inf Half help, half nohelp
    at 0, nohelp at 1: of two visits to 0 one calls, of two calls one wins. M_0 = 2, S_0 = 1.
    """
    table = tables.collect(
        [
            (0, 0, 1, 1.0),
            (0, 1, 0, 0.5),
            (0, 1, 3, 0.5),
            (1, 0, 0, 1.0),
            (1, 1, 1, 1.0),
            (2, 0, 1, 0.5),
            (2, 0, 4, 0.5),
            (2, 1, 3, 1.0),
        ],
        num_states=5,
        num_actions=2,
        success=3,
        failure=4,
        start=[0, 2],
    )
    problem = Problem.of(**table)
    np.testing.assert_array_equal(problem.free_loops()[:3], [True, True, False])
    policy = np.array([[1, 0, 1, 0, 0], [0, 0, 1, 0, 0], [0, 1, 0, 0, 0]])
    success, usage = dense.evaluate(problem, policy)
    np.testing.assert_allclose(success[:, :3], [[1, 1, 1], [0, 0, 1], [0, 0, 0]])
    np.testing.assert_allclose(usage[:, :3, 0], [[2, 2, 1], [0, 0, 1], [np.inf] * 3])
    mixed = np.zeros((5, 2))
    mixed[:, 0] = 1.0
    mixed[0] = 0.5
    success, usage = dense.evaluate_mixed(problem, mixed)
    np.testing.assert_allclose(success[:3], [1, 1, 0.5])
    np.testing.assert_allclose(usage[:3, 0], [2, 2, 1])


@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_paper_oracle_reports_the_usage_of_its_own_policy(discount):
    """Where the printed iteration converges, M is the usage of the policy it ends with."""
    met = 0
    for seed in range(16):
        problem = Problem.of(**tables.random_kind("self_loops", seed, num_states=12, num_helps=2))
        p = np.random.default_rng(seed).random((problem.num_states, 3))
        found = paper.run(problem, [0.3, 0.4], p, discount=discount)
        if found.converged:
            met += 1
            _, usage = dense.evaluate(problem, found.policy[None], discount)
            np.testing.assert_allclose(found.usage, usage[0], atol=1e-7)
        else:
            assert found.period >= 2 or found.iterations == 2000
    assert met >= 3


def test_capped_table_by_hand():
    """One state: help wins 1/2 and stays 1/2; nohelp fails. With b calls left: S_b = 1 - 2^-b, M_b
    = 2 - 2^(1 - b).
    """
    table = tables.collect(
        [(0, 0, 2, 1.0), (0, 1, 0, 0.5), (0, 1, 1, 0.5)],
        num_states=3,
        num_actions=2,
        success=1,
        failure=2,
        start=[0],
    )
    problem = Problem.of(**dense.capped_table(table, 3))
    every = dense.Enumeration.of(problem)
    _, success, usage = every.best([0.0])
    np.testing.assert_allclose(success[:4], [0, 0.5, 0.75, 0.875])
    np.testing.assert_allclose(usage[:4, 0], [0, 1, 1.5, 1.75])
    assert problem.start[3] == 1.0
