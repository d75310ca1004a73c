"""A helper that asks where a margin is above a threshold, whatever the margin comes from.

A plan in between two thresholds is met by a mixture: a share of the episodes takes the second one,
each for all of its turns; `for_episode` draws for one episode.
"""

import abc
import copy
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from adapters import seeds as seeds_lib
from adapters.protocols import Decision, State, TextReader


class ThresholdHelper(abc.ABC):
    """An `adapters.protocols.Helper`; a state that was seen before costs nothing.

    Those who inherit say what the margins of texts are.

    Attributes:
      style: of the states' texts.
      helps: [K] names.
      cost: float [K], r; None where the helper was trained for none.
      threshold: on margins; None for a mixture.
      sha256: of what it was made from.
    """

    what = "gain"  # that a margin is, for people

    def __init__(
        self,
        *,
        style: str,
        helps: Sequence[str],
        cost: np.ndarray | None,
        threshold: float | None,
        sha256: str,
        thresholds: Sequence[float] | None = None,
        share: float = 0.0,
    ):
        """Makes a helper.

        Args:
          style, helps, cost, sha256: see the class.
          threshold: one; None where there are two.
          thresholds: two, for a mixture.
          share: of the episodes that take the second of the two.

        Raises:
          ValueError: both are given or neither, or the share is out of range.
        """
        if thresholds is not None and (
            threshold is not None or len(thresholds) != 2 or not 0 <= share <= 1
        ):
            raise ValueError(
                f"threshold is {threshold}, thresholds {thresholds} and share {share}, "
                "expected one threshold, or two and a share in 0..1"
            )
        self.style, self.helps, self.cost, self.sha256 = style, tuple(helps), cost, sha256
        self.threshold = threshold
        self._thresholds = None if thresholds is None else tuple(map(float, thresholds))
        self._share = share
        self._known: dict[str, np.ndarray] = {}  # margins by state key

    @property
    def readers(self) -> tuple[TextReader, ...]:
        """Language models that it reads texts with."""
        return ()

    @property
    def config(self) -> dict[str, Any]:
        """What rollouts say about it, JSON values."""
        how: dict[str, Any] = {"threshold": self.threshold}
        if self._thresholds is not None:
            how = {"thresholds": [*self._thresholds], "share": self._share}
        cost = None if self.cost is None else self.cost.tolist()
        return {"helper": self.sha256, "style": self.style, "cost": cost, **how}

    def at(self, threshold: float) -> Self:
        """The same helper with one threshold; margins are shared."""
        found = copy.copy(self)
        found.threshold, found._thresholds, found._share = threshold, None, 0.0
        return found

    def for_episode(self, seed: int) -> Self:
        """The helper that plays an episode of this seed: one with one threshold.

        The number drawn from the seed belongs to the episode alone: for a higher share the same
        episodes take the second threshold, and others.
        """
        if self._thresholds is None:
            return self
        first, second = self._thresholds
        drawn = seeds_lib.uniform(seeds_lib.derive("threshold", seed))
        return self._at_either[second if drawn < self._share else first]

    def margins(self, states: Sequence[State]) -> np.ndarray:
        """float32 [N, K]: by how much each help is better than nohelp.

        Raises:
          ValueError: the text of a state is too long and is refused.
        """
        fresh = {state.key: state for state in states if state.key not in self._known}
        if fresh:
            texts = [state.text(self.style) for state in fresh.values()]
            self._known |= zip(fresh, self.margins_of(texts), strict=True)
        rows = [self._known[state.key] for state in states]
        return np.array(rows, np.float32).reshape(len(rows), len(self.helps))

    @abc.abstractmethod
    def margins_of(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [N, K] of states by their texts."""

    def decide(
        self,
        states: Sequence[State],
        calls_left: Sequence[Sequence[int]] | None,
        seeds: Sequence[int],
    ) -> list[Decision]:
        """The help of the largest margin of those with calls left, where it is above the threshold.

        Raises:
          ValueError: the helper is a mixture: `for_episode` says which one plays. Or a text is too
            long and is refused.
        """
        if self.threshold is None:
            raise ValueError("a mixture of two thresholds decides nothing, expected for_episode's")
        margins = self.margins(states)
        if calls_left is not None:
            left = np.asarray(calls_left).reshape(margins.shape)
            margins = np.where(left > 0, margins, -np.inf)
        best = margins.argmax(axis=1) + 1 if len(margins) else margins[:, 0]
        most = margins.max(axis=1, initial=-np.inf)
        return [
            Decision(int(help) if margin > self.threshold else 0, self._reason(margin))
            for help, margin in zip(best.tolist(), most, strict=True)
        ]

    @property
    def _at_either(self) -> dict[float, Self]:
        """By threshold. Always the same two, so that all episodes of one are asked together."""
        if "_views" not in self.__dict__:
            self._views = {one: self.at(one) for one in self._thresholds}
        return self._views

    def _reason(self, margin: float) -> str:
        if margin == -np.inf:
            return "no calls left"
        above = "above" if margin > self.threshold else "not above"
        return f"{self.what} {margin:.3g} {above} {self.threshold:.3g}"
