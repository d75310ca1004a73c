"""What must hold on every table.

A pool of small tables of any shape, side by side in one table, is solved at once: one compilation
covers them all. Every part is small enough for all of its policies to be tried
(`dense.Enumeration`). Probabilities are quarters, so costs of 0, 1/4, 1/2 and 1 tie often. A few
single tables come from hypothesis.
"""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import dp
from core.transitions import TransitionTable
from experiments import instances
from tests.core.thin import load
from tests.oracles import dense, lp, tables
from tests.oracles.problem import Problem

SIZES = {1: (5, 120), 2: (4, 60)}  # helps: states a part, parts
GRID = np.arange(32) / 24  # quarters among them; as many as a plan solves at once
# Compiled once (see `thin`), a table takes milliseconds.
many = settings(max_examples=30, derandomize=True, deadline=None)
one_or_two = pytest.mark.parametrize("helps", [1, 2])


@functools.cache
def parts(helps):
    rng = np.random.default_rng(helps)
    states, number = SIZES[helps]
    return [tables.quarter_table(rng, states, helps) for _ in range(number)]


@functools.cache
def pool(helps):
    return TransitionTable.from_arrays(**tables.union(parts(helps)))


@functools.cache
def enumerations(helps):
    return [dense.Enumeration.of(Problem.of(**part)) for part in parts(helps)]


def costs_of(helps):
    return GRID[:, None] * [1.0, 0.5][:helps]


@functools.cache
def solved(helps):
    return dp.sweep(pool(helps), costs_of(helps), tolerance=1e-10)


def split(helps, array):
    """[S, ...] of the pool -> [parts, states a part, ...], without the terminals."""
    states, number = SIZES[helps]
    return np.asarray(array)[: states * number].reshape(number, states, *array.shape[1:])


def best(helps, cost):
    """`(value, success, usage)` of every part by enumeration: [parts, states, ...]."""
    states, _ = SIZES[helps]
    found = [every.best(cost) for every in enumerations(helps)]
    return (np.stack([f[i][:states] for f in found]) for i in range(3))


@one_or_two
def test_sweep_agrees_with_enumeration(helps):
    solution = solved(helps)
    assert solution.converged.all()
    for r, cost in enumerate(solution.costs):
        value, _, _ = best(helps, cost)
        found = split(helps, solution.success)[:, :, r]
        found = found - split(helps, solution.usage)[:, :, r] @ cost
        np.testing.assert_allclose(found, value, atol=1e-8, err_msg=f"cost {cost}")


def test_ties_go_to_fewer_calls():
    solution = solved(1)
    for r, cost in enumerate(solution.costs):
        _, success, usage = best(1, cost)
        message = f"cost {cost}"
        found = split(1, solution.usage)[:, :, r]
        np.testing.assert_allclose(found, usage, atol=1e-7, err_msg=message)
        found = split(1, solution.success)[:, :, r]
        np.testing.assert_allclose(found, success, atol=1e-7, err_msg=message)


def test_usage_falls_and_value_is_convex_in_the_cost():
    solution = solved(1)
    usage = np.concatenate([solution.usage[:, :, 0], solution.expected_usage.T])
    success = np.concatenate([solution.success, solution.expected_success[None]])
    assert (np.diff(usage, axis=1) <= 1e-8).all()
    assert (np.diff(success, axis=1) <= 1e-8).all()
    value = success - GRID * usage
    assert (np.diff(value, axis=1) <= 1e-8).all()
    assert (np.diff(value, n=2, axis=1) >= -1e-8).all()


@one_or_two
def test_evaluate_confirms_what_sweep_says(helps):
    """The policy really has the success and usage that are claimed: no waiting for ever, no call
    forgotten.
    """
    solution = solved(helps)
    found = dp.evaluate(pool(helps), solution.policy)
    np.testing.assert_allclose(found.success, solution.success, atol=1e-8)
    np.testing.assert_allclose(found.usage, solution.usage, atol=1e-7)
    np.testing.assert_allclose(found.expected_success, solution.expected_success, atol=1e-8)
    np.testing.assert_allclose(found.expected_usage, solution.expected_usage, atol=1e-7)


def test_evaluate_agrees_with_enumeration():
    """Random policies of every part, inf where they call for ever."""
    every = enumerations(1)
    states, number = SIZES[1]
    rng = np.random.default_rng(3)
    policy = np.zeros((states * number + 2, 8), int)
    success, usage = np.zeros((number, states, 8)), np.zeros((number, states, 8, 1))
    for i, one in enumerate(every):
        pick = rng.integers(0, len(one.policy), size=8)
        policy[i * states : (i + 1) * states] = one.policy[pick, :states].T
        success[i] = one.success[pick, :states].T
        usage[i] = np.moveaxis(one.usage[pick, :states], 0, 1)
    found = dp.evaluate(pool(1), policy)
    np.testing.assert_allclose(split(1, found.success), success, atol=1e-8)
    np.testing.assert_allclose(split(1, found.usage), usage, atol=1e-7)
    assert np.isinf(usage).any()


@one_or_two
def test_action_values_are_one_step_ahead_of_the_policy(helps):
    r = 2
    problem = Problem.of(**tables.union(parts(helps)))
    solution = solved(helps)
    policy = solution.policy[:, r]
    found = dp.action_values(pool(helps), policy)
    rows = (problem.row_state, problem.row_action)
    assert found.available.sum() == problem.num_rows and found.available[rows].all()
    np.testing.assert_array_equal(np.isnan(found.success), ~found.available)
    moved = problem.move
    expected = problem.win + moved @ solution.success[:, r]
    np.testing.assert_allclose(found.success[rows], expected, atol=1e-7)
    expected = problem.calls + moved @ solution.usage[:, r]
    np.testing.assert_allclose(found.usage[rows], expected, atol=1e-7)
    # No action is better than the one the optimal policy takes.
    worth = np.where(found.available, found.success - found.usage @ solution.costs[r], -np.inf)
    at = np.flatnonzero(problem.alive)
    np.testing.assert_allclose(worth[at, policy[at]], worth[at].max(axis=1), atol=1e-7)


def test_the_bound_holds_when_stopped_early():
    for limit in (1, 2, 4, 8):
        solution = dp.sweep(pool(1), GRID, max_iterations=limit)
        assert (solution.iterations <= limit).all()
        for r, cost in enumerate(GRID):
            value, _, _ = best(1, [cost])
            found = split(1, solution.success)[..., r] - cost * split(1, solution.usage)[..., r, 0]
            error = np.abs(found - value).max()
            assert error <= solution.bound[r] + 1e-9, (limit, cost, error, solution.bound[r])


@many
@given(table=tables.thin_tables(num_states=6), data=st.data())
def test_the_names_of_the_states_do_not_matter(table, data):
    order = np.array(data.draw(st.permutations(range(tables.THIN_STATES))))
    table = tables.padded(table)
    costs = [0.0, 0.1, 0.25, 0.6]
    here = dp.sweep(TransitionTable.from_arrays(**table), costs, tolerance=1e-10)
    renamed = TransitionTable.from_arrays(**tables.permuted(table, order))
    there = dp.sweep(renamed, costs, tolerance=1e-10)
    np.testing.assert_allclose(there.success[order], here.success, atol=1e-8)
    np.testing.assert_allclose(there.usage[order], here.usage, atol=1e-7)
    np.testing.assert_allclose(there.expected_success, here.expected_success, atol=1e-8)
    np.testing.assert_allclose(there.expected_usage, here.expected_usage, atol=1e-7)


@many
@given(table=tables.thin_tables(num_states=5), discount=st.sampled_from((0.5, 0.9)))
def test_discounted_sweeps_agree_with_enumeration(table, discount):
    every = dense.Enumeration.of(Problem.of(**table), discount)
    costs = [0.0, 0.1, 0.25, 0.5]
    solution = dp.sweep(load(table), costs, discount=discount, tolerance=1e-10)
    assert solution.converged.all()
    for r, cost in enumerate(costs):
        _, success, usage = every.best([cost])
        np.testing.assert_allclose(solution.success[:5, r], success[:5], atol=1e-8)
        np.testing.assert_allclose(solution.usage[:5, r], usage[:5], atol=1e-7)
    stopped = dp.sweep(load(table), costs, discount=discount, max_iterations=2)
    assert np.isfinite(stopped.bound).all()
    for r, cost in enumerate(costs):
        value, _, _ = every.best([cost])
        found = stopped.success[:5, r] - cost * stopped.usage[:5, r, 0]
        assert np.abs(found - value[:5]).max() <= stopped.bound[r] + 1e-9


@pytest.mark.parametrize("helps", [1, 2])
def test_costs_do_not_see_each_other(helps):
    here = solved(helps)
    order = np.random.default_rng(1).permutation(len(GRID))
    there = dp.sweep(pool(helps), costs_of(helps)[order], tolerance=1e-10)
    np.testing.assert_array_equal(there.policy, here.policy[:, order])
    np.testing.assert_allclose(there.success, here.success[:, order], atol=1e-9)
    np.testing.assert_allclose(there.usage, here.usage[:, order], atol=1e-8)


def test_frontier_is_the_hull_of_all_policies():
    """Of the whole pool: starts are drawn from its parts, so its hull is the mean of theirs (edges
    sorted by slope).
    """
    hulls = [every.frontier() for every in enumerations(1)]
    first = np.mean([hull[0] for hull in hulls], axis=0)
    edges = np.concatenate([np.diff(hull, axis=0) for hull in hulls]) / len(hulls)
    slope = edges[:, 1] / edges[:, 0]
    steps = np.sort(np.unique(slope.round(7)))[::-1]
    edges = np.stack([edges[np.abs(slope - step) < 1e-6].sum(axis=0) for step in steps])
    expected = np.concatenate([first[None], first + np.cumsum(edges, axis=0)])
    front = dp.frontier(pool(1), batch=len(GRID))
    assert front.complete and front.gap <= 1e-5
    assert np.isinf(front.cost[0])
    assert front.usage.shape == (len(expected),)
    np.testing.assert_allclose(front.usage, expected[:, 0], atol=1e-7)
    np.testing.assert_allclose(front.success, expected[:, 1], atol=1e-7)
    np.testing.assert_allclose(front.cost[1:], steps, atol=1e-6)


@one_or_two
def test_plans_keep_the_budget_and_waste_nothing(helps):
    """A mixture of at most K + 1 policies of the pool is as good as the best mixture in every part
    by itself.
    """
    every = enumerations(helps)
    least = np.mean([e.expected_usage.sum(axis=1).min() for e in every])
    problem = Problem.of(**tables.union(parts(helps)))
    np.testing.assert_allclose(lp.least_usage(problem, np.ones(helps)).value, least, atol=1e-8)
    base = lp.least_usage(problem, np.ones(helps)).usage
    for more in ([0.0, 0.0], [0.02, 0.05]):
        budget = base + more[:helps]
        plan = dp.plan(pool(helps), budget)
        expected = lp.best_success(problem, budget).success
        assert (plan.expected_usage <= budget + 1e-9).all()
        np.testing.assert_allclose(plan.expected_success, expected, atol=1e-6)
        assert expected <= plan.upper_bound + 1e-9
        assert plan.weight.size <= helps + 1 and (plan.weight >= 0).all()
        np.testing.assert_allclose(plan.weight.sum(), 1, atol=1e-12)
        np.testing.assert_allclose(plan.weight @ plan.policy_usage, plan.expected_usage, atol=1e-9)
        found = dp.evaluate(pool(helps), plan.policy.T)
        np.testing.assert_allclose(found.expected_success, plan.policy_success, atol=1e-7)
        np.testing.assert_allclose(found.expected_usage, plan.policy_usage, atol=1e-7)


@many
@given(table=tables.thin_tables(num_states=5, num_helps=1), discount=st.sampled_from((1.0, 0.8)))
def test_frontier_and_plans_of_any_thin_table(table, discount):
    """One table at a time, so that a failure shrinks to something one can read."""
    every = dense.Enumeration.of(Problem.of(**table), discount)
    built = load(table)
    hull = every.frontier()
    front = dp.frontier(built, discount=discount, batch=32)
    assert front.complete
    np.testing.assert_allclose(np.stack([front.usage, front.success], axis=1), hull, atol=1e-7)
    for budget in (hull[0, 0], hull[:, 0].mean(), 50.0):
        plan = dp.plan(built, budget + 1e-12, discount=discount)
        expected = np.interp(budget, hull[:, 0], hull[:, 1])
        np.testing.assert_allclose(plan.expected_success, expected, atol=1e-6)
        assert plan.expected_usage[0] <= budget + 1e-8
        assert expected <= plan.upper_bound + 1e-8


@pytest.mark.parametrize("gap", [1e-2, 1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("num_states", [300, 1500])
def test_a_frontier_is_no_further_from_the_complete_one_than_it_says(num_states, gap):
    """With few vertices, where costs divided evenly find none, and with many."""
    instance = instances.layered(num_states, seed=1)
    table = TransitionTable.from_arrays(**instance.table_arguments())
    whole = dp.frontier(table, discount=instance.discount)
    some = dp.frontier(table, discount=instance.discount, gap=gap)
    below = whole.success - np.interp(whole.usage, some.usage, some.success)
    assert whole.complete and some.gap <= gap and below.max() <= some.gap
    assert some.usage.size <= whole.usage.size
    found = dp.evaluate(table, some.policy[::9].T, discount=instance.discount)
    off = max(1e-8, min(gap, 1e-6))
    np.testing.assert_allclose(found.expected_usage[:, 0], some.usage[::9], atol=off, rtol=0)
    np.testing.assert_allclose(found.expected_success, some.success[::9], atol=off, rtol=0)
    few = dp.frontier(table, discount=instance.discount, max_vertices=20)
    below = whole.success - np.interp(whole.usage, few.usage, few.success)
    assert few.usage.size == 20 and few.gap < 0.05 and below.max() <= few.gap
