"""Sets dials so that the calls on validation tasks are those that are wanted.

A dial is a probability or a threshold. Calls fall as a threshold rises, by steps: between two
thresholds that ask in the same states nothing changes. So the wanted number lies between two
neighbours, and a share of the episodes takes the second one.
"""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import msgspec
import numpy as np

from experiments.conditions import Condition, Dial
from experiments.contest import Contest, Job, Result
from experiments.progress import Progress
from experiments.statistics import by_task, interval, resampled
from models.atomic_file import write_bytes
from models.thresholds import bracket

_BEYOND = 1e30  # a threshold above all margins; float32 and JSON have no larger ones to spare
_CANDIDATES = 64  # dials that are told apart
_RISEN = 4  # calls whose risen thresholds are told apart
_NEAR = 0.01  # share of the wanted calls by which one dial may miss them


@dataclasses.dataclass(frozen=True)
class Matched:
    """What a condition does on validation tasks.

    Attributes:
      dial: that was found, or given.
      usage: [K] mean calls an episode.
      success: share of the episodes.
      usage_ci, success_ci: [K, 2] and [2] at 95%, by a bootstrap over tasks; None for one task.
    """

    dial: Dial | None
    usage: tuple[float, ...]
    success: float
    usage_ci: tuple[tuple[float, ...], ...] | None = None
    success_ci: tuple[float, ...] | None = None

    @property
    def calls(self) -> float:
        """Of all helps together."""
        return sum(self.usage)


class Matcher:
    """Plays validation tasks, each condition and dial once."""

    def __init__(self, contest: Contest, tasks: Sequence[str], seeds: int):
        """Plays nothing yet.

        Args:
          contest: plays.
          tasks: of validation.
          seeds: of conditions that leave something to chance.
        """
        self._contest, self._tasks, self._seeds = contest, tasks, seeds
        self._known: dict[tuple[str, Dial | None], Matched] = {}

    def match(self, condition: Condition, calls: float) -> Matched:
        """The dial at which the condition makes so many calls an episode.

        Of a helper alone and one with a process reward model beside it, and of several rises of its
        threshold, the one that more episodes succeed with.

        Raises:
          ValueError: it makes more or fewer whatever the dial.
        """
        ways = (False, True) if condition.either is not None else (False,)
        margins = [self._margins(condition, either) for either in ways]
        found = [
            self._match(condition, calls, either, rise, of_states)
            for rise in condition.rises
            for either, of_states in zip(ways, margins, strict=True)
        ]
        return max(found, key=lambda one: one.success)  # the first of equals

    def _match(
        self,
        condition: Condition,
        calls: float,
        either: bool,
        rise: float,
        margins: np.ndarray | None,
    ) -> Matched:
        candidates = _candidates(margins, rise)

        def usage_of(places: Sequence[int]) -> list[float]:
            dials = [Dial((float(candidates[i]),), 0.0, either, rise) for i in places]
            return [one.calls for one in self.try_out(condition, dials)]

        try:
            low, high, used = bracket(usage_of, len(candidates), calls, near=_NEAR)
        except ValueError as error:
            raise ValueError(f"{condition.name!r} on the validation tasks: {error}") from error
        share = (calls - used[low]) / (used[high] - used[low]) if used[high] > used[low] else 0.0
        values = float(candidates[low]), float(candidates[high])
        if condition.method == "random":
            dial = Dial((values[0] + share * (values[1] - values[0]),))
        else:
            near = [i for i in (low, high) if abs(used[i] - calls) <= _NEAR * calls]
            near.sort(key=lambda i: abs(used[i] - calls))
            values = (float(candidates[near[0]]),) if near else values
            dial = Dial(values, 0.0 if near else share, either, rise)
        (found,) = self.try_out(condition, [dial])
        return found

    def try_out(self, condition: Condition, dials: Sequence[Dial | None]) -> list[Matched]:
        """What the condition does at each dial, all played side by side."""
        jobs = [
            Job(condition, dial, task, seed)
            for dial in dict.fromkeys(dials)
            if (condition.name, dial) not in self._known
            for task in self._tasks
            for seed in range(self._contest.seeds(condition, dial, self._seeds))
        ]
        results: dict[Dial | None, list[Result]] = {}
        for job, result in self._contest.play(jobs):
            results.setdefault(job.dial, []).append(result)
        for dial, ours in results.items():
            self._known[condition.name, dial] = self._matched(dial, ours)
        return [self._known[condition.name, dial] for dial in dials]

    def _matched(self, dial: Dial | None, results: Sequence[Result]) -> Matched:
        rows = [(one.task, [one.success, *one.usage]) for one in results]
        total, size = by_task(self._tasks, rows)
        success, *usage = (total.sum(axis=0) / size.sum()).tolist()
        if len(self._tasks) < 2:
            return Matched(dial, tuple(usage), success)
        between = [tuple(one) for one in interval(resampled(total, size)).tolist()]
        return Matched(dial, tuple(usage), success, tuple(between[1:]), between[0])

    def _margins(self, condition: Condition, either: bool) -> np.ndarray | None:
        """[N] of the states that are met without help and with all of it; None where chance asks.

        They are judged at one time, as a model has it fast.
        """
        if condition.method == "random":
            return None
        helper = self._contest.deciders.judge(condition, either)
        ends = [Condition("never", "")]
        ends += [Condition("always", str(k), help=k + 1) for k in range(self._contest.num_helps)]
        jobs = [Job(end, None, task) for end in ends for task in self._tasks]
        states = self._contest.states(jobs)
        return np.asarray(helper.margins(states), float).max(axis=1)


def _candidates(margins: np.ndarray | None, rise: float) -> np.ndarray:
    """Dials, the one that makes the fewest calls first: thresholds between margins [N], or p.

    Where thresholds rise, margins are also compared with what those of the first calls have risen
    to.
    """
    if margins is None:
        return np.linspace(0.0, 1.0, _CANDIDATES)
    risen = rise * np.arange(_RISEN if rise else 1)
    margins = np.unique(margins[:, None] - risen)[::-1]
    between = (margins[:-1] + margins[1:]) / 2
    if len(between) > _CANDIDATES:
        # Closer together where few states are asked in: one candidate less is there more calls.
        share = np.linspace(0, 1, _CANDIDATES) ** 2
        between = np.quantile(between, 1 - share, method="nearest")
    return np.concatenate([[_BEYOND], between, [-_BEYOND]])


def match_all(
    matcher: Matcher, conditions: Sequence[Condition], path: str | os.PathLike
) -> dict[str, Matched]:
    """What conditions do on validation tasks, those that are to be matched once they are.

    Where chance asks, as often as it is told to, there is nothing to find out: such conditions are
    played only if others are to match them.

    Args:
      matcher: plays the validation tasks.
      conditions: all.
      path: of a file that keeps what was found; what it holds already is not looked for again.

    Raises:
      OSError: the file cannot be read or written.
      ValueError: as `Matcher.match`; conditions are to match one another in a circle; the file is
        damaged.
    """
    path = pathlib.Path(path)
    named = {one.name: one for one in conditions}
    found = _read(path) if path.exists() else {}

    def match(condition: Condition, asking: tuple[str, ...] = ()) -> Matched:
        if condition.name in asking:
            raise ValueError(f"{condition.name!r} is to match itself, by {' and '.join(asking)}")
        if condition.name not in found:
            if condition.match is None:
                (result,) = matcher.try_out(condition, [condition.dial])
            else:
                calls = condition.match
                if isinstance(calls, str):
                    calls = match(named[calls], (*asking, condition.name)).calls
                result = matcher.match(condition, calls)
            found[condition.name] = result
            write_bytes(path, msgspec.json.encode(found) + b"\n")
        return found[condition.name]

    told = [one for one in conditions if one.method != "random" or one.match is not None]
    progress = Progress("validated", len(told))
    for one in told:
        match(one)
        progress.add()
    progress.end()
    return found


def _read(path: pathlib.Path) -> dict[str, Matched]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Matched])
    except ValueError as error:
        raise ValueError(f"{path}: no matches: {error}") from error
