"""What every peer is given: the table without its terminals.

    V(s) = max_a  reward(s, a) + gamma * sum_s' P(s'|s, a) V(s'),
    reward(s, a) = exit_success(s, a) - cost * [a > 0].

A terminal is not a state, so the mass of a row that ends is simply missing from P. Solvers that
insist on rows that sum to one get `closed`, which sends that mass to one more state worth nothing.
"""

import dataclasses

import numpy as np
import scipy.sparse

from experiments.instances import Instance

ACCURACY = 1e-8


@dataclasses.dataclass(frozen=True)
class Problem:
    """Rows are (state, action) pairs, row = state * num_actions + action; all of them exist.

    Attributes:
      transition: [S * A, S] CSR, P(s'|s, a), self-loops included, terminals left out.
      exit_success: [S * A], mass that ends in success at once.
      num_states: S, terminals not counted.
      num_actions: A; action 0 is nohelp.
      discount: gamma < 1.
      start: [G] states.
      start_weight: [G], sums to one.
    """

    transition: scipy.sparse.csr_matrix
    exit_success: np.ndarray
    num_states: int
    num_actions: int
    discount: float
    start: np.ndarray
    start_weight: np.ndarray

    def is_help(self) -> np.ndarray:
        """Whether a row calls for help, [S * A] bool."""
        return np.tile(np.arange(self.num_actions) > 0, self.num_states)

    def reward(self, cost: float) -> np.ndarray:
        """The reward of every row, [S * A], when one call of any help costs `cost`."""
        return self.exit_success - cost * self.is_help()

    def at_start(self, value: np.ndarray) -> np.ndarray:
        """The expected value of an episode, [S] -> [] or [S, R] -> [R]."""
        return self.start_weight @ value[self.start]

    def step_change(self) -> float:
        """The change of V in one sweep below which V is within ACCURACY of the fixed point.

        A gamma-contraction T has |T V - V*| <= gamma / (1 - gamma) * |T V - V|.
        """
        return ACCURACY * (1.0 - self.discount) / self.discount

    def closed(self) -> scipy.sparse.csr_matrix:
        """P with one more state, the last, that every ending leads to: [(S + 1) * A, S + 1]."""
        # Rounding leaves -1e-16 in rows that never end, which some solvers refuse.
        ending = np.maximum(1.0 - np.asarray(self.transition.sum(axis=1)).ravel(), 0.0)
        last = scipy.sparse.csr_matrix(np.append(ending, np.ones(self.num_actions))[:, None])
        shape = (last.shape[0], self.num_states)
        inner = self.transition.copy()
        inner.resize(shape)
        return scipy.sparse.hstack([inner, last], format="csr")


def from_instance(instance: Instance) -> Problem:
    """The problem of an instance whose terminals are its last two states."""
    num_states, num_actions = instance.num_states - 2, instance.num_actions
    row = instance.state * num_actions + instance.action
    num_rows = num_states * num_actions
    missing = np.flatnonzero(np.bincount(row, minlength=num_rows) == 0)
    if missing.size:
        state, action = divmod(int(missing[0]), num_actions)
        raise ValueError(f"every state needs every action; state {state} lacks action {action}.")
    inner = instance.next_state < num_states
    success = instance.next_state == instance.success
    transition = scipy.sparse.csr_matrix(
        (instance.prob[inner], (row[inner], instance.next_state[inner])),
        shape=(num_rows, num_states),
    )
    transition.sort_indices()
    return Problem(
        transition=transition,
        exit_success=np.bincount(row[success], instance.prob[success], num_rows),
        num_states=num_states,
        num_actions=num_actions,
        discount=instance.discount,
        start=instance.start,
        start_weight=instance.start_weight,
    )
