"""Process reward models: what rollouts teach them, and what a folder of one says."""

import json
import shutil

import numpy as np
import pytest
from scipy import special

from adapters import encoder
from adapters.prm import PRM, calibration_json, calibration_of
from adapters.prm_data import read_outcomes
from adapters.rollouts import RolloutWriter
from adapters.search import Search
from adapters.step import Step
from models.calibration import Isotonic, Temperature
from models.heads import HeadConfig
from tests.adapters import doors, tiny_folders
from tests.adapters.tiny_folders import STATES, TEXTS

ISOTONIC = Isotonic((-1.0, 0.0, 1.0), (0.1, 0.4, 0.8))
VALUES = dict(
    helps=["oracle"],
    reads="state",
    calibration=[{"kind": "temperature", "temperature": 2.0}, calibration_json(ISOTONIC)],
    quality={},
)


def rollouts(folder, *episodes, texts=True):
    """Of (name, states, decisions, probabilities, outcome)."""
    with RolloutWriter(folder, {"style": "compact"}) as writer:
        for name, states, decisions, probabilities, outcome in episodes:
            writer.write(
                [
                    Step(
                        task=name.split()[0].removeprefix("close/"),
                        episode=name,
                        probabilities=probabilities,
                        seed=0,
                        turn=turn,
                        state_key=state,
                        state_text=f"text of {state}" if texts else "",
                        decision=decision,
                        actor="somebody",
                        raw="",
                        action=f"from {state}",
                        next_state_key=[*states, "end"][turn + 1],
                        outcome=outcome if turn == len(states) - 1 else None,
                    )
                    for turn, (state, decision) in enumerate(zip(states, decisions, strict=True))
                ]
            )
    return folder


EPISODES = [
    ("t1 alone", "abc", (0, 0, 0), (0.0, 0.0), "success"),
    ("t1 mixed", "abd", (1, 0, 0), (0.5, 0.0), "failure"),
    ("t1 last", "abe", (0, 1, 2), (0.3, 0.3), "success"),
    ("close/t1 at", "e", (0,), (0.0, 0.0), "truncated"),
    ("t2 alone", "x", (0,), (0.0, 0.0), "failure"),
    ("t2 helped", "x", (1,), (1.0, 0.0), "success"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return rollouts(tmp_path_factory.mktemp("rollouts"), *EPISODES)


def test_a_state_is_a_sample_where_one_plays_from_it_to_the_end(folder):
    found = read_outcomes(folder)
    counts = {
        key: list(zip(tried.tolist(), won.tolist(), strict=True))
        for key, tried, won in zip(found.key, found.tried, found.succeeded, strict=True)
    }
    assert counts == {
        "a": [(1, 1), (0, 0), (0, 0)],
        "b": [(2, 1), (0, 0), (0, 0)],
        "c": [(1, 1), (0, 0), (0, 0)],
        "d": [(1, 0), (0, 0), (0, 0)],
        "e": [(1, 0), (0, 0), (1, 1)],
        "x": [(1, 0), (1, 1), (0, 0)],
    }
    assert dict(zip(found.key, found.task, strict=True))["x"] == "t2"
    assert found.text == tuple(f"text of {key}" for key in found.key)
    at_b = found.key.index("b")
    assert found.share[at_b].tolist() == [0.5, 0, 0]
    assert found.weight(1)[at_b].tolist() == [1, 0, 0]


@pytest.mark.parametrize("reads", ["state", "action"])
def test_another_order_of_the_episodes_gives_the_same_samples(folder, tmp_path, reads):
    found = read_outcomes(folder, reads=reads)
    again = read_outcomes(rollouts(tmp_path, *reversed(EPISODES)), reads=reads)
    assert (again.key, again.text, again.task) == (found.key, found.text, found.task)
    np.testing.assert_array_equal(again.tried, found.tried)
    np.testing.assert_array_equal(again.succeeded, found.succeeded)


def test_the_base_actors_own_episodes_are_told_apart(folder):
    found = read_outcomes(folder)
    alone = [
        (one.task, "".join(found.key[i] for i in one.states), one.success) for one in found.alone
    ]
    assert alone == [("t1", "abc", True), ("t2", "x", False)]


@pytest.mark.parametrize("reads", ["state", "action"])
def test_two_folders_are_read_as_one(folder, tmp_path, reads):
    parts = [
        rollouts(tmp_path / task, *[one for one in EPISODES if task in one[0]])
        for task in ("t1", "t2")
    ]
    together, found = read_outcomes(folder, reads=reads), read_outcomes(*parts, reads=reads)
    assert (found.key, found.text, found.task) == (together.key, together.text, together.task)
    np.testing.assert_array_equal(found.tried, together.tried)
    np.testing.assert_array_equal(found.succeeded, together.succeeded)
    assert [(one.task, *one.states) for one in found.alone] == [
        (one.task, *one.states) for one in together.alone
    ]


@pytest.mark.parametrize(
    "episode, message",
    [
        (EPISODES[4], "second: episode 't2 alone' is in .*first too"),
        (("t3", "x", (0,), (0.0,), "failure"), "second: episode 't3' has 1 helps, expected 2 as"),
    ],
)
def test_a_second_folder_that_does_not_fit_is_named(tmp_path, episode, message):
    first = rollouts(tmp_path / "first", *EPISODES)
    second = rollouts(tmp_path / "second", episode)
    with pytest.raises(ValueError, match=message):
        read_outcomes(first, second)


def test_an_action_is_a_sample_where_the_base_actor_plays_after_it(folder):
    found = read_outcomes(folder, reads="action")
    counts = dict(zip(found.key, np.concatenate([found.tried, found.succeeded], 1), strict=True))
    assert {key.replace("\nAction: ", "/"): value.tolist() for key, value in counts.items()} == {
        "a/from a": [2, 1],
        "b/from b": [2, 1],
        "c/from c": [1, 1],
        "d/from d": [1, 0],
        "e/from e": [2, 1],
        "x/from x": [2, 1],
    }
    assert "text of a\nAction: from a" in found.text and not found.alone


def test_an_action_before_more_help_is_worth_what_it_led_to(tmp_path):
    folder = rollouts(
        tmp_path / "rollouts",
        ("t1 helped", "abc", (1, 1, 1), (1.0,), "success"),
        ("close/t1 at c", "c", (0,), (0.0,), "success"),
        ("t1 alone", "a", (0,), (0.0,), "failure"),
        ("t1 mixed", "abz", (1, 1, 1), (1.0,), "success"),
    )
    found = read_outcomes(folder, reads="action")
    counts = np.concatenate([found.tried, found.succeeded], 1).tolist()
    assert dict(zip(found.key, counts, strict=True)) == {
        "a\nAction: from a": [1, 0],  # seen directly
        "b\nAction: from b": [1, 1],  # by what followed c
        "c\nAction: from c": [2, 2],
        "z\nAction: from z": [1, 1],
    }


@pytest.mark.parametrize(
    "episodes, texts, message",
    [
        (EPISODES[:1], True, "help 1 never played to the end"),
        ([EPISODES[-1]], True, "the base actor never played to the end"),
        ([EPISODES[0], ("t2", "x", (1,), (1.0, 0.0), "success")], True, "help 2 never"),
        (EPISODES, False, "episode 'close/t1 at' has no texts"),
        ([("t", "x", (0,), (), "failure")], True, "all 1 samples are no success, expected both"),
        ([("t", "x", (0,), (), "success")], True, "all 1 samples are a success, expected both"),
        ([], True, "expected rollouts"),
    ],
)
def test_rollouts_that_teach_nothing_are_named(tmp_path, episodes, texts, message):
    folder = rollouts(tmp_path / "rollouts", *episodes, texts=texts)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        read_outcomes(folder)
    assert str(folder) in str(error.value)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder and its head."""
    folder = tmp_path_factory.mktemp("prm")
    head = tiny_folders.with_head(folder, "prm.json", HeadConfig("success", 1), **VALUES)
    return folder, head


def test_probabilities_are_the_calibrated_outputs_of_the_head(made):
    folder, head = made
    hidden = tiny_folders.hidden_states(TEXTS)
    logits = np.asarray(head(hidden, np.zeros((len(TEXTS), 0))))
    prm = PRM.load(folder)
    assert (prm.style, prm.helps, prm.reads) == ("compact", ("oracle",), "state")
    expected = np.stack([special.expit(logits[:, 0] / 2), ISOTONIC(logits[:, 1])], 1)
    np.testing.assert_allclose(prm.probabilities(TEXTS), expected, atol=1e-4)
    assert np.ptp(expected[:, 0]) > 0.01
    np.testing.assert_allclose(prm.probabilities(TEXTS[::-1]), expected[::-1], atol=1e-4)
    assert prm.probabilities([]).shape == (0, 2)


def test_a_text_is_passed_over_once_whatever_model_asks(made, tmp_path, monkeypatch):
    folder, _ = made
    shutil.copytree(folder, tmp_path / "copy")
    passed = []
    whole = encoder.Encoder._pass
    monkeypatch.setattr(
        encoder.Encoder, "_pass", lambda self, texts: passed.extend(texts) or whole(self, texts)
    )
    one, two = PRM.load(folder), PRM.load(tmp_path / "copy")
    new = [f"{text} more" for text in TEXTS[:2]]
    first = one.probabilities([*new, *new])
    np.testing.assert_array_equal(two.probabilities(new), first[:2])
    assert passed == new


def test_one_that_reads_actions_scores_them_for_a_search(made, tmp_path):
    folder = tmp_path / "q"
    values = VALUES | dict(helps=[], reads="action", calibration=VALUES["calibration"][:1])
    tiny_folders.with_head(folder, "prm.json", HeadConfig("success", 0), **values)
    prm = PRM.load(folder)
    score = prm.as_scorer()
    q = score(STATES[:2], ["door 0", "door 1"])
    expected = prm.probabilities([f"{TEXTS[0]}\nAction: door 0", f"{TEXTS[1]}\nAction: door 1"])
    assert q == expected[:, 0].tolist()
    search = Search(doors.guesser(), score)
    (reply,) = search.act(STATES[:1], [search.start()], [0])
    assert reply.action in doors.DOORS
    with pytest.raises(ValueError, match="style is 'full', expected 'compact'"):
        prm.as_scorer("full")
    with pytest.raises(ValueError, match="reads 'state', expected one of actions"):
        PRM.load(made[0]).as_scorer()


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(version=2), "prm.json: version is 2, expected 1"),
        (dict(helps=["a", "b"]), "2 helps and 2 calibrations, expected 1 and 2"),
        (dict(calibration=VALUES["calibration"][:1]), "1 helps and 1 calibrations"),
        (dict(calibration=[{"kind": "magic"}] * 2), "expected temperature or isotonic"),
        (
            dict(calibration=[{"kind": "temperature", "temperature": 0.0}] * 2),
            "prm.json: calibration .*: temperature is 0.0, expected a number above 0",
        ),
        (dict(reads="minds"), "reads is 'minds', expected state or action"),
        (dict(style=None), "style is None, expected a str"),
    ],
)
def test_a_damaged_folder_is_named(made, tmp_path, change, message):
    folder = tmp_path / "prm"
    shutil.copytree(made[0], folder)
    values = json.loads((folder / "prm.json").read_text()) | change
    (folder / "prm.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=message):
        PRM.load(folder)


def test_what_is_missing_is_named(made, tmp_path):
    folder = tmp_path / "prm"
    shutil.copytree(made[0], folder)
    (folder / "head.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="head.safetensors"):
        PRM.load(folder)
    (folder / "prm.json").write_text("{")
    with pytest.raises(ValueError, match="prm.json: not JSON"):
        PRM.load(folder)


@pytest.mark.parametrize("calibration", [Temperature(1.5), ISOTONIC])
def test_calibration_comes_back_from_json(calibration):
    text = json.dumps(calibration_json(calibration))
    assert calibration_of(json.loads(text)) == calibration
