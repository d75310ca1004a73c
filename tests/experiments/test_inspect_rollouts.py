"""The script that says what a folder of rollouts holds, run as a user would."""

import dataclasses
import json
import subprocess
import sys

import pytest

from adapters.gaps import CLOSE
from adapters.rollouts import RolloutWriter
from adapters.step import Step


def inspect(*flags):
    command = [sys.executable, "-m", "experiments.inspect_rollouts", *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def episode(name, probabilities, decisions, outcome, **last):
    """In states s0, s1, ..."""
    steps = [
        Step(
            task=f"task {name[-1]}",
            episode=name,
            probabilities=probabilities,
            seed=0,
            turn=turn,
            state_key=f"s{turn}",
            state_text="",
            decision=decision,
            actor="base",
            raw="",
            action="go",
            next_state_key=f"s{turn + 1}",
            outcome=None if turn < len(decisions) - 1 else outcome,
            measures={"low_level_steps": 10.0 * (turn + 1)},
            input_tokens=100,
            output_tokens=7,
            cost=0.25,
            retries=turn,
        )
        for turn, decision in enumerate(decisions)
    ]
    steps[-1] = dataclasses.replace(steps[-1], **last)
    return steps


EPISODES = [
    episode("1", (0.0,), [0], "failure", invalid=True),
    episode("2", (0.0,), [0, 0], "truncated", truncated=True, action=None),
    episode("3", (0.5,), [1, 0, 1], "success"),
    episode("4", (0.5,), [1], "failure", invalid=True),
    episode(f"{CLOSE}5", (0.0,), [0], "success"),
]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "rollouts"
    with RolloutWriter(folder, {"split": "train"}) as writer:
        for steps in EPISODES:
            writer.write(steps)
        for name in ("1", "6", "6"):
            writer.note_error("task", name, "server gone", EPISODES[1])
    return folder


def test_everything_is_printed(folder):
    with open(folder / "shard-000001.jsonl", "ab") as shard:
        shard.write(b'[1]\n{"task": "tor')
    done = inspect(f"--rollouts={folder}", "--nostrict")
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    # Wilson: 0 in 2 gives 0 to z^2 / (2 + z^2), 1 in 2 gives 1/2 -+ z / (2 sqrt(2 + z^2)).
    assert lines == [
        'made from {"split": "train"}',
        "5 episodes of 5 tasks, 8 turns, 3 states",
        "success 2, failure 2, truncated 1",
        "by help probabilities; turns and calls are means of an episode",
        "episodes success 95% interval turns help 1",
        "0 2 0.0% 0.0% - 65.8% 1.50 0.000",
        "0.5 2 50.0% 9.5% - 90.5% 2.00 1.500",
        "close 0 1 100.0% 20.7% - 100.0% 1.00 0.000",
        "low_level_steps at the end: 17.50, mean of 4 episodes",
        "invalid actions 2 (25.00%), replies cut off 1 (12.50%), no reply (error) 0 (0.00%)",
        "tokens 800 in, 56 out; cost 2.0000; 0.0 s of calls; 4 retries; 0 from a cache",
        "coverage, by how often an action was tried",
        "states visits",
        "times 0 1 2-4 5+ 0 1 2-4 5+",
        # Tried in s0, s1, s2: nohelp 3, 2, 0 times, help 2, 0, 1 times. Visits: 1, 2/5, 1/5.
        "nohelp 33.3% 0.0% 66.7% 0.0% 12.5% 0.0% 87.5% 0.0%",
        "help 1 33.3% 33.3% 33.3% 0.0% 25.0% 12.5% 62.5% 0.0%",
        "failed 3 times, cost 1.5000; 1 episodes still missing",
        "3 server gone",
        "files",
        "foreign: 1",
        f"{folder}/shard-000001.jsonl:10: foreign line: Expected `object`, got `array`: b'[1]\\n'",
        "torn: 1",
        f"{folder}/shard-000001.jsonl:11: the last line is torn after 13 bytes",
    ]


def test_a_folder_without_a_complete_episode_is_no_error(tmp_path):
    header = {"format": "selfreg-rollouts", "version": 1, "config": {}}
    (tmp_path / "shard-000001.jsonl").write_text(json.dumps(header) + "\n")
    done = inspect(f"--rollouts={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "no complete episode" in done.stdout
    assert "files: nothing wrong" in done.stdout


def test_a_foreign_line_gets_one_line(folder):
    with open(folder / "shard-000001.jsonl", "ab") as shard:
        shard.write(b"foreign\n")
    done = inspect(f"--rollouts={folder}")
    assert done.returncode != 0
    assert "shard-000001.jsonl:10: foreign line" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_folder_without_rollouts_gets_one_line(tmp_path):
    done = inspect(f"--rollouts={tmp_path}")
    assert done.returncode != 0
    assert str(tmp_path) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
