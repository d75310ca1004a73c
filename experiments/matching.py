"""Sets dials so that the calls on validation tasks are those that are wanted.

A dial is a probability or a threshold. Calls fall as a threshold rises, by steps: between two
thresholds that ask in the same states nothing changes. So the wanted number lies between two
neighbours, and a share of the episodes takes the second one.

The searches of all conditions go on side by side, round by round: models are asked about many
states at one time then, and are the faster for it.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from adapters.protocols import State
from experiments.conditions import Condition, Dial
from experiments.contest import Contest, Job, Result
from experiments.progress import Progress
from experiments.statistics import by_task, interval, resampled, share_interval
from models.atomic_file import write_bytes
from models.thresholds import bracketing

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


# What a condition is to be tried at, and what it is said to do there; in the end the dial found.
_Search = Generator[list[Dial], list[Matched], Matched]


class Matcher:
    """Plays validation tasks, each condition and dial once."""

    def __init__(self, contest: Contest, tasks: Sequence[str], seeds: int, path: str | os.PathLike):
        """Plays nothing yet.

        Args:
          contest: plays.
          tasks: of validation.
          seeds: of conditions that leave something to chance.
          path: of a file that keeps what was played; what it holds already is not played again.

        Raises:
          OSError: the file cannot be read.
          ValueError: it is damaged.
        """
        self._contest, self._tasks, self._seeds = contest, tasks, seeds
        self._path, self._rounds = pathlib.Path(path), 0
        known = _read(self._path, list[tuple[str, Matched]])
        self._known = {(name, found.dial): found for name, found in known or ()}

    def match(self, wanted: Iterable[tuple[Condition, float]]) -> dict[str, Matched]:
        """The dials at which conditions make so many calls an episode, by their names.

        Of a helper alone and one with a process reward model beside it, and of several rises of its
        threshold, the one that more episodes succeed with.

        Args:
          wanted: conditions and calls.

        Raises:
          ValueError: a condition makes more or fewer whatever the dial.
        """
        searches = [
            (condition, search)
            for condition, calls in wanted
            for search in self._searches(condition, calls)
        ]
        best: dict[str, Matched] = {}
        for (condition, _), found in zip(searches, self._side_by_side(searches), strict=True):
            before = best.get(condition.name)
            if before is None or found.success > before.success:  # the first of equals
                best[condition.name] = found
        return best

    def _side_by_side(self, searches: Sequence[tuple[Condition, _Search]]) -> list[Matched]:
        """What they find; each round tries out all that they ask for."""
        ended: dict[int, Matched] = {}
        answers: dict[int, list[Matched] | None] = dict.fromkeys(range(len(searches)))
        while answers:
            asked: dict[int, list[Dial]] = {}
            for i, answer in answers.items():
                try:
                    asked[i] = searches[i][1].send(answer)
                except StopIteration as end:
                    ended[i] = end.value
            tries = [(searches[i][0], dial) for i, dials in asked.items() for dial in dials]
            found = iter(self.try_out(tries))
            answers = {i: [next(found) for _ in dials] for i, dials in asked.items()}
        return [ended[i] for i in range(len(searches))]

    def _searches(self, condition: Condition, calls: float) -> list[_Search]:
        ways = (False, True) if condition.either is not None else (False,)
        margins = [self._margins(condition, either) for either in ways]
        return [
            self._search(condition, calls, either, rise, of_states)
            for rise in condition.rises
            for either, of_states in zip(ways, margins, strict=True)
        ]

    def _search(
        self,
        condition: Condition,
        calls: float,
        either: bool,
        rise: float,
        margins: np.ndarray | None,
    ) -> _Search:
        candidates = _candidates(margins, rise)
        search = bracketing(len(candidates), calls, near=_NEAR)
        usages = None
        while True:
            try:
                places = search.send(usages)
            except StopIteration as end:
                low, high, used = end.value
                break
            except ValueError as error:
                raise ValueError(f"{condition.name!r} on the validation tasks: {error}") from error
            dials = [Dial((float(candidates[i]),), 0.0, either, rise) for i in places]
            usages = [one.calls for one in (yield dials)]
        share = (calls - used[low]) / (used[high] - used[low]) if used[high] > used[low] else 0.0
        values = float(candidates[low]), float(candidates[high])
        if condition.method == "random":
            dial = Dial((values[0] + share * (values[1] - values[0]),))
        else:
            near = [i for i in (low, high) if abs(used[i] - calls) <= _NEAR * calls]
            near.sort(key=lambda i: abs(used[i] - calls))
            values = (float(candidates[near[0]]),) if near else values
            dial = Dial(values, 0.0 if near else share, either, rise)
        (found,) = yield [dial]
        return found

    def try_out(self, tries: Iterable[tuple[Condition, Dial | None]]) -> list[Matched]:
        """What conditions do at dials, all played side by side."""
        tries = list(tries)
        fresh = {
            (condition.name, dial): condition
            for condition, dial in tries
            if (condition.name, dial) not in self._known
        }
        jobs = [
            Job(condition, dial, task, seed)
            for (_, dial), condition in fresh.items()
            for task in self._tasks
            for seed in range(self._contest.seeds(condition, dial, self._seeds))
        ]
        if jobs:
            self._known |= self._played(jobs)
            write_bytes(
                self._path,
                msgspec.json.encode([(name, one) for (name, _), one in self._known.items()])
                + b"\n",
            )
        return [self._known[condition.name, dial] for condition, dial in tries]

    def _played(self, jobs: Sequence[Job]) -> dict[tuple[str, Dial | None], Matched]:
        self._rounds += 1
        progress = Progress(f"validation, round {self._rounds}", len(jobs))
        results: dict[tuple[str, Dial | None], list[Result]] = {}
        for job, result in self._contest.play(jobs):
            results.setdefault((job.condition.name, job.dial), []).append(result)
            progress.add()
        progress.end()
        return {(name, dial): self._matched(dial, ours) for (name, dial), ours in results.items()}

    def _matched(self, dial: Dial | None, results: Sequence[Result]) -> Matched:
        rows = [(one.task, [one.success, *one.usage]) for one in results]
        total, size = by_task(self._tasks, rows)
        success, *usage = (total.sum(axis=0) / size.sum()).tolist()
        if len(self._tasks) < 2:
            return Matched(dial, tuple(usage), success)
        draws = resampled(total, size)
        likely = share_interval(draws[:, 0], len(self._tasks)).tolist()
        between = [tuple(one) for one in interval(draws[:, 1:]).tolist()]
        return Matched(dial, tuple(usage), success, tuple(between), tuple(likely))

    def _margins(self, condition: Condition, either: bool) -> np.ndarray | None:
        """[N] of the `_states`, judged at one time, which is fast; None where chance asks."""
        if condition.method == "random":
            return None
        helper = self._contest.deciders.judge(condition, either)
        return np.asarray(helper.margins(self._states), float).max(axis=1)

    @functools.cached_property
    def _states(self) -> list[State]:
        """Those that are met without help and with all of it."""
        ends = [Condition("never", "")]
        ends += [Condition("always", str(k), help=k + 1) for k in range(self._contest.num_helps)]
        return self._contest.states([Job(end, None, task) for end in ends for task in self._tasks])


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
    found = _read(path, dict[str, Matched]) or {}
    told = [one for one in conditions if one.method != "random" or one.match is not None]
    missing = {name: named[name] for one in told for name in _chain(one, named)}
    while missing := {name: one for name, one in missing.items() if name not in found}:
        given = [one for one in missing.values() if one.match is None]
        tried = matcher.try_out((one, one.dial) for one in given)
        found |= {one.name: result for one, result in zip(given, tried, strict=True)}
        found |= matcher.match(
            (one, found[one.match].calls if isinstance(one.match, str) else one.match)
            for one in missing.values()
            if one.match in found or isinstance(one.match, float | int)
        )
        write_bytes(path, msgspec.json.encode(found) + b"\n")
    return found


def _chain(condition: Condition, named: Mapping[str, Condition]) -> list[str]:
    """Names of the condition and of those that it is to match, one by another."""
    names = [condition.name]
    while isinstance(match := named[names[-1]].match, str):
        if match in names:
            names = names[names.index(match) :]
            raise ValueError(f"{match!r} is to match itself, by {' and '.join(names)}")
        names.append(match)
    return names


def _read(path: pathlib.Path, type: Any) -> Any:
    """What the file holds; None where there is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=type)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path}: no matches: {error}") from error
