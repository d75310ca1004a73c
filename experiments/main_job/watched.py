"""What is seen in episodes turn by turn: stopping oneself, toggling, examples."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from adapters.step import Step
from experiments.statistics import by_task, resampled, share_interval
from models import thresholds

_CHANGES = 2  # of who plays, at least, where thresholds are shown to toggle

Episodes = Mapping[str, Sequence[Step]]  # by task
Looked = Literal["all", "last two"]  # states that tell the base actor whether to stop


class Watched(NamedTuple):
    """Episodes of a condition.

    Attributes:
      method, setting: of the condition.
      episodes: one a task.
      reasons: why help was asked for or not, by state key; may lack some.
      p: p(s) by state key.
    """

    method: str
    setting: str
    episodes: Episodes
    reasons: Mapping[str, str]
    p: Mapping[str, float]

    def turns(self) -> dict[str, Any]:
        """Means of turns, calls, and how often who plays changes."""

        def mean(count: Callable[[Sequence[Step]], int]) -> float:
            return statistics.fmean(count(steps) for steps in self.episodes.values())

        return {
            "method": self.method,
            "setting": self.setting,
            "turns": mean(len),
            "calls": mean(_calls),
            "changes": mean(changes),
        }

    def run(self, task: str, p: Mapping[str, float]) -> dict[str, Any]:
        """An episode as the report shows it; `p` is p(s) by state key."""
        steps = self.episodes[task]
        turns = [
            dict(
                help=step.decision,
                actor=step.actor,
                action=step.action,
                p=p[step.state_key],
                reason=self.reasons.get(step.state_key, ""),
            )
            for step in steps
        ]
        outcome = steps[-1].outcome
        return dict(method=self.method, setting=self.setting, outcome=outcome, turns=turns)


def changes(steps: Sequence[Step]) -> int:
    """How often who plays changes."""
    who = [step.decision for step in steps]
    return sum(a != b for a, b in zip(who, who[1:], strict=False))


def self_regulation(
    alone: Episodes, p: Mapping[str, float], threshold: float, states: Looked = "all"
) -> dict[str, Any]:
    """How the base actor would do that stops once 1 - p(s) exceeds the threshold (Section 4.2).

    Args:
      alone: its episodes.
      p: p(s) by state key.
      threshold: on 1 - p(s).
      states: what it looks at: the most of "all", as in the paper, or the mean of the "last two",
        once, before the step that ends the task.

    Returns:
      Accuracy, precision and recall with 95% intervals over tasks; None where nothing is shared.
    """
    hard = thresholds.difficulty(_scores(alone, p, states))
    wins = np.array([_won(steps) for steps in alone.values()])
    found, goes_on, tasks = thresholds.judge(threshold, hard, wins), hard <= threshold, list(alone)
    return {
        "states": states,
        "tasks": len(tasks),
        "success": float(wins.mean()),
        "threshold": threshold,
        **_share("accuracy", found.accuracy, goes_on == wins, np.ones_like(wins), tasks),
        **_share("precision", found.precision, goes_on & wins, goes_on, tasks),
        **_share("recall", found.recall, goes_on & wins, wins, tasks),
    }


def threshold(alone: Watched, states: Looked = "all") -> float:
    """On 1 - p(s): at which stopping is right most often in these episodes of the base actor."""
    hard = thresholds.difficulty(_scores(alone.episodes, alone.p, states))
    return thresholds.self_regulation(
        hard, [_won(steps) for steps in alone.episodes.values()]
    ).threshold


def examples(watched: Sequence[Watched], p: Mapping[str, float]) -> list[dict[str, Any]]:
    """A task on which thresholds on p(s) toggle, and one that help decides, if there are such."""
    by_method = {one.method: one for one in watched}

    def toggles(by_prm: Sequence[Step], by_chance: Sequence[Step]) -> bool:
        return changes(by_prm) >= _CHANGES and not _won(by_prm) and _won(by_chance)

    def decides(alone: Sequence[Step], helped: Sequence[Step]) -> bool:
        return not _won(alone) and _won(helped) and _calls(helped) > 0

    wanted = {
        "toggling": (
            ("prm", "random"),
            toggles,
            f"The first test task in which who plays changes at least {_CHANGES} times by the "
            "threshold, which fails, and asking at random succeeds.",
        ),
        "trajectory": (
            ("never", "helper"),
            decides,
            "The first test task in which the base actor alone fails and the helper succeeds.",
        ),
    }
    found = []
    for kind, (methods, shows, words) in wanted.items():
        if not set(methods) <= by_method.keys():
            continue
        first, second = (by_method[method] for method in methods)
        for task, steps in first.episodes.items():
            if shows(steps, second.episodes[task]):
                runs = [first.run(task, p), second.run(task, p)]
                found.append(dict(kind=kind, task=task, chosen=words, runs=runs))
                break
    return found


def _scores(alone: Episodes, p: Mapping[str, float], states: Looked) -> list[list[float]]:
    found = [[p[step.state_key] for step in steps] for steps in alone.values()]
    if states == "last two":
        found = [[statistics.fmean(one[-2:])] for one in found]
    # The state that follows the last turn has ended and is left out in any case.
    return [[*one, math.nan] for one in found]


def _calls(steps: Sequence[Step]) -> int:
    return sum(step.decision > 0 for step in steps)


def _won(steps: Sequence[Step]) -> bool:
    return steps[-1].outcome == "success"


def _share(
    name: str, value: float, part: np.ndarray, whole: np.ndarray, tasks: Sequence[str]
) -> dict[str, Any]:
    """A share with its interval; None where there is nothing to share."""
    if not math.isfinite(value):
        return {name: None, f"{name}_ci": None}
    rows = [(t, (float(a), float(b))) for t, a, b in zip(tasks, part, whole, strict=True)]
    draws = resampled(*by_task(tasks, rows))
    shares = draws[:, 0] / np.maximum(draws[:, 1], 1e-9)
    low_high = share_interval(shares, int(whole.sum())).tolist()
    return {name: value, f"{name}_ci": low_high}
