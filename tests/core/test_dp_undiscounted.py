"""discount = 1 where policies can go round for ever. Success is the least fixed point: going round
wins nothing.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import dp
from tests.core.thin import FAIL, WIN, build, check, load, sweep
from tests.oracles import dense, tables
from tests.oracles.problem import Problem

# Compiled once (see `thin`), a table takes milliseconds.
many = settings(max_examples=60, derandomize=True, deadline=None)


def policy_of(table, first):
    """[S] the given actions of the first states, nohelp everywhere else."""
    policy = np.zeros(table.num_states, int)
    policy[: len(first)] = first
    return policy


def test_nohelp_for_ever_is_failure():
    # nohelp: 0 -> 1 -> 0. Help succeeds with 1/4, else fails: asked for r < 1/4 and not beyond.
    rows = [(s, 0, 1 - s, 1.0) for s in (0, 1)]
    rows += [(s, 1, t, p) for s in (0, 1) for t, p in ((WIN, 0.25), (FAIL, 0.75))]
    table = build(rows, 2)
    solution = sweep(table, [0.125, 0.25, 0.5])
    np.testing.assert_allclose(solution.expected_success, [0.25, 0, 0], atol=1e-9)
    np.testing.assert_allclose(solution.expected_usage[:, 0], [1, 0, 0], atol=1e-9)
    np.testing.assert_array_equal(solution.policy[:2, 1:], 0)
    check(table, solution)
    found = dp.evaluate(table, policy_of(table, []))
    np.testing.assert_allclose(found.success[:4], [0, 0, 1, 0])
    np.testing.assert_allclose(found.usage[:, 0], 0)


def test_a_tie_between_going_round_and_asking():
    # nohelp: 0 <-> 1. Help at 0 fails, at 1 succeeds. V_0 = V_1 = 1 - r, and at 1 nohelp (go round,
    # ask later) is worth as much as help, with as few calls. Always choosing it would never ask.
    table = build([(0, 0, 1, 1.0), (1, 0, 0, 1.0), (0, 1, FAIL, 1.0), (1, 1, WIN, 1.0)], 2)
    solution = sweep(table, [0.0, 0.5])
    np.testing.assert_array_equal(solution.policy[:2], [[0, 0], [1, 1]])
    np.testing.assert_allclose(solution.success[:2], 1)
    np.testing.assert_allclose(solution.usage[:2, :, 0], 1)
    check(table, solution)


def test_a_tie_with_a_self_loop():
    # 0: nohelp stays for ever, both helps succeed. 1: nohelp stays for ever, help 1 fails, help 2
    # succeeds.
    rows = [(0, 0, 0, 1.0), (0, 1, WIN, 1.0), (0, 2, WIN, 1.0)]
    rows += [(1, 0, 1, 1.0), (1, 1, FAIL, 1.0), (1, 2, WIN, 1.0)]
    table = build(rows, 2, 2, start=[0, 1])
    solution = sweep(table, [[0.25, 0.5], [0.5, 0.25], [2.0, 2.0]])
    np.testing.assert_array_equal(solution.policy[:2], [[1, 2, 0], [2, 2, 0]])
    np.testing.assert_allclose(solution.expected_success, [1, 1, 0])
    check(table, solution)


@pytest.mark.parametrize("first", [0, 7, 17])
def test_a_long_ring(first):
    # nohelp goes round 18 states; help succeeds in one of them and fails elsewhere: S = M = 1 all
    # around for r < 1, wherever the ring is entered and wherever the one state lies.
    n = 18
    rows = [(s, 0, (s + 1) % n, 1.0) for s in range(n)]
    rows += [(s, 1, WIN if s == first else FAIL, 1.0) for s in range(n)]
    table = build(rows, n, start=[3])
    solution = sweep(table, [0.0, 0.9, 1.0, 1.1])
    np.testing.assert_allclose(solution.success[:n], [[1, 1, 0, 0]] * n)
    np.testing.assert_allclose(solution.usage[:n, :, 0], [[1, 1, 0, 0]] * n)
    np.testing.assert_array_equal(solution.policy[first], [1, 1, 0, 0])
    check(table, solution)
    front = dp.frontier(table, batch=32)
    np.testing.assert_allclose(front.usage, [0, 1], atol=1e-9)
    np.testing.assert_allclose(front.success, [0, 1], atol=1e-9)
    found = dp.evaluate(table, front.policy[1])
    np.testing.assert_allclose(found.expected_success, 1)


@pytest.mark.parametrize("good, poor", [(2, 0), (0, 2), (1, 0), (1, 2)])
def test_two_ways_to_ask_in_a_ring(good, poor):
    # nohelp: 0 -> 1 -> 2 -> 0. Help succeeds in one state, in another with 1/2, in the third it
    # fails: all wait for the good one, the poor one too, at every r < 1.
    rows = [(s, 0, (s + 1) % 3, 1.0) for s in range(3)]
    rows += [(good, 1, WIN, 1.0), (poor, 1, WIN, 0.5), (poor, 1, FAIL, 0.5)]
    rows += [(3 - good - poor, 1, FAIL, 1.0)]
    table = build(rows, 3)
    solution = sweep(table, [0.0, 0.3, 0.7, 1.2])
    expected = np.zeros((3, 4))
    expected[good, :3] = 1
    np.testing.assert_array_equal(solution.policy[:3], expected)
    np.testing.assert_allclose(solution.success[:3], [[1, 1, 1, 0]] * 3)
    np.testing.assert_allclose(solution.usage[:3, :, 0], [[1, 1, 1, 0]] * 3)
    check(table, solution)


def test_a_loop_half_open():
    # nohelp: 0 -> 1; 1 -> 0 with 7/8, success 1/8. It ends in success for sure: no call is worth
    # anything.
    rows = [
        (0, 0, 1, 1.0),
        (1, 0, 0, 0.875),
        (1, 0, WIN, 0.125),
        (0, 1, WIN, 1.0),
        (1, 1, WIN, 1.0),
    ]
    table = build(rows, 2)
    solution = sweep(table, [0.0, 0.01])
    np.testing.assert_allclose(solution.expected_success, 1, atol=1e-6)
    np.testing.assert_array_equal(solution.policy[:2], 0)
    check(table, solution, atol=1e-6)


def test_a_slow_loop():
    # As above with 0.9998 back, and the rest half success and half failure: S = 1/2 after some
    # 10^4 rounds. Help at 1 succeeds with 3/4, at 0 it fails.
    rows = [(0, 0, 1, 1.0), (1, 0, 0, 0.9998), (1, 0, WIN, 1e-4), (1, 0, FAIL, 1e-4)]
    rows += [(0, 1, FAIL, 1.0), (1, 1, WIN, 0.75), (1, 1, FAIL, 0.25)]
    table = build(rows, 2)
    solution = sweep(table, [0.2, 0.3])
    value = solution.expected_success - solution.costs[:, 0] * solution.expected_usage[:, 0]
    error = np.abs(value - [0.55, 0.5])
    assert (error <= solution.bound + 1e-12).all(), (error, solution.bound)
    assert solution.converged.all() and (error <= 1e-6).all()
    found = dp.evaluate(table, policy_of(table, []))
    np.testing.assert_allclose(found.success[:2], 0.5, atol=1e-6)
    front = dp.frontier(table, batch=32)
    np.testing.assert_allclose(front.usage, [0, 1], atol=1e-6)
    np.testing.assert_allclose(front.success, [0.5, 0.75], atol=1e-6)


def test_a_slow_help_loop():
    # Help again with 0.999, success 0.001: M = 1000, S = 1; nohelp fails. Worth it for r < 0.001.
    rows = [
        (0, 0, FAIL, 1.0),
        (0, 1, 1, 1.0),
        (1, 0, FAIL, 1.0),
        (1, 1, 0, 0.998),
        (1, 1, WIN, 0.002),
    ]
    table = build(rows, 2)
    solution = sweep(table, [0.0, 0.0009, 0.0011])
    np.testing.assert_allclose(solution.expected_success, [1, 1, 0], atol=1e-6)
    np.testing.assert_allclose(solution.expected_usage[:, 0], [1000, 1000, 0], rtol=1e-6)
    check(table, solution, atol=1e-3)


def test_help_for_ever():
    # nohelp fails; help goes 0 -> 1 -> 0. Help for ever: usage inf, success 0.
    table = build([(s, a, FAIL if a == 0 else 1 - s, 1.0) for s in (0, 1) for a in (0, 1)], 2)
    found = dp.evaluate(table, policy_of(table, [1, 1]))
    np.testing.assert_array_equal(found.success[:4], [0, 0, 1, 0])
    np.testing.assert_array_equal(found.usage[:4, 0], [np.inf, np.inf, 0, 0])
    assert np.isinf(found.expected_usage).all() and found.expected_success == 0
    # Half of the time: 1/2 + 1/4 + ... = 1 call.
    mixed = np.zeros((table.num_states, 2))
    mixed[:, 0] = 1.0
    mixed[:2] = 0.5
    np.testing.assert_allclose(dp.evaluate(table, mixed).usage[:2, 0], 1, atol=1e-8)
    # Nothing is bought, so no cost, not even none, buys it.
    solution = sweep(table, [0.0, 0.1])
    np.testing.assert_array_equal(solution.policy[:2], 0)
    np.testing.assert_allclose(solution.expected_usage, 0)
    # Once help, then never again; once nohelp, then help for ever.
    values = dp.action_values(table, policy_of(table, [0, 1]))
    np.testing.assert_allclose(values.usage[:2, :, 0], [[0, 2], [0, 1]])
    values = dp.action_values(table, policy_of(table, [1, 1]))
    np.testing.assert_array_equal(values.usage[:2, :, 0], [[0, np.inf], [0, np.inf]])


def begins_elsewhere():
    """0: everything succeeds. 1: nohelp fails, help goes on for ever. Episodes begin at 0."""
    entries = [(0, 0, WIN, 1.0), (0, 1, WIN, 1.0), (1, 0, FAIL, 1.0), (1, 1, 1, 1.0)]
    return build(entries, 2, start=[0, 1], start_weight=[1.0, 0.0])


def test_starts_of_no_weight_do_not_count():
    table = begins_elsewhere()
    found = dp.evaluate(table, policy_of(table, [0, 1]))
    np.testing.assert_array_equal(found.usage[:2, 0], [0, np.inf])
    np.testing.assert_array_equal(found.expected_usage, [0.0])
    assert found.expected_success == 1.0


def test_calls_without_end_cost_nothing_at_no_cost():
    table = begins_elsewhere()
    values = dp.action_values(table, policy_of(table, [0, 1]))
    np.testing.assert_array_equal(values.advantage(0.0)[:2, 0], [0.0, 0.0])
    # Help succeeds no more than nohelp does, for r a call and for r a call without end.
    np.testing.assert_array_equal(values.advantage(0.5)[:2, 0], [-0.5, -np.inf])


def test_a_policy_that_takes_ten_million_steps_to_end():
    # nohelp: 0 -> 1 -> 0, ending at 1 with e, half of that in success: S = 1/2, in 2 / e steps.
    # Help for nohelp at 0 is as good, and calls 1 / e times.
    e = 1e-7
    rows = [(0, 0, 1, 1.0), (0, 1, 1, 1.0), (1, 0, 0, 1 - e), (1, 0, WIN, e / 2)]
    table = build([*rows, (1, 0, FAIL, e / 2)], 2)
    found = dp.evaluate(table, np.stack([policy_of(table, p) for p in ([0, 0], [1, 0])], axis=1))
    np.testing.assert_allclose(found.success[:2], 0.5, atol=1e-7)
    np.testing.assert_allclose(found.usage[0, :, 0], [0, 1 / e], rtol=1e-7)


def test_too_little_mass_to_end_by():
    # nohelp comes again with 1 - e, else succeeds; help succeeds with 0.3. What is less than the
    # tolerance of row sums is none: nohelp then fails. A little more is some, and succeeds.
    for e, nohelp in ((1e-9, 0.0), (2e-9, 1.0)):
        rows = [(0, 0, 0, 1 - e), (0, 0, WIN, e), (0, 1, WIN, 0.3), (0, 1, FAIL, 0.7)]
        table = build(rows, 1)
        alone = dp.evaluate(table, policy_of(table, [])).success[0]
        np.testing.assert_allclose(alone, nohelp, atol=1e-7)
        assert alone <= 1.0
        best = max(nohelp, 0.3)
        np.testing.assert_allclose(sweep(table, [0.0]).success[0], best, atol=1e-7)
        np.testing.assert_allclose(dp.capped(table, 1).success[0], [nohelp, best], atol=1e-7)


def test_infinite_usage_is_told_from_finite():
    # 0: nohelp goes to 1 with 1/2, else succeeds; 1: help 2 for ever. 2: help 1 once, succeeds.
    rows = [(0, 0, 1, 0.5), (0, 0, WIN, 0.5), (1, 2, 1, 1.0), (1, 0, FAIL, 1.0), (2, 1, WIN, 1.0)]
    table = build(rows, 3, 2, start=[2])
    found = dp.evaluate(table, policy_of(table, [0, 2, 1]))
    np.testing.assert_array_equal(found.usage[:3], [[0, np.inf], [0, np.inf], [1, 0]])
    np.testing.assert_allclose(found.success[:3], [0.5, 0, 1])
    np.testing.assert_allclose(found.expected_usage, [1, 0])


def test_calls_on_the_way_into_a_loop_count():
    # 0: help goes to 1, where nohelp stays for ever: one call, no success. 2: help for ever, so
    # that both kinds of loop are in one table. 3 and 4 lead to both, half and half, and to an end.
    rows = [(0, 1, 1, 1.0), (0, 0, FAIL, 1.0), (1, 0, 1, 1.0), (1, 1, FAIL, 1.0)]
    rows += [(2, 1, 2, 1.0), (2, 0, FAIL, 1.0)]
    rows += [(3, 1, 0, 0.5), (3, 1, WIN, 0.5), (4, 1, 2, 0.5), (4, 1, WIN, 0.5)]
    table = build(rows, 5)
    policy = policy_of(table, [1, 0, 1, 1, 1])
    found = dp.evaluate(table, policy)
    np.testing.assert_array_equal(found.usage[:5, 0], [1, 0, np.inf, 1.5, np.inf])
    np.testing.assert_array_equal(found.success[:5], [0, 0, 0, 0.5, 0.5])
    again = dp.evaluate(table, np.stack([policy, policy_of(table, [0, 0, 0, 1, 1])], axis=1))
    np.testing.assert_array_equal(again.usage[:5, 0, 0], found.usage[:5, 0])
    np.testing.assert_array_equal(again.usage[:5, 1, 0], [0, 0, 0, 1, 1])


@pytest.mark.parametrize("leak", [0.0, 0.5])
def test_a_state_that_forces_help_for_ever_is_refused(leak):
    # State 17 offers help only, and it stays there. State 3 cannot avoid it if leak > 0.
    n = 18
    rows = [(s, a, WIN, 1.0) for s in range(n) for a in (0, 1) if s not in (3, 17)]
    rows += [(17, 1, 17, 1.0)]
    rows += [(3, 0, 17, leak), (3, 0, FAIL, 1 - leak), (3, 1, 17, leak), (3, 1, WIN, 1 - leak)]
    table = build([row for row in rows if row[3] > 0], n, start=[3, 17])
    solvers = {
        "sweep": lambda: sweep(table, [0.5]),
        "frontier": lambda: dp.frontier(table, batch=32),
        "plan": lambda: dp.plan(table, 0.5),
    }
    for name, solve in solvers.items():
        with pytest.raises(ValueError, match=r"\b(17|3)\b.*help") as error:
            solve()
        assert "discount" in str(error.value), name
    # Discounted there is nothing to refuse: it costs 1 / (1 - d) calls.
    solution = sweep(table, [0.5], discount=0.5)
    np.testing.assert_allclose(solution.usage[17, 0, 0], 2, atol=1e-6)
    # Evaluating the one policy there is says what it is; a cap ends it.
    forced = policy_of(table, [0] * 17 + [1])
    assert dp.evaluate(table, forced).usage[17, 0] == np.inf
    np.testing.assert_allclose(dp.capped(table, 3).usage[17, :, 0], [0, 1, 2, 3], atol=1e-9)


def test_a_state_may_force_two_helps_by_turns():
    # 0 offers help 1 only, which goes to 1; 1 offers help 2 only, which goes to 0. Neither is
    # called for ever by itself.
    table = build([(0, 1, 1, 1.0), (1, 2, 0, 1.0), (2, 0, WIN, 1.0)], 3, 2, start=[2])
    with pytest.raises(ValueError, match=r"\b(0|1)\b.*help"):
        sweep(table, [[0.5, 0.5]])


def test_a_forced_help_that_ends_is_not_refused():
    # 0: help only, again with 3/4: four calls. 1 may go round with help for ever but need not.
    rows = [(0, 1, 0, 0.75), (0, 1, WIN, 0.25), (1, 1, 1, 1.0), (1, 0, 0, 1.0)]
    table = build(rows, 2, start=[1])
    solution = sweep(table, [0.125, 3.0])
    np.testing.assert_allclose(solution.success[:2], 1, atol=1e-6)
    np.testing.assert_allclose(solution.usage[:2, :, 0], 4, atol=1e-5)
    check(table, solution, atol=1e-6)
    plan = dp.plan(table, 4.5)
    np.testing.assert_allclose(plan.expected_usage, 4, atol=1e-6)


def test_an_edge_of_probability_zero_is_no_way_out():
    # nohelp stays, with an entry of probability zero to success; help fails.
    table = build([(0, 0, 0, 1.0), (0, 0, WIN, 0.0), (0, 1, FAIL, 1.0)], 1)
    found = dp.evaluate(table, policy_of(table, []))
    np.testing.assert_allclose(found.success[0], 0)
    np.testing.assert_allclose(sweep(table, [0.1]).expected_success, 0)


def test_a_row_that_sums_to_one_but_for_rounding_is_no_way_out():
    # Rows of 1 - 1.1e-16. nohelp: 0 <-> 1, and 4 stays; help: 2 <-> 3, and 5 stays.
    almost = np.nextafter(1.0, 0.0)
    rows = [(0, 0, 1, almost), (1, 0, 0, almost), (0, 1, FAIL, 1.0), (1, 1, WIN, 1.0)]
    rows += [(2, 1, 3, almost), (3, 1, 2, almost), (2, 0, FAIL, 1.0), (3, 0, FAIL, 1.0)]
    rows += [(4, 0, 4, almost), (4, 1, WIN, 1.0), (5, 0, FAIL, 1.0), (5, 1, 5, almost)]
    table = build(rows, 6)
    found = dp.evaluate(table, policy_of(table, [0, 0, 1, 1, 0, 1]))
    np.testing.assert_allclose(found.success[:6], 0, atol=1e-9)
    np.testing.assert_array_equal(found.usage[:6, 0], [0, 0, np.inf, np.inf, 0, np.inf])
    solution = sweep(table, [0.0, 0.5, 1.5])
    for s in (0, 1, 4):
        np.testing.assert_allclose(solution.success[s], [1, 1, 0], atol=1e-6)
        np.testing.assert_allclose(solution.usage[s, :, 0], [1, 1, 0], atol=1e-6)
    np.testing.assert_array_equal(solution.policy[[2, 3, 5]], 0)
    check(table, solution)


@many
@given(table=tables.thin_tables(num_states=5, num_helps=1), data=st.data())
def test_evaluate_any_policy(table, data):
    """Deterministic and stochastic policies on any shape of cycle, inf for inf."""
    problem = Problem.of(**table)
    built = load(table)
    available = built.available
    policy = np.argmax(available, axis=1)
    mixed = np.zeros(available.shape)
    mixed[np.arange(len(policy)), policy] = 1.0
    for s in range(5):
        if available[s].all():
            policy[s] = data.draw(st.sampled_from((0, 1)))
            share = data.draw(st.sampled_from((0.0, 0.25, 1.0)))
            mixed[s] = [1.0 - share, share]
    success, usage = dense.evaluate(problem, policy[None, :7])
    found = dp.evaluate(built, policy)
    np.testing.assert_allclose(found.success[:5], success[0, :5], atol=1e-8)
    np.testing.assert_allclose(found.usage[:5], usage[0, :5], atol=1e-7)
    success, usage = dense.evaluate_mixed(problem, mixed[:7])
    found = dp.evaluate(built, mixed)
    np.testing.assert_allclose(found.success[:5], success[:5], atol=1e-8)
    np.testing.assert_allclose(found.usage[:5], usage[:5], atol=1e-7)


@many
@given(table=tables.thin_tables(num_states=5, num_helps=1))
def test_sweep_on_any_shape_of_cycle(table):
    """Costs that tie often (most numbers are halves): value, success and usage are the oracle's,
    with ties to fewer calls, and the policy is one that has them.
    """
    every = dense.Enumeration.of(Problem.of(**table))
    built = load(table)
    costs = [0.0, 0.1, 0.25, 0.5]
    solution = sweep(built, costs, tolerance=1e-10)
    assert solution.converged.all()
    check(built, solution)
    for r, cost in enumerate(costs):
        _, success, usage = every.best([cost])
        np.testing.assert_allclose(solution.success[:5, r], success[:5], atol=1e-7)
        np.testing.assert_allclose(solution.usage[:5, r], usage[:5], atol=1e-7)


@many
@given(table=tables.thin_tables(num_states=4, num_helps=2))
def test_two_helps_on_any_shape_of_cycle(table):
    every = dense.Enumeration.of(Problem.of(**table))
    built = load(table)
    costs = np.array([[0.0, 0.0], [0.1, 0.25], [0.25, 0.125], [0.6, 0.5]])
    solution = sweep(built, costs, tolerance=1e-10)
    check(built, solution)
    for r, cost in enumerate(costs):
        value, _, _ = every.best(cost)
        found = solution.success[:4, r] - solution.usage[:4, r] @ cost
        np.testing.assert_allclose(found, value[:4], atol=1e-8)
