"""What did not come out as in the paper, and why, where the results show it."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from experiments.main_job.results import calls, in_table, of
from experiments.main_job.tables import TASK_TYPES, at_the_last, percent, reads_replies

_HERE = dict(task_type="s_obj", split="test_unseen")


def unlike_the_paper(results: Mapping[str, Any]) -> list[str]:
    """A paragraph for each thing; none for what is as in the paper, or was not measured."""
    return [*_search(results), *_toggling(results), *_first_steps(results), *_stopping(results)]


def _search(results: Mapping[str, Any]) -> Iterator[str]:
    here = _HERE | dict(intervention="search")
    ends = (of(results["conditions"], **here, method=method) for method in ("never", "always"))
    for never, always in itertools.product(*ends):
        if always["success"] < never["success"]:
            yield (
                f"Search hurts: at every turn S_obj succeeds in {percent(always['success'])}, "
                f"without it in {percent(never['success'])}; in the paper it helps. The base "
                "actor's candidates are often all the same, or end alike, and a process reward "
                "model judges sampled actions worse than those it has seen played."
            )


def _toggling(results: Mapping[str, Any]) -> Iterator[str]:
    rows = of(results["turns"], task_type="s_obj", intervention="stronger")
    for prm, helper in itertools.product(of(rows, method="prm"), of(rows, method="helper")):
        if prm["changes"] < helper["changes"]:
            yield (
                f"Thresholds on p(s) toggle less than the helper: who plays changes "
                f"{prm['changes']:.2f} times a task, {helper['changes']:.2f} by the helper. "
                "p(s) of the state alone moves little from turn to turn here, so once it is "
                "below the threshold it stays there, and help plays to the end."
            )


def _first_steps(results: Mapping[str, Any]) -> Iterator[str]:
    here = _HERE | dict(intervention="stronger")
    rows = in_table(results, "5", **here)
    for never in of(rows, method="never"):
        told = [
            f"{percent(row['success'])} at {calls(row['usage']):.2f} calls"
            for row in of(rows, method="task_prm_first")
            if row["success"] <= never["success"]
        ]
        if told:
            yield (
                "PRM thresholds that are looked at in the first five steps alone gain nothing: "
                f"{', '.join(told)}, {percent(never['success'])} without help. What goes wrong "
                "here goes wrong later, or is not told by the state alone."
            )


def _stopping(results: Mapping[str, Any]) -> Iterator[str]:
    for row in results["self_regulation"]:
        usual = max(row["success"], 1 - row["success"])
        told = row["accuracy"] is not None and not reads_replies(row) and not at_the_last(row)
        if told and row["accuracy"] <= usual:
            yield (
                f"From the state alone stopping is right in {percent(row['accuracy'])} of "
                f"{TASK_TYPES.get(row['task_type'], row['task_type'])}, no more than by doing "
                f"always the same, {percent(usual)}: much of what goes wrong is told by what the "
                "actor is about to do."
            )
