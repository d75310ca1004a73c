"""A person at the terminal as an intervention."""

import sys
import time
from collections.abc import Sequence
from typing import TextIO

from adapters.protocols import Actor, Reply, State

SKIP, STOP = "/skip", "/stop"


class Person:
    """Shows the state and its actions to a person, who answers, skips or stops.

    An answer is the number of an action or its text, in any casing; where the world offers no
    actions, any text. What is not offered is asked for again. `/skip` lets the fallback act in
    the person's place; it is a call of the help all the same, the person was asked. `/stop`, or the
    end of the input, gives up this episode and every other that asks for the person later.

    States are shown one after another. With many episodes at once they are of different episodes,
    which is hard on a person: play one at a time.

    Attributes:
      name: stands in the rollouts for who acted.
      deterministic: False.
    """

    deterministic = False

    def __init__(
        self,
        fallback: Actor,
        *,
        style: str = "full",
        input: TextIO | None = None,
        output: TextIO | None = None,
        name: str = "person",
    ):
        """Makes the intervention.

        Args:
          fallback: acts where the person skips, usually the base actor.
          style: of the state's text.
          input: where answers are read from; standard input if None.
          output: where states are shown; standard output if None.
          name: of the person.
        """
        self.name = name
        self._fallback, self._style = fallback, style
        self._input, self._output = input, output
        self._stopped = False

    def start(self) -> None:
        """People remember by themselves."""
        return None

    def watch(self, memory: None, state: State, action: str) -> None:
        """What others played is in the state's text."""

    def act(
        self, states: Sequence[State], memories: Sequence[None], seeds: Sequence[int]
    ) -> list[Reply]:
        """Asks for each state in turn; what was skipped goes to the fallback in one call."""
        replies = [self._ask(state) for state in states]
        skipped = [i for i, reply in enumerate(replies) if reply is None]
        if skipped:
            acted = self._fallback.act([states[i] for i in skipped], [seeds[i] for i in skipped])
            replies = [acted.pop(0) if reply is None else reply for reply in replies]
        return replies

    def _ask(self, state: State) -> Reply | None:
        """The person's reply; None if skipped."""
        if self._stopped:
            return Reply(None, stop=True)
        began = time.perf_counter()
        actions = list(state.actions)
        self._say(f"\n{state.text(self._style)}\n")
        for i, action in enumerate(actions, 1):
            self._say(f"{i:3d}  {action}")
        wanted = "number or text of an action" if actions else "an action"
        while True:
            self._say(f"{wanted}, {SKIP} or {STOP}: ", end="")
            line = (self._input or sys.stdin).readline()
            answer = line.strip()
            if not line or answer == STOP:
                self._stopped = True
                return Reply(None, raw=answer, stop=True, seconds=time.perf_counter() - began)
            if answer == SKIP:
                return None
            action = _find(answer, actions)
            if action is not None:
                return Reply(action, raw=answer, seconds=time.perf_counter() - began)
            offered = f"a number from 1 to {len(actions)}" if actions else "some text"
            self._say(f"{answer!r} is no action here; expected {offered}, {SKIP} or {STOP}.")

    def _say(self, text: str, end: str = "\n") -> None:
        output = self._output or sys.stdout
        output.write(text + end)
        output.flush()


def _find(answer: str, actions: Sequence[str]) -> str | None:
    """The action meant: by its text, or else by its number; None if there is none."""
    if not actions:
        return answer or None
    for action in actions:
        if answer.casefold() == action.casefold():
            return action
    if answer.isdecimal() and 1 <= int(answer) <= len(actions):
        return actions[int(answer) - 1]
    return None
