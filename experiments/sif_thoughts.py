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

A plain thought takes it that all was heeded. That is learnt first; but a teacher that does not heed
the old map then acts on more than was looked up. A careful thought goes on until all is there that
the teacher chose by, and says whether an object that was seen is where it should be:

    cup here chair
    cup on table none
"""

from collections.abc import Iterator

from adapters.sif.houses import ACTIVITIES, FURNITURE, RECEPTACLES
from adapters.sif.layout import DONE
from adapters.sif.text import here_line, human_line, object_lines, receptacle_line, ways
from adapters.sif.view import View


def thought(view: View, action: str, heeded: View | None = None) -> str:
    """The lines that are looked up before an action, until it follows.

    Args:
      view: what the text tells.
      action: that is taken then.
      heeded: what of it the teacher chose by, for a careful thought; None for a plain one.
    """
    return "\n".join(_looked_up(view, action, heeded))


def _looked_up(view: View, action: str, heeded: View | None) -> Iterator[str]:
    careful, heeded = heeded is not None, heeded or view
    goal, known = view.goal, [e for e in heeded.entries if e.object == view.goal.object]
    if view.asking:
        yield from _heard(view, "")
        yield human_line(view)
        return
    if view.held is None:
        yield from object_lines(view, goal.object)
        seen = [entry for entry in known if entry.mark == "seen"]
        if goal.kind == "room" and any(entry.room == view.here for entry in seen):
            yield from _goal(view)
        if careful and goal.kind == "recep" and seen:
            yield "".join(whether_on(view, goal.object, goal.target))
        if any(entry.room == view.here for entry in known) or (action == DONE and seen):
            return
        yield short_here(view)
        heard = _heard(heeded, goal.object)
        there = [str(view.rooms[entry.room].number) for entry in known]
        looking = view.here is not None and not view.rooms[view.here].complete
        if action == DONE or (action.split()[-1] in there and not (heard and looking)):
            return
        yield from heard
        told = " ".join([*there, *heard]).split()
        if action.startswith("Go ") and action.split()[-1] not in told:
            yield next_line(view)
        return
    if view.held == goal.object:
        where = _heard(view, "") if goal.kind == "human" else _goal(view)
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
    where = "here" if view.here in rooms else str(view.rooms[rooms[0]].number) if rooms else "none"
    return f"{thing} on {receptacle}", f" {where}"


def _goal(view: View) -> list[str]:
    """Where the goal's receptacle or room may be."""
    if view.goal.kind == "recep":
        return [receptacle_line(view, view.goal.target, 1)]
    return [f"in {view.goal.target}", *places_of(view, view.goal.target)]


def _heard(view: View, about: str) -> list[str]:
    """What was said of an object, or of the human (""), and where there is any of it."""
    lines = []
    for sentence in view.sentences:
        if sentence.about == about and sentence.cue:
            lines += [f"hear {about or 'human'} {sentence.cue}", *places_of(view, sentence.cue)]
    return lines


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
