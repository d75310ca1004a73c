"""A threshold that rises with the calls an episode has made.

What a call is worth was learnt from a state alone. Where calls were made and the task is still not
done, help seldom moves it: of states that look alike, those that come after more calls gain less.
A state does not tell how many there were, so the threshold does: with c calls made help is asked
for where the margin is above threshold + rise * c.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from adapters.protocols import Decision, State


class Judging(Protocol):
    """A helper that says by how much each help is worth asking for."""

    threshold: float

    def margins(self, states: Sequence[State]) -> np.ndarray:
        """[N, K]."""
        ...


class Rising:
    """Asks for the help of the largest margin, where that is above a threshold that rises.

    How many calls an episode has made follows from those that its cap leaves it.
    """

    def __init__(self, helper: Judging, rise: float, cap: Sequence[int]):
        """Makes a helper.

        Args:
          helper: its margins, and its threshold before the first call.
          rise: of the threshold with each call, of whatever help.
          cap: [K] of the episodes that it decides in.

        Raises:
          ValueError: the rise is below 0, or no number.
        """
        if not 0 <= rise < np.inf:
            raise ValueError(f"rise is {rise}, expected a number of at least 0")
        self._helper, self._rise, self._cap = helper, float(rise), tuple(cap)

    @property
    def config(self) -> dict[str, Any]:
        """What rollouts say about it."""
        return {**getattr(self._helper, "config", {}), "rise": self._rise}

    def decide(
        self,
        states: Sequence[State],
        calls_left: Sequence[Sequence[int]] | None,
        seeds: Sequence[int],
    ) -> list[Decision]:
        """Asks where the margin is above what the threshold has risen to.

        Raises:
          ValueError: the episodes have no cap.
        """
        if calls_left is None:
            raise ValueError(f"calls_left is None, expected those of a cap of {self._cap}")
        margins = np.asarray(self._helper.margins(states), float)
        left = np.asarray(calls_left).reshape(margins.shape)
        made = sum(self._cap) - left.sum(axis=1)
        margins = np.where(left > 0, margins, -np.inf)
        best, most = margins.argmax(axis=1) + 1, margins.max(axis=1)
        rows = zip(best.tolist(), most.tolist(), made.tolist(), strict=True)
        return [self._decision(help, margin, calls) for help, margin, calls in rows]

    def _decision(self, help: int, margin: float, calls: int) -> Decision:
        if margin == -np.inf:
            return Decision(0, "no calls left")
        threshold = self._helper.threshold + self._rise * calls
        above = "above" if margin > threshold else "not above"
        reason = f"{margin:.3g} {above} {threshold:.3g}, calls made: {calls}"
        return Decision(help if margin > threshold else 0, reason)
