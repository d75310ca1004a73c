"""Trains a helper, which decides when to ask for help, from labelled states.

    python -m experiments.train_helper --labels=plan --backbone=prm/backbone --target=gains \
        --out=helper
    python -m experiments.train_helper --labels=plan --backbone=prm/backbone --target=labels \
        --cost=0.05 --out=copied

`--labels` is a folder that `experiments.plan` made. `experiments.helper_training` says what the
targets are, `experiments.tuning` what --tune and --tokens mean. In `--out`:

    helper.json         what it is: style of the texts, helps, kind, costs, quality, threshold
    head.safetensors    the head
    backbone/           the language model, in Hugging Face's format, with the tokenizer
    run/                metrics.jsonl, one line a step, and checkpoints
    settings.json       what it was started with; another run is refused

The same command goes on where it was stopped. `adapters.model_helper.ModelHelper.load` reads the
folder.
"""

import pathlib
import sys
from collections.abc import Sequence

from absl import app, flags, logging

from experiments import tuning
from experiments.helper_training import TARGETS, Recipe, train_helper
from models.training import DivergedError

_LABELS = flags.DEFINE_string("labels", None, "Folder of labelled states.", required=True)
_BACKBONE = flags.DEFINE_string("backbone", None, "Folder of a language model.", required=True)
_OUT = flags.DEFINE_string("out", None, "Folder of the helper.", required=True)
_TARGET = flags.DEFINE_enum("target", "gains", TARGETS, "What is learnt of a state.")
_COST = flags.DEFINE_string(
    "cost", "all", "all: it is told the cost; or one of the labels' costs, or #0, #1, ... of them."
)
_STATES = flags.DEFINE_enum(
    "states", "all", ["all", "trajectory"], "trajectory: those alone that the best policy comes to."
)
_WEIGHTS = flags.DEFINE_enum(
    "weights", "visits", ["visits", "uniform"], "Of states: by their visits, or all alike."
)
_HELD_OUT = flags.DEFINE_float("held_out", 0.1, "Share of the tasks.", 0.01, 0.9)
_NUMBERS = flags.DEFINE_bool(
    "numbers", False, "Read numbers beside the texts of logs: turns so far, errors, repetitions."
)
tuning.define_flags("head")


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        sys.exit(f"train_helper: unexpected argument {argv[1]!r}.")
    logging.set_verbosity(logging.WARNING)
    try:
        recipe = Recipe(
            labels=_LABELS.value,
            backbone=_BACKBONE.value,
            target=_TARGET.value,
            cost=_COST.value,
            states=_STATES.value,
            weights=_WEIGHTS.value,
            held_out=_HELD_OUT.value,
            numbers=_NUMBERS.value,
            tuning=tuning.from_flags(),
        )
        values = train_helper(recipe, pathlib.Path(_OUT.value))
    except (ValueError, OSError, DivergedError) as error:
        sys.exit(f"train_helper: {error}")
    found = values["quality"]
    shown = {
        name: found[name]
        for name in ("captured", "r2", "accuracy", "asked", "labelled")
        if found.get(name) is not None
    }
    print(
        f"On {found['states']:,} states of {found['tasks']} held-out tasks: "
        + ", ".join(f"{name} {value:.3f}" for name, value in shown.items())
    )


if __name__ == "__main__":
    app.run(main)
