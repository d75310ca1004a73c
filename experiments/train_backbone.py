"""Trains a small language model, from nothing, on the texts of states: a backbone for helpers.

    python -m experiments.train_backbone --labels=plan --out=backbone
    python -m experiments.train_helper --labels=plan --backbone=backbone/model --out=helper

For texts that no language model at hand has seen the like of, on a CPU. It learns to foretell the
next token of the texts of labelled states, what agents said and what they were shown, in the tokens
of a byte-level BPE trained on the same texts; outcomes and labels are not looked at. In `--out`:

    settings.json   what the run was started with; another one is refused
    run/            metrics.jsonl, one line a step, and checkpoints
    model/          Hugging Face's format: config.json, safetensors, tokenizer

The same command goes on where it was stopped.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Sequence

from absl import app, flags, logging

from adapters.labels import Labels
from experiments.backbone_training import Recipe, train_backbone
from models.training import DivergedError

_LABELS = flags.DEFINE_string("labels", None, "Folder of labelled states.", required=True)
_OUT = flags.DEFINE_string("out", None, "Folder of the run.", required=True)
flags.DEFINE_integer("width", 96, "hidden_size.", lower_bound=2)
flags.DEFINE_integer("depth", 3, "num_hidden_layers.", lower_bound=1)
flags.DEFINE_integer("heads", 4, "num_attention_heads.", lower_bound=1)
flags.DEFINE_integer("vocabulary", 1024, "Tokens of the BPE, at most.", lower_bound=1)
flags.DEFINE_integer("context", 1024, "Longest text, in tokens.", lower_bound=2)
flags.DEFINE_integer("tokens", 500_000, "Budget of tokens.", lower_bound=1)
flags.DEFINE_integer("batch", 2048, "Tokens of an update.", lower_bound=1)
flags.DEFINE_float("rate", 3e-3, "Learning rate at its peak.")
flags.DEFINE_enum(
    "too_long",
    None,
    ["refuse", "truncate"],
    "What becomes of longer texts; truncated on the left. [their first tokens are kept]",
)
flags.DEFINE_integer("seed", 0, "Of the weights and the order.", lower_bound=0)


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        sys.exit(f"train_backbone: unexpected argument {argv[1]!r}.")
    logging.set_verbosity(logging.WARNING)
    try:
        path = pathlib.Path(_LABELS.value) / "labels.npz"
        names = {field.name for field in dataclasses.fields(Recipe)} - {"source"}
        given = {name: flags.FLAGS[name].value for name in names}
        texts = Labels.load(path).text
        folder = train_backbone(texts, Recipe(_LABELS.value, **given), pathlib.Path(_OUT.value))
    except (ValueError, OSError, DivergedError) as error:
        sys.exit(f"train_backbone: {error}")
    print(f"The backbone is in {folder}.")


if __name__ == "__main__":
    app.run(main)
