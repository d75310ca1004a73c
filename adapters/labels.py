"""Labelled states: what the best policy does in each state, and what that is worth.

A helper learns from the states of rollouts. `TextCollector` finds what an agent read in each of
them, `label` says for each of R costs what the best policy decides there and what follows each
decision, and `Labels` keeps both in one file, which is all that training needs.
"""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

import numpy as np

from adapters.made import check_made
from adapters.proposals import REPLY
from adapters.recorded import RecordedState
from adapters.rollouts.counts import RolloutCounts
from adapters.rollouts.reader import read_sorted_episodes
from adapters.rollouts.shards import Problems, Turn
from adapters.step import Step
from core import archive, dp
from core.states import StateIndex

_KIND, _VERSION = "labels", 1
_STRINGS = ("key", "text", "tasks", "helps", "style")
_ARRAYS = {
    "task": archive.Field(np.int32, 1),
    "costs": archive.Field(np.float64, 2),
    "policy": archive.Field(np.int8, 2),
    "success": archive.Field(np.float32, 3),
    "usage": archive.Field(np.float32, 4),
    "available": archive.Field(np.bool_, 2),
    "visits": archive.Field(np.int64, 2),
    "reach": archive.Field(np.float64, 2),
    "start": archive.Field(np.int32, 1),
    "start_task": archive.Field(np.int32, 1),
    "start_weight": archive.Field(np.float64, 1),
}
_FIELDS = _ARRAYS | {
    name: field
    for string in _STRINGS
    for name, field in (
        (string, archive.Field(np.uint8, 1)),
        (f"{string}_end", archive.Field(np.int64, 1)),
    )
}


class TextTurn(Turn):
    """A turn, what was read in it and what was replied."""

    state_text: str = ""
    raw: str = ""


@dataclasses.dataclass(frozen=True)
class StateTexts:
    """What was read in the S states of rollouts, in the order of their index.

    Attributes:
      key: [S].
      text: [S], in the style that the rollouts were written in.
      task: [S], the name of the task the state belongs to; of the one first met in the rollouts
        where several tasks share it.
      style: of the texts.
      reply: [S], the base actor's first one in the state; None where it never played.
    """

    key: tuple[str, ...]
    text: tuple[str, ...]
    task: tuple[str, ...]
    style: str
    reply: tuple[str | None, ...]

    def read_in(self, style: str) -> tuple[str, ...]:
        """[S] the texts in a style, which is `style` or the same with replies.

        Raises:
          ValueError: it is another one, or there are states that the base actor never played in.
        """
        states = self.states()
        if style == self.style + REPLY:
            missing = [
                key for key, reply in zip(self.key, self.reply, strict=True) if reply is None
            ]
            if missing:
                raise ValueError(
                    f"the base actor never played in {len(missing):,} of {len(self.key):,} states, "
                    f"{missing[0][:80]!r} is one, expected its reply in each; "
                    "collect --close=nohelp"
                )
        return tuple(state.text(style) for state in states)

    def states(self) -> list[RecordedState]:
        """[S] the states."""
        rows = zip(self.key, self.text, self.reply, strict=True)
        return [RecordedState(key, text, self.style, reply) for key, text, reply in rows]


class TextCollector:
    """Keeps the text and the task of each state of the episodes that are added."""

    def __init__(self):
        """Starts with none."""
        self._found: dict[str, tuple[str, str]] = {}
        self._replies: dict[str, str] = {}

    def add(self, episode: Iterable[Step | TextTurn]) -> None:
        """Takes in the states of an episode that were not met before."""
        for step in episode:
            if step.state_key not in self._found:
                self._found[step.state_key] = step.state_text, step.task
            if step.decision == 0:
                self._replies.setdefault(step.state_key, step.raw)

    def result(self, index: StateIndex, style: str = "full") -> StateTexts:
        """What was found, in the order of `index`; `style` is that of the texts.

        Raises:
          ValueError: the states are not those of the index.
        """
        keys = list(self._found)
        place = index.lookup(keys)
        if len(keys) != len(index) or (place < 0).any():
            raise ValueError(f"the episodes have {len(keys)} states, the index has {len(index)}")
        key = [keys[i] for i in np.argsort(place)]
        text, task = zip(*(self._found[one] for one in key), strict=True)
        return StateTexts(tuple(key), text, task, style, tuple(map(self._replies.get, key)))


def read_text_turns(
    directory: str | os.PathLike, *, strict: bool = True, problems: Problems | None = None
) -> Iterator[list[TextTurn]]:
    """`adapters.rollouts.read_sorted_episodes` of turns and their texts."""
    return read_sorted_episodes(directory, strict=strict, problems=problems, step_type=TextTurn)


@dataclasses.dataclass(frozen=True)
class Labels:
    """S labelled states of T tasks, for R costs of K helps; A = K + 1 actions, 0 is nohelp.

    Attributes:
      key, text: [S] as `StateTexts`.
      task: [S] int32, index into `tasks`.
      tasks: [T] names.
      helps: [K] names of who helps.
      style: of the texts.
      costs: [R, K] r, ascending.
      policy: [S, R] int8, the best decision at each cost.
      success: [S, A, R] float32, of each action taken once, with `policy` after it; NaN where the
        action was never tried and there is no prior.
      usage: [S, A, K, R] float32, calls of each help likewise, the action's own included.
      available: [S, A] bool: success and usage are not NaN.
      visits: [S, A] int64, how often each action was tried.
      reach: [S, R] expected visits of an episode that follows `policy`; the states on the optimal
        trajectories are those above 0.
      start, start_task, start_weight: [G] states in which tasks begin, their tasks, their weights.
    """

    key: tuple[str, ...]
    text: tuple[str, ...]
    task: np.ndarray
    tasks: tuple[str, ...]
    helps: tuple[str, ...]
    style: str
    costs: np.ndarray
    policy: np.ndarray
    success: np.ndarray
    usage: np.ndarray
    available: np.ndarray
    visits: np.ndarray
    reach: np.ndarray
    start: np.ndarray
    start_task: np.ndarray
    start_weight: np.ndarray

    @property
    def comparable(self) -> np.ndarray:
        """[S, K] bool: nohelp and the help both have values, so that one may be preferred."""
        return self.available[:, :1] & self.available[:, 1:]

    @property
    def gains(self) -> tuple[np.ndarray, np.ndarray]:
        """Success [S, K, R] and usage [S, K, K, R] that each help adds to nohelp.

        The second axis is who is called now, the third of usage whose calls are counted. NaN where
        not `comparable`.
        """
        return self.success[:, 1:] - self.success[:, :1], self.usage[:, 1:] - self.usage[:, :1]

    @property
    def advantage(self) -> np.ndarray:
        """[S, K, R] (S_k - S_0) - r . (M_k - M_0); help k beats nohelp where it is above 0."""
        success, usage = self.gains
        return success - np.einsum("skjr,rj->skr", usage, self.costs)

    def cost_index(self, cost: Any) -> int:
        """Which of the R costs is `cost`, a number if K = 1, else [K].

        Raises:
          ValueError: none is, within 1e-6 of it.
        """
        wanted = np.atleast_1d(np.asarray(cost, np.float64))
        if wanted.shape != self.costs.shape[1:]:
            raise ValueError(f"cost is {cost}, expected {self.costs.shape[1]} numbers")
        apart = np.abs(self.costs - wanted).max(axis=1)
        found = int(np.argmin(apart))
        if apart[found] > 1e-6:
            there = ", ".join("/".join(f"{r:.6g}" for r in row) for row in self.costs)
            raise ValueError(f"cost is {cost}, expected one of {there}")
        return found

    def save(self, path: str | os.PathLike) -> None:
        """Writes all to one file, in one step: a failure leaves the old file as it was.

        Raises:
          OSError: the file cannot be written.
        """
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        for name in _STRINGS:
            value = getattr(self, name)
            pieces = [
                one.encode("utf-8", "surrogatepass")
                for one in ((value,) if isinstance(value, str) else value)
            ]
            arrays[name] = np.frombuffer(b"".join(pieces), np.uint8)
            arrays[f"{name}_end"] = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
        archive.write(path, _KIND, _VERSION, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Self:
        """Reads what `save` wrote.

        Raises:
          OSError: there is no such file, or it may not be read.
          ValueError: the file is damaged or does not hold labels.
        """
        check_made(path, "labels, which experiments.plan makes")
        arrays = archive.read(path, _KIND, _VERSION, _FIELDS)
        try:
            strings = {name: _strings(arrays, name) for name in _STRINGS}
            (style,) = strings.pop("style")
            labels = cls(**{name: arrays[name] for name in _ARRAYS}, **strings, style=style)
            labels._check()
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        return labels

    def _check(self) -> None:
        num_states, num_helps, num_costs = len(self.key), len(self.helps), len(self.costs)
        num_actions, num_starts = num_helps + 1, len(self.start)
        shapes = {
            "text": (num_states,),
            "task": (num_states,),
            "costs": (num_costs, num_helps),
            "policy": (num_states, num_costs),
            "success": (num_states, num_actions, num_costs),
            "usage": (num_states, num_actions, num_helps, num_costs),
            "available": (num_states, num_actions),
            "visits": (num_states, num_actions),
            "reach": (num_states, num_costs),
            "start_task": (num_starts,),
            "start_weight": (num_starts,),
        }
        for name, shape in shapes.items():
            found = np.shape(getattr(self, name)) if name != "text" else (len(self.text),)
            if found != shape:
                raise ValueError(f"{name} has shape {found}, expected {shape}")
        bounds = {
            "task": len(self.tasks),
            "start_task": len(self.tasks),
            "start": num_states,
            "policy": num_actions,
        }
        for name, bound in bounds.items():
            array = getattr(self, name)
            bad = np.flatnonzero((array < 0) | (array >= bound))
            if bad.size:
                raise ValueError(f"{name} holds {array.flat[bad[0]]}, expected 0..{bound - 1}")


def label(
    counts: RolloutCounts,
    texts: StateTexts,
    table: dp.TransitionTable,
    costs: Any,
    *,
    helps: Sequence[str],
    style: str | None = None,
    policy: np.ndarray | None = None,
) -> Labels:
    """Labels the states of rollouts by the best policy at each cost.

    Args:
      counts: of the rollouts.
      texts: theirs.
      table: the one to solve: `counts.table()`, or the same with a prior.
      costs: [R, K], or [R] if K = 1.
      helps: [K] names.
      style: to read the states in, as `StateTexts.read_in`; None is that of the texts.
      policy: [S, R] int8 to label by, in place of the optimum.

    Raises:
      ValueError: as `core.dp.sweep` and `StateTexts.read_in`.
    """
    style = style or texts.style
    words = texts.read_in(style)
    if policy is None:
        solution = dp.sweep(table, costs)
        costs, policy = solution.costs, solution.policy
    costs = np.asarray(costs, np.float64).reshape(policy.shape[1], -1)
    order = np.lexsort(costs.T[::-1])
    costs, policy = costs[order], policy[:, order]
    values = [dp.action_values(table, column) for column in policy.T]
    tasks = {name: i for i, name in enumerate(counts.tasks)}
    for name in texts.task:  # of tasks that no episode begins
        tasks.setdefault(name, len(tasks))
    return Labels(
        key=texts.key,
        text=words,
        task=np.array([tasks[name] for name in texts.task], np.int32),
        tasks=tuple(tasks),
        helps=tuple(helps),
        style=style,
        costs=costs,
        policy=policy.astype(np.int8),
        success=np.stack([one.success for one in values], axis=-1).astype(np.float32),
        usage=np.stack([one.usage for one in values], axis=-1).astype(np.float32),
        available=table.available,
        visits=table.count.astype(np.int64),
        reach=np.stack([reach(table, column) for column in policy.T], axis=-1),
        start=counts.start.astype(np.int32),
        start_task=counts.start_task.astype(np.int32),
        start_weight=counts.start_weight,
    )


def reach(table: dp.TransitionTable, policy: np.ndarray) -> np.ndarray:
    """[S] expected visits of an episode under a deterministic policy [S].

    In states that the policy never leaves again, the chance to get there (`core.coverage`).
    """
    taken = np.arange(table.num_actions) == policy[:, None]
    followed = dataclasses.replace(table, count=taken.astype(np.float64))
    return followed.coverage(top=0).visits


def _strings(arrays: dict[str, np.ndarray], name: str) -> tuple[str, ...]:
    content, end = arrays[name].tobytes(), arrays[f"{name}_end"]
    begin = np.concatenate([[0], end[:-1]])
    if end.size and (end[-1] != len(content) or (end < begin).any()):
        raise ValueError(f"{name}_end does not fit {name}, expected ascending ends")
    return tuple(
        content[i:j].decode("utf-8", "surrogatepass")
        for i, j in zip(begin.tolist(), end.tolist(), strict=True)
    )
