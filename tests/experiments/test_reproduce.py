"""The main job: its stages fit each other and the scripts they call. Nothing heavy is run here."""

import ast
import json
import pathlib
import re
import subprocess
import sys

import pytest

import experiments
from experiments import conditions, stages, summary
from experiments.contest import Result
from experiments.main_job import report_page, results
from experiments.main_job.assemble import assemble
from experiments.main_job.graph import ORACLE, Job, Players
from experiments.main_job.proposer import Straying
from experiments.main_job.scales import SCALES
from experiments.main_job.suite import MAIN, VARIANTS, for_test, for_train
from experiments.stages import Record, StageError
from tests.experiments.in_process import Script

SCRIPTS = pathlib.Path(experiments.__file__).parent
RESULTS = pathlib.Path(__file__).resolve().parents[2] / "docs" / "results.md"
PLAYERS = {
    "scripted": Players("greedy", "reasoner", proposer="experiments.main_job.proposer:greedy"),
    "served": Players(
        *("openai:small", "openai:large", "openai:small"),
        flags=("--base_url=http://x",),
        limits=("--spend_calls=9", "--spend_money=1", "--prices=small=1/2,large=3/4"),
    ),
    "without search": Players("greedy", "reasoner"),
}


def job(scale, players="scripted"):
    backbone = None if SCALES[scale].backbone else "/a/backbone"
    return Job(SCALES[scale], dict.fromkeys(SCALES[scale].tasks, PLAYERS[players]), backbone)


GRAPHS = [(scale, players) for scale in SCALES for players in PLAYERS]


@pytest.mark.parametrize("scale, players", GRAPHS)
def test_stages_are_unique_and_can_be_ordered(scale, players):
    stages.check(job(scale, players).stages())


@pytest.mark.parametrize("scale, players", GRAPHS)
def test_a_stage_needs_the_stages_whose_files_it_reads(scale, players):
    graph = {stage.name: stage for stage in job(scale, players).stages()}
    makes = {output: name for name, stage in graph.items() for output in stage.outputs}
    assert len(makes) == sum(len(stage.outputs) for stage in graph.values())

    def all_needs(name):
        return {name}.union(*(all_needs(need) for need in graph[name].needs))

    for name, stage in graph.items():
        for path in re.findall(r"\{(?:out\}/)?([\w./-]+?)(?:[,#}]|$)", " ".join(stage.arguments)):
            maker = next((made for made in makes if f"{path}/".startswith(f"{made}/")), None)
            if path != "out":
                assert maker is not None, f"{name} reads {path}, which nobody makes"
                assert makes[maker] in all_needs(name), f"{name} reads {path}"


def defined_flags(script):
    """The flags of a script, by its source."""
    text = (SCRIPTS / f"{script.replace('.', '/')}.py").read_text()
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr.startswith("DEFINE_"):
                found.add(node.args[0].value)
            if node.func.attr == "define_flags":
                found |= defined_flags(node.func.value.id)
    return found


@pytest.mark.parametrize("scale, players", GRAPHS)
def test_scripts_know_the_flags_they_are_given(scale, players):
    known = {}
    for stage in job(scale, players).stages():
        dash_m, module, *flags = stage.arguments
        assert dash_m == "-m"
        script = module.removeprefix("experiments.")
        defined = known.setdefault(script, defined_flags(script))
        given = {re.match(r"--(\w+)(=|$)", flag)[1] for flag in (*flags, *stage.limits)}
        assert given <= defined, f"{module} has no {given - defined}"


def test_the_small_run_has_all_that_the_paper_reports():
    names = {stage.name for stage in job("small").stages()}
    for kind, intervention in [("s_obj", "stronger"), ("s_obj", "search"), ("s_obj", "both")]:
        assert f"evaluate-test-{kind}-{intervention}" in names
    for name in ("evaluate-test-pnp-stronger", "evaluate-test-s_hum-stronger"):
        assert name in names
    for name in ("q-s_obj-stronger", "evaluate-train-s_obj-stronger", "examine-pnp-stronger"):
        assert name in names


def test_repetitions_and_tokens_are_those_of_the_type():
    arguments = {stage.name: stage.arguments for stage in job("small").stages()}
    assert "--repetitions=1" in arguments["collect-train-pnp-stronger"]
    assert not [one for one in arguments["collect-train-s_obj-stronger"] if "repetitions" in one]
    for kind in ("s_obj", "pnp", "s_hum"):
        assert arguments[f"collect-val-{kind}-stronger"].count("--repetitions=1") == 1
        tokens = SCALES["small"].tokens[kind]
        assert f"--tokens={tokens}" in arguments[f"prm-{kind}-stronger"]


def test_process_reward_models_of_states_learn_from_tasks_played_alone_too():
    stages = {stage.name: stage for stage in job("small").stages()}
    alone = stages["collect-alone-pnp-stronger"].arguments
    assert {"--probabilities=0", "--skip=300", "--tasks=1200"} <= set(alone)
    learning = {name for name, one in stages.items() if "rollouts-alone" in str(one.arguments)}
    kinds = ("s_obj-stronger", "pnp-stronger")
    models = {f"{what}-{kind}" for what in ("prm", "prm_state") for kind in kinds}
    assert learning == models | {f"collect-alone-{kind}" for kind in kinds}


def test_ensembles_are_those_of_the_type_that_reads_replies():
    arguments = {stage.name: stage.arguments for stage in job("small").stages()}
    having = {name for name, flags in arguments.items() if "--members=3" in flags}
    assert having == {"prm-s_obj-stronger", "prm-pnp-stronger"}


def test_without_somebody_who_samples_there_is_no_search():
    assert not [s.name for s in job("small", "without search").stages() if "search" in s.name]


def plan(num_helps=1):
    """plan.json, as far as it is read; made up."""
    budgets = [[b] * num_helps for b in (0.5, 1.0, 2.0)] + ([[0.25]] if num_helps == 1 else [])
    return {
        "helps": ["reasoner", "search"][:num_helps],
        "costs": [[0.0] * num_helps, [0.01] * num_helps, [0.1] * num_helps],
        "plans": [
            {"budget": b, "cost": [0.1 / (i + 1)] * num_helps} for i, b in enumerate(budgets)
        ],
        "states": 10,
        "tasks": 2,
        "frontier": {"usage": [0.0, 1.0], "success": [0.3, 0.6]} if num_helps == 1 else None,
        "coverage": {"times": ["0"], "state_share": [[1.0]] * 2, "visit_share": [[1.0]] * 2},
    }


HELPERS = {MAIN: "h"} | {name: name for name in VARIANTS}


def test_conditions_are_those_that_evaluate_reads():
    given = for_test(
        plan(),
        "prm",
        HELPERS,
        prm_reply="reads more",
        curve=True,
        all_settings=True,
        whole_tasks=True,
    )
    found = conditions.parse(json.loads(json.dumps(given)), 1)
    names = {one.name for one in found}
    for name in ("never 0%", "always 100%", "random 30%", "prm 10%", "helper r mid"):
        assert name in names
    for setting in ("r high", "r mid", "r low"):
        matched = f"as often as {setting}"
        for name in (f"random {matched}", f"prm {matched}", f"prm {matched}, replies read"):
            (one,) = [c for c in found if c.name == name]
            assert one.match == f"helper {setting}"
            assert (one.source == "reads more") == name.endswith("read")
        assert f"helper {setting}, labels copied" in names
    capped = [one for one in found if one.cap and not any(one.rises)]
    assert [(one.cap, one.match) for one in capped] == [((1,), 0.5), ((2,), 1.0), ((3,), 1.5)]
    for setting in ("r high", "r mid", "r low"):
        (rising,) = [one for one in found if one.name == f"helper {setting}"]
        (constant,) = [one for one in found if one.name == f"helper {setting}, constant threshold"]
        assert (rising.rises, constant.rises) == ((0.0, 0.1), (0.0,)) and constant.cap is None
        assert (constant.match, constant.source) == (rising.match, rising.source)
        assert (rising.either, constant.either) == ("reads more", None)
        (prm,) = [
            c
            for c in found
            if c.name == f"prm as often as {setting}, rising threshold, replies read"
        ]
        assert (prm.rises, prm.source) == ((0.1,), "reads more")
    assert {one.task_wise for one in found if one.task_wise} >= {"all"}
    tables = {table for one in found for table in one.told.get("tables", [])}
    assert tables == {
        "2",
        "3",
        "5",
        "matched",
        "learns",
        "cap",
        "cost",
        "rule",
        "reads",
        "prior",
        "rise",
    }


def test_a_helper_is_told_one_cost_that_it_has_learnt():
    for costs, told in [([[0.0], [0.01], [0.1]], 0.1), ([[0.0], [0.01], [0.9]], 0.25)]:
        given = plan() | {"costs": costs}
        helpers = [one for one in for_test(given, "prm", HELPERS) if one["method"] == "helper"]
        assert {one["cost"][0] for one in helpers if "cost" in one} == {told}
    of_two = plan(2)
    of_two["costs"] = [[0.5, 0.0], [0.01, 0.01], [0.08, 0.04]]  # learnt where all are above 0
    of_two["plans"][1]["cost"] = [0.5, 0.0]
    costs = [one["cost"] for one in for_test(of_two, None, {MAIN: "h"}) if "cost" in one]
    assert costs[:2] == [[0.08, 0.08], [0.08, 0.01]]


def test_variants_may_stand_at_the_middle_setting_alone():
    names = {one["setting"] for one in for_test(plan(), "prm", HELPERS)}
    assert "r mid, labels copied" in names
    assert not names & {"r high, labels copied", "r low, labels copied"}


def test_where_nothing_is_learnt_there_are_baselines_alone():
    found = conditions.parse(for_test(plan(), "prm", {}, whole_tasks=True), 1)
    assert {one.method for one in found} == {"never", "always", "random", "prm"}
    assert {table for one in found for table in one.told.get("tables", [])} == {"5"}


@pytest.mark.parametrize("scale", SCALES)
def test_no_more_tasks_are_asked_for_than_there_are(scale):
    found = SCALES[scale]
    assert found.train_tasks <= found.tasks["s_obj"]["stronger"] <= 1000
    assert len(found.budgets) >= 3


def test_conditions_of_two_helps_are_those_that_evaluate_reads():
    given = for_test(plan(2), "prm", {MAIN: "h"}, curve=True, whole_tasks=True)
    found = conditions.parse(json.loads(json.dumps(given)), 2)
    (one,) = [c for c in found if c.name == "random as often as r1 high, r2 mid"]
    assert one.weights == (0.5, 0.5)
    thresholds = {c.setting: c.match for c in found if c.method == "prm"}
    assert thresholds["10%, 10%"] == "random 10%, 10%"
    assert thresholds["as often as r1 high, r2 mid"] == "helper r1 high, r2 mid"
    assert all(c.help is None for c in found if c.method == "prm")
    assert {table for c in found for table in c.told.get("tables", [])} == {"3", "matched"}


def test_training_tasks_are_played_with_the_dials_of_validation_tasks():
    dial = {"values": [0.2, 0.1], "share": 0.3}
    together, constant = dial | {"either": True, "rise": 0.1}, dial | {"rise": 0.0}
    matches = {"helper r high": {"dial": constant}, "helper r mid": {"dial": together}}
    matches["helper r mid, labels copied"] = {"dial": dial}
    found = conditions.parse(for_train(plan(), HELPERS, matches, "reads more"), 1)
    assert [one.name for one in found[:2]] == ["never 0%", "always 100%"]
    names = ["helper r high", "helper r mid", "helper r mid, labels copied"]
    assert [one.name for one in found[2:]] == names
    assert found[2].dial == found[4].dial == conditions.Dial((0.2, 0.1), 0.3)
    assert found[3].dial == conditions.Dial((0.2, 0.1), 0.3, either=True, rise=0.1)
    assert [one.either for one in found[2:]] == [None, "reads more", None]


def test_results_are_put_together_as_the_report_reads_them(tmp_path):
    given = for_test(plan(), "prm", {MAIN: "h"})
    parsed = conditions.parse(given, 1)
    tasks = ["a", "b", "c"]
    played = [
        Result(one.name, task, 0, task == "a", 0.5, 0.5, 7.0, (2,), 0, "failure", None)
        for one in parsed
        for task in tasks
    ]
    told = {one.name: {"expected_usage": None} for one in parsed}
    forecast = dict(success=0.5, usage=[1.0], success_ci=None, usage_ci=None, replaced=0.0)
    told["helper r mid"] = {"expected_usage": [1.0], "forecast": forecast}
    here = dict(task_type="s_obj", intervention="stronger", split="test_unseen")
    evaluation = summary.evaluation(parsed, played, tasks, {}, told, here)
    examined = {"self_regulation": [], "turns": [], "examples": []}
    written = {
        "evaluation-test/s_obj-stronger/evaluation.json": evaluation,
        "plan/s_obj-stronger/plan.json": plan(),
        "examined/s_obj-stronger/examine.json": examined,
        "prm/s_obj-stronger/prm.json": {"quality": {}},
    }
    for name, content in written.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))
    pairs, records = [("s_obj", "stronger")], {"plan": Record(1.0, 100.0, True)}
    found = assemble(tmp_path, pairs, {"scale": "made up"}, records)
    results.check(found)
    assert found["timing"] == {"plan": 1.0}
    assert found["peak_memory_mb"] == 100.0
    assert [row["setting"] for row in found["forecasts"]] == ["r mid"]
    assert len(results.in_table(found, "2", method="helper")) == 3
    assert len(found["frontier"]) == 1
    assert "helper r mid" in report_page.html(found)


def reproduce(*flags, **how):
    command = [sys.executable, "-m", "experiments.reproduce", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False, **how)


def test_a_folder_of_another_run_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"scale": "small"}))
    done = reproduce(f"--out={tmp_path}", "--scale=smoke", "--actors=scripted")
    assert done.returncode == 1
    assert done.stderr == (
        f"reproduce: {tmp_path}/config.json: scale is 'smoke', was 'small'; expected the same, or "
        "another --out\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_missing_checkpoint_is_one_clear_line(tmp_path):
    out, missing = f"--out={tmp_path / 'out'}", f"llama:{tmp_path}/none"
    done = reproduce(out, "--scale=smoke", f"--base={missing}", f"--stronger={missing}")
    assert done.returncode == 1
    assert done.stderr == (
        f"reproduce: {tmp_path}/none: no config.json there, expected a language model's folder\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--base=foo", "'foo' is none of greedy, reasoner, oracle, recorded, openai:MODEL, "),
        ("--stronger=search", "'search' is none of greedy, "),
        ("--stronger=openai:large", "the environment variable NO_KEY is not set"),
        ("--spend_calls=9", "--spend_calls=9: nobody plays behind a server, expected openai:MODEL"),
        ("--backbone={empty}", "{empty}: no config.json there, expected a language model's folder"),
    ],
)
def test_who_is_not_there_is_told_before_anything_is_written(tmp_path, flag, message):
    (empty := tmp_path / "empty").mkdir()
    flags = ["--scale=smoke", "--actors=scripted", "--api_key_env=NO_KEY"]
    out = tmp_path / "out"
    done = Script("experiments.reproduce")(f"--out={out}", *flags, flag.format(empty=empty))
    assert done.error.startswith("reproduce: " + message.format(empty=empty))
    assert not out.exists()


SERVED = ["--actors=openai", "--base=openai:small", "--stronger=openai:large@http://x"]


def test_limits_go_to_the_stages_that_play_and_may_change(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(stages, "run", lambda graph, *_, **__: seen.append(graph) or 1 / 0)
    limits = ["--spend_calls=9", "--spend_money=1.5", "--prices=small=1/2,large=3/4"]
    for more in ([], limits):
        flags = ["--scale=smoke", *SERVED, "--api_key_env=none", *more]
        with pytest.raises(ZeroDivisionError):
            Script("experiments.reproduce")(f"--out={tmp_path / 'out'}", *flags)
    free, limited = seen
    assert stages.hashes(free, "") == stages.hashes(limited, "")
    assert not [stage for stage in free if stage.limits]
    plays = {stage.name.partition("-")[0] for stage in limited if stage.limits}
    assert plays == {"collect", "evaluate", "examine"}
    assert {frozenset(stage.limits) for stage in limited} == {frozenset(), frozenset(limits)}


def test_the_fields_of_results_are_explained(tmp_path, monkeypatch):
    text = RESULTS.read_text()
    monkeypatch.setattr(stages, "run", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Script("experiments.reproduce")(f"--out={tmp_path}", "--scale=smoke", "--actors=scripted")
    config = json.loads((tmp_path / "config.json").read_text())
    given = for_test(plan(), "prm", {MAIN: "h"}, whole_tasks=True)
    methods = {one.kind for one in conditions.parse(given, 1)}
    assert "task_prm_first" in methods
    assert [name for name in (*config, *methods, ORACLE) if f"`{name}`" not in text] == []


def test_limits_that_cannot_be_kept_are_told_before_anything_is_written(tmp_path):
    for more, message in [
        (["--spend_money=1"], "money is limited, expected prices of the models"),
        (["--prices=small=1/2"], "there are prices of ['small'], expected 'large' too"),
        (["--prices=small"], "--prices: 'small', expected MODEL=INPUT/OUTPUT"),
    ]:
        flags = ["--scale=smoke", *SERVED, "--api_key_env=none", *more]
        done = Script("experiments.reproduce")(f"--out={tmp_path / 'out'}", *flags)
        assert done.error == f"reproduce: {message}"
    assert not (tmp_path / "out").exists()


def test_a_server_needs_the_names_of_its_models(tmp_path):
    done = reproduce(f"--out={tmp_path / 'out'}", "--actors=openai", "--base=openai:small")
    assert done.stderr == ("reproduce: --actors=openai needs --base=openai:MODEL and --stronger\n")


def test_after_a_failure_the_same_command_goes_on_once_it_is_mended(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise StageError("stage collect ended with exit status 1: collect: shard:3: broken")

    monkeypatch.setattr(stages, "run", fail)
    done = Script("experiments.reproduce")(
        f"--out={tmp_path / 'out'}", "--scale=smoke", "--actors=scripted"
    )
    assert done.error == (
        "reproduce: stage collect ended with exit status 1: collect: shard:3: broken. "
        "Once that is mended the same command goes on."
    )


def test_who_strays_is_told_by_the_seed():
    class Still:
        name = "still"

        def act(self, states, seeds):
            from adapters.protocols import Reply

            return [Reply("stay") for _ in states]

    class State:
        actions = ("left", "right")

    states, seeds = [State()] * 200, list(range(200))
    found = [reply.action for reply in Straying(Still()).act(states, seeds)]
    assert found == [reply.action for reply in Straying(Still()).act(states, seeds)]
    assert {action: found.count(action) // 25 for action in set(found)}["stay"] in (3, 4)
    assert set(found) == {"stay", "left", "right"}
