"""results.json from what the stages have written."""

import json
import os
import pathlib
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from experiments.main_job.graph import ORACLE
from experiments.main_job.results import VERSION, check
from experiments.stages import Record

_PACKAGES = ("selfreg", "jax", "flax", "numpy", "scipy", "transformers", "matplotlib")


def assemble(
    out: pathlib.Path,
    pairs: Sequence[tuple[str, str]],
    config: Mapping[str, Any],
    records: Mapping[str, Record],
) -> dict[str, Any]:
    """What a run of all stages found.

    Args:
      out: folder of the job.
      pairs: task types and interventions that were played.
      config: of the job.
      records: of its stages.

    Raises:
      OSError, ValueError: a file is missing or is not what its stage should have written.
    """
    found: dict[str, Any] = {
        "version": VERSION,
        "config": dict(config),
        "environment": environment(),
        **{
            name: []
            for name in (
                "conditions",
                "comparisons",
                "self_regulation",
                "frontier",
                "coverage",
                "forecasts",
                "turns",
                "examples",
                "models",
            )
        },
        "timing": {name: record.seconds for name, record in sorted(records.items())},
        "peak_memory_mb": max((record.peak_memory_mb for record in records.values()), default=0.0),
    }
    for kind, intervention in pairs:
        here = dict(task_type=kind, intervention=intervention)
        key = f"{kind}-{intervention}"
        for part in ("test", "train"):
            path = out / f"evaluation-{part}" / key / "evaluation.json"
            if part == "test" or path.exists():
                _evaluation(found, _read(path))
        if intervention == ORACLE:
            continue
        _plan(found, _read(out / "plan" / key / "plan.json"), here)
        _models(found, out, key, here)
        path = out / "examined" / key / "examine.json"
        if intervention == "stronger":
            examined = _read(path)
            for name in ("self_regulation", "turns", "examples"):
                found[name] += examined[name]
    check(found)
    return found


def environment() -> dict[str, Any]:
    """What ran it."""
    found: dict[str, Any] = {"python": platform.python_version(), "platform": platform.platform()}
    found["processor"] = _processor()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found["cores"] = cores
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _evaluation(found: dict[str, Any], evaluation: Mapping[str, Any]) -> None:
    for row in evaluation["conditions"]:
        row = {"tables": [], "series": None, **row}
        forecast = row.pop("forecast", None)
        found["conditions"].append(row)
        if forecast is not None and row["method"] == "helper" and row["tables"][:1] in _MAIN:
            where = ("task_type", "intervention", "split", "setting")
            found["forecasts"].append({name: row[name] for name in where} | forecast)
    found["comparisons"] += [row for row in evaluation["paired"] if row.get("part", "all") == "all"]


_MAIN = (["2"], ["3"])  # the tables that the method itself stands in first


def _plan(found: dict[str, Any], plan: Mapping[str, Any], here: Mapping[str, str]) -> None:
    if plan["frontier"] is not None:
        curve = {name: plan["frontier"][name] for name in ("usage", "success")}
        found["frontier"].append(here | curve)
    numbers = {name: plan[name] for name in ("states", "tasks", "helps")}
    found["coverage"].append({**here, **numbers, **plan["coverage"]})


def _models(found: dict[str, Any], out: pathlib.Path, key: str, here: Mapping[str, str]) -> None:
    """How good the trained models are on the training tasks held out."""
    for path in sorted(out.glob(f"*/{key}/prm.json")) + sorted(out.glob(f"*/{key}/helper.json")):
        name = path.parent.parent.name
        found["models"].append({**here, "name": name, "quality": _read(path)["quality"]})


def _processor() -> str:
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        return platform.machine()
    return platform.processor() or platform.machine()


def _read(path: pathlib.Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
