"""The folder of a training run: what it was started with, its metrics and its checkpoints.

    run.json         settings; a run with others is refused
    metrics.jsonl    one object a step, up to the last one
    checkpoints/N    after N steps, by Orbax: written beside and renamed, so whole or absent
    tensorboard/     the same metrics, where the package tensorboard is installed

Metrics are on disk before the checkpoint that they lead to. When a run goes on from a checkpoint,
the metrics after it are dropped: they are computed again.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from models.atomic_file import write_bytes
from models.json_values import differences


class RunFolder:
    """Open it with `with`.

    Attributes:
      history: metrics of all steps, in order.
    """

    def __init__(self, folder: str | os.PathLike, settings: Mapping[str, Any], *, keep: int):
        """Makes the folder, or checks that it is of a run with the same settings.

        Raises:
          ValueError: it is not; lists what differs. Or a file in it is damaged.
        """
        self.folder = Path(folder).absolute()
        path = self.folder / "run.json"
        settings = json.loads(json.dumps(settings))  # tuples become lists, as in the file
        if path.exists():
            _check_settings(path, settings)
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_bytes(path, (json.dumps(settings, indent=1) + "\n").encode())
        self._metrics_path = self.folder / "metrics.jsonl"
        self.history = _read_metrics(self._metrics_path)
        self._metrics = None
        self._board = None
        self._checkpoints = ocp.training.Checkpointer(
            self.folder / "checkpoints",
            preservation_policy=ocp.training.preservation_policies.LatestN(keep),
            cleanup_tmp_directories=True,  # what a kill in the middle of a save has left
        )

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *exception) -> None:
        self._checkpoints.close()
        if self._metrics is not None:
            self._metrics.close()
        if self._board is not None:
            self._board.close()

    def restore(self, state):
        """The state of the last checkpoint, or `state` itself if there is none yet.

        Drops the metrics after it. `state` says which shapes, dtypes and shardings are expected.

        Raises:
          ValueError: the metrics end before the checkpoint, or it is damaged. Nothing is written.
        """
        latest = self._checkpoints.latest
        step = 0 if latest is None else latest.step
        if len(self.history) < step:
            raise ValueError(
                f"{self._metrics_path}: {len(self.history)} steps, expected {step} or more, as "
                f"there is a checkpoint after {step}"
            )
        if latest is not None:
            state = self._load(latest, state)
        self.history = self.history[:step]
        lines = "".join(json.dumps(values) + "\n" for values in self.history)
        write_bytes(self._metrics_path, lines.encode())
        self._metrics = open(self._metrics_path, "a", encoding="utf-8")
        self._board = _tensorboard(self.folder / "tensorboard")
        return state

    def _load(self, checkpoint, state):
        like = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
        )
        try:
            return self._checkpoints.load(checkpoint.step, like)
        except Exception as error:  # Orbax and TensorStore have many ways to say it
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ValueError(
                f"{checkpoint.path}: cannot be read: {reason}; remove that folder to go on from "
                "the checkpoint before it, or from the beginning"
            ) from error

    def log(self, values: Mapping[str, float]) -> None:
        """Appends the metrics of the next step; `values["step"]` is its number, from 1."""
        self.history.append(dict(values))
        self._metrics.write(json.dumps(values, allow_nan=False) + "\n")
        self._metrics.flush()
        if self._board is not None:
            for name, value in values.items():
                if name != "step":
                    self._board.add_scalar(name, value, values["step"])

    def save(self, step: int, state) -> None:
        """Writes a checkpoint and returns when it is whole; then drops the oldest ones."""
        os.fsync(self._metrics.fileno())
        self._checkpoints.save(step, state, force=True)

    @property
    def last_checkpoint(self) -> Path | None:
        return self.checkpoint_before(math.inf)

    def checkpoint_before(self, step: float) -> Path | None:
        """The last one after fewer steps than `step`."""
        found = [one for one in self._checkpoints.checkpoints if one.step < step]
        return Path(found[-1].path) if found else None


def _check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    found = _parse(path, path.read_text(encoding="utf-8"))
    problems = [
        f"{name} is {value!r}, was {before!r}"
        for name, value, before in differences(settings, found)
    ]
    if problems:
        raise ValueError(
            f"{path}: the run was started with other settings, expected the same:\n  "
            + "\n  ".join(problems)
        )


def _read_metrics(path: Path) -> list[dict]:
    """Metrics of steps 1, 2, ... A last line that a kill cut off is left out."""
    if not path.exists():
        return []
    *lines, rest = path.read_text(encoding="utf-8").split("\n")
    found = []
    for number, line in enumerate(lines, start=1):
        values = _parse(f"{path}:{number}", line)
        if not isinstance(values, dict) or values.get("step") != number:
            raise ValueError(
                f"{path}:{number}: {line[:80]!r}, expected the metrics of step {number}"
            )
        found.append(values)
    return found


def _parse(where: Path | str, text: str):
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{where}: not JSON: {error}") from error


def _tensorboard(folder: Path):
    """A writer of TensorBoard's files, or None where it is not installed."""
    try:
        from tensorboard.summary import Writer
    except ModuleNotFoundError:
        return None
    return Writer(str(folder))
