"""The script that collects rollouts, run as a user would: also killed, broke and mistaken."""

import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
from collections import Counter

import pytest

from adapters import phase1
from adapters.gaps import Gaps, is_start
from adapters.rollouts import read_episodes, read_errors, read_steps
from adapters.rollouts.shards import STEPS, files
from tests.adapters import doors
from tests.adapters.chat_server import ChatServer, status
from tests.experiments.in_process import Script

DOORS = "tests.adapters.doors:"
WORLD = [f"--world={DOORS}Doors"]
SCRIPTED = [*WORLD, f"--actor={DOORS}greedy", f"--intervention={DOORS}oracle"]
FILLED = ["--close=nohelp", "--more=6"]


def halting_greedy(world):
    """The greedy actor, which halts for good, and says so in a file, when HALT is at 0."""
    actor, left = doors.greedy(), int(os.environ.get("HALT", -1))

    def act(states, seeds):
        nonlocal left
        if left == 0:
            pathlib.Path(os.environ["HALTED"]).touch()
            time.sleep(60)
        left -= 1
        return doors.ByRule.act(actor, states, seeds)

    actor.act = act
    return actor


def command(out, *flags):
    return [sys.executable, "-m", "experiments.collect", f"--out={out}", *flags]


def collect(out, *flags, **how):
    return subprocess.run(command(out, *flags), capture_output=True, text=True, check=False, **how)


def collected(out, *flags):
    """What a run that goes well prints."""
    done = collect(out, *flags)
    assert done.returncode == 0, done.stderr
    return done.stdout


def episodes(out):
    """All episodes by name, without how long they took."""
    found = {}
    for steps in read_episodes(out):
        name = steps[0].episode
        assert name not in found
        found[name] = [dataclasses.replace(step, seconds=0.0) for step in steps]
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A collection with gaps filled that nothing disturbed."""
    out = tmp_path_factory.mktemp("collect") / "whole"
    printed = collected(out, *SCRIPTED, *FILLED)
    return out, printed


def test_phase_1_is_as_printed_in_the_paper(whole):
    found = [steps[0] for name, steps in episodes(whole[0]).items() if is_start(name)]
    times = Counter((step.task, step.probabilities) for step in found)
    for task in doors.Doors().tasks("train"):
        expected = {0.0: 1, 0.1: 3, 0.3: 3, 0.5: 3, 0.7: 3, 0.9: 3, 1.0: 1}
        assert {p: times[task, (p,)] for p in phase1.PROBABILITIES} == expected
    assert times.total() == 4 * 17


def test_gaps_are_filled(whole):
    out, printed = whole
    steps = list(read_steps(out))
    explored = [step for step in steps if not step.episode.startswith("close/")]
    assert Gaps(explored, 1).untried(0) != []
    assert Gaps(steps, 1).untried(0) == []
    assert sum(name.startswith("more/") for name in episodes(out)) == 6
    assert f"{out} is complete: {len(episodes(out))} episodes." in printed


def test_says_first_what_it_will_take(whole):
    lines = whole[1].splitlines()
    assert lines[0] == "phase 1: 68 episodes, 0 of them there already."
    # Per task 1 x (0.0 + 1.0) + 3 x (0.1 + 0.3 + 0.5 + 0.7 + 0.9) = 8.5 of 17 episodes.
    assert lines[2:4] == [
        f"  340 turns of {DOORS}greedy",
        f"  340 turns of {DOORS}oracle",
    ]


def test_the_same_command_again_plays_nothing(whole):
    out, _ = whole
    before = [path.read_bytes() for path in files(out, STEPS)]
    printed = collected(out, *SCRIPTED, *FILLED)
    assert "phase 1: 68 episodes, 68 of them there already." in printed
    assert [path.read_bytes() for path in files(out, STEPS)] == before


def test_killed_and_started_again_it_is_as_if_nothing_had_happened(tmp_path, whole):
    out = tmp_path / "killed"
    flags = [*WORLD, f"--actor={__name__}:halting_greedy", SCRIPTED[-1], "--batch=4"]

    def killed_after(waves):
        """Which episodes a run leaves behind that is killed after so many waves."""
        halted = tmp_path / "halted"
        environment = {**os.environ, "HALT": str(waves), "HALTED": str(halted)}
        child = subprocess.Popen(
            command(out, *flags, *FILLED), stdout=subprocess.DEVNULL, env=environment
        )
        try:
            while not halted.exists():
                assert child.poll() is None
                time.sleep(0.005)
        finally:
            child.kill()
            child.wait()
        halted.unlink()
        return set(episodes(out))

    everything = set(episodes(whole[0]))
    phase_1 = {name for name in everything if is_start(name)}
    more = {name for name in everything if name.startswith("more/")}
    assert 0 < len(killed_after(20)) < len(phase_1)
    collected(out, *flags)
    assert killed_after(3) >= phase_1
    collected(out, *flags, FILLED[1])
    assert phase_1 | more <= killed_after(2) < everything
    collected(out, *flags, *FILLED)
    assert episodes(out) == episodes(whole[0])


def test_further_tasks_are_played_alone(tmp_path):
    alone = ["--skip=1", "--tasks=2", "--probabilities=0"]
    collected(tmp_path / "out", *SCRIPTED, *alone)
    second, third = doors.Doors().tasks("train")[1:3]
    assert [*episodes(tmp_path / "out")] == [f"{second} p=0 run=0", f"{third} p=0 run=0"]


def test_several_helps_and_settings_of_ones_own(tmp_path):
    collected(
        tmp_path / "out",
        *WORLD,
        f"--actor={DOORS}guesser",
        f"--intervention={DOORS}oracle,search",
        f"--proposer={DOORS}guesser",
        f"--scorer={__name__}:knowing",
        "--tasks=1",
        "--repetitions=2",
        "--probabilities=0,1",
        "--pairs=0.2/0.6",
        "--style=none",
    )
    found = episodes(tmp_path / "out").values()
    times = Counter(steps[0].probabilities for steps in found)
    # The oracle leaves nothing to chance, nor does a search, whose proposals are drawn once.
    assert times == {(0.0, 0.0): 2, (1.0, 0.0): 1, (0.0, 1.0): 1, (0.2, 0.6): 2}
    played = {step.actor for steps in found for step in steps}
    assert played == {"guesser", "oracle", "search(guesser)"}
    assert {step.state_text for steps in found for step in steps} == {""}
    for steps in found:  # the scorer knows, so search plays the right door if it is proposed
        for step in steps:
            assert step.decision != 2 or "UCT" in step.raw


def knowing(world):
    return lambda states, actions: [
        float(state.right_door == action) for state, action in zip(states, actions, strict=True)
    ]


def test_sif_with_scripted_actors(tmp_path):
    out = tmp_path / "out"
    kinds = ["--types=pnp,s_obj", "--tasks=2", "--close=nohelp", "--probabilities=0,0.3,1"]
    collected(out, "--actor=greedy", "--intervention=reasoner,oracle", *kinds)
    steps = list(read_steps(out))
    assert {step.task for step in steps} == {
        f"{t}/train/{i}" for t in ("pnp", "s_obj") for i in "01"
    }
    assert {step.actor for step in steps} == {"greedy", "reasoner", "oracle"}
    assert all(step.state_text for step in steps)
    assert Gaps(steps, 2).untried(0) == []
    last = [step.outcome for step in steps if step.probabilities == (0.0, 1.0) and step.outcome]
    assert last == ["success"] * 4  # the oracle


def test_a_person_plays_one_episode_at_a_time_and_may_stop(tmp_path):
    flags = [*WORLD, f"--actor={DOORS}greedy", "--intervention=person", "--probabilities=1"]
    done = collect(tmp_path / "out", *flags, input="1\n2\n3\n1\n2\n3\n1\n2\n/stop\n")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "collect: person stopped the episode. The same command goes on."
    )
    turns = Counter(step.episode for step in read_steps(tmp_path / "out"))
    assert len(turns) >= 1
    assert "  1  door 0\n  2  door 1\n  3  door 2\n" in done.stdout


def right_door(call):
    """A model's reply in the world of doors: wrong in every second call of the episode."""
    task, room, calls = call.asked.removeprefix("full: ").split()
    state = doors.State(task, 3, 6, int(room.split("=")[1]), int(calls.split("=")[1]))
    wrong = next(door for door in doors.DOORS if door != state.right_door)
    return f"Action: {wrong if state.calls % 2 else state.right_door}"


MODEL = [
    *WORLD, "--actor=openai:tiny", f"--intervention={DOORS}oracle", "--tasks=2",
    "--probabilities=0,0.5", "--repetitions=1", "--api_key_env=none",
]  # fmt: skip


@pytest.fixture(scope="module")
def modelled(tmp_path_factory):
    """A collection with a model, what was printed, and what the model was asked."""
    out = tmp_path_factory.mktemp("collect") / "modelled"
    with ChatServer(reply=right_door) as server:
        flags = [*MODEL, f"--base_url={server.base_url}", "--prices=tiny=1000/2000"]
        printed = collected(out, *flags)
    return out, printed, [call.asked for call in server.calls]


def test_a_model_is_asked_once_in_a_state_and_paid_for(modelled):
    out, printed, asked = modelled
    assert len(asked) == len(set(asked)) > 0
    # 4 episodes; half of the turns of two of them are the oracle's.
    assert "  30 turns of openai:tiny: 30 calls: about" in printed
    assert ", about 18." in printed  # 30 x 300 output tokens at 2000 a million, and some input
    assert "spent 0 calls and 0.0000" in printed
    assert sum(step.cost for step in read_steps(out)) == pytest.approx(0.02 * len(asked))


def test_a_spending_limit_stops_and_the_same_command_goes_on(tmp_path, modelled):
    out = tmp_path / "out"
    with ChatServer(reply=right_door) as server:
        flags = [*MODEL, f"--base_url={server.base_url}"]
        done = collect(out, *flags, "--spend_calls=3", "--batch=1")
        assert done.returncode == 1
        assert "spent 3 of at most 3 calls" in done.stderr.splitlines()[-1]
        assert done.stderr.splitlines()[-1].endswith("The same command goes on.")
        assert len(server.calls) == 3
        collected(out, *flags)
        asked = [call.asked for call in server.calls]
    assert sorted(asked) == sorted(modelled[2])  # nothing is asked and paid for twice

    def played(out):
        return {
            name: [(step.state_key, step.decision, step.action, step.outcome) for step in steps]
            for name, steps in episodes(out).items()
        }

    # The server has another port, so the folder another configuration, but the episodes are equal.
    assert played(out) == played(modelled[0])


def test_what_is_known_from_another_folder_is_not_asked_again(tmp_path):
    with ChatServer(reply=right_door) as server:
        flags = [*MODEL, f"--base_url={server.base_url}"]
        collected(tmp_path / "first", *flags)
        number = len(server.calls)
        collected(tmp_path / "second", *flags, f"--known={tmp_path / 'first'}")
        assert len(server.calls) == number > 0
    first, second = (episodes(tmp_path / name) for name in ("first", "second"))
    said = [
        {name: [(step.state_key, step.raw) for step in steps] for name, steps in some.items()}
        for some in (first, second)
    ]
    assert said[0] == said[1]
    steps = [step for steps in second.values() for step in steps if step.actor == "tiny"]
    assert steps and all(step.cached and not step.cost for step in steps)
    done = collect(tmp_path / "third", *SCRIPTED, f"--known={tmp_path / 'nowhere'}")
    assert done.returncode == 1 and "nowhere: there is no such folder" in done.stderr


def test_failed_episodes_are_told_and_tried_again(tmp_path):
    out = tmp_path / "out"

    def fault(call):
        return status(400) if "train/1" in call.asked and broken else None

    broken = True
    with ChatServer(reply=right_door, fault=fault) as server:
        flags = [*MODEL, f"--base_url={server.base_url}", "--close=nohelp"]
        done = collect(out, *flags)
        assert done.returncode == 1
        assert "episodes failed, the last one: 400 status 400" in done.stderr.splitlines()[-1]
        assert {error.task for error in read_errors(out)} == {"doors/train/1"}
        assert {step.task for step in read_steps(out)} >= {"doors/train/0"}
        assert not any(name.startswith("close/") for name in episodes(out))
        broken = False
        collected(out, *flags)
    assert len([name for name in episodes(out) if is_start(name)]) == 4


def test_it_gives_up_where_everything_fails(tmp_path):
    with ChatServer(fault=lambda call: status(401)) as server:
        flags = [*MODEL, f"--base_url={server.base_url}", "--give_up_after=2", "--batch=1"]
        done = collect(tmp_path / "out", *flags)
        assert len(server.calls) == 2
    assert "2 episodes failed in a row: 401 status 401" in done.stderr.splitlines()[-1]


def test_another_configuration_is_refused_and_changes_nothing(whole):
    out, _ = whole
    before = {path.name: path.read_bytes() for path in out.glob("*.jsonl")}
    done = collect(out, *SCRIPTED, "--seed=1")
    assert done.returncode == 1
    assert "config.seed is 0, expected 1" in done.stderr
    assert {path.name: path.read_bytes() for path in out.glob("*.jsonl")} == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([*WORLD, "--actor=clever", SCRIPTED[-1]], "'clever' is none of greedy"),
        ([*SCRIPTED, "--split=test"], "split is 'test'"),
        ([*SCRIPTED, "--tasks=5"], "--tasks is 5, expected 1 to 4"),
        ([*SCRIPTED, "--skip=4"], "--skip is 4, expected 0 to 3"),
        ([*SCRIPTED, "--skip=2", "--tasks=3"], "--tasks is 3, expected 1 to 2"),
        ([*SCRIPTED, "--probabilities=x"], "--probabilities: 'x' is no number"),
        ([*SCRIPTED, "--probabilities=1.5"], "probabilities[0] is 1.5"),
        ([*SCRIPTED, "--pairs=0.1"], "--pairs: '0.1', expected P/Q"),
        ([*SCRIPTED, "--prices=tiny"], "--prices: 'tiny', expected MODEL=INPUT/OUTPUT"),
        ([*SCRIPTED, "--spend_money=1"], "money is limited, expected prices"),
        ([*SCRIPTED, "--batch=0"], "batch is 0"),
        ([*SCRIPTED, "extra"], "unexpected argument 'extra'"),
    ],
)
def test_rubbish_gets_one_line(tmp_path, flags, message):
    done = collect(tmp_path / "out", *flags)
    assert done.returncode != 0
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists() or not files(tmp_path / "out", STEPS)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "the environment variable NO_KEY is not set, .*, --api_key_env=none, is for servers"),
        (["--api_key_env=none", "--intervention=clever"], "'clever' is none of greedy"),
        (["--api_key_env=none", "--tasks=5"], "--tasks is 5, expected 1 to 4"),
    ],
)
def test_a_model_that_is_not_to_be_asked_leaves_no_file_of_replies(tmp_path, flags, message):
    out = tmp_path / "out"
    done = Script("experiments.collect")(
        f"--out={out}", *MODEL[:-1], "--api_key_env=NO_KEY", *flags
    )
    assert re.match(f"collect: {message}", done.error)
    assert not out.exists()


def test_lines_cut_out_are_named_with_a_remedy_that_works(tmp_path, whole):
    out = tmp_path / "out"
    shutil.copytree(whole[0], out)
    shard = out / "shard-000001.jsonl"
    lines = shard.read_bytes().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if b'"turn":1,' in line)
    shard.write_bytes(b"".join(lines[:first] + lines[first + 1 :]))
    done = collect(out, *SCRIPTED, *FILLED)
    assert done.returncode == 1
    assert done.stderr.startswith(f"collect: {shard}:{first + 1}: episode ")
    assert done.stderr.endswith(
        "; put the file back as it was, or remove it and run again what wrote it, such as collect\n"
    )
    assert "left out" not in done.stderr
    assert "goes on" not in done.stderr
    shard.unlink()
    collected(out, *SCRIPTED, *FILLED)
    assert episodes(out) == episodes(whole[0])
