"""The script that compares the simulated SIF with what it has to resemble, run as a user would."""

import json
import subprocess
import sys

import pytest

from adapters.sif.generator import SifConfig
from adapters.sif.oracle import ScriptedOracle
from adapters.sif.scripted import ScriptedGreedy, ScriptedReasoner
from adapters.sif.world import SifWorld
from experiments import calibration

WORLD = SifWorld(SifConfig(train_tasks=40))
STARTS = [WORLD.reset(name) for name in WORLD.tasks("s_obj/train")]


def calibrate(*flags):
    command = [sys.executable, "-m", "experiments.calibrate_sif", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def measured(actor, helper=None):
    return calibration.measure(WORLD, actor, "s_obj/train", STARTS, helper)


def test_the_numbers_are_called_simulated_wherever_they_are_told(tmp_path):
    out = tmp_path / "found.json"
    done = calibrate("--tasks=4", "--seed=3", "--parts=train", "--parts=test_seen", f"--out={out}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Simulated: ") and "result on SIF" in done.stdout
    assert "Seed 3, 4 tasks a split, dials 0.375 and 0.5." in done.stdout
    found = json.loads(out.read_text())
    assert found["note"] == done.stdout.splitlines()[0]
    assert found["config"]["simulated"]["seed"] == 3
    splits = [
        f"{kind}/{part}" for kind in ("pnp", "s_obj", "s_hum") for part in ("train", "test_seen")
    ]
    for actor in ("oracle", "reasoner", "greedy"):
        rows = [row for row in found["rows"] if row["actor"] == actor]
        assert [row["split"] for row in rows] == splits
        assert all(row["tasks"] == 4 for row in rows)
        assert all(f"{row['split']:17}" in done.stdout for row in rows)
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tasks=0"], "tasks"),
        (["--parts=nowhere"], "nowhere"),
        (["--greedy_dial=2"], "greedy_dial"),
        (["more"], "calibrate_sif: unexpected argument 'more'."),
        (["--out=missing/found.json"], "calibrate_sif: --out: there is no folder missing."),
    ],
)
def test_bad_flags_are_named(flags, message):
    done = calibrate("--tasks=1", *flags)
    assert done.returncode != 0 and done.stdout.count("episodes a second") == 0
    assert message in done.stderr + done.stdout and "Traceback" not in done.stderr


def test_the_oracle_has_success_and_spl_of_1_and_the_lengths_of_the_tasks():
    row = measured(ScriptedOracle())
    assert row.success == row.spl_actions == row.spl_steps == 1
    tasks = [start.task for start in STARTS]
    assert row.actions == pytest.approx(sum(task.oracle_actions for task in tasks) / 40)
    assert row.steps == pytest.approx(sum(task.oracle_steps for task in tasks) / 40)
    assert row.invalid is row.truncated is row.rescued is None


def test_an_actor_that_helps_itself_rescues_nothing():
    row = measured(ScriptedGreedy(), ScriptedGreedy())
    assert row.success < 1 and row.rescued == row.rescued_at_random == 0


def test_one_turn_of_the_reasoner_decides_many_episodes():
    row = measured(ScriptedGreedy(), ScriptedReasoner())
    assert row.rescued > 0.4 and 0.05 < row.rescued_at_random < row.rescued
    assert row.invalid + row.truncated <= 1


def test_spl_is_below_success_and_falls_with_length():
    row = measured(ScriptedReasoner())
    assert 0.5 * row.success < row.spl_actions < row.success
    assert 0.5 * row.success < row.spl_steps < row.success


def test_rescues_are_told_turn_by_turn():
    ends = calibration.play(WORLD, ScriptedGreedy(), STARTS[:5])
    turns = calibration.rescue(WORLD, ScriptedGreedy(), ScriptedReasoner(), ends)
    assert [len(won) for won in turns] == [end.measures["actions"] for end in ends]
    # By hand: the reasoner's turn in place of the last one of the first episode.
    last = ends[0].previous
    (reply,) = ScriptedReasoner().act([last], [0])
    (end,) = calibration.play(WORLD, ScriptedGreedy(), [WORLD.step(last, reply.action)])
    assert turns[0][-1] == (end.outcome == "success")
