"""Times the language models: training, scoring, generation, beside PyTorch's `transformers`.

    python -m experiments.bench_models
    taskset -c 0 python -m experiments.bench_models --repeats=1 --groups=scoring,growing

On a CPU both sides get the same random weights, the same texts and as many threads, and what they
compute is compared: losses, scores, tokens. PyTorch comes with the extra `parity`; where it is not
installed there is no ratio. It is taken as it is, without its compiler. The cases:

* training: SFT, `models.training.train` without checkpoints; the same batches on both sides.
* scoring: a head at the last token of each state's text; each side batches as suits it.
* growing: all states of transcripts of 12 turns in one pass, beside a pass for each state.
* generation: greedy, 128 tokens a prompt, 10 new ones.

Every measurement is a fresh process that warms up first; all are done `--repeats` times, in turn,
and the table has medians. A promise is kept if the ratios by processor time and by the wall clock
both reach it. On an accelerator a model of 3 billion parameters is measured, too, beside the peaks
of the device. Exits with 1 if a promise is broken or a measurement failed. The tables are saved as
bench_models.json and bench_models.md.

`--estimate=h200` measures nothing: see `experiments.bench.estimate`.
"""

import dataclasses
import importlib.util
import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from absl import app, flags

from experiments.bench import machine
from experiments.bench.measure import ask
from experiments.bench.model_cases import (
    ACCELERATOR,
    GROUPS,
    PYTORCH,
    Case,
    Side,
    accelerator_cases,
    cpu_cases,
)
from experiments.bench.model_report import NOT_INSTALLED, device_row, make_rows, markdown
from experiments.bench.model_setup import ARCHITECTURES, Setup
from experiments.bench.roofline import DEVICES, Device, device
from experiments.bench.runner import replace_text
from experiments.progress import Progress

_MODELS = flags.DEFINE_list("models", ["1.3M", "11M"], f"Of {', '.join(ARCHITECTURES)}.")
_GROUPS = flags.DEFINE_list("groups", list(GROUPS), "Of the cases on the CPU.")
_THREADS = flags.DEFINE_integer("threads", None, "Of each side. [all cores]", lower_bound=1)
_SECONDS = flags.DEFINE_float("seconds", 4.0, "That each measurement lasts.", lower_bound=0.0)
_TASKS = flags.DEFINE_integer("tasks", 20, "Whose texts are used.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch", 2048, "Tokens of a training step.", lower_bound=256)
_REPEATS = flags.DEFINE_integer("repeats", 3, "Of each measurement.", lower_bound=1)
_LIMIT = flags.DEFINE_float("limit", 600.0, "Seconds for one measurement.", lower_bound=0.1)
_OUT = flags.DEFINE_string("out", "bench", "Folder of the tables.")
_ACCELERATOR = flags.DEFINE_enum(
    "accelerator", "auto", ["auto", "3B", "tiny"], "Model measured on it; auto: 3B if there is one."
)
_LENGTH = flags.DEFINE_integer("length", 2048, "Tokens of its rows.", lower_bound=8)
_TFLOPS = flags.DEFINE_float("peak_tflops", None, "Of a device not known, bfloat16.")
_BANDWIDTH = flags.DEFINE_float("bandwidth_gb", None, "GB/s, of a device not known.")
_ESTIMATE = flags.DEFINE_enum("estimate", None, sorted(DEVICES), "Estimates for a device instead.")

_CASES = "experiments.bench.model_cases"
_PACKAGES = ("jax", "flax", "optax", "transformers", "torch")
_NEEDED = ("flax", "optax", "orbax", "safetensors", "tokenizers", "transformers")
_ON_CPU = {"JAX_PLATFORMS": "cpu", "TOKENIZERS_PARALLELISM": "false"}


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        sys.exit(f"bench_models: unexpected argument {argv[1]!r}.")
    _check("groups", _GROUPS.value, GROUPS)
    _check("models", _MODELS.value, ARCHITECTURES)
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        sys.exit(f"bench_models: {', '.join(missing)} not installed: take the extra `models`.")
    out = pathlib.Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    try:
        if _ESTIMATE.value is not None:
            sys.exit(_estimate(out))
        results = _measure()
    except KeyboardInterrupt:
        sys.exit("bench_models: interrupted; nothing was saved.")
    report = markdown(results)
    replace_text(out / "bench_models.json", json.dumps(results, indent=1))
    replace_text(out / "bench_models.md", report)
    print(report)
    rows = results["rows"] + (results["accelerator"] or {"rows": []})["rows"]
    sys.exit(0 if all(row["status"] == "ok" and row.get("kept", True) for row in rows) else 1)


def _check(flag: str, values: Sequence[str], known: Sequence[str]) -> None:
    for value in values or [""]:
        if value not in known:
            sys.exit(f"bench_models: --{flag}: {value!r}, expected some of {', '.join(known)}.")


def _measure() -> dict[str, Any]:
    """All that is saved."""
    found = machine.describe(jax_platform="cpu") | {"versions": machine.versions(_PACKAGES)}
    cases = [case for case in cpu_cases(_MODELS.value) if case.group in _GROUPS.value]
    results = {
        "machine": found,
        "threads": _threads(),
        "seconds": _SECONDS.value,
        "repeats": _REPEATS.value,
        "batch": _BATCH.value,
        "tasks": _TASKS.value,
    }
    with tempfile.TemporaryDirectory() as folder:
        answers = _measured(cases, pathlib.Path(folder))
    return results | {"rows": make_rows(cases, answers), "accelerator": _accelerator()}


def _threads() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(_THREADS.value or cores, cores)


def _ask(side: Side, env: Mapping[str, str], **rest: Any) -> dict[str, Any]:
    request = dataclasses.asdict(side) | {"threads": _threads()} | rest
    return ask(_CASES, request, limit=_LIMIT.value, env=os.environ | env)


def _measured(cases: Sequence[Case], folder: pathlib.Path) -> dict[tuple[str, str], dict]:
    """The answers of each side of each case; a side that fails is not tried again."""
    made = _ask(
        Side(
            "experiments.bench.model_setup",
            "make",
            {"folder": str(folder), "models": _MODELS.value, "tasks": _TASKS.value},
        ),
        _ON_CPU,
    )
    if made["status"] != "ok":
        sys.exit(f"bench_models: no data: {made['status']}, {made.get('reason', '')}")
    answers = {(case.group, case.name): {"ours": [], "other": []} for case in cases}
    progress = Progress("bench_models", len(cases) * 2 * _REPEATS.value)
    for _ in range(_REPEATS.value):
        for case in cases:
            for side, before in answers[case.group, case.name].items():
                if all(answer["status"] == "ok" for answer in before):
                    before.append(_one(case, getattr(case, side), folder))
                progress.add(lambda case=case, side=side: f"{case.group} {case.name}, {side}")
    progress.end()
    return answers


def _one(case: Case, side: Side, folder: pathlib.Path) -> dict[str, Any]:
    if side is case.other and case.beside == PYTORCH and importlib.util.find_spec("torch") is None:
        return {"status": NOT_INSTALLED}
    setup = Setup(folder, case.model, _SECONDS.value, _threads(), _BATCH.value, case.rows)
    fields = dataclasses.asdict(setup) | {"folder": str(folder)}
    return _ask(side, _ON_CPU, setup=fields)


def _accelerator() -> dict[str, Any] | None:
    """Rows measured where jax runs by itself; None where that is the CPU and no model is named."""
    name = _ACCELERATOR.value
    if name == "auto" and os.environ.get("JAX_PLATFORMS") == "cpu":
        return None
    found = _ask(Side(ACCELERATOR, "describe"), {}, threads=None)
    if found["status"] != "ok":
        sys.exit(f"bench_models: no device: {found['status']}, {found.get('reason', '')}")
    if name == "auto":
        if found["backend"] == "cpu":
            return None
        name = "3B"
    peaks = device(found["kind"])
    if _TFLOPS.value is not None and _BANDWIDTH.value is not None:
        peaks = Device(_TFLOPS.value, _BANDWIDTH.value)
    rows = []
    for case in accelerator_cases(_LENGTH.value):
        work = {
            "model": name,
            "length": case.length,
            "rows": case.rows,
            "seconds": _SECONDS.value,
        }
        side = Side(ACCELERATOR, case.function, case.arguments)
        answers = [_ask(side, {}, threads=None, work=work) for _ in range(_REPEATS.value)]
        rows.append(device_row(case.name, answers, peaks))
    return {"kind": found["kind"], "model": name, "rows": rows}


def _estimate(out: pathlib.Path) -> int:
    """Writes down the estimate; the exit status."""
    side = Side("experiments.bench.estimate", "estimate", {"name": _ESTIMATE.value})
    answer = _ask(side, _ON_CPU)
    if answer["status"] != "ok":
        print(f"bench_models: no estimate: {answer['status']}, {answer.get('reason', '')}")
        return 1
    replace_text(out / "bench_models_estimate.md", answer["text"])
    print(answer["text"])
    return 0


if __name__ == "__main__":
    app.run(main)
