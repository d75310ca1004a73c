"""What the episodes of conditions come to: means, 95% intervals over tasks, paired differences.

evaluation.json is {"version": 1, "config", "conditions", "paired"}. A row of `conditions` has

  task_type, intervention, split, part   which tasks; part is "all", or a group of --parts
  method, setting, dial                  which condition; dial {"values", "share", "either", "rise"}
                                         as given or set: p or a threshold, or two and a share
  tasks, seeds                           seeds is 1 where nothing was left to chance
  success, length, usage [K], invalid    means an episode: length in actions, usage in calls
  spl, spl_actions                       by low-level steps and by actions; null outside SIF
  success_ci, usage_ci [K, 2], ...       95% intervals; null for a single task
  causes                                 failures, by how they ended
  expected_usage [K]                     on validation tasks; else by the forecast, else null
  validation                             success and usage on validation tasks, with intervals
  forecast                               `experiments.forecast.Forecast`; for helpers with the
                                         `ceiling`: the optimum on that table at the same calls
  tables, series, note                   as the file of conditions has them

and one of `paired` a, b (method and setting), difference (success of a less that of b), ci,
usage_difference [K] and its usage_ci, resampled task by task.
"""

import collections
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.conditions import Condition
from experiments.contest import CAUSES, Result
from experiments.statistics import by_task, interval, resampled, share_interval

_FIGURES = ("success", "length", "invalid")  # besides these usage, and SPL where it is known


class Summary:
    """The figures of all conditions on the same tasks."""

    def __init__(self, results: Sequence[Result], tasks: Sequence[str], *, seed: int = 0):
        """Groups the results.

        Args:
          results: of all conditions; those of other tasks are passed over.
          tasks: names, at least one.
          seed: of the resamples, the same for all conditions: they are compared task by task.
        """
        self._tasks, self._seed = list(tasks), seed
        wanted = set(tasks)
        self._results: dict[str, list[Result]] = collections.defaultdict(list)
        for one in results:
            if one.task in wanted:
                self._results[one.condition].append(one)
        self._draws: dict[str, np.ndarray | None] = {}
        self._means: dict[str, np.ndarray] = {}

    def row(self, condition: Condition) -> dict[str, Any]:
        """The figures of a condition, JSON values; intervals are None for a single task."""
        name = condition.name
        results = self._results[name]
        means, draws = self._of(name)
        between = None if draws is None else interval(draws).tolist()
        if between:
            between[0] = share_interval(draws[:, 0], len(self._tasks)).tolist()
        num_figures = len(_FIGURES)
        has_spl = results[0].spl is not None
        spl = [None] * 4
        if has_spl:
            spl = [*means[-2:].tolist(), *(between[-2:] if between else [None] * 2)]
        usage = slice(num_figures, num_figures + len(results[0].usage))
        causes = collections.Counter(one.cause for one in results)
        return {
            "method": condition.kind,
            "setting": condition.setting,
            "tasks": len(self._tasks),
            "seeds": len({one.seed for one in results}),
            "success": float(means[0]),
            "success_ci": between and between[0],
            "spl": spl[0],
            "spl_ci": spl[2],
            "spl_actions": spl[1],
            "spl_actions_ci": spl[3],
            "length": float(means[1]),
            "length_ci": between and between[1],
            "usage": means[usage].tolist(),
            "usage_ci": between and between[usage],
            "invalid": float(means[2]),
            "causes": {cause: causes[cause] for cause in CAUSES},
        }

    def difference(self, a: Condition, b: Condition) -> dict[str, Any]:
        """Success and calls of a less those of b, with paired intervals over tasks."""
        means = [self._of(one.name)[0] for one in (a, b)]
        draws = [self._of(one.name)[1] for one in (a, b)]
        num_helps = len(self._results[a.name][0].usage)
        usage = slice(len(_FIGURES), len(_FIGURES) + num_helps)
        apart = means[0] - means[1]
        between = None if draws[0] is None else interval(draws[0] - draws[1]).tolist()
        return {
            "a": {"method": a.kind, "setting": a.setting},
            "b": {"method": b.kind, "setting": b.setting},
            "difference": float(apart[0]),
            "ci": between and between[0],
            "usage_difference": apart[usage].tolist(),
            "usage_ci": between and between[usage],
        }

    def _of(self, name: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Means [C] and resampled means [B, C]: `_FIGURES`, usage [K], SPL by steps and actions."""
        if name not in self._means:
            rows = [(one.task, _figures(one)) for one in self._results[name]]
            total, size = by_task(self._tasks, rows)
            self._means[name] = total.sum(axis=0) / size.sum()
            many = len(self._tasks) > 1
            self._draws[name] = resampled(total, size, seed=self._seed) if many else None
        return self._means[name], self._draws[name]


def comparisons(conditions: Sequence[Condition]) -> list[tuple[Condition, Condition]]:
    """The pairs that are compared: as conditions say, else each helper with all others."""
    named = {one.name: one for one in conditions}
    pairs = []
    for one in conditions:
        if one.against is not None:
            pairs += [(one, named[other]) for other in one.against]
        elif one.method == "helper":
            pairs += [(one, other) for other in conditions if other is not one]
    return pairs


def evaluation(
    conditions: Sequence[Condition],
    results: Sequence[Result],
    tasks: Sequence[str],
    parts: Mapping[str, Sequence[str]],
    told: Mapping[str, Mapping[str, Any]],
    where: Mapping[str, Any],
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """What evaluation.json holds, but for its configuration.

    Args:
      conditions: in their order.
      results: of all of them.
      tasks: all.
      parts: further groups of tasks, by name.
      told: further fields of a condition's rows, by its name.
      where: further fields of all rows and comparisons.
      seed: of the resamples.
    """
    rows, paired = [], []
    for part, group in {"all": tasks, **parts}.items():
        summary = Summary(results, group, seed=seed)
        place = {**where, "part": part}
        rows += [
            {**place, **summary.row(one), **told.get(one.name, {}), **one.told}
            for one in conditions
        ]
        paired += [{**place, **summary.difference(a, b)} for a, b in comparisons(conditions)]
    return {"conditions": rows, "paired": paired}


def read_parts(path: str | os.PathLike, tasks: Sequence[str]) -> dict[str, list[str]]:
    """Groups of tasks by name, from a JSON object.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is no such object, a group is empty or called "all", or holds another task.
    """
    try:
        with open(path, encoding="utf-8") as file:
            given = json.load(file)
        for name, group in given.items():
            strange = sorted(set(group) - set(tasks))
            if strange:
                raise ValueError(f"{name!r} holds {strange[0]!r}, expected tasks that are played")
            if not group or name == "all":
                raise ValueError(f"{name!r} has {len(group)} tasks, expected a group of its own")
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: {error}") from error
    return given


def _figures(one: Result) -> list[float]:
    spl = [np.nan if found is None else found for found in (one.spl, one.spl_actions)]
    return [*(float(getattr(one, name)) for name in _FIGURES), *map(float, one.usage), *spl]
