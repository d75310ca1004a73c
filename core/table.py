"""Transition tables: what each action does in each state, checked once and packed for sweeps."""

import dataclasses
from typing import Any

import jax
import numpy as np

from core import checks
from core import coverage as coverage_lib
from core import layout as layout_lib

_ROW_SUM_TOLERANCE = 1e-9
MAX_ACTIONS = 32  # a bit each in `core.bellman.mask_type`


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TransitionTable:
    """P(s' | s, a) of a helped agent: S states, A = K + 1 actions, E entries, G start states.

    Action 0 is nohelp, actions 1..K are the helps. Entries lie in compressed rows, row s * A + a,
    sorted by successor. Terminal states have no rows; the mass that ends in success at once is
    `exit_success`, mass that is missing from a row ends in failure. A state that is not terminal
    and has no rows is an end that failed. Arrays are read-only: `layout` holds the same numbers
    once more.

    Attributes:
      indptr: [S * A + 1] int64, where each row's entries begin.
      successor: [E] int32.
      prob: [E] float64, P(successor | state, action).
      exit_success: [S, A] float64.
      available: [S, A] bool, the actions on offer.
      count: [S, A] float64, how often each action was observed; NaN where only P is known.
      start: [G] int32, states in which an episode may begin.
      start_weight: [G] float64, their probabilities.
      terminal: [S] int8, 1 for success, 2 for failure, 0 for every other state.
      layout: the same entries in tiles (`core.layout`).
    """

    indptr: np.ndarray
    successor: np.ndarray
    prob: np.ndarray
    exit_success: np.ndarray
    available: np.ndarray
    count: np.ndarray
    start: np.ndarray
    start_weight: np.ndarray
    terminal: np.ndarray
    layout: layout_lib.Layout

    @property
    def num_states(self) -> int:
        """S, terminals included."""
        return self.available.shape[0]

    @property
    def num_actions(self) -> int:
        """A = K + 1."""
        return self.available.shape[1]

    @property
    def num_helps(self) -> int:
        """K."""
        return self.num_actions - 1

    @property
    def entry_row(self) -> np.ndarray:
        """[E] the row s * A + a of each entry."""
        return np.repeat(np.arange(self.indptr.size - 1), np.diff(self.indptr))

    @classmethod
    def from_arrays(
        cls,
        state: np.ndarray,
        action: np.ndarray,
        next_state: np.ndarray,
        prob: np.ndarray,
        *,
        num_states: int,
        num_actions: int,
        success: Any,
        failure: Any,
        start: Any,
        start_weight: Any = None,
    ) -> "TransitionTable":
        """A table from its entries, in any order.

        Args:
          state: [E] int, ids in 0..num_states-1; never a terminal.
          action: [E] int, 0 = nohelp, 1..num_actions-1 = helps.
          next_state: [E] int, terminals included.
          prob: [E] float, P(next_state | state, action); each row sums to one within 1e-9.
          num_states: S, terminals included.
          num_actions: A = K + 1, from 2 to 32.
          success: id or ids of the terminals that count as success.
          failure: id or ids of the terminals that count as failure.
          start: id or ids of the states an episode may begin in.
          start_weight: [G] non-negative; only the proportions matter. Uniform if None.

        Raises:
          ValueError: naming the argument and its first offending element, for anything else.
        """
        num_states = checks.whole("num_states", num_states, 1, np.iinfo(np.int32).max)
        num_actions = checks.whole("num_actions", num_actions, 2, MAX_ACTIONS)
        state = checks.ids("state", state, num_states)
        action = checks.ids("action", action, num_actions)
        next_state = checks.ids("next_state", next_state, num_states)
        prob = checks.non_negative("prob", prob)
        if state.size == 0:
            raise ValueError("state is empty: a table needs at least one entry.")
        for name, array in (("action", action), ("next_state", next_state), ("prob", prob)):
            if array.shape != state.shape:
                raise ValueError(
                    f"{name} must have the shape of state, {state.shape}, got {array.shape}."
                )
        terminal = np.zeros(num_states, np.int8)
        for name, ids, code in (("success", success, 1), ("failure", failure, 2)):
            ids = checks.ids(name, np.atleast_1d(checks.as_array(name, ids)), num_states)
            both = np.flatnonzero(terminal[ids] == 1) if code == 2 else ids[:0]
            if both.size:
                raise ValueError(f"failure[{both[0]}] = {ids[both[0]]} is also in success.")
            terminal[ids] = code
        bad = np.flatnonzero(terminal[state] > 0)
        if bad.size:
            raise ValueError(
                f"state[{bad[0]}] = {state[bad[0]]} is terminal: terminals must not have rows."
            )
        key = (state.astype(np.int64) * num_actions + action) * num_states + next_state
        order = np.argsort(key, kind="stable")
        twice = np.flatnonzero(np.diff(key[order]) == 0)
        if twice.size:
            i, j = sorted(order[twice[0] : twice[0] + 2])
            raise ValueError(
                f"entries {i} and {j} are duplicates: (state, action, next_state) = "
                f"({state[j]}, {action[j]}, {next_state[j]}) must occur once."
            )
        row = state.astype(np.int64) * num_actions + action
        total = np.bincount(row, prob, num_states * num_actions)
        offered = np.bincount(row, minlength=num_states * num_actions) > 0
        bad = np.flatnonzero(offered & (np.abs(total - 1.0) > _ROW_SUM_TOLERANCE))
        if bad.size:
            s, a = divmod(int(bad[0]), num_actions)
            raise ValueError(
                f"prob of the row (state {s}, action {a}) sums to {float(total[bad[0]])!r}, "
                f"expected 1 within {_ROW_SUM_TOLERANCE:g}."
            )
        succeeds = terminal[next_state] == 1
        stays = (terminal[next_state] == 0) & (prob > 0)
        return build_table(
            num_states=num_states,
            num_actions=num_actions,
            state=state[stays],
            action=action[stays],
            successor=next_state[stays],
            prob=prob[stays],
            exit_success=np.bincount(row[succeeds], prob[succeeds], offered.size).reshape(
                num_states, num_actions
            ),
            available=offered.reshape(num_states, num_actions),
            count=np.full((num_states, num_actions), np.nan),
            start=start,
            start_weight=start_weight,
            terminal=terminal,
        )

    def with_prior(self, success: np.ndarray, strength: float) -> "TransitionTable":
        """The table in which a process reward model speaks where observations are few.

        With n = count[s, a] and kappa = strength, the mass kappa / (n + kappa) leaves the table at
        once, worth success[s, a]:

          P'(s' | s, a) = n / (n + kappa) P(s' | s, a)
          exit_success'[s, a] = (n exit_success[s, a] + kappa success[s, a]) / (n + kappa)

        Every action of every state that is not terminal becomes available. Counts stay as they are;
        strength 0 returns the table itself.

        Args:
          success: [S, A] p_a(s), the estimate of success after action a in state s; in [0, 1].
          strength: kappa >= 0, in observations.

        Raises:
          ValueError: for shapes, ranges, or a table whose counts are not known.
        """
        success = checks.numbers("success", success)
        shape = (self.num_states, self.num_actions)
        if success.shape != shape:
            raise ValueError(f"success must have shape [S, A] = {shape}, got {success.shape}.")
        checks.first("success", success, ~((success >= 0) & (success <= 1)), "a number in [0, 1]")
        strength = checks.in_range("strength", strength, 0.0, np.finfo(np.float64).max)
        if np.isnan(self.count).any():
            raise ValueError(
                "strength needs observed counts, but count is NaN: the table was built from "
                "probabilities. Build it with TransitionCounts.table."
            )
        if strength == 0:
            return self
        kept = self.count / (self.count + strength)
        alive = (self.terminal == 0)[:, None]
        row = self.entry_row
        return build_table(
            num_states=self.num_states,
            num_actions=self.num_actions,
            state=row // self.num_actions,
            action=row % self.num_actions,
            successor=self.successor,
            prob=self.prob * kept.reshape(-1)[row],
            exit_success=np.where(alive, kept * self.exit_success + (1 - kept) * success, 0.0),
            available=np.broadcast_to(alive, shape),
            count=self.count,
            start=self.start,
            start_weight=self.start_weight,
            terminal=self.terminal,
        )

    def coverage(self, *, top: int = 10):
        """What was tried how often, see `core.coverage.coverage`."""
        return coverage_lib.coverage(self, top=top)


def build_table(
    *,
    num_states: int,
    num_actions: int,
    state: np.ndarray,
    action: np.ndarray,
    successor: np.ndarray,
    prob: np.ndarray,
    exit_success: np.ndarray,
    available: np.ndarray,
    count: np.ndarray,
    start: Any,
    start_weight: Any = None,
    terminal: np.ndarray | None = None,
) -> TransitionTable:
    """A table from entries that are known to be good; only the start states are checked.

    `exit_success`, `available`, `count` and `terminal` become the table's own, and read-only.

    Args:
      state, action, successor, prob: [E] entries between states of the table, in any order and
        without duplicates. Mass missing from a row ends at once, in success as `exit_success` says.
      exit_success, available, count: [S, A], see `TransitionTable`.
      start, start_weight, terminal: see `TransitionTable.from_arrays`; no terminals if None.
    """
    terminal = np.zeros(num_states, np.int8) if terminal is None else terminal
    start = checks.ids("start", np.atleast_1d(checks.as_array("start", start)), num_states)
    if start.size == 0:
        raise ValueError("start is empty: a table needs at least one start state.")
    bad = np.flatnonzero(terminal[start] > 0)
    if bad.size:
        raise ValueError(f"start[{bad[0]}] = {start[bad[0]]} is terminal.")
    row = np.asarray(state, np.int64) * num_actions + action
    order = np.lexsort((successor, row))
    indptr = np.zeros(num_states * num_actions + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=num_states * num_actions), out=indptr[1:])
    arrays = dict(
        indptr=indptr,
        successor=np.asarray(successor, np.int32)[order],
        prob=np.asarray(prob, np.float64)[order],
        exit_success=np.asarray(exit_success, np.float64),
        available=np.asarray(available, bool),
        start=start.astype(np.int32),
    )
    table = TransitionTable(
        **arrays,
        count=np.asarray(count, np.float64),
        start_weight=_check_weight(start_weight, start),
        terminal=terminal,
        layout=layout_lib.pack(num_actions=num_actions, **arrays),
    )
    for array in jax.tree.leaves(table):
        array.setflags(write=False)
    return table


def _check_weight(start_weight: Any, start: np.ndarray) -> np.ndarray:
    if start_weight is None:
        return np.full(start.size, 1.0 / start.size)
    weight = np.atleast_1d(checks.non_negative("start_weight", start_weight))
    if weight.shape != start.shape:
        raise ValueError(
            f"start_weight must have the shape of start, {start.shape}, got {weight.shape}."
        )
    with np.errstate(over="ignore"):
        total = weight.sum()
    if not 0 < total < np.inf:
        raise ValueError(f"start_weight sums to {total:g}, expected a positive, finite sum.")
    return weight / total
