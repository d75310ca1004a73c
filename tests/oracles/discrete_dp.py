"""QuantEcon's DiscreteDP in state-action pair form; discounts below one only."""

import numpy as np
import scipy.sparse as sp

from tests.oracles.problem import Problem


def solve(problem: Problem, cost, *, discount: float) -> tuple[np.ndarray, np.ndarray]:
    """`(value [S], action [S])` by policy iteration. Everything that ends moves to one more state
    that pays nothing for ever.
    """
    from quantecon.markov import DiscreteDP

    assert discount < 1.0
    ends = np.flatnonzero(~problem.alive)
    sink = problem.num_states
    rows = problem.num_rows
    leave = sp.csr_matrix(np.maximum(1.0 - problem.move.sum(axis=1), 0.0))
    stay = sp.csr_matrix(
        (np.ones(ends.size + 1), (np.arange(ends.size + 1), np.full(ends.size + 1, sink))),
        shape=(ends.size + 1, sink + 1),
    )
    chain = sp.vstack([sp.hstack([problem.move, leave]), stay]).tocsr()
    reward = np.concatenate(
        [problem.win - problem.calls @ np.atleast_1d(cost), np.zeros(ends.size + 1)]
    )
    states = np.concatenate([problem.row_state, ends, [sink]])
    actions = np.concatenate([problem.row_action, np.zeros(ends.size + 1, int)])
    order = np.lexsort((actions, states))
    assert rows + ends.size + 1 == order.size
    result = DiscreteDP(reward[order], chain[order], discount, states[order], actions[order]).solve(
        method="policy_iteration"
    )
    return result.v[:sink], result.sigma[:sink]
