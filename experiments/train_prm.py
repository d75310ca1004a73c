"""Trains a process reward model (PRM): p(success) of a state, from folders of rollouts.

    python -m experiments.train_prm --rollouts=rollouts --backbone=actor/model --out=prm
    python -m experiments.train_prm --rollouts=rollouts --backbone=actor/model --out=q --action

`--rollouts=rollouts,alone` takes more folders of the same actors, such as one of further tasks that
the base actor played alone, `collect --probabilities=0 --skip=N` (with `--pairs=` where there are
several helps): no help is asked for it, and p(s) of the base actor is what self-regulation goes by.

With K helps it has 1 + K outputs: p(success) if the base actor, or help i, plays on alone. With
`--action` it judges actions in place of states, for search; with `--reply` it reads below a state
what the base actor is about to do (`adapters.proposals`). With `--members=3` it is an ensemble of
three decoders, each trained on as many tokens in an order of its own: what two trainings differ by
is averaged out, and every state costs three passes. `experiments.tuning` says what --tune and
--tokens mean. In `--out`:

    prm.json            what it is: style, helps, calibration, quality on held-out tasks
    head.safetensors    the head
    backbone/           the language model, in Hugging Face's format, with the tokenizer; of an
                        ensemble backbone/0, backbone/1, ...
    reliability.png     predicted against observed on held-out tasks
    run/                metrics.jsonl, one line a step, and checkpoints; of an ensemble run/0, ...
    settings.json       what it was started with; another run is refused

The same command goes on where it was stopped. `adapters.prm.PRM.load` reads the folder.
"""

import pathlib
import sys
from collections.abc import Sequence

from absl import app, flags, logging

from experiments import tuning
from experiments.prm_training import Recipe, train_prm
from models.training import DivergedError

_ROLLOUTS = flags.DEFINE_list("rollouts", None, "Folders of rollouts.", required=True)
_BACKBONE = flags.DEFINE_string("backbone", None, "Folder of a language model.", required=True)
_OUT = flags.DEFINE_string("out", None, "Folder of the PRM.", required=True)
_ACTION = flags.DEFINE_bool("action", False, "Judge actions, for search.")
_REPLY = flags.DEFINE_bool("reply", False, "Judge states and the base actor's replies in them.")
_CALIBRATION = flags.DEFINE_enum(
    "calibration", "temperature", ["temperature", "isotonic"], "Fitted on the tasks held out."
)
_HELD_OUT = flags.DEFINE_float("held_out", 0.2, "Share of the tasks.", 0.01, 0.9)
_MEMBERS = flags.DEFINE_integer(
    "members", 1, "Decoders of an ensemble, trained one after the other.", lower_bound=1
)
tuning.define_flags("full")


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        sys.exit(f"train_prm: unexpected argument {argv[1]!r}.")
    logging.set_verbosity(logging.WARNING)
    try:
        recipe = Recipe(
            rollouts=tuple(_ROLLOUTS.value),
            backbone=_BACKBONE.value,
            reads="action" if _ACTION.value else "state",
            reply=_REPLY.value,
            calibration=_CALIBRATION.value,
            held_out=_HELD_OUT.value,
            members=_MEMBERS.value,
            tuning=tuning.from_flags(),
        )
        values = train_prm(recipe, pathlib.Path(_OUT.value))
    except (ValueError, OSError, DivergedError) as error:
        sys.exit(f"train_prm: {error}")
    print(f"{'on held-out tasks':20}{'AUROC':>8}{'ECE':>8}{'Brier':>8}{'states':>10}{'tasks':>8}")
    for name, row in values["quality"]["validation"].items():
        auroc = "-" if row["auroc"] is None else f"{row['auroc']:.3f}"
        print(
            f"{name:20}{auroc:>8}{row['ece']:>8.3f}{row['brier']:>8.3f}{row['states']:>10,}"
            f"{row['tasks']:>8,}"
        )
    if (found := values["self_regulation"]) is not None:
        print(
            f"Stopping where 1 - p(s) exceeds {found['threshold']:.3f} is right in "
            f"{found['accuracy']:.1%} of {found['episodes']} episodes, the ones it was chosen on."
        )


if __name__ == "__main__":
    app.run(main)
