"""What the agent knows in a situation: all that texts and honest actors may use.

Hidden, and so not here: the functions of rooms, and where objects and the human really are.
"""

from typing import NamedTuple

from adapters.sif.layout import Layout
from adapters.sif.situation import Entry, Situation
from adapters.sif.tasks import Goal, Sentence, TaskType


class RoomView(NamedTuple):
    """A room as the agent knows it.

    Attributes:
      number: as in "Room 3".
      receptacles: the mapped ones, by category, nearest to the door first.
      looks: how many different spots of it were seen in this phase; 0: not been there.
      complete: all of its spots were seen in this phase.
    """

    number: int
    receptacles: tuple[str, ...]
    looks: int
    complete: bool


class HumanView(NamedTuple):
    """The human as last sighted in an S_hum task.

    Attributes:
      room: it was in, as a position in `View.rooms`; None in free space.
      towards: the next room on its way, likewise; None once it has stopped.
    """

    room: int | None
    towards: int | None


class View(NamedTuple):
    """What the agent knows. Rooms are positions in `rooms`.

    Attributes:
      type: of the task.
      goal: as the command says it.
      sentences: heard before the command.
      command: heard last.
      calls: actions so far, of 15.
      asking: it is asked whether it has enough evidence of where the human walks.
      here: the room it is in; None in free space.
      held: category in its hand; None if empty.
      rooms: all rooms, in the order of the house.
      entries: the combined map, by category, then from the first room to the last.
      premap: the map of phase 1, with every mark "premap", in the same order.
      human: None unless the task is S_hum.
      given: the human holds an object of the goal's category.
    """

    type: TaskType
    goal: Goal
    sentences: tuple[Sentence, ...]
    command: str
    calls: int
    asking: bool
    here: int | None
    held: str | None
    rooms: tuple[RoomView, ...]
    entries: tuple[Entry, ...]
    premap: tuple[Entry, ...]
    human: HumanView | None
    given: bool


def view(layout: Layout, now: Situation) -> View:
    """What the agent knows in that situation."""
    task = layout.task
    return View(
        type=task.type,
        goal=task.goal,
        sentences=task.sentences,
        command=task.command,
        calls=now.calls,
        asking=now.asking,
        here=now.place if now.place < layout.num_rooms else None,
        held=layout.categories[now.held] if now.held >= 0 else None,
        rooms=tuple(_room(layout, now, room) for room in range(layout.num_rooms)),
        entries=tuple(_entry(layout, now, entry) for entry in now.belief),
        premap=layout.premap,
        human=_human(layout, now) if task.walk is not None else None,
        given=now.given,
    )


def _room(layout: Layout, now: Situation, room: int) -> RoomView:
    known = (room, now.looks[room], now.mapped)
    found = layout.room_views.get(known)
    if found is None:
        found = layout.room_views[known] = _make_room(layout, *known)
    return found


def _make_room(layout: Layout, room: int, looks: int, mapped: int) -> RoomView:
    spots = len(layout.task.looks[room])
    return RoomView(
        number=layout.task.house.rooms[room].number,
        receptacles=tuple(layout.receptacles_of(room, mapped)),
        looks=min(looks, spots),
        complete=looks >= spots,
    )


def _entry(layout: Layout, now: Situation, entry: int) -> Entry:
    if entry & 1:
        return layout.entry(entry >> 1, "seen")
    at = (entry >> 1) % layout.num_receptacles
    room = layout.room[at]
    looked = layout.looked[room][now.looks[room]] & layout.spot[at]
    return layout.entry(entry >> 1, "gone" if looked else "premap")


def _human(layout: Layout, now: Situation) -> HumanView:
    walk, room = layout.task.walk, layout.human_room[now.sighted]
    ahead = (r for r, time in zip(walk.rooms, walk.times, strict=True) if time > now.sighted)
    return HumanView(room if room >= 0 else None, next(ahead, None))
