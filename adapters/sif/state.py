"""A state of the world, as `adapters.protocols.State`.

`Situation` is all that the future depends on; the key is made of it. `SifState` adds what the
protocol asks for, and the state before, so that the full text can tell the story so far.
"""

from collections.abc import Mapping
from typing import Optional

from adapters.protocols import Outcome
from adapters.sif.layout import ENOUGH, MAX_CALLS, MAX_STEPS, NOT_ENOUGH, Layout, Offers
from adapters.sif.situation import Situation
from adapters.sif.tasks import Placed, Task
from adapters.sif.text import Turn, compact, full
from adapters.sif.view import View, view

_QUERY: Offers = {ENOUGH: ("enough", 0), NOT_ENOUGH: ("follow", 0)}


class SifState:
    """One state of one task, as `adapters.protocols.State`; treat it as immutable.

    The key leaves out the past actions and their order, and the low-level steps wherever the
    limit on them cannot matter any more. What actors read in the compact style follows from the
    key; the full style also tells the past actions, see `SifWorld(history_in_key=...)`.

    Attributes:
      layout: the tables of the task.
      now: what holds.
      outcome: None while the episode runs.
      invalid: the action that led here was not admissible.
      previous: the state before; None at the start.
      action: what led here from there; None at the start.
      history_in_key: the key holds the past actions too.
    """

    __slots__ = (
        *("layout", "now", "outcome", "invalid", "previous", "action"),
        *("history_in_key", "_offers", "_key", "_compact"),
    )

    def __init__(
        self,
        layout: Layout,
        now: Situation,
        outcome: Outcome | None = None,
        invalid: bool = False,
        previous: Optional["SifState"] = None,
        action: str | None = None,
        history_in_key: bool = False,
    ):
        self.layout = layout
        self.now = now
        self.outcome = outcome
        self.invalid = invalid
        self.previous = previous
        self.action = action
        self.history_in_key = history_in_key
        self._offers: Offers | None = None
        self._key: str | None = None
        self._compact: str | None = None

    @property
    def task(self) -> Task:
        """The task, hidden parts included: functions of rooms, places of objects."""
        return self.layout.task

    @property
    def key(self) -> str:
        """The situation as text; for an ended episode its outcome. Under 300 characters."""
        if self._key is None:
            self._key = self._make_key()
        return self._key

    @property
    def actions(self) -> tuple[str, ...]:
        """The actions offered; none when the episode has ended."""
        return tuple(self.offers)

    @property
    def offers(self) -> Offers:
        """The actions offered, each with what it means to the rules."""
        if self._offers is None:
            now = self.now
            if self.outcome is not None:
                self._offers = {}
            elif now.asking:
                self._offers = _QUERY
            else:
                here = self._believed_here() if now.held < 0 else ()
                self._offers = self.layout.offers(now.place, now.held, here, now.mapped)
        return self._offers

    @property
    def measures(self) -> Mapping[str, float]:
        """Low-level steps and actions of the episode so far."""
        return {"low_level_steps": float(self.now.steps), "actions": float(self.now.calls)}

    def text(self, style: str = "full") -> str:
        """What an actor reads: "compact" for small models, "full" for large ones.

        Raises:
          ValueError: there is no such style.
        """
        if style == "compact":
            if self._compact is None:
                self._compact = compact(self.view())
            return self._compact
        if style == "full":
            return full([state._turn() for state in self.past()], self.actions)
        raise ValueError(f"style is {style!r}, expected 'compact' or 'full'")

    def view(self) -> View:
        """What the agent knows; all texts are made of it."""
        return view(self.layout, self.now)

    @property
    def room(self) -> int | None:
        """The room the agent is in; None in free space."""
        return self.now.place if self.now.place < self.layout.num_rooms else None

    @property
    def held(self) -> str | None:
        """The category of the object in its hand; None if empty."""
        return self.layout.categories[self.now.held] if self.now.held >= 0 else None

    def true_objects(self) -> tuple[Placed, ...]:
        """Hidden: the objects as they are, but the one held and those given."""
        return tuple(map(self.layout.placed, self.now.objects))

    def past(self) -> list["SifState"]:
        """The states from the first to this one."""
        states, state = [], self
        while state is not None:
            states.append(state)
            state = state.previous
        return states[::-1]

    def _turn(self) -> Turn:
        """How this state came about."""
        after, previous = self.view(), self.previous
        if previous is None:
            verb, looks = "", 0
        else:
            verb, _ = previous.offers.get(self.action, ("invalid", 0))
            verb = "cut" if self.now.steps >= MAX_STEPS else verb
            looks = previous.now.looks[previous.now.place] if verb == "explore" else 0
        moved = previous is None or self.now.place != previous.now.place
        seen = None
        if (moved or verb == "explore") and after.here is not None:
            spot = self.layout.look[after.here][looks]
            seen = tuple(
                self.layout.entry(code, "seen")
                for code in self.now.objects
                if self.layout.spot[code % self.layout.num_receptacles] == spot
            )
        before = previous.view() if previous is not None else None
        return Turn(self.action or "", verb, before, after, seen)

    def _believed_here(self) -> tuple[int, ...]:
        layout, place = self.layout, self.now.place
        room, size, here = layout.room, layout.num_receptacles, []
        for entry in self.now.belief:
            number, at = divmod(entry >> 1, size)
            if room[at] == place and number not in here:
                here.append(number)
        return tuple(here)

    def _make_key(self) -> str:
        layout, now, name = self.layout, self.now, self.layout.task.name
        if self.outcome is not None:
            return f"{name}|{self.outcome}"
        belief = ".".join(map(str, now.belief))
        looks = ".".join(map(str, now.looks))
        key = f"{name}|{now.place}|{now.held}|{belief}|{looks}|{now.calls}"
        if now.objects != layout.objects:
            key += "|o" + ".".join(map(str, now.objects))
        if now.mapped != layout.mapped:
            key += f"|m{now.mapped:x}"
        if layout.walk_steps or now.asking or now.entered or now.given:
            key += f"|h{now.walked}.{now.sighted}.{now.asking:d}{now.entered}{now.given:d}"
        if now.steps + (MAX_CALLS - now.calls) * layout.max_cost > MAX_STEPS:
            key += f"|s{now.steps}"
        if self.history_in_key:
            key += "|" + ",".join(state.action for state in self.past()[1:])
        return key
