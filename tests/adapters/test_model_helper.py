"""The trained helper: its margins, when it asks, budgets in between, folders that do not fit."""

import json
import shutil

import numpy as np
import pytest

from adapters.episodes import Episode, play
from adapters.interventions import ByActor
from adapters.model_helper import ModelHelper
from adapters.seeds import derive
from models.heads import HeadConfig, margins
from tests.adapters import doors, tiny_folders
from tests.adapters.tiny_folders import STATES, TEXTS

SEEDS = [0] * len(STATES)
GAINS = HeadConfig("gains", 2)
READS_COST = HeadConfig("advantage", 1, cost_range=(0.01, 1.0))


def make(folder, config, cost, **values):
    helps = [f"help {i}" for i in range(config.num_helps)]
    values = dict(helps=helps, kind=config.kind, target="x", cost=cost, threshold=0.0) | values
    return tiny_folders.with_head(folder, "helper.json", config, **values)


@pytest.fixture(scope="module")
def gains(tmp_path_factory):
    """A folder of a helper that predicts gains of two helps, and its head."""
    folder = tmp_path_factory.mktemp("gains")
    return folder, make(folder, GAINS, [0.1, 0.2])


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A folder of a helper that reads the cost, and its head."""
    folder = tmp_path_factory.mktemp("told")
    cost_range = list(READS_COST.cost_range)
    return folder, make(folder, READS_COST, None, cost_range=cost_range)


def expected(head, costs):
    """Margins by the decoder and the head themselves."""
    hidden, config = tiny_folders.hidden_states(TEXTS), head.config
    costs = np.broadcast_to(costs, (len(TEXTS), config.num_helps))
    features = config.features(len(TEXTS), costs=costs if config.cost_range else None)
    outputs = np.asarray(head(hidden, features))
    return margins(outputs, config, costs if config.kind == "gains" else None)


def test_margins_are_those_of_the_head_at_any_cost(gains, told):
    for (folder, head), costs in ((gains, (None, [0.3, 0.4], 0.5)), (told, (0.02, [0.7]))):
        for cost in costs:
            helper = ModelHelper.load(folder, cost)
            true = expected(head, [0.1, 0.2] if cost is None else cost)
            np.testing.assert_allclose(helper.margins(STATES), true, atol=1e-4)
            assert np.ptp(true) > 0.01
    assert ModelHelper.load(gains[0]).cost.tolist() == [0.1, 0.2]


def test_a_state_is_read_once(gains, monkeypatch):
    helper, asked = ModelHelper.load(gains[0]), []
    whole = doors.State.text
    monkeypatch.setattr(doors.State, "text", lambda s, style: asked.append(s) or whole(s, style))
    first = helper.margins([*STATES, *STATES])
    np.testing.assert_array_equal(helper.at(1.0).margins(STATES), first[: len(STATES)])
    assert asked == STATES


def test_it_asks_the_best_help_above_the_threshold(gains):
    helper = ModelHelper.load(gains[0])
    found = helper.margins(STATES)
    middle = float(np.median(found.max(1)))
    decisions = helper.at(middle).decide(STATES, None, SEEDS)
    best = np.where(found.max(1) > middle, 1 + found.argmax(1), 0)
    assert [one.help for one in decisions] == best.tolist() and 0 < np.count_nonzero(best) < 6
    for one, margin in zip(decisions, found.max(1), strict=True):
        above = "above" if one.help else "not above"
        assert one.reason == f"gain {margin:.3g} {above} {middle:.3g}"
    assert all(one.help for one in helper.at(-np.inf).decide(STATES, None, SEEDS))
    assert not any(one.help for one in helper.at(np.inf).decide(STATES, None, SEEDS))
    assert helper.decide([], None, []) == []


def test_a_help_without_calls_left_is_not_chosen(gains):
    helper = ModelHelper.load(gains[0], threshold=-np.inf)
    best = helper.margins(STATES).argmax(1)
    left = [[int(i != one) for i in range(2)] for one in best]
    decisions = helper.decide(STATES, left, SEEDS)
    assert [one.help for one in decisions] == (2 - best).tolist()
    decisions = helper.decide(STATES, [[0, 0]] * len(STATES), SEEDS)
    assert {(one.help, one.reason) for one in decisions} == {(0, "no calls left")}


def test_the_threshold_is_the_folders_where_none_is_given(gains, tmp_path):
    folder = tmp_path / "helper"
    shutil.copytree(gains[0], folder)
    values = json.loads((folder / "helper.json").read_text())
    (folder / "helper.json").write_text(json.dumps(values | {"threshold": 0.25}))
    assert ModelHelper.load(folder).threshold == 0.25
    assert ModelHelper.load(folder, threshold=0.5).threshold == 0.5


def test_a_share_of_the_episodes_takes_the_second_threshold(gains):
    high, low = 0.7, -0.7
    helpers = {
        share: ModelHelper.load(gains[0], thresholds=(high, low), share=share)
        for share in (0.0, 0.3, 0.6, 1.0)
    }
    seeds = [derive("episode", i) for i in range(2000)]
    drawn = {
        share: np.array([helper.for_episode(seed).threshold for seed in seeds])
        for share, helper in helpers.items()
    }
    for share, thresholds in drawn.items():
        assert set(thresholds) <= {high, low}
        assert abs(np.mean(thresholds == low) - share) < 0.04
    assert np.all(drawn[0.6] <= drawn[0.3])  # the same episodes, and others
    with pytest.raises(ValueError, match="expected for_episode's"):
        helpers[0.3].decide(STATES, None, SEEDS)
    again = ModelHelper.load(gains[0], thresholds=(high, low), share=0.3)
    assert [again.for_episode(seed).threshold for seed in seeds] == drawn[0.3].tolist()
    assert again.for_episode(seeds[0]).for_episode(1).threshold == drawn[0.3][0]


def test_it_plays_within_its_cap(told):
    world, helper = doors.Doors(), ModelHelper.load(told[0], 0.1, threshold=-np.inf)
    tasks = world.tasks("train")
    episodes = [Episode(task, task, helper, cap=(2,)) for task in tasks]
    played = list(play(world, doors.greedy(), [ByActor(doors.oracle())], episodes, style=None))
    for one in played:
        assert [step.decision for step in one.steps][:3] == [1, 1, 0][: len(one.steps)]


def test_rollouts_are_told_what_changes_its_answers(gains, told):
    config = ModelHelper.load(gains[0], thresholds=(1.0, 0.5), share=0.5).config
    assert config["thresholds"] == [1.0, 0.5] and config["cost"] == [0.1, 0.2]
    other = ModelHelper.load(told[0], 0.5).config
    assert other["helper"] != config["helper"] and other["threshold"] == 0.0
    json.dumps([config, other], allow_nan=False)


@pytest.mark.parametrize(
    "which, how, message",
    [
        ("told", {}, r"cost is None, expected one in 0.01..1"),
        ("told", dict(cost=2.0), r"cost 2.0, expected 0.01..1.0, as in training"),
        ("gains", dict(cost=[1, 2, 3]), r"cost is \[1, 2, 3\], expected 2 numbers"),
        ("gains", dict(cost=-1), "cost is -1, expected 2 numbers of at least 0"),
        ("gains", dict(thresholds=(1, 0), share=2), "expected one threshold, or two and a share"),
        ("gains", dict(thresholds=(1, 0), threshold=1), "expected one threshold, or two"),
    ],
)
def test_arguments_that_do_not_fit_are_named(request, which, how, message):
    folder, _ = request.getfixturevalue(which)
    with pytest.raises(ValueError, match=message):
        ModelHelper.load(folder, **how)


def test_folders_that_do_not_fit_are_named(tmp_path):
    make(tmp_path / "copied", HeadConfig("policy", 1), [0.1])
    with pytest.raises(ValueError, match=r"cost is 0.2, expected \[0.1\], the only one"):
        ModelHelper.load(tmp_path / "copied", 0.2)
    assert (
        ModelHelper.load(tmp_path / "copied", 0.1)
        .decide(STATES[:1], None, [0])[0]
        .reason.startswith("logit ")
    )
    make(tmp_path / "prm", HeadConfig("success", 1), [0.1])
    with pytest.raises(ValueError, match="kind is 'success'"):
        ModelHelper.load(tmp_path / "prm")
    make(tmp_path / "other", HeadConfig("policy", 1), [0.1], helps=["a", "b"])
    with pytest.raises(ValueError, match=r"helps are \['a', 'b'\], expected 1 as the head has"):
        ModelHelper.load(tmp_path / "other")
