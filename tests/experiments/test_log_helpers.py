"""From logs to a helper that plays: plan, backbone, helper with numbers, trees, evaluation."""

import json

import numpy as np
import pytest

from adapters.labels import Labels
from adapters.logs.replay import ReplayWorld
from adapters.logs.splice import import_spliced
from adapters.model_helper import ModelHelper
from adapters.tree_helper import TreeHelper
from core import dp
from experiments import log_helpers, planning
from experiments.backbone_training import Recipe, _documents, longest
from models import tokenizer as tokenizer_lib
from tests.adapters.logs.recorded_turns import NAMES, pair
from tests.experiments.in_process import Script


@pytest.fixture(scope="module")
def spliced(tmp_path_factory):
    """Tasks of which the stronger model rescues every second one, in two turns."""
    folder = tmp_path_factory.mktemp("spliced")
    kinds = [([0] * 4, [0, 1]), ([0, 0, 1], [0] * 4)]
    import_spliced(
        pair({f"kind {i % 2} task {i}": kinds[i % 2] for i in range(30)}),
        folder,
        names=NAMES,
        max_turns=4,
    )
    return folder


@pytest.fixture(scope="module")
def plan(spliced, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    done = Script("experiments.plan")(
        f"--rollouts={spliced}", "--split=train", "--costs=0.05,0.2", f"--out={folder}"
    )
    assert done.error == "" and "no model reacts to the turns of another" in done.output
    return folder


@pytest.fixture(scope="module")
def backbone(plan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone")
    flags = (f"--labels={plan}", f"--out={folder}", "--tokens=3000", "--width=16", "--depth=1")
    script = Script("experiments.train_backbone")
    for bad in (["--vocabulary=9", "--heads=2"], ["--heads=5"], ["--rate=nan"]):
        assert "expected" in script(*flags, *bad).error and not list(folder.iterdir())
    done = script(*flags, "--heads=2", "--vocabulary=300", "--context=256")
    assert done.error == "" and "0 of them cut to 256 tokens" in done.output
    assert "context is 1024, was 256" in script(*flags, "--heads=2").error
    return folder / "model"


@pytest.fixture(scope="module")
def helper(plan, backbone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("helper")
    done = Script("experiments.train_helper")(
        f"--labels={plan}",
        f"--backbone={backbone}",
        f"--out={folder}",
        "--numbers",
        "--held_out=.2",
    )
    assert done.error == ""
    return folder


def test_longer_texts_are_refused_or_cut_on_either_side_and_counted(tmp_path):
    tokenizer = tokenizer_lib.train(["ab"], tmp_path / "tokenizer", vocab_size=259)
    begin, *letters = tokenizer.encode(["abcd"])[0]
    found = {}
    for too_long in (None, "truncate"):
        recipe = Recipe("", context=3, too_long=too_long)
        [document, _], cut = _documents(["abcd", "a"], tokenizer, recipe)
        found[too_long] = [*document.tokens, document.targets[-1]], cut
    assert found == {None: ([begin, *letters[:2]], 1), "truncate": (letters[1:], 1)}
    with pytest.raises(ValueError, match="text 0, 'abcd'...: 5 tokens, expected at most 3"):
        _documents(["abcd"], tokenizer, Recipe("", context=3, too_long="refuse"))


def test_only_the_longest_texts_are_learnt():
    assert longest(["a", "ab", "abc", "b", "ab"]) == ["abc", "b"]


def test_a_split_is_labelled_alone(spliced, plan):
    assert set(Labels.load(plan / "labels.npz").tasks) == set(ReplayWorld(spliced).tasks("train"))


def test_numbers_are_read_beside_the_text_and_kept(plan, helper):
    values = json.loads((helper / "helper.json").read_text())
    assert values["numbers"] is True
    found = ModelHelper.load(helper, cost=0.1)
    texts = Labels.load(plan / "labels.npz").text
    first = found.margins_of(texts[:20])
    (helper / "numbers.npz").rename(helper / "gone")
    with pytest.raises(FileNotFoundError, match="numbers.npz"):
        ModelHelper.load(helper, cost=0.1)
    (helper / "gone").rename(helper / "numbers.npz")
    np.testing.assert_allclose(ModelHelper.load(helper, cost=0.1).margins_of(texts[:20]), first)
    assert np.ptp(first) > 0.05


def test_what_is_evaluated_by_playing_is_what_the_table_says(spliced, helper, tmp_path):
    conditions = [
        {"method": "never", "setting": "0"},
        {"method": "helper", "setting": "mid", "folder": str(helper), "cost": 0.1},
    ]
    (tmp_path / "conditions.json").write_text(json.dumps(conditions))
    done = Script("experiments.evaluate")(
        f"--world=replay:{spliced}",
        "--split=test",
        "--actor=recorded",
        "--intervention=recorded:1",
        f"--conditions={tmp_path}/conditions.json",
        f"--out={tmp_path}/out",
    )
    assert done.error == "" and "no model reacts to the turns of another" in done.output
    rows = json.loads((tmp_path / "out" / "evaluation.json").read_text())["conditions"]
    data = planning.read(spliced, split="test")
    asks = ModelHelper.load(helper, cost=0.1).margins_of(data.texts.text)[:, 0] > 0
    for row, policy in zip(rows, (np.zeros(len(asks), int), asks.astype(int)), strict=True):
        expected = dp.evaluate(data.counts.table(), policy)
        assert row["success"] == pytest.approx(expected.expected_success)
        assert row["usage"] == pytest.approx(expected.expected_usage.tolist())


def test_parts_of_labels_are_labels(plan):
    labels = Labels.load(plan / "labels.npz")
    states = np.flatnonzero(np.isin(labels.task, [1, 3]))
    found = log_helpers.part(labels, states)
    assert [found.tasks[i] for i in found.task] == [labels.tasks[i] for i in labels.task[states]]
    assert {found.key[i] for i in found.start} == {f"{labels.tasks[i]}|0|0" for i in (1, 3)}
    np.testing.assert_array_equal(found.advantage, labels.advantage[states])


def test_players_by_names_that_are_not_there(spliced, tmp_path):
    flags = (f"--conditions={tmp_path}/c.json", f"--out={tmp_path}/out", "--tasks=1")
    (tmp_path / "c.json").write_text('[{"method": "never", "setting": "0"}]')
    script = Script("experiments.evaluate")
    done = script("--actor=recorded", "--intervention=recorded:1", *flags)
    assert "'recorded': expected --world=replay:FOLDER" in done.error
    flags = (f"--world=replay:{spliced}", "--split=test", *flags)
    done = script("--actor=recorded", "--intervention=recorded:x", *flags)
    assert "'recorded:x': expected recorded or recorded:1, recorded:2, ..." in done.error


def test_trees_are_trained_from_the_same_labels(spliced, plan, tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn is not there")
    done = Script("experiments.train_trees")(
        f"--labels={plan}", f"--out={tmp_path / 'trees'}", "--held_out=0.3"
    )
    assert done.error == "" and "held-out tasks: captured" in done.output
    texts = Labels.load(plan / "labels.npz").text
    margins = TreeHelper.load(tmp_path / "trees", cost=0.1).margins_of(texts)
    assert margins.shape == (len(texts), 1) and np.isfinite(margins).all()


def test_trees_without_scikit_learn_say_what_to_install(plan, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.ensemble", None)
    done = Script("experiments.train_trees")(f"--labels={plan}", f"--out={tmp_path / 'trees'}")
    assert "pip install selfreg[trees]" in done.error
