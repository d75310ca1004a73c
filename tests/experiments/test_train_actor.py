"""The script that trains a small actor, run as a user would, with a model of next to no size."""

import json
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import nnx

from adapters.llama_actor import LlamaActor
from adapters.sif.scripted import ScriptedGreedy
from adapters.sif.world import SifWorld
from experiments import train_actor
from models import convert
from tests.adapters.plain_state import PlainState

TINY = ["--width=16", "--depth=2", "--heads=2", "--batch=512", "--vocabulary=400"]
TAUGHT = [*TINY, "--tasks=3", "--houses=10", "--steps=4", "--excerpts=0", "--played=2"]
READ = [*TINY, "--width=32", "--steps=150", "--rate=0.01", "--batch=256", "--save_every=140"]


def run(out, *flags):
    command = [sys.executable, "-m", "experiments.train_actor", f"--out={out}", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def printed(out, *flags):
    done = run(out, *flags)
    assert done.returncode == 0, done.stderr
    return done.stdout


def weights(folder):
    return jax.tree.leaves(nnx.state(convert.load(folder / "model"), nnx.Param))


def losses(folder):
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A run on a file of pairs that nobody stopped: its folder, its flags, what it printed."""
    folder = tmp_path_factory.mktemp("learnt")
    lines = [dict(text=f"compact door {i}", reply=f"go {9 - i}") for i in range(10)]
    pairs = folder / "pairs.jsonl"
    pairs.write_text("".join(json.dumps(line) + "\n" for line in lines))
    flags = [*READ, f"--pairs={pairs}"]
    return folder / "actor", flags, printed(folder / "actor", *flags)


def test_taught_it_leaves_an_actor_its_metrics_and_what_it_played(tmp_path):
    folder = tmp_path / "actor"
    text = printed(folder, *TAUGHT)
    config = convert.load(folder / "model").config
    assert (config.hidden_size, config.num_hidden_layers) == (16, 2)
    assert config.tie_word_embeddings and config.vocab_size <= 400
    assert len(losses(folder)) == 4
    assert re.search(r"\d+ pairs, [\d,]+ tokens", text) and "4 steps" in text
    played = json.loads((folder / "played.json").read_text())
    assert "result on SIF" in played["note"] and played["note"] in text
    assert played["tasks"] == 2 and played["split"] == "s_obj/test_unseen"
    assert list(played["actors"]) == ["actor", "greedy"]
    assert all(0 <= row["valid"] <= 1 for row in played["actors"].values())


def test_pairs_of_a_file_are_learnt_by_heart(learnt):
    folder, _, text = learnt
    assert "10 pairs" in text and "Simulated" not in text
    assert not (folder / "played.json").exists()
    assert losses(folder)[-1] < 0.1 < 3 < losses(folder)[0]
    actor = LlamaActor(folder / "model", max_new_tokens=8)
    replies = actor.act([PlainState(f"door {i}") for i in (7, 2)], [0, 0])
    assert [reply.action for reply in replies] == ["go 2", "go 7"]


def test_the_same_command_goes_on_to_the_same_model(learnt, tmp_path):
    whole, flags, _ = learnt
    folder = tmp_path / "actor"
    shutil.copytree(whole, folder)
    for gone in ("run/checkpoints/150", "model"):
        shutil.rmtree(folder / gone)
    text = printed(folder, *flags)
    assert losses(folder) == losses(whole) and "were done before" not in text
    for one, two in zip(weights(folder), weights(whole), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_run_that_has_ended_is_not_run_again(learnt):
    folder, flags, _ = learnt
    before = losses(folder)
    assert "All 150 steps were done before." in printed(folder, *flags)
    assert losses(folder) == before


def test_other_settings_are_refused_and_nothing_changes(learnt):
    folder, flags, _ = learnt
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    done = run(folder, *flags, "--heads=4")
    assert done.returncode != 0 and "heads is 4, was 2" in done.stderr
    assert "Traceback" not in done.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_an_actor_is_measured_by_its_episodes():
    world, greedy = SifWorld(), ScriptedGreedy()
    tasks = world.tasks("s_obj/test_unseen")
    row = train_actor.played(world, greedy, tasks)
    ends = []
    for task in tasks:
        state = world.reset(task)
        while state.outcome is None:
            state = world.step(state, greedy.act([state], [0])[0].action)
        ends.append(state)
    actions = sum(end.measures["actions"] for end in ends)
    assert row["success"] == sum(end.outcome == "success" for end in ends) / len(ends)
    assert row["valid"] == pytest.approx(1 - sum(end.invalid for end in ends) / actions)
    assert row["actions"] == actions / len(ends)


@pytest.mark.parametrize(
    "flags, message",
    [
        (["more"], "unexpected argument 'more'"),
        (["--pairs=none.jsonl"], "none.jsonl"),
        (["--teacher=nobody"], "'nobody' is none of"),
        (["--tasks=1", "--context=20"], "tokens, expected at most 20"),
        (["--tasks=1", "--width=10", "--heads=4"], "hidden_size is 10"),
    ],
)
def test_bad_input_is_named_and_no_model_is_written(tmp_path, flags, message):
    done = run(tmp_path / "actor", *flags)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert message in done.stderr + done.stdout
    assert not (tmp_path / "actor" / "model").exists()
