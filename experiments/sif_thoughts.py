"""What a small language model looks up before it acts on the simulated SIF.

A thought is lines of the compact text that are looked up until the action follows:

    cup 3 bed ?           where the map has the object
    here 5 look 2         this room
    hear cup eating       what was heard of the object,
    fridge 4 all          and the first rooms with what is typical of where one does that
    table none
    couch 1

Nearly every token so follows one that it follows in the text, in the same place of a line: small
models learn to copy long before they learn to translate.

That is a plain thought. A checked one also says whether an object that was seen is where it should
be. A careful one does that, too, and holds all that the listener (`adapters.sif.listener`) chose
by: all rooms of a piece up to the first one in which to look, which of them were looked through
(`all`) and from which the object was moved (`old`):

    call 3
    2 old
    table 4 all 2 old 5
    cup on table none

The room it then goes to is the last one that it named.
"""

from collections.abc import Collection, Iterator

from adapters.sif import clues, greedy, listener
from adapters.sif.houses import ACTIVITIES, FURNITURE, RECEPTACLES
from adapters.sif.layout import DONE
from adapters.sif.text import (
    here_line,
    human_line,
    object_lines,
    receptacle_line,
    room_name,
    ways,
)
from adapters.sif.view import View


def thought(view: View, action: str, *, checked: bool = False) -> str:
    """The lines that are looked up before an action, until it follows: a plain thought, or a
    checked one."""
    return "\n".join(_thought(view, action, None, checked))


def careful_thought(view: View, action: str, heeded: View) -> str:
    """The lines of a careful thought.

    Args:
      view: what the text tells.
      action: that is taken then.
      heeded: what of it the listener chose by.
    """
    return "\n".join(_thought(view, action, heeded, checked=True))


def _thought(view: View, action: str, heeded: View | None, checked: bool) -> Iterator[str]:
    if view.asking:
        yield from _heard(view, "")
        yield human_line(view)
    elif view.held is None:
        yield from object_lines(view, view.goal.object)
        known = listener.believed(view if heeded is None else heeded)
        seen = [entry for entry in known if entry.mark == "seen"]
        if view.goal.kind == "room" and any(entry.room == view.here for entry in seen):
            yield from _goal(view)
        if checked and view.goal.kind == "recep" and seen:
            yield "".join(whether_on(view, view.goal.object, view.goal.target))
        yield from _plainly(view, action) if heeded is None else _carefully(view, action, heeded)
    else:
        yield from _holding(view, action, heeded is not None)


def _plainly(view: View, action: str) -> Iterator[str]:
    """What is looked up with an empty hand, after the lines about the object."""
    goal, known = view.goal, [e for e in view.entries if e.object == view.goal.object]
    seen = [entry for entry in known if entry.mark == "seen"]
    if any(entry.room == view.here for entry in known) or (action == DONE and seen):
        return
    yield short_here(view)
    heard = _heard(view, goal.object)
    there = [str(view.rooms[entry.room].number) for entry in known]
    looking = view.here is not None and not view.rooms[view.here].complete
    if action == DONE or (action.split()[-1] in there and not (heard and looking)):
        return
    yield from heard
    told = " ".join([*there, *heard]).split()
    if action.startswith("Go ") and action.split()[-1] not in told:
        yield next_line(view)


def _carefully(view: View, action: str, heeded: View) -> Iterator[str]:
    """Likewise, all of it that the listener chose by."""
    goal = view.goal
    believed = listener.believed(heeded)
    if greedy.delivered(heeded) or any(entry.room == view.here for entry in believed):
        return
    if not believed:
        yield short_here(view)
        cues, found = clues.cues_about(heeded, goal.object), False
        if cues:
            yield f"call {view.calls}"
            yield from old_line(view, goal.object)
        for cue in cues:
            if not found:
                lines, found = listed(heeded, cue, listener.moved_from(view, goal.object))
                yield from (f"hear {goal.object} {cue}", *lines)
        search = greedy.search(heeded, "").action
        if not found and action == search and action.startswith("Go "):
            yield next_line(view)


def _holding(view: View, action: str, careful: bool) -> Iterator[str]:
    """What is looked up with something in the hand."""
    goal = view.goal
    if view.held == goal.object:
        where = _heard(view, "") if goal.kind == "human" else _goal(view, careful)
        yield from where
        if goal.kind == "human":
            yield human_line(view)
        if action.startswith("Give ") or (action.startswith("Put ") and goal.kind == "recep"):
            return
        if action.startswith("Go ") and any(action.split()[-1] in line.split() for line in where):
            return
    if action.startswith("Put "):
        yield here_line(view)
        return
    yield short_here(view)
    if action.startswith("Go "):
        yield next_line(view)


def whether_on(view: View, thing: str, receptacle: str) -> tuple[str, str]:
    """A question whether an object was seen on a receptacle, and the answer: where, or none."""
    found = [e for e in view.entries if (e.object, e.receptacle) == (thing, receptacle)]
    rooms = [entry.room for entry in found if entry.mark == "seen"]
    where = "here" if view.here in rooms else room_name(view, rooms[0]) if rooms else "none"
    return f"{thing} on {receptacle}", f" {where}"


def _goal(view: View, careful: bool = False) -> list[str]:
    """Where the goal's receptacle or room may be."""
    if view.goal.kind == "recep":
        first = receptacle_line(view, view.goal.target, 1)
        none = careful and first.endswith(" none")
        return listed(view, view.goal.target)[0] if none else [first]
    return [f"in {view.goal.target}", *places_of(view, view.goal.target)]


def _heard(view: View, about: str) -> list[str]:
    """What was said of an object, or of the human (""), and where there is any of it."""
    lines = []
    for sentence in view.sentences:
        if sentence.about == about and sentence.cue:
            lines += [f"hear {about or 'human'} {sentence.cue}", *places_of(view, sentence.cue)]
    return lines


def listed(view: View, cue: str, moved_from: Collection[int] = ()) -> tuple[list[str], bool]:
    """The rooms that a cue may mean, as far as the first one in which to look.

    Args:
      view: what the text tells.
      cue: what was said, or a receptacle.
      moved_from: rooms in which to look last.

    Returns:
      A line for each piece of furniture, with its rooms; and whether there is one in which to look.
    """
    lines = []
    for piece, rooms in listener.rooms_for(view, cue):
        names = []
        for room in rooms:
            names.append(room_name(view, room))
            complete = view.rooms[room].complete
            if not complete and room not in moved_from:
                return [*lines, " ".join([piece, *names])], True
            names += ["all"] * complete + ["old"] * (room in moved_from)
        lines.append(" ".join([piece, *(names or ["none"])]))
    return lines, False


def old_line(view: View, name: str) -> list[str]:
    """The line about where an object was moved from, if that is known."""
    rooms = sorted(listener.moved_from(view, name), key=lambda room: (room != view.here, room))
    return [" ".join(f"{room_name(view, room)} old" for room in rooms)] if rooms else []


def places_of(view: View, cue: str) -> list[str]:
    """The first room with a receptacle, or with what is typical of a function or an activity."""
    if cue in RECEPTACLES:
        return [receptacle_line(view, cue, 1)]
    meanings = ACTIVITIES.get(cue, (cue,))
    always = FURNITURE[meanings[0]][0]
    known = {name for room in view.rooms for name in room.receptacles}
    # Of the first meaning what there is; of the others what is most typical.
    first = next((i for i, piece in enumerate(always) if piece in known), len(always) - 1)
    pieces = dict.fromkeys([*always[: first + 1], *(FURNITURE[m][0][0] for m in meanings[1:])])
    return [receptacle_line(view, piece, 1) for piece in pieces]


def short_here(view: View) -> str:
    """The line about this room without what stands in it."""
    return " ".join(here_line(view).split()[:4])


def next_line(view: View) -> str:
    """The line about the other rooms, as far as the first one."""
    others = ways(view)
    return f"go {view.rooms[others[0]].number if others else 'none'}"
