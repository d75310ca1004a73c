"""A decision problem as the oracles see it, read from the arrays a user would give."""

import dataclasses

import numpy as np
import scipy.sparse as sp
from scipy.sparse import csgraph


@dataclasses.dataclass(frozen=True)
class Problem:
    """Rows are the offered (state, action) pairs, sorted; L of them. S states (ids include the
    terminals), K helps.

    A state without rows (terminal, or an end that failed) is worth nothing to stand on: the success
    mass was paid on the way in, in `win`.
    """

    row_state: np.ndarray  # [L] int
    row_action: np.ndarray  # [L] int
    move: sp.csr_matrix  # [L, S] probability of going on in a state that has rows
    win: np.ndarray  # [L] probability of entering a success terminal
    start: np.ndarray  # [S] distribution of the first state
    num_states: int
    num_actions: int

    @property
    def num_helps(self) -> int:
        return self.num_actions - 1

    @property
    def num_rows(self) -> int:
        return self.row_state.size

    @property
    def alive(self) -> np.ndarray:
        """[S] bool: the states that have rows."""
        alive = np.zeros(self.num_states, bool)
        alive[self.row_state] = True
        return alive

    @property
    def calls(self) -> np.ndarray:
        """[L, K] one where the row calls help k."""
        return (self.row_action[:, None] == np.arange(1, self.num_actions)).astype(float)

    @classmethod
    def of(
        cls,
        state,
        action,
        next_state,
        prob,
        *,
        num_states,
        num_actions,
        success,
        failure,
        start,
        start_weight=None,
    ) -> "Problem":
        state, action, next_state = (np.asarray(x, np.int64) for x in (state, action, next_state))
        prob = np.asarray(prob, np.float64)
        ends = np.zeros(num_states, bool)
        ends[np.atleast_1d(failure)] = True
        wins = np.zeros(num_states, bool)
        wins[np.atleast_1d(success)] = True
        key, row = np.unique(state * num_actions + action, return_inverse=True)
        alive = np.zeros(num_states, bool)
        alive[state] = True
        assert not (alive & (ends | wins)).any(), "a terminal with rows"
        shape = (key.size, num_states)
        full = sp.coo_matrix((prob, (row, next_state)), shape=shape).tocsr()
        np.testing.assert_allclose(np.asarray(full.sum(axis=1)).ravel(), 1.0, atol=1e-9)
        move = (full @ sp.diags(alive.astype(float))).tocsr()
        move.eliminate_zeros()
        start = np.atleast_1d(np.asarray(start, np.int64))
        weight = (
            np.ones(start.size) if start_weight is None else np.asarray(start_weight, np.float64)
        )
        first = np.zeros(num_states)
        np.add.at(first, start, weight / weight.sum())
        return cls(
            row_state=key // num_actions,
            row_action=key % num_actions,
            move=move,
            win=full @ wins.astype(float),
            start=first,
            num_states=num_states,
            num_actions=num_actions,
        )

    def under(self, policy: np.ndarray) -> "Problem":
        """The chain of one policy [S]: the same problem with one row a state."""
        keep = np.asarray(policy)[self.row_state] == self.row_action
        return dataclasses.replace(
            self,
            row_state=self.row_state[keep],
            row_action=self.row_action[keep],
            move=self.move[keep],
            win=self.win[keep],
        )

    def dense(self):
        """`(move [S, A, S], win [S, A], available [S, A])`; zeros where it is not offered."""
        shape = (self.num_states, self.num_actions)
        move = np.zeros((*shape, self.num_states))
        win = np.zeros(shape)
        available = np.zeros(shape, bool)
        at = (self.row_state, self.row_action)
        move[at] = self.move.toarray()
        win[at] = self.win
        available[at] = True
        return move, win, available

    def free_loops(self) -> np.ndarray:
        """[S] bool: states where nohelp alone goes round for ever, that is, the closed recurrent
        classes of the nohelp chain.
        """
        rows = np.flatnonzero(self.row_action == 0)
        offered = np.zeros(self.num_states, bool)
        offered[self.row_state[rows]] = True
        chain = sp.coo_matrix(self.move[rows])
        source, target = self.row_state[rows][chain.row], chain.col
        graph = sp.coo_matrix((chain.data, (source, target)), shape=(self.num_states,) * 2)
        _, component = csgraph.connected_components(graph, directed=True, connection="strong")
        leaves = ~offered
        stays = np.zeros(self.num_states)
        np.add.at(stays, source, chain.data)
        leaves |= stays < 1.0 - 1e-9
        leaves[source[component[source] != component[target]]] = True
        open_component = np.zeros(component.max() + 1, bool)
        open_component[component[leaves]] = True
        return ~open_component[component]
