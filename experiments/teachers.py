"""Teachers of the embedded actors, for `train_actor --teacher=experiments.teachers:base`.

Scripted actors that do only what is offered, and whose slips differ by task type. They are
set so that a small model that learns most of what they do stands to another about as the base
model of the paper to the stronger one.

    base    S_obj  heeds what was said only where the map is silent, soon gives up
            PnP    reads nothing of the old map, soon gives up
    strong  S_obj  goes by what was said, room by room, and hurries late in an episode
            PnP    reads nothing of the old map, never gives up
"""

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.protocols import Reply, World
from adapters.sif.scripted import ScriptedGreedy, ScriptedListener
from adapters.sif.state import SifState
from adapters.sif.view import View


class ByType:
    """An actor for each task type, as one `adapters.protocols.Actor`."""

    temperature = 0.0

    def __init__(self, name: str, actors: Mapping[str, ScriptedGreedy | ScriptedListener]):
        """Makes the actor.

        Args:
          name: stands in the rollouts.
          actors: by task type, for example "pnp".
        """
        self.name, self._actors = name, dict(actors)

    @property
    def config(self) -> dict[str, Any]:
        """All that changes what it answers; JSON values."""
        return {kind: actor.config for kind, actor in self._actors.items()}

    def act(self, states: Sequence[SifState], seeds: Sequence[int]) -> list[Reply]:
        """One reply for each state; `seeds` are not used.

        Raises:
          ValueError: a state has ended, or there is no actor for its task type.
        """
        found = []
        for state in states:
            if (actor := self._actors.get(state.task.type)) is None:
                raise ValueError(
                    f"task {state.task.name} is {state.task.type}, expected one of "
                    f"{[*self._actors]}, the types that {self.name} plays"
                )
            found += actor.act([state], [0])
        return found

    def reads(self, view: View) -> View:
        """The view as the one of its task type takes it."""
        return self._actors[view.type].reads(view)


def base(world: World) -> ByType:
    """The weak teacher."""
    del world
    kinds = {"s_obj": (1.0, ("quit", "stale")), "pnp": (0.7, ("overlook", "quit"))}
    return ByType("base teacher", {kind: ScriptedGreedy(*how) for kind, how in kinds.items()})


def strong(world: World) -> ByType:
    """The good one."""
    del world
    kinds = {"s_obj": (0.5, ("hurry",)), "pnp": (1.0, ("overlook",))}
    return ByType("strong teacher", {kind: ScriptedListener(*how) for kind, how in kinds.items()})


def sound(world: World) -> ByType:
    """Between the two: what both are taught first, to look things up."""
    del world
    actor = ScriptedGreedy(0.5, ("overlook", "quit"))
    return ByType("sound teacher", {"s_obj": actor, "pnp": actor})
