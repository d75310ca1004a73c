"""Times worlds, episodes, calls of a server and the rollout store.

    python -m experiments.bench_rollouts
    python -m experiments.bench_rollouts --groups=store --store_steps=10000000 --repeats=1

Every measurement is a fresh process; all are done `--repeats` times, in turn, and the table has
medians. Each keeps one core busy, and the server, a process of its own, another one, if there is
one; `taskset -c 1` keeps all on one. Columns:

* each CPU s: how many are done in a second of processor time of the measured process: other work
  on the machine counts little, the server's work does not count.
* each s: how many in a second by the wall clock.
* peak MB: memory at the peak; added MB: less that before the work, with imports and inputs.
* promised: for each CPU s. Exits with 1 if a promise is broken or a measurement failed; one that
  needs what is not installed is skipped.

The table is saved as bench_rollouts.json and bench_rollouts.md.
"""

import dataclasses
import json
import pathlib
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from absl import app, flags

from experiments.bench import machine
from experiments.bench.measure import ask
from experiments.bench.rollout_cases import CASES, Case
from experiments.bench.rollout_report import make_rows, markdown
from experiments.bench.rollout_work import Sizes
from experiments.bench.runner import replace_text
from experiments.progress import Progress

_GROUPS = flags.DEFINE_list("groups", list(dict.fromkeys(c.group for c in CASES)), "Of the cases.")
_TASKS = flags.DEFINE_integer("tasks", 60, "Tasks played.", lower_bound=1, upper_bound=3000)
_WORLD_STEPS = flags.DEFINE_integer("world_steps", 50_000, "Steps of the world.", lower_bound=1)
_GENERATED = flags.DEFINE_integer(
    "generated", 300, "Tasks generated.", lower_bound=1, upper_bound=3000
)
_EPISODES = flags.DEFINE_integer("episodes", 400, "Episodes of each actor.", lower_bound=1)
_CALLS = flags.DEFINE_integer("calls", 256, "Calls of the server each.", lower_bound=1)
_STORE_STEPS = flags.DEFINE_integer("store_steps", 80_000, "Steps in the store.", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 3, "Of each measurement.", lower_bound=1)
_LIMIT = flags.DEFINE_float("limit", 600.0, "Seconds for one measurement.", lower_bound=0.1)
_OUT = flags.DEFINE_string("out", "bench", "Folder of the table.")

_MODULE = "experiments.bench.rollout_cases"
_PACKAGES = ("msgspec", "numpy", "openai", "jax", "flax", "transformers")


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        sys.exit(f"bench_rollouts: unexpected argument {argv[1]!r}.")
    known = dict.fromkeys(case.group for case in CASES)
    for group in _GROUPS.value:
        if group not in known:
            sys.exit(f"bench_rollouts: --groups: {group!r}, expected some of {', '.join(known)}.")
    cases = [case for case in CASES if case.group in _GROUPS.value]
    sizes = Sizes(
        tasks=_TASKS.value,
        world_steps=_WORLD_STEPS.value,
        generated=_GENERATED.value,
        episodes=_EPISODES.value,
        calls=_CALLS.value,
        store_steps=_STORE_STEPS.value,
    )
    out = pathlib.Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    found = machine.describe(jax_platform="cpu") | {"versions": machine.versions(_PACKAGES)}
    try:
        rows = make_rows(cases, _measured(cases, sizes))
    except KeyboardInterrupt:
        sys.exit("bench_rollouts: interrupted; nothing was saved.")
    results = {
        "machine": found,
        "sizes": dataclasses.asdict(sizes),
        "repeats": _REPEATS.value,
        "rows": rows,
    }
    report = markdown(results)
    replace_text(out / "bench_rollouts.json", json.dumps(results, indent=1))
    replace_text(out / "bench_rollouts.md", report)
    print(report)
    sys.exit(0 if all(row["status"] in ("ok", "skipped") and row["kept"] for row in rows) else 1)


def _measured(cases: Sequence[Case], sizes: Sizes) -> dict[str, list[dict[str, Any]]]:
    """The answers of each case, by its name; a case that fails is not tried again."""
    answers: dict[str, list[dict[str, Any]]] = {case.name: [] for case in cases}
    progress = Progress("bench_rollouts", len(cases) * _REPEATS.value)
    with tempfile.TemporaryDirectory() as folder:
        shared = {"sizes": dataclasses.asdict(sizes), "folder": f"{folder}/rollouts"}
        for _ in range(_REPEATS.value):
            for case in cases:
                before = answers[case.name]
                if all(answer["status"] == "ok" for answer in before):
                    request = {"case": case.name, **shared}
                    before.append(ask(_MODULE, request, limit=_LIMIT.value))
                progress.add(lambda case=case: f"{case.group}: {case.name}")
    progress.end()
    return answers


if __name__ == "__main__":
    app.run(main)
