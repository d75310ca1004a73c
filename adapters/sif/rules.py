"""The rules: the first state of a task, and what follows from an action. Pure functions.

What is not offered is invalid and ends the episode, which is then scored; so do `Done!` and the
limits on actions and low-level steps.
"""

from adapters.sif.layout import (
    DONE,
    FOLLOW_STEPS,
    GIVE_STEPS,
    MAX_CALLS,
    MAX_QUERY_STEPS,
    MAX_STEPS,
    PICK_STEPS,
    PUT_STEPS,
    Layout,
)
from adapters.sif.situation import Situation
from adapters.sif.state import SifState

__all__ = ["DONE", "MAX_CALLS", "MAX_STEPS", "goal_met", "start", "step"]


def start(layout: Layout, history_in_key: bool = False) -> SifState:
    """The first state: the agent has looked at the first spot of the room it is in."""
    task = layout.task
    now = Situation(
        place=layout.start,
        held=-1,
        objects=layout.objects,
        belief=layout.belief,
        mapped=layout.mapped,
        looks=(0,) * layout.num_rooms,
        calls=0,
        steps=0,
        walked=0,
        sighted=0,
        asking=task.type == "s_hum" and layout.walk_steps > 0,
        entered=0,
        given=False,
    )
    if layout.start < layout.num_rooms:
        now = _enter(layout, now, layout.start)
    return SifState(layout, now, history_in_key=history_in_key)


def step(state: SifState, action: str) -> SifState:
    """The state that follows.

    Raises:
      ValueError: `state` has ended.
    """
    if state.outcome is not None:
        raise ValueError(f"state has ended in {state.outcome}, expected one that has not")
    layout, before = state.layout, state.now
    offer = state.offers.get(action)
    if offer is None:
        now = before._replace(calls=before.calls + 1)
        return _end(state, now, action, invalid=True)
    verb, what = offer
    if verb == "done":
        return _end(state, before._replace(calls=before.calls + 1), action)
    now = _ACT[verb](layout, before, what)
    if now.steps > MAX_STEPS:  # cut off before it was done
        now = before._replace(steps=MAX_STEPS)
    now = now._replace(calls=before.calls + 1)
    if layout.walk_steps:
        now = _let_human_walk(layout, now, now.steps - before.steps)
    if now.calls >= MAX_CALLS or now.steps >= MAX_STEPS:
        return _end(state, now, action, limit=True)
    return SifState(layout, now, None, False, state, action, state.history_in_key)


def goal_met(layout: Layout, now: Situation) -> bool:
    """Whether the episode would be a success if it ended now."""
    goal, rooms = layout.task.goal, layout.task.house.rooms
    if now.entered == 2:
        return False
    if goal.kind == "human":
        return now.given
    if goal.kind == "room" and now.held >= 0:
        return False
    size = layout.num_receptacles
    for code in now.objects:
        number, at = divmod(code, size)
        if number == layout.goal:
            room = rooms[layout.room[at]]
            if (
                goal.target in room.functions
                if goal.kind == "room"
                else (goal.target == layout.receptacle[at])
            ):
                return True
    return False


def _end(
    state: SifState, now: Situation, action: str, invalid: bool = False, limit: bool = False
) -> SifState:
    """The last state, scored; a limit that ends a task unfinished truncates it."""
    if goal_met(state.layout, now):
        outcome = "success"
    else:
        outcome = "truncated" if limit else "failure"
    return SifState(state.layout, now, outcome, invalid, state, action, state.history_in_key)


def _go(layout: Layout, now: Situation, room: int) -> Situation:
    """To a room. Only this counts as entering one, not being led there by the human."""
    entered = now.entered
    task = layout.task
    if not entered and task.type == "s_hum" and not task.ambiguous and room != task.start:
        entered = 2 if room == task.destination else 1
    steps = now.steps + layout.travel[now.place][room]
    return _enter(layout, now._replace(place=room, steps=steps, entered=entered), room)


def _explore(layout: Layout, now: Situation, room: int) -> Situation:
    looks = now.looks[room]
    steps = now.steps + layout.look_steps[room][looks]
    now = now._replace(steps=steps, looks=_set(now.looks, room, layout.next_look(room, looks)))
    return _see(layout, now, layout.look[room][looks])


def _pick(layout: Layout, now: Situation, number: int) -> Situation:
    """Erases the nearest entry of that category in the room; takes the object if it is there."""
    entry = next(
        entry
        for entry in now.belief
        for found, at in [divmod(entry >> 1, layout.num_receptacles)]
        if found == number and layout.room[at] == now.place
    )
    erased, steps = now.belief.index(entry), now.steps + PICK_STEPS
    belief = now.belief[:erased] + now.belief[erased + 1 :]
    if entry >> 1 not in now.objects:
        return now._replace(belief=belief, steps=steps)
    taken = now.objects.index(entry >> 1)
    objects = now.objects[:taken] + now.objects[taken + 1 :]
    return now._replace(belief=belief, steps=steps, objects=objects, held=number)


def _put(layout: Layout, now: Situation, at: int) -> Situation:
    code = now.held * layout.num_receptacles + at
    return now._replace(
        held=-1,
        objects=tuple(sorted((*now.objects, code))),
        belief=_believe(now.belief, [code]),
        steps=now.steps + PUT_STEPS,
    )


def _give(layout: Layout, now: Situation, number: int) -> Situation:
    """Hands over what is held, once the human has arrived: it is waited for."""
    wait = layout.walk_steps - now.walked
    given = now.given or number == layout.goal
    return now._replace(held=-1, given=given, steps=now.steps + wait + GIVE_STEPS)


def _enough(layout: Layout, now: Situation, _: int) -> Situation:
    return now._replace(asking=False)


def _follow(layout: Layout, now: Situation, _: int) -> Situation:
    """Keeps beside the human for a while; sees what is seen on entering the room it comes to."""
    way = min(FOLLOW_STEPS, layout.walk_steps - now.walked)
    walked, steps = now.walked + way, now.steps + way
    asking = walked < layout.walk_steps and steps < MAX_QUERY_STEPS
    place = layout.follow_place[walked]
    moved = place != now.place
    now = now._replace(place=place, steps=steps, sighted=walked, asking=asking)
    return _enter(layout, now, place) if moved and place < layout.num_rooms else now


_ACT = {
    "go": _go,
    "explore": _explore,
    "pick": _pick,
    "put": _put,
    "give": _give,
    "enough": _enough,
    "follow": _follow,
}


def _let_human_walk(layout: Layout, now: Situation, steps: int) -> Situation:
    """The human walks for as long as the agent acted, and is seen in the room the agent is in."""
    if now.sighted == layout.walk_steps:  # it has stopped, and the agent knows
        return now._replace(walked=layout.walk_steps)
    walked = min(now.walked + steps, layout.walk_steps)
    seen = layout.human_room[walked] == now.place
    return now._replace(walked=walked, sighted=walked if seen else now.sighted)


def _enter(layout: Layout, now: Situation, room: int) -> Situation:
    """Looks at the first spot of the room."""
    if not now.looks[room]:
        now = now._replace(looks=_set(now.looks, room, layout.next_look(room, 0)))
    return _see(layout, now, layout.look[room][0])


def _see(layout: Layout, now: Situation, spot: int) -> Situation:
    """Adds to the map what is in the spot; nothing is ever taken out of it by looking."""
    size, bits = layout.num_receptacles, layout.spot
    codes = [code for code in now.objects if bits[code % size] == spot]
    belief = _believe(now.belief, codes)
    mapped = now.mapped | layout.spot_receptacles[spot]
    if belief is now.belief and mapped == now.mapped:
        return now
    return now._replace(belief=belief, mapped=mapped)


def _believe(belief: tuple[int, ...], codes: list[int]) -> tuple[int, ...]:
    """The map with these codes marked as seen."""
    new = {code << 1 | 1 for code in codes}
    if new.issubset(belief):
        return belief
    return tuple(sorted(new.union(belief).difference(code << 1 for code in codes)))


def _set(values: tuple[int, ...], i: int, value: int) -> tuple[int, ...]:
    return values[:i] + (value,) + values[i + 1 :]
