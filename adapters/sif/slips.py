"""Systematic slips of the scripted actors: like features of a state, like slips.

Some slips are misreadings: the actor chooses for a view that is a little wrong. The others are
blunders: it does something else than it chose. What decides is a number that the compact text
shows: at or above a limit the slip is made, always. Nothing is drawn or hashed. The dial moves the
limits; at 0 there are no slips at all.

    kind      number that decides                       slip
    overlook  place among the old objects, from 0       the line is not read
    misread   functions that an activity may mean       only the first is thought of
    stale     receptacles where the object was          what was said of the object is not heeded
    forget    calls so far                              no other room counts as looked through
    shallow   receptacles in a room looked at twice     the room counts as looked through
    hurry     calls so far, hand empty                  a room counts as looked through at a glance
    hasty     calls so far, when asked                  Enough Evidence
    quit      rooms looked through, hand empty          Done!
    name      objects believed here, hand empty         picks up the object, which is not here
              old entries on the map, object in hand    puts or gives it, but not in this room

"The object" is the goal's, an old entry one marked `?`. What is named is not offered, so invalid.
Quit and name come in place of leaving a room, and of nothing else: whoever plays that one turn
brings the actor past the slip.
"""

import dataclasses
import math
from collections.abc import Sequence

from adapters.sif import clues
from adapters.sif.choice import Choice, finish, pick
from adapters.sif.houses import ACTIVITIES
from adapters.sif.layout import DONE, ENOUGH
from adapters.sif.view import View

KINDS = ("overlook", "misread", "stale", "forget", "shallow", "hurry", "hasty", "quit", "name")
# What a limit falls from at dial 0, where it does not count yet, and by how much until 1. [chosen]
_LIMITS = {
    #                            at 0.25  0.5
    "overlook": (8, 12),  #         5      2
    "misread": (6, 8),  #           4      2
    "stale": (7, 4),  #             6      5
    "forget": (14, 12),  #         11      8
    "shallow": (7, 4),  #           6      5
    "hurry": (12, 12),  #           9      6
    "hasty": (8, 8),  #             6      4
    "quit": (5, 4),  #              4      3
    "name to pick": (7, 8),  #      5      3
    "name to finish": (8, 8),  #    6      4
}


@dataclasses.dataclass(frozen=True)
class Slips:
    """Which slips an actor makes, and how readily.

    Attributes:
      dial: from 0, none, to 1.
      kinds: some of `KINDS`.
    """

    dial: float
    kinds: tuple[str, ...] = KINDS

    def __post_init__(self):
        if not 0 <= self.dial <= 1:
            raise ValueError(f"dial is {self.dial}, expected a number from 0 to 1")
        for kind in self.kinds:
            if kind not in KINDS:
                raise ValueError(f"kinds has {kind!r}, expected some of {KINDS}")

    def misread(self, view: View) -> View:
        """The view as the actor takes it."""
        for kind, read in _MISREADINGS.items():
            limit = self._limit(kind)
            if limit < math.inf:
                view = read(view, limit)
        return view

    def blunder(self, view: View, actions: Sequence[str], choice: Choice) -> Choice:
        """What the actor does in place of its choice; mostly its choice.

        Args:
          view: what the agent knows, not as misread.
          actions: that are offered.
          choice: what the actor chose.
        """
        if view.asking and view.calls >= self._limit("hasty"):
            return Choice(ENOUGH, "that is enough of following")
        if view.here is None or not choice.action.startswith("Go to "):
            return choice
        if view.held is None:
            if sum(room.complete for room in view.rooms) >= self._limit("quit"):
                return Choice(DONE, "this leads nowhere")
            named = pick(view, "it must be among the things here")
            number = sum(entry.room == view.here for entry in view.entries)
            limit = self._limit("name to pick")
        elif view.held == view.goal.object:
            named = Choice(finish(view), "it is high time")
            number = sum(entry.mark == "premap" for entry in view.entries)
            limit = self._limit("name to finish")
        else:
            return choice
        return named if number >= limit and named.action not in actions else choice

    def _limit(self, name: str) -> float:
        """The least number that makes the slip; infinite if it is not made."""
        if not self.dial or name.split()[0] not in self.kinds:
            return math.inf
        first, fall = _LIMITS[name]
        return first - fall * self.dial


def _overlook(view: View, limit: float) -> View:
    # Lines in the order of the compact text, those of this room first.
    ordered = sorted(view.entries, key=lambda entry: entry.room != view.here)
    read = [e for line, e in enumerate(ordered) if line < limit or e.mark != "premap"]
    return view._replace(entries=tuple(sorted(read, key=view.entries.index)))


def _misread(view: View, limit: float) -> View:
    return view._replace(
        sentences=tuple(
            dataclasses.replace(sentence, cue=ACTIVITIES[sentence.cue][0])
            if sentence.cue in ACTIVITIES and len(ACTIVITIES[sentence.cue]) >= limit
            else sentence
            for sentence in view.sentences
        )
    )


def _stale(view: View, limit: float) -> View:
    target = view.goal.object
    old = [e.room for e in view.entries if e.object == target and e.mark == "premap"]
    if all(len(view.rooms[room].receptacles) < limit for room in old):
        return view
    heeded = (sentence for sentence in view.sentences if not clues.is_about(sentence, target))
    return view._replace(sentences=tuple(heeded))


def _forget(view: View, limit: float) -> View:
    if view.calls < limit:
        return view
    rooms = (
        room if at == view.here else room._replace(looks=0, complete=False)
        for at, room in enumerate(view.rooms)
    )
    return view._replace(rooms=tuple(rooms))


def _shallow(view: View, limit: float) -> View:
    rooms = (
        room._replace(complete=True) if room.looks == 2 and len(room.receptacles) >= limit else room
        for room in view.rooms
    )
    return view._replace(rooms=tuple(rooms))


def _hurry(view: View, limit: float) -> View:
    if view.calls < limit or view.held is not None:
        return view
    rooms = (room._replace(complete=True) if room.looks else room for room in view.rooms)
    return view._replace(rooms=tuple(rooms))


_MISREADINGS = {
    "overlook": _overlook,
    "misread": _misread,
    "stale": _stale,
    "forget": _forget,
    "shallow": _shallow,
    "hurry": _hurry,
}
