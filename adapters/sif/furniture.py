"""The furniture of a real scene, as far as objects that stand on it tell, and the house it makes.

The rules are those of `adapters.sif.real`.
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from adapters.sif.episode import Episode, Site, category_of
from adapters.sif.floor import Floor, Point
from adapters.sif.houses import NO_PUT, RECEPTACLES, House, Room

UNIDENTIFIED = "unidentified"
_ON_METRES = 1.0  # an object further from a receptacle than this does not stand on it
_SPOT_SIZE, _MAX_SPOTS = 2, 4


class Piece(NamedTuple):
    """A receptacle.

    Attributes:
      handle: its name in the scene; one of ours for what the files do not name.
      category: one of `RECEPTACLES`, or "unidentified".
      room: position in `Floor.numbers`.
      point: where it is taken to stand.
    """

    handle: str
    category: str
    room: int
    point: Point


def furniture_of(episodes: Iterable[Episode], categories: Mapping[str, str]) -> list[Piece]:
    """The receptacles of a scene that an object stands on in one of its episodes."""
    pieces: dict[str, Piece] = {}
    for episode in episodes:
        for thing in episode.things:
            site, handle = thing.loaded, thing.loaded.receptacle
            if handle is not None and handle not in pieces:
                category = category_of(handle, RECEPTACLES, categories) or UNIDENTIFIED
                pieces[handle] = Piece(handle, category, site.room, site.point)
    return list(pieces.values())


class Furnishing:
    """Receptacles in the rooms of a floor, to which what an episode needs is added."""

    def __init__(self, floor: Floor, pieces: Iterable[Piece]):
        self._floor = floor
        self._pieces = {piece.handle: piece for piece in pieces}

    def has(self, category: str) -> bool:
        """Whether there is such a receptacle anywhere."""
        return any(piece.category == category for piece in self._pieces.values())

    def takes_things(self, function: str) -> bool:
        """Whether something can be put down in a room with that function."""
        return any(
            piece.category not in NO_PUT and function in self._floor.functions[piece.room]
            for piece in self._pieces.values()
        )

    def add(self, category: str, room: int, point: Point) -> Piece:
        """One more receptacle; or the one that was added to that room before."""
        handle = f"added {category} {room}"
        return self._pieces.setdefault(handle, Piece(handle, category, room, point))

    def under(self, site: Site) -> Piece:
        """What an object stands on: as told; or nearest, within a metre; or "unidentified"."""
        if site.receptacle is not None:
            return self._pieces[site.receptacle]
        near = [
            (math.dist(piece.point, site.point), piece)
            for piece in self._pieces.values()
            if piece.room == site.room and piece.category != UNIDENTIFIED
        ]
        distance, piece = min(near, default=(math.inf, None))
        if distance <= _ON_METRES:
            return piece
        return self.add(UNIDENTIFIED, site.room, site.point)

    def house(self, name: str) -> tuple[House, dict[Piece, tuple[int, int]]]:
        """The house, and where each receptacle is in it: room, and position in the room."""
        floor, rooms, places = self._floor, [], {}
        for room, (number, functions) in enumerate(
            zip(floor.numbers, floor.functions, strict=True)
        ):
            pieces = [piece for piece in self._pieces.values() if piece.room == room]
            entrance = floor.entrances[room]
            pieces.sort(key=lambda piece: (math.dist(piece.point, entrance), piece.handle))
            places.update((piece, (room, i)) for i, piece in enumerate(pieces))
            receptacles = tuple(piece.category for piece in pieces)
            rooms.append(Room(number, functions, receptacles, _spots(len(receptacles))))
        return House(name=name, rooms=tuple(rooms), steps=floor.steps()), places


def _spots(count: int) -> tuple[tuple[int, ...], ...]:
    """The numbers from 0 to `count` in groups of two, or more where the groups would be too many.

    A room without receptacles has one spot, at which there is nothing.
    """
    groups = min(_MAX_SPOTS, max(1, math.ceil(count / _SPOT_SIZE)))
    bounds = [round(i * count / groups) for i in range(groups + 1)]
    return tuple(tuple(range(low, high)) for low, high in zip(bounds, bounds[1:], strict=False))
