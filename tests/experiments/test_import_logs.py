"""The script that imports other people's logs, and what plan and coverage make of them."""

import gzip
import json
import os
import pathlib

import numpy as np
import pytest

from adapters.prm_data import read_outcomes
from adapters.rollouts import read_episodes
from adapters.rollouts.counts import read_counts
from core import dp
from tests.experiments.in_process import Script

DATA = pathlib.Path(__file__).parents[1] / "data" / "logs" / "import"


@pytest.fixture(scope="module")
def script():
    return Script("experiments.import_logs")


@pytest.fixture(scope="module")
def plan():
    return Script("experiments.plan")


@pytest.fixture(scope="module")
def coverage():
    return Script("experiments.coverage")


def episodes(folder):
    return list(read_episodes(folder))


def decisions(folder):
    return [[step.decision for step in episode] for episode in episodes(folder)]


def test_our_own_form_needs_no_word_about_help(script, tmp_path):
    done = script("--format=jsonl", f"--out={tmp_path}", DATA / "own.jsonl")
    assert done.error == ""
    assert done.output == (
        f"{tmp_path}: 3 trajectories of 2 tasks, 0 of them there already; 33.3% succeeded; "
        "nothing refused\n5 turns by decision: nohelp 3, help 1 2\n"
    )
    assert decisions(tmp_path) == [[0, 1], [0, 0], [1]]
    done = script("--format=jsonl", f"--out={tmp_path}", DATA / "own.jsonl")
    assert "3 trajectories of 2 tasks, 3 of them there already" in done.output
    done = script("--format=jsonl", "--success_at=0.2", f"--out={tmp_path}", DATA / "own.jsonl")
    assert "config.logs.success_at is 1.0, expected 0.2" in done.error


def test_what_was_refused_stays_named_when_another_command_is_not_for_the_folder(script, tmp_path):
    path, out = tmp_path / "logs.jsonl", tmp_path / "out"
    path.write_text(json.dumps(GOOD) + "\n{")
    assert script("--format=jsonl", f"--out={out}", path).error == ""
    before = (out / "refused.txt").read_text()
    done = script("--format=jsonl", "--helps=sage", f"--out={out}", path)
    assert "another configuration" in done.error
    assert (out / "refused.txt").read_text() == before
    assert sorted(one.name for one in out.iterdir()) == [
        ".lock",
        "refused.txt",
        "shard-000001.jsonl",
    ]


def test_helps_by_model(script, tmp_path):
    flags = ["--format=chat", "--help_models=large", f"--out={tmp_path}"]
    done = script(*flags, DATA / "chat.json")
    assert done.error == "" and "nohelp 4, large 1\nturns by model: large 1, small 4" in done.output
    assert decisions(tmp_path) == [[0, 1, 0], [0, 0]]


def test_helps_by_a_field_and_by_its_values(script, tmp_path):
    atif = ["--format=atif", DATA / "harbor"]
    done = script(*atif, "--help_field=extra.escalated", f"--out={tmp_path / 'a'}")
    assert "no trajectory could be used" in done.error and "no decision 1" in done.error
    done = script(*atif, "--help_field=extra.escalated=true", f"--out={tmp_path / 'b'}")
    assert done.error == "" and decisions(tmp_path / "b") == [[0, 1]]
    (episode,) = episodes(tmp_path / "b")
    assert episode[0].task == "demo/count-lines" and episode[-1].outcome == "success"
    values = "--help_field=model=large=2,model=small=1"
    done = script("--format=chat", values, f"--out={tmp_path / 'c'}", DATA / "chat.json")
    assert "nohelp 0, small 4, large 1\nnohelp decided no turn" in done.output


def test_helps_by_a_file(script, tmp_path):
    told = tmp_path / "decisions.jsonl"
    rows = [
        {"task": "7", "trial": trial, "turn": turn, "decision": turn % 2}
        for trial in (0, 1)
        for turn in range(3)
    ]
    told.write_text("\n".join(map(json.dumps, rows)))
    flags = ["--format=chat", f"--decisions={told}", f"--out={tmp_path / 'a'}", DATA / "chat.json"]
    assert script(*flags, "--helps=sage").error == ""
    assert decisions(tmp_path / "a") == [[0, 1, 0], [0, 1]]
    told.write_text(told.read_text().replace('"decision": 1', '"decision": 0'))
    assert "config.logs.decided_by.file is" in script(*flags, "--helps=sage").error


def test_one_model_a_file(script, tmp_path):
    flags = ["--format=intercode", "--models=small,large", "--help_models=large"]
    files = [DATA / "intercode_base.json", DATA / "intercode_strong.json"]
    done = script(*flags, f"--out={tmp_path}", *files)
    assert done.error == "" and "4 trajectories of 2 tasks" in done.output
    assert decisions(tmp_path) == [[0, 0], [0, 0, 0], [1, 1], [1, 1]]
    assert episodes(tmp_path)[1][-1].outcome == "truncated"


def test_keys_by_a_function(script, tmp_path, monkeypatch):
    (tmp_path / "my_keys.py").write_text(
        "def by_step(prefix):\n    return f'{prefix.task} {len(prefix.turns)}'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    flags = ["--format=jsonl", "--state_key=my_keys:by_step", DATA / "own.jsonl"]
    assert script(*flags, f"--out={tmp_path / 'a'}").error == ""
    assert [step.state_key for step in episodes(tmp_path / "a")[0]] == ["t17 0", "t17 1"]
    flags[1] = "--state_key=my_keys:other"
    assert (
        "--state_key: 'my_keys:other': module 'my_keys' has no attribute"
        in script(*flags, "--out=x").error
    )


@pytest.mark.parametrize(
    "flags, text",
    [
        (["--format=chat", DATA / "chat.json"], "nothing says in which turns help acted"),
        (["--format=chat", "--help_models=a", "--help_field=b", "x"], "x: there is no such file"),
        (["--format=chat", "--help_models=a", "--help_field=b", DATA / "chat.json"],
         "--help_field, --help_models and --decisions: expected one of them"),
        (["--format=chat", "--help_models=a=2", DATA / "chat.json"], "nothing is help 1, but a is"),
        (["--format=chat", "--help_models=a", "--helps=x,y", DATA / "chat.json"],
         "--helps has 2 names, expected 1"),
        (["--format=chat", "--help_field=a=1,b=2", DATA / "chat.json"],
         "'b=2', expected a=VALUE=I as in the first"),
        (["--format=chat", "--models=a,b", DATA / "chat.json"], "--models has 2 names, expected 1"),
        (["--format=chat", DATA], "is a folder, expected a file, or trajectories of atif"),
        (["--format=chat"], "files are missing, expected one or more"),
        (["--format=jsonl", "--state_key=a", DATA / "own.jsonl"], "expected MODULE:FUNCTION"),
        (["--format=jsonl", "--max_text=500", DATA / "own.jsonl"], "text is 500, expected"),
        (["--format=intercode", "--splice", "--help_models=a", DATA / "intercode_base.json"],
         "--help_models and --splice: each file is one model's"),
        (["--format=jsonl", "--test=1", DATA / "own.jsonl"], "val is 0.2 and test 1.0"),
    ],
)  # fmt: skip
def test_a_command_that_cannot_be_is_answered_by_one_line(script, tmp_path, flags, text):
    error = script(f"--out={tmp_path / 'out'}", *flags).error
    assert error.startswith("import_logs: ") and text in error and "\n" not in error
    assert not list(tmp_path.glob("out/shard-*"))


GOOD = {"task": "t", "reward": 1, "turns": [{"action": "a", "help": 0}]}


def test_everything_that_is_refused_is_named_and_counted(script, tmp_path, capsys):
    path = tmp_path / "logs.jsonl"
    lines = [
        json.dumps(GOOD).encode(),
        json.dumps(GOOD | {"task": "u"}).encode()[:47],  # cut off
        json.dumps({key: GOOD[key] for key in ("task", "turns")}).encode(),  # no reward
        json.dumps(GOOD).encode(),  # the same once more
        b'{"task": "\xff"}',
        json.dumps(GOOD | {"prompt": "x" * 2_000_000}).encode(),
        json.dumps(GOOD | {"task": "v"}).encode(),
    ]
    path.write_bytes(b"\n".join(lines))
    flags = ["--format=jsonl", "--max_mb=1", f"--out={tmp_path / 'out'}", path]
    done = script(*flags)
    assert done.error == ""
    assert (
        "2 trajectories of 2 tasks, 0 of them there already; 100.0% succeeded; 5 refused (not "
        "JSON 1, no reward 1, twice 1, not UTF-8 1, too long 1), named in"
    ) in done.output
    expected = [
        f"{path}:2: no JSON: Expecting value (character 49)",
        f"{path}:3: reward is missing, expected a number",
        f"{path}:4: task 't', trial '0' once more, the first is at {path}:1 and counts; "
        "--trial_field or --models would tell attempts apart",
        f"{path}:5: not UTF-8: invalid start byte (byte 11)",
        f"{path}:6: longer than the limit: 1.907 MiB, expected at most 1 MiB",
    ]
    assert (tmp_path / "out" / "refused.txt").read_text().splitlines() == expected
    shown = capsys.readouterr().err.splitlines()
    assert [line for line in shown if line.startswith("import_logs")] == [
        f"import_logs: {line}" for line in expected
    ]
    assert script(*flags, "--strict").error == "import_logs: 5 could not be used"


def test_a_damaged_file_is_named_and_the_others_are_read(script, tmp_path):
    cut = tmp_path / "cut.json"
    cut.write_bytes(gzip.compress((DATA / "own.jsonl").read_bytes())[:60])
    done = script("--format=jsonl", f"--out={tmp_path / 'out'}", cut, DATA / "own.jsonl")
    assert "3 trajectories of 2 tasks" in done.output and "1 refused (damaged 1)" in done.output
    assert (tmp_path / "out" / "refused.txt").read_text().startswith(f"{cut}:1: the compressed")


def test_files_add_up_and_the_list_of_the_refused_is_that_of_the_last_command(script, tmp_path):
    more = tmp_path / "more.jsonl"
    more.write_text(json.dumps(GOOD) + "\n{\n")
    out = f"--out={tmp_path / 'out'}"
    assert "1 refused" in script("--format=jsonl", out, more).output
    assert "3 trajectories" in script("--format=jsonl", out, DATA / "own.jsonl").output
    assert len(episodes(tmp_path / "out")) == 4
    assert not (tmp_path / "out" / "refused.txt").exists()


def helped(tasks=40):
    """Logs where help was at random: without it a task is solved by luck, with it nearly always."""
    chance = np.random.default_rng(0)
    for task in range(tasks):
        for trial in range(6):
            turns, solved = [], False
            while len(turns) < 3 and not solved:
                help = int(chance.integers(2))
                solved = bool(chance.random() < (0.7 if help else 0.25))
                action = {"action": f"try {help}", "help": help, "observation": str(solved)}
                turns.append(action)
            yield {
                "task": f"t{task}",
                "trial": trial,
                "prompt": f"Solve {task}.",
                "reward": int(solved),
                "turns": turns,
            }


@pytest.fixture(scope="module")
def folder(script, tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    (folder / "logs.jsonl").write_text("\n".join(map(json.dumps, helped())))
    flags = ["--format=jsonl", "--helps=sage", f"--out={folder / 'rollouts'}"]
    assert script(*flags, folder / "logs.jsonl").error == ""
    return folder / "rollouts"


def test_a_plan_of_logs_is_that_of_core_dp_by_hand(plan, folder, tmp_path):
    done = plan(f"--rollouts={folder}", "--budget=0.5", f"--out={tmp_path}")
    assert done.error == "" and "From logs: help was triggered by nothing" in done.output
    found = json.loads((tmp_path / "plan.json").read_text())
    assert found["helps"] == ["sage"] and found["tasks"] == 40
    plan = dp.plan(read_counts(folder).table(), 0.5)
    assert found["plans"][0]["half"] is None and "cannot be met" in done.output
    assert found["plans"][0]["success"] == pytest.approx(plan.expected_success, abs=1e-12)
    assert found["plans"][0]["usage"] == pytest.approx(plan.expected_usage.tolist(), abs=1e-12)
    assert found["plans"][0]["cost"] == pytest.approx(plan.cost.tolist(), abs=1e-12)
    # The start of a task, by hand: six episodes, of which some began with help.
    starts = [episode[0] for episode in episodes(folder) if episode[0].task == "t3"]
    assert len({step.state_key for step in starts}) == 1 and len(starts) == 6
    row = read_counts(folder).index.lookup([starts[0].state_key])[0]
    tried = read_counts(folder).table().count[row]
    assert tried.tolist() == [6 - sum(s.decision for s in starts), sum(s.decision for s in starts)]


def test_coverage_of_logs(coverage, folder):
    done = coverage(f"--rollouts={folder}", "--top=1")
    assert done.error == "" and "sage: it and nohelp were tried in " in done.output
    assert "let the agent work on these tasks with help triggered at random" in done.output


@pytest.mark.parametrize("help, name", [(0, "help 1"), (1, "nohelp")])
def test_coverage_and_plan_refuse_an_arm_that_was_never_tried(
    script, coverage, plan, tmp_path, help, name
):
    path, out = tmp_path / "logs.jsonl", tmp_path / "rollouts"
    turns = [{"action": "a", "help": help}]
    records = [GOOD | {"task": f"t{i}", "turns": turns, "reward": i % 2} for i in range(4)]
    path.write_text("\n".join(map(json.dumps, records)))
    done = script("--format=jsonl", f"--out={out}", path)
    assert f"{name} decided no turn: a plan needs turns of every kind" in done.output
    for error in (
        coverage(f"--rollouts={out}").error,
        plan(f"--rollouts={out}", f"--out={tmp_path}").error,
    ):
        assert f"{name} was never tried in any of 4 states" in error
        assert "let the agent work on these tasks with help triggered at random" in error


def test_a_process_reward_model_finds_its_samples_in_logs(folder):
    outcomes = read_outcomes(folder)
    assert outcomes.tried.shape[1] == 2 and (outcomes.tried.sum(0) > 0).all()
    assert outcomes.alone and all(text.startswith("Solve ") for text in outcomes.text)


def test_the_real_transcripts_are_read_whole(script, tmp_path):
    if "SELFREG_INTERCODE_DATA" not in os.environ:
        pytest.skip("SELFREG_INTERCODE_DATA names no folder of InterCode's transcripts")
    folder = pathlib.Path(os.environ["SELFREG_INTERCODE_DATA"])
    files = [folder / f"sql_gpt-{n}_10_turns.json.gz" for n in ("3.5", "4")]
    flags = ["--format=intercode", "--models=gpt-3.5,gpt-4", "--help_models=gpt-4"]
    done = script(*flags, f"--out={tmp_path}", *files)
    assert done.error == "" and "2,068 trajectories of 1,034 tasks" in done.output
    assert "nohelp 7,499, gpt-4 5,867" in done.output and "nothing refused" in done.output
    solved = [0, 0]
    for episode in read_episodes(tmp_path):
        solved[episode[0].decision] += episode[-1].outcome == "success"
    assert solved == [489, 762]
