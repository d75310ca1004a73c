"""States as text, in two styles; nothing is told that the agent does not know.

compact  An index that a small model can learn to read: most lines begin with what one looks up.
         A function of the state's key.
full     For large models, in the order of the public prompt, in words of our own. Tells the past
         actions too, which the key leaves out unless the world was made with history_in_key.

A compact text, of a task to put the cup on a table:

    here 5 look 2 counter fridge table     looked at twice; `look all` if looked through
    go 1 2 all 3 4 look 1                  the other rooms, from the one that follows by number
    chair 1                                each receptacle: the rooms with it on the map,
    bed 1 3                                  those looked through marked `all`
    toilet 2 all
    table here 3
    book here table x                      objects on the map, those of this room first
    hat 1 bed ?
    hear cup eating                        what the human said of the cup
    call 3 all 1 hand none                 actions so far, rooms looked through, what is held
    s_obj put cup on table                 the goal

The room the agent is in is written `here`, and stands before others. An object of the map that was
not seen in this phase is marked `?`, or `x` if its place was looked at in vain.
"""

from collections.abc import Sequence
from typing import NamedTuple

from adapters.sif.hints import spoken
from adapters.sif.houses import RECEPTACLES
from adapters.sif.layout import MAX_CALLS
from adapters.sif.situation import Entry
from adapters.sif.view import RoomView, View

_MARKS = {"seen": "", "premap": " ?", "gone": " x"}


class Turn(NamedTuple):
    """A past action and what the agent learned from it.

    Attributes:
      action: as it was given; empty for the start.
      verb: what it was to the rules: "go", "explore", "pick", ...; "invalid" if it was not offered,
        "cut" if the limit on low-level steps ended it; empty for the start.
      before, after: what the agent knew.
      seen: what stood in the spot that was looked at; None if none was.
    """

    action: str
    verb: str
    before: View | None
    after: View
    seen: tuple[Entry, ...] | None


def compact(view: View) -> str:
    """The compact text."""
    return f"{house_text(view)}\n{task_text(view)}"


def house_text(view: View) -> str:
    """The first part of the compact text: the house, and where the agent is."""
    others = [_other(view, room) for room in ways(view)]
    lines = [here_line(view), " ".join(["go", *(others or ["none"])])]
    lines += [receptacle_line(view, name) for name in _receptacles(view)]
    ordered = sorted(view.entries, key=lambda entry: entry.room != view.here)
    return "\n".join([*lines, *(_entry_line(view, entry) for entry in ordered)])


def task_text(view: View) -> str:
    """The rest of it: what was heard, how far the agent is, and the goal."""
    lines = []
    for sentence in view.sentences:
        if sentence.cue is None:
            lines.append(f"hear {sentence.text}")
        elif sentence.cue:
            lines.append(f"hear {sentence.about or 'human'} {sentence.cue}")
    if view.human is not None:
        lines.append(human_line(view))
    through = sum(room.complete for room in view.rooms)
    lines.append(f"call {view.calls} all {through} hand {view.held or 'none'}")
    lines.append(f"{view.type} {_short_goal(view)}")
    return "\n".join(lines)


def here_line(view: View) -> str:
    """The line of the compact text about the room that the agent is in."""
    if view.here is None:
        return "here none"
    known = view.rooms[view.here]
    looks = "all" if known.complete else known.looks
    return " ".join([f"here {known.number} look {looks}", *known.receptacles])


def ways(view: View) -> list[int]:
    """The other rooms, by number, round and round from the one the agent is in."""
    start, size = -1 if view.here is None else view.here, len(view.rooms)
    return [(start + 1 + i) % size for i in range(size - (view.here is not None))]


def receptacle_line(view: View, name: str, most: int | None = None) -> str:
    """The line about a receptacle, `none` if there is none on the map; or its beginning, the first
    `most` rooms."""
    rooms = sorted(range(len(view.rooms)), key=lambda room: room != view.here)
    having = [room for room in rooms if name in view.rooms[room].receptacles]
    told = [room_name(view, room) + " all" * view.rooms[room].complete for room in having[:most]]
    return " ".join([name, *(told or ["none"])])


def object_lines(view: View, name: str) -> list[str]:
    """The lines about an object, those of this room first; `none` if it is not on the map."""
    found = [entry for entry in view.entries if entry.object == name]
    found.sort(key=lambda entry: entry.room != view.here)
    return [_entry_line(view, entry) for entry in found] or [f"{name} none"]


def room_name(view: View, room: int) -> str:
    """What the compact text calls a room: its number, or `here`."""
    return "here" if room == view.here else str(view.rooms[room].number)


def human_line(view: View) -> str:
    """The line about the human, of a view that has one."""
    room, towards = view.human
    words = ["human", "between" if room is None else room_name(view, room)]
    words += ["stays"] if towards is None else ["to", room_name(view, towards)]
    return " ".join(words + ["ask"] * view.asking + ["has"] * view.given)


def full(turns: Sequence[Turn], actions: Sequence[str]) -> str:
    """The full text.

    Args:
      turns: the start and every past action, in order.
      actions: that are offered now.
    """
    first, view = turns[0].after, turns[-1].after
    parts = [
        _role(view),
        "WHAT YOU SAW BEFORE\nYou walked through the house earlier. Things may have been moved "
        "since, so this map may be out of date:\n" + _map(first.rooms, first.premap),
        "\n".join(f'The human says: "{sentence.text}"' for sentence in view.sentences)
        + f'\nThe human asks you: "{view.command}"',
    ]
    if view.human is not None:
        parts.append("THE HUMAN\n" + _human(view))
    parts.append(
        "WHAT YOU HAVE DONE\n"
        + "\n".join(f"{number}. {_told(turn)}" for number, turn in enumerate(turns))
    )
    parts.append(
        "THE MAP NOW\nEverything seen before and since; what was moved away may still be listed:\n"
        + _map(view.rooms, view.entries)
    )
    parts.append(f'Remember what you were asked: "{view.command}"')
    if view.asking:
        parts.append(
            "The human is walking. Do you have enough evidence of where to? If you have not, you "
            "follow the human a little and are asked again."
        )
    parts.append("ACTIONS\n" + "\n".join(f"- {action}" for action in actions))
    parts.append(_situation(view))
    parts.append("Answer in this form:\nReasoning: <your reasoning>\nAction: <one of the actions>")
    return "\n\n".join(part.strip() for part in parts)


def _short_goal(view: View) -> str:
    goal = view.goal
    if goal.kind == "human":
        return f"bring {goal.object}"
    return f"put {goal.object} {'in' if goal.kind == 'room' else 'on'} {goal.target}"


def _other(view: View, room: int) -> str:
    known = view.rooms[room]
    if known.complete:
        return f"{known.number} all"
    return f"{known.number} look {known.looks}" if known.looks else str(known.number)


def _receptacles(view: View) -> list[str]:
    known = {name for room in view.rooms for name in room.receptacles}
    return [name for name in RECEPTACLES if name in known] + sorted(known.difference(RECEPTACLES))


def _entry_line(view: View, entry: Entry) -> str:
    return f"{entry.object} {room_name(view, entry.room)} {entry.receptacle}{_MARKS[entry.mark]}"


def _role(view: View) -> str:
    text = (
        "You are a robot that helps a human in a house. Choose one action at a time. You have "
        f"{MAX_CALLS} actions in all. An action that is not in the list ends the task at once. "
        f"Say Done! when the task is done.\nThe task takes place in "
        f"{_listed([f'Room {room.number}' for room in view.rooms])}. What a room is used for has "
        "to be told from what stands in it."
    )
    if view.type == "s_hum":
        text += " The human is on the way to some room and will wait there."
    return text


def _map(rooms: Sequence[RoomView], entries: Sequence[Entry]) -> str:
    lines = []
    for position, room in enumerate(rooms):
        here = [entry for entry in entries if entry.room == position]
        places = dict.fromkeys(room.receptacles)
        things = [f"{place}: {_things(here, place)}" for place in places]
        lines.append(f"Room {room.number}: " + ("; ".join(things) or "nothing known"))
    return "\n".join(lines)


def _things(entries: Sequence[Entry], receptacle: str) -> str:
    return ", ".join(e.object for e in entries if e.receptacle == receptacle) or "-"


def _human(view: View) -> str:
    room, towards = view.human
    where = "between two rooms" if room is None else f"in Room {view.rooms[room].number}"
    if towards is None:
        return f"You last saw the human {where}, standing still."
    return f"You last saw the human {where}, walking towards Room {view.rooms[towards].number}."


def _situation(view: View) -> str:
    where = "between rooms" if view.here is None else f"in Room {view.rooms[view.here].number}"
    hand = "Your hand is empty" if view.held is None else f"You hold the {spoken(view.held)}"
    return f"You are {where}. {hand}. You have used {view.calls} of {MAX_CALLS} actions."


def _told(turn: Turn) -> str:
    before, after = turn.before, turn.after
    if not turn.verb:
        start = "in free space" if after.here is None else f"in Room {_number(after)}"
        return f"You start {start}. {_seen(turn)}".strip()
    if turn.verb == "pick":
        done = after.held is not None
        outcome = "You have it." if done else "That failed: it is not there any more."
    elif turn.verb == "put":
        outcome = "It is there now."
    elif turn.verb == "give":
        outcome = "The human has it."
    elif turn.verb == "enough":
        outcome = "You stop watching the human."
    elif turn.verb == "follow":
        outcome = f"You follow. {_human(after)} {_seen(turn)}".strip()
    elif turn.verb == "invalid":
        outcome = "There was no such action."
    elif turn.verb == "done":
        outcome = "The task is over."
    elif turn.verb == "cut":
        outcome = "There was no time left."
    elif turn.verb == "explore" and before.rooms[before.here].complete:
        outcome = f"You had seen all of this room. {_seen(turn)}"
    else:
        outcome = _seen(turn)
    if turn.verb in ("go", "explore") and _in_sight(after):
        outcome += " The human is here."
    return f"{turn.action}: {outcome}"


def _in_sight(view: View) -> bool:
    return view.human is not None and view.here is not None and view.human.room == view.here


def _seen(turn: Turn) -> str:
    if turn.seen is None:
        return ""
    things = [f"{entry.object} on the {entry.receptacle}" for entry in turn.seen]
    return f"You see {_listed(things)}." if things else "You see no small objects."


def _number(view: View) -> int:
    return view.rooms[view.here].number


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
