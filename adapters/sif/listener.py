"""How the scripted listener chooses: by what it was told, room by room.

It lists the rooms that what was said may mean: for each room function the first piece of furniture
that such a room has and that is on the map, and all rooms with that piece. Those that it has looked
through do not count, and where the object was moved from it looks last. The map it believes only
where nothing was said. Where a receptacle is on no map it lists the rooms that should have one.
All else it does as the greedy one does (`adapters.sif.greedy`).
"""

from collections.abc import Iterator, Sequence

from adapters.sif import clues, greedy
from adapters.sif.choice import Choice, go, look, pick
from adapters.sif.houses import ACTIVITIES, FURNITURE
from adapters.sif.situation import Entry
from adapters.sif.view import View

# Furniture that only rooms of one function always have comes before what many rooms have.
_OWN = {name for name, (always, _) in FURNITURE.items() if always[0] != "table"}


def choose(view: View, actions: Sequence[str]) -> Choice:
    """The first room on its lists; one of the actions that are offered."""
    goal = view.goal
    if not view.asking and not greedy.delivered(view):
        if view.held is None:
            return _fetch(view)
        if view.held == goal.object and goal.kind == "recep" and not _known(view, goal.target):
            return _look_through(view, [rooms_for(view, goal.target)], f"a {goal.target}", set())
    return greedy.choose(view, actions)


def rooms_for(view: View, cue: str) -> list[tuple[str, list[int]]]:
    """Pieces of furniture that a cue has one look for, each with the rooms that have it.

    The room that the agent is in stands first. Of each function that is meant, the pieces end with
    the first one that is on the map; so does a receptacle, and only if there is none on the map the
    rooms follow that should have one.
    """
    first: list[str] = []
    if cue in ACTIVITIES:
        functions = sorted(ACTIVITIES[cue], key=lambda name: name not in _OWN)
    elif cue in FURNITURE:
        functions = [cue]
    elif _known(view, cue):
        return [(cue, _having(view, cue))]
    else:
        first = [cue]
        functions = [name for name, (always, _) in FURNITURE.items() if cue in always]
        functions += [name for name, (_, maybe) in FURNITURE.items() if cue in maybe]
    pieces = [piece for name in functions for piece in _until_known(view, FURNITURE[name][0])]
    return [(piece, _having(view, piece)) for piece in dict.fromkeys([*first, *pieces])]


def moved_from(view: View, name: str) -> set[int]:
    """The rooms in which the map has an object that was not seen there in this phase."""
    return {e.room for e in view.entries if e.object == name and e.mark != "seen"}


def believed(view: View) -> list[Entry]:
    """The entries about the goal's object that are believed: those seen in this phase first, and
    those of the old map only where nothing was said."""
    target = view.goal.object
    marks = ["seen"] if clues.cues_about(view, target) else ["seen", "premap"]
    entries = (e for e in view.entries if e.object == target and e.mark in marks)
    return sorted(entries, key=lambda entry: marks.index(entry.mark))


def _fetch(view: View) -> Choice:
    target = view.goal.object
    rooms = [entry.room for entry in believed(view)]
    if view.here in rooms:
        return pick(view, f"the {target} is here")
    if rooms:
        return go(view, rooms[0], f"the {target} is there")
    lists = [rooms_for(view, cue) for cue in clues.cues_about(view, target)]
    return _look_through(view, lists, f"the {target}", moved_from(view, target))


def _look_through(
    view: View, lists: Sequence[Sequence[tuple[str, list[int]]]], what: str, last: set[int]
) -> Choice:
    """Looks through the first listed room that it has not; through those in `last` at last."""
    listed = dict.fromkeys(room for pieces in lists for _, rooms in pieces for room in rooms)
    open_ = [room for room in listed if not view.rooms[room].complete]
    fresh = [room for room in open_ if room not in last]
    if fresh:
        return look(view, fresh[0], f"{what} should be there")
    if view.here is not None and not view.rooms[view.here].complete:
        return look(view, view.here, f"{what} may be here")
    if open_:
        return go(view, open_[0], f"{what} may be there")
    return greedy.search(view, what)


def _until_known(view: View, pieces: Sequence[str]) -> Iterator[str]:
    for piece in pieces:
        yield piece
        if _known(view, piece):
            return


def _known(view: View, piece: str) -> bool:
    return any(piece in room.receptacles for room in view.rooms)


def _having(view: View, piece: str) -> list[int]:
    rooms = sorted(range(len(view.rooms)), key=lambda room: room != view.here)
    return [room for room in rooms if piece in view.rooms[room].receptacles]
