"""Scripted actors that see what the agent sees: a reasoner, a greedy one, a listener.

All choose from the view of a state and its actions (`adapters.sif.reasoner`, `adapters.sif.greedy`,
`adapters.sif.listener`), so from its key, never from what is hidden; they make systematic slips
(`adapters.sif.slips`), of which there are more the higher the dial. At their default dials the
reasoner and the greedy one stand for a stronger and a base model, about as far apart in success as
those of the paper; the listener makes none.
"""

from collections.abc import Callable, Sequence
from typing import Any

from adapters.protocols import Reply
from adapters.sif import greedy, listener, reasoner
from adapters.sif.choice import Choice
from adapters.sif.slips import Slips
from adapters.sif.state import SifState
from adapters.sif.view import View

# About 67% of each task type; with all kinds success falls from 73% of S_obj to 52 at once.
REASONER_DIAL = 0.375
REASONER_KINDS = ("overlook", "stale", "hasty", "quit", "name")
GREEDY_DIAL = 0.5
GREEDY_KINDS = ("overlook", "hasty", "quit", "name")


class _Scripted:
    """Slips around a way to choose."""

    name: str
    temperature = 0.0
    _choose: Callable[[View, Sequence[str]], Choice]

    def __init__(self, slips: Slips):
        self._slips = slips

    @property
    def config(self) -> dict[str, Any]:
        """All that changes what it answers; JSON values."""
        return {"dial": self._slips.dial, "slips": list(self._slips.kinds)}

    def act(self, states: Sequence[SifState], seeds: Sequence[int]) -> list[Reply]:
        """One reply for each state; `seeds` are not used.

        Raises:
          ValueError: a state has ended.
        """
        return [self._reply(state) for state in states]

    def reads(self, view: View) -> View:
        """The view as the actor takes it: less what it misreads."""
        return self._slips.misread(view)

    def _reply(self, state: SifState) -> Reply:
        if state.outcome is not None:
            raise ValueError(f"state has ended in {state.outcome}, expected one that has not")
        view, actions = state.view(), state.actions
        choice = self._choose(self.reads(view), actions)
        choice = self._slips.blunder(view, actions, choice)
        return Reply(choice.action, raw=f"Reasoning: {choice.why}\nAction: {choice.action}")


class ScriptedReasoner(_Scripted):
    """Reasons well but for its slips; as `adapters.protocols.Actor`."""

    name = "reasoner"
    _choose = staticmethod(reasoner.choose)

    def __init__(self, dial: float = REASONER_DIAL, kinds: Sequence[str] = REASONER_KINDS):
        """Makes the actor.

        Args:
          dial: how readily it slips, from 0, never, to 1.
          kinds: of its slips, see `adapters.sif.slips`.

        Raises:
          ValueError: the dial is out of range, or there is no such kind.
        """
        super().__init__(Slips(dial, tuple(kinds)))


class ScriptedGreedy(_Scripted):
    """Forgets, trusts stale maps, and slips; as `adapters.protocols.Actor`."""

    name = "greedy"
    _choose = staticmethod(greedy.choose)

    def __init__(self, dial: float = GREEDY_DIAL, kinds: Sequence[str] = GREEDY_KINDS):
        """Makes the actor; arguments as `ScriptedReasoner`."""
        super().__init__(Slips(dial, tuple(kinds)))


class ScriptedListener(_Scripted):
    """Goes by what it was told, and lists the rooms it may mean; as `adapters.protocols.Actor`."""

    name = "listener"
    _choose = staticmethod(listener.choose)

    def __init__(self, dial: float = 0.0, kinds: Sequence[str] = ()):
        """Makes the actor; arguments as `ScriptedReasoner`."""
        super().__init__(Slips(dial, tuple(kinds)))
