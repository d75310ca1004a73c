"""Seeded draws that stay the same from one Python version to the next.

Of `random.Random` only `random()` is promised to give the same sequence for ever, so everything
here is made of it. Two names that differ give independent streams.
"""

import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


class Draws:
    """A stream of draws, named by what it is for: Draws(seed, "house", "seen-3").

    Example:
      >>> Draws(0, "example").pick("abc") == Draws(0, "example").pick("abc")
      True
    """

    def __init__(self, *name: str | int):
        self._random = random.Random("/".join(map(str, name))).random

    def chance(self, probability: float) -> bool:
        """True with the probability given."""
        return self._random() < probability

    def integer(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        return low + int(self._random() * (high - low + 1))

    def pick(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[int(self._random() * len(items))]

    def weighted(self, weights: Mapping[T, float]) -> T:
        """One of the keys, each in proportion to its weight."""
        at = self._random() * sum(weights.values())
        for item, weight in weights.items():
            at -= weight
            if at < 0:
                return item
        return item  # rounding left a trifle

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """All the items in random order."""
        items = list(items)
        for i in range(len(items) - 1, 0, -1):
            j = int(self._random() * (i + 1))
            items[i], items[j] = items[j], items[i]
        return items

    def some(self, items: Sequence[T], count: int) -> list[T]:
        """`count` of the items, none twice, in random order."""
        return self.shuffled(items)[:count]
