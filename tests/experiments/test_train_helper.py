"""The script that trains helpers, on doors, with a language model of no size."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from adapters.labels import Labels, label
from adapters.model_helper import ModelHelper
from adapters.rollouts.counts import read_counts
from experiments import helper_training
from tests.adapters import tiny_folders
from tests.adapters.small_rollouts import read_texts
from tests.experiments.in_process import Script

train_helper = Script("experiments.train_helper")
COSTS = [0.02, 0.1, 0.3]


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """A folder of labels, as experiments.plan makes them."""
    folder = tmp_path_factory.mktemp("plan")
    rollouts = tiny_folders.collect(folder / "rollouts")
    counts = read_counts(rollouts)
    texts = read_texts(rollouts, counts.index)
    label(counts, texts, counts.table(), COSTS, helps=["oracle"], style="compact").save(
        folder / "labels.npz"
    )
    return folder


def flags(plan, out, *more):
    return [
        f"--labels={plan}",
        f"--backbone={tiny_folders.language_model()}",
        f"--out={out}",
        *more,
    ]


def printed(*flags):
    done = train_helper(*flags)
    assert not done.error, done.error
    return done.output


def advantage(labels, states, column):
    return np.nan_to_num(labels.advantage[states, 0, column])


@pytest.fixture(scope="module")
def gains(plan, tmp_path_factory):
    """A helper that is told the cost, and what the script printed."""
    out = tmp_path_factory.mktemp("gains") / "helper"
    return out, printed(*flags(plan, out, f"--stored={out.parent / 'hidden'}"))


def test_gains_are_predicted_at_every_cost(plan, gains):
    """Larger margins, larger advantages; by a random decoder they are known no better than so."""
    out, text = gains
    labels = Labels.load(plan / "labels.npz")
    states = np.flatnonzero(labels.comparable[:, 0])
    for column, cost in enumerate(COSTS):
        helper = ModelHelper.load(out, cost=cost)
        margins = helper.margins_of([labels.text[i] for i in states])[:, 0]
        assert np.corrcoef(margins, advantage(labels, states, column))[0, 1] > 0.15
    values = json.loads((out / "helper.json").read_text())
    assert (values["kind"], values["target"], values["cost"]) == ("gains", "gains", None)
    assert values["cost_range"] == [0.02, 0.3] and values["helps"] == ["oracle"]
    assert values["style"] == "compact" and values["quality"]["tasks"] == 15
    assert f"captured {values['quality']['captured']:.3f}" in text


def test_hidden_states_are_kept_for_the_next_training(plan, gains, tmp_path, monkeypatch):
    from adapters import encoder

    monkeypatch.setattr(encoder, "_loaded", {})  # nothing is known but what is stored
    passed, whole = [], encoder.Encoder._pass
    monkeypatch.setattr(
        encoder.Encoder, "_pass", lambda self, texts: passed.extend(texts) or whole(self, texts)
    )
    stored = f"--stored={gains[0].parent / 'hidden'}"
    printed(*flags(plan, tmp_path / "next", stored, "--target=advantage", "--cost=0.1"))
    assert not passed
    printed(*flags(plan, tmp_path / "own", "--target=advantage", "--cost=0.1"))
    heads = [(tmp_path / one / "head.safetensors").read_bytes() for one in ("next", "own")]
    assert heads[0] == heads[1]
    shutil.copy(tmp_path / "next" / "head.safetensors", tmp_path / "wrong")
    done = train_helper(*flags(plan, tmp_path / "third", f"--stored={tmp_path / 'wrong'}"))
    assert "wrong: hidden states of another model" in done.error


def test_copies_are_of_one_cost(plan, tmp_path):
    out = tmp_path / "helper"
    printed(*flags(plan, out, "--target=balanced", "--cost=#1"))
    values = json.loads((out / "helper.json").read_text())
    assert (values["kind"], values["target"], values["cost"]) == ("policy", "balanced", [0.1])
    assert values["cost_range"] is None
    assert ModelHelper.load(out).margins(tiny_folders.STATES).shape == (6, 1)


def examples(plan, **recipe):
    labels = Labels.load(plan / "labels.npz")
    recipe = helper_training.Recipe(str(plan), "", **recipe)
    columns = helper_training._columns(labels, recipe.cost)
    return labels, helper_training._examples(labels, columns, recipe)


def test_only_states_are_used_in_which_both_have_values(plan):
    labels, found = examples(plan, target="labels", cost="#0")
    assert found.state.tolist() == np.flatnonzero(labels.comparable[:, 0]).tolist()
    assert 0 < len(found.state) < len(labels.key)
    np.testing.assert_array_equal(found.target, labels.policy[found.state, 0])
    ratio = found.weight / labels.visits[found.state].sum(1)
    np.testing.assert_allclose(ratio, ratio[0])


def test_a_trajectory_is_what_the_best_policy_comes_to(plan):
    labels, found = examples(plan, target="trajectory", cost="#2", weights="uniform")
    assert np.all(labels.reach[found.state, 2] > 0) and np.all(found.weight == found.weight[0])
    _, whole = examples(plan, target="labels", cost="#2")
    assert 0 < len(found.state) < len(whole.state)


@pytest.mark.parametrize(
    "target, cost, outputs", [("gains", "all", 2), ("advantage", "#1", 1), ("labels", "#2", None)]
)
def test_whatever_is_learnt_is_learnt_on_the_trajectory_alone_where_so_told(
    plan, target, cost, outputs
):
    rest = dict(target=target, cost=cost, weights="uniform")
    labels, whole = examples(plan, **rest)
    _, found = examples(plan, states="trajectory", **rest)
    there = labels.reach[whole.state, whole.column] > 0
    assert 0 < len(found.state) < len(whole.state)
    np.testing.assert_array_equal(found.state, whole.state[there])
    np.testing.assert_array_equal(found.column, whole.column[there])
    np.testing.assert_array_equal(found.target, whole.target[there])
    assert found.target.shape[1:] == (() if outputs is None else (outputs,))
    assert len(found.weight) == len(found.state) and np.all(found.weight > 0)


def test_balanced_decisions_weigh_the_same(plan):
    _, found = examples(plan, target="balanced", cost="#0")
    totals = np.bincount(found.target, found.weight)
    assert len(totals) == 2
    np.testing.assert_allclose(totals[0], totals[1])


def test_gains_make_the_advantage_at_each_cost(plan):
    labels, found = examples(plan, target="gains", cost="all")
    assert len(found.state) == 3 * len(set(found.state.tolist()))
    assert np.all(np.diff(found.state) >= 0)
    made = found.target[:, 0] - labels.costs[found.column, 0] * found.target[:, 1]
    np.testing.assert_allclose(made, labels.advantage[found.state, 0, found.column], atol=1e-5)
    _, alone = examples(plan, target="advantage", cost="0.3")
    np.testing.assert_allclose(alone.target[:, 0], advantage(labels, alone.state, 2), atol=1e-5)


def test_a_help_that_was_not_tried_has_no_weight(plan, tmp_path):
    """Two helps: the second has values in the first state alone."""
    labels = Labels.load(plan / "labels.npz")
    second = np.full_like(labels.success[:, 1:], np.nan)
    second[0] = 1.0
    usage = np.repeat(labels.usage, 2, axis=2)
    more = np.full_like(usage[:, 1:], np.nan)
    more[0] = 1.0
    two = dataclasses.replace(
        labels,
        helps=("oracle", "search"),
        costs=np.repeat(labels.costs, 2, axis=1),
        success=np.concatenate([labels.success, second], axis=1),
        usage=np.concatenate([usage, more], axis=1),
        available=np.concatenate([labels.available, np.isfinite(second[:, :, 0])], axis=1),
        visits=np.concatenate([labels.visits, labels.visits[:, :1]], axis=1),
    )
    two.save(tmp_path / "labels.npz")
    _, found = examples(tmp_path, target="gains", cost="0.1/0.1")
    assert found.target.shape[1] == 6 and np.all(np.isfinite(found.target))
    known = found.weight > 0
    assert np.all(known[:, :3] == labels.comparable[found.state])
    assert known[:, 3:].any(axis=1).tolist() == (found.state == 0).tolist()
    done = train_helper(*flags(tmp_path, tmp_path / "helper", "--cost=0.1"))
    assert "cost is [0.1], expected 2 numbers" in done.error


def test_the_same_command_goes_on_to_the_same_helper(plan, gains, tmp_path):
    """From the last checkpoint but one, as a kill in between leaves it."""
    out = tmp_path / "helper"
    shutil.copytree(gains[0] / "run", out / "run")
    shutil.copy(gains[0] / "settings.json", out)
    last = max((out / "run" / "checkpoints").iterdir(), key=lambda path: int(path.name))
    shutil.rmtree(last)
    printed(*flags(plan, out, f"--stored={gains[0].parent / 'hidden'}"))
    assert last.exists()
    for name in ("head.safetensors", "backbone/model.safetensors", "helper.json"):
        assert (out / name).read_bytes() == (gains[0] / name).read_bytes()


@pytest.mark.parametrize(
    "more, message",
    [
        (["--labels=nowhere"], "nowhere: no labels.npz there, expected labels"),
        (["--backbone=nowhere"], "nowhere: no config.json there"),
        (["--cost=0.5"], "cost is [0.5], expected one of 0.02, 0.1, 0.3"),
        (["--cost=#7"], "--cost is '#7', expected #0 to #2"),
        (["--cost=cheap"], "--cost is 'cheap', expected all, a cost or #PLACE"),
        (["--cost=0.1/0.2"], "expected 1 numbers"),
        (["--rate=0"], "--rate is 0.0, expected a number above 0"),
        (["extra"], "unexpected argument 'extra'"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(plan, tmp_path, more, message):
    done = train_helper(*flags(plan, tmp_path / "helper"), *more)
    assert message in done.error and done.error.startswith("train_helper: ")
    assert "\n" not in done.error and not (tmp_path / "helper").exists()


def test_nothing_is_settled_by_a_text_that_is_refused(plan, tmp_path):
    short = tmp_path / "short"
    shutil.copytree(tiny_folders.language_model(), short)
    config = json.loads((short / "config.json").read_text())
    (short / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 12}))
    done = train_helper(*flags(plan, tmp_path / "helper"), f"--backbone={short}")
    assert "tokens, expected at most 12" in done.error and not (tmp_path / "helper").exists()


def test_a_prm_of_another_style_is_refused(plan, tmp_path):
    shutil.copytree(tiny_folders.language_model(), tmp_path / "prm" / "backbone")
    (tmp_path / "prm" / "prm.json").write_text(json.dumps({"version": 1, "style": "full"}))
    done = train_helper(*flags(plan, tmp_path / "helper"), f"--backbone={tmp_path}/prm/backbone")
    assert "prm.json: style is 'full', expected 'compact' as the labels have" in done.error


def test_labels_without_both_decisions_are_refused(plan, tmp_path):
    labels = Labels.load(plan / "labels.npz")
    alone = labels.available.copy()
    alone[:, 1] = False
    success, usage = labels.success.copy(), labels.usage.copy()
    success[:, 1], usage[:, 1] = np.nan, np.nan
    dataclasses.replace(labels, available=alone, success=success, usage=usage).save(
        tmp_path / "labels.npz"
    )
    done = train_helper(*flags(tmp_path, tmp_path / "helper"))
    assert "labels.npz: no state has values of both nohelp and a help" in done.error
