"""Parity with PyTorch's `transformers`, by files that tests/data/models/make_golden.py wrote."""

import json
from pathlib import Path

import numpy as np
import pytest

from models import convert
from tests.models import parity

FILES = sorted((Path(__file__).parents[1] / "data" / "models").glob("*.npz"))


def test_the_files_are_there():
    assert [path.stem for path in FILES] == ["llama_1", "llama_2", "llama_4", "qwen2", "qwen3"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_parts_hidden_states_and_logits_are_those_of_transformers(tmp_path, path):
    with np.load(path) as file:
        groups = {"weight": {}, "output": {}}
        for name in file.files:
            group, slash, key = name.partition("/")
            if slash:
                groups[group][key] = file[name].astype(np.float32)
        config, tokens, mask = json.loads(str(file["config"])), file["tokens"], file["mask"]
    model = convert.load(parity.write_folder(tmp_path, config, groups["weight"]))
    assert np.abs(groups["output"]["logits"]).max() > 1  # of a size that 1e-4 is small beside
    parity.check(model, groups["output"], tokens, mask)
