"""Tables by hand that all share one compilation (see `tests.oracles.tables.thin`), and sweeps
likewise.
"""

import dataclasses

import numpy as np

from core import dp
from core.transitions import TransitionTable
from tests.oracles import tables
from tests.oracles.tables import FAIL, WIN

__all__ = ["FAIL", "NUM_COSTS", "WIN", "build", "check", "load", "sweep"]

NUM_COSTS = 4


def build(entries, num_states, num_helps=1, **rest) -> TransitionTable:
    """Entries (s, a, t, p), t also WIN or FAIL; success has id num_states, failure the next."""
    return load(tables.thin(entries, num_states, num_helps, **rest))


def load(table: dict) -> TransitionTable:
    """A thin table, padded; its states keep their ids."""
    return TransitionTable.from_arrays(**tables.padded(table))


def sweep(table, costs, **kwargs) -> dp.Solution:
    """`dp.sweep` of at most four costs, repeated to exactly four and cut again."""
    costs = np.asarray(costs, float)
    count = len(costs)
    solution = dp.sweep(table, costs[np.minimum(np.arange(NUM_COSTS), count - 1)], **kwargs)
    cut = {
        field.name: getattr(solution, field.name)[:count] for field in dataclasses.fields(solution)
    }
    for name in ("policy", "success", "usage"):
        cut[name] = getattr(solution, name)[:, :count]
    return dp.Solution(**cut)


def check(table, solution, atol=1e-7):
    """The policy really has the success and the usage that the solution claims."""
    columns = np.minimum(np.arange(NUM_COSTS), solution.policy.shape[1] - 1)
    found = dp.evaluate(table, solution.policy[:, columns])
    count = solution.policy.shape[1]
    np.testing.assert_allclose(found.success[:, :count], solution.success, atol=atol)
    np.testing.assert_allclose(found.usage[:, :count], solution.usage, atol=atol)
