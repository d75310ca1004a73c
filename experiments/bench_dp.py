"""Times `core.dp` beside other solvers on the same synthetic tables.

    python -m experiments.bench_dp --sizes=1000,10000 --families=layered --out=bench

Every measurement is a fresh process on one core. It solves a table for one cost of a call, or for
64. Solvers in float64 work to 1e-8 of the fixed point; float32 aims at 1e-6. Columns:

* build: the solver's own model of the table, from numpy arrays.
* cold: the first call, compilation included.
* warm: the median of later calls; "~" is scaled up from fewer costs.
* peak MB: memory at the peak, less that of the process with its imports and the instance.
* sweeps: of the slowest cost.
* ns: per transition, cost and sweep; a transition into a terminal does not count.
* floor: seconds, over those in which a triad of the same run would move the table once and the
  values [S, R] once in and once out, for every sweep. Below one: the values stay in the cache.
* dV0, dV: the largest difference from the reference at the start, and over all states.

Results are saved after every measurement; the same command goes on where a run was stopped.
"""

import os
import pathlib
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from absl import app, flags

from experiments import peers
from experiments.bench.cell import TOLERANCE
from experiments.bench.machine import describe, measure_triad
from experiments.bench.report import markdown
from experiments.bench.runner import Results, Runner, replace_text
from experiments.bench.tasks import Task, plan, time_left
from experiments.instances import FAMILIES, MIN_STATES

_SIZES = flags.DEFINE_list("sizes", ["1000", "10000", "100000", "1000000"], "Numbers of states.")
_FAMILIES = flags.DEFINE_list("families", ["layered", "random"], "Kinds of instances.")
_COSTS = flags.DEFINE_list("costs", ["1", "64"], "How many costs are solved.")
_DTYPES = flags.DEFINE_list("dtypes", list(TOLERANCE), "Types of values of core.dp.sweep.")
_PEERS = flags.DEFINE_list("peers", list(peers.PEERS), "Other solvers; may be empty.")
_FRONTIER_SIZES = flags.DEFINE_list(
    "frontier_sizes", ["1000", "100000"], "Numbers of states of layered frontiers; may be empty."
)
_FRONTIER_GAPS = flags.DEFINE_list("frontier_gaps", ["0", "1e-6"], "Gaps of the frontiers.")
_LIMIT = flags.DEFINE_float(
    "limit", 120.0, "Seconds for one measurement; a solver that needs more skips larger sizes."
)
_CORE = flags.DEFINE_integer("core", None, "Processor core to run on; the last one if not given.")
_PLATFORM = flags.DEFINE_string("platform", "cpu", "JAX_PLATFORMS of the measurements.")
_CLOCK = flags.DEFINE_enum(
    "clock", "cpu", ["cpu", "wall"], "Clock of the tables. cpu ignores other work on the machine."
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the instances.")
_OUT = flags.DEFINE_string("out", "bench", "Folder for bench_dp.json and bench_dp.md.")

_KINDS = {int: "a whole number", float: "a number"}
# The first one installed gives the values that the others are compared with.
_REFERENCES = ("numba-many", "scipy")


def _chosen(flag: flags.FlagHolder, known: Sequence[str]) -> list[str]:
    unknown = [value for value in flag.value if value not in known]
    if unknown:
        raise ValueError(
            f"--{flag.name}: {unknown[0]!r} is unknown; choose among {', '.join(known)}."
        )
    return list(dict.fromkeys(flag.value))


def _numbers(flag: flags.FlagHolder, kind: type, least: float) -> list:
    numbers = []
    for text in flag.value:
        try:
            number = kind(text)
        except ValueError:
            number = None
        if number is None or not number >= least:
            raise ValueError(
                f"--{flag.name}: {text!r} should be {_KINDS[kind]}, at least {least:g}."
            )
        numbers.append(number)
    return numbers


def _tasks(reference: str) -> list[Task]:
    return plan(
        sizes=_numbers(_SIZES, int, MIN_STATES),
        families=_chosen(_FAMILIES, list(FAMILIES)),
        seed=_SEED.value,
        costs=_numbers(_COSTS, int, 1),
        dtypes=_chosen(_DTYPES, list(TOLERANCE)),
        solvers=_chosen(_PEERS, list(peers.PEERS)),
        reference=reference,
        frontier_sizes=_numbers(_FRONTIER_SIZES, int, MIN_STATES),
        frontier_gaps=_numbers(_FRONTIER_GAPS, float, 0.0),
    )


def _core() -> int | None:
    """The processor core to stay on; None where a process cannot choose."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    allowed = os.sched_getaffinity(0)
    core = max(allowed) if _CORE.value is None else _CORE.value
    if core not in allowed:
        raise ValueError(f"--core: {core} is none of the cores allowed here, {sorted(allowed)}.")
    return core


def _results(path: pathlib.Path, machine: Mapping[str, Any]) -> Results:
    """The results so far, which must come from the same machine."""
    results = Results(path)
    before = results.data.get("machine", machine)
    for key in ("processor", "platform"):
        if before[key] != machine[key]:
            raise ValueError(
                f"--out: {path} holds figures of {key} {before[key]}, not of {machine[key]}; "
                "choose another folder."
            )
    return results


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"{argv[1]!r} is not a flag.")
    reference = next(name for name in _REFERENCES if peers.PEERS[name].installed())
    machine = describe(_PLATFORM.value)
    out = pathlib.Path(_OUT.value)
    try:
        tasks, core = _tasks(reference), _core()
        results = _results(out / "bench_dp.json", machine)
    except ValueError as error:
        raise SystemExit(f"bench_dp: {error}") from error
    out.mkdir(parents=True, exist_ok=True)
    if core is not None:
        os.sched_setaffinity(0, {core})
    results.data |= {"triad": measure_triad(), "reference": reference, "machine": machine}
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(
            folder=pathlib.Path(folder),
            results=results,
            reference=reference,
            limit=_LIMIT.value,
            core=core,
            platform=_PLATFORM.value,
        )
        left = runner.unfinished(tasks)
        print(f"{len(left)} of {len(tasks)} measurements to do.", flush=True)
        try:
            _run_all(runner, left)
        except KeyboardInterrupt:
            raise SystemExit("Stopped; the same command goes on from here.") from None
    results.save()
    report = markdown(results.data, _CLOCK.value)
    replace_text(out / "bench_dp.md", report)
    print(f"\n{report}")


def _run_all(runner: Runner, tasks: Sequence[Task]) -> None:
    """Runs the tasks and says after each how it went and how long the others may take."""
    done: list[tuple[Task, float]] = []
    for task in tasks:
        begin = time.monotonic()
        answer = runner.run(task)
        done.append((task, time.monotonic() - begin))
        took = answer["status"]
        if "warm" in answer:
            partial = answer.get("costs_solved", task.num_costs) < task.num_costs
            took = f"{'~' if partial else ''}{answer['warm']['wall']:.3g} s"
        minutes = time_left(done, tasks[len(done) :], runner.limit) / 60
        print(
            f"[{len(done)}/{len(tasks)}] {task}: {took}; about {minutes:.0f} min left", flush=True
        )


if __name__ == "__main__":
    app.run(main)
