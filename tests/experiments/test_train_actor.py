"""The script that trains a small actor, with a model of next to no size."""

import json
import re
import shutil
import sys

import jax
import numpy as np
import pytest
from flax import nnx

from adapters.llama_actor import LlamaActor
from adapters.sif.generator import SifConfig
from adapters.sif.scripted import ScriptedGreedy
from adapters.sif.world import SifWorld
from experiments import teachers
from models import convert
from tests.adapters.plain_state import PlainState
from tests.experiments.in_process import Script

SCRIPT = Script("experiments.train_actor")
train_actor = sys.modules["experiments.train_actor"]
TINY = ["--width=16", "--depth=1", "--heads=2", "--batch=512", "--vocabulary=400"]
TAUGHT = [*TINY, "--splits=pnp/train", "--tasks=2", "--houses=10", "--steps=1", "--played=1"]
TAUGHT += ["--goals=0", "--questions=0", "--excerpts=0"]
READ = [*TINY, "--width=32", "--depth=2", "--steps=150", "--rate=0.01", "--batch=128"]
READ += ["--save_every=140"]


def printed(out, *flags):
    done = SCRIPT(f"--out={out}", *flags)
    assert not done.error
    return done.output


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
    text = printed(folder, *TAUGHT, "--teacher=experiments.teachers:base")
    config = convert.load(folder / "model").config
    assert (config.hidden_size, config.num_hidden_layers) == (16, 1)
    assert config.tie_word_embeddings and config.vocab_size <= 400
    assert len(losses(folder)) == 1
    assert re.search(r"\d+ pairs, [\d,]+ tokens", text) and "1 steps" in text
    played = json.loads((folder / "played.json").read_text())
    assert "result on SIF" in played["note"] and played["note"] in text
    assert played["tasks"] == 1 and list(played["splits"]) == ["pnp/test_unseen"]
    rows = played["splits"]["pnp/test_unseen"]
    assert list(rows) == ["actor", "base teacher"]
    assert all(0 <= row["valid"] <= 1 for row in rows.values())


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
    assert "heads is 4, was 2" in SCRIPT(f"--out={folder}", *flags, "--heads=4").error
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_model_to_start_from_brings_its_architecture_and_its_tokenizer(learnt, tmp_path):
    folder, flags, _ = learnt
    other = [flag for flag in flags if not flag.startswith(("--width", "--steps"))]
    printed(tmp_path / "on", *other, f"--start={folder / 'model'}", "--steps=1")
    assert losses(tmp_path / "on")[0] < 0.2
    for name in ("tokenizer.json", "config.json"):
        one, two = (each / "model" / name for each in (folder, tmp_path / "on"))
        assert one.read_bytes() == two.read_bytes()


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


def test_the_strong_teacher_is_better_than_the_base_and_neither_does_what_is_not_offered():
    world = SifWorld(SifConfig(val_tasks=100))
    for kind in ("s_obj", "pnp"):
        base, strong = (
            train_actor.played(world, make(world), world.tasks(f"{kind}/val_unseen"))
            for make in (teachers.base, teachers.strong)
        )
        assert base["valid"] == strong["valid"] == 1
        assert 0.2 < base["success"] < 0.5 < strong["success"] < 0.8
    with pytest.raises(ValueError, match="is s_hum, expected one of"):
        teachers.base(world).act([world.reset("s_hum/train/0")], [0])


@pytest.mark.parametrize(
    "flags, message",
    [
        (["more"], "unexpected argument 'more'"),
        (["--pairs=none.jsonl"], "none.jsonl"),
        (["--teacher=nobody"], "'nobody' is none of"),
        (["--tasks=1", "--splits=s_obj/nowhere"], "split is 's_obj/nowhere'"),
        (["--tasks=1", "--start=nowhere"], "nowhere"),
        (["--tasks=1", "--context=20"], "tokens, expected at most 20"),
        (["--tasks=1", "--width=10", "--heads=4"], "hidden_size is 10"),
        (["--tasks=1", "--vocabulary=9"], "vocab_size is 9"),
        (["--played_splits=zzz", "--played=2"], "split is 'zzz', expected one of"),
        (["--rate=0"], "--rate is 0.0, expected a number above 0"),
        (["--rate=nan"], "--rate is nan, expected a number above 0"),
        (["--decay=inf"], "--decay is inf, expected 0 or a number above it"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(tmp_path, flags, message):
    assert message in SCRIPT(f"--out={tmp_path / 'actor'}", *flags).error
    assert not (tmp_path / "actor").exists()
