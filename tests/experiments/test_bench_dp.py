import dataclasses
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from experiments import instances, peers
from experiments.bench import cell, machine, report, runner, tasks
from experiments.bench.cell import FRONTIER, SWEEP, Cell
from experiments.bench.runner import Results, Runner
from experiments.bench.tasks import Task


def small_plan(**changes):
    arguments = {
        "sizes": [100, 200],
        "families": ["layered", "random"],
        "seed": 0,
        "costs": [1, 4],
        "dtypes": ["float32", "float64"],
        "solvers": ["scipy", "numba-many"],
        "reference": "scipy",
        "frontier_sizes": [150],
        "frontier_gaps": [0.0, 0.1],
    }
    return tasks.plan(**(arguments | changes))


def make_runner(tmp_path, **changes):
    folder = tmp_path / "work"
    folder.mkdir(exist_ok=True)
    arguments = {
        "folder": folder,
        "results": Results(tmp_path / "results.json"),
        "reference": "scipy",
        "limit": 10.0,
        "core": None,
        "platform": "cpu",
    }
    return Runner(**(arguments | changes))


def answer_of(request, tmp_path):
    """What `bench.cell` measures for a request, with a small layered instance."""
    instance = instances.layered(100)
    instance.save(tmp_path / "instance.npz")
    return cell.measure(
        Cell(
            **{
                "instance": str(tmp_path / "instance.npz"),
                "answer": str(tmp_path / "answer.json"),
                "core": None,
                "budget": 0.1,
            }
            | request
        )
    )


def test_plan_has_every_task_once_small_sizes_and_references_first():
    plan = small_plan()
    assert len(set(plan)) == len(plan) == 2 * 2 * 2 * 4 + 2
    assert [task.size for task in plan] == sorted(task.size for task in plan)
    groups = {}
    for task in plan:
        groups.setdefault((task.instance, task.num_costs), []).append(task.solver)
    assert groups.pop(("layered-150-0", 0)) == [FRONTIER] * 2
    assert all(names == ["scipy", SWEEP, SWEEP, "numba-many"] for names in groups.values())


def test_reference_is_measured_though_not_asked_for():
    plan = small_plan(solvers=[], dtypes=[], frontier_sizes=[])
    assert {task.solver for task in plan} == {"scipy"}


@pytest.mark.skipif(not peers.PEERS["numba-many"].installed(), reason="numba is not installed")
def test_finished_tasks_are_kept_over_a_restart(tmp_path):
    plan = small_plan(sizes=[100], families=["random"], dtypes=[], frontier_sizes=[])
    first = make_runner(tmp_path)
    assert first.unfinished(plan) == plan
    for task in plan[:2]:
        first.results.record(task, {"status": "ok"})
    again = make_runner(tmp_path)
    assert again.unfinished(plan) == plan[2:]
    again.results.record(plan[2], {"status": "ok"})
    # The last one needs the values of its reference, which were not saved.
    assert make_runner(tmp_path).unfinished(plan) == plan[2:]
    again.results.record(plan[3], {"status": "ok"})
    assert make_runner(tmp_path).unfinished(plan) == []


def test_a_solver_over_the_limit_skips_larger_sizes_until_the_limit_is_raised(tmp_path):
    small, large, other = (
        Task("random", 100, 0, SWEEP, 4),
        Task("random", 200, 0, SWEEP, 4),
        Task("random", 200, 0, SWEEP, 1),
    )
    results = make_runner(tmp_path).results
    results.record(small, {"status": "> 10 s", "limit": 10.0})
    assert make_runner(tmp_path).run(large) == {"status": "skipped > 10 s", "limit": 10.0}
    results = Results(tmp_path / "results.json")
    assert not results.too_slow(small, 10.0)
    assert not results.too_slow(other, 10.0)
    assert results.finished(small, 10.0)
    assert results.finished(large, 10.0)
    assert not results.finished(large, 20.0)
    assert not results.too_slow(large, 20.0)


def test_failures_tell_why_and_are_tried_again(tmp_path):
    task = Task("random", 100, 0, "scipy", 1)
    run = make_runner(tmp_path, core=10**6)  # no such core
    answer = run.run(task)
    assert answer["status"] == "failed"
    assert "OSError" in answer["reason"]
    assert run.unfinished([task]) == [task]


def test_time_limit_ends_a_measurement(tmp_path):
    task = Task("random", 100, 0, "scipy", 1)
    answer = make_runner(tmp_path, limit=0.01, reference="none").run(task)
    assert answer == {"status": "> 0.01 s", "limit": 0.01}


def test_missing_packages_and_large_tables_are_listed(tmp_path, monkeypatch):
    absent = peers.Peer("no_such_solver", "scipy_csr", "value_iteration")
    tiny = dataclasses.replace(peers.PEERS["scipy"], max_states=99)
    monkeypatch.setattr(runner.peers, "PEERS", {"absent": absent, "tiny": tiny})
    run = make_runner(tmp_path)
    assert run.run(Task("random", 100, 0, "absent", 1)) == {"status": "not installed"}
    assert run.run(Task("random", 100, 0, "tiny", 1)) == {"status": "more than 99 states"}
    assert set(Results(tmp_path / "results.json").data["cells"]) == {
        "random/100/0/absent/1/float64/0.0",
        "random/100/0/tiny/1/float64/0.0",
    }


def test_solvers_are_compared_with_the_values_of_the_reference(tmp_path):
    run = make_runner(tmp_path, limit=60.0)
    task = Task("layered", 100, 0, "scipy", 3)
    answer = run.run(task)
    assert answer["status"] == "ok", answer
    assert "value_difference" not in answer  # from itself
    values = tmp_path / "work" / "layered-100-0-3.npy"
    np.save(values, np.load(values) + [0.0, 0.0, 0.5])
    answer = dataclasses.replace(run, reference="another").run(task)
    assert answer["value_difference"] == pytest.approx(0.5)
    assert answer["start_difference"] == pytest.approx(0.5)
    assert answer["costs_solved"] == 3
    assert answer["warm"]["wall"] > 0
    assert run.results.data["instances"]["layered-100-0"] == {
        "states": 98,
        "rows": 196,
        "transitions": int((instances.layered(100).next_state < 98).sum()),
        "discount": 0.99,
    }


@pytest.mark.parametrize(("dtype", "accuracy"), [("float32", 1e-5), ("float64", 2e-8)])
def test_sweep_is_measured_and_compared(dtype, accuracy, tmp_path):
    problem = peers.from_instance(instances.layered(100))
    np.save(tmp_path / "values.npy", peers.PEERS["scipy"].build(problem)(cell.costs(3)))
    request = {"solver": SWEEP, "num_costs": 3, "dtype": dtype}
    answer = answer_of(request | {"reference": f"{tmp_path}/values.npy"}, tmp_path)
    assert answer["value_difference"] <= accuracy
    assert answer["calls"] >= 3
    assert answer["iterations_max"] <= answer["iterations_sum"] <= 3 * answer["iterations_max"]
    assert answer["converged"] or dtype == "float32"


def test_frontier_is_measured(tmp_path):
    answer = answer_of({"solver": FRONTIER, "gap": 1e-3}, tmp_path)
    assert answer["vertices"] > 2
    assert answer["gap_left"] <= 1e-3


def test_a_small_budget_solves_some_costs_and_scales_up(tmp_path):
    full = np.zeros((98, 50))
    np.save(tmp_path / "values.npy", full)
    answer = answer_of(
        {"solver": "scipy", "num_costs": 50, "budget": 1e-6, "reference": f"{tmp_path}/values.npy"},
        tmp_path,
    )
    assert answer["costs_solved"] == 1
    assert answer["calls"] == 1
    value = peers.PEERS["scipy"].build(peers.from_instance(instances.layered(100)))
    expected = value(cell.costs(50)[25:26])
    assert answer["value_difference"] == pytest.approx(expected.max())


def test_costs_spread_over_three_decades():
    assert cell.costs(1) == pytest.approx([10**-1.5])
    assert cell.costs(4) == pytest.approx([1e-3, 1e-2, 1e-1, 1])


@pytest.mark.parametrize(
    ("seconds_each", "expected"),
    [(0.01, [0, 1, 2, 3, 4, 5, 6]), (0.3, [0, 3, 6]), (5.0, [3])],
)
def test_affordable_costs_are_spread_evenly(seconds_each, expected):
    assert cell._affordable(7, seconds_each, budget=1.0).tolist() == expected


def test_repeats_stop_at_the_budget_but_not_before_the_least():
    calls = []
    seconds, count = cell._repeated(lambda: calls.append(1), budget=-1.0, at_least=3)
    assert len(calls) == count == 3
    assert set(seconds) == {"wall", "cpu"}
    _, count = cell._repeated(lambda: None, budget=60.0, at_most=4)
    assert count == 4
    earlier = ({"wall": 1.0, "cpu": 1.0},)
    assert cell._repeated(calls.clear, budget=0.5, before=earlier) == (earlier[0], 1)


@pytest.mark.skipif(
    not pathlib.Path("/proc/self/clear_refs").exists(), reason="the peak cannot be set back here"
)
def test_peak_memory_is_that_of_the_process_from_now_on():
    # The process that starts this one is larger, and ru_maxrss would be passed on.
    ballast = np.ones(2**25)
    code = """if True:
        import numpy
        from experiments.bench.measure import forget_peak_memory, peak_memory
        numpy.ones(2**24)
        forget_peak_memory()
        before = peak_memory()
        array = numpy.ones(2**23)
        print((peak_memory() - before) / array.nbytes)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 0.9 < float(done.stdout) < 1.5, (done, ballast.nbytes)


def test_time_left_grows_with_the_work_left():
    small, large = Task("random", 100, 0, "scipy", 1), Task("random", 1000, 0, "scipy", 1)
    assert tasks.time_left([(small, 3.0)], [], limit=60) == 0
    assert tasks.time_left([(small, 3.0)], [large], limit=60) == pytest.approx(2 + 10)
    assert tasks.time_left([(small, 3.0)], [large], limit=5) == 5
    assert tasks.time_left([(small, 0.1)], [large], limit=60) == 2


def test_triad_is_a_speed_of_memory():
    assert 1e8 < machine.measure_triad(num_items=2**20, repeats=2) < 1e13


def test_floor_counts_table_and_values():
    instance = {"states": 10, "rows": 20, "transitions": 30}
    assert report.bytes_per_sweep(instance, 4, "float32") == 30 * 8 + 20 * 4 + 2 * 40 * 4
    assert report.bytes_per_sweep(instance, 4, "float64") == 30 * 12 + 20 * 8 + 2 * 40 * 8


def test_report_of_known_results():
    seconds = {"cpu": 2.0, "wall": 4.0}
    common = {"status": "ok", "build": {"cpu": 1.0, "wall": 1.0}, "warm": seconds, "calls": 3}
    common |= {"peak_bytes": 3_000_000}
    sweep = common | {"cold": {"cpu": 5.0, "wall": 5.0}, "converged": True}
    sweep |= {"iterations_max": 10, "iterations_sum": 25}
    sweep |= {"start_difference": 1e-7, "value_difference": 2e-7}
    results = {
        "triad": 1e9,
        "reference": "scipy",
        "machine": {
            "processor": "a processor",
            "load": 0.5,
            "python": "3",
            "versions": {"jax": "1"},
        },
        "instances": {
            "random-100-0": {"states": 98, "rows": 196, "transitions": 1000, "discount": 0.95}
        },
        "cells": {},
    }
    lines = [
        (Task("random", 100, 0, "scipy", 4), common | {"costs_solved": 2}),
        (Task("random", 100, 0, SWEEP, 4, "float32"), sweep),
        (Task("random", 100, 0, SWEEP, 4), sweep | {"converged": False}),
        (Task("random", 100, 0, "storm-pi", 4), {"status": "not installed"}),
        (Task("random", 100, 0, "mdpax", 4), {"status": "failed", "reason": "no memory"}),
        (
            Task("random", 100, 0, FRONTIER, gap=0.1),
            common | {"cold": sweep["cold"], "vertices": 12, "gap_left": 0.05, "complete": True},
        ),
    ]
    for task, answer in lines:
        fields = dataclasses.asdict(task) | {"instance": task.instance}
        results["cells"][task.key()] = fields | answer
    text = report.markdown(json.loads(json.dumps(results)), "cpu")

    table = {
        tuple(words[:2]): words[2:]
        for line in text.splitlines()
        if line.startswith("| ")
        for words in [[word.strip() for word in line.strip("|").split("|")]]
    }
    assert table["scipy", "float64"] == ["1", "", "~2", "3", "", "", "", "", ""]
    # 2 s / (1000 transitions * 25 sweeps of a cost); 10 sweeps * 11920 bytes / 1e9 bytes a second.
    assert table[SWEEP, "float32"][:7] == ["1", "5", "2", "3", "10", "8e+04", "1.7e+04"]
    assert table[SWEEP, "float32"][7:] == ["1e-07", "2e-07"]
    assert table[SWEEP, "float64"][4] == "10 (not converged)"
    assert table["storm-pi", "float64"][2] == "not installed"
    assert table["random-100-0", "4"] == ["float64", "3"]
    assert table["random-100-0", "0.1"] == ["12", "0.05", "5", "2", "3"]
    assert "random-100-0, R=4, mdpax float64: no memory" in text
    assert "a processor, one core, 1.0 GB/s on a triad, load 0.5" in text
    widths = {len(line) for line in text.splitlines() if line.startswith("| ")}
    assert len(widths) == 3  # one for each table
    assert "~4" in report.markdown(results, "wall")


def bench(*arguments):
    command = [sys.executable, "-m", "experiments.bench_dp", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_script_saves_tables_and_goes_on_where_it_stopped(tmp_path):
    command = ("--sizes=64", "--families=layered", "--costs=2", "--dtypes=", "--peers=scipy")
    command += ("--frontier_sizes=", f"--out={tmp_path}/out")
    first = bench(*command)
    assert not first.returncode, first.stderr
    saved = json.loads((tmp_path / "out" / "bench_dp.json").read_text())
    assert {c["status"] for c in saved["cells"].values()} == {"ok"}
    text = (tmp_path / "out" / "bench_dp.md").read_text()
    assert "## layered-64-0, 2 costs" in text
    assert text in first.stdout

    again = bench(*command)
    assert "0 of" in again.stdout
    assert json.loads((tmp_path / "out" / "bench_dp.json").read_text())["cells"] == saved["cells"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--sizes=10,1e3", "--sizes: '10' should be a whole number, at least 64"),
        ("--costs=0", "--costs: '0' should be a whole number, at least 1"),
        ("--frontier_gaps=nan", "--frontier_gaps: 'nan' should be a number, at least 0"),
        (
            "--families=layerd",
            "--families: 'layerd' is unknown; choose among layered, scattered, random",
        ),
        ("--peers=strom", "--peers: 'strom' is unknown; choose among storm-pi"),
        ("--dtypes=float16", "--dtypes: 'float16' is unknown; choose among float32, float64"),
        ("--core=-1", "--core: -1 is none of the cores allowed here"),
    ],
)
def test_script_names_the_flag_and_the_value_it_cannot_use(argument, message, tmp_path):
    done = bench(argument, f"--out={tmp_path}/out")
    assert done.returncode
    assert message in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_script_refuses_figures_of_another_machine_and_broken_files(tmp_path):
    saved = tmp_path / "bench_dp.json"
    machine_of_saved = {"processor": "another", "platform": "cpu"}
    saved.write_text(json.dumps({"machine": machine_of_saved, "instances": {}, "cells": {}}))
    done = bench(f"--out={tmp_path}")
    assert "holds figures of processor another" in done.stderr.splitlines()[-1]
    saved.write_text("{")
    done = bench(f"--out={tmp_path}")
    assert f"{saved} is not JSON" in done.stderr.splitlines()[-1]
