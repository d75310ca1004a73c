"""The script bench_rollouts and its parts. How fast anything is, is not tested."""

import asyncio
import json
import mmap
import pathlib
import socket
import subprocess
import sys
import urllib.parse

import pytest

from adapters.completions import read_completion
from experiments.bench import chat_server
from experiments.bench.measure import Meter, ask
from experiments.bench.rollout_cases import CASES, Case
from experiments.bench.rollout_report import make_rows, markdown
from experiments.bench.tables import table

SIZES = {
    "tasks": 6,
    "world_steps": 50,
    "generated": 3,
    "episodes": 7,
    "calls": 20,
    "store_steps": 100,
}


def bench(*arguments):
    command = [sys.executable, "-m", "experiments.bench_rollouts", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def answer(count=100, cpu=1.0, wall=2.0, peak=50_000_000, added=1_000_000, note="a note"):
    memory = {"peak_bytes": peak, "added_bytes": added}
    return {"status": "ok", "count": count, "cpu": cpu, "wall": wall, **memory, "note": note}


def rows_of(cases, answers):
    return {row["name"]: row for row in make_rows(cases, answers)}


def test_script_measures_every_case_and_saves_the_table(tmp_path):
    pytest.importorskip("openai")
    sizes = [f"--{name}={size}" for name, size in SIZES.items()]
    done = bench(*sizes, "--repeats=1", f"--out={tmp_path}/out")

    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "bench_rollouts.json",
        "bench_rollouts.md",
    }, done.stderr
    saved = json.loads((tmp_path / "out" / "bench_rollouts.json").read_text())
    assert saved["sizes"] == SIZES
    rows = {row["name"]: row for row in saved["rows"]}
    assert list(rows) == [case.name for case in CASES]
    for name, row in rows.items():
        assert row["status"] == "ok", (name, row)
        assert min(row["each_cpu_second"], row["each_second"], row["peak_bytes"]) > 0, name
        assert 0 <= row["added_bytes"] < row["peak_bytes"], name
    assert done.returncode == (not all(row["kept"] for row in rows.values()))

    counts = {name: row["answers"][0]["count"] for name, row in rows.items()}
    assert counts["steps, with keys"] >= SIZES["world_steps"]
    assert counts["tasks generated"] == SIZES["generated"]
    by_group = {}
    for row in saved["rows"]:
        by_group.setdefault(row["group"], set()).add(counts[row["name"]])
    assert by_group["episodes"] == {SIZES["episodes"]}
    assert by_group["calls"] == {SIZES["calls"]}
    written = counts["steps written"]
    assert written >= SIZES["store_steps"]
    assert counts["steps read"] == counts["steps counted"] == written
    assert counts["lines parsed, untyped"] == written + 1  # one shard, with a header

    text = (tmp_path / "out" / "bench_rollouts.md").read_text()
    assert text == markdown(saved)
    assert text in done.stdout


def test_a_measurement_over_the_limit_is_named_and_the_script_says_that_it_failed(tmp_path):
    done = bench("--groups=world", "--limit=0.1", "--repeats=2", f"--out={tmp_path}")
    assert done.returncode == 1
    assert done.stdout.count("> 0.1 s") == 2
    saved = json.loads((tmp_path / "bench_rollouts.json").read_text())
    assert [row["status"] for row in saved["rows"]] == ["> 0.1 s"] * 2


def test_script_names_the_group_it_does_not_know(tmp_path):
    done = bench("--groups=world,stores", f"--out={tmp_path}/out")
    assert done.stderr.strip() == (
        "bench_rollouts: --groups: 'stores', expected some of world, episodes, calls, store."
    )
    assert done.returncode == 1
    assert not (tmp_path / "out").exists()


def test_row_has_medians_of_rates_and_the_largest_memory():
    case = Case("world", "steps", measure=None)
    answers = [
        answer(cpu=1.0, wall=10.0, peak=3, added=1),
        answer(cpu=4.0, wall=5.0, peak=9, added=0),
        answer(cpu=2.0, wall=4.0, peak=5, added=2),
    ]
    row = rows_of([case], {"steps": answers})["steps"]
    assert (row["each_cpu_second"], row["each_second"]) == (50.0, 20.0)
    assert (row["peak_bytes"], row["added_bytes"]) == (9, 2)
    assert row["kept"]


@pytest.mark.parametrize(
    ("rate", "of_parser", "promised", "kept"),
    [(250, 400, 200, True), (150, 400, 200, False), (150, 120, 120, True), (150, 160, 160, False)],
)
def test_promise_is_the_lower_of_the_number_and_the_limiting_case(rate, of_parser, promised, kept):
    cases = [
        Case("store", "counted", measure=None, promised=200, limited_by="parsed"),
        Case("store", "parsed", measure=None),
    ]
    answers = {"counted": [answer(count=rate)], "parsed": [answer(count=of_parser)]}
    row = rows_of(cases, answers)["counted"]
    assert (row["promised"], row["kept"]) == (promised, kept)
    failed = {"status": "failed", "reason": "no memory"}
    row = rows_of(cases, answers | {"parsed": [failed]})["counted"]
    assert (row["promised"], row["kept"]) == (200, rate >= 200)


def test_table_shows_broken_promises_and_failures():
    cases = [
        Case("world", "steps", measure=None, promised=100_000),
        Case("store", "counted", measure=None, promised=200),
        Case("store", "parsed", measure=None),
    ]
    answers = {
        "steps": [answer(count=50_000)],
        "counted": [answer(count=1234)],
        "parsed": [answer(), {"status": "failed", "reason": "no memory"}],
    }
    machine = {"processor": "a processor", "load": 0.5, "python": "3", "versions": {"numpy": "2"}}
    results = {"machine": machine, "sizes": {"calls": 1000}, "repeats": 2}
    text = markdown(results | {"rows": make_rows(cases, answers)})
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert cells[-3:] == [
        ["world", "steps", "50,000", "25,000", "50", "1", "100,000 BROKEN", "a note"],
        ["store", "counted", "1,234", "617", "50", "1", "200", "a note"],
        ["store", "parsed", "failed", "", "", "", "", "no memory"],
    ]
    assert (
        "a processor, load 0.5; Python 3, numpy 2. Measured 2 times, medians; calls 1,000." in text
    )


def test_table_aligns_columns():
    text = table(("what", "n"), [("long name", "1"), ("x", "1,000")], right=[1])
    assert text.splitlines() == [
        "| what      |     n |",
        "| --------- | ----: |",
        "| long name |     1 |",
        "| x         | 1,000 |",
    ]
    assert table(("what", "n"), []) == ""


def test_server_speaks_chat_completions_and_ends_with_connections_open():
    with chat_server.serving() as base_url:
        answers = asyncio.run(chat_server.call_plainly(base_url, b"{}", calls=7, connections=3))
        assert len(answers) == 7
        [completion] = {read_completion(body) for body in answers}
        assert completion.text == chat_server.REPLY
        assert completion.finish_reason == "stop"
        assert completion.input_tokens > completion.output_tokens > 0

        url = urllib.parse.urlsplit(base_url)
        connection = socket.create_connection((url.hostname, url.port))
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: here\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 404 ")
    with connection:
        assert connection.recv(1000).count(b"HTTP/1.1") == 0  # no more answers; it is closed
        assert connection.recv(1000) == b""


def test_plain_client_refuses_what_is_no_answer():
    async def refused():
        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n{}")
            writer.write(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(ExceptionGroup) as raised:
                await chat_server.call_plainly(f"http://127.0.0.1:{port}/v1", b"{}", 1, 1)
        assert "HTTP/1.1 500 Oh" in str(raised.value.exceptions[0])

    asyncio.run(refused())


def test_a_measurement_that_fails_says_why(tmp_path):
    request = {"case": "no such case", "sizes": SIZES, "folder": str(tmp_path)}
    found = ask("experiments.bench.rollout_cases", request, limit=60)
    assert found["status"] == "failed"
    assert "ValueError" in found["reason"]


@pytest.mark.skipif(
    not pathlib.Path("/proc/self/clear_refs").exists(), reason="the peak cannot be set back here"
)
def test_meter_adds_up_pieces_and_counts_the_memory_of_the_work_alone():
    mmap.mmap(-1, 1 << 26).close()
    meter, held = Meter(), []
    for _ in range(2):
        with meter:  # pages of its own: the heap may have room left from other tests
            held.append(mmap.mmap(-1, 1 << 24))
            for _ in range(16):
                held[-1].write(b"x" * (1 << 20))
    first = meter.result(2, "two pieces")
    assert (first["count"], first["note"]) == (2, "two pieces")
    assert 0.9 < first["added_bytes"] / (2 << 24) < 1.5
    assert first["peak_bytes"] > first["added_bytes"]
    with meter:
        sum(range(200_000))
    again = meter.result(3)
    assert again["cpu"] > first["cpu"] > 0
    assert again["wall"] > first["wall"] > 0
