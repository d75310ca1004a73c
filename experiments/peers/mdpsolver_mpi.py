"""MDPSolver (C++): modified policy iteration with Gauss-Seidel updates."""

from collections.abc import Callable

import mdpsolver
import numpy as np

from experiments.peers.problem import ACCURACY, Problem

# Four times faster here than the default of 100.
_EVALUATION_SWEEPS = 5


def modified_policy_iteration(problem: Problem) -> Callable[[float], np.ndarray]:
    """Keeps the nested lists it wants; it has no way to change the rewards of a model alone."""
    num_states, num_actions = problem.num_states, problem.num_actions
    closed = problem.closed()
    prob = _nested(closed.data, closed.indptr, num_actions)
    column = _nested(closed.indices, closed.indptr, num_actions)

    def solve(cost: float) -> np.ndarray:
        reward = problem.reward(cost).reshape(num_states, num_actions).tolist()
        model = mdpsolver.model()
        model.mdp(
            discount=problem.discount,
            rewards=[*reward, [0.0] * num_actions],
            tranMatProbs=prob,
            tranMatColumns=column,
        )
        model.solve(
            algorithm="mpi",
            update="gs",
            parIterLim=_EVALUATION_SWEEPS,
            tolerance=ACCURACY,
            parallel=False,
        )
        return np.asarray(model.getValueVector())[:num_states]

    return solve


def _nested(values: np.ndarray, indptr: np.ndarray, num_actions: int) -> list[list[list]]:
    """CSR entries as [state][action][entry] lists."""
    flat = values.tolist()
    bounds = indptr.tolist()
    rows = [flat[begin:end] for begin, end in zip(bounds[:-1], bounds[1:], strict=True)]
    return [rows[first : first + num_actions] for first in range(0, len(rows), num_actions)]
