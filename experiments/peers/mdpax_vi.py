"""mdpax (JAX): value iteration over padded successors.

A problem of mdpax is a function of a state, an action and a random event. Here the random event
is the position of a successor in its row, so every row is padded to the longest one. The cost
travels in the action vector, (action, cost): a constant of the problem would be compiled anew for
each cost.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from mdpax.core.problem import Problem as MdpaxProblem
from mdpax.solvers.value_iteration import ValueIteration

from experiments.peers.problem import ACCURACY, Problem

_BATCH = 8192


def value_iteration(problem: Problem) -> Callable[[float], np.ndarray]:
    """Builds and compiles once; a new cost replaces the action space and starts from V = 0."""
    with jax.enable_x64(True):
        table = _Table(problem)
        solver = ValueIteration(
            table,
            gamma=problem.discount,
            epsilon=ACCURACY,
            max_batch_size=_BATCH,
            jax_double_precision=False,  # it would switch x64 on for the whole process
            convergence_test="max_diff",
            verbose=0,
        )
        initial = jnp.zeros(table.n_states)

    @jax.enable_x64(True)
    def solve(cost: float) -> np.ndarray:
        table.set_cost(cost)
        solver.values, solver.iteration = initial, 0
        state = solver.solve(max_iterations=1_000_000)
        return np.asarray(state.values)[: problem.num_states]

    solve(0.0)
    return solve


class _Table(MdpaxProblem):
    """The closed problem, one random event a successor."""

    def __init__(self, problem: Problem):
        closed = problem.closed()
        degree = np.diff(closed.indptr)
        self._num_events = int(degree.max())
        shape = (problem.num_states + 1, problem.num_actions)
        filled = np.arange(self._num_events) < degree[:, None]
        successor = np.zeros(filled.shape, np.int32)
        successor[filled] = closed.indices
        prob = np.zeros(filled.shape)
        prob[filled] = closed.data
        self._successor = jnp.asarray(successor.reshape(*shape, -1))
        self._prob = jnp.asarray(prob.reshape(*shape, -1))
        exit_success = problem.exit_success.reshape(problem.num_states, problem.num_actions)
        self._exit_success = jnp.asarray(np.pad(exit_success, ((0, 1), (0, 0))))
        super().__init__()

    def set_cost(self, cost: float) -> None:
        action = np.arange(self._exit_success.shape[1], dtype=float)
        self._action_space = jnp.asarray(np.stack([action, cost * (action > 0)], axis=1))

    @property
    def name(self) -> str:
        return "table"

    def _construct_state_space(self):
        return jnp.arange(self._exit_success.shape[0], dtype=jnp.int32)[:, None]

    def _construct_action_space(self):
        self.set_cost(0.0)
        return self._action_space

    def _construct_random_event_space(self):
        return jnp.arange(self._num_events, dtype=jnp.int32)[:, None]

    def state_to_index(self, state):
        return state[0]

    def random_event_probability(self, state, action, random_event):
        return self._prob[state[0], action[0].astype(jnp.int32), random_event[0]]

    def transition(self, state, action, random_event):
        index = action[0].astype(jnp.int32)
        is_end = state[0] == self._exit_success.shape[0] - 1
        price = jnp.where(is_end, 0.0, action[1])
        reward = self._exit_success[state[0], index] - price
        return self._successor[state[0], index, random_event[0]][None], reward
