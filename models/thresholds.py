"""Thresholds on scores, chosen on validation tasks: when to stop, and how often to ask."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

_GRID = 33  # thresholds whose usage is asked for at one time


class SelfRegulation(NamedTuple):
    """An agent that stops where a state's difficulty exceeds the threshold (section 4.2).

    Attributes:
      threshold: on difficulty.
      accuracy: share of episodes where "does not stop" and "succeeds" agree.
      precision: share of successes among the episodes that it does not stop; nan if there is none.
      recall: share of the successes that it does not stop; nan if there is none.
    """

    threshold: float
    accuracy: float
    precision: float
    recall: float


class UsageThreshold(NamedTuple):
    """Two neighbouring thresholds, and how to mix them so that the planned usage is met.

    Attributes:
      threshold: the one of the two whose usage is nearer to the plan.
      usage: its.
      thresholds: the higher (asks less) and the lower; equal where the plan is met by one.
      usages: theirs, ascending.
      share: of episodes that take the second one, 0..1, so that the mean usage is the plan.
    """

    threshold: float
    usage: float
    thresholds: tuple[float, float]
    usages: tuple[float, float]
    share: float


def difficulty(scores: Sequence[ArrayLike]) -> np.ndarray:
    """The largest 1 - p of each episode before its final state, float [E] (section 4.2).

    Args:
      scores: PRM probabilities of each episode's states, in order; at least two states each.

    Raises:
      ValueError: an episode is shorter.
    """
    found = []
    for episode, values in enumerate(scores):
        values = np.asarray(values, float)
        if values.ndim != 1 or len(values) < 2:
            raise ValueError(
                f"episode {episode}: scores of shape {values.shape}, expected two or more states"
            )
        found.append(1 - values[:-1].min())
    return np.array(found)


def self_regulation(difficulties: ArrayLike, successes: ArrayLike) -> SelfRegulation:
    """The threshold of the best accuracy on validation episodes.

    It lies between two difficulties; among equally good ones, in the widest gap.

    Args:
      difficulties: float [E].
      successes: bool [E].

    Raises:
      ValueError: there are no episodes, or the shapes differ.
    """
    difficulties, successes = np.asarray(difficulties, float), np.asarray(successes)
    if difficulties.ndim != 1 or not difficulties.size or difficulties.shape != successes.shape:
        raise ValueError(
            f"difficulties {difficulties.shape} and successes {successes.shape}, expected both [E]"
            " with one episode or more"
        )
    if not np.all((successes == 0) | (successes == 1)):
        raise ValueError("successes holds other values than 0 and 1")
    points, where = np.unique(difficulties, return_inverse=True)
    wins = np.bincount(where, weights=successes)
    losses = np.bincount(where) - wins
    # At cut k the episodes at points[:k] go on.
    right = np.concatenate([[0], np.cumsum(wins)]) + losses.sum() - np.append(0, np.cumsum(losses))
    # Difficulties lie in 0..1; the lowest cut must be below all of them all the same.
    lowest, highest = min(points[0] - 1e-9, 0), max(points[-1], 1)
    edges = np.concatenate([[lowest], points, [highest]])
    best = np.flatnonzero(right == right.max())
    cut = best[np.argmax(np.diff(edges)[best])]
    return judge(_between(edges[:-1], edges[1:])[cut], difficulties, successes)


def judge(threshold: float, difficulties: ArrayLike, successes: ArrayLike) -> SelfRegulation:
    """How a threshold does on episodes; arguments as in `self_regulation`."""
    goes_on = np.asarray(difficulties, float) <= threshold
    successes = np.asarray(successes).astype(bool)
    both = np.sum(goes_on & successes)

    def share(part, whole) -> float:
        return float(part / whole) if whole else float("nan")

    return SelfRegulation(
        float(threshold),
        float(np.mean(goes_on == successes)),
        share(both, goes_on.sum()),
        share(both, successes.sum()),
    )


def usage_threshold(
    margins: ArrayLike,
    usage_of: Callable[[np.ndarray], ArrayLike],
    planned: float,
) -> UsageThreshold:
    """The threshold on a helper's margins at which validation usage meets the plan.

    A helper asks where its margin exceeds the threshold. What it then uses an episode depends on
    which states it comes to, so usage is asked for: from policy evaluation on the tables of
    validation tasks, or from rollouts. It should fall as the threshold rises; where it does not,
    some crossing of the plan is found.

    Args:
      margins: float [N], of the validation states (largest over the helps): what thresholds are
        tried between.
      usage_of: thresholds float [Q] -> expected usage [Q] of the helper with each of them; +inf
        never asks, -inf always does.
      planned: expected usage wanted, at least that of never asking; at most that of always.

    Raises:
      ValueError: the plan cannot be met; says what can.
    """
    points = np.unique(np.asarray(margins, float))
    if not points.size or not np.all(np.isfinite(points)):
        raise ValueError(f"margins hold {points.size} finite values, expected one or more, all so")
    # Candidate k asks in the states with the k highest margins, equal ones together.
    inner = _between(points[:-1], points[1:])
    candidates = np.concatenate([[np.inf], inner[::-1], [-np.inf]])
    low, high = 0, len(candidates) - 1
    usage = np.asarray(usage_of(candidates[[low, high]]), float)
    usages = {low: usage[0], high: usage[1]}
    if not usages[low] <= planned <= usages[high]:
        raise ValueError(
            f"planned usage is {planned}, expected {usages[low]:.4g} (never asking) to "
            f"{usages[high]:.4g} (always)"
        )
    while high - low > 1:
        grid = np.unique(np.linspace(low, high, _GRID).round().astype(int))[1:-1]
        found = np.asarray(usage_of(candidates[grid]), float)
        usages |= dict(zip(grid.tolist(), found.tolist(), strict=True))
        inside = [low, *grid.tolist(), high]
        # The first step of the grid over which usage passes the plan.
        above = next(k for k in inside[1:] if usages[k] >= planned)
        low, high = inside[inside.index(above) - 1], above
    below, above = float(usages[low]), float(usages[high])
    share = (planned - below) / (above - below) if above > below else 0.0
    nearer = high if share > 0.5 else low
    return UsageThreshold(
        float(candidates[nearer]),
        float(usages[nearer]),
        (float(candidates[low]), float(candidates[high])),
        (below, above),
        float(share),
    )


def _between(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Numbers x with low <= x < high, the middle where rounding allows."""
    middle = (low + high) / 2
    return np.where(middle < high, middle, low)
