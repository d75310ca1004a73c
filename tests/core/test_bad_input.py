"""Bad input gets a ValueError that names the argument, the first offending element, and what was
expected.
"""

import re

import numpy as np
import pytest

from core import dp
from core.transitions import TransitionTable

# Two states, one help; terminals 2 (success) and 3 (failure). State 1 offers no help.
GOOD = {
    "state": [0, 0, 0, 0, 1, 1],
    "action": [0, 0, 1, 1, 0, 0],
    "next_state": [1, 3, 1, 2, 2, 3],
    "prob": [0.5, 0.5, 0.75, 0.25, 0.5, 0.5],
    "num_states": 4,
    "num_actions": 2,
    "success": 2,
    "failure": 3,
    "start": [0, 1],
    "start_weight": None,
}


def table(**changed):
    return TransitionTable.from_arrays(**{**GOOD, **changed})


def two_helps():
    return table(
        state=[0, 0, 0],
        action=[0, 1, 2],
        next_state=[3, 2, 2],
        prob=[1.0, 1.0, 1.0],
        num_actions=3,
        start=0,
    )


def put(name, index, value):
    """The good argument with one element replaced."""
    changed = list(GOOD[name])
    changed[index] = value
    return changed


def refused(call, *words):
    """`call` raises a ValueError whose message has every word (a number does not match inside a
    longer one).
    """
    with pytest.raises(ValueError, match=".") as error:
        call()
    message = str(error.value)
    for word in words:
        pattern = rf"(?<![\w.]){re.escape(str(word))}(?![\w]|\.\d)"
        assert re.search(pattern, message, re.IGNORECASE), f"{word!r} is not in: {message}"
    assert "\n" not in message.strip(), message


def test_the_good_table_is_good():
    np.testing.assert_allclose(dp.sweep(table(), [0.0]).success[0], [0.625])


@pytest.mark.parametrize(
    "changed, words",
    [
        # row sums: which row, and the sum
        ({"prob": put("prob", 5, 0.25)}, ("prob", "state 1", "action 0", "0.75")),
        ({"prob": put("prob", 3, 0.5)}, ("prob", "state 0", "action 1", "1.25")),
        # values
        ({"prob": [0.5, 0.5, 1.5, -0.5, 0.5, 0.5]}, ("prob", "3", "-0.5")),
        ({"prob": put("prob", 2, np.nan)}, ("prob", "2", "nan")),
        ({"prob": put("prob", 4, np.inf)}, ("prob", "4", "inf")),
        ({"prob": ["a"] * 6}, ("prob",)),
        ({"prob": [[0.5, 0.5, 0.75, 0.25, 0.5, 0.5]]}, ("prob",)),
        # indices out of range
        ({"state": put("state", 4, 4)}, ("state", "4")),
        ({"state": put("state", 1, -1)}, ("state", "1", "-1")),
        ({"action": put("action", 2, 2)}, ("action", "2")),
        ({"action": put("action", 3, -2)}, ("action", "3", "-2")),
        ({"next_state": put("next_state", 5, 17)}, ("next_state", "5", "17")),
        ({"next_state": put("next_state", 0, -1)}, ("next_state", "0", "-1")),
        ({"state": put("state", 3, 0.5)}, ("state", "3", "0.5", "integers", "float64")),
        ({"next_state": put("next_state", 1, "3")}, ("next_state", "0", "integers")),
        ({"action": put("action", 4, None)}, ("action", "4", "None", "integers")),
        # lengths
        ({"action": [0, 0, 1]}, ("action", "3", "6")),
        ({"prob": [0.5, 0.5]}, ("prob", "2", "6")),
        # twice the same
        (
            {"next_state": put("next_state", 1, 1)},
            ("duplicates", "0", "1"),
        ),
        # terminals
        ({"success": 4}, ("success", "4")),
        ({"success": [2, -1]}, ("success", "-1")),
        ({"failure": 9}, ("failure", "9")),
        ({"failure": [3, 2]}, ("failure", "2", "success")),
        ({"success": [2, 1]}, ("state", "1", "terminal")),
        ({"failure": 0}, ("state", "0", "terminal")),
        # starts
        ({"start": 2}, ("start", "2", "terminal")),
        ({"start": [0, 3]}, ("start", "1", "3", "terminal")),
        ({"start": [0, 4]}, ("start", "1", "4")),
        ({"start": -1}, ("start", "-1")),
        ({"start": []}, ("start", "empty")),
        ({"start_weight": [1.0, -1.0]}, ("start_weight", "1", "-1.0")),
        ({"start_weight": [np.nan, 1.0]}, ("start_weight", "0", "nan")),
        ({"start_weight": [1.0]}, ("start_weight", "1", "2")),
        ({"start_weight": [1e308, 1e308]}, ("start_weight", "inf", "finite")),
        ({"state": [0, [1]]}, ("state", "shape")),
        ({"prob": [0.5, [0.5]]}, ("prob", "shape")),
        ({"success": [2, [2]]}, ("success", "shape")),
        ({"start_weight": [0.0, 0.0]}, ("start_weight", "positive")),
        # sizes and nothing at all
        ({"num_states": 0}, ("num_states", "0")),
        ({"num_states": 4.5}, ("num_states", "4.5")),
        ({"num_actions": 0}, ("num_actions", "0")),
        ({"num_actions": 33}, ("num_actions", "2..32", "33")),
        ({"state": [], "action": [], "next_state": [], "prob": []}, ("state", "empty")),
    ],
    ids=lambda x: str(x)[:60] if isinstance(x, dict) else "",
)
def test_tables(changed, words):
    refused(lambda: table(**changed), *words)


@pytest.mark.parametrize(
    "costs, words",
    [
        ([0.1, -0.5], ("costs", "1", "-0.5")),
        ([0.1, 0.2, np.nan], ("costs", "2", "nan")),
        ([[0.1, 0.2]], ("costs", "(1, 2)")),
        ([[[0.1]]], ("costs", "(1, 1, 1)")),
        ([], ("costs",)),
        ([0.1, 1.7e308], ("costs", "1", "1.7e+308", "1e+12")),
        ([0.1, [0.2]], ("costs", "shape")),
        (["a"], ("costs",)),
    ],
    ids=str,
)
def test_costs(costs, words):
    refused(lambda: dp.sweep(table(), costs), *words)


def test_costs_of_two_helps():
    refused(lambda: dp.sweep(two_helps(), [[0.1, 0.2], [0.1, -3.0]]), "costs", "1, 1", "-3.0")
    refused(lambda: dp.sweep(two_helps(), [[0.1, 0.2, 0.3]]), "costs", "(1, 3)")


CALLS = {
    "sweep": lambda **kw: dp.sweep(table(), [0.1], **kw),
    "evaluate": lambda **kw: dp.evaluate(table(), np.zeros(4, int), **kw),
    "action_values": lambda **kw: dp.action_values(table(), np.zeros(4, int), **kw),
    "frontier": lambda **kw: dp.frontier(table(), **kw),
    "plan": lambda **kw: dp.plan(table(), 0.1, **kw),
    "capped": lambda **kw: dp.capped(table(), 1, **kw),
}


@pytest.mark.parametrize("discount", [0.0, -0.5, 1.5, np.nan, 1 - 5e-10])
@pytest.mark.parametrize("name", CALLS)
def test_discount(name, discount):
    refused(lambda: CALLS[name](discount=discount), "discount", discount)


@pytest.mark.parametrize("name", ["sweep", "frontier", "plan"])
def test_devices(name):
    refused(lambda: CALLS[name](devices=[]), "devices", "empty")


def test_settings_of_sweep():
    call = CALLS["sweep"]
    refused(lambda: call(tolerance=-1e-3), "tolerance", "-0.001")
    refused(lambda: call(tolerance=np.nan), "tolerance", "nan")
    refused(lambda: call(max_iterations=0), "max_iterations", "0")
    refused(lambda: call(rule="greedy"), "rule", "greedy", "exact", "paper")


def test_action_success_of_the_papers_rule():
    call = CALLS["sweep"]
    good = np.full((4, 2), 0.5)
    assert call(rule="paper", action_success=good).policy.shape == (4, 1)
    refused(lambda: call(rule="paper"), "action_success")
    refused(lambda: call(rule="paper", action_success=good, chunk=1), "chunk", "exact")
    refused(
        lambda: call(rule="paper", action_success=good[:, :1]), "action_success", "(4, 1)", "(4, 2)"
    )
    bad = good.copy()
    bad[1, 0] = 1.5
    refused(lambda: call(rule="paper", action_success=bad), "action_success", "1, 0", "1.5")
    bad[1, 0] = np.nan
    refused(lambda: call(rule="paper", action_success=bad), "action_success", "1, 0", "nan")


@pytest.mark.parametrize("function", [dp.evaluate, dp.action_values], ids=["evaluate", "values"])
@pytest.mark.parametrize(
    "policy, words",
    [
        (np.zeros(3, int), ("policy", "(3,)")),
        (np.zeros((4, 0), int), ("policy", "(4, 0)")),
        ([[0, 1], [0]], ("policy", "shape")),
        (np.zeros((4, 2, 1, 1)), ("policy", "(4, 2, 1, 1)")),
        (np.array([0, 2, 0, 0]), ("policy[1]", "2", "0..1")),
        (np.array([-1, 0, 0, 0]), ("policy[0]", "-1", "0..1")),
        (np.array([1, 1, 0, 0]), ("policy[1]", "action 1", "state 1")),
        (np.zeros(4, float), ("policy",)),
        (np.full((4, 3), 1 / 3), ("policy", "(4, 3)")),
        (np.array([[1, 0], [0.5, 0.25], [1, 0], [1, 0]]), ("policy", "1", "0.75")),
        (np.array([[1.25, -0.25], [1, 0], [1, 0], [1, 0]]), ("policy[0, 0]", "1.25", "[0, 1]")),
        (np.array([[1, 0], [np.nan, 0], [1, 0], [1, 0]]), ("policy[1, 0]", "nan", "[0, 1]")),
        (np.array([[0.5, 0.5], [0.5, 0.5], [1, 0], [1, 0]]), ("policy[1]", "action 1", "state 1")),
    ],
    ids=lambda x: str(x.tolist())[:50] if isinstance(x, np.ndarray) else "",
)
def test_policies(function, policy, words):
    refused(lambda: function(table(), policy), *words)


def test_a_policy_among_several_is_named_too():
    batch = np.array([[0, 1], [0, 1], [0, 0], [0, 0]])  # state 1 offers no help
    refused(lambda: dp.evaluate(table(), batch), "policy[1, 1]", "action 1", "state 1")
    mixed = np.zeros((4, 2, 3))
    mixed[:, 0] = 1.0
    mixed[0, 0, 2] = 0.5
    refused(lambda: dp.evaluate(table(), mixed), "policy[0, :, 2]", "0.5", "1")
    refused(lambda: dp.action_values(table(), np.zeros((4, 2), int)), "policy", "(4, 2)")


def test_budgets():
    refused(lambda: dp.plan(table(), -0.5), "budget", "-0.5")
    refused(lambda: dp.plan(table(), np.nan), "budget", "nan")
    refused(lambda: dp.plan(table(), [0.1, [0.2]]), "budget", "shape")
    refused(lambda: dp.plan(table(), [0.1, 0.2]), "budget", "2", "1")
    refused(lambda: dp.plan(two_helps(), [0.1, -2.0]), "budget", "1", "-2.0")
    refused(lambda: dp.plan(two_helps(), [0.1, 0.1, 0.1]), "budget", "3", "2")


def test_a_budget_that_no_policy_keeps():
    # State 0 offers help only: one call from a start of weight 1/2.
    forced = table(state=[0, 1], action=[1, 0], next_state=[2, 3], prob=[1.0, 1.0], start=[0, 1])
    np.testing.assert_allclose(dp.plan(forced, 0.5).expected_usage, 0.5)
    refused(lambda: dp.plan(forced, 0.25), "budget", "0.25", "0.5")
    refused(lambda: dp.plan(forced, 0.4999999), "budget", "0.4999999", "0.5")


def test_frontier_is_for_one_help():
    refused(lambda: dp.frontier(two_helps()), "K = 2")
    refused(lambda: dp.frontier(table(), max_vertices=0), "max_vertices", "0")
    refused(lambda: dp.frontier(table(), gap=-1.0), "gap", "-1.0")


@pytest.mark.parametrize(
    "cap, words",
    [
        (-1, ("cap", "-1")),
        (1.5, ("cap", "1.5")),
        ([1, 1], ("cap", "(2,)")),
        ("a", ("cap",)),
        ([1, [1]], ("cap", "shape")),
    ],
    ids=str,
)
def test_caps(cap, words):
    refused(lambda: dp.capped(table(), cap), *words)


def test_caps_of_two_helps():
    refused(lambda: dp.capped(two_helps(), [1, -2]), "cap", "1", "-2")
    refused(lambda: dp.capped(table(), 1, -0.5), "cost", "-0.5")
    refused(lambda: dp.capped(table(), 1, np.nan), "cost", "nan")
    refused(lambda: dp.capped(table(), 1, [0.1, 0.2]), "cost")
    refused(lambda: dp.capped(table(), 1, 1e13), "cost", "1e+12")


def test_bootstraps():
    plan = dp.plan(table(), 0.1)
    refused(lambda: dp.bootstrap(table(), plan, level=1.5), "level", "1.5")
    refused(lambda: dp.bootstrap(table(), plan, level=0.0), "level", "0.0")
    refused(lambda: dp.bootstrap(table(), plan, level=1.0), "level", "1.0")
    refused(lambda: dp.bootstrap(two_helps(), plan), "plan", "1", "2")
    refused(lambda: dp.bootstrap(table(), plan, num_resamples=0), "num_resamples", "0")
    refused(lambda: dp.bootstrap(table(), plan, groups=[0, 1, 2]), "groups", "3", "2")
    one_task = table(start_weight=[1.0, 0.0])
    refused(lambda: dp.bootstrap(one_task, plan), "groups", "2", "weight", "1")


def test_priors():
    good = np.full((4, 2), 0.5)
    refused(lambda: table().with_prior(good, 1.0), "count")  # built from probabilities: no counts
    refused(lambda: table().with_prior(good, -1.0), "strength", "-1.0")
    refused(lambda: table().with_prior(good[:2], 1.0), "success", "(2, 2)", "(4, 2)")
    bad = good.copy()
    bad[0, 1] = 1.25
    refused(lambda: table().with_prior(bad, 1.0), "success", "0, 1", "1.25")
