"""The script that trains process reward models, on doors, with a language model of no size."""

import dataclasses
import itertools
import json
import re
import shutil
import signal
import subprocess
import sys
import weakref

import numpy as np
import pytest

from adapters import encoder
from adapters.encoder import Encoder
from adapters.gaps import is_start
from adapters.prm import PRM
from adapters.prm_data import read_outcomes
from adapters.rollouts import RolloutWriter, read_config, read_episodes
from experiments import tuning
from experiments.run_files import compare_settings
from experiments.tuning import Tuning
from models import convert, lora
from models.calibration import split_tasks
from models.documents import Limit
from models.heads import Head, HeadConfig
from models.losses import Success
from models.prefixes import Reads
from tests.adapters import tiny_folders
from tests.adapters.tiny_folders import TEXTS
from tests.experiments.in_process import Script

train_prm = Script("experiments.train_prm")
BRIEF = ["--tokens=4000", "--batch=512", "--rate=0.01"]
FROZEN = ["--tune=head", "--calibration=isotonic"]


@pytest.fixture(scope="module", autouse=True)
def unread():
    """As in a new process: no other test has had these texts read. A hidden state may differ in its
    last bit with the texts that are read beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "_loaded", weakref.WeakValueDictionary())
        yield


@pytest.fixture(scope="module")
def rollouts(tmp_path_factory):
    return tiny_folders.collect(tmp_path_factory.mktemp("rollouts") / "doors")


def flags(rollouts, out, *more):
    return [
        f"--rollouts={rollouts}",
        f"--backbone={tiny_folders.language_model()}",
        f"--out={out}",
        *more,
    ]


def printed(*flags):
    done = train_prm(*flags)
    assert not done.error, done.error
    return done.output


@pytest.fixture(scope="module")
def frozen(rollouts, tmp_path_factory):
    """A PRM on a frozen decoder, and what the script printed."""
    out = tmp_path_factory.mktemp("frozen") / "prm"
    return out, printed(*flags(rollouts, out, *FROZEN))


def test_a_frozen_decoder_tells_outcomes_of_tasks_held_out(rollouts, frozen):
    out, text = frozen
    values = json.loads((out / "prm.json").read_text())
    assert (values["style"], values["helps"], values["reads"]) == ("compact", ["oracle"], "state")
    found = values["quality"]["validation"]
    assert found["nohelp"]["tasks"] == 30 and found["oracle"]["states"] > 8
    assert found["nohelp"]["auroc"] > 0.58 and found["nohelp"]["ece"] < 0.2
    assert f"{found['nohelp']['auroc']:.3f}" in text and "Stopping where 1 - p(s)" in text
    assert values["self_regulation"]["episodes"] == 30
    assert (out / "run" / "metrics.jsonl").exists()


def test_the_folder_gives_calibrated_probabilities(frozen):
    out, _ = frozen
    prm = PRM.load(out)
    p = prm.probabilities(TEXTS)
    assert p.shape == (len(TEXTS), 2) and np.all((p >= 0) & (p <= 1))
    logits = prm.logits(TEXTS)[:, 0]
    assert logits[4] > logits[0]  # nearer to the end, after as many calls


def test_a_frozen_decoder_is_kept_byte_for_byte(frozen):
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        kept = (frozen[0] / "backbone" / name).read_bytes()
        assert kept == (tiny_folders.language_model() / name).read_bytes()


def test_the_same_command_once_more_changes_nothing(rollouts, frozen):
    out, text = frozen
    before = {path: path.read_bytes() for path in out.glob("*.*")}
    again = printed(*flags(rollouts, out, *FROZEN))
    assert again.splitlines()[-3:] == text.splitlines()[-3:]
    assert {path: path.read_bytes() for path in out.glob("*.*")} == before


def test_states_of_one_task_are_never_on_both_sides(rollouts):
    outcomes = read_outcomes(rollouts)
    held = split_tasks(outcomes.task, 0.2)
    learnt, judged = (
        {t for t, h in zip(outcomes.task, held, strict=True) if h == side} for side in (False, True)
    )
    assert not learnt & judged and len(judged) == 30


@pytest.fixture(scope="module")
def tuned(rollouts, tmp_path_factory):
    """A PRM with its decoder, trained by a run that nobody stopped."""
    out = tmp_path_factory.mktemp("tuned") / "prm"
    printed(*flags(rollouts, out, *BRIEF))
    return out


def test_a_decoder_that_is_tuned_moves_and_is_read_back(tuned):
    scales = [
        np.asarray(convert.load(folder).norm.scale[...])
        for folder in (tiny_folders.language_model(), tuned / "backbone")
    ]
    assert np.abs(scales[0] - scales[1]).max() > 1e-3
    assert np.ptp(PRM.load(tuned).probabilities(TEXTS)[:, 0]) > 0


def test_adapters_are_merged_and_kept_apart(tmp_path):
    how = Tuning("lora", tokens=400, batch=64, rate=0.01, rank=2, alpha=3.0, targets=("q_proj",))
    backbone = tuning.load_backbone(tiny_folders.language_model(), how)
    number = len(TEXTS)
    reads = Reads(np.arange(number), np.eye(number, 1, dtype=np.float32), np.ones(number))
    config = HeadConfig("success", 0)
    tuning.tune(backbone, config, TEXTS, reads, Success(), how, tmp_path / "run")
    tuning.save_backbones([backbone], tmp_path / "backbone", how)
    q_proj, gate_proj = (
        [
            np.asarray(matrix(convert.load(folder).layers[0]).kernel[...])
            for folder in (tiny_folders.language_model(), tmp_path / "backbone")
        ]
        for matrix in (lambda layer: layer.self_attn.q_proj, lambda layer: layer.mlp.gate_proj)
    )
    assert np.abs(q_proj[0] - q_proj[1]).max() > 1e-4
    np.testing.assert_array_equal(*gate_proj)
    again = convert.load(tiny_folders.language_model())
    lora.load(again, tmp_path / "run" / "adapters.safetensors")
    assert again.layers[0].self_attn.q_proj.config == lora.LoraConfig(2, 3.0, ("q_proj",))
    lora.merge(again)
    kernel = again.layers[0].self_attn.q_proj.kernel[...]
    np.testing.assert_array_equal(kernel, q_proj[1])


def test_one_of_actions_is_for_a_search(rollouts, tmp_path):
    out = tmp_path / "prm"
    printed(*flags(rollouts, out, "--tune=head", "--action"))
    prm = PRM.load(out)
    assert prm.reads == "action" and prm.helps == ()
    assert 0 < prm.as_scorer()(tiny_folders.STATES[:1], ["door 0"])[0] < 1


KILLED = """
import os, runpy, signal
from models.run_folder import RunFolder

save = RunFolder.save

def save_and_die(self, *arguments):
    save(self, *arguments)
    os.kill(os.getpid(), signal.SIGKILL)

RunFolder.save = save_and_die
runpy.run_module("experiments.train_prm", run_name="__main__", alter_sys=True)
"""


def test_killed_in_the_middle_it_goes_on_to_the_same_model(rollouts, frozen, tmp_path):
    """A child is killed when it has written its first checkpoint; the same command ends it."""
    command = flags(rollouts, tmp_path / "prm", *FROZEN)
    child = subprocess.run([sys.executable, "-c", KILLED, *command], check=False)
    assert child.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "prm" / "run").glob("checkpoints/*"))) == 1
    assert not (tmp_path / "prm" / "prm.json").exists()
    printed(*command)
    for name in ("head.safetensors", "backbone/model.safetensors", "prm.json"):
        assert (tmp_path / "prm" / name).read_bytes() == (frozen[0] / name).read_bytes()


ENSEMBLE = [*BRIEF, "--members=2"]


@pytest.fixture(scope="module")
def ensemble(rollouts, tmp_path_factory):
    out = tmp_path_factory.mktemp("ensemble") / "prm"
    printed(*flags(rollouts, out, *ENSEMBLE))
    return out


def test_an_ensemble_is_the_mean_of_trainings_with_seeds_of_their_own(ensemble, tuned):
    out = ensemble
    first, second = (out / "backbone" / str(i) / "model.safetensors" for i in (0, 1))
    # The first one is the training of that seed alone.
    assert first.read_bytes() == (tuned / "backbone" / "model.safetensors").read_bytes()
    assert first.read_bytes() != second.read_bytes()
    prm = PRM.load(out)
    hidden = np.concatenate(
        [encoder.Encoder.load(out / "backbone" / str(i))(TEXTS) for i in (0, 1)], axis=1
    )
    np.testing.assert_array_equal(prm.encoder(TEXTS), hidden)
    one = Head.load(tuned / "head.safetensors", prm.encoder.hidden_size // 2)
    both = Head.load(out / "head.safetensors", prm.encoder.hidden_size)
    half = np.asarray(one.outer.kernel[...]) / 2
    np.testing.assert_array_equal(both.outer.kernel[...][: len(half)], half)


@pytest.mark.parametrize("made", ["tuned", "ensemble"])
def test_hidden_states_of_held_out_tasks_come_with_the_folder(made, request, rollouts, monkeypatch):
    outcomes = read_outcomes(rollouts)
    held = split_tasks(outcomes.task, 0.2)
    texts = [outcomes.text[i] for i in np.flatnonzero(held)]
    monkeypatch.setattr(encoder, "_loaded", weakref.WeakValueDictionary())
    prm = PRM.load(request.getfixturevalue(made))
    assert len(prm.encoder) == len(set(texts))
    kept = prm.encoder(texts)
    assert len(prm.encoder) == len(set(texts))
    fresh = Encoder(prm.encoder.backbones, prm.encoder.tokenizer, prm.encoder.limit)
    np.testing.assert_allclose(fresh(texts), kept, rtol=1e-5, atol=1e-6)


def test_a_head_stands_on_an_ensemble(ensemble, rollouts, tmp_path):
    folder = ensemble / "backbone"
    out = tmp_path / "prm"
    printed(*flags(rollouts, out, f"--backbone={folder}", "--tune=head"))
    for i in ("0", "1"):
        name = f"backbone/{i}/model.safetensors"
        assert (out / name).read_bytes() == (ensemble / name).read_bytes()
    assert PRM.load(out).probabilities(TEXTS).shape == (len(TEXTS), 2)


def test_an_ensemble_killed_after_its_first_decoder_goes_on(ensemble, rollouts, tmp_path):
    command = flags(rollouts, tmp_path / "prm", *ENSEMBLE)
    child = subprocess.run([sys.executable, "-c", KILLED, *command], check=False)
    assert child.returncode == -signal.SIGKILL and not (tmp_path / "prm" / "run" / "1").exists()
    printed(*command)
    for name in ("head.safetensors", "backbone/1/model.safetensors", "prm.json"):
        assert (tmp_path / "prm" / name).read_bytes() == (ensemble / name).read_bytes()


def test_decoders_with_other_tokenizers_are_no_ensemble(ensemble, tmp_path):
    shutil.copytree(ensemble / "backbone", tmp_path / "backbone")
    other = tmp_path / "backbone" / "1" / "tokenizer_config.json"
    other.write_text(other.read_text() + " ")
    with pytest.raises(ValueError, match="backbone/1: another tokenizer than in .*backbone/0"):
        encoder.Encoder.load(tmp_path / "backbone")


def test_several_decoders_are_not_trained_together(ensemble):
    with pytest.raises(ValueError, match="2 decoders, expected one of them, or --tune=head"):
        tuning.load_backbone(ensemble / "backbone", Tuning("full"))


def test_adapters_are_set_by_flags():
    how = Tuning(rank=4, targets=["q_proj", "down_proj"])
    assert how.lora_config() == lora.LoraConfig(4, 8.0, ("q_proj", "down_proj"))
    assert Tuning().lora_config() == lora.LoraConfig(16, 32.0)


def test_a_setting_that_is_new_and_not_given_is_no_other_setting(rollouts, frozen, tmp_path):
    shutil.copytree(frozen[0], tmp_path / "prm")
    path = tmp_path / "prm" / "settings.json"
    settings = json.loads(path.read_text())
    del settings["tuning"]["alpha"], settings["tuning"]["targets"]
    path.write_text(json.dumps(settings))
    compare_settings(path, json.loads((frozen[0] / "settings.json").read_text()))
    settings["tuning"]["rank"] = 3
    with pytest.raises(ValueError, match="settings.json: tuning.rank is 3, was 16; expected the"):
        compare_settings(path, settings)


def test_another_recipe_in_the_same_folder_is_refused(rollouts, frozen):
    done = train_prm(*flags(rollouts, frozen[0], "--tune=head", "--seed=3"))
    assert "settings.json: calibration is 'temperature', was 'isotonic'" in done.error


@pytest.mark.parametrize(
    "more, message",
    [
        (["--rollouts=nowhere"], "nowhere: no shard"),
        (["--backbone=nowhere"], "nowhere: no config.json there"),
        (["--members=2", "--tune=head"], "--members is 2 with --tune=head, expected 1"),
        (["--tune=lora", "--targets=q"], "targets ['q'] are no matrices of the model, expected"),
        (["--tune=lora", "--alpha=nan"], "alpha is nan, expected a number above 0"),
        (["--rate=0"], "--rate is 0.0, expected a number above 0"),
        (["--rate=nan", "--tune=head"], "--rate is nan, expected a number above 0"),
        (["--decay=-1"], "--decay is -1.0, expected 0 or a number above it"),
        (["extra"], "unexpected argument 'extra'"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(rollouts, tmp_path, more, message):
    done = train_prm(*flags(rollouts, tmp_path / "prm"), *more)
    assert message in done.error and done.error.startswith("train_prm: ")
    assert "\n" not in done.error and not (tmp_path / "prm").exists()


def test_the_same_folder_takes_the_correction_of_what_was_refused(rollouts, tmp_path):
    """A decoder that is meant for shorter texts: training has not begun, so nothing is settled."""
    short = tmp_path / "short"
    shutil.copytree(tiny_folders.language_model(), short)
    config = json.loads((short / "config.json").read_text())
    (short / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 12}))
    command = flags(rollouts, tmp_path / "prm", f"--backbone={short}", "--tokens=400", "--batch=64")
    done = train_prm(*command)
    assert "tokens, expected at most 12" in done.error and not (tmp_path / "prm").exists()
    text = printed(*command, "--too_long=truncate")
    assert re.search(r"[1-9]\d* of [1-9]\d* texts held out are truncated", text)
    assert re.search(r"[1-9]\d* of [1-9]\d* texts to learn from are truncated", text)
    assert PRM.load(tmp_path / "prm").values["too_long"] == "truncate"


def test_texts_are_counted_that_begin_another_one_but_not_in_tokens(capsys):
    backbone = tuning.Backbone(None, None, None, Limit(9), None)
    tuning._check_lengths(
        backbone, ["a", "ab", "a\n", "a\n\n"], [[1], [1, 2], [1, 3], [1, 4]], "read"
    )
    said = capsys.readouterr().out
    assert said.startswith("1 of 4 texts read begin another one, but their tokens do not: ")
    tuning._check_lengths(backbone, ["a", "ab"], [[1], [1, 2]], "read")
    assert not capsys.readouterr().out


def test_too_few_tasks_are_named(tmp_path):
    few = tiny_folders.collect(tmp_path / "few", tasks=2)
    done = train_prm(*flags(few, tmp_path / "prm"))
    assert "2 tasks, expected 4 or more to hold some out" in done.error


def test_further_tasks_that_the_base_actor_plays_alone_are_learnt_from(rollouts, tmp_path):
    first = tiny_folders.collect(tmp_path / "first", tasks=60)
    names, alone = {episode[0].episode for episode in read_episodes(first)}, tmp_path / "alone"
    with RolloutWriter(alone, read_config(first)) as writer:
        for episode in read_episodes(rollouts):
            name, setting = episode[0].episode, episode[0].probabilities
            if name not in names and is_start(name) and not any(setting):
                writer.write(episode)
    out = tmp_path / "prm"
    printed(*flags(f"{first},{alone}", out, "--tune=head"))
    row = json.loads((out / "prm.json").read_text())["quality"]["validation"]
    assert row["nohelp"]["tasks"] == 30  # of 150
    assert 0 < row["oracle"]["tasks"] < 30  # of 60


def test_folders_of_unlike_texts_are_named(rollouts, tmp_path):
    other = tmp_path / "other"
    with RolloutWriter(other, {**read_config(rollouts), "style": "full"}) as writer:
        (episode,) = itertools.islice(read_episodes(rollouts), 1)
        writer.write([dataclasses.replace(step, episode="new") for step in episode])
    done = train_prm(*flags(f"{rollouts},{other}", tmp_path / "prm"))
    assert f"{other}: style is 'full', expected 'compact' as in {rollouts}" in done.error
    assert not (tmp_path / "prm").exists()


def test_a_half_deleted_folder_of_rollouts_is_named(rollouts, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(rollouts, broken)
    (shard,) = broken.glob("shard-*.jsonl")
    lines = shard.read_text().splitlines(keepends=True)
    second = next(i for i, line in enumerate(lines) if '"turn":1,' in line)
    shard.write_text("".join(lines[:second] + lines[second + 1 :]))
    done = train_prm(*flags(broken, tmp_path / "prm"))
    assert f"{shard}:{second + 1}: " in done.error and "is broken" in done.error
