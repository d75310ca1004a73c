"""Files that training scripts leave beside a model: settings, and what it is."""

import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from models.atomic_file import write_bytes
from models.json_values import differences


def check_settings(path: pathlib.Path, settings: Mapping[str, Any]) -> None:
    """Writes settings.json, or raises ValueError where a run was started with others."""
    compare_settings(path, settings)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, settings)


def compare_settings(path: pathlib.Path, settings: Mapping[str, Any]) -> None:
    """Raises ValueError where a run was started with others; writes nothing."""
    if not path.exists():
        return
    settings = json.loads(json.dumps(dict(settings)))
    try:
        before = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    for name, value, was in differences(settings, before):
        raise ValueError(f"{path}: {name} is {value!r}, was {was!r}; expected the same")


def write_json(path: pathlib.Path, values: Mapping[str, Any]) -> None:
    """Writes the file whole or not at all."""
    write_bytes(path, (json.dumps(values, indent=1, allow_nan=False) + "\n").encode())


def or_none(values: Mapping[str, float]) -> dict[str, float | None]:
    """The same with None for what is no number: JSON has no NaN."""
    return {name: float(x) if math.isfinite(x) else None for name, x in values.items()}
