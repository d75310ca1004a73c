"""Runs the tasks of `bench_dp`, each in a process of its own, and keeps their answers."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from experiments import peers
from experiments.bench.measure import ask
from experiments.bench.tasks import Task
from experiments.instances import FAMILIES, Instance
from models.atomic_file import write_bytes

# A reference may take that many times the limit.
_REFERENCE_PATIENCE = 10
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)


class Results:
    """The saved results, `data`: reference, machine, triad, instances, and one cell a task.

    A cell is a task's fields and a status: "ok" with what `bench_cell` measured, "> 120 s" or
    "skipped > 120 s" with that limit, or why there is nothing.
    """

    def __init__(self, path: pathlib.Path):
        self._path = path
        self.data: dict[str, Any] = {"instances": {}, "cells": {}}
        if path.exists():
            try:
                self.data = json.loads(path.read_text())
            except json.JSONDecodeError as error:
                raise ValueError(f"--out: {path} is not JSON: {error}") from error

    def finished(self, task: Task, limit: float) -> bool:
        """Whether the task has an answer that another try would not change."""
        cell = self.data["cells"].get(task.key(), {"status": "missing"})
        return cell["status"] == "ok" or cell.get("limit", 0.0) >= limit

    def too_slow(self, task: Task, limit: float) -> bool:
        """Whether the same solver ran into the limit at a smaller size."""
        series = dataclasses.asdict(task) | {"size": 0}
        return any(
            cell["size"] < task.size
            and cell.get("limit", 0.0) >= limit
            and all((cell | {"size": 0})[field] == value for field, value in series.items())
            for cell in self.data["cells"].values()
        )

    def record(self, task: Task, answer: dict[str, Any]) -> None:
        fields = dataclasses.asdict(task) | {"instance": task.instance}
        self.data["cells"][task.key()] = fields | answer
        self.save()

    def save(self) -> None:
        replace_text(self._path, json.dumps(self.data, indent=1))


@dataclasses.dataclass(frozen=True)
class Runner:
    """Runs tasks, each in its own process.

    Attributes:
      folder: for instances and values that processes hand to one another.
      results: where answers go.
      reference: the solver others are compared with.
      limit: seconds for one task.
      core: processor core, or None for any.
      platform: JAX_PLATFORMS.
    """

    folder: pathlib.Path
    results: Results
    reference: str
    limit: float
    core: int | None
    platform: str

    def unfinished(self, tasks: Sequence[Task]) -> list[Task]:
        """The tasks left. A reference runs again where others still need its values."""
        left = {task for task in tasks if not self.results.finished(task, self.limit)}
        compared = {
            (task.instance, task.num_costs) for task in left if _out_of_question(task) is None
        }
        return [
            task
            for task in tasks
            if task in left
            or (task.solver == self.reference and (task.instance, task.num_costs) in compared)
        ]

    def run(self, task: Task) -> dict[str, Any]:
        """Records and returns the answer of a task."""
        answer = _out_of_question(task)
        if answer is None and self.results.too_slow(task, self.limit):
            answer = {"status": f"skipped > {self.limit:g} s", "limit": self.limit}
        if answer is None:
            answer = self._measured(task)
        self.results.record(task, answer)
        return answer

    def _measured(self, task: Task) -> dict[str, Any]:
        instance = self._instance(task)
        values = self.folder / f"{task.instance}-{task.num_costs}.npy"
        is_reference = task.solver == self.reference
        limit = self.limit * (_REFERENCE_PATIENCE if is_reference else 1)
        request = dict(
            solver=task.solver,
            instance=str(instance),
            core=self.core,
            budget=self.limit / 4,
            num_costs=task.num_costs,
            dtype=task.dtype,
            gap=task.gap,
            reference=str(values) if values.exists() and not is_reference else None,
            save_values=str(values) if is_reference else None,
        )
        given = ask(
            "experiments.bench.cell",
            request,
            limit=limit,
            env=os.environ | _ONE_THREAD | {"JAX_PLATFORMS": self.platform},
        )
        return given | {"limit": self.limit} if given["status"].startswith(">") else given

    def _instance(self, task: Task) -> pathlib.Path:
        """The file of the task's instance; the folder keeps one instance at a time."""
        path = self.folder / f"{task.instance}.npz"
        if not path.exists():
            for old in self.folder.iterdir():
                old.unlink()
            instance = FAMILIES[task.family](task.size, task.seed)
            instance.save(path)
            self.results.data["instances"][task.instance] = _described(instance)
        return path


def replace_text(path: pathlib.Path, text: str) -> None:
    """Writes all of the file or nothing."""
    write_bytes(path, text.encode())


def _described(instance: Instance) -> dict[str, Any]:
    num_inner = instance.num_states - 2
    return {
        "states": num_inner,
        "rows": num_inner * instance.num_actions,
        "transitions": int((instance.next_state < num_inner).sum()),
        "discount": instance.discount,
    }


def _out_of_question(task: Task) -> dict[str, Any] | None:
    """Why the task cannot be measured here at all, or None."""
    peer = peers.PEERS.get(task.solver)
    if peer and not peer.installed():
        return {"status": "not installed"}
    if peer and peer.max_states and task.size > peer.max_states:
        return {"status": f"more than {peer.max_states:,} states"}
    return None
