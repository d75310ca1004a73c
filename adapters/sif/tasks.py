"""A task: a house, what the agent saw of it before, what is true now, what it hears, its goal.

Phase 1 has happened: the agent has walked through the house and keeps a premap. Then, in S_obj
tasks, objects were moved. The task is phase 2. Tasks are generated (`adapters.sif.generator`),
read from episode files, or built by hand.
"""

import dataclasses
from typing import Literal, NamedTuple

from adapters.sif.houses import NO_PUT, House

TaskType = Literal["pnp", "s_obj", "s_hum"]
TASK_TYPES: tuple[TaskType, ...] = ("pnp", "s_obj", "s_hum")
GoalKind = Literal["recep", "room", "human"]


class Placed(NamedTuple):
    """An object of a category on a receptacle.

    Attributes:
      object: its category, for example "cup".
      room: position in `House.rooms`.
      receptacle: position in `Room.receptacles`.
    """

    object: str
    room: int
    receptacle: int


@dataclasses.dataclass(frozen=True, slots=True)
class Goal:
    """What has to hold when the episode ends.

    Attributes:
      kind: "recep": an object of the category on a receptacle of a category, in any room.
        "room": one in a room with a function, and the hand empty. "human": the human holds one.
      object: the object category.
      target: the receptacle category, or the room function; empty for "human".
    """

    kind: GoalKind
    object: str
    target: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Sentence:
    """Something the human says.

    Attributes:
      text: as said.
      about: the object category it is about; empty if about none.
      cue: the one thing it tells, as the compact text writes it: a room function ("kitchen"), a
        receptacle ("bathtub"), an activity ("reading"); "" if it tells nothing. None if nobody
        has said what it tells: the compact text then holds the sentence itself.
    """

    text: str
    about: str = ""
    cue: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Walk:
    """The human's one walk, which begins with phase 2.

    Attributes:
      rooms: walked through, from the start to the destination; one room if it stands still.
      times: the low-level step at which each is reached, beginning with 0, rising.
    """

    rooms: tuple[int, ...]
    times: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """One task; immutable. Rooms are positions in `house.rooms`.

    Attributes:
      name: unique in a world, for example "s_obj/train/17".
      split: for example "s_obj/train".
      type: "pnp" nothing was moved; "s_obj" objects were; "s_hum" the human walks.
      house: where it happens.
      premap: the objects as the agent saw them in phase 1.
      objects: the objects as they are when phase 2 starts.
      start: the room the agent starts in; None in free space, between rooms.
      looks: for each room the order in which its spots are seen: a permutation of their positions.
      sentences: what the agent hears before the command.
      command: what it is told to do.
      goal: what is scored.
      ambiguous: the sentences leave more than one room possible. In S_hum tasks that are not
        ambiguous, the first other room entered must not be the human's destination.
      walk: the human's walk; None unless the type is s_hum.
      mapped: the receptacles seen in phase 1 as (room, receptacle); None for all of the house.
        Must hold those that `premap` names.
      start_steps: low-level steps from the start to each room; needed if `start` is None.
      oracle_actions: L* in actions, `Done!` included; None if not known.
      oracle_steps: L* in low-level steps; None if not known.
    """

    name: str
    split: str
    type: TaskType
    house: House
    premap: tuple[Placed, ...]
    objects: tuple[Placed, ...]
    start: int | None
    looks: tuple[tuple[int, ...], ...]
    sentences: tuple[Sentence, ...]
    command: str
    goal: Goal
    ambiguous: bool = False
    walk: Walk | None = None
    mapped: frozenset[tuple[int, int]] | None = None
    start_steps: tuple[int, ...] | None = None
    oracle_actions: int | None = None
    oracle_steps: int | None = None

    def __post_init__(self):
        """Checks that the parts fit together. Raises ValueError naming the first that does not."""
        rooms = self.house.rooms
        self._check(self.type in TASK_TYPES, "type", self.type, f"one of {TASK_TYPES}")
        for field in ("premap", "objects"):
            for i, placed in enumerate(getattr(self, field)):
                there = _holds(self.house, placed.room, placed.receptacle)
                self._check(there, f"{field}[{i}]", placed, "a receptacle of the house")
        for place in self.mapped or ():
            self._check(_holds(self.house, *place), "mapped", place, "a receptacle of the house")
        if self.mapped is not None:
            for i, placed in enumerate(self.premap):
                known = (placed.room, placed.receptacle) in self.mapped
                self._check(known, f"premap[{i}]", placed, "a receptacle in mapped")
        if self.start is None:
            steps = self.start_steps or ()
            fits = len(steps) == len(rooms) and all(n > 0 for n in steps)
            self._check(fits, "start_steps", steps, f"{len(rooms)} numbers of steps: start is None")
        else:
            self._check(0 <= self.start < len(rooms), "start", self.start, "a room or None")
        orders = [tuple(range(len(room.spots))) for room in rooms]
        self._check(
            [tuple(sorted(order)) for order in self.looks] == orders,
            *("looks", self.looks, "for each room a permutation of its spots"),
        )
        self._check_goal()
        self._check_walk()

    @property
    def destination(self) -> int | None:
        """The room the human walks to; None without a walk."""
        return None if self.walk is None else self.walk.rooms[-1]

    def _check(self, good: bool, field: str, value, expected: str):
        if not good:
            raise ValueError(f"{self.name}: {field} is {value!r}, expected {expected}")

    def _check_goal(self):
        goal, held = self.goal, [placed.object for placed in self.objects]
        self._check(goal.object in held, "goal.object", goal.object, f"one of {sorted(set(held))}")
        human = self.type == "s_hum"
        kinds = ("human",) if human else ("recep", "room")
        self._check(goal.kind in kinds, "goal.kind", goal.kind, f"one of {kinds} in {self.type}")
        rooms = self.house.rooms
        if goal.kind == "recep":
            targets = {name for room in rooms for name in room.receptacles} - NO_PUT
        elif goal.kind == "room":
            targets = {name for room in rooms for name in room.functions}
        else:
            targets = {""}
        self._check(goal.target in targets, "goal.target", goal.target, f"one of {sorted(targets)}")

    def _check_walk(self):
        walk, human = self.walk, self.type == "s_hum"
        self._check((walk is not None) == human, "walk", walk, "one in s_hum tasks and no others")
        if walk is not None:
            size, times = len(self.house.rooms), walk.times
            rising = list(times) == sorted(set(times)) and times[:1] == (0,)
            fits = len(times) == len(walk.rooms) and all(0 <= r < size for r in walk.rooms)
            self._check(rising and fits, "walk", walk, "rooms and as many rising times from 0")


def _holds(house: House, room: int, receptacle: int) -> bool:
    return 0 <= room < len(house.rooms) and 0 <= receptacle < len(house.rooms[room].receptacles)
