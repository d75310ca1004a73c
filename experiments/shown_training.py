"""What training scripts share: flags out of range, and how it goes while it trains."""

import collections
import math
import pathlib
import statistics

from flax import nnx

from experiments.progress import Progress
from models.losses import Loss
from models.packing import Packing
from models.training import Report, train
from models.training_config import TrainingConfig

_RECENT = 20  # steps whose mean loss is shown


def check_rate(rate: float) -> None:
    """Raises ValueError where the learning rate of --rate teaches nothing."""
    if not 0 < rate < math.inf:
        raise ValueError(f"--rate is {rate}, expected a number above 0")


def check_decay(decay: float) -> None:
    """Raises ValueError where the weight decay of --decay is none."""
    if not 0 <= decay < math.inf:
        raise ValueError(f"--decay is {decay}, expected 0 or a number above it")


def train_shown(
    model: nnx.Module,
    packing: Packing,
    loss: Loss,
    config: TrainingConfig,
    folder: pathlib.Path,
    *,
    unit: str = "tokens",
) -> None:
    """As `models.training.train`; `unit` is what the model takes for tokens."""
    progress, recent = None, collections.deque(maxlen=_RECENT)

    def show(report: Report) -> None:
        nonlocal progress
        progress = progress or Progress("steps", config.steps - report.step + 1)
        recent.append(report.loss)
        progress.add(
            lambda: f"loss {statistics.fmean(recent):.4f}, {report.tokens_per_second:,.0f} {unit}/s"
        )

    train(model, packing, loss, config, folder=folder, on_step=show)
    if progress is not None:
        progress.end(f"loss {statistics.fmean(recent):.4f}")
