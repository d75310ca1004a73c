"""How the scripted greedy actor chooses: by the first thing it reads that fits.

It believes the map, old entries as well, before what it was told of an object that was moved. It
takes a sentence to mean the first room that has the first thing it thinks of. It keeps no count of
where it has been: a search goes from room to room by number, round and round. What it does is
offered, and done properly; its judgement is poor. Its choice follows from the compact text and the
actions.
"""

from collections.abc import Sequence

from adapters.sif import clues
from adapters.sif.choice import Choice, finish, go, look, pick, puts
from adapters.sif.houses import ACTIVITIES, FURNITURE
from adapters.sif.layout import DONE, ENOUGH, NOT_ENOUGH
from adapters.sif.view import View


def choose(view: View, actions: Sequence[str]) -> Choice:
    """The first action that comes to mind; one that is offered."""
    if view.asking:
        return _answer(view)
    if delivered(view):
        return Choice(DONE, f"the {view.goal.object} is where it should be")
    if view.held is None:
        return _fetch(view)
    if view.held == view.goal.object:
        return _deliver(view, actions)
    if puts(actions):
        return Choice(puts(actions)[0], f"it is the {view.goal.object} that is wanted")
    return search(view, "a place for it")


def _answer(view: View) -> Choice:
    if clues.cues_about(view, "") or view.human.towards is None:
        return Choice(ENOUGH, "it is known where the human goes")
    return Choice(NOT_ENOUGH, "the human is on the way")


def _fetch(view: View) -> Choice:
    target = view.goal.object
    rooms = [entry.room for entry in view.entries if entry.object == target]
    if view.here in rooms:
        return pick(view, f"the {target} is here")
    cues = clues.cues_about(view, target)
    if view.here is not None and not view.rooms[view.here].complete:
        if any(_shows(view, view.here, cue) for cue in cues):
            return look(view, view.here, f"the {target} should be here")
    if rooms:
        return go(view, rooms[0], f"the map has the {target} there")
    for room in (_first_room(view, cue) for cue in cues):
        if room is not None and not view.rooms[room].complete:
            return look(view, room, f"the {target} should be there")
    return search(view, f"the {target}")


def _deliver(view: View, actions: Sequence[str]) -> Choice:
    goal = view.goal
    if finish(view) in actions:
        return Choice(finish(view), "it can be done here")
    room = _human_room(view) if goal.kind == "human" else _first_room(view, goal.target)
    if room is None or (room == view.here and not (goal.kind == "room" and puts(actions))):
        return search(view, "the place for it")
    if room != view.here:
        return go(view, room, "it belongs there")
    return Choice(puts(actions)[0], "it belongs here")


def _human_room(view: View) -> int | None:
    """Where the human is said to go, else where it was seen going."""
    for cue in clues.cues_about(view, ""):
        room = _first_room(view, cue)
        if room is not None:
            return room
    return view.human.towards if view.human.towards is not None else view.human.room


def search(view: View, what: str) -> Choice:
    """Looks through this room, then goes to the next one by number."""
    if view.here is None:
        return go(view, 0, f"{what} may be there")
    if not view.rooms[view.here].complete:
        return look(view, view.here, f"{what} may be here")
    return go(view, (view.here + 1) % len(view.rooms), f"{what} may be there")


def _first_room(view: View, cue: str) -> int | None:
    """The first room with what is most typical of a cue's first meaning; this room before others.

    None if no room on the map has any of it.
    """
    meaning = ACTIVITIES.get(cue, (cue,))[0]
    pieces = FURNITURE[meaning][0] if meaning in FURNITURE else (meaning,)
    rooms = sorted(range(len(view.rooms)), key=lambda room: room != view.here)
    having = (room for piece in pieces for room in rooms if piece in view.rooms[room].receptacles)
    return next(having, None)


def _shows(view: View, room: int, cue: str) -> bool:
    """Whether a room has what is most typical of any of a cue's meanings."""
    meanings = ACTIVITIES.get(cue, (cue,))
    pieces = {FURNITURE[m][0][0] if m in FURNITURE else m for m in meanings}
    return not pieces.isdisjoint(view.rooms[room].receptacles)


def delivered(view: View) -> bool:
    """Whether it takes the goal to be met."""
    goal = view.goal
    seen = [e for e in view.entries if e.object == goal.object and e.mark == "seen"]
    if goal.kind == "human":
        return view.given
    if goal.kind == "recep":
        return any(entry.receptacle == goal.target for entry in seen)
    here = view.held is None and any(entry.room == view.here for entry in seen)
    return here and view.here == _first_room(view, goal.target)
