"""results.json: what a run of the main job found. `docs/results.md` says what each field means."""

import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adapters.made import check_made

VERSION = 1

# Where a run finds nothing of a kind the list is empty.
_TOP = {
    "config": dict,
    "environment": dict,
    "conditions": list,
    "comparisons": list,
    "self_regulation": list,
    "frontier": list,
    "coverage": list,
    "forecasts": list,
    "turns": list,
    "examples": list,
    "models": list,
    "timing": dict,
    "peak_memory_mb": (int, float),
}
_NUMBER, _INTERVAL = (int, float), (list, type(None))
_ROWS = {
    "conditions": {
        **dict.fromkeys(("task_type", "intervention", "split", "method", "setting"), str),
        **dict.fromkeys(("tasks", "seeds"), int),
        **dict.fromkeys(("success", "length", "invalid"), _NUMBER),
        "spl": (int, float, type(None)),
        "success_ci": _INTERVAL,
        "usage": list,
        "usage_ci": _INTERVAL,
        "expected_usage": _INTERVAL,
        "causes": dict,
        "tables": list,
    },
    "comparisons": {
        **dict.fromkeys(("task_type", "intervention", "split"), str),
        **dict.fromkeys(("a", "b"), dict),
        "difference": _NUMBER,
        "ci": _INTERVAL,
        "usage_difference": list,
    },
    "self_regulation": {
        "success": _NUMBER,
        **dict.fromkeys(("task_type", "reads"), str),
        **dict.fromkeys(("threshold", "accuracy", "precision", "recall"), (int, float, type(None))),
    },
    "frontier": {
        **dict.fromkeys(("task_type", "intervention"), str),
        **dict.fromkeys(("usage", "success"), list),
    },
    "coverage": {
        **dict.fromkeys(("task_type", "intervention"), str),
        **dict.fromkeys(("times", "state_share", "visit_share"), list),
    },
    "forecasts": {
        **dict.fromkeys(("task_type", "intervention", "setting"), str),
        "success": _NUMBER,
        "usage": list,
    },
    "turns": {
        **dict.fromkeys(("task_type", "method", "setting"), str),
        **dict.fromkeys(("calls", "changes", "turns"), _NUMBER),
    },
    "models": {
        **dict.fromkeys(("task_type", "intervention", "name"), str),
        "quality": dict,
    },
    "examples": {
        **dict.fromkeys(("kind", "task_type", "intervention", "task"), str),
        "runs": list,
    },
}


def load(path: str | os.PathLike) -> dict[str, Any]:
    """Reads and checks results.

    Raises:
      OSError: there is no such file, or it may not be read.
      ValueError: it is no JSON, of another version, or lacks a field; names the first one.
    """
    check_made(path, "the results.json that experiments.reproduce makes")
    try:
        found = json.loads(pathlib.Path(path).read_text())
        check(found)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return found


def check(found: Any) -> None:
    """Raises ValueError naming the first field that is missing or of another type."""
    if not isinstance(found, dict) or "version" not in found:
        raise ValueError("version is missing, expected results of the main job")
    if found["version"] != VERSION:
        raise ValueError(f"version is {found['version']!r}, expected {VERSION}")
    _has(found, _TOP, "")
    for name, fields in _ROWS.items():
        for i, row in enumerate(found[name]):
            if not isinstance(row, dict):
                raise ValueError(f"{name}[{i}] is {row!r}, expected an object")
            _has(row, fields, f"{name}[{i}].")


def _has(row: Mapping[str, Any], fields: Mapping[str, Any], where: str) -> None:
    for name, kind in fields.items():
        if name not in row:
            raise ValueError(f"{where}{name} is missing")
        if not isinstance(row[name], kind):
            kinds = kind if isinstance(kind, tuple) else (kind,)
            wanted = " or ".join(one.__name__ for one in kinds)
            raise ValueError(f"{where}{name} is {row[name]!r}, expected {wanted}")


def of(rows: Iterable[Mapping[str, Any]], **fields: Any) -> list[Mapping[str, Any]]:
    """The rows that have all of these values."""
    return [row for row in rows if all(row.get(name) == value for name, value in fields.items())]


def in_table(results: Mapping[str, Any], number: str, **fields: Any) -> list[Mapping[str, Any]]:
    """The conditions that belong to a table, in their order."""
    return [row for row in of(results["conditions"], **fields) if number in row["tables"]]


def names(rows: Sequence[Mapping[str, Any]], field: str) -> list[str]:
    """The values of a field, each once, in the order met."""
    return list(dict.fromkeys(row[field] for row in rows))


def calls(usage: Sequence[float]) -> float:
    """Of all helps together."""
    return float(sum(usage))
