"""How the scripted reasoner chooses: it makes the best of what the agent sees.

It looks for the object where the human said it is, tells rooms by their furniture, does not trust
an old entry of the map for an object that was moved, and follows the human as long as nothing else
tells where the human goes. Its choice is a function of the view and the actions, so of the state's
key; where it has been it knows from what the map says was looked at.
"""

from collections.abc import Sequence

from adapters.sif import clues
from adapters.sif.choice import Choice, finish, go, look, pick, puts
from adapters.sif.houses import NO_PUT
from adapters.sif.layout import DONE, ENOUGH, MAX_CALLS, NOT_ENOUGH
from adapters.sif.view import View

_SURE = 0.8  # odds at which no further evidence is looked for
_STAY = 0.5  # it goes on in a room unless another is likelier by more than 1 / _STAY
_MOVED = 0.1  # how likely a moved object is still in the room where it was
_DOUBT = 1e-3  # whatever is said or seen may be wrong
_AHEAD = 2.0  # how much likelier the room is that the human walks to next
_LEFT = 0.01  # how likely the room is that the human walks out of


def choose(view: View, actions: Sequence[str]) -> Choice:
    """The best action that the agent can know of; one that is offered."""
    if view.asking:
        return _answer(view)
    if _delivered(view):
        return Choice(DONE, f"the {view.goal.object} is where it should be")
    if view.held is None:
        return _fetch(view)
    if view.held != view.goal.object:
        return _drop(view, actions)
    if finish(view) in actions:
        return Choice(finish(view), "it can be done here")
    if view.goal.kind == "human":
        return _to_human(view)
    return _to_receptacle(view) if view.goal.kind == "recep" else _to_room(view, puts(actions))


def _answer(view: View) -> Choice:
    odds = _human_odds(view)
    best = max(odds)
    if best >= _SURE or view.calls > MAX_CALLS // 2:
        return Choice(ENOUGH, f"the human goes to Room {view.rooms[odds.index(best)].number}")
    return Choice(NOT_ENOUGH, "the human may go to several rooms")


def _fetch(view: View) -> Choice:
    target, odds = view.goal.object, _object_odds(view)
    entries = [entry for entry in view.entries if entry.object == target]
    trusted = [entry.room for entry in entries if entry.mark == "seen"]
    if not trusted and not clues.cues_about(view, target):
        trusted = [entry.room for entry in entries if entry.mark == "premap"]
    if view.here in trusted:
        return pick(view, f"the {target} is here")
    if trusted:
        return go(view, trusted[0], f"the {target} is there")
    return _search(view, odds, f"the {target}")


def _search(view: View, odds: Sequence[float], what: str) -> Choice:
    """Looks on in this room, or goes to one that is much likelier."""
    best = max(range(len(odds)), key=lambda room: (odds[room], room == view.here))
    if odds[best] == 0:
        return Choice(DONE, f"{what} is nowhere to be found")
    if view.here is not None and odds[view.here] >= _STAY * odds[best]:
        return look(view, view.here, f"{what} may be here")
    return go(view, best, f"{what} is likeliest to be there")


def _object_odds(view: View) -> list[float]:
    """How likely it is to find the goal's object by looking on in each room; not normalised."""
    target, cues = view.goal.object, clues.cues_about(view, view.goal.object)
    odds = _said(view, cues)
    old = {entry.room for entry in view.entries if entry.object == target}
    for room, known in enumerate(view.rooms):
        if known.complete:
            odds[room] = 0.0
        elif cues and room in old:
            odds[room] *= _MOVED
    return odds


def _human_odds(view: View) -> list[float]:
    """How likely it is that the human goes to each room; sums to 1."""
    human, size = view.human, len(view.rooms)
    if human.towards is None and human.room is not None:
        return [float(room == human.room) for room in range(size)]
    odds = _said(view, clues.cues_about(view, ""))
    if human.towards is not None:
        odds[human.towards] *= _AHEAD
    if human.room is not None:
        odds[human.room] *= _LEFT
    total = sum(odds)
    return [value / total for value in odds]


def _said(view: View, cues: Sequence[str]) -> list[float]:
    """How well all that was said fits each room."""
    odds = [1.0] * len(view.rooms)
    for cue in cues:
        fits = clues.fits(view, cue)
        odds = [before * (fit + _DOUBT) for before, fit in zip(odds, fits, strict=True)]
    return odds


def _to_receptacle(view: View) -> Choice:
    target = view.goal.target
    odds = [clues.odds_of_receptacle(view, room, target) for room in range(len(view.rooms))]
    if max(odds) == 1.0:
        return go(view, odds.index(1.0), f"a {target} is there")
    return _search(view, odds, f"a {target}")


def _to_room(view: View, offered: Sequence[str]) -> Choice:
    room, target = _goal_room(view), view.goal.target
    if room != view.here:
        return go(view, room, f"it looks like a {target}")
    known = view.rooms[room]
    unsure = clues.odds_of(view, room, (target,)) < _SURE and view.calls < MAX_CALLS - 5
    if not known.complete and (unsure or not offered):
        return look(view, room, f"this may be a {target}")
    if offered:
        return Choice(offered[0], f"this looks like a {target}")
    return _search(view, [float(not r.complete) for r in view.rooms], "a place for it")


def _goal_room(view: View) -> int:
    """The room that looks most like the goal's."""
    odds = [clues.odds_of(view, room, (view.goal.target,)) for room in range(len(view.rooms))]
    return odds.index(max(odds))


def _to_human(view: View) -> Choice:
    odds = _human_odds(view)
    order = sorted(range(len(odds)), key=lambda room: (-odds[room], room))
    new = [room for room in order if not view.rooms[room].looks]
    room = order[0]
    if room == view.here or odds[room] < _SURE:
        # First where it has not been yet; then from the likeliest room to the least likely.
        here = order.index(view.here) if view.here is not None else -1
        room = new[0] if new else order[(here + 1) % len(order)]
    return go(view, room, "the human is likeliest to be there")


def _drop(view: View, actions: Sequence[str]) -> Choice:
    """Puts down what is not wanted."""
    why = f"it is the {view.goal.object} that is wanted"
    if puts(actions):
        return Choice(puts(actions)[0], why)
    for room, known in enumerate(view.rooms):
        if room != view.here and set(known.receptacles) - NO_PUT:
            return go(view, room, why)
    return _search(view, [float(not room.complete) for room in view.rooms], "a place for it")


def _delivered(view: View) -> bool:
    goal = view.goal
    seen = [e for e in view.entries if e.object == goal.object and e.mark == "seen"]
    if goal.kind == "human":
        return view.given
    if goal.kind == "recep":
        return any(entry.receptacle == goal.target for entry in seen)
    return view.held is None and bool(seen) and _goal_room(view) in {e.room for e in seen}
