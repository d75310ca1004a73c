"""Success weighted by path length (Anderson et al., arXiv 1807.06757).

    SPL = success * L* / max(L, L*)

L is the episode's length, L* the oracle's; both in actions, or both in low-level steps.
"""

from collections.abc import Mapping
from typing import NamedTuple

from adapters.protocols import Outcome
from adapters.sif.tasks import Task


class Spl(NamedTuple):
    """SPL by both measures of length; each in [0, 1], or None where L* is not known."""

    actions: float | None
    low_level_steps: float | None


def spl(task: Task, outcome: Outcome, measures: Mapping[str, float]) -> Spl:
    """SPL of one finished episode.

    Args:
      task: with L* in `oracle_actions` and `oracle_steps`.
      outcome: of the episode.
      measures: of its last state, "actions" and "low_level_steps".
    """
    success = outcome == "success"
    return Spl(
        _spl(success, measures["actions"], task.oracle_actions),
        _spl(success, measures["low_level_steps"], task.oracle_steps),
    )


def _spl(success: bool, length: float, oracle: int | None) -> float | None:
    if oracle is None:
        return None
    return success * oracle / max(length, oracle, 1)
