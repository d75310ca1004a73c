"""Compares the simulated SIF with what it has to resemble.

    python -m experiments.calibrate_sif --tasks=400
    python -m experiments.calibrate_sif --seed=1 --parts=test_seen --parts=test_unseen --out=c.json

plays the scripted actors on every split and prints, beside what is known of the real tasks and of
the paper's actors: success, lengths, SPL in actions and in low-level steps, the share of failures
that end in an invalid action, and how many failures of the greedy actor a single turn of the
reasoner turns into a success. All of it is simulated: no number here is a result on SIF.
"""

import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from absl import app, flags

from adapters.protocols import Actor
from adapters.sif.generator import PARTS, SifConfig
from adapters.sif.oracle import ScriptedOracle
from adapters.sif.scripted import GREEDY_DIAL, REASONER_DIAL, ScriptedGreedy, ScriptedReasoner
from adapters.sif.tasks import TASK_TYPES
from adapters.sif.world import SifWorld
from experiments.calibration import Row, measure
from experiments.progress import Progress

_TASKS = flags.DEFINE_integer("tasks", 100, "Tasks a split.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of houses and tasks.")
_PARTS = flags.DEFINE_multi_enum("parts", None, PARTS, "Parts of each task type; all if not given.")
_REASONER = flags.DEFINE_float("reasoner_dial", REASONER_DIAL, "Slips of the reasoner.", 0.0, 1.0)
_GREEDY = flags.DEFINE_float("greedy_dial", GREEDY_DIAL, "Slips of the greedy actor.", 0.0, 1.0)
_OUT = flags.DEFINE_string("out", None, "File for all numbers, as JSON.")

SIMULATED = "Simulated: houses, tasks and actors are made up. No number here is a result on SIF."
# Of the real tasks: the oracle's low-level steps, the lowest and highest mean of a split.
ORACLE_STEPS = {"pnp": (161, 201), "s_obj": (182, 216), "s_hum": (160, 177)}
ORACLE_SUCCESS = 0.98
# What the scripted actors are made for, and the paper's actors: (success, length in actions).
WANTED = {"reasoner": (0.60, 0.75), "greedy": (0.25, 0.45)}
PAPER = {
    "reasoner": {"pnp": (0.60, 4.6), "s_obj": (0.675, 7.8)},
    "greedy": {"pnp": (0.35, 8.0), "s_obj": (0.30, 12.3)},
}
PAPER_INVALID = 0.75  # about; of the failures of the base actor left alone
LEGEND = f"""\
L               actions of an episode, on average; steps: low-level steps; SPL: by actions
paper           what its stronger and its base model reach on real tasks
invalid, limit  how failures end (paper: about {PAPER_INVALID:.0%} in an invalid action)
rescued         of the failures, those that one turn of the reasoner makes a success, at the best
                moment, which is hindsight; (random): at a moment drawn evenly from the turns"""


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        sys.exit(f"calibrate_sif: unexpected argument {argv[1]!r}.")
    out = None if _OUT.value is None else pathlib.Path(_OUT.value)
    if out is not None and not out.parent.is_dir():
        sys.exit(f"calibrate_sif: --out: there is no folder {out.parent}.")
    size = _TASKS.value
    config = SifConfig(_SEED.value, train_tasks=size, val_tasks=size, test_tasks=size)
    world = SifWorld(config)
    reasoner = ScriptedReasoner(_REASONER.value)
    actors: list[Actor] = [ScriptedOracle(), reasoner, ScriptedGreedy(_GREEDY.value)]
    parts = [part for part in PARTS if _PARTS.value is None or part in _PARTS.value]
    splits = [f"{kind}/{part}" for kind in TASK_TYPES for part in parts]
    progress = Progress("splits", len(splits))
    rows = []
    for split in splits:
        starts = [world.reset(name) for name in world.tasks(split)]
        rows += [
            measure(world, actor, split, starts, reasoner if actor.name == "greedy" else None)
            for actor in actors
        ]
        progress.add()
    progress.end()
    print(f"{SIMULATED}\nSeed {config.seed}, {size} tasks a split, ", end="")
    print(f"dials {_REASONER.value} and {_GREEDY.value}.\n\n{LEGEND}")
    for actor in actors:
        print("\n" + table(actor.name, [row for row in rows if row.actor == actor.name]))
    if out is not None:
        found = {
            "note": SIMULATED,
            "config": world.config,
            "actors": {actor.name: getattr(actor, "config", {}) for actor in actors},
            "resembles": {
                "oracle_steps": ORACLE_STEPS,
                "oracle_success": ORACLE_SUCCESS,
                "wanted_success": WANTED,
                "paper_success_and_actions": PAPER,
                "paper_invalid": PAPER_INVALID,
            },
            "rows": [dataclasses.asdict(row) for row in rows],
        }
        try:
            _write(out, found)
        except OSError as error:
            sys.exit(f"calibrate_sif: --out: {error}.")


def table(actor: str, rows: Sequence[Row]) -> str:
    """The rows of one actor, beside what they have to resemble."""
    heads = ["success", "95%", "wanted"]
    if actor == "oracle":
        heads += ["L", "steps", "wanted", "SPL", "SPL steps"]
    else:
        heads += ["paper", "L", "paper", "steps", "SPL", "SPL steps", "invalid", "limit"]
    heads += ["rescued", "(random)"] if actor == "greedy" else []
    lines = [f"{actor:17}{_right(heads, heads)}"]
    for row in rows:
        low, high = WANTED.get(actor, (ORACLE_SUCCESS, 1.0))
        cells = [f"{row.success:.1%}", f"±{1.96 * row.error:.0%}"]
        cells += [f"{low:.0%}-{high:.0%}".removesuffix("-100%")]
        cells += _lengths(actor, row)
        if actor == "greedy":
            cells += [_share(row.rescued), _share(row.rescued_at_random)]
        lines.append(f"{row.split:17}{_right(cells, heads)}")
    seconds = sum(row.tasks / row.episodes_per_second for row in rows)
    lines.append(f"{sum(row.tasks for row in rows) / seconds:,.0f} episodes a second.")
    return "\n".join(lines)


def _lengths(actor: str, row: Row) -> list[str]:
    kind = row.split.split("/")[0]
    length, steps = f"{row.actions:.1f}", f"{row.steps:.0f}"
    spls = [f"{row.spl_actions:.2f}", f"{row.spl_steps:.2f}"]
    if actor == "oracle":
        return [length, steps, "{}-{}".format(*ORACLE_STEPS[kind]), *spls]
    success, actions = PAPER.get(actor, {}).get(kind, (None, None))
    paper = ["", ""] if success is None else [f"{100 * success:g}%", f"{actions}"]
    return [paper[0], length, paper[1], steps, *spls, _share(row.invalid), _share(row.truncated)]


def _right(cells: Sequence[str], heads: Sequence[str]) -> str:
    widths = [max(len(head), 5) for head in heads]
    return "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _write(path: pathlib.Path, found: dict[str, Any]) -> None:
    """Writes the file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(found, indent=1) + "\n")
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


if __name__ == "__main__":
    app.run(main)
