"""How a training shows how it goes."""

import functools
import re

from experiments import shown_training
from experiments.progress import Progress
from models.losses import Success
from models.training_config import TrainingConfig
from tests.models import tiny


def test_loss_pace_and_time_left_are_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shown_training, "Progress", functools.partial(Progress, every=0.0))
    config = TrainingConfig(steps=2, learning_rate=0.01)
    rest = Success(), config, tmp_path / "run"
    shown_training.train_shown(tiny.Bag(), tiny.packing(tiny.trajectories()), *rest, unit="texts")
    first, *_ = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"steps: 1 of 2 .*, loss \d\.\d{4}, [\d,]+ texts/s, \d+:\d\d left", first)
