"""A world that takes every step only once.

Where many policies play the same tasks, most of what they do is the same. States are immutable, so
the state that followed an action once can be given again, and with it the texts that it has made.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.protocols import State, World


class Remembered:
    """An `adapters.protocols.World` that remembers what followed from its own states.

    It goes by the states themselves, not by their keys, which leave out how long an episode took.
    All states are kept.
    """

    def __init__(self, world: World):
        """Wraps a world in which the same action in the same state leads to the same state."""
        self._world = world
        self._first: dict[str, State] = {}
        # By the state's identity; the state is kept, so that no other one gets it.
        self._next: dict[tuple[int, str], tuple[State, State]] = {}

    @property
    def config(self) -> Mapping[str, Any]:
        return self._world.config

    def tasks(self, split: str) -> Sequence[str]:
        """As the world."""
        return self._world.tasks(split)

    def reset(self, task: str) -> State:
        """As the world; the same object each time."""
        if task not in self._first:
            self._first[task] = self._world.reset(task)
        return self._first[task]

    def step(self, state: State, action: str) -> State:
        """As the world; the same object each time."""
        key = id(state), action
        if key not in self._next:
            self._next[key] = state, self._world.step(state, action)
        return self._next[key][1]
