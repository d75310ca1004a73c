"""The runner of stages: what runs, what is passed over, what a failure or a kill leaves."""

import io
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from experiments import stages
from experiments.stages import Stage, StageError

PEEK = socket.MSG_PEEK

# Adds its text to what its inputs hold, and a line to a diary.
MAKE = """
import pathlib, sys
out, made, text, *read = sys.argv[1:]
with open(f"{out}/diary", "a") as diary:
    diary.write(made + " ")
pathlib.Path(out, made).mkdir(exist_ok=True)
for i, part in enumerate([text] + [pathlib.Path(out, r, "0").read_text() for r in read]):
    pathlib.Path(out, made, str(i)).write_text(part)
print(made, "is made")
"""


def stage(name, text="x", needs=(), **how):
    return Stage(
        name=name,
        arguments=("-c", MAKE, "{out}", name, text, *needs),
        outputs=(name,),
        needs=tuple(needs),
        **how,
    )


def run(out, *some, **how):
    return stages.run(some, out, stream=io.StringIO(), **how)


def said(out, *some, **how):
    stream = io.StringIO()
    stages.run(some, out, stream=stream, **how)
    return stream.getvalue()


def diary(out):
    """What ran since the last time."""
    path = out / "diary"
    text = path.read_text() if path.exists() else ""
    path.unlink(missing_ok=True)
    return text.split()


DIAMOND = stage("a"), stage("b", needs="a"), stage("c", needs="a"), stage("d", needs="bc")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("diamond")
    return out, run(out, *DIAMOND), diary(out)


@pytest.fixture
def copied(made, tmp_path):
    """The finished job, in another folder and with other times."""
    out = tmp_path / "copied"
    subprocess.run(["cp", "-r", made[0], out], check=True)
    return out


def test_a_stage_runs_after_those_it_needs(made):
    _, records, ran = made
    assert ran[0] == "a"
    assert ran[-1] == "d"
    assert sorted(ran) == list("abcd")
    assert all(record.again for record in records.values())


def test_time_and_memory_of_each_stage_are_kept(made):
    out, records, _ = made
    for name, record in records.items():
        assert 0 < record.seconds < 20
        assert 3 < record.peak_memory_mb < 4000
        written = json.loads((out / ".stages" / f"{name}.json").read_text())
        assert written["seconds"] == record.seconds


def test_what_a_stage_prints_is_in_its_log(made):
    assert (made[0] / "logs" / "b.log").read_text().splitlines()[-1] == "b is made"


def test_nothing_runs_twice_not_even_in_a_copy(copied):
    text = said(copied, *DIAMOND)
    assert diary(copied) == []
    assert "All 4 stages are done, 4 of them before" in text


@pytest.mark.parametrize(
    "changed, again",
    [
        ((stage("a", text="y"), *DIAMOND[1:]), list("abcd")),
        ((*DIAMOND[:2], stage("c", text="y", needs="a"), DIAMOND[3]), ["c", "d"]),
    ],
)
def test_a_changed_command_runs_again_with_all_that_need_it(copied, changed, again):
    text = said(copied, *changed, jobs=1)
    assert sorted(diary(copied)) == again
    assert f"{again[0]} is run again: what it is made from has changed" in text
    assert (copied / ".stages" / "stale" / again[0] / again[0] / "0").read_text() == "x"


CORES = "import os, sys; open(sys.argv[1], 'w').write(str(len(os.sched_getaffinity(0))))"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system binds nobody to cores")
@pytest.mark.parametrize("jobs", [1, 2, 5])
@pytest.mark.parametrize("one_core_each", [True, False])
def test_what_a_stage_may_use_does_not_depend_on_how_many_run(tmp_path, jobs, one_core_each):
    some = [Stage(name, ("-c", CORES, f"{{out}}/{name}"), (name,)) for name in "abc"]
    run(tmp_path, *some, jobs=jobs, one_core_each=one_core_each)
    wanted = 1 if one_core_each else len(os.sched_getaffinity(0))
    assert {(tmp_path / name).read_text() for name in "abc"} == {str(wanted)}
    kept = json.loads((tmp_path / ".stages" / "a.json").read_text())
    assert 0 < kept["cpu_seconds"] < 10


def test_another_version_runs_all_again(copied):
    run(copied, *DIAMOND, version="2")
    assert sorted(diary(copied)) == list("abcd")


def test_a_file_from_outside_that_changes_runs_its_stage_again(tmp_path):
    outside = tmp_path / "model"
    outside.mkdir()
    (outside / "weights").write_text("1")
    one, out = stage("a", inputs=(str(outside),)), tmp_path / "out"
    run(out, one)
    os.utime(outside / "weights", (1, 1))
    run(out, one)
    assert diary(out) == ["a"]
    (outside / "weights").write_text("2")
    run(out, one)
    assert diary(out) == ["a"]
    (outside / "weights").unlink()
    outside.rmdir()
    with pytest.raises(ValueError, match="model does not exist"):
        run(out, one)


def test_a_half_deleted_folder_is_named_and_made_again(copied):
    (copied / "d" / "1").unlink()
    text = said(copied, *DIAMOND)
    assert f"d is run again: 1 of its 3 files are gone, {copied}/d/1 first" in text
    assert diary(copied) == ["d"]
    assert (copied / "d" / "1").exists()


def test_a_changed_file_is_named_and_made_again(copied):
    (copied / "c" / "0").write_text("z")
    text = said(copied, *DIAMOND)
    assert f"c is run again: {copied}/c/0 was changed" in text
    assert diary(copied) == ["c"]
    assert (copied / "c" / "0").read_text() == "x"


def test_what_was_expensive_stays_where_it_is(tmp_path):
    one = stage("a", keeps=True)
    run(tmp_path, one)
    (tmp_path / "a" / "more").write_text("paid for")
    (tmp_path / "a" / "0").unlink()
    run(tmp_path, one)
    assert (tmp_path / "a" / "more").exists()
    assert not (tmp_path / ".stages" / "stale").exists()


def test_a_failure_names_the_stage_the_last_line_and_the_log(tmp_path):
    bad = Stage("bad", ("-c", "import sys; print('so far'); sys.exit('no such actor')"), ("x",))
    slow = Stage("slow", ("-c", "import time; time.sleep(60)"), ("y",))
    began = time.monotonic()
    with pytest.raises(StageError) as error:
        run(tmp_path, slow, bad)
    assert str(error.value) == (
        "stage bad ended with exit status 1: no such actor "
        f"(all of its output: {tmp_path}/logs/bad.log)"
    )
    assert time.monotonic() - began < 20  # the others are ended


def test_a_failure_names_what_is_wrong_above_the_list_of_it(tmp_path):
    words = "collect: llama: 300 problems with its tensors:" + "\n  a.weight: missing" * 300
    code = f"print('  indented, too'); import sys; sys.exit({words!r})"
    with pytest.raises(StageError) as error:
        run(tmp_path, Stage("bad", ("-c", code), ("x",)))
    assert str(error.value) == (
        "stage bad ended with exit status 1: collect: llama: 300 problems with its tensors "
        f"(all of its output: {tmp_path}/logs/bad.log)"
    )


def test_a_stage_that_does_not_make_what_it_should_has_failed(tmp_path):
    with pytest.raises(StageError, match="stage idle ended well but did not make x"):
        run(tmp_path, Stage("idle", ("-c", ""), ("x",)))


def test_a_stage_that_failed_goes_on_when_what_was_wrong_is_mended(tmp_path):
    code = """
import pathlib, sys
out = pathlib.Path(sys.argv[1])
(out / "a").mkdir(exist_ok=True)
(out / "a" / "half").touch()
if not (out / "mended").exists():
    sys.exit("not yet")
(out / "a" / "whole").touch()
"""
    one = Stage("a", ("-c", code, "{out}"), ("a",))
    with pytest.raises(StageError, match="not yet"):
        run(tmp_path, one)
    (tmp_path / "mended").touch()
    run(tmp_path, one)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["half", "whole"]
    assert not (tmp_path / ".stages" / "stale").exists()


JOB = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # the background of a shell ignores it
from experiments.stages import Stage, Stopped, run
WAIT = '''
import os, pathlib, sys, time
out = pathlib.Path(sys.argv[1])
with open(out / "pids", "a") as pids:
    pids.write(f"{os.getpid()} ")
while not (out / "go").exists():
    time.sleep(0.02)
(out / sys.argv[2]).touch()
'''
out = sys.argv[1]
try:
    run([Stage(n, ("-c", WAIT, "{out}", n), (n,)) for n in "ab"], out)
except Stopped as error:
    sys.exit(f"stopped by {error}")
"""


def alive(pid):
    try:
        status = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stages_end_with_a_runner_that_is_killed_and_the_same_command_goes_on(tmp_path, number):
    job = [sys.executable, "-c", JOB, str(tmp_path)]
    pids = tmp_path / "pids"
    with subprocess.Popen(job, stderr=subprocess.PIPE, text=True) as killed:
        until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        killed.send_signal(number)
        _, error = killed.communicate(timeout=60)
    assert killed.returncode != 0
    if number == signal.SIGTERM:
        assert "stopped by SIGTERM" in error
    until(lambda: not any(map(alive, pids.read_text().split())))
    (tmp_path / "go").touch()
    subprocess.run(job, check=True, capture_output=True)
    assert (tmp_path / "a").exists()
    assert (tmp_path / "b").exists()


def forked(name, *end, needs=()):
    arguments = ("-m", "tests.experiments.forked_stage", "{out}", name, *end)
    return Stage(name, arguments, (name,), needs)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")
def test_programs_are_forked_where_what_they_need_is_there_already(tmp_path):
    records = run(tmp_path, forked("a"), forked("b", needs=("a",)), jobs=1)
    a, b = (json.loads((tmp_path / name).read_text()) for name in "ab")
    assert a["flax"] and b["flax"]
    assert a["pid"] != b["pid"] and a["parent"] == b["parent"] != os.getpid()
    assert not alive(a["parent"])
    assert all(record.peak_memory_mb > 50 for record in records.values())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")
@pytest.mark.parametrize(
    "end, message",
    [
        ("9", "stage a ended by signal 9"),
        ("parent", "stage a ended by signal 9"),
        ("no good", "stage a ended with exit status 1: no good "),
    ],
)
def test_how_a_forked_program_ends_is_told_and_the_same_command_goes_on(tmp_path, end, message):
    with pytest.raises(StageError, match=message):
        run(tmp_path, forked("a", end))
    a = json.loads((tmp_path / "a").read_text())
    until(lambda: not alive(a["pid"]) and not alive(a["parent"]))
    run(tmp_path, forked("a"))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")
def test_a_fork_server_that_was_killed_between_stages_is_replaced(tmp_path, monkeypatch):
    ask = stages.ForkServer.ask

    def killed_afterwards(self, arguments, log):
        ask(self, arguments, log)
        if arguments[-1] == "a":
            until(lambda: (tmp_path / "a").exists() and b"code" in self._here.recv(999, PEEK))
            self.signal(signal.SIGKILL, None)
            until(lambda: not self.alive())

    monkeypatch.setattr(stages.ForkServer, "ask", killed_afterwards)
    run(tmp_path, forked("a"), forked("b", needs=("a",)), jobs=1)
    a, b = (json.loads((tmp_path / name).read_text()) for name in "ab")
    assert a["parent"] != b["parent"]


def test_a_stage_asked_of_a_fork_server_that_has_ended_has_ended_like_it(tmp_path):
    with stages._locked(tmp_path / "lock") as lock:
        server = stages.ForkServer([], lock, os.environ)
        server.signal(signal.SIGKILL, None)
        until(lambda: not server.alive())
        child = stages.Child(["-c", ""], tmp_path / "log", server)
        assert child.ended()
        assert child.code == -signal.SIGKILL
        server.close()


def test_a_folder_has_one_runner(tmp_path):
    with stages._locked(tmp_path / "lock"), pytest.raises(BlockingIOError, match="expected none"):
        with stages._locked(tmp_path / "lock"):
            pass


@pytest.mark.parametrize(
    "some, message",
    [
        ([stage("a"), stage("a")], "there are two stages 'a', expected each once"),
        ([stage("a", needs="b")], "stage 'a' needs 'b', expected one of the stages"),
        ([stage("a", needs="b"), stage("b", needs="a")], "stages need each other: . -> . -> ."),
    ],
)
def test_a_graph_that_cannot_be_run_is_refused(some, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, *some)


def test_a_record_that_is_no_json_is_named(tmp_path):
    run(tmp_path, stage("a"))
    (tmp_path / ".stages" / "a.json").write_text("{")
    with pytest.raises(ValueError, match=r"a\.json: not JSON"):
        run(tmp_path, stage("a"))


def test_progress_says_how_many_are_done_what_runs_and_about_how_long_it_takes(tmp_path):
    slow = (
        "-c",
        "import time; print('step 1'); time.sleep(0.5); open(__import__('sys').argv[1] "
        "+ '/slow', 'w')",
        "{out}",
    )
    text = said(tmp_path, stage("a"), Stage("slow", slow, ("slow",), ("a",)), every=0.05)
    assert ": 1 of 2 stages, about 0:0" in text
    assert "slow running; slow: step 1" in text
    assert "slow is done, 0:01" in text or "slow is done, 0:00" in text


def test_an_argument_may_be_what_an_earlier_stage_found(tmp_path):
    plan = "import json, sys; json.dump({'plans': [{'cost': [0.05, 0.1]}]}, open(sys.argv[1], 'w'))"
    plan = Stage("plan", ("-c", plan, "{out}/plan.json"), ("plan.json",))
    told = "import sys; open(sys.argv[1], 'w').write(sys.argv[2])"
    told = ("-c", told, "{out}/told", "--cost={plan.json#/plans/0/cost}")
    run(tmp_path, plan, Stage("told", told, ("told",), ("plan",)))
    assert (tmp_path / "told").read_text() == "--cost=0.05/0.1"
    strange = Stage("strange", ("-c", "", "{plan.json#/plans/7/cost}"), ("x",), ("plan",))
    with pytest.raises(StageError, match=r"plan\.json#/plans/7/cost: .* expected a value there"):
        run(tmp_path, plan, strange)


def test_limits_are_told_a_stage_and_run_nothing_again(tmp_path):
    told = ("-c", "import sys; open(sys.argv[1], 'a').write(sys.argv[2])", "{out}/told")
    for limit in ("--spend=1", "--spend=2"):
        run(tmp_path, Stage("told", told, ("told",), limits=(limit,)))
    assert (tmp_path / "told").read_text() == "--spend=1"


def test_stages_get_variables_that_are_not_set_already(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFREG_A", "set already")
    code = "import os, sys; open(sys.argv[1], 'w').write(os.environ['SELFREG_A'] + os.environ['B'])"
    one = Stage("told", ("-c", code, "{out}/told"), ("told",))
    run(tmp_path, one, env={"SELFREG_A": "not this", "B": "!"})
    assert (tmp_path / "told").read_text() == "set already!"
