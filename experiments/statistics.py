"""Means over tasks and how sure they are, by resampling tasks.

Episodes of one task are not independent: seeds, and conditions that are compared, share it. So
tasks are drawn with replacement, all episodes of a task together, and an interval lies between
percentiles of the resampled means (percentile bootstrap; Efron and Tibshirani 1993, chapter 13).

All draws come from a seed and the number of tasks alone. Two figures of the same tasks are thus
resampled alike, and the difference of their draws is a paired bootstrap.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
_CHUNK = 2**22  # numbers drawn at once


def resampled(
    total: Any, size: Any, *, num_resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """[B, ...] means of B resamples of the tasks.

    Args:
      total: [T, ...] sum over the episodes of each task.
      size: [T] their number, or weight; at least one of a resample must not be 0.
      num_resamples: B.
      seed: of the draws.

    Raises:
      ValueError: there are fewer than two tasks, or shapes differ.
    """
    total, size = np.asarray(total, np.float64), np.asarray(size, np.float64)
    if total.ndim < 1 or size.shape != total.shape[:1]:
        raise ValueError(f"size has shape {size.shape}, expected the tasks of total {total.shape}")
    if len(total) < 2:
        raise ValueError(f"total has {len(total)} tasks, expected at least 2")
    flat = total.reshape(len(total), -1)
    times = _times(len(total), num_resamples, seed)
    weight = times @ size
    return (times @ flat / weight[:, None]).reshape(num_resamples, *total.shape[1:])


def interval(draws: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """[..., 2] low and high percentile of draws [B, ...]."""
    tail = 100 * (1 - level) / 2
    return np.moveaxis(np.percentile(draws, [tail, 100 - tail], axis=0), 0, -1)


def share_interval(draws: np.ndarray, num_tasks: int, level: float = LEVEL) -> np.ndarray:
    """[2] as `interval`, of a share with draws [B].

    No resample of tasks that all failed has a success in it, nor the other way round: then the
    interval is that of Clopper and Pearson (1934) for the tasks.
    """
    low, high = interval(draws, level)
    room = 1 - ((1 - level) / 2) ** (1 / num_tasks)
    if high <= 0:
        high = room
    elif low >= 1:
        low = 1 - room
    return np.array([low, high])


def weighted_means(
    values: np.ndarray, weight: np.ndarray, task: np.ndarray, *, seed: int = 0
) -> np.ndarray | None:
    """[B, C] resampled means of values [G, C] with weights [G] that belong to tasks [G].

    None where there are fewer than two tasks.
    """
    names, group = np.unique(task, return_inverse=True)
    if names.size < 2:
        return None
    total, size = np.zeros((names.size, values.shape[1])), np.zeros(names.size)
    np.add.at(total, group, values * weight[:, None])
    np.add.at(size, group, weight)
    return resampled(total, size, seed=seed)


def by_task(
    tasks: Sequence[str], rows: Sequence[tuple[str, Sequence[float]]]
) -> tuple[np.ndarray, np.ndarray]:
    """Sums [T, C] and numbers [T] of the rows of each task.

    Args:
      tasks: [T] names.
      rows: of an episode each: its task and C figures.

    Raises:
      ValueError: a row is of none of the tasks, or a task has no row.
    """
    place = {name: i for i, name in enumerate(tasks)}
    strange = next((task for task, _ in rows if task not in place), None)
    if strange is not None:
        raise ValueError(f"task {strange!r} is none of the {len(tasks)} tasks")
    group = np.array([place[task] for task, _ in rows], np.int64)
    size = np.bincount(group, minlength=len(tasks))
    if (size == 0).any():
        raise ValueError(f"task {tasks[int(np.argmin(size))]!r} has no episode")
    figures = np.array([figures for _, figures in rows], np.float64)
    total = np.zeros((len(tasks), figures.shape[1]))
    np.add.at(total, group, figures)
    return total, size


def _times(num_tasks: int, num_resamples: int, seed: int) -> np.ndarray:
    """[B, T] how often each task was drawn."""
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // num_tasks)
    parts = []
    for first in range(0, num_resamples, rows):
        count = min(rows, num_resamples - first)
        drawn = rng.integers(num_tasks, size=(count, num_tasks))
        drawn += num_tasks * np.arange(count)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * num_tasks)
        parts.append(times.reshape(count, num_tasks))
    return np.concatenate(parts).astype(np.float64)
