"""The world of SIF: simulated tasks from a seed, tasks given by hand, or both.

Example:
  >>> world = SifWorld()
  >>> state = world.reset("pnp/train/0")
  >>> world.step(state, "Done!").outcome
  'failure'
"""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import Any

from adapters.sif import rules
from adapters.sif.generator import SPLITS, SifConfig, generate_task, task_names
from adapters.sif.layout import Layout
from adapters.sif.state import SifState
from adapters.sif.tasks import Task

_DEFAULT = SifConfig()
_LAYOUTS = 4096  # tasks kept ready; others are made again when they are reset


class SifWorld:
    """Tasks and their rules, as `adapters.protocols.World`.

    Simulated tasks are named as "s_obj/train/17"; their splits are `generator.SPLITS`. What is
    measured on them is simulated, and no result on SIF.
    """

    def __init__(
        self,
        config: SifConfig | None = _DEFAULT,
        tasks: Mapping[str, Task] | None = None,
        *,
        history_in_key: bool = False,
    ):
        """Makes the world.

        Args:
          config: of the simulated tasks; None for none.
          tasks: further tasks by their names, for example from real episode files. Their splits
            must differ from those of the simulated tasks.
          history_in_key: state keys hold the past actions. Then the full text, which tells them,
            follows from the key, but two ways to one situation no longer meet in one state.

        Raises:
          ValueError: a task is listed under another name, or is in a simulated split.
        """
        self._simulated = config
        self._tasks = dict(tasks or {})
        self._history_in_key = history_in_key
        self._splits: dict[str, list[str]] = {}
        for name, task in self._tasks.items():
            if name != task.name:
                raise ValueError(f"tasks[{name!r}] is named {task.name!r}, expected {name!r}")
            if config is not None and task.split in SPLITS:
                raise ValueError(f"tasks[{name!r}] is in the simulated split {task.split!r}")
            self._splits.setdefault(task.split, []).append(name)
        self._layout = functools.lru_cache(maxsize=_LAYOUTS)(self._make_layout)

    @property
    def config(self) -> dict[str, Any]:
        """JSON values; with a digest of the further tasks."""
        digest = hashlib.sha256()
        for name in sorted(self._tasks):
            digest.update(repr(self._tasks[name]).encode())
        return {
            "world": "sif",
            "simulated": dataclasses.asdict(self._simulated) if self._simulated else None,
            "tasks": len(self._tasks),
            "tasks_sha256": digest.hexdigest() if self._tasks else None,
            "history_in_key": self._history_in_key,
        }

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of all splits."""
        return (*(SPLITS if self._simulated is not None else ()), *self._splits)

    def tasks(self, split: str) -> list[str]:
        """The names of the tasks of a split. Raises ValueError naming the splits there are."""
        if split not in self.splits:
            raise ValueError(f"split is {split!r}, expected one of {self.splits}")
        if split in self._splits:
            return list(self._splits[split])
        return list(task_names(self._simulated, split))

    def task(self, name: str) -> Task:
        """A task, hidden parts included. Raises ValueError if there is none of that name."""
        if name in self._tasks:
            return self._tasks[name]
        if self._simulated is None:
            raise ValueError(f"task is {name!r}, expected one of {len(self._tasks)} given tasks")
        return generate_task(self._simulated, name)

    def reset(self, task: str) -> SifState:
        """The first state of a task. Raises ValueError if there is none of that name."""
        return rules.start(self._layout(task), self._history_in_key)

    def step(self, state: SifState, action: str) -> SifState:
        """The state that follows. Raises ValueError if `state` has ended."""
        return rules.step(state, action)

    def _make_layout(self, name: str) -> Layout:
        return Layout(self.task(name))
