"""Tables small enough to do by hand. The calculation stands above each."""

import numpy as np
import pytest

from core import dp
from tests.core.thin import FAIL, WIN, build, load, sweep
from tests.oracles import tables


def one_step():
    """nohelp succeeds with 1/4, help with 3/4."""
    return build([(0, 0, WIN, 0.25), (0, 0, FAIL, 0.75), (0, 1, WIN, 0.75), (0, 1, FAIL, 0.25)], 1)


def two_steps():
    """nohelp: 0 -> 1 with 1/2, 1 -> success with 1/2, else failure. help: 0 -> 1, 1 -> success."""
    return build(
        [
            (0, 0, 1, 0.5),
            (0, 0, FAIL, 0.5),
            (0, 1, 1, 1.0),
            (1, 0, WIN, 0.5),
            (1, 0, FAIL, 0.5),
            (1, 1, WIN, 1.0),
        ],
        2,
    )


def retry():
    """nohelp: stay 1/2, fail 1/2. help: stay 1/2, succeed 1/2."""
    return build([(0, 0, 0, 0.5), (0, 0, FAIL, 0.5), (0, 1, 0, 0.5), (0, 1, WIN, 0.5)], 1)


def two_starts():
    """0: help succeeds, nohelp fails. 1: both succeed."""
    return build(
        [(0, 0, FAIL, 1.0), (0, 1, WIN, 1.0), (1, 0, WIN, 1.0), (1, 1, WIN, 1.0)], 2, start=[0, 1]
    )


def test_one_step():
    # Help gains 1/2: worth asking for r < 1/2; at r = 1/2 a tie, which goes to fewer calls.
    solution = sweep(one_step(), [0.0, 0.25, 0.5, 0.75])
    np.testing.assert_array_equal(solution.policy[0], [1, 1, 0, 0])
    np.testing.assert_allclose(solution.expected_success, [0.75, 0.75, 0.25, 0.25])
    np.testing.assert_allclose(solution.expected_usage, [[1], [1], [0], [0]])
    assert solution.converged.all()
    np.testing.assert_array_equal(solution.period, 0)


def test_shapes_dtypes_and_terminals():
    # nohelp fails, help succeeds; 3 is one more success terminal.
    table = tables.thin([(0, 0, FAIL, 1.0), (0, 1, WIN, 1.0)], 1)
    table = load({**table, "num_states": 4, "success": [1, 3]})
    solution = dp.sweep(table, [0.25, 1.75, 1.75, 1.75])
    assert solution.policy.shape == (24, 4) and solution.policy.dtype == np.int8
    assert solution.success.shape == (24, 4) and solution.success.dtype == np.float64
    assert solution.usage.shape == (24, 4, 1) and solution.usage.dtype == np.float64
    assert solution.expected_success.shape == (4,) and solution.expected_usage.shape == (4, 1)
    assert solution.bound.shape == solution.converged.shape == solution.iterations.shape == (4,)
    assert solution.converged.dtype == bool and solution.iterations.dtype == np.int32
    assert solution.period.dtype == np.int32
    np.testing.assert_array_equal(solution.costs, [[0.25], [1.75], [1.75], [1.75]])
    # Success terminals have success 1, failure terminals 0; neither calls nor decides.
    np.testing.assert_array_equal(solution.success[:4, :2], [[1, 0], [1, 1], [0, 0], [1, 1]])
    np.testing.assert_array_equal(solution.policy[:4, :2], [[1, 0], [0, 0], [0, 0], [0, 0]])
    np.testing.assert_array_equal(solution.usage[:4, :2, 0], [[1, 0], [0, 0], [0, 0], [0, 0]])
    # Costs of one help may be [R, 1], and there is single precision.
    single = dp.sweep(table, [[0.25], [1.75], [1.75], [1.75]], dtype=np.float32)
    assert single.success.dtype == np.float32
    np.testing.assert_array_equal(single.policy, solution.policy)


def test_as_many_actions_as_there_may_be():
    # Help k succeeds with k / 31, for 0.01 a call: the last is best and worth 0.99.
    entries = [(0, k, WIN, k / 31) for k in range(1, 32)]
    entries += [(0, k, FAIL, 1 - k / 31) for k in range(31)]
    solution = dp.sweep(build(entries, 1, num_helps=31), np.full((1, 31), 0.01))
    assert solution.policy[0] == 31
    np.testing.assert_allclose(solution.success[0], 1.0)
    np.testing.assert_allclose(solution.usage[0, 0], np.eye(31)[30], atol=1e-12)


def test_two_steps():
    # At 1: help gains 1/2, so ask for r < 1/2: V_1 = 1 - r; else V_1 = 1/2.
    # At 0, r < 1/2: help V_1 - r = 1 - 2r, nohelp V_1 / 2 = (1 - r) / 2; ask for r < 1/3.
    # At 0, r >= 1/2: help 1/2 - r <= 0, nohelp 1/4.
    # r = 1/4: ask twice, S = 1, M = 2.   r = 0.4: ask at 1 only, S = 1/2, M = 1/2.
    # r = 0.6: never, S = 1/4.
    solution = sweep(two_steps(), [0.25, 0.4, 0.6])
    np.testing.assert_array_equal(solution.policy[:2], [[1, 0, 0], [1, 1, 0]])
    np.testing.assert_allclose(solution.success[:2], [[1, 0.5, 0.25], [1, 1, 0.5]])
    np.testing.assert_allclose(solution.usage[:2, :, 0], [[2, 0.5, 0], [1, 1, 0]])


def test_two_steps_discounted():
    # discount 1/2. Success is a reward of the step into it, paid at once; what is later is halved.
    # At 1 as before. At 0, help: S = 1/2 S_1, M = 1 + 1/2 M_1; nohelp: S = 1/4 S_1, M = 1/4 M_1.
    # r = 0.1: V_1 = 0.9; at 0 help 0.45 - 0.1 = 0.35 against 0.225: help. S_0 = 1/2, M_0 = 3/2.
    # r = 0.4: V_1 = 0.6; at 0 help 0.3 - 0.4 against 0.15: nohelp. S_0 = 1/4, M_0 = 1/4.
    solution = sweep(two_steps(), [0.1, 0.4], discount=0.5)
    np.testing.assert_array_equal(solution.policy[:2], [[1, 0], [1, 1]])
    np.testing.assert_allclose(solution.success[:2], [[0.5, 0.25], [1, 1]])
    np.testing.assert_allclose(solution.usage[:2, :, 0], [[1.5, 0.25], [1, 1]])


def test_retry():
    # Help for ever: S = 1/2 + S/2 = 1, M = 1 + M/2 = 2: value 1 - 2r; nohelp is worth 0: r < 1/2.
    # With discount d: S = (1/2) / (1 - d/2), M = 1 / (1 - d/2): again r < 1/2. d = 1/2: 2/3, 4/3.
    solution = sweep(retry(), [0.4, 0.6])
    np.testing.assert_array_equal(solution.policy[0], [1, 0])
    np.testing.assert_allclose(solution.success[0], [1, 0], atol=1e-6)
    np.testing.assert_allclose(solution.usage[0, :, 0], [2, 0], atol=1e-6)
    solution = sweep(retry(), [0.4, 0.6], discount=0.5)
    np.testing.assert_allclose(solution.success[0], [2 / 3, 0], atol=1e-6)
    np.testing.assert_allclose(solution.usage[0, :, 0], [4 / 3, 0], atol=1e-6)


def test_evaluate_and_action_values_of_retry():
    # Help with chance q at every step: S = q/2 + S/2, so S = q; M = q + M/2 = 2q.
    table = retry()
    for q in (0.0, 0.25, 1.0):
        policy = np.zeros((table.num_states, 2))
        policy[:, 0] = 1.0
        policy[0] = [1 - q, q]
        found = dp.evaluate(table, policy)
        np.testing.assert_allclose(found.success[:3], [q, 1, 0], atol=1e-9)
        np.testing.assert_allclose(found.usage[:3, 0], [2 * q, 0, 0], atol=1e-9)
        np.testing.assert_allclose(found.expected_success, q, atol=1e-9)
        np.testing.assert_allclose(found.expected_usage, [2 * q], atol=1e-9)
    # Once the other action, then help for ever (S = 1, M = 2): nohelp 1/2 and 1, help 1 and 2.
    # What help gains over nohelp at r = 0.3: 1/2 - 0.3 * 1.
    always = np.zeros(table.num_states, int)
    always[0] = 1
    values = dp.action_values(table, always)
    np.testing.assert_allclose(values.success[0], [0.5, 1], atol=1e-9)
    np.testing.assert_allclose(values.usage[0, :, 0], [1, 2], atol=1e-9)
    np.testing.assert_array_equal(values.available[0], [True, True])
    np.testing.assert_array_equal(values.available[1:3], False)
    np.testing.assert_allclose(values.advantage(0.3)[0], [0.2], atol=1e-9)


def test_frontier_of_two_steps():
    # Policies (at 0, at 1): never (0, 1/4); at 1 (1/2, 1/2); at 0 (1, 1/2); twice (2, 1).
    # The hull: (0, 1/4), (1/2, 1/2), (2, 1), with slopes 1/2, 1/3: the costs at which two tie.
    front = dp.frontier(two_steps(), batch=32)
    np.testing.assert_allclose(front.usage, [0, 0.5, 2], atol=1e-9)
    np.testing.assert_allclose(front.success, [0.25, 0.5, 1], atol=1e-9)
    np.testing.assert_allclose(front.cost[1:], [0.5, 1 / 3], atol=1e-9)
    assert np.isinf(front.cost[0])
    assert front.complete and front.gap <= 1e-8
    np.testing.assert_array_equal(front.policy[:, :2], [[0, 0], [0, 1], [1, 1]])


@pytest.mark.parametrize(
    "budget, success, usage",
    [(0.0, 0.25, 0.0), (0.25, 0.375, 0.25), (0.5, 0.5, 0.5), (1.25, 0.75, 1.25), (9.0, 1.0, 2.0)],
)
def test_plans_of_two_steps(budget, success, usage):
    # On the hull above; beyond two calls there is nothing to buy.
    plan = dp.plan(two_steps(), budget)
    np.testing.assert_allclose(plan.expected_success, success, atol=1e-7)
    np.testing.assert_allclose(plan.expected_usage, [usage], atol=1e-7)
    assert success - 1e-12 <= plan.upper_bound <= success + 1e-6
    assert plan.weight.size <= 2
    np.testing.assert_allclose(plan.weight.sum(), 1)
    np.testing.assert_array_equal(plan.budget, [budget])
    if budget == 0.25:  # inside an edge: its slope is what a call is worth
        np.testing.assert_allclose(plan.cost, [0.5], atol=1e-6)
    if budget == 9.0:  # not binding: a call is worth nothing
        np.testing.assert_allclose(plan.cost, [0.0], atol=1e-6)


def test_two_helps():
    # Help 1 succeeds with 3/4, help 2 for sure, nohelp never. Values: 3/4 - r_1, 1 - r_2, 0.
    table = build(
        [(0, 0, FAIL, 1.0), (0, 1, WIN, 0.75), (0, 1, FAIL, 0.25), (0, 2, WIN, 1.0)], 1, 2
    )
    costs = [[0.25, 0.75], [0.5, 0.25], [0.75, 1.0]]  # 1/2 > 1/4;  1/4 < 3/4;  0 = 0 = nohelp
    solution = sweep(table, costs)
    np.testing.assert_array_equal(solution.policy[0], [1, 2, 0])
    np.testing.assert_allclose(solution.expected_success, [0.75, 1, 0])
    np.testing.assert_allclose(solution.expected_usage, [[1, 0], [0, 1], [0, 0]])
    # Budgets (1/2, 1/4): 1/2 of help 1, 1/4 of help 2, 1/4 of none: 3/8 + 1/4 = 5/8.
    plan = dp.plan(table, [0.5, 0.25])
    np.testing.assert_allclose(plan.expected_success, 0.625, atol=1e-6)
    np.testing.assert_allclose(plan.expected_usage, [0.5, 0.25], atol=1e-6)
    assert plan.weight.size <= 3


def test_start_weights():
    # Starts 1 : 3 for the states of `two_starts`.
    rows = [(0, 0, FAIL, 1.0), (0, 1, WIN, 1.0), (1, 0, WIN, 1.0), (1, 1, WIN, 1.0)]
    table = build(rows, 2, start=[0, 1], start_weight=[1.0, 3.0])
    solution = sweep(table, [0.5])
    np.testing.assert_allclose(solution.expected_success, [1.0])
    np.testing.assert_allclose(solution.expected_usage, [[0.25]])
    np.testing.assert_allclose(dp.plan(table, 0.125).expected_success, 0.875, atol=1e-7)


def test_an_end_without_rows_failed():
    # nohelp goes to state 1, which was never left; help succeeds.
    table = build([(0, 0, 1, 1.0), (0, 1, WIN, 0.5), (0, 1, FAIL, 0.5)], 2)
    solution = sweep(table, [0.25, 0.75])
    np.testing.assert_array_equal(solution.policy[:2], [[1, 0], [0, 0]])
    np.testing.assert_allclose(solution.success[:2], [[0.5, 0], [0, 0]])


def test_an_action_not_offered_is_not_taken():
    # 0: help 2 only. 1: nohelp only.
    table = build([(0, 2, 1, 1.0), (1, 0, WIN, 0.5), (1, 0, FAIL, 0.5)], 2, 2)
    solution = sweep(table, [[0.0, 5.0]])
    np.testing.assert_array_equal(solution.policy[:2, 0], [2, 0])
    np.testing.assert_allclose(solution.expected_success[0], 0.5)
    np.testing.assert_allclose(solution.expected_usage[0], [0, 1])
    values = dp.action_values(table, solution.policy[:, 0])
    np.testing.assert_array_equal(values.available[:2], [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(np.isnan(values.success[:2]), [[1, 1, 0], [0, 1, 1]])
    np.testing.assert_array_equal(np.isnan(values.usage[:2, :, 0]), [[1, 1, 0], [0, 1, 1]])


def test_capped_retry():
    # Help wins 1/2 and stays 1/2. With b calls left, asking while there are any: S_b = 1 - 2^-b,
    # M_b = 1 + M_{b-1} / 2 = 2 - 2^(1 - b).
    found = dp.capped(retry(), 3)
    assert found.success.shape == (24, 4) and found.usage.shape == (24, 4, 1)
    np.testing.assert_allclose(found.success[0], [0, 0.5, 0.75, 0.875], atol=1e-9)
    np.testing.assert_allclose(found.usage[0, :, 0], [0, 1, 1.5, 1.75], atol=1e-9)
    np.testing.assert_array_equal(found.policy[0], [0, 1, 1, 1])
    np.testing.assert_allclose(found.expected_success, 0.875, atol=1e-9)
    np.testing.assert_allclose(found.expected_usage, [1.75], atol=1e-9)
    np.testing.assert_array_equal(found.success[1], 1)
    np.testing.assert_array_equal(found.success[2], 0)


def test_capped_saves_its_call():
    # At 1 nohelp wins 1/4, help 1; at 0 nohelp goes on with 3/4, help for sure.
    # One call: keep it, 3/4 * 1 (spent at once: 1 * 1/4). Two calls: 1 * 1.
    table = build(
        [
            (0, 0, 1, 0.75),
            (0, 0, FAIL, 0.25),
            (0, 1, 1, 1.0),
            (1, 0, WIN, 0.25),
            (1, 0, FAIL, 0.75),
            (1, 1, WIN, 1.0),
        ],
        2,
    )
    found = dp.capped(table, 3)
    np.testing.assert_allclose(found.success[0], [3 / 16, 0.75, 1, 1], atol=1e-9)
    np.testing.assert_array_equal(found.policy[:2], [[0, 0, 1, 1], [0, 1, 1, 1]])


def test_prior():
    # nohelp seen 3 times with 1/3 success, help never; strength 1; the model says 1/2 and 3/4.
    # nohelp: 3/4 * 1/3 + 1/4 * 1/2 = 3/8. Help, never tried: all of its mass is the prior's, 3/4.
    from core.table import build_table

    none = np.zeros(0, np.int64)
    table = build_table(
        num_states=1,
        num_actions=2,
        state=none,
        action=none,
        successor=none,
        prob=np.zeros(0),
        exit_success=np.array([[1 / 3, 0.0]]),
        available=np.array([[True, False]]),
        count=np.array([[3.0, 0.0]]),
        start=np.array([0]),
    )
    solution = dp.sweep(table, [0.0, 0.0])
    np.testing.assert_allclose(solution.expected_success, 1 / 3)
    np.testing.assert_allclose(solution.expected_usage, 0.0)
    table = table.with_prior(np.array([[0.5, 0.75]]), 1.0)
    solution = dp.sweep(table, [0.25, 0.5])
    np.testing.assert_allclose(solution.expected_success, [0.75, 0.375])
    np.testing.assert_array_equal(solution.policy[0], [1, 0])


def test_bootstrap_of_two_tasks():
    # Usage 1/4 of at most 1/2: half of the time state 0 is helped. S = (1/2 + 1) / 2 = 3/4.
    # A resample has state 0 twice (S 1/2, U 1/2), once, or never (S 1, U 0).
    table = two_starts()
    plan = dp.plan(table, 0.25)
    found = dp.bootstrap(table, plan, num_resamples=400, level=0.9)
    np.testing.assert_allclose(found.success, 0.75, atol=1e-7)
    np.testing.assert_allclose(found.usage, [0.25], atol=1e-7)
    np.testing.assert_allclose(found.success_interval, [0.5, 1], atol=1e-7)
    np.testing.assert_allclose(found.usage_interval, [[0, 0.5]], atol=1e-7)
    # The plan that always helps succeeds in every resample.
    sure = dp.bootstrap(table, dp.plan(table, 5.0), num_resamples=50)
    np.testing.assert_allclose(sure.success_interval, [1, 1], atol=1e-7)
    np.testing.assert_allclose(sure.usage_interval, [[0, 1]], atol=1e-7)
    # A task of no weight is none, and leaves every resample as it is.
    weighed = dict(start=[0, 1, 1], start_weight=[0.5, 0.0, 0.5])
    entries = [(0, 0, FAIL, 1.0), (0, 1, WIN, 1.0), (1, 0, WIN, 1.0), (1, 1, WIN, 1.0)]
    again = dp.bootstrap(build(entries, 2, **weighed), plan, num_resamples=400, level=0.9)
    np.testing.assert_array_equal(again.success_draws, found.success_draws)


def test_plan_whose_first_call_is_worth_thousands():
    # nohelp succeeds but for e, where help 1 is the only way on; help 2 succeeds with 1/2. Without
    # help 1 help 2 is called always: S = 1/2. Half of e, half of the time: S = 3/4.
    e = 1e-4
    rows = [(0, 0, WIN, 1 - e), (0, 0, 1, e), (0, 2, WIN, 0.5), (0, 2, FAIL, 0.5), (1, 1, WIN, 1.0)]
    table = build(rows, 2, num_helps=2)
    for budget, success in (([0.0, 1.0], 0.5), ([e / 2, 1.0], 0.75)):
        plan = dp.plan(table, budget)
        np.testing.assert_allclose(plan.expected_success, success, atol=1e-6)
        np.testing.assert_allclose(plan.upper_bound, success, atol=1e-6)
        assert (plan.expected_usage <= np.array(budget) + 1e-9).all()


def test_frontier_whose_first_piece_is_steep():
    # One call, which succeeds with 1/2, or one that leads on: to success, or with e to another.
    e = 1e-5
    rows = [(0, 1, WIN, 0.5), (0, 1, FAIL, 0.5), (0, 0, 1, 1.0), (1, 1, 1, e), (1, 1, WIN, 1 - e)]
    table = build(rows, 2)
    found = dp.frontier(table)
    np.testing.assert_allclose(found.usage, [1, 1 / (1 - e)], atol=1e-9)
    np.testing.assert_allclose(found.success, [0.5, 1.0], atol=1e-9)
    np.testing.assert_allclose(found.cost[1], 0.5 * (1 - e) / e, rtol=1e-6)
    assert found.complete and found.gap < 1e-7
    np.testing.assert_allclose(dp.plan(table, 1.0).expected_success, 0.5, atol=1e-6)
