"""QuantEcon.py's DiscreteDP: state-action pairs, sparse, modified policy iteration."""

from collections.abc import Callable

import numpy as np
from quantecon.markov import DiscreteDP

from experiments.peers.problem import ACCURACY, Problem


def modified_policy_iteration(problem: Problem) -> Callable[[float], np.ndarray]:
    """Builds the model once; a new cost replaces its rewards.

    It starts from V = 0, which one Bellman update can only raise, as the method asks; its own
    default, the worst reward for ever, takes longer. The stopping rule needs rows that sum to one.
    """
    num_states, num_actions = problem.num_states, problem.num_actions
    state = np.repeat(np.arange(num_states + 1), num_actions)
    action = np.tile(np.arange(num_actions), num_states + 1)
    program = DiscreteDP(np.zeros(state.size), problem.closed(), problem.discount, state, action)
    initial = np.zeros(num_states + 1)
    nothing = np.zeros(num_actions)

    def solve(cost: float) -> np.ndarray:
        program.R = np.append(problem.reward(cost), nothing)
        solution = program.solve(
            "modified_policy_iteration", v_init=initial, epsilon=ACCURACY, max_iter=100_000
        )
        return solution.v[:num_states]

    return solve
