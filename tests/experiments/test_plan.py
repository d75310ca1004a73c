"""The script that plans budgets from rollouts: its figures against core.dp called by hand."""

import csv
import dataclasses
import json
import random
import subprocess
import sys

import numpy as np
import pytest

from adapters import gaps, phase1
from adapters.episodes import play
from adapters.interventions import ByActor
from adapters.labels import Labels
from adapters.rollouts import RolloutWriter, read_episodes, read_sorted_episodes
from adapters.rollouts.counts import EpisodeCounter
from core import dp
from experiments import planning
from experiments.frontier_plot import draw
from tests.adapters import doors
from tests.experiments import fake_models
from tests.experiments.in_process import Script

CONFIG = {"style": "compact", "interventions": [{"name": "oracle"}]}


def fill(folder, world, helps, config, *, close=True):
    """Phase 1 in the world of doors, closed under nohelp."""
    actor, settings = doors.greedy(), phase1.settings(len(helps), (0.0, 0.5, 1.0))
    with RolloutWriter(folder, config) as writer:
        episodes = phase1.episodes(world.tasks("train"), settings, actor, helps)
        for played in play(world, actor, helps, episodes, style="compact"):
            writer.write(played.steps)
        if close:
            steps = [step for episode in read_episodes(folder) for step in episode]
            further = gaps.Gaps(steps, len(helps)).close()
            for played in play(world, actor, helps, further, style="compact"):
                writer.write(played.steps)


def counts_of(folder):
    """Of all episodes, by their names."""
    counter = EpisodeCounter()
    for episode in read_sorted_episodes(folder):
        counter.add(episode)
    return counter.result()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rollouts")
    fill(folder, doors.Doors(12, 3, 6), [ByActor(doors.oracle())], CONFIG)
    return folder


@pytest.fixture(scope="module")
def two_helps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    fill(folder, doors.Doors(4, 2, 4), [ByActor(doors.oracle()), ByActor(doors.guesser())], {})
    return folder


@pytest.fixture(scope="module")
def script():
    return Script("experiments.plan")


@pytest.fixture
def prior(monkeypatch):
    """What the stand-in for a process reward model gives."""
    monkeypatch.setitem(sys.modules, "adapters.prm", fake_models)
    return fake_models.PRM().probabilities


def run(script, folder, out, *flags):
    """A run that goes well: what it wrote, and what it printed."""
    done = script(f"--rollouts={folder}", f"--out={out}", *flags)
    assert done.error == ""
    return json.loads((out / "plan.json").read_text()), done.output


def test_plans_are_those_of_the_solver(script, folder, tmp_path):
    found, printed = run(script, folder, tmp_path, "--budget=0.5,1", "--cap=2")
    counts = counts_of(folder)
    table = counts.table()
    for budget, got in zip((0.5, 1.0), found["plans"], strict=True):
        for times, one in ((1, got), (0.5, got["half"]), (2, got["double"])):
            expected = dp.plan(table, budget * times)
            assert one["budget"] == [budget * times]
            assert one["success"] == pytest.approx(expected.expected_success, abs=1e-9)
            assert one["usage"] == pytest.approx(expected.expected_usage, abs=1e-9)
            assert one["cost"] == pytest.approx(expected.cost, abs=1e-9)
            assert one["upper_bound"] == pytest.approx(expected.upper_bound, abs=1e-9)
        sure = dp.bootstrap(table, dp.plan(table, budget), groups=counts.start_task)
        np.testing.assert_allclose(got["success_ci"], sure.success_interval, atol=1e-9)
        np.testing.assert_allclose(got["usage_ci"], sure.usage_interval, atol=1e-9)
    capped = dp.capped(table, 2)
    assert found["cap"]["success"] == pytest.approx(capped.expected_success, abs=1e-9)
    low, high = found["cap"]["success_ci"]
    assert low < found["cap"]["success"] < high
    assert f"{found['plans'][1]['success']:8.1%}" in printed
    assert "no forecast" in printed


def test_the_frontier_is_written_in_full(script, folder, tmp_path):
    found, _ = run(script, folder, tmp_path)
    curve = dp.frontier(counts_of(folder).table())
    with open(tmp_path / "frontier.csv") as file:
        rows = np.array(list(csv.reader(file))[1:], float)
    for i, name in enumerate(("cost", "usage", "success")):
        np.testing.assert_allclose(rows[:, i], getattr(curve, name), atol=1e-9)
    assert found["frontier"]["cost"][0] is None
    assert found["frontier"]["usage"] == pytest.approx(curve.usage)


def test_another_order_of_the_episodes_changes_no_byte(script, folder, tmp_path):
    found = list(read_episodes(folder))
    random.Random(0).shuffle(found)
    for some in (found[:20], found[20:]):  # as of a run that was killed, and one that went on
        with RolloutWriter(tmp_path / "shuffled", CONFIG) as writer:
            for steps in some:
                writer.write(steps)
    for rollouts, out in ((folder, tmp_path / "a"), (tmp_path / "shuffled", tmp_path / "b")):
        run(script, rollouts, out)
    for name in ("frontier.csv", "labels.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_was_measured_at_random_stands_beside_the_plan(script, folder, tmp_path):
    written, _ = run(script, folder, tmp_path)
    found = {one["probabilities"][0]: one for one in written["measured"]}
    episodes = [one for one in read_episodes(folder) if gaps.is_start(one[0].episode)]
    for p, one in found.items():
        ours = [steps for steps in episodes if steps[0].probabilities == (p,)]
        won = [steps[-1].outcome == "success" for steps in ours]
        assert (one["episodes"], one["success"]) == (len(ours), np.mean(won))
        calls = [sum(step.decision for step in steps) for steps in ours]
        assert one["usage"] == [np.mean(calls)]
    assert found.keys() == {0.0, 0.5, 1.0}


def test_labels_are_solved_at_the_costs_of_the_plans_and_a_grid(script, folder, tmp_path):
    found, _ = run(script, folder, tmp_path, "--budget=0.5,1")
    labels = Labels.load(tmp_path / "labels.npz")
    for one in found["plans"]:
        labels.cost_index(one["cost"])
    assert labels.costs.tolist() == found["costs"]
    assert (np.diff(labels.costs[:, 0]) > 0).all()
    assert labels.costs[0, 0] <= 0.01
    assert labels.costs[-1, 0] == pytest.approx(max(found["frontier"]["cost"][1:]))
    assert (labels.helps, labels.style) == (("oracle",), "compact")
    assert labels.text[3] == f"compact: {labels.key[3]}"
    solution = dp.sweep(counts_of(folder).table(), labels.costs)
    np.testing.assert_array_equal(labels.policy, solution.policy)


def test_a_prior_changes_the_table_as_the_solver_has_it(script, folder, tmp_path, prior):
    found, _ = run(script, folder, tmp_path, "--prm=P", "--strength=2")
    counts = counts_of(folder)
    labels = Labels.load(tmp_path / "labels.npz")
    success = prior(labels.text)
    expected = dp.plan(counts.table().with_prior(success, 2.0), 1.0)
    assert found["plans"][0]["success"] == pytest.approx(expected.expected_success, abs=1e-9)
    assert found["prior"] == {"prm": "P", "strength": 2.0}
    assert labels.comparable.all()
    found, _ = run(script, folder, tmp_path, "--prm=P", "--strength=0")
    plain = found["plans"][0]["success"]
    assert plain == pytest.approx(dp.plan(counts.table(), 1.0).expected_success, abs=1e-9)


def test_the_papers_rule_takes_its_best_cost_within_the_budget(script, folder, tmp_path, prior):
    flags = ["--rule=paper", "--prm=P", "--strength=0"]
    found = run(script, folder, tmp_path, *flags)[0]["plans"][0]
    counts = counts_of(folder)
    labels = Labels.load(tmp_path / "labels.npz")
    success = prior(labels.text)
    solution = dp.sweep(counts.table(), labels.costs, rule="paper", action_success=success)
    np.testing.assert_array_equal(labels.policy, solution.policy)
    at = labels.cost_index(found["cost"])
    assert found["success"] == pytest.approx(solution.expected_success[at], abs=1e-9)
    assert found["usage"] == pytest.approx(solution.expected_usage[at], abs=1e-9)
    assert found["usage"][0] <= 1.0
    assert found["success"] <= found["upper_bound"] + 1e-9


def test_several_helps_have_budgets_of_their_own_and_no_frontier(script, two_helps, tmp_path):
    found, _ = run(script, two_helps, tmp_path, "--budget=0.5/0.25")
    table = counts_of(two_helps).table()
    expected = dp.plan(table, [0.5, 0.25])
    (one,) = found["plans"]
    assert one["success"] == pytest.approx(expected.expected_success, abs=1e-9)
    assert one["half"]["budget"] == [0.25, 0.125]
    assert found["frontier"] is None
    assert {path.name for path in tmp_path.iterdir()} == {"plan.json", "labels.npz"}
    labels = Labels.load(tmp_path / "labels.npz")
    assert labels.usage.shape[1:3] == (3, 2)
    labels.cost_index(one["cost"])
    assert len(labels.costs) >= planning.NUM_COSTS


def test_one_state_is_explained_by_what_each_decision_is_worth(script, folder):
    counts = counts_of(folder)
    data = planning.read(folder)
    both = (counts.table().count > 0).all(axis=1)
    key = data.texts.key[int(np.argmax(both))]
    printed = script(f"--rollouts={folder}", f"--explain={key}").output
    assert f"state {key}\n" in printed
    assert f"  | compact: {key}\n" in printed
    table = counts.table()
    cost = dp.plan(table, 1.0).cost
    values = dp.action_values(table, dp.sweep(table, cost).policy[:, 0])
    s = int(np.argmax(both))
    tried = table.count[s].astype(int)
    assert f"tried: nohelp {tried[0]}, oracle {tried[1]}\n" in printed
    for a, name in enumerate(("nohelp", "oracle")):
        assert f"{name:12} success {values.success[s, a]:6.1%}" in printed


@pytest.mark.parametrize("budgets", [(1.0,), (0.5, 1.0, 5.0, 6.0)])
def test_the_frontier_is_drawn_with_or_without_random_episodes(folder, tmp_path, budgets):
    pytest.importorskip("matplotlib", exc_type=ImportError)
    data = planning.read(folder)
    planner = planning.Planner(data.counts, data.counts.table())
    answers = [planner.answer([budget]) for budget in budgets]
    if len(budgets) == 1:
        data = dataclasses.replace(data, measured=())
        answers = [planning.Answer(answers[0].plan, None, None)]
    path, curve = tmp_path / "x.png", dp.frontier(planner.table)
    assert draw(path, curve, answers, data.measured, title="What calls buy", subtitle="here")
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--budget=x"], "--budget: 'x' is no float"),
        (["--budget=1/2"], "--budget: '1/2' has 2 numbers, expected 1, one a help"),
        (["--budget=-1"], "--budget: '-1', expected finite numbers of at least 0"),
        (["--cap=1.5"], "--cap: '1.5' is no int"),
        (["--rule=paper"], "--rule=paper needs --prm"),
        (["--out="], "--out is missing"),
        (["--explain=nowhere"], "has no state 'nowhere'"),
        (["--rollouts=/nowhere"], "/nowhere: no shard-*.jsonl there"),
        (["more"], "unexpected argument 'more'"),
    ],
)
def test_rubbish_is_answered_by_one_line(script, folder, tmp_path, flags, message):
    done = script(f"--rollouts={folder}", f"--out={tmp_path}", *flags)
    assert done.error.startswith("plan: ")
    assert message in done.error
    assert "\n" not in done.error
    assert not any(tmp_path.iterdir())


def test_it_is_a_script_that_ends_in_one_line_and_no_traceback(tmp_path):
    command = [sys.executable, "-m", "experiments.plan", "--rollouts=/nowhere", f"--out={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "plan: /nowhere: no shard-*.jsonl there, expected rollouts\n"


def test_help_that_was_never_tried_is_refused(script, tmp_path):
    world, actor, helps = doors.Doors(3), doors.greedy(), [ByActor(doors.oracle())]
    with RolloutWriter(tmp_path / "rollouts", CONFIG) as writer:
        alone = phase1.episodes(world.tasks("train"), [(0.0,)], actor, helps)
        for played in play(world, actor, helps, alone):
            writer.write(played.steps)
    done = script(f"--rollouts={tmp_path / 'rollouts'}", f"--out={tmp_path / 'out'}")
    assert "help oracle was never tried in any of" in done.error
    assert not (tmp_path / "out").exists()


def test_states_without_nohelp_are_told_of_at_once(script, tmp_path):
    fill(tmp_path, doors.Doors(3, 3, 6), [ByActor(doors.oracle())], CONFIG, close=False)
    done = script(f"--rollouts={tmp_path}", "--explain=nowhere")
    assert "nohelp was never tried" in done.output
    assert done.error == f"plan: --explain: {tmp_path} has no state 'nowhere'"
