"""The floor of a real scene: which room a point is in, and how far it is from place to place.

From `room_annotation_dict.p`: `room_assignment` gives each room a mask on a map of 720 x 720 cells,
and one more, "free_space", to the floor between; `human_annotation` gives each room its functions.

Rules where the files say nothing, all chosen here:

* Map. A cell is 5 cm; the origin of the scene lies in the middle. x (Habitat's right) counts
  columns, z (towards the viewer) counts rows: x, z = 0, 0 is cell [360, 360].
* Rooms. The number of a room is the last number in its key: 3, "3" and "room_3" are Room 3. A cell
  that several rooms claim belongs to the lowest number.
* Distance. Straight lines, to and from the middle of a room's cells, at 25 cm a low-level step;
  at least one step from a room to another.
* Entrance. The cell of a room nearest to the middle of the free space, or, where there is none, of
  all rooms.
"""

import dataclasses
import math
import os
import re

import numpy as np

from adapters.sif import pickles
from adapters.sif.fields import Field

CELLS = 720  # a side
CELL_METRES = 0.05
STEP_METRES = 0.25
FREE_SPACE = "free_space"

Point = tuple[float, float]  # x, z in metres


@dataclasses.dataclass(frozen=True)
class Floor:
    """The rooms of a scene. R of them, by rising number; everything else names them by position.

    Attributes:
      numbers: [R] as agents call them.
      functions: [R] of each, sorted.
      owner: [720, 720] the room of a cell, -1 for free space, -2 for neither.
      centres: [R] the middle of each.
      entrances: [R] where each is entered.
    """

    numbers: tuple[int, ...]
    functions: tuple[tuple[str, ...], ...]
    owner: np.ndarray
    centres: tuple[Point, ...]
    entrances: tuple[Point, ...]

    def room_at(self, point: Point) -> int | None:
        """The room at a point; None in free space. Raises ValueError where there is neither."""
        row, column = _cell(point)
        owner = self._owner_of(row, column)
        if owner == -2:
            raise ValueError(f"in no room, at row {row}, column {column} of the map")
        return None if owner == -1 else owner

    def find(self, point: Point) -> int | None:
        """The room at a point; None where there is none."""
        owner = self._owner_of(*_cell(point))
        return None if owner < 0 else owner

    def nearest(self, point: Point) -> int:
        """The room whose middle is nearest."""
        distances = [math.dist(point, centre) for centre in self.centres]
        return distances.index(min(distances))

    def steps(self) -> tuple[tuple[int, ...], ...]:
        """[R][R] low-level steps from room to room."""
        rows = [self.steps_from(centre) for centre in self.centres]
        return tuple(
            tuple(0 if i == j else steps for j, steps in enumerate(row))
            for i, row in enumerate(rows)
        )

    def steps_from(self, point: Point) -> tuple[int, ...]:
        """[R] low-level steps from a point to each room, at least 1."""
        return tuple(max(1, walking_steps(point, centre)) for centre in self.centres)

    def _owner_of(self, row: int, column: int) -> int:
        on_map = 0 <= row < CELLS and 0 <= column < CELLS
        return int(self.owner[row, column]) if on_map else -2


def walking_steps(start: Point, end: Point) -> int:
    """Low-level steps on a straight line."""
    return math.ceil(math.dist(start, end) / STEP_METRES)


def read_floor(path: str | os.PathLike) -> Floor:
    """Reads `room_annotation_dict.p` of a scene.

    Raises:
      OSError: there is no such file, or it may not be read.
      ValueError: it is damaged, or something in it is not as described above; says what.
    """
    annotation = Field(str(path), "", pickles.load(path))
    masks, free, keys = {}, np.zeros((CELLS, CELLS), np.bool_), {}
    for key, mask in annotation.get("room_assignment").entries().items():
        if key == FREE_SPACE:
            free = _mask(mask)
            continue
        number = _number(key, mask)
        if number in masks:
            raise mask.error(f"a room other than {keys[number]!r}: both are Room {number}")
        masks[number], keys[number] = _mask(mask), key
        if not masks[number].any():
            raise mask.error("a mask with at least one cell")
    if not masks:
        raise annotation.get("room_assignment").error("at least one room")
    functions = {
        _number(key, names): _functions(names)
        for key, names in annotation.get("human_annotation").entries().items()
    }
    for number in masks:
        if number not in functions:
            raise annotation.get("human_annotation").error(
                f"the functions of every room; there are none of {keys[number]!r}"
            )
    numbers = tuple(sorted(masks))
    owner = np.where(free, np.int16(-1), np.int16(-2))
    for room in range(len(numbers) - 1, -1, -1):
        owner[masks[numbers[room]]] = room
    hall = free if free.any() else owner >= 0
    return Floor(
        numbers=numbers,
        functions=tuple(functions[number] for number in numbers),
        owner=owner,
        centres=tuple(_centre(masks[number]) for number in numbers),
        entrances=tuple(_nearest_cell(masks[number], _centre(hall)) for number in numbers),
    )


def _cell(point: Point) -> tuple[int, int]:
    """Row and column of a point; not always on the map."""
    column, row = (math.floor(p / CELL_METRES) + CELLS // 2 for p in point)
    return row, column


def _number(key, field: Field) -> int:
    known = isinstance(key, int | np.integer | str) and not isinstance(key, bool)
    found = re.search(r"(\d+)\D*$", str(key)) if known else None
    if found is None:
        raise ValueError(f"{field.file}: {field.path}: {key!r} has no number, expected a room's")
    return int(found[1])


def _mask(field: Field) -> np.ndarray:
    mask = field.value
    fits = isinstance(mask, np.ndarray) and mask.shape == (CELLS, CELLS)
    if not fits or mask.dtype.kind not in "biuf":
        raise field.error(f"an array of numbers, [{CELLS}, {CELLS}]")
    return np.asarray(mask) != 0


def _functions(field: Field) -> tuple[str, ...]:
    names = field.value
    known = isinstance(names, set | frozenset | list | tuple)
    if not known or not names or not all(isinstance(name, str) and name for name in names):
        raise field.error("a set of room functions, each a str")
    return tuple(sorted(set(names)))


def _points(mask: np.ndarray) -> np.ndarray:
    """[N, 2] x and z of the middles of cells."""
    return (np.argwhere(mask)[:, ::-1] - CELLS // 2 + 0.5) * CELL_METRES


def _centre(mask: np.ndarray) -> Point:
    x, z = _points(mask).mean(axis=0).tolist()
    return x, z


def _nearest_cell(mask: np.ndarray, point: Point) -> Point:
    points = _points(mask)
    x, z = points[((points - point) ** 2).sum(axis=1).argmin()].tolist()
    return x, z
