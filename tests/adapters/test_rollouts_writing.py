"""What `write` returned from stays, whatever happens next; what it did not leaves no trace."""

import dataclasses
import errno
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from adapters.rollouts import Problems, RolloutWriter, read_episodes, read_errors
from tests.adapters.rollout_episodes import CONFIG, by_name, episode

NUM_EPISODES, TEXT_SIZE = 120, 15_000  # some 25 MB: a write takes long enough to be hit by a kill
KILLS, LIMIT = 5, 20

COLLECT = f"""if True:
    import os, sys, time
    from adapters.rollouts import RolloutWriter
    from tests.adapters.rollout_episodes import CONFIG, episode

    left = int(sys.argv[2])  # episodes, then it waits to be killed
    with RolloutWriter(sys.argv[1], CONFIG, max_bytes=10_000_000) as writer:
        for number in range({NUM_EPISODES}):
            steps = episode(number, text_size={TEXT_SIZE})
            if steps[0].episode not in writer.finished:
                if not left:
                    time.sleep(60)
                writer.write(steps)
                os.write(1, steps[0].episode.encode() + b"\\n")
                left -= 1
"""


def python(child, *arguments, **options):
    return subprocess.Popen([sys.executable, "-c", child, *map(str, arguments)], **options)


def read(folder):
    """The episodes by name, and the kinds of problems."""
    problems = Problems()
    return by_name(read_episodes(folder, problems=problems)), dict(problems.number)


def test_killed_at_random_moments_and_started_again_it_ends_as_if_never_killed(tmp_path):
    folder, log, chance = tmp_path / "rollouts", tmp_path / "log", random.Random(0)
    log.touch()
    for kill in range(1, KILLS + 1):
        before = log.stat().st_size
        with open(log, "ab") as written:
            child = python(COLLECT, folder, LIMIT, stdout=written)
        while child.poll() is None and log.stat().st_size == before:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.02))
        child.kill()
        assert child.wait() == -signal.SIGKILL
        names = log.read_text().splitlines()
        assert len(set(names)) == len(names)  # nothing is done twice
        found, problems = read(folder)
        assert found.keys() >= set(names)  # nothing that write returned from is lost
        assert len(found) <= len(names) + kill  # a kill may hit between write and log
        assert problems.keys() <= {"torn", "unfinished"}
    assert python(COLLECT, folder, NUM_EPISODES, stdout=subprocess.DEVNULL).wait() == 0
    uninterrupted = by_name(episode(i, text_size=TEXT_SIZE) for i in range(NUM_EPISODES))
    found, problems = read(folder)
    assert found == uninterrupted
    assert problems.keys() <= {"torn", "unfinished"}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_killed_in_the_middle_of_a_write_that_episode_alone_is_lost(tmp_path, share):
    child = """if True:
        import os, signal, sys
        from adapters.rollouts import RolloutWriter
        from tests.adapters.rollout_episodes import CONFIG, episode

        def torn(descriptor, block):
            write(descriptor, block[: int(len(block) * float(sys.argv[2]))])
            os.kill(os.getpid(), signal.SIGKILL)

        writer = RolloutWriter(sys.argv[1], CONFIG)
        writer.write(episode(0))
        writer.write(episode(1))
        write, os.write = os.write, torn
        writer.write(episode(2))
    """
    assert python(child, tmp_path, share).wait() == -signal.SIGKILL
    with RolloutWriter(tmp_path, CONFIG) as writer:
        assert writer.finished == by_name([episode(0), episode(1)]).keys()
        assert bool(writer.problems.number) == (share > 0)
        writer.write(episode(2))
    assert read(tmp_path)[0] == by_name(map(episode, range(3)))


def test_a_full_disk_raises_and_the_same_writer_goes_on_when_there_is_room(tmp_path):
    child = """if True:
        import itertools, resource, sys
        from adapters.rollouts import RolloutWriter
        from tests.adapters.rollout_episodes import CONFIG, episode

        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        with RolloutWriter(sys.argv[1], CONFIG) as writer:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_001, hard))
            for number in itertools.count():
                try:
                    writer.write(episode(number))
                except OSError as error:
                    print(number, error)
                    break
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            writer.write(episode(number))
    """
    child = python(child, tmp_path, stdout=subprocess.PIPE, text=True)
    number, message = child.communicate()[0].split(" ", 1)
    assert child.returncode == 0
    path = tmp_path / "shard-000001.jsonl"
    assert message.strip() == f"[Errno {errno.EFBIG}] File too large: '{path}'"
    assert path.stat().st_size > 20_001
    assert int(number) > 5
    found, problems = read(tmp_path)
    assert found == by_name(map(episode, range(int(number) + 1)))
    assert not problems


def fails_halfway(monkeypatch, error):
    """Lets the next write of a block write half of it and then fail."""
    write = os.write

    def half(descriptor, block):
        monkeypatch.setattr(os, "write", failing)
        return write(descriptor, block[: len(block) // 2])

    def failing(descriptor, block):
        monkeypatch.setattr(os, "write", write)
        raise error

    monkeypatch.setattr(os, "write", half)


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()])
def test_a_write_that_fails_halfway_is_taken_back(tmp_path, monkeypatch, error):
    path = tmp_path / "shard-000001.jsonl"
    with RolloutWriter(tmp_path, CONFIG) as writer:
        writer.write(episode(0))
        before = path.read_bytes()
        fails_halfway(monkeypatch, error)
        with pytest.raises(type(error)):
            writer.write(episode(1))
        assert path.read_bytes() == before
        assert writer.finished == by_name([episode(0)]).keys()
        writer.write(episode(1))
    assert read(tmp_path) == (by_name([episode(0), episode(1)]), {})
    assert [file.name for file in tmp_path.glob("*.jsonl")] == [path.name]


def test_a_write_that_cannot_be_taken_back_is_left_for_a_new_shard(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    with RolloutWriter(tmp_path, CONFIG) as writer:
        writer.write(episode(0))
        fails_halfway(monkeypatch, FULL)
        with monkeypatch.context() as broken:
            broken.setattr(os, "ftruncate", fail)
            with pytest.raises(OSError, match=r"No space left on device: '.*shard-000001\.jsonl'"):
                writer.write(episode(1))
        writer.write(episode(1))
    assert len(list(tmp_path.glob("shard-*"))) == 2
    found, problems = read(tmp_path)
    assert found == by_name([episode(0), episode(1)])
    assert "torn" in problems


def test_a_disk_that_is_full_from_the_start_is_told_before_anything_is_played(
    tmp_path, monkeypatch
):
    def full(descriptor, block):
        if b"format" in bytes(block):
            raise FULL
        return write(descriptor, block)

    write = os.write
    with monkeypatch.context() as broken:
        broken.setattr(os, "write", full)
        with pytest.raises(OSError, match=r"No space left on device: '.*shard-000001\.jsonl'"):
            RolloutWriter(tmp_path, CONFIG)
    assert list(tmp_path.glob("*.jsonl")) == []
    with RolloutWriter(tmp_path, CONFIG) as writer:  # and the lock was given back
        writer.write(episode(0))


def test_a_folder_that_may_not_be_written_is_refused_and_stays_readable(tmp_path):
    with RolloutWriter(tmp_path, CONFIG) as writer:
        writer.write(episode(0))
    # Root may write anywhere, so the child becomes nobody. The folder is its own, then: what leads
    # there may be closed to others.
    child = """if True:
        import os, sys
        from adapters.rollouts import RolloutWriter, read_episodes
        os.chdir(sys.argv[1])
        if os.geteuid() == 0:
            try:
                os.setgid(65534)
                os.setuid(65534)
            except OSError as error:
                sys.exit(f"root cannot become nobody here: {error}")
        print(sum(1 for _ in read_episodes(".")))
        try:
            RolloutWriter(".", {})
        except PermissionError as error:
            print(error)
    """
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    tmp_path.chmod(0o555)
    for path in before:
        path.chmod(0o444)
    try:
        child = python(child, tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        printed, reason = child.communicate()
    finally:
        tmp_path.chmod(0o755)
        for path in before:
            path.chmod(0o644)
    if reason.startswith("root cannot"):
        pytest.skip(reason.strip())
    assert printed.splitlines() == ["1", f"[Errno {errno.EACCES}] Permission denied: '.lock'"]
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    with RolloutWriter(tmp_path, CONFIG) as writer:
        writer.write(episode(1))


def test_of_two_writers_the_second_is_refused_until_the_first_is_gone(tmp_path):
    child = """if True:
        import sys, time
        from adapters.rollouts import RolloutWriter
        from tests.adapters.rollout_episodes import CONFIG, episode
        writer = RolloutWriter(sys.argv[1], CONFIG)
        writer.write(episode(0))
        print("holds it", flush=True)
        time.sleep(60)
    """
    first = python(child, tmp_path, stdout=subprocess.PIPE)
    try:
        assert first.stdout.readline() == b"holds it\n"
        with pytest.raises(BlockingIOError, match=f"Process {first.pid} is writing there"):
            RolloutWriter(tmp_path, CONFIG)
        assert len(list(read_episodes(tmp_path))) == 1  # reading needs no lock
    finally:
        first.kill()
        first.communicate()
    with RolloutWriter(tmp_path, CONFIG) as second:
        assert second.finished == by_name([episode(0)]).keys()
        with pytest.raises(BlockingIOError, match=f"Process {os.getpid()} is writing there"):
            RolloutWriter(tmp_path, CONFIG)
        second.write(episode(1))
    assert read(tmp_path)[0].keys() == by_name([episode(0), episode(1)]).keys()


def test_another_config_is_refused_naming_the_fields(tmp_path):
    with RolloutWriter(tmp_path, CONFIG) as writer:
        writer.write(episode(0))
    other = {"world": {"kind": "maze", "seed": 1}, "split": "train", "style": "full"}
    with pytest.raises(ValueError, match="another configuration than this run has: ") as caught:
        RolloutWriter(tmp_path, other)
    assert str(caught.value).endswith(
        "config.style is missing, expected 'full'; config.world.kind is 'corridor', expected 'maze'"
    )
    assert len(list(tmp_path.glob("*.jsonl"))) == 1
    with RolloutWriter(tmp_path, CONFIG) as writer:
        assert len(writer.finished) == 1


def test_a_config_is_the_same_after_a_way_through_json(tmp_path):
    config = {"probabilities": (0.1, 0.3), "none": None, "nested": {"a": [1, (2, 3)]}}
    for number in range(2):
        with RolloutWriter(tmp_path, config) as writer:
            writer.write(episode(number))


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object()])
def test_a_config_that_is_no_json_is_refused(tmp_path, value):
    with pytest.raises((TypeError, ValueError), match="JSON"):
        RolloutWriter(tmp_path / "rollouts", {"a": value})
    assert list(tmp_path.iterdir()) == []


def test_without_resume_a_folder_with_rollouts_is_refused(tmp_path):
    with RolloutWriter(tmp_path, CONFIG, resume=False) as writer:
        writer.write(episode(0))
    with pytest.raises(FileExistsError, match=r"shard-000001\.jsonl"):
        RolloutWriter(tmp_path, CONFIG, resume=False)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "rollouts").touch()
    with pytest.raises(FileExistsError, match="rollouts"):
        RolloutWriter(tmp_path / "rollouts", CONFIG)


def test_a_shard_that_would_grow_too_large_is_followed_by_another(tmp_path):
    with RolloutWriter(tmp_path, CONFIG, max_bytes=5000) as writer:
        for number in range(30):
            writer.write(episode(number))
    sizes = [path.stat().st_size for path in tmp_path.glob("shard-*")]
    assert len(sizes) > 3
    assert max(sizes) <= 5000
    with RolloutWriter(tmp_path, CONFIG, max_bytes=1) as writer:  # a shard each
        writer.write(episode(30))
        writer.write(episode(31))
    assert len(list(tmp_path.glob("shard-*"))) == len(sizes) + 2
    assert list(read_episodes(tmp_path)) == list(map(episode, range(32)))


def test_a_writer_that_wrote_nothing_leaves_no_shard(tmp_path):
    with RolloutWriter(tmp_path, CONFIG):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_closed_writer_writes_no_more(tmp_path):
    with RolloutWriter(tmp_path, CONFIG) as writer:
        pass
    for write in (lambda: writer.write(episode(0)), lambda: writer.note_error("t", "e", "gone")):
        with pytest.raises(ValueError, match="closed"):
            write()
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_an_episode_that_failed_is_noted_and_still_to_be_done(tmp_path):
    steps = episode(0)
    with RolloutWriter(tmp_path, CONFIG) as writer:
        writer.note_error(steps[0].task, steps[0].episode, "server gone", steps[:1])
        assert writer.finished == set()
    with RolloutWriter(tmp_path, CONFIG) as writer:
        assert writer.finished == set()
        writer.write(steps)
        writer.note_error("task", "another", "refused")
    assert list(read_episodes(tmp_path)) == [steps]
    found = [(error.episode, error.error, error.turns) for error in read_errors(tmp_path)]
    assert found == [(steps[0].episode, "server gone", 1), ("another", "refused", 0)]


LONG = next(steps for steps in map(episode, range(99)) if len(steps) == 4)


def changed(turn, **fields):
    steps = list(LONG)
    steps[turn] = dataclasses.replace(steps[turn], **fields)
    return steps


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([], "episode is empty"),
        (LONG[:-1], "step 2: outcome is None, expected one, as it is the last"),
        (changed(1, outcome="failure"), "step 1: outcome is 'failure', expected None before"),
        (LONG[1:], "step 0: turn is 1, expected 0"),
        ([LONG[0], *LONG[2:]], "step 1: turn is 2, expected 1"),
        (changed(2, episode="other"), "step 2: episode is 'other', expected 'task"),
        (changed(2, next_state_key="x"), "step 3: state_key is 'task .*, expected 'x'"),
        (changed(0, decision=2), "step 0: decision is 2, expected 0 to 1"),
        (changed(3, outcome="won"), "step 3: would not read back: Invalid enum value 'won'"),
        (changed(3, cost=float("nan")), r"step 3: would not read back: .* at `\$.cost`"),
        (changed(3, raw="\ud83d"), "step 3: would not read back: .*surrogates not allowed"),
        (changed(3, raw=None), r"step 3: would not read back: .* at `\$.raw`"),
        (changed(3, measures={"a": object()}), "step 3: would not read back: .* is object"),
    ],
)
def test_an_episode_that_would_not_read_back_is_refused_and_leaves_no_trace(
    tmp_path, steps, message
):
    with RolloutWriter(tmp_path, CONFIG) as writer:
        writer.write(episode(0))
        with pytest.raises(ValueError, match=message):
            writer.write(steps)
    assert list(read_episodes(tmp_path)) == [episode(0)]


def test_an_episode_is_written_once(tmp_path):
    for _ in range(2):
        with RolloutWriter(tmp_path, CONFIG) as writer:
            if not writer.finished:
                writer.write(LONG)
            with pytest.raises(ValueError, match=f"{LONG[0].episode!r} is there already"):
                writer.write(LONG)
    assert list(read_episodes(tmp_path)) == [LONG]


def test_an_episode_with_another_number_of_helps_is_refused(tmp_path):
    other = episode(1, probabilities=(0.3, 0.1))
    for _ in range(2):
        with RolloutWriter(tmp_path, CONFIG) as writer:
            if not writer.finished:
                writer.write(episode(0))
            with pytest.raises(ValueError, match="probabilities has 2 numbers, expected 1 as in"):
                writer.write(other)
    assert list(read_episodes(tmp_path)) == [episode(0)]


def test_numbers_of_numpy_are_numbers(tmp_path):
    fields = dict(measures={"length": np.float32(0.5), "calls": np.int64(3)}, cost=np.float64(2))
    with RolloutWriter(tmp_path, CONFIG) as writer:
        writer.write(changed(3, **fields))
    (steps,) = read_episodes(tmp_path)
    assert steps == changed(3, measures={"length": 0.5, "calls": 3.0}, cost=2.0)
    assert json.loads((tmp_path / "shard-000001.jsonl").read_text().splitlines()[-1])["cost"] == 2
