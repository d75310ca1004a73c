"""Training that shows how it goes: steps, time left, the mean loss of the last ones."""

import collections
import pathlib
import statistics

from flax import nnx

from experiments.progress import Progress
from models.losses import Loss
from models.packing import Packing
from models.training import Report, train
from models.training_config import TrainingConfig

_RECENT = 20  # steps whose mean loss is shown


def train_shown(
    model: nnx.Module, packing: Packing, loss: Loss, config: TrainingConfig, folder: pathlib.Path
) -> None:
    """As `models.training.train`."""
    progress, recent = None, collections.deque(maxlen=_RECENT)

    def show(report: Report) -> None:
        nonlocal progress
        progress = progress or Progress("steps", config.steps - report.step + 1)
        recent.append(report.loss)
        progress.add(lambda: f"loss {statistics.fmean(recent):.4f}")

    train(model, packing, loss, config, folder=folder, on_step=show)
    if progress is not None:
        progress.end(f"loss {statistics.fmean(recent):.4f}")
