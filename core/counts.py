"""How often each action, taken in each state, led where.

Every step of every transcript is one (state, action, next state). `TransitionCounts` adds them up
in any order, from any number of workers, and hands them on as a TransitionTable:

    P(s'|s,a) = n(s,a,s') / n(s,a)      exit_success(s,a) = n(s,a,SUCCESS) / n(s,a)

where n(s,a) counts every step, also those that end the episode. What ends in failure or is
truncated leaves the table without success. An action never taken in a state is not offered there.
"""

import os
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from core import archive, checks
from core.table import MAX_ACTIONS, TransitionTable, build_table

# In place of a next state: how the episode ended. Not -1, which `StateIndex.lookup` gives for a key
# it does not know, nor -2 and -3, which once were the codes of other ends.
SUCCESS = -4
FAILURE = -5
TRUNCATED = -6  # out of steps; as good as a failure, but counted apart

_MAX_ROWS = 2**31 - 4  # pairs (state, action), so that rows and columns below are int32
_MAX_STEPS = 2**53  # the largest count that float64, which tables use, holds exactly
_ENTRY_BYTES = 16  # of an entry of _Steps
_MIN_PENDING = 2**20  # entries that may wait unsorted however small the table is

_KIND, _VERSION = "transition-counts", 1
_SHIFT_IN_FILES = 3  # of the ends, which files hold as -1, -2 and -3
_FIELDS = {
    "num_actions": archive.Field(np.int64, 0),
    "state": archive.Field(np.int32, 1),
    "action": archive.Field(np.int32, 1),
    "next_state": archive.Field(np.int32, 1),
    "n": archive.Field(np.int64, 1),
}


class Entries(NamedTuple):
    """What was counted, [E] each, sorted by (state, action, next_state) and without repeats."""

    state: np.ndarray  # int32
    action: np.ndarray  # int32
    next_state: np.ndarray  # int32, or SUCCESS, FAILURE, TRUNCATED
    n: np.ndarray  # int64, at least 1


class Outcomes(NamedTuple):
    """How many of the counted steps ended an episode, by its end."""

    success: int
    failure: int
    truncated: int


class TransitionCounts:
    """Counts of (state, action, next state); the order of adding leaves no trace.

    What is added waits in a buffer and is sorted into the counts when the buffer has outgrown
    them, so memory stays within a constant times the number of distinct entries (plus 16 MB),
    however many steps are added. Sorting takes some bytes for every pair (state, action) too, so
    states should be numbered densely, as by `StateIndex`. A call that raises changes nothing.

    Example:
      >>> counts = TransitionCounts(num_actions=2)
      >>> counts.add([0, 0, 1], [0, 1, 0], [1, SUCCESS, FAILURE])
      >>> counts.table(start=[0]).exit_success
      array([[0., 1.],
             [0., 0.]])
    """

    def __init__(self, num_actions: int):
        """Makes empty counts.

        Args:
          num_actions: A = K + 1, from 2 to 32: action 0 is nohelp, actions 1..K are the helps.

        Raises:
          ValueError: `num_actions` is no integer or out of range.
        """
        self._num_actions = int(_integers("num_actions", num_actions, 2, MAX_ACTIONS))
        self._max_states = _MAX_ROWS // self._num_actions
        self._num_states = 0
        self._num_steps = 0
        self._counted = _Steps(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int64))
        self._pending: list[_Steps] = []
        self._num_pending = 0

    @property
    def num_actions(self) -> int:
        """A, the number of actions."""
        return self._num_actions

    @property
    def num_states(self) -> int:
        """One more than the largest state seen."""
        return self._num_states

    @property
    def num_steps(self) -> int:
        """The sum of all counts."""
        return self._num_steps

    @property
    def nbytes(self) -> int:
        """Bytes held, counting what waits in the buffer."""
        return (len(self._counted.n) + self._num_pending) * _ENTRY_BYTES

    def add(
        self, state: ArrayLike, action: ArrayLike, next_state: ArrayLike, n: ArrayLike = 1
    ) -> None:
        """Counts `n` steps from `state` by `action` to `next_state`.

        Each argument is [N] integers, or one integer that goes with all of the others.

        Args:
          state: from 0.
          action: from 0 to A - 1.
          next_state: from 0, or SUCCESS, FAILURE or TRUNCATED where the step ended the episode.
          n: from 1.

        Raises:
          ValueError: a value is no integer or out of range, lengths differ, or the counts would
            overflow.
        """
        arrays = {
            "state": _integers("state", state, 0, self._max_states - 1),
            "action": _integers("action", action, 0, self._num_actions - 1),
            "next_state": _integers("next_state", next_state, TRUNCATED, self._max_states - 1),
            "n": _integers("n", n, 1, _MAX_STEPS),
        }
        length = _common_length(arrays)
        reached = np.atleast_1d(arrays["next_state"])
        unknown = np.flatnonzero((reached > SUCCESS) & (reached < 0))
        if unknown.size:
            where = f"[{unknown[0]}]" if arrays["next_state"].ndim else ""
            raise ValueError(
                f"next_state{where} is {reached[unknown[0]]}, neither a state nor an end: expected "
                "0 or more, SUCCESS, FAILURE or TRUNCATED"
            )
        if not length:
            return
        state, action, next_state, n = arrays.values()
        steps = _Steps(
            row=np.full(length, state * self._num_actions + action, np.int32),
            column=np.full(length, next_state - TRUNCATED, np.int32),
            n=np.full(length, n, np.int64),
        )
        num_states = 1 + max(int(state.max()), int(next_state.max()))
        self._add("n", steps, num_states, _exact_sum(steps.n))

    def merge(self, other: "TransitionCounts") -> None:
        """Adds all that `other` counted; `other` stays as it is.

        Its states must have the same meaning as here: see `remap`.

        Raises:
          TypeError: `other` is no TransitionCounts.
          ValueError: `other` has another number of actions, or the counts would overflow.
        """
        if not isinstance(other, TransitionCounts):
            raise TypeError(f"other is {type(other).__name__}, expected TransitionCounts")
        if other.num_actions != self._num_actions:
            raise ValueError(
                f"other has {other.num_actions} actions, expected {self._num_actions} as here"
            )
        self._add("other", other._settle(), other._num_states, other._num_steps)

    def remap(self, new_ids: ArrayLike) -> "TransitionCounts":
        """Returns the same counts with state i called new_ids[i].

        Args:
          new_ids: [at least num_states] integers from 0, each at most once; for example what
            `StateIndex.merge` returns.

        Raises:
          ValueError: `new_ids` is too short, or has a value that is no integer, out of range, or
            there twice.
        """
        new_ids = _integers("new_ids", new_ids, 0, self._max_states - 1)
        if new_ids.ndim != 1 or len(new_ids) < self._num_states:
            raise ValueError(
                f"new_ids has shape {list(new_ids.shape)}, expected [{self._num_states}] or longer"
            )
        order = np.argsort(new_ids, kind="stable")
        repeats = order[1:][np.diff(new_ids[order]) == 0]
        if repeats.size:
            at = repeats.min()
            raise ValueError(f"new_ids[{at}] is {new_ids[at]} once more, expected each only once")
        state, action, next_state, n = self.entries()
        moved = np.where(next_state < 0, next_state, new_ids[np.maximum(next_state, 0)])
        result = TransitionCounts(self._num_actions)
        result.add(new_ids[state], action, moved, n)
        return result

    def entries(self) -> Entries:
        """Returns what was counted, sorted and without repeats."""
        row, column, n = self._settle()
        state, action = np.divmod(row, np.int32(self._num_actions))
        return Entries(state, action, column + np.int32(TRUNCATED), n.copy())

    def outcomes(self) -> Outcomes:
        """Returns how many steps ended in success, in failure, and truncated."""
        _, _, next_state, n = self.entries()
        ends = (SUCCESS, FAILURE, TRUNCATED)
        return Outcomes(*(int(n[next_state == end].sum()) for end in ends))

    def table(
        self,
        start: ArrayLike,
        start_weight: ArrayLike | None = None,
        *,
        num_states: int | None = None,
    ) -> TransitionTable:
        """Returns the transition table that the counts estimate.

        Args:
          start: [G] states in which an episode may begin.
          start_weight: [G] non-negative; only the proportions matter. Uniform if None.
          num_states: S, where more states are known than were counted; `self.num_states` if None.

        Raises:
          ValueError: S is no integer or less than the states counted, or `start` or
            `start_weight` do not fit.
        """
        if num_states is None:
            if not self._num_states:
                raise ValueError("nothing was counted: a table needs at least one state")
            num_states = self._num_states
        num_states = int(_integers("num_states", num_states, self._num_states, self._max_states))
        return build_table(**self._rows(num_states), start=start, start_weight=start_weight)

    def save(self, path: str | os.PathLike) -> None:
        """Writes the counts to one file, in one step: a failure leaves the old file as it was.

        Raises:
          OSError: the file cannot be written.
        """
        arrays = {"num_actions": np.array(self._num_actions), **self.entries()._asdict()}
        arrays["next_state"][arrays["next_state"] < 0] += _SHIFT_IN_FILES
        archive.write(path, _KIND, _VERSION, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Self:
        """Reads what `save` wrote.

        Raises:
          OSError: there is no such file, or it may not be read.
          ValueError: the file is damaged or does not hold transition counts.
        """
        arrays = archive.read(path, _KIND, _VERSION, _FIELDS)
        arrays["next_state"][arrays["next_state"] < 0] -= _SHIFT_IN_FILES
        try:
            counts = cls(int(arrays.pop("num_actions")))
            counts.add(**arrays)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        entries = counts.entries()._asdict()
        if not all(np.array_equal(entries[name], arrays[name]) for name in arrays):
            raise ValueError(f"{path}: entries are out of order or repeated, expected sorted ones")
        return counts

    def _rows(self, num_states: int) -> dict:
        """What `build_table` wants to know of S states."""
        state, action, next_state, n = self.entries()
        shape = (num_states, self._num_actions)
        row = state.astype(np.int64) * self._num_actions + action
        count = np.bincount(row, weights=n, minlength=num_states * self._num_actions)
        share = n / count[row]
        ends_well, stays = next_state == SUCCESS, next_state >= 0
        exit_success = np.zeros(shape)
        exit_success[state[ends_well], action[ends_well]] = share[ends_well]
        return {
            "num_states": num_states,
            "num_actions": self._num_actions,
            "state": state[stays],
            "action": action[stays],
            "successor": next_state[stays],
            "prob": share[stays],
            "exit_success": exit_success,
            "available": count.reshape(shape) > 0,
            "count": count.reshape(shape),
        }

    def _add(self, name: str, steps: "_Steps", num_states: int, num_steps: int) -> None:
        if self._num_steps + num_steps > _MAX_STEPS:
            raise ValueError(f"{name} makes more than 2^53 steps, expected at most that many")
        self._num_states = max(self._num_states, num_states)
        self._num_steps += num_steps
        self._pending.append(steps)
        self._num_pending += len(steps.n)
        if self._num_pending > max(_MIN_PENDING, len(self._counted.n)):
            self._settle()

    def _settle(self) -> "_Steps":
        """Sorts the buffer into the counts, and returns all that was counted."""
        if self._pending:
            parts = zip(self._counted, *self._pending, strict=True)
            row, column, n = (np.concatenate(arrays) for arrays in parts)
            shape = (self._num_states * self._num_actions, self._num_states - TRUNCATED)
            # scipy sorts by row and column in linear time, and adds up what comes repeatedly.
            summed = sparse.coo_array((n, (row, column)), shape=shape).tocsr().tocoo()
            self._counted = _Steps(summed.row, summed.col, summed.data)
            self._pending, self._num_pending = [], 0
        return self._counted


class _Steps(NamedTuple):
    """Counts [E] as entries of a sparse matrix with a row for every (state, action)."""

    row: np.ndarray  # int32: state * A + action
    column: np.ndarray  # int32: next_state - TRUNCATED
    n: np.ndarray  # int64


def _exact_sum(n: np.ndarray) -> int:
    """Returns the sum of n [E], in two halves of 32 bits because int64 might wrap round."""
    return (int((n >> 32).sum()) << 32) + int((n & 0xFFFFFFFF).sum())


def _integers(name: str, values: ArrayLike, low: int, high: int) -> np.ndarray:
    """Returns `values` as int64 of the same shape, all from `low` to `high`."""
    array = checks.integers(name, values)
    if array.size and (array.min() < low or array.max() > high):
        at = np.unravel_index(np.argmax((array < low) | (array > high)), array.shape)
        where = f"[{', '.join(map(str, at))}]" if at else ""
        raise ValueError(f"{name}{where} is {array[at]}, expected {low} to {high}")
    return array.astype(np.int64, copy=False)


def _common_length(arrays: dict[str, np.ndarray]) -> int:
    """Returns N, where each array is [N] or a single number."""
    lengths = {name: len(array) for name, array in arrays.items() if array.ndim == 1}
    for name, array in arrays.items():
        if array.ndim > 1:
            raise ValueError(f"{name} has shape {list(array.shape)}, expected one dimension")
    if len(set(lengths.values())) > 1:
        raise ValueError(f"lengths differ: {lengths}, expected one length")
    return next(iter(lengths.values()), 1)
