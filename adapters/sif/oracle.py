"""An actor that sees everything: where objects and the human are, and what every room is for.

It plays on from any state, also from one that others left it with something wrong in its hand. Its
length in a task is L* of SPL.
"""

from collections.abc import Sequence

from adapters.protocols import Reply
from adapters.sif import rules
from adapters.sif.houses import NO_PUT
from adapters.sif.layout import DONE, ENOUGH, MAX_STEPS, Layout
from adapters.sif.situation import Situation
from adapters.sif.state import SifState
from adapters.sif.tasks import Task


class ScriptedOracle:
    """Fetches the object by the shortest way it finds; see `adapters.protocols.Actor`."""

    name = "oracle"
    temperature = 0.0

    def act(self, states: Sequence[SifState], seeds: Sequence[int]) -> list[Reply]:
        """The oracle's action in each state; `seeds` are not used."""
        return [Reply(action=choose(state)) for state in states]


def play(task: Task) -> SifState:
    """The oracle's whole episode of a task; its last state."""
    state = rules.start(Layout(task))
    while state.outcome is None:
        state = rules.step(state, choose(state))
    return state


def choose(state: SifState) -> str:
    """The oracle's action.

    Raises:
      ValueError: `state` has ended.
    """
    if state.outcome is not None:
        raise ValueError(f"state has ended in {state.outcome}, expected one that has not")
    layout, now = state.layout, state.now
    if now.asking:
        return ENOUGH
    if rules.goal_met(layout, now):
        return DONE
    if now.held == layout.goal:
        return _deliver(state)
    if now.held >= 0:
        return _drop(state)
    return _fetch(state)


def _fetch(state: SifState) -> str:
    """Towards the object of the goal's category that makes the way shortest, goal included."""
    layout, now = state.layout, state.now
    size = layout.num_receptacles
    codes = [code for code in now.objects if code // size == layout.goal]
    if not codes:
        return DONE

    def cost(code: int) -> int:
        room = layout.room[code % size]
        return _reach(layout, now, code % size, _believed(now, code)) + min(
            _delivery(layout, now, room, room_to, at) for room_to, at in _targets(layout)
        )

    code = min(codes, key=cost)
    room = layout.room[code % size]
    if room != now.place:
        return _go(state, room)
    if _believed(now, code):
        return _offered(state, "pick", layout.goal)
    return _offered(state, "explore", room)


def _deliver(state: SifState) -> str:
    """Towards the nearest place that meets the goal, and there puts or gives what is held."""
    layout, now = state.layout, state.now
    targets = _targets(layout)
    room, at = min(targets, key=lambda target: _delivery(layout, now, now.place, *target))
    if room != now.place:
        return _go(state, room)
    if at is None:
        return _offered(state, "give", now.held)
    if now.mapped >> at & 1:
        nearest = layout.find(room, layout.receptacle[at], now.mapped)
        return _offered(state, "put", nearest)
    return _offered(state, "explore", room)


def _drop(state: SifState) -> str:
    """Puts down what is wrong, here or in the nearest room where that can be done."""
    layout, now = state.layout, state.now
    for action, (verb, _) in state.offers.items():
        if verb == "put":
            return action
    rooms = [
        layout.room[at]
        for at, name in enumerate(layout.receptacle)
        if name not in NO_PUT and now.mapped >> at & 1
    ]
    if not rooms:
        return DONE
    return _go(state, min(rooms, key=lambda room: layout.travel[now.place][room]))


def _targets(layout: Layout) -> list[tuple[int, int | None]]:
    """Rooms, each with a receptacle there, that meet the goal; None in place of one: the human."""
    task = layout.task
    goal, rooms = task.goal, task.house.rooms
    if goal.kind == "human":
        return [(task.destination, None)]
    return [
        (layout.room[at], at)
        for at, name in enumerate(layout.receptacle)
        if name not in NO_PUT
        and (
            name == goal.target
            if goal.kind == "recep"
            else goal.target in rooms[layout.room[at]].functions
        )
    ]


def _delivery(layout: Layout, now: Situation, place: int, room: int, at: int | None) -> int:
    """Low-level steps from a place until it is possible to put something there."""
    if at is None:
        return layout.travel[place][room]
    return _reach(layout, now._replace(place=place), at, bool(now.mapped >> at & 1))


def _reach(layout: Layout, now: Situation, at: int, known: bool) -> int:
    """Low-level steps to the room of a receptacle, and of looks there until it is seen."""
    room = layout.room[at]
    steps, looks, turns = layout.travel[now.place][room], now.looks[room], layout.look[room]
    if known or (room != now.place and turns[0] == layout.spot[at]):
        return steps
    looks = looks or 1
    while True:
        steps += layout.look_steps[room][looks]
        if turns[looks] == layout.spot[at] or steps > MAX_STEPS:
            return steps
        looks = layout.next_look(room, looks)


def _believed(now: Situation, code: int) -> bool:
    return code << 1 in now.belief or code << 1 | 1 in now.belief


def _go(state: SifState, room: int) -> str:
    """To the room; in a clear S_hum task not to the human first, but by way of another room."""
    layout, now = state.layout, state.now
    task, way = layout.task, layout.travel
    if task.type == "s_hum" and not task.ambiguous and not now.entered:
        if room == task.destination != task.start:
            others = set(range(layout.num_rooms)) - {room, task.start, now.place}
            if others:
                room = min(others, key=lambda via: (way[now.place][via] + way[via][room], via))
    return _offered(state, "go", room)


def _offered(state: SifState, verb: str, what: int) -> str:
    """The action offered with that meaning."""
    for action, meaning in state.offers.items():
        if meaning == (verb, what):
            return action
    raise AssertionError(f"{verb} {what} is not offered in {state.key}")
