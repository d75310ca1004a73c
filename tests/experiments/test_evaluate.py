"""The script that plays conditions: its figures by hand, matched calls, a kill, rubbish."""

import collections
import json
import signal
import subprocess
import sys
import time
import weakref

import numpy as np
import pytest

from adapters import encoder, gaps, phase1
from adapters.either import Either
from adapters.encoder import Encoder
from adapters.episodes import Episode, play
from adapters.helpers import Never, Random
from adapters.interventions import ByActor
from adapters.labels import reach
from adapters.prm_helper import PRMHelper
from adapters.rising import Rising
from adapters.rollouts import RolloutWriter, read_episodes
from adapters.rollouts.counts import read_counts
from core import dp
from experiments import conditions as conditions_lib
from models.generation import Generator
from models.heads import HeadConfig
from tests.adapters import doors, tiny_folders
from tests.adapters.chat_server import ChatServer
from tests.adapters.small_rollouts import read_texts
from tests.experiments import fake_models
from tests.experiments.in_process import Script

OURS = "tests.experiments.fake_models:"
PLAYERS = [
    f"--world={OURS}world",
    "--split=test",
    "--val_split=val",
    "--intervention=tests.adapters.doors:oracle",
]
GREEDY = "--actor=tests.adapters.doors:greedy"
HELPER = {"method": "helper", "folder": f"{OURS}helper"}
PRM = {"method": "prm", "prm": f"{OURS}prm"}
BY_TEXT = {"method": "helper", "folder": f"{OURS}by_text"}
CONDITIONS = [
    {"method": "never", "setting": "0%"},
    {"method": "always", "setting": "100%"},
    {"method": "random", "setting": "30%", "p": 0.3},
    {**PRM, "setting": "high", "threshold": 0.7, "note": "mine"},
    {**HELPER, "setting": "own", "cost": 0.7},
    {**HELPER, "setting": "half a call", "cost": 0.5, "match": 0.5},
    {"method": "random", "setting": "alike", "match": "helper half a call"},
    {**HELPER, "setting": "one call", "threshold": -1, "cap": 1},
    {**PRM, "setting": "begin again", "threshold": 0.6, "task_wise": "all"},
    {**PRM, "setting": "first two turns", "threshold": 0.6, "task_wise": 2},
    {"method": "random", "setting": "whole tasks", "p": 0.5, "task_wise": "all"},
    {**HELPER, "setting": "rising", "cost": 0.5, "threshold": -0.3, "rise": 0.4, "cap": 3},
    {**HELPER, "setting": "many calls", "cost": 0.5, "threshold": -0.3, "cap": 1000},
    {**HELPER, "setting": "rising half", "cost": 0.5, "rise": 0.4, "cap": 3, "match": 0.5},
    {**HELPER, "setting": "steady half", "cost": 0.5, "match": 0.5},
    {**HELPER, "setting": "best half", "cost": 0.5, "rise": [0, 0.4], "cap": 3, "match": 0.5},
    {**BY_TEXT, "setting": "alone", "match": 1.5},
    {**BY_TEXT, "setting": "perhaps with another", "match": 1.5, "either": f"{OURS}prm"},
    {**BY_TEXT, "setting": "with another", "threshold": 0.2, "either": f"{OURS}prm"},
]


@pytest.fixture(scope="module")
def script():
    return Script("experiments.evaluate")


@pytest.fixture(scope="module")
def rollouts(tmp_path_factory):
    """Phase 1 on validation tasks, closed under nohelp."""
    folder, world = tmp_path_factory.mktemp("rollouts"), fake_models.world()
    actor, helps = doors.greedy(), [ByActor(doors.oracle())]
    with RolloutWriter(folder, {"style": "compact"}) as writer:
        plan = phase1.episodes(world.tasks("val"), phase1.settings(1), actor, helps)
        for played in play(world, actor, helps, plan, style="compact"):
            writer.write(played.steps)
        steps = [step for episode in read_episodes(folder) for step in episode]
        for played in play(world, actor, helps, gaps.Gaps(steps, 1).close(), style="compact"):
            writer.write(played.steps)
    return folder


@pytest.fixture(scope="module")
def evaluated(script, rollouts, tmp_path_factory):
    """A run of all conditions: its folder and evaluation.json."""
    out = tmp_path_factory.mktemp("evaluated")
    (out / "parts.json").write_text(json.dumps({"few": ["doors/test/0", "doors/test/1"]}))
    flags = [f"--forecast={rollouts}", f"--parts={out / 'parts.json'}"]
    return out, *run(script, out, CONDITIONS, *flags)


def run(script, out, conditions, *flags):
    path = out / "conditions.json"
    path.write_text(json.dumps(conditions))
    done = script(*PLAYERS, GREEDY, f"--conditions={path}", f"--out={out}", *flags)
    assert done.error == ""
    return json.loads((out / "evaluation.json").read_text()), done.output


def lines(out):
    return [json.loads(line) for line in (out / "episodes.jsonl").read_text().splitlines()]


def by_name(found, part="all"):
    rows = [row for row in found["conditions"] if row["part"] == part]
    return {f"{row['method']} {row['setting']}": row for row in rows}


def played(helper, split="test", **how):
    """Episodes as one would play them by hand."""
    tasks = fake_models.world().tasks(split)
    episodes = [Episode(task, task, helper, seed=i, **how) for i, task in enumerate(tasks)]
    return play(fake_models.world(), doors.greedy(), [ByActor(doors.oracle())], episodes)


def test_conditions_without_chance_are_what_one_plays_by_hand(evaluated):
    _, found, printed = evaluated
    rows = by_name(found)
    model = fake_models.PRM()
    model_helper = fake_models.ByMargin(1, 0.7)
    prm = PRMHelper(model, 0.7)
    for name, helper in [("never 0%", Never()), ("prm high", prm), ("helper own", model_helper)]:
        ends = [one.steps for one in played(helper)]
        won = [steps[-1].outcome == "success" for steps in ends]
        calls = [sum(step.decision for step in steps) for steps in ends]
        row = rows[name]
        assert row["success"] == pytest.approx(np.mean(won))
        assert row["usage"] == pytest.approx([np.mean(calls)])
        assert row["length"] == pytest.approx(np.mean([len(steps) for steps in ends]))
        assert (row["tasks"], row["seeds"]) == (40, 1)
        assert f"{row['success']:8.1%}" in printed
    assert rows["always 100%"]["success"] == 1.0
    assert rows["always 100%"]["usage"] == [3.0]
    assert rows["prm high"]["note"] == "mine"


def test_every_episode_has_a_line_and_rows_are_their_means(evaluated):
    out, found, _ = evaluated
    groups = collections.defaultdict(list)
    for line in lines(out):
        groups[line["condition"]].append(line)
    for part, tasks in (("all", None), ("few", {"doors/test/0", "doors/test/1"})):
        for name, row in by_name(found, part).items():
            ours = [one for one in groups[name] if tasks is None or one["task"] in tasks]
            assert len(ours) == row["tasks"] * row["seeds"]
            assert len({(one["task"], one["seed"]) for one in ours}) == len(ours)
            for field in ("success", "length", "invalid"):
                assert row[field] == pytest.approx(np.mean([one[field] for one in ours]))
            causes = collections.Counter(one["cause"] for one in ours if not one["success"])
            assert {k: v for k, v in row["causes"].items() if v} == causes
            low, high = row["success_ci"]
            assert low <= row["success"] <= high
            assert row["spl"] is None
    assert {one["cause"] for one in lines(out)} == {None, "invalid action", "limit"}
    assert {row["seeds"] for row in by_name(found).values()} == {1, 3}


def test_calls_are_matched_on_validation_tasks(evaluated):
    _, found, _ = evaluated
    rows = by_name(found)
    helper, alike = rows["helper half a call"], rows["random alike"]
    assert helper["validation"]["usage"] == pytest.approx([0.5], abs=0.1)
    assert alike["validation"]["usage"] == pytest.approx(helper["validation"]["usage"], abs=0.1)
    matches = json.loads((evaluated[0] / "matches.json").read_text())
    assert matches["helper half a call"] == {"dial": helper["dial"], **helper["validation"]}
    # Where chance asks, and nobody is to call as often, there is nothing to find out.
    assert "validation" not in rows["random 30%"] and "random 30%" not in matches
    own = [one.steps for one in played(fake_models.ByMargin(1, 0.7), "val")]
    calls = [sum(step.decision for step in steps) for steps in own]
    assert rows["helper own"]["expected_usage"] == pytest.approx([np.mean(calls)])
    ((low, high),) = rows["helper own"]["validation"]["usage_ci"]
    assert low < np.mean(calls) < high
    # The mixture's mean over the draws is exact: what its two thresholds use, by their shares.
    values, share = helper["dial"]["values"], helper["dial"]["share"]
    used = [
        np.mean([len([s for s in one.steps if s.decision]) for one in played(at, "val")])
        for at in (fake_models.ByMargin(1, 0.5, value) for value in values)
    ]
    if len(values) == 2:
        assert (1 - share) * used[0] + share * used[1] == pytest.approx(0.5)
    else:
        assert used[0] == pytest.approx(0.5, rel=0.011)


def test_a_cap_holds_and_whole_tasks_are_helped_as_asked(evaluated):
    out, _, _ = evaluated
    results = collections.defaultdict(list)
    for one in lines(out):
        results[one["condition"]].append(one)
    assert max(one["usage"][0] for one in results["helper one call"]) == 1
    alone = {one["task"]: one for one in results["never 0%"]}
    for name in ("task_prm begin again", "task_random whole tasks"):
        kinds = collections.Counter()
        for one in results[name]:
            if one["usage"][0]:
                assert (one["success"], one["length"], one["usage"]) == (True, 3.0, [3])
            else:
                same = ("success", "length", "outcome")
                assert [one[k] for k in same] == [alone[one["task"]][k] for k in same]
            kinds[one["usage"][0] > 0] += 1
        assert len(kinds) == 2
    for one in results["task_prm_first first two turns"]:
        assert one["usage"][0] in (0, max(one["length"] - 2, 0))


def test_thresholds_rise_with_the_calls_made(evaluated):
    out, found, _ = evaluated
    rows, calls = by_name(found), {}
    for rise, setting in ((0.4, "rising"), (0.0, "constant")):
        helper = Rising(fake_models.ByMargin(1, 0.5, -0.3), rise, (3,))
        steps = [one.steps for one in played(helper, cap=(3,))]
        calls[setting] = np.mean([sum(step.decision for step in one) for one in steps])
    assert rows["helper rising"]["usage"] == pytest.approx([calls["rising"]])
    assert calls["rising"] < calls["constant"]
    matched = rows["helper rising half"]["validation"]
    assert matched["usage"] == pytest.approx([0.5], abs=0.1)


def test_of_several_rises_validation_tasks_take_the_better(evaluated):
    rows = by_name(evaluated[1])
    both = [rows[f"helper {name} half"]["validation"]["success"] for name in ("steady", "rising")]
    best = rows["helper best half"]
    assert best["validation"]["success"] == max(both)
    assert best["dial"]["rise"] == (0.4 if both[1] > both[0] else 0.0)
    assert rows["helper rising half"]["dial"]["rise"] == 0.4


def test_of_a_helper_alone_and_with_a_prm_validation_tasks_take_the_better(evaluated, script):
    out, found, _ = evaluated
    rows = by_name(found)
    alone, best = rows["helper alone"], rows["helper perhaps with another"]
    assert best["validation"]["usage"] == pytest.approx([1.5], rel=0.1)
    assert best["validation"]["success"] >= alone["validation"]["success"]
    if not best["dial"]["either"]:
        assert best["dial"] == alone["dial"]
    both = Either(fake_models.by_text(1, None), fake_models.PRM()).at(0.2)
    steps = [one.steps for one in played(both)]
    row = rows["helper with another"]
    assert row["usage"] == pytest.approx([np.mean([sum(s.decision for s in one) for one in steps])])
    assert row["dial"] == {"values": [0.2], "share": 0.0, "either": True, "rise": 0.0}


def test_forecasts_are_the_solvers_on_the_validation_table(evaluated, rollouts):
    _, found, _ = evaluated
    rows = by_name(found)
    counts = read_counts(rollouts)
    table, texts = counts.table(), read_texts(rollouts, counts.index)
    margins = fake_models.ByMargin(1, 0.7).margins(texts.states())[:, 0]
    asks = (margins > 0.0) & table.available[:, 1]
    reached = dp.evaluate(table, asks.astype(int))
    own = rows["helper own"]["forecast"]
    assert own["success"] == pytest.approx(float(reached.expected_success))
    assert own["usage"] == pytest.approx(reached.expected_usage.tolist())
    visits = reach(table, asks.astype(int))
    assert own["untried"] == pytest.approx(visits @ ((margins > 0) & ~table.available[:, 1]))
    ceiling = dp.plan(table, reached.expected_usage)
    assert own["ceiling"]["success"] == pytest.approx(ceiling.expected_success, abs=1e-6)
    assert own["ceiling"]["success"] >= own["success"] - 1e-9
    alone = [one.steps[-1].outcome == "success" for one in played(Never(), "val")]
    assert rows["never 0%"]["forecast"]["success"] == pytest.approx(np.mean(alone))
    # The first call is made at once, and was tried there: what follows is what one plays by hand.
    capped = [one.steps for one in played(fake_models.ByMargin(1, 0.7, -1), "val", cap=(1,))]
    told = rows["helper one call"]["forecast"]
    assert told["success"] == pytest.approx(np.mean([s[-1].outcome == "success" for s in capped]))
    assert (told["usage"], told["untried"]) == (pytest.approx([1.0]), pytest.approx(0.0))
    risen = rows["helper rising"]
    assert 0 < risen["forecast"]["usage"][0] <= 3
    assert "forecast" not in rows["task_prm begin again"]
    assert "forecast" not in rows["helper many calls"]  # a table for each call would be too many
    p = np.where(table.available[:, 1:], [[0.7, 0.3]], [[1.0, 0.0]])
    drawn = dp.evaluate(table, p)
    assert rows["random 30%"]["forecast"]["usage"] == pytest.approx(drawn.expected_usage)


def test_comparisons_are_paired_by_task(evaluated):
    out, found, _ = evaluated
    (one,) = [
        row
        for row in found["paired"]
        if row["part"] == "all"
        and row["a"] == {"method": "helper", "setting": "own"}
        and row["b"] == {"method": "random", "setting": "30%"}
    ]
    score = collections.defaultdict(lambda: collections.defaultdict(list))
    for line in lines(out):
        score[line["condition"]][line["task"]].append(line["success"])
    apart = np.array(
        [
            np.mean(score["helper own"][t]) - np.mean(score["random 30%"][t])
            for t in score["never 0%"]
        ]
    )
    assert one["difference"] == pytest.approx(apart.mean())
    drawn = np.random.default_rng(7).choice(apart, (4000, len(apart))).mean(axis=1)
    np.testing.assert_allclose(one["ci"], np.percentile(drawn, [2.5, 97.5]), atol=0.02)


def test_the_same_command_again_plays_nothing_and_says_the_same(script, tmp_path):
    some = CONDITIONS[:3]
    first, _ = run(script, tmp_path, some, "--tasks=5")
    before = (tmp_path / "episodes.jsonl").read_bytes()
    with open(tmp_path / "episodes.jsonl", "ab") as file:
        file.write(b'{"condition":"never 0%","ta')
    again, printed = run(script, tmp_path, some, "--tasks=5")
    assert again == first
    assert "25 episodes, 25 of them there already." in printed
    assert (tmp_path / "episodes.jsonl").read_bytes() == before


def test_killed_in_the_middle_it_goes_on_to_the_same_result(script, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    some = [CONDITIONS[2], CONDITIONS[5], CONDITIONS[8]]
    expected, _ = run(script, whole, some, "--batch=8")
    path = cut / "conditions.json"
    path.write_text(json.dumps(some))
    flags = [*PLAYERS, f"--actor={OURS}slow_greedy", f"--conditions={path}", f"--out={cut}"]
    child = subprocess.Popen(
        [sys.executable, "-m", "experiments.evaluate", *flags, "--batch=8"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    log, until = cut / "episodes.jsonl", time.monotonic() + 60
    while not (log.exists() and log.read_bytes().count(b"\n") >= 20):
        assert child.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    there = log.read_bytes().count(b"\n")
    assert there < 280
    found, printed = run(script, cut, some, "--batch=8")
    assert f"280 episodes, {there} of them there already." in printed
    assert found == expected


def test_spl_of_sif_is_that_of_its_oracle(script, tmp_path):
    path = tmp_path / "conditions.json"
    path.write_text(json.dumps(CONDITIONS[:2]))
    done = script(
        "--actor=greedy", "--intervention=oracle", "--tasks=6", f"--conditions={path}",
        f"--out={tmp_path}", "--label=sage",
    )  # fmt: skip
    assert done.error == ""
    rows = by_name(json.loads((tmp_path / "evaluation.json").read_text()))
    always, never = rows["always 100%"], rows["never 0%"]
    assert (always["success"], always["spl"], always["spl_actions"]) == (1.0, 1.0, 1.0)
    assert always["usage"] == [always["length"]]
    assert never["spl"] <= never["success"] < 1.0
    assert (never["task_type"], never["intervention"], never["split"]) == (
        "s_obj", "sage", "test_unseen",
    )  # fmt: skip
    assert {one["cause"] for one in lines(tmp_path)} > {None, "invalid action"}


@pytest.mark.parametrize(
    ("conditions", "flags", "message"),
    [
        ([], [], "expected a list of conditions"),
        ([{"method": "never"}], [], "condition 1 (None): setting is None, expected a name"),
        ([{"method": "luck", "setting": "x"}], [], "method is 'luck', expected one of never"),
        ([{**CONDITIONS[0], "p": 1}], [], "'p' is no field of never"),
        ([{**CONDITIONS[2], "p": 1.5}], [], "p is 1.5, expected a number in 0..1"),
        ([{"method": "random", "setting": "x"}], [], "p is missing; expected it, or match"),
        ([CONDITIONS[0], CONDITIONS[0]], [], "'never 0%' is there twice"),
        ([{**CONDITIONS[6]}], [], "'random alike' names 'helper half a call', expected another"),
        ([{**CONDITIONS[7], "cap": -1}], [], "cap is -1, expected 1 whole numbers"),
        ([{**CONDITIONS[1], "help": "any"}], [], "help is 'any', expected it of prm, without rise"),
        ([{**BY_TEXT, "setting": "x", "either": 3}], [], "either is 3, expected a folder"),
        (
            [{**HELPER, "setting": "x", "either": f"{OURS}prm"}],
            [],
            "'helper x': ByMargin cannot be joined, expected a ThresholdHelper",
        ),
        ([{**HELPER, "setting": "x", "rise": 0.1}], [], "rise is 0.1, expected it with a cap"),
        (
            [{**HELPER, "setting": "x", "rise": [0, 1], "cap": 1}],
            [],
            "rise is [0, 1], expected one, or several to match with",
        ),
        ([{**HELPER, "setting": "x", "rise": -1, "cap": 1}], [], "rise is -1, expected a number"),
        ([{**CONDITIONS[8], "task_wise": 0}], [], "task_wise is 0, expected 'now', 'all'"),
        ([{**HELPER, "setting": "x", "threshold": [1, 2]}], [], "two and their share"),
        ([{**HELPER, "setting": "x", "folder": "/nowhere"}], [], "/nowhere"),
        (
            [{**HELPER, "setting": "x", "match": 99}],
            [],
            "'helper x' on the validation tasks: planned usage is 99, expected",
        ),
        (
            [
                {"method": "random", "setting": "x", "match": "random y"},
                {"method": "random", "setting": "y", "match": "random x"},
            ],
            [],
            "'random x' is to match itself, by random x and random y",
        ),
        (CONDITIONS[:1], ["--tasks=99"], "--tasks is 99, expected 1 to 40"),
        (CONDITIONS[:1], ["--conditions=/nowhere"], "/nowhere"),
        (CONDITIONS[:1], ["--forecast=/nowhere"], "/nowhere: no shard-*.jsonl there"),
        (CONDITIONS[5:6], ["--val_split=test"], "expected other tasks than --split"),
        (CONDITIONS[:1], [f"--actor={OURS}failing"], "no route. The same command goes on."),
        (CONDITIONS[:1], ["--parts={}"], "'x' holds 'y', expected tasks that are played"),
        (CONDITIONS[:1], ["more"], "unexpected argument 'more'"),
    ],
)
def test_rubbish_is_answered_by_one_line(script, tmp_path, conditions, flags, message):
    path = tmp_path / "conditions.json"
    path.write_text(json.dumps(conditions))
    given = [*PLAYERS, GREEDY, "--tasks=2", f"--conditions={path}", f"--out={tmp_path / 'out'}"]
    parts = tmp_path / "parts.json"
    parts.write_text('{"x": ["y"]}')
    done = script(*given, *(flag.format(parts) for flag in flags))
    assert done.error.startswith("evaluate: ")
    assert message in done.error
    assert "\n" not in done.error
    assert not (tmp_path / "out" / "evaluation.json").exists()


@pytest.mark.parametrize("again", ["with --known", "in the same folder"])
def test_what_was_kept_is_not_computed_again(script, tmp_path, monkeypatch, again):
    prm, model = tmp_path / "prm", f"llama:{tiny_folders.language_model()}"
    values = dict(helps=["oracle"], reads="state", quality={})
    calibration = [{"kind": "temperature", "temperature": 1.0}] * 2
    tiny_folders.with_head(
        prm, "prm.json", HeadConfig("success", 1), calibration=calibration, **values
    )
    path = tmp_path / "conditions.json"
    path.write_text(
        json.dumps([{"method": "prm", "setting": "x", "prm": str(prm), "threshold": 0.5}])
    )
    given = [*PLAYERS[:-1], f"--actor={model}", f"--intervention={model}", "--reads=compact"]
    given += [f"--conditions={path}", "--tasks=3", "--keep"]

    def found(out, *flags):
        monkeypatch.setattr(encoder, "_loaded", weakref.WeakValueDictionary())
        done = script(*given, f"--out={tmp_path / out}", *flags)
        assert done.error == ""
        return lines(tmp_path / out)

    first = found("first")
    names = sorted(one.name.partition("-")[0] for one in (tmp_path / "first").glob("*-*"))
    assert names == ["hidden", "replies", "replies"]

    def refuse(*_, **__):
        raise AssertionError("it was computed again")

    monkeypatch.setattr(Generator, "generate", refuse)
    monkeypatch.setattr(Encoder, "_pass", refuse)
    if again == "with --known":
        assert found("second", f"--known={tmp_path / 'first'}") == first
    else:
        (tmp_path / "first" / "episodes.jsonl").unlink()
        assert found("first") == first


def test_limits_on_calls_and_money_stop_in_one_line(script, tmp_path):
    path = tmp_path / "conditions.json"
    path.write_text(json.dumps(CONDITIONS[:1]))
    with ChatServer() as server:
        given = [*PLAYERS, "--actor=openai:tiny", "--api_key_env=none", f"--conditions={path}"]
        given += [f"--base_url={server.base_url}", "--tasks=2", f"--out={tmp_path / 'out'}"]
        for limit, spent in [
            (["--spend_calls=1"], "spent 1 of at most 1 calls"),
            (["--spend_money=0.01", "--prices=tiny=0/100000"], "of at most 0.01"),
        ]:
            done = script(*given, *limit)
            assert done.error.startswith("evaluate: ") and spent in done.error
            assert done.error.endswith(". The same command goes on.")


def test_a_folder_holds_one_configuration(script, tmp_path):
    run(script, tmp_path, CONDITIONS[:1], "--tasks=2")
    path = tmp_path / "conditions.json"
    done = script(
        *PLAYERS, GREEDY, f"--conditions={path}", f"--out={tmp_path}", "--tasks=2", "--seed=1"
    )
    assert "made with another seed; expected the same, or a new folder" in done.error
    (tmp_path / "episodes.jsonl").write_text('{"condition": 1}\n')
    done = script(*PLAYERS, GREEDY, f"--conditions={path}", f"--out={tmp_path}", "--tasks=2")
    assert "episodes.jsonl:1: no result" in done.error


def test_two_helps_share_random_calls_as_their_probabilities_do():
    (one,) = conditions_lib.parse(
        [{"method": "random", "setting": "x", "p": [0.1, 0.3], "match": 2}], 2
    )
    assert (one.dial, one.match) == (None, 2.0)
    assert Random(one.shares(0.8)).probabilities == pytest.approx((0.2, 0.6))
