"""Houses: rooms with a hidden function, furniture, and the way between them; made from a seed.

A room is seen spot by spot: entering it shows the first, exploring it the next. A spot is some of
the room's receptacles; what stands on them is seen with them. The function of a room is never
shown: it has to be inferred from the furniture. A house may also be built by hand.
"""

import dataclasses
from collections.abc import Sequence

from adapters.sif.draws import Draws

SMALL_OBJECTS = ("basket", "book", "bowl", "cup", "hat", "plate", "shoe", "stuffed_toy")
RECEPTACLES = (
    *("chair", "bed", "shelves", "toilet", "bench", "bathtub"),
    *("fridge", "couch", "counter", "table", "cabinet", "car"),
)
# Nothing can be put on these; "unidentified" is what stands on no receptacle that is known.
NO_PUT = frozenset({"bench", "fridge", "shelves", "unidentified"})

# Furniture by room function: what every such room has, and what it may have. [chosen]
FURNITURE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "kitchen": (("fridge", "counter"), ("cabinet", "table", "chair", "shelves")),
    "bathroom": (("toilet",), ("bathtub", "counter", "cabinet", "shelves")),
    "bedroom": (("bed",), ("cabinet", "chair", "table", "shelves", "bench")),
    "living room": (("couch",), ("table", "chair", "shelves", "cabinet", "bench")),
    "dining room": (("table", "chair", "bench"), ("cabinet", "counter")),
    "office": (("table", "chair", "shelves"), ("cabinet", "couch")),
    "garage": (("car",), ("shelves", "cabinet", "bench", "table")),
}
# Rooms in which one does a thing. [chosen]
ACTIVITIES: dict[str, tuple[str, ...]] = {
    "reading": ("bedroom", "living room", "office"),
    "eating": ("kitchen", "dining room", "living room"),
    "cooking": ("kitchen",),
    "washing": ("bathroom", "kitchen"),
    "resting": ("bedroom", "living room"),
    "working": ("office", "garage", "dining room"),
    "dressing": ("bedroom", "bathroom"),
    "repairing": ("garage", "office"),
    "tidying": ("garage", "bedroom", "kitchen"),
}
GO_STEPS = 25  # low-level steps from a room to the next. [chosen]


@dataclasses.dataclass(frozen=True, slots=True)
class Room:
    """One room.

    Attributes:
      number: what the agent calls it: "Room 3".
      functions: hidden; "kitchen" and the like. Generated rooms have one.
      receptacles: their categories, in order of nearness to where the room is entered. A category
        may come twice; "unidentified" stands for what is on no known receptacle.
      spots: the receptacles, as positions in `receptacles`, that are seen together. Each
        receptacle is in exactly one spot; the spots stand in a row in this order.
    """

    number: int
    functions: tuple[str, ...]
    receptacles: tuple[str, ...]
    spots: tuple[tuple[int, ...], ...]

    def __post_init__(self):
        listed = sorted(i for spot in self.spots for i in spot)
        if not self.spots or listed != list(range(len(self.receptacles))):
            raise ValueError(
                f"spots of Room {self.number} is {self.spots}, expected each of its "
                f"{len(self.receptacles)} receptacles in exactly one spot"
            )


@dataclasses.dataclass(frozen=True, slots=True)
class House:
    """Rooms and the way between them.

    Attributes:
      name: of the scene.
      rooms: everything else names rooms by their position here, not by their number.
      steps: [R][R] low-level steps from room to room, 0 from a room to itself.
      doors: the pairs of rooms with a door between; empty where that is not known.
    """

    name: str
    rooms: tuple[Room, ...]
    steps: tuple[tuple[int, ...], ...]
    doors: tuple[tuple[int, int], ...] = ()

    def __post_init__(self):
        numbers = [room.number for room in self.rooms]
        if not numbers or len(set(numbers)) != len(numbers):
            raise ValueError(f"rooms of {self.name} are numbered {numbers}, expected each once")
        size = len(numbers)
        if [len(row) for row in self.steps] != [size] * size:
            raise ValueError(f"steps of {self.name} is not [{size}][{size}], one for each room")
        for i, row in enumerate(self.steps):
            for j, steps in enumerate(row):
                if steps < 0 or (steps == 0) != (i == j):
                    raise ValueError(
                        f"steps of {self.name} from room {i} to {j} is {steps}, "
                        "expected 0 to the room itself and at least 1 to any other"
                    )

    def path(self, start: int, end: int) -> tuple[int, ...]:
        """The rooms on a shortest way, both ends included; without doors, the ends alone."""
        if not self.doors or start == end:
            return (start, end) if start != end else (start,)
        nearer = [
            b
            for pair in self.doors
            for a, b in (pair, pair[::-1])
            if a == start and self.steps[b][end] < self.steps[start][end]
        ]
        step = min(nearer, key=lambda b: (self.steps[start][b] + self.steps[b][end], b))
        return (start, *self.path(step, end))


def generate_house(seed: int, name: str) -> House:
    """The house of that name: 5 to 9 rooms along a corridor with side rooms. [chosen]

    The same seed and name give the same house for ever. Some room functions repeat, so that a
    function alone does not always tell the room.
    """
    draws = Draws(seed, "house", name)
    size = draws.integer(5, 9)
    functions = ["kitchen", "bathroom", "bedroom", "living room"]
    while len(functions) < size:
        functions.append(draws.pick(list(FURNITURE)))
    rooms = tuple(
        _room(draws, number, function)
        for number, function in enumerate(draws.shuffled(functions), start=1)
    )
    # Each room has a door to the one before it, or now and then to the one before that.
    doors = tuple((max(0, i - (2 if draws.chance(0.25) else 1)), i) for i in range(1, size))
    order = draws.shuffled(range(size))  # so that numbers say nothing about nearness
    doors = tuple(sorted((min(p), max(p)) for p in ((order[a], order[b]) for a, b in doors)))
    return House(name=name, rooms=rooms, steps=walking_steps(size, doors), doors=doors)


def walking_steps(
    size: int, doors: Sequence[tuple[int, int]], go_steps: int = GO_STEPS
) -> tuple[tuple[int, ...], ...]:
    """[R][R] low-level steps between rooms: `go_steps` for every door on the shortest way.

    Raises:
      ValueError: no way leads from one room to another.
    """
    beside = [[b for pair in doors for a, b in (pair, pair[::-1]) if a == i] for i in range(size)]
    rows = []
    for start in range(size):
        distance, edge = {start: 0}, [start]
        while edge:
            edge = list(dict.fromkeys(b for a in edge for b in beside[a] if b not in distance))
            distance.update(dict.fromkeys(edge, max(distance.values()) + go_steps))
        if len(distance) < size:
            lost = next(i for i in range(size) if i not in distance)
            raise ValueError(f"doors {tuple(doors)} lead from room {start} nowhere near {lost}")
        rows.append(tuple(distance[i] for i in range(size)))
    return tuple(rows)


def _room(draws: Draws, number: int, function: str) -> Room:
    """Three to six receptacles typical of the function, in two to four spots."""
    always, maybe = FURNITURE[function]
    count = draws.integer(max(3, len(always)), min(6, len(always) + len(maybe)))
    receptacles = draws.shuffled([*always, *draws.some(maybe, count - len(always))])
    num_spots = min(draws.weighted({2: 1, 3: 2, 4: 3}), count)
    cuts = sorted(draws.some(range(1, count), num_spots - 1))
    bounds = zip([0, *cuts], [*cuts, count], strict=True)
    spots = tuple(tuple(range(start, end)) for start, end in bounds)
    return Room(number, (function,), tuple(receptacles), spots)
