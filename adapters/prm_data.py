"""What a process reward model learns from rollouts: how often a state or an action led to success.

States (Section 4.1 of https://arxiv.org/abs/2502.04576). Output a = 0, 1..K is the success of the
base actor, or of help i, that plays on alone. An episode is a sample of it for the states at its
end in which decision a was taken, and in every turn after them.

Actions, for search (appendix A). One output: the success after an action of whoever took it, where
the base actor alone plays on. Where nobody saw that, as help played on, the samples of the state
that the action led to are its own. Its text is the state's with a line more, see `with_action`.

The texts of states may have the base actor's reply below them, see `adapters.proposals`.
"""

import dataclasses
import os
from collections.abc import Container, Iterator, Sequence
from typing import Literal

import msgspec
import numpy as np

from adapters.gaps import is_start
from adapters.proposals import with_reply
from adapters.protocols import Outcome
from adapters.rollouts import read_sorted_episodes

Reading = Literal["state", "action"]


def with_action(text: str, action: str) -> str:
    """The text of a state and an action in it."""
    return f"{text}\nAction: {action}"


@dataclasses.dataclass(frozen=True)
class Alone:
    """An episode that the base actor played from the start of a task, with help at probability 0.

    Attributes:
      task: its name.
      states: places of its states among all states, in order.
      success: how it ended.
    """

    task: str
    states: np.ndarray
    success: bool


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """Samples of S texts, each of one state or of one pair of a state and an action.

    Attributes:
      key: [S] of the states; with the action where there is one.
      text: [S] as first met.
      task: [S] names.
      tried: int [S, O], samples of each output.
      succeeded: int [S, O], successes among them.
      alone: episodes of the base actor alone; none where actions are read.
    """

    key: tuple[str, ...]
    text: tuple[str, ...]
    task: tuple[str, ...]
    tried: np.ndarray
    succeeded: np.ndarray
    alone: tuple[Alone, ...]

    @property
    def share(self) -> np.ndarray:
        """[S, O] successes a sample; 0 where there is none."""
        return self.succeeded / np.maximum(self.tried, 1)

    def weight(self, most: int) -> np.ndarray:
        """[S, O] samples, but at most so many: those of one state are not independent."""
        return np.minimum(self.tried, most)


class _Turn(msgspec.Struct, gc=False):
    """The fields of a `Step` that are needed."""

    task: str
    episode: str
    probabilities: tuple[float, ...]
    seed: int
    turn: int
    state_key: str
    state_text: str
    decision: int
    raw: str
    action: str | None
    next_state_key: str
    outcome: Outcome | None = None


def read_outcomes(
    *directories: str | os.PathLike, reads: Reading = "state", reply: bool = False
) -> Outcomes:
    """The samples of folders of rollouts, in the order of the names of their episodes.

    Args:
      directories: of rollouts with texts, of the same actors, no episode in two of them.
      reads: states or actions.
      reply: the texts of states end with the base actor's first reply in them.

    Raises:
      FileNotFoundError, ValueError: as `adapters.rollouts.read_episodes`. ValueError also where
        there is no episode, no text, an output without a sample, no success or no failure, an
        episode twice, other numbers of helps, or, with `reply`, a state that the base actor never
        played in.
    """
    place: dict[str, int] = {}
    text: list[str] = []
    task: list[str] = []
    counts: list[np.ndarray] = []  # [2, O] each: tried, succeeded
    alone: list[Alone] = []
    replies: dict[str, str] = {}
    after = _After()
    outputs = 1
    for directory, episode in _episodes(directories):
        success = episode[-1].outcome == "success"
        if reads == "state":
            outputs = 1 + len(episode[0].probabilities)
        if reply:
            for turn in episode:
                if turn.decision == 0:
                    replies.setdefault(turn.state_key, turn.raw)
        if reads == "action":
            after.add(episode)
        for key, words, output in _samples(episode, reads):
            if key not in place:
                if not words:
                    raise ValueError(
                        f"{directory}: episode {episode[0].episode!r} has no texts, expected "
                        "rollouts that were written with them"
                    )
                place[key] = len(place)
                text.append(words)
                task.append(episode[0].task)
                counts.append(np.zeros((2, outputs), np.int32))
            counts[place[key]][:, output] += (1, success)
        if reads == "state" and is_start(episode[0].episode) and not any(episode[0].probabilities):
            states = np.array([place[turn.state_key] for turn in episode])
            alone.append(Alone(episode[0].task, states, success))
    for key, words, name, samples in after.others(place):
        place[key] = len(place)
        text.append(words)
        task.append(name)
        counts.append(samples)
    where = ", ".join(str(one) for one in directories)
    if not counts:
        raise ValueError(f"{where}: there is no complete episode to learn from")
    tried, succeeded = np.stack(counts, axis=1)
    for output, number in enumerate(tried.sum(0)):
        if not number:
            raise ValueError(
                f"{where}: help {output} never played to the end of an episode, expected some "
                "that it did"
                if output
                else f"{where}: the base actor never played to the end of an episode"
            )
    if succeeded.sum() in (0, tried.sum()):
        end = "a success" if succeeded.sum() else "no success"
        raise ValueError(f"{where}: all {tried.sum():,} samples are {end}, expected both")
    if reply:
        missing = next((key for key in place if key not in replies), None)
        if missing is not None:
            raise ValueError(
                f"{where}: the base actor never played in state {missing!r}, expected its "
                "reply in each; collect --close=nohelp"
            )
        text = [with_reply(one, replies[key]) for key, one in zip(place, text, strict=True)]
    return Outcomes(tuple(place), tuple(text), tuple(task), tried, succeeded, tuple(alone))


def _episodes(
    directories: Sequence[str | os.PathLike],
) -> Iterator[tuple[str | os.PathLike, Sequence[_Turn]]]:
    """Every episode, and the folder that it is in."""
    first: dict[str, str | os.PathLike] = {}
    helps = None
    for directory in directories:
        for episode in read_sorted_episodes(directory, step_type=_Turn):
            name, number = episode[0].episode, len(episode[0].probabilities)
            if (other := first.setdefault(name, directory)) is not directory:
                raise ValueError(f"{directory}: episode {name!r} is in {other} too")
            helps = number if helps is None else helps
            if number != helps:
                raise ValueError(
                    f"{directory}: episode {name!r} has {number} helps, expected {helps} as in "
                    f"{directories[0]}"
                )
            yield directory, episode


class _After:
    """How the base actor did, alone, from the states that actions led to."""

    def __init__(self):
        self._alone: dict[str, np.ndarray] = {}  # [2, 1] by state key: tried, succeeded
        self._led: dict[str, tuple[str, str, str]] = {}  # by pair: its text, task, and where to

    def add(self, episode: Sequence[_Turn]) -> None:
        success = episode[-1].outcome == "success"
        for key, _, output in _samples(episode, "state"):
            if output == 0:
                self._alone.setdefault(key, np.zeros((2, 1), np.int32))[:, 0] += (1, success)
        for turn in episode[:-1]:
            if turn.action is not None and turn.state_text:
                pair = with_action(turn.state_key, turn.action)
                words = with_action(turn.state_text, turn.action)
                self._led.setdefault(pair, (words, turn.task, turn.next_state_key))

    def others(self, known: Container[str]) -> Iterator[tuple[str, str, str, np.ndarray]]:
        """Pairs that are not known, their texts, tasks and samples."""
        for pair, (words, task, to) in self._led.items():
            if pair not in known and to in self._alone:
                yield pair, words, task, self._alone[to].copy()


def _samples(episode: Sequence[_Turn], reads: Reading) -> Iterator[tuple[str, str, int]]:
    """Key, text and output of each sample of an episode, from its end."""
    last = episode[-1].decision
    for turn in reversed(episode):
        if reads == "state":
            if turn.decision != last:
                return
            yield turn.state_key, turn.state_text, last
            continue
        if turn.action is not None:
            words = turn.state_text and with_action(turn.state_text, turn.action)
            yield with_action(turn.state_key, turn.action), words, 0
        if turn.decision:
            return
