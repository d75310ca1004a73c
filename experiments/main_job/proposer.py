"""A scripted actor that samples, so that search has something to choose from."""

from collections.abc import Sequence

from adapters import seeds as seeds_lib
from adapters.protocols import Actor, Reply, State, World
from adapters.sif.scripted import ScriptedGreedy

_STRAY = 0.5  # chance that an action is drawn from all that are offered


class Straying:
    """An actor whose replies give way by chance to any action that is offered.

    What a language model does at temperature 1 is something else; this stands in for it where all
    actors are scripted.
    """

    temperature = 1.0

    def __init__(self, actor: Actor, stray: float = _STRAY):
        """Makes the actor.

        Args:
          actor: the one that strays.
          stray: with that probability.
        """
        self.name, self._actor, self._stray = f"straying {actor.name}", actor, stray
        self.config = {"stray": stray, **getattr(actor, "config", {})}

    def act(self, states: Sequence[State], seeds: Sequence[int]) -> list[Reply]:
        """One reply for each state, drawn from its seed."""
        replies = self._actor.act(states, seeds)
        for i, (state, seed) in enumerate(zip(states, seeds, strict=True)):
            if seeds_lib.uniform(seeds_lib.derive("stray", seed)) < self._stray:
                u = seeds_lib.uniform(seeds_lib.derive("action", seed))
                action = state.actions[int(u * len(state.actions))]
                replies[i] = Reply(action, raw=action)
        return replies


def greedy(world: World) -> Straying:
    """The scripted base actor, straying."""
    del world
    return Straying(ScriptedGreedy())
