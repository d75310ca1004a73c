"""The script that converts folders, run as a user would."""

import subprocess
import sys

import pytest
from flax import nnx

from models import convert
from models.config import LlamaConfig
from models.llama import Llama

CONFIG = LlamaConfig(
    vocab_size=30,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    dtype="bfloat16",
)


def run(*flags):
    command = [sys.executable, "-m", "experiments.convert", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model"
    convert.save(Llama(CONFIG, rngs=nnx.Rngs(0)), path)
    (path / "tokenizer.json").write_text('{"model": {"vocab": {"a": 29}}}')
    return path


def test_there_and_back_gives_the_same_files(tmp_path, folder):
    done = run(f"--from={folder}", f"--to={tmp_path / 'ours'}")
    assert done.returncode == 0, done.stderr
    assert "llama, 4,880 parameters in bfloat16, with tokenizer" in done.stdout
    assert "tensors: 21 of 21 (100.0%)" in done.stderr
    assert sorted(path.name for path in (tmp_path / "ours").iterdir()) == [
        "config.json",
        "nnx",
        "tokenizer.json",
    ]
    done = run(f"--from={tmp_path / 'ours'}", f"--to={tmp_path / 'back'}")
    assert done.returncode == 0, done.stderr
    for path in folder.iterdir():
        assert (tmp_path / "back" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--from=missing", "--to={new}"], "missing: no such folder"),
        (["--from={empty}", "--to={new}"], "config.json"),
        (["--from={folder}", "--to={folder}"], "expected a new or an empty folder"),
        (["--from={folder}", "--to={new}", "--dtype=int4"], "--dtype"),
        (
            ["--from={folder}", "--to={new}", "--max_shard_gib=inf"],
            "--max_shard_gib is inf, expect",
        ),
    ],
)
def test_rubbish_gets_one_line_and_writes_nothing(tmp_path, folder, flags, message):
    (tmp_path / "empty").mkdir()
    where = dict(folder=folder, new=tmp_path / "new", empty=tmp_path / "empty")
    done = run(*(flag.format(**where) for flag in flags))
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
