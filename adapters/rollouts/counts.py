"""Rollouts to transition counts.

Each turn is one step (state, decision, next state): decision 0 is nohelp, i is help i, whoever
answered and whatever they did. A turn without an action, its reply cut off, is a step like any
other: it says where asking in that state led, to the next state or to the end. The turn that ends
an episode leads to SUCCESS, FAILURE or TRUNCATED; the key of the state behind it is none of the
table's. Episodes that begin in the middle of a task (`adapters.gaps`) are counted, but do not say
how tasks begin.
"""

import dataclasses
import os
from collections import Counter
from collections.abc import Collection, Sequence
from hashlib import sha256

import msgspec
import numpy as np

from adapters.gaps import is_start
from adapters.rollouts.reader import read_episodes
from adapters.rollouts.shards import Problems, Turn
from adapters.step import Step
from core.counts import FAILURE, SUCCESS, TRUNCATED, TransitionCounts
from core.states import StateIndex
from core.table import TransitionTable

_NO_START = -1  # in place of the task
_END = {"success": SUCCESS, "failure": FAILURE, "truncated": TRUNCATED}


@dataclasses.dataclass(frozen=True)
class RolloutCounts:
    """What rollouts say about a table of S states and A = K + 1 actions, for G starts of T tasks.

    A start is a pair of a task and a state in which the task began; tasks that were never played
    from their beginning have none.

    Attributes:
      index: the states by their keys.
      counts: of (state, decision, next state).
      tasks: [T] names.
      start: [G] int32, the state of each start.
      start_task: [G] int32, its task: the groups of `core.dp.bootstrap`.
      start_episodes: [G] int64, how many episodes began so.
    """

    index: StateIndex
    counts: TransitionCounts
    tasks: tuple[str, ...]
    start: np.ndarray
    start_task: np.ndarray
    start_episodes: np.ndarray

    @property
    def start_weight(self) -> np.ndarray:
        """[G] every task alike, its starts by how many of its episodes began so; sums to one."""
        of_task = np.bincount(self.start_task, self.start_episodes, len(self.tasks))
        return self.start_episodes / of_task[self.start_task] / np.count_nonzero(of_task)

    def table(self) -> TransitionTable:
        """The transition table that the counts estimate, its starts as `start_weight` has them.

        Raises:
          ValueError: there is no start.
        """
        return self.counts.table(self.start, self.start_weight, num_states=len(self.index))


class EpisodeCounter:
    """Counts episodes, one after another, in memory bounded by what is distinct in them."""

    def __init__(self, *, ignore_repeats: bool = False, batch: int = 50_000):
        """Makes an empty counter.

        Args:
          ignore_repeats: an episode of the same task with the same states, decisions and end as
            one before is not counted: for deterministic actors, of whom a repeat says nothing new.
          batch: steps that are held before they are counted.
        """
        self._batch = batch
        self._index = StateIndex()
        self._counts: TransitionCounts | None = None
        self._tasks: dict[str, int] = {}
        self._starts: Counter[tuple[int, int]] = Counter()  # of (task, state)
        self._seen: set[bytes] | None = set() if ignore_repeats else None
        self._num_helps = 0
        self._new_batch()

    def add(self, episode: Sequence[Step | Turn]) -> bool:
        """Counts a complete episode; all have the same number of helps. Returns if it counted."""
        keys = [step.state_key for step in episode]
        decisions = [step.decision for step in episode]
        task, end = episode[0].task, episode[-1].outcome
        if self._seen is not None:
            path = sha256(msgspec.json.encode((task, keys, decisions, end))).digest()
            if path in self._seen:
                return False
            self._seen.add(path)
        self._num_helps = len(episode[0].probabilities)
        self._keys += keys
        self._decisions += decisions
        self._lengths.append(len(keys))
        self._ends.append(_END[end])
        task_id = self._tasks.setdefault(task, len(self._tasks))
        self._task_ids.append(task_id if is_start(episode[0].episode) else _NO_START)
        if len(self._keys) >= self._batch:
            self._count_batch()
        return True

    def result(self) -> RolloutCounts:
        """What was counted so far.

        Raises:
          ValueError: nothing was.
        """
        self._count_batch()
        if self._counts is None:
            raise ValueError("there is no complete episode to count")
        starts = np.array(list(self._starts), np.int32).reshape(-1, 2)
        return RolloutCounts(
            index=self._index,
            counts=self._counts,
            tasks=tuple(self._tasks),
            start=starts[:, 1],
            start_task=starts[:, 0],
            start_episodes=np.array(list(self._starts.values()), np.int64),
        )

    def _new_batch(self) -> None:
        self._keys: list[str] = []
        self._decisions: list[int] = []
        self._lengths: list[int] = []
        self._ends: list[int] = []
        self._task_ids: list[int] = []

    def _count_batch(self) -> None:
        if not self._keys:
            return
        if self._counts is None:
            self._counts = TransitionCounts(max(self._num_helps, 1) + 1)
        state = self._index.intern(self._keys)
        behind = np.cumsum(self._lengths)  # each episode: one behind its last step
        next_state = np.empty_like(state)
        next_state[:-1] = state[1:]
        next_state[behind - 1] = self._ends
        self._counts.add(state, self._decisions, next_state)
        start = state[behind - self._lengths]
        starts = zip(self._task_ids, start.tolist(), strict=True)
        self._starts.update(start for start in starts if start[0] != _NO_START)
        self._new_batch()


def read_counts(
    directory: str | os.PathLike,
    *,
    tasks: Collection[str] | None = None,
    ignore_repeats: bool = False,
    batch: int = 50_000,
    strict: bool = True,
    problems: Problems | None = None,
) -> RolloutCounts:
    """Counts the steps of a folder of rollouts as they stream by.

    Args:
      directory, strict, problems: as `adapters.rollouts.read_episodes`.
      tasks: count episodes of these alone; of all if None.
      ignore_repeats, batch: see `EpisodeCounter`.

    Raises:
      FileNotFoundError, ValueError: as `read_episodes`; also if there is no episode to count.
    """
    counter = EpisodeCounter(ignore_repeats=ignore_repeats, batch=batch)
    for episode in read_episodes(directory, strict=strict, problems=problems, step_type=Turn):
        if tasks is None or episode[0].task in tasks:
            counter.add(episode)
    try:
        return counter.result()
    except ValueError as error:
        raise ValueError(f"{directory}: {error}") from error
