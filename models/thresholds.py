"""Thresholds on scores, chosen on validation tasks: when to stop, and how often to ask."""

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

_GRID = 31  # thresholds whose usage is asked for at one time
_ROUNDING = 1e-9  # of usage at the ends


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
      ValueError: there are no episodes, the shapes differ, or a number is out of range.
    """
    difficulties, successes = _episodes(difficulties, successes)
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
    """How a threshold does on episodes; arguments and errors as in `self_regulation`."""
    if np.isnan(threshold):
        raise ValueError(f"threshold is {threshold}, expected a number")
    difficulties, successes = _episodes(difficulties, successes)
    goes_on, successes = difficulties <= threshold, successes.astype(bool)
    both = np.sum(goes_on & successes)

    def share(part, whole) -> float:
        return float(part / whole) if whole else float("nan")

    return SelfRegulation(
        float(threshold),
        float(np.mean(goes_on == successes)),
        share(both, goes_on.sum()),
        share(both, successes.sum()),
    )


def _episodes(difficulties: ArrayLike, successes: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    difficulties, successes = np.asarray(difficulties, float), np.asarray(successes)
    if difficulties.ndim != 1 or not difficulties.size or difficulties.shape != successes.shape:
        raise ValueError(
            f"difficulties {difficulties.shape} and successes {successes.shape}, expected both [E]"
            " with one episode or more"
        )
    wrong = np.flatnonzero(~np.isfinite(difficulties))
    if wrong.size:
        raise ValueError(
            f"difficulties[{wrong[0]}] is {difficulties[wrong[0]]}, expected a finite number"
        )
    if not np.all((successes == 0) | (successes == 1)):
        raise ValueError("successes holds other values than 0 and 1")
    return difficulties, successes


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
    low, high, usages = bracket(
        lambda places: usage_of(candidates[places]), len(candidates), planned, width=_GRID
    )
    below, above = float(usages[low]), float(usages[high])
    share = min(max((planned - below) / (above - below), 0.0), 1.0) if above > below else 0.0
    nearer = high if share > 0.5 else low
    return UsageThreshold(
        float(candidates[nearer]),
        float(usages[nearer]),
        (float(candidates[low]), float(candidates[high])),
        (below, above),
        float(share),
    )


class Bracket(NamedTuple):
    """Two neighbours in a row of dials; the same one twice where it is near enough to the plan.

    Attributes:
      low, high: their places.
      usages: at all places that were tried.
    """

    low: int
    high: int
    usages: dict[int, float]


def bracket(
    usage_of: Callable[[list[int]], ArrayLike], number: int, planned: float, **how: Any
) -> Bracket:
    """What `bracketing` finds.

    Args:
      usage_of: places in the row [Q] -> expected usage there [Q].
      number, planned, **how: as there.

    Raises:
      ValueError: as there.
    """
    search = bracketing(number, planned, **how)
    usages = None
    while True:
        try:
            places = search.send(usages)
        except StopIteration as end:
            return end.value
        usages = usage_of(places)


def bracketing(
    number: int, planned: float, *, width: int | None = None, near: float = 0.0
) -> Generator[list[int], ArrayLike, Bracket]:
    """Looks for two neighbours of `number` dials in a row, between which usage rises past the plan.

    It yields places in the row [Q] and is sent the expected usage there [Q], which should rise
    along the row: so several searches can be tried out side by side.

    Args:
      number: of dials, at least one.
      planned: expected usage wanted.
      width: dials that are tried at one time, evenly between the two that hold the plan; at least
        one. None: one, where a straight line between these two meets the plan, or in their middle
        if the line has moved the same one twice. That asks for few dials, most of them near by.
      near: share of the plan by which a dial may miss it; such a dial is taken at once.

    Raises:
      ValueError: the plan is below usage at the first dial, or above that at the last.
    """
    low, high = 0, number - 1
    usages: dict[int, float] = {}

    def note(places: list[int], found: ArrayLike) -> None:
        usages.update(zip(places, np.asarray(found, float).tolist(), strict=True))

    note([low, high], (yield [low, high]))
    if not usages[low] - _ROUNDING <= planned <= usages[high] + _ROUNDING:
        raise ValueError(
            f"planned usage is {planned:g}, expected {usages[low]:.4g} (never asking) to "
            f"{usages[high]:.4g} (always)"
        )
    moved = ""  # which ends the last steps moved
    while high - low > 1:
        if width is None:
            inner = [_on_line(usages, low, high, None if moved[-2:] in _TWICE else planned)]
        else:
            inner = np.unique(np.linspace(low, high, width + 2).round().astype(int))[1:-1].tolist()
        note(inner, (yield inner))
        row = [low, *inner, high]
        best = min(row, key=lambda i: abs(usages[i] - planned))
        if near and abs(usages[best] - planned) <= near * planned:
            return Bracket(best, best, usages)
        # The first step of the row over which usage passes the plan.
        above = next((i for i in row[1:] if usages[i] >= planned), high)
        moved += "h" if above < high else "l"
        low, high = row[row.index(above) - 1], above
    return Bracket(low, high, usages)


_TWICE = ("hh", "ll")


def _on_line(usages: dict[int, float], low: int, high: int, planned: float | None) -> int:
    """The inner place where a line meets the plan, or the middle one."""
    share, rise = 0.5, usages[high] - usages[low]
    if planned is not None and rise > 0:
        share = (planned - usages[low]) / rise
    return min(max(round(low + share * (high - low)), low + 1), high - 1)


def _between(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Numbers x with low <= x < high, the middle where rounding allows."""
    middle = (low + high) / 2
    return np.where(middle < high, middle, low)
