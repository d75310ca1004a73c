"""pymdptoolbox: value iteration on one sparse matrix an action. For small tables only.

Its other solvers make the matrix of a policy dense. Even here the constructor reads every column
of every matrix for a bound on the sweeps; that bound is replaced, for it can stop too early.
"""

from collections.abc import Callable

import numpy as np
from mdptoolbox import mdp

from experiments.peers.problem import ACCURACY, Problem


def value_iteration(problem: Problem) -> Callable[[float], np.ndarray]:
    """Builds the model once; a new cost replaces its rewards and starts again from V = 0."""
    num_states, num_actions = problem.num_states, problem.num_actions
    closed = problem.closed()
    matrices = [closed[action::num_actions] for action in range(num_actions)]
    solver = mdp.ValueIteration(
        matrices,
        _rewards(problem, cost=0.0),
        problem.discount,
        epsilon=ACCURACY,
    )
    solver.max_iter = 1_000_000

    def solve(cost: float) -> np.ndarray:
        solver.R = tuple(_rewards(problem, cost).T)
        solver.V = np.zeros(num_states + 1)
        solver.iter = 0
        solver.run()
        return np.asarray(solver.V)[:num_states]

    return solve


def _rewards(problem: Problem, cost: float) -> np.ndarray:
    """[S + 1, A]; the state that every ending leads to earns nothing."""
    reward = problem.reward(cost).reshape(problem.num_states, problem.num_actions)
    return np.pad(reward, ((0, 1), (0, 0)))
