"""The cache of answers: what it finds, what survives a kill, what it refuses."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading

import pytest

from adapters.completions import Answer
from adapters.reply_cache import ReplyCache, digest

ANSWER = Answer("Action: look ☃\n", "stop", 10, 5)
REQUEST = {"model": "m", "messages": [{"role": "user", "content": "☃"}], "temperature": 0.0}


def key(i: int) -> bytes:
    return digest({"i": i})


def run(program: str, *args, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, args)],
        stdout=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "replies.sqlite"


@pytest.mark.parametrize(
    "answer", [ANSWER, Answer("", None, None, None), Answer("x", "length", 0, 1)]
)
def test_what_was_put_is_found_also_after_reopening(path, answer):
    with ReplyCache(path) as cache:
        assert cache.get(key(1)) is None
        cache.put(key(1), answer)
        assert cache.get(key(1)) == answer
    with ReplyCache(path) as cache:
        assert cache.get(key(1)) == answer and cache.get(key(2)) is None
        assert len(cache) == 1


def test_the_first_answer_stays(path):
    with ReplyCache(path) as cache:
        cache.put(key(1), ANSWER)
        cache.put(key(1), ANSWER._replace(text="other"))
        assert cache.get(key(1)) == ANSWER


def test_digests_differ_where_requests_do():
    requests = [
        REQUEST,
        {**REQUEST, "model": "n"},
        {**REQUEST, "temperature": 0.5},
        {**REQUEST, "seed": 1},
        {**REQUEST, "messages": [{"role": "user", "content": "☂"}]},
        {**REQUEST, "messages": REQUEST["messages"] * 2},
    ]
    assert len({digest(request) for request in requests}) == len(requests)
    assert digest(dict(reversed(REQUEST.items()))) == digest(REQUEST)


def test_digests_stay_the_same_from_version_to_version():
    # Otherwise every cache is lost and paid for again.
    assert digest(REQUEST).hex() == (
        "8cd0c2ff56ba5388aca9248f100e6604d328abafd341b122853a9a1da398b775"
    )


def test_what_is_no_json_has_no_digest():
    with pytest.raises(TypeError):
        digest({"x": {1, 2}})
    with pytest.raises(ValueError, match="Out of range"):
        digest({"x": float("nan")})


def test_threads_may_share_a_cache(path):
    with ReplyCache(path) as cache:

        def work(first):
            for i in range(first, first + 100):
                cache.put(key(i), ANSWER)
                assert cache.get(key(i)) == ANSWER

        threads = [threading.Thread(target=work, args=(100 * i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(cache) == 400


def test_processes_may_open_and_fill_one_file_at_once(path):
    program = """
        import sys
        from adapters.completions import Answer
        from adapters.reply_cache import ReplyCache, digest
        with ReplyCache(sys.argv[1]) as cache:
            for i in range(200):
                cache.put(digest({"i": i + int(sys.argv[2])}), Answer(str(i), "stop", 1, 1))
    """
    children = [run(program, path, 100 * i) for i in range(4)]  # they overlap by half
    assert [child.wait(60) for child in children] == [0, 0, 0, 0]
    for child in children:
        child.stdout.close()
    with ReplyCache(path) as cache:
        assert len(cache) == 500


def test_what_was_put_survives_a_kill(path):
    program = """
        import sys
        from adapters.completions import Answer
        from adapters.reply_cache import ReplyCache, digest
        cache = ReplyCache(sys.argv[1])
        for i in range(10**9):
            cache.put(digest({"i": i}), Answer(f"answer {i} " + "x" * 3000, "stop", 1, 1))
            print(i, flush=True)
    """
    for _ in range(3):  # the second and third child find what the one before them left
        child = run(program, path)
        lines = [child.stdout.readline() for _ in range(150)]
        os.kill(child.pid, signal.SIGKILL)
        lines += child.stdout.read().splitlines(keepends=True)
        child.stdout.close()
        assert child.wait(60) == -signal.SIGKILL
        done = [int(line) for line in lines if line.endswith("\n")]
        assert len(done) >= 150
        with ReplyCache(path) as cache:
            for i in done:
                assert cache.get(key(i)).text.startswith(f"answer {i} ")
            assert len(cache) >= len(done)


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough " * 100, b"SQLite format 3\0" * 99]
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"replies.sqlite: no reply cache, or damaged.*remove it"):
        ReplyCache(path)
    assert path.read_bytes() == content


def test_a_database_of_something_else_is_refused_and_left_alone(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE songs (name TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ValueError, match="replies.sqlite: no reply cache of this version: applic"):
        ReplyCache(path)
    assert path.read_bytes() == before


def test_another_version_is_refused(path):
    ReplyCache(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(ValueError, match="user_version is 2, expected 1"):
        ReplyCache(path)


def test_damage_within_an_answer_is_noticed(path):
    with ReplyCache(path) as cache:
        cache.put(key(1), ANSWER)
    path.write_bytes(path.read_bytes().replace(b"Action: look", b"Action: lock", 1))
    with ReplyCache(path) as cache:
        with pytest.raises(ValueError, match=r"replies.sqlite: the answer to .* is damaged"):
            cache.get(key(1))


def test_a_damaged_page_is_told(path):
    with ReplyCache(path) as cache:
        for i in range(200):
            cache.put(key(i), ANSWER._replace(text="x" * 1000))
    content = bytearray(path.read_bytes())
    content[8192:-4096] = bytes(len(content) - 8192 - 4096)
    path.write_bytes(content)

    def read_all():
        with ReplyCache(path) as cache:
            for i in range(200):
                cache.get(key(i))

    with pytest.raises(ValueError, match=r"replies.sqlite: .*remove it"):
        read_all()


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(OSError, match=r"none/replies.sqlite: unable to open"):
        ReplyCache(tmp_path / "none" / "replies.sqlite")


def test_a_folder_in_its_place_is_told(path):
    path.mkdir()
    with pytest.raises(OSError, match="replies.sqlite: unable to open"):
        ReplyCache(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_may_not_be_written_is_told(path):
    ReplyCache(path).close()
    path.chmod(stat.S_IRUSR)
    path.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(OSError, match="replies.sqlite"):
            ReplyCache(path).put(key(1), ANSWER)
    finally:
        path.parent.chmod(stat.S_IRWXU)


def test_a_full_disk_is_told_and_what_was_there_stays(path):
    # With no more pages to be had SQLite says what it says of a full disk.
    with ReplyCache(path) as cache:
        cache.put(key(0), ANSWER)
        cache._connection.execute("PRAGMA max_page_count = 8")
        with pytest.raises(OSError, match="replies.sqlite: database or disk is full"):
            cache.put(key(1), ANSWER._replace(text="x" * 100_000))
        assert cache.get(key(0)) == ANSWER
    with ReplyCache(path) as cache:
        assert cache.get(key(0)) == ANSWER


def test_a_closed_cache_says_so(path):
    cache = ReplyCache(path)
    cache.close()
    with pytest.raises(OSError, match="replies.sqlite: Cannot operate on a closed database"):
        cache.get(key(1))


def test_a_cache_is_not_used_across_a_fork(path):
    program = """
        import os, sys
        from adapters.reply_cache import ReplyCache
        with ReplyCache(sys.argv[1]) as cache:
            child = os.fork()
            if child == 0:
                try:
                    cache.get(b"x")
                except RuntimeError as error:
                    print(error, flush=True)
                os._exit(0)
            os.waitpid(child, 0)
    """
    child = run(program, path)
    out, _ = child.communicate(timeout=60)
    assert out == f"{path}: opened in another process; open it in this one\n"
