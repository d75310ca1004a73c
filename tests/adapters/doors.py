"""A small world, its actors and a scripted intervention, for tests.

A task is a row of rooms; each has three doors, of which one leads on. A wrong door leaves all
as it is, but a call is used up. After the last room the task is done.
"""

import dataclasses

from adapters.protocols import Decision, Reply
from adapters.seeds import derive

DOORS = ("door 0", "door 1", "door 2")


@dataclasses.dataclass(frozen=True)
class State:
    task: str
    rooms: int
    limit: int
    room: int = 0
    calls: int = 0
    invalid: bool = False

    @property
    def key(self):
        return f"{self.task} room={self.room} calls={self.calls}" + " invalid" * self.invalid

    @property
    def actions(self):
        return () if self.outcome else DOORS

    @property
    def outcome(self):
        if self.invalid:
            return "failure"
        if self.room == self.rooms:
            return "success"
        return "truncated" if self.calls == self.limit else None

    @property
    def measures(self):
        return {"calls": float(self.calls)}

    @property
    def right_door(self):
        return DOORS[derive(self.task, self.room) % 3]

    def text(self, style="full"):
        return f"{style}: {self.key}"


class Doors:
    def __init__(self, tasks=4, rooms=3, limit=6):
        self.config = {"world": "doors", "rooms": rooms, "limit": limit}
        self._tasks, self._rooms, self._limit = tasks, rooms, limit

    def tasks(self, split):
        if split != "train":
            raise ValueError(f"split is {split!r}, expected 'train'")
        return [f"doors/train/{i}" for i in range(self._tasks)]

    def reset(self, task):
        return State(task, self._rooms, self._limit)

    def step(self, state, action):
        if state.outcome is not None:
            raise ValueError(f"state {state.key!r} has ended")
        return dataclasses.replace(
            state,
            room=state.room + (action == state.right_door),
            calls=state.calls + 1,
            invalid=action not in DOORS,
        )


class ByRule:
    """An actor that applies `rule(state, seed)`, and notes the size of each batch."""

    def __init__(self, name, rule, temperature=0.0):
        self.name, self.temperature, self._rule = name, temperature, rule
        self.batches = []

    def act(self, states, seeds):
        self.batches.append(len(states))
        found = [self._rule(state, seed) for state, seed in zip(states, seeds, strict=True)]
        return [one if isinstance(one, Reply) else Reply(one, raw=f"I say {one}") for one in found]


def greedy(world=None):
    """Tries a door that depends on the state; now and then a window."""

    def rule(state, seed):
        choice = derive("greedy", state.key) % 8
        return "window" if choice == 7 else DOORS[choice % 3]

    return ByRule("greedy", rule)


def oracle(world=None):
    return ByRule("oracle", lambda state, seed: state.right_door)


def guesser(world=None):
    return ByRule("guesser", lambda state, seed: DOORS[derive(seed) % 3], temperature=1.0)


class Noting:
    """An intervention that plays the right door, and whose memory is a list of all it is told."""

    def __init__(self, name="noting"):
        self.name, self.deterministic = name, True

    def start(self):
        return []

    def act(self, states, memories, seeds):
        for state, memory in zip(states, memories, strict=True):
            memory.append(("act", state.key))
        return [Reply(state.right_door) for state in states]

    def watch(self, memory, state, action):
        memory.append(("watch", state.key, action))


class Script:
    """A helper that decides `script[turn]`, where the turn is the calls of the state."""

    def __init__(self, *script):
        self.script, self.asked = script, []

    def decide(self, states, calls_left, seeds):
        self.asked.append(([state.key for state in states], calls_left))
        return [Decision(self.script[state.calls]) for state in states]
