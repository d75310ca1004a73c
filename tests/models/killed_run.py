"""A run for `test_resuming` to kill: `python -m tests.models.killed_run FOLDER [STEP]`.

With STEP it kills itself with SIGKILL while the checkpoint of that step is being written: as soon
as the folder that Orbax writes to before renaming it is there.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from models.losses import NextToken
from models.training import train
from models.training_config import TrainingConfig
from tests.models import tiny

CONFIG = TrainingConfig(
    steps=60,
    learning_rate=1e-2,
    warmup_steps=4,
    schedule="constant",
    weight_decay=0.01,
    checkpoint_every=20,
    keep=2,
)


def run(folder, model=None, count=12, config=CONFIG, **rest):
    """Learns to say the first tokens of some prompts again."""
    model = tiny.llama(layers=1) if model is None else model
    packing = tiny.packing(tiny.replies(count), batch_tokens=4 * tiny.ROW)
    return train(model, packing, NextToken(), config, folder=folder, **rest)


def kill_when_saving(folder: Path, step: int) -> None:
    while True:
        names = os.listdir(folder) if folder.exists() else []
        if any(name.startswith(f"{step}.") for name in names):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(1e-4)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if len(sys.argv) > 2:
        arguments = folder / "checkpoints", int(sys.argv[2])
        threading.Thread(target=kill_when_saving, args=arguments, daemon=True).start()
    run(folder)
