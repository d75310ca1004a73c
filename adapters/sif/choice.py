"""An action of a scripted actor and why, and the few ways to make one."""

from collections.abc import Sequence
from typing import NamedTuple

from adapters.sif.view import View


class Choice(NamedTuple):
    """An action and why.

    Attributes:
      action: for the world.
      why: one clause.
    """

    action: str
    why: str


def go(view: View, room: int, why: str) -> Choice:
    """To a room, a position in `view.rooms`."""
    return Choice(f"Go to Room {view.rooms[room].number}", why)


def look(view: View, room: int, why: str) -> Choice:
    """Looks on in a room, going there first."""
    if room != view.here:
        return go(view, room, why)
    return Choice(f"Explore Room {view.rooms[room].number}", why)


def pick(view: View, why: str) -> Choice:
    """Picks up the goal's object."""
    return Choice(f"Pick up {view.goal.object}", why)


def finish(view: View) -> str:
    """The action that meets the goal, as it is offered where it can be done.

    For a goal that is a room there is none, any receptacle there will do; then it is what an agent
    might say that does not read the list.
    """
    thing, goal = view.goal.object, view.goal
    if goal.kind == "human":
        return f"Give {thing} to the human"
    return f"Put {thing} {'in' if goal.kind == 'room' else 'on'} the {goal.target}"


def puts(actions: Sequence[str]) -> list[str]:
    """The actions that put down what is held, the nearest receptacle first."""
    return [action for action in actions if action.startswith("Put ")]
