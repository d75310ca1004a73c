"""What another script was to make and is not there is named, with the script."""

import json
import re

import pytest

from adapters.labels import Labels
from adapters.model_helper import ModelHelper
from adapters.prm import PRM
from adapters.tree_helper import TreeHelper
from experiments.main_job import results
from tests.experiments.in_process import Script


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (PRM.load, "no prm.json there, expected a process reward model, .* experiments.train_prm"),
        (ModelHelper.load, "no helper.json there, expected a helper, .* experiments.train_helper"),
        (
            lambda folder: TreeHelper.load(folder, cost=0.1),
            "no trees.json there, expected a helper of trees, .* experiments.train_trees",
        ),
        (
            lambda folder: Labels.load(folder / "labels.npz"),
            "no labels.npz there, expected labels, .* experiments.plan",
        ),
        (
            lambda folder: results.load(folder / "results.json"),
            "no results.json there, expected the results.json .* experiments.reproduce",
        ),
    ],
)
def test_a_folder_that_was_never_made_is_one_clear_line(tmp_path, load, message):
    folder = tmp_path / "nowhere"
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(str(folder))}: {message} makes$"):
        load(folder)


@pytest.mark.parametrize(
    ("script", "flags", "message"),
    [
        ("report", ["--results=nowhere/results.json"], "nowhere: no results.json there, expected "),
        ("make_conditions", ["--out=x", "--plan=nowhere"], "nowhere: no plan.json there, expected"),
        (
            "evaluate",
            ["--out={out}", "--conditions={conditions}", "--actor=greedy", "--tasks=1"],
            "nowhere: no prm.json there, expected a process reward model, which experiments.train",
        ),
    ],
)
def test_scripts_say_so(tmp_path, script, flags, message):
    conditions, out = tmp_path / "conditions.json", tmp_path / "out"
    prm = {"method": "prm", "setting": "10%", "prm": "nowhere", "threshold": 0.5}
    conditions.write_text(json.dumps([prm]))
    if script == "evaluate":
        flags = [*flags, "--intervention=reasoner"]
    flags = [flag.format(conditions=conditions, out=out) for flag in flags]
    done = Script(f"experiments.{script}")(*flags)
    assert done.error.startswith(f"{script}: {message}")
    assert not out.exists()
