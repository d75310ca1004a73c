"""What the base actor would do in a state, for those who judge states.

A style such as "compact+reply" is a state's text in the style "compact" and below it the base
actor's reply there. Much of what goes wrong is told by what an agent is about to do, and not by
where it is. Who reads it has the base actor asked in every turn, in those too that help then plays;
such a question is no call of help. The paper's models read states alone.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from adapters.protocols import Actor, Decision, Outcome, State, TextReader

REPLY = "+reply"


def with_reply(text: str, reply: str) -> str:
    """The text of a state and the base actor's reply in it."""
    return f"{text}\n{reply}"


@dataclasses.dataclass(frozen=True, slots=True)
class Proposed:
    """A state and the base actor's reply in it, as `adapters.protocols.State`.

    Attributes:
      state: as it was.
      reply: of the base actor.
    """

    state: State
    reply: str

    @property
    def key(self) -> str:
        return self.state.key

    @property
    def actions(self) -> Sequence[str]:
        return self.state.actions

    @property
    def outcome(self) -> Outcome | None:
        return self.state.outcome

    @property
    def invalid(self) -> bool:
        return self.state.invalid

    @property
    def measures(self) -> Mapping[str, float]:
        return self.state.measures

    def text(self, style: str = "full") -> str:
        """The state's text in a style of its own, and with the reply if it ends in `REPLY`."""
        if not style.endswith(REPLY):
            return self.state.text(style)
        return with_reply(self.state.text(style.removesuffix(REPLY)), self.reply)


class Proposals:
    """Asks the base actor what it would do, once in every state."""

    def __init__(self, actor: Actor):
        """Makes one.

        Raises:
          ValueError: the actor samples, so that what it says now need not be what it does.
        """
        if actor.temperature != 0:
            raise ValueError(
                f"{actor.name} has temperature {actor.temperature}, expected 0 as its reply is read"
            )
        self._actor = actor
        self._known: dict[str, str] = {}  # by state key

    def read(self, states: Sequence[State]) -> list[State]:
        """The states with their replies; those that have one already as they are.

        Raises:
          ValueError: the actor has no reply to a state.
        """
        fresh = {
            state.key: state
            for state in states
            if getattr(state, "reply", None) is None and state.key not in self._known
        }
        if fresh:
            replies = self._actor.act(list(fresh.values()), [0] * len(fresh))
            for key, reply in zip(fresh, replies, strict=True):
                if reply.error is not None:
                    raise ValueError(f"{self._actor.name}: {reply.error}, in state {key!r}")
                self._known[key] = reply.raw
        return [
            Proposed(state, self._known[state.key])
            if getattr(state, "reply", None) is None
            else state
            for state in states
        ]


class WithReplies:
    """A helper that reads replies, in front of one that cannot ask for them.

    Attributes:
      style, threshold: of the helper.
    """

    def __init__(self, helper: Any, proposals: Proposals):
        """Wraps a helper with `margins`, `decide` and `at`, as `adapters.model_helper` has them."""
        self._helper, self._proposals = helper, proposals

    @property
    def style(self) -> str:
        return self._helper.style

    @property
    def readers(self) -> tuple[TextReader, ...]:
        """As the helper's; none if it tells of none."""
        return tuple(getattr(self._helper, "readers", ()))

    @property
    def threshold(self) -> float | None:
        return self._helper.threshold

    @property
    def config(self) -> Mapping[str, Any]:
        """What rollouts say about it."""
        return self._helper.config

    def at(self, threshold: float) -> Self:
        """The same helper with another threshold."""
        return type(self)(self._helper.at(threshold), self._proposals)

    def margins(self, states: Sequence[State]) -> np.ndarray:
        """[N, K] as the helper's."""
        return self._helper.margins(self._proposals.read(states))

    def decide(
        self,
        states: Sequence[State],
        calls_left: Sequence[Sequence[int]] | None,
        seeds: Sequence[int],
    ) -> list[Decision]:
        """As the helper."""
        return self._helper.decide(self._proposals.read(states), calls_left, seeds)
