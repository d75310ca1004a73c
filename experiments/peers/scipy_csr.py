"""Value iteration as a few lines of numpy over a SciPy CSR matrix."""

from collections.abc import Callable

import numpy as np

from experiments.peers.problem import Problem


def value_iteration(problem: Problem) -> Callable[[float], np.ndarray]:
    """Sweeps over all states at once, one cost at a time; rows are sorted by action first."""
    num_states, num_actions = problem.num_states, problem.num_actions
    by_action = np.arange(num_states * num_actions).reshape(num_states, num_actions).T.ravel()
    discounted = problem.transition[by_action] * problem.discount

    def solve(cost: float) -> np.ndarray:
        reward = problem.reward(cost)[by_action]
        value = np.zeros(num_states)
        change = np.inf
        while change > problem.step_change():
            row_value = discounted @ value
            row_value += reward
            new_value = row_value.reshape(num_actions, num_states).max(axis=0)
            change = np.abs(new_value - value).max()
            value = new_value
        return value

    return solve
