"""What the whole of `core.dp` answered on two small tables, kept in files.

An oracle tells whether an answer is right; these tell whether it has changed. Policies are not
compared, only what they reach: where actions tie to the last digits, either may be taken.

To accept a change, after looking at it: python tests/core/test_golden.py
"""

import dataclasses
import pathlib

import numpy as np
import pytest

from core import dp
from experiments import instances

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "data" / "core"
COSTS = np.array([0.0, 0.01, 0.05, 0.2, 0.6])


def one_help():
    """Everything there is for K = 1, on a layered table."""
    instance = instances.layered(150, seed=3)
    table = dp.TransitionTable.from_arrays(**instance.table_arguments())
    yield from common(table, COSTS, instance.discount, budget=0.7)
    frontier = dp.frontier(table, discount=instance.discount)
    yield "frontier.cost", frontier.cost[1:]
    yield "frontier.usage", frontier.usage
    yield "frontier.success", frontier.success
    capped = dp.capped(table, 3, 0.01, discount=instance.discount)
    yield "capped.success", capped.success
    yield "capped.usage", capped.usage
    counted = dataclasses.replace(table, count=np.where(table.available, 3.0, 0.0))
    prior = counted.with_prior(np.full(table.available.shape, 0.3), 2.0)
    solved = dp.sweep(prior, COSTS, discount=instance.discount, tolerance=1e-10)
    yield "prior.expected_success", solved.expected_success
    yield "prior.expected_usage", solved.expected_usage


def two_helps():
    """What differs for K = 2, on a random table."""
    instance = instances.layered(120, seed=5, num_helps=2)
    table = dp.TransitionTable.from_arrays(**instance.table_arguments())
    costs = np.stack([COSTS, COSTS[::-1] / 2], axis=1)
    yield from common(table, costs, instance.discount, budget=[0.4, 0.3])
    capped = dp.capped(table, [1, 2], [0.01, 0.02], discount=instance.discount)
    yield "capped.success", capped.success


def common(table, costs, discount, budget):
    solved = dp.sweep(table, costs, discount=discount, tolerance=1e-10)
    yield "sweep.success", solved.success
    yield "sweep.usage", solved.usage
    yield "sweep.expected_success", solved.expected_success
    values = dp.action_values(table, solved.policy[:, 2], discount=discount)
    yield "action_values.advantage", values.advantage(costs[2])
    plan = dp.plan(table, budget, discount=discount)
    yield "plan.expected_success", np.array(plan.expected_success)
    yield "plan.expected_usage", plan.expected_usage
    yield "plan.upper_bound", np.array(plan.upper_bound)
    p = np.linspace(0.1, 0.9, table.available.size).reshape(table.available.shape)
    paper = dp.sweep(table, costs, discount=discount, rule="paper", action_success=p)
    yield "paper.expected_success", paper.expected_success
    yield "paper.expected_usage", paper.expected_usage
    yield "paper.period", paper.period
    drawn = dp.bootstrap(table, plan, num_resamples=50, seed=1, discount=discount)
    yield "bootstrap.success_interval", drawn.success_interval


CASES = {"one_help": one_help, "two_helps": two_helps}


@pytest.mark.parametrize("name", CASES)
def test_answers_are_those_in_the_golden_file(name):
    with np.load(FOLDER / f"{name}.npz") as golden:
        found = dict(CASES[name]())
        assert sorted(found) == sorted(golden.files)
        for key, value in found.items():
            # The plan is found to a gap of 1e-7; all else to 1e-9 or better.
            tolerance = 3e-7 if key.startswith(("plan", "bootstrap")) else 1e-8
            np.testing.assert_allclose(value, golden[key], rtol=0, atol=tolerance, err_msg=key)


if __name__ == "__main__":
    for name, case in CASES.items():
        np.savez_compressed(FOLDER / f"{name}.npz", **dict(case()))
