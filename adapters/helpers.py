"""Helpers that need no model: by chance, never, always."""

import dataclasses
import itertools
from collections.abc import Sequence

from adapters import seeds as seeds_lib
from adapters.protocols import Decision, Helper, State


@dataclasses.dataclass(frozen=True, slots=True)
class Random:
    """Help i with probability p_i, in every state alike: how phase 1 explores (Section 5.3).

    One number u in [0, 1) is drawn from the seed of the turn; help i is asked where u falls into
    the i-th of the intervals of lengths p_1, p_2, ... laid end to end from 0, else nohelp.

    Attributes:
      probabilities: [K], each in [0, 1], with a sum of at most 1.

    Raises:
      ValueError: they are not.
    """

    probabilities: tuple[float, ...]

    def __post_init__(self):
        for i, p in enumerate(self.probabilities):
            if not 0 <= p <= 1:
                raise ValueError(f"probabilities[{i}] is {p}, expected 0 <= p <= 1")
        if sum(self.probabilities) > 1 + 1e-12:
            raise ValueError(f"probabilities add up to {sum(self.probabilities)}, expected <= 1")

    def decide(
        self,
        states: Sequence[State],
        calls_left: Sequence[Sequence[int]] | None,
        seeds: Sequence[int],
    ) -> list[Decision]:
        """Draws once for each state; how many calls are left does not matter to it."""
        bounds = list(itertools.accumulate(self.probabilities))
        decisions = []
        for seed in seeds:
            u = seeds_lib.uniform(seed)
            help = next((i for i, bound in enumerate(bounds, 1) if u < bound), 0)
            decisions.append(Decision(help, f"drawn at probabilities {self.probabilities}"))
        return decisions


@dataclasses.dataclass(frozen=True, slots=True)
class Always:
    """The same decision in every state: help i, or 0 for nohelp.

    Raises:
      ValueError: `help` is negative.
    """

    help: int

    def __post_init__(self):
        if self.help < 0:
            raise ValueError(f"help is {self.help}, expected at least 0")

    def decide(
        self,
        states: Sequence[State],
        calls_left: Sequence[Sequence[int]] | None,
        seeds: Sequence[int],
    ) -> list[Decision]:
        """The decision, once for each state."""
        return [Decision(self.help, "always" if self.help else "never")] * len(states)


@dataclasses.dataclass(frozen=True, slots=True)
class Never(Always):
    """The base actor alone."""

    help: int = dataclasses.field(default=0, init=False)


class Watch:
    """Keeps the states in which helpers are asked.

    Attributes:
      met: the states by their keys.
    """

    def __init__(self):
        """Keeps none yet."""
        self.met: dict[str, State] = {}
        self._watched: dict[int, _Watched] = {}

    def over(self, helper: Helper) -> Helper:
        """Decides as `helper`, and is watched; the same one for the same helper, as those of one
        helper are asked together."""
        return self._watched.setdefault(id(helper), _Watched(helper, self.met))


class _Watched:
    def __init__(self, helper: Helper, met: dict[str, State]):
        self._helper, self._met = helper, met

    def decide(
        self,
        states: Sequence[State],
        calls_left: Sequence[Sequence[int]] | None,
        seeds: Sequence[int],
    ) -> list[Decision]:
        for state in states:
            self._met.setdefault(state.key, state)
        return self._helper.decide(states, calls_left, seeds)
