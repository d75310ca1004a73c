"""core.dp against solvers that nobody here wrote: HiGHS, Storm, QuantEcon; and against dense linear
solves.
"""

import dataclasses
import functools

import numpy as np
import pytest

from core import dp
from core.transitions import TransitionTable
from tests.oracles import dense, discrete_dp, lp, storm, tables
from tests.oracles.problem import Problem

NUM_COSTS = 32  # as many as a plan solves at once: one compilation for both
COSTS = np.geomspace(0.002, 2.0, NUM_COSTS)[:, None] * [1.0, 0.7, 1.4]
SOME = (0, 12, 20, 31)  # those that the slow oracles are asked for


@functools.cache
def large(helps, kind="unavailable", num_starts=5):
    """1000 states like an agent's rollouts; self-loops, back edges, missing actions. "everything"
    has closed nohelp cycles and helps that loop besides. The transitions do not depend on
    num_starts.
    """
    table = tables.random_kind(
        kind,
        11,
        num_states=1000,
        num_helps=helps,
        num_starts=num_starts,
        degree=2 if helps == 1 else 1,
    )
    return TransitionTable.from_arrays(**table), Problem.of(**table)


def worth(solution):
    """[R] expected S - r . M of a solution."""
    return solution.expected_success - (solution.costs * solution.expected_usage).sum(axis=1)


def check_policy(problem, policy, success, usage, discount):
    """Expected success and usage of a policy, by the linear program of that policy alone."""
    chain = problem.under(policy)
    helps = problem.num_helps
    alone = lp.best_value(chain, np.zeros(helps), discount=discount)
    np.testing.assert_allclose(success, alone.success, atol=1e-6)
    alone = lp.least_usage(chain, np.ones(helps), discount=discount)
    np.testing.assert_allclose(usage, alone.usage, atol=1e-6)


CASES = [
    (1, "unavailable", 1.0),
    (1, "unavailable", 0.97),
    (1, "everything", 1.0),
    (2, "unavailable", 1.0),
    (3, "unavailable", 1.0),
]


@pytest.mark.parametrize("helps, kind, discount", CASES)
def test_sweep_reaches_the_linear_programs_optimum(helps, kind, discount):
    table, problem = large(helps, kind)
    costs = COSTS[:, :helps]
    solution = dp.sweep(table, costs, discount=discount)
    assert solution.converged.all() and (solution.bound <= 1e-6).all()
    for r in SOME:
        optimum = lp.best_value(problem, costs[r], discount=discount)
        error = abs(worth(solution)[r] - optimum.value)
        assert error <= 1e-6
        assert error <= solution.bound[r] + 1e-9
        check_policy(
            problem,
            solution.policy[:, r],
            solution.expected_success[r],
            solution.expected_usage[r],
            discount,
        )
    r = SOME[1]  # and in every state
    expected = lp.values(problem, costs[r], discount=discount)
    found = solution.success[:, r] - solution.usage[:, r] @ costs[r]
    np.testing.assert_allclose(found[problem.alive], expected[problem.alive], atol=1e-6)


@pytest.mark.parametrize("helps, kind, discount", [CASES[i] for i in (0, 1, 3, 4)])
def test_plan_reaches_the_constrained_optimum(helps, kind, discount):
    table, problem = large(helps, kind)
    least = lp.least_usage(problem, np.ones(helps), discount=discount)
    for share in (0.1, 0.6):
        budget = least.usage + share * np.array([1.0, 0.5, 0.7])[:helps]
        plan = dp.plan(table, budget, discount=discount)
        optimum = lp.best_success(problem, budget, discount=discount)
        np.testing.assert_allclose(plan.expected_success, optimum.success, atol=1e-6)
        assert (plan.expected_usage <= budget + 1e-9).all()
        assert optimum.success <= plan.upper_bound + 1e-9
        assert plan.upper_bound <= plan.expected_success + 1e-6
        assert plan.weight.size == plan.policy.shape[0] <= helps + 1
        assert (plan.weight >= 0).all() and abs(plan.weight.sum() - 1) < 1e-12
        np.testing.assert_allclose(plan.weight @ plan.policy_success, plan.expected_success)
        np.testing.assert_allclose(plan.weight @ plan.policy_usage, plan.expected_usage, atol=1e-12)
        for policy, success, usage in zip(
            plan.policy, plan.policy_success, plan.policy_usage, strict=True
        ):
            check_policy(problem, policy, success, usage, discount)


def test_a_rich_plan_is_the_best_there_is():
    table, problem = large(2)
    plan = dp.plan(table, [1e3, 1e3])
    best = lp.best_value(problem, [0.0, 0.0])
    np.testing.assert_allclose(plan.expected_success, best.value, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("discount", [1.0, 0.97])
def test_the_bound_holds(dtype, discount):
    """The error in the worst state is within `bound`: after any early stop, in single precision."""
    table, problem = large(1)
    expected = [lp.values(problem, COSTS[r, :1], discount=discount) for r in SOME]
    expected = np.stack(expected, axis=1)[problem.alive]
    least = np.inf
    for limit in (1, 3, 10, 30, 1000):
        solution = dp.sweep(
            table, COSTS[:, :1], discount=discount, dtype=dtype, max_iterations=limit
        )
        value = solution.success - solution.usage[:, :, 0] * COSTS[:, 0]
        error = np.abs(value[problem.alive][:, SOME] - expected).max(axis=0)
        bound = solution.bound[list(SOME)]
        assert (error <= bound + 1e-9).all(), (limit, error, bound)
        np.testing.assert_array_equal(solution.converged, solution.bound <= 1e-6)
        least = np.minimum(least, bound)
    # And it says something: in the end it is small.
    assert (least <= (1e-3 if dtype == np.float32 else 1e-6)).all()


@pytest.mark.parametrize("kind, discount", [("unavailable", 0.97), ("everything", 1.0)])
def test_frontier_reaches_the_constrained_optimum(kind, discount):
    table, problem = large(1, kind)
    front = dp.frontier(table, discount=discount, batch=NUM_COSTS)
    assert front.complete and front.gap <= 1e-6
    assert (np.diff(front.usage) > 0).all() and (np.diff(front.success) > 0).all()
    slope = np.diff(front.success) / np.diff(front.usage)
    np.testing.assert_allclose(front.cost[1:], slope, rtol=1e-9)
    assert (np.diff(front.cost) < 0).all()
    least = lp.least_usage(problem, [1.0], discount=discount)
    np.testing.assert_allclose(front.usage[0], least.value, atol=1e-7)
    most = lp.best_value(problem, [0.0], discount=discount)
    np.testing.assert_allclose(front.success[-1], most.success, atol=1e-7)
    for budget in np.linspace(front.usage[0] + 1e-3, front.usage[-1], 9):
        optimum = lp.best_success(problem, budget, discount=discount)
        along = np.interp(budget, front.usage, front.success)
        assert -1e-7 <= optimum.success - along <= front.gap + 1e-7
    for v in np.linspace(0, len(front.usage) - 1, 4).astype(int):
        check_policy(problem, front.policy[v], front.success[v], front.usage[v : v + 1], discount)


@pytest.mark.parametrize("limit", [{"max_vertices": 6}, {"gap": 1e-2}], ids=str)
def test_an_incomplete_frontier_says_what_is_left(limit):
    table, _ = large(1)
    whole = dp.frontier(table, batch=NUM_COSTS)
    front = dp.frontier(table, batch=NUM_COSTS, **limit)
    assert front.usage.size < whole.usage.size
    assert not front.complete
    if "max_vertices" in limit:
        assert front.usage.size <= limit["max_vertices"]
    else:
        assert front.gap <= limit["gap"]
    grid = np.linspace(front.usage[0], front.usage[-1], 400)
    left = np.interp(grid, whole.usage, whole.success) - np.interp(grid, front.usage, front.success)
    assert left.min() >= -1e-9 and left.max() <= front.gap + 1e-9
    assert left.max() > 0


@pytest.mark.parametrize("helps, kind, discount", [*CASES[:4], (3, "unavailable", 0.97)])
def test_storm_agrees(helps, kind, discount):
    if not storm.available():
        pytest.skip("stormpy 2 is not installed")
    table, problem = large(helps, kind)
    solution = dp.sweep(table, COSTS[:, :helps], discount=discount)
    r = SOME[1]
    expected = storm.values(problem, COSTS[r, :helps], discount=discount)
    found = solution.success[:, r] - solution.usage[:, r] @ COSTS[r, :helps]
    np.testing.assert_allclose(found[problem.alive], expected[problem.alive], atol=1e-6)
    budget = lp.least_usage(problem, np.ones(helps), discount=discount).usage + 0.3
    plan = dp.plan(table, budget, discount=discount)
    expected = storm.best_success(problem, budget, discount=discount)
    np.testing.assert_allclose(plan.expected_success, expected, atol=1e-6)


@pytest.mark.parametrize("helps", [1, 2])
def test_quantecon_agrees(helps):
    pytest.importorskip("quantecon")
    table, problem = large(helps)
    solution = dp.sweep(table, COSTS[:, :helps], discount=0.97)
    for r in SOME:
        cost = COSTS[r, :helps]
        expected, _ = discrete_dp.solve(problem, cost, discount=0.97)
        found = solution.success[:, r] - solution.usage[:, r] @ cost
        np.testing.assert_allclose(found[problem.alive], expected[problem.alive], atol=1e-6)


@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_evaluate_and_action_values_agree_with_linear_solves(discount):
    """Random policies on every kind of table, side by side; inf for inf."""
    kinds = [tables.random_kind(kind, 3, num_states=16, num_helps=2) for kind in tables.KINDS]
    table = tables.union(kinds)
    built, problem = TransitionTable.from_arrays(**table), Problem.of(**table)
    move, win, available = problem.dense()
    rng = np.random.default_rng(0)
    alive = problem.alive
    policy = np.argmax(rng.random((4, *available.shape)) * available, axis=2)  # [4, S]
    success, usage = dense.evaluate(problem, policy, discount)
    found = dp.evaluate(built, policy.T, discount=discount)
    np.testing.assert_allclose(found.success[alive].T, success[:, alive], atol=1e-8)
    np.testing.assert_allclose(np.swapaxes(found.usage, 0, 1)[:, alive], usage[:, alive], atol=1e-7)
    assert np.isinf(usage).any() == (discount == 1.0)
    at = problem.start > 0
    start = problem.start[at]
    np.testing.assert_allclose(found.expected_success, success[:, at] @ start, atol=1e-8)
    np.testing.assert_allclose(
        found.expected_usage, np.einsum("nsk,s->nk", usage[:, at], start), atol=1e-7
    )
    one = dp.evaluate(built, policy[1], discount=discount)
    np.testing.assert_allclose(one.success, found.success[:, 1], atol=1e-9)
    assert np.shape(one.expected_success) == () and one.expected_usage.shape == (2,)

    mixed = rng.dirichlet(np.ones(3), size=(4, problem.num_states)) * available
    mixed /= np.where(alive, mixed.sum(axis=2), 1.0)[..., None]
    mixed[:, ~alive] = [1.0, 0.0, 0.0]
    found = dp.evaluate(built, np.moveaxis(mixed, 0, -1), discount=discount)
    for n in range(4):
        success, usage = dense.evaluate_mixed(problem, mixed[n], discount)
        np.testing.assert_allclose(found.success[alive, n], success[alive], atol=1e-8)
        np.testing.assert_allclose(found.usage[alive, n], usage[alive], atol=1e-7)

    # One step of each action, then the stochastic policy.
    values = dp.action_values(built, mixed[3], discount=discount)
    expected = win + discount * move @ success
    np.testing.assert_allclose(values.success[available], expected[available], atol=1e-8)
    endless = np.isinf(usage)
    expected = discount * np.einsum("sat,tk->sak", move, np.where(endless, 0.0, usage))
    expected[np.einsum("sat,tk->sak", move, endless.astype(float)) > 0] = np.inf
    expected[:, [1, 2], [0, 1]] += 1.0
    np.testing.assert_allclose(values.usage[available], expected[available], atol=1e-7)
    np.testing.assert_array_equal(np.isnan(values.success), ~available)
    np.testing.assert_array_equal(values.available, available)


def test_bootstrap_agrees_with_the_standard_error():
    """200 tasks: the interval is 1.96 standard errors to either side, to sampling error."""
    table, problem = large(2, num_starts=200)
    table = dataclasses.replace(table, start_weight=np.full(200, 1 / 200))
    least = lp.least_usage(problem, np.ones(2)).usage
    plan = dp.plan(table, least + [0.4, 0.2])
    start = np.asarray(table.start)
    success = np.zeros(start.size)
    usage = np.zeros((start.size, 2))
    for policy, weight in zip(plan.policy, plan.weight, strict=True):
        chain = problem.under(policy)
        none = lp.values(chain, [0.0, 0.0])[start]
        success += weight * none
        for k in range(2):
            usage[:, k] += weight * (none - lp.values(chain, np.eye(2)[k])[start])
    found = dp.bootstrap(table, plan, num_resamples=2000, seed=1)
    np.testing.assert_allclose(found.success, success.mean(), atol=1e-6)
    np.testing.assert_allclose(found.usage, usage.mean(axis=0), atol=1e-6)
    half = 1.96 * success.std() / np.sqrt(start.size)
    np.testing.assert_allclose(np.ptp(found.success_interval), 2 * half, rtol=0.1)
    np.testing.assert_allclose(found.success_interval.mean(), success.mean(), atol=0.2 * half)
    half = 1.96 * usage.std(axis=0) / np.sqrt(start.size)
    np.testing.assert_allclose(np.ptp(found.usage_interval, axis=1), 2 * half, rtol=0.15)
    # Pairs of tasks alike in one group: half as many, the interval wider by about sqrt(2).
    groups = np.empty(start.size, int)
    groups[np.argsort(success)] = np.arange(start.size) // 2
    paired = dp.bootstrap(table, plan, groups=groups, num_resamples=2000, seed=1)
    ratio = np.ptp(paired.success_interval) / np.ptp(found.success_interval)
    np.testing.assert_allclose(ratio, np.sqrt(2), rtol=0.12)
