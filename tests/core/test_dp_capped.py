"""Hard caps: never more than `cap` calls in an episode. The oracle builds the product space (state,
calls left).
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import dp
from core.transitions import TransitionTable
from tests.core.thin import FAIL, WIN, load, sweep
from tests.oracles import dense, lp, tables
from tests.oracles.problem import Problem

CAP = 4  # one shape of results for all tables of one help


def check(table, built, cap, cost, discount=1.0):
    """Value optimal in every (state, calls left); success and usage those of the policy; cap kept.

    `built` may have more states than `table`: idle ones, at the end.
    """
    problem = Problem.of(**dense.capped_table(table, cap))
    helps = table["num_actions"] - 1
    shape = tuple(np.broadcast_to(np.asarray(cap) + 1, (helps,)))
    num_states = table["num_states"]
    found = dp.capped(built, cap, cost, discount=discount)
    assert found.policy.shape == found.success.shape == (built.num_states, *shape)
    assert found.usage.shape == (built.num_states, *shape, helps)
    alive = problem.alive
    policy = np.asarray(found.policy)[:num_states].reshape(-1)
    success = np.asarray(found.success)[:num_states].reshape(-1)
    usage = np.asarray(found.usage)[:num_states].reshape(-1, helps)
    cost = np.broadcast_to(np.asarray(cost, float), (helps,))
    expected = lp.values(problem, cost, discount=discount)
    np.testing.assert_allclose((success - usage @ cost)[alive], expected[alive], atol=1e-7)
    left = np.stack(np.indices(shape), axis=-1).reshape(-1, helps)
    assert (usage.reshape(num_states, -1, helps) <= left + 1e-9).all()
    offered = set(zip(problem.row_state, problem.row_action, strict=True))
    assert all((s, policy[s]) in offered for s in np.flatnonzero(alive))
    chain = problem.under(policy)
    np.testing.assert_allclose(
        success[alive], lp.values(chain, np.zeros(helps), discount=discount)[alive], atol=1e-7
    )
    for k in range(helps):
        calls = success - lp.values(chain, np.eye(helps)[k], discount=discount)
        np.testing.assert_allclose(usage[alive, k], calls[alive], atol=1e-6)
    full = problem.start > 0
    start = problem.start[full]
    np.testing.assert_allclose(found.expected_success, success[full] @ start, atol=1e-9)
    np.testing.assert_allclose(found.expected_usage, start @ usage[full], atol=1e-9)
    return found


def test_nohelp_that_takes_ten_million_steps_to_end():
    # nohelp: 0 -> 1 -> 0, ending at 1 with e, half of that in success: S = 1/2. Help at 1: 3/4.
    e = 1e-7
    rows = [(0, 0, 1, 1.0), (0, 1, FAIL, 1.0), (1, 0, 0, 1 - e), (1, 0, WIN, e / 2)]
    rows += [(1, 0, FAIL, e / 2), (1, 1, WIN, 0.75), (1, 1, FAIL, 0.25)]
    found = dp.capped(load(tables.thin(rows, 2)), CAP)
    np.testing.assert_allclose(found.success[:2, 0], 0.5, atol=1e-7)
    np.testing.assert_allclose(found.success[:2, 1:], 0.75, atol=1e-7)
    np.testing.assert_allclose(found.usage[:2, 1:], 1, atol=1e-7)


@pytest.mark.parametrize("cost", [0.0, 0.05])
def test_one_help(cost):
    """Every kind of table, side by side."""
    kinds = [tables.random_kind(kind, 2, num_states=16) for kind in tables.KINDS]
    table = tables.union(kinds)
    check(table, TransitionTable.from_arrays(**table), CAP, cost)


def test_two_helps_with_a_cap_each():
    table = tables.random_kind("everything", 4, num_states=12, num_helps=2)
    built = TransitionTable.from_arrays(**table)
    check(table, built, [3, 1], [0.02, 0.05])
    check(table, built, [1, 3], 0.0)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    table=tables.thin_tables(num_states=5, num_helps=1),
    cost=st.sampled_from((0.0, 0.25, 0.1)),
    discount=st.sampled_from((1.0, 0.5)),
)
def test_any_thin_table(table, cost, discount):
    check(table, load(table), CAP, cost, discount)


def test_no_calls_at_all():
    table = tables.random_thin(np.random.default_rng(0), 8, 1)
    built = load(table)
    found = dp.capped(built, 0)
    never = dp.evaluate(built, np.zeros(built.num_states, np.int8))
    np.testing.assert_allclose(found.success[:, 0], never.success, atol=1e-9)
    np.testing.assert_array_equal(found.usage, 0)


def test_more_calls_are_never_worse_and_tend_to_no_cap():
    # Help comes again with 0.8 and succeeds with 0.2; nohelp goes on to the other state or fails.
    rows = [(s, 1, s, 0.8) for s in (0, 1)] + [(s, 1, WIN, 0.2) for s in (0, 1)]
    rows += [(s, 0, 1 - s, 0.5) for s in (0, 1)] + [(s, 0, FAIL, 0.5) for s in (0, 1)]
    built = load(tables.thin(rows, 2))
    free = sweep(built, [0.0, 0.1])
    for r, cost in enumerate((0.0, 0.1)):
        found = dp.capped(built, 60, cost)
        value = found.success - cost * found.usage[..., 0]
        assert (np.diff(value, axis=1) >= -1e-9).all()
        limit = free.success[:, r] - cost * free.usage[:, r, 0]
        assert (value <= limit[:, None] + 1e-6).all()
        np.testing.assert_allclose(value[:, -1], limit, atol=1e-4)
        assert value[0, 1] < limit[0] - 0.1  # a cap does bind


def test_acyclic_needs_no_more_calls_than_steps():
    # Help at 0, 1 and 2 goes on for sure, nohelp with 1/2; help at 3 succeeds. Four steps.
    rows = [(s, 1, s + 1 if s < 3 else WIN, 1.0) for s in range(4)]
    rows += [(s, 0, s + 1 if s < 3 else WIN, 0.5) for s in range(4)]
    rows += [(s, 0, FAIL, 0.5) for s in range(4)]
    built = load(tables.thin(rows, 4))
    free = sweep(built, [0.0, 0.2])
    for r, cost in enumerate((0.0, 0.2)):
        found = dp.capped(built, CAP, cost)
        np.testing.assert_allclose(found.expected_success, free.expected_success[r], atol=1e-8)
        np.testing.assert_allclose(found.expected_usage, free.expected_usage[r], atol=1e-8)
    # The calls are kept for the end, as each is worth a factor of two wherever it is spent: with b
    # left S = 2^(b - 4), and a tie between now and later.
    found = dp.capped(built, CAP)
    np.testing.assert_allclose(found.success[0], 2.0 ** np.arange(-4, 1), atol=1e-9)


def test_help_that_stays_is_bounded_by_the_cap():
    # Help stays where it is, nohelp fails. Uncapped and free it could be called for ever.
    table = tables.thin([(0, 0, FAIL, 1.0), (0, 1, 0, 1.0)], 1)
    found = check(table, load(table), CAP, 0.0)
    np.testing.assert_array_equal(found.usage[0], 0)


def test_a_state_that_offers_help_only_ends_when_the_calls_are_spent():
    # Help wins 1/2, stays 1/2; there is no nohelp. Uncapped M = 2. With b left: S_b = 1 - 2^-b.
    table = tables.thin([(0, 1, 0, 0.5), (0, 1, WIN, 0.5)], 1)
    found = check(table, load(table), CAP, 0.0)
    np.testing.assert_allclose(found.success[0], 1 - 0.5 ** np.arange(5), atol=1e-9)


def test_waiting_for_the_better_call():
    # nohelp: 0 <-> 1 for ever. Help at 0 wins 1/2 or comes back to 1; help at 1 wins. One call
    # left: both wait for state 1.
    rows = [(0, 0, 1, 1.0), (1, 0, 0, 1.0), (0, 1, WIN, 0.5), (0, 1, 1, 0.5), (1, 1, WIN, 1.0)]
    table = tables.thin(rows, 2)
    found = check(table, load(table), CAP, 0.0)
    np.testing.assert_allclose(found.success[:2], [[0, 1, 1, 1, 1]] * 2, atol=1e-9)
    np.testing.assert_allclose(found.usage[:2, :, 0], [[0, 1, 1, 1, 1]] * 2, atol=1e-9)
