"""Help that comes from an actor: a stronger model, an oracle."""

from collections.abc import Sequence

from adapters.protocols import Actor, Reply, State


class ByActor:
    """Another actor plays the turn, a stronger model or an oracle, and remembers nothing.

    Attributes:
      actor: who plays.
      name: the actor's.
      deterministic: the actor's temperature is 0.
    """

    def __init__(self, actor: Actor):
        self.actor = actor
        self.name = actor.name
        self.deterministic = actor.temperature == 0

    def start(self) -> None:
        """There is no memory."""
        return None

    def act(
        self, states: Sequence[State], memories: Sequence[None], seeds: Sequence[int]
    ) -> list[Reply]:
        """The actor's replies."""
        return self.actor.act(states, seeds)

    def watch(self, memory: None, state: State, action: str) -> None:
        """Nothing is learned from the turns of others."""
