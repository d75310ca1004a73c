"""The JSON files that say what a folder of a trained model is."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

VERSION = 1


def read_json(path: Path, fields: Mapping[str, type]) -> dict[str, Any]:
    """The object in a file, with "version": 1.

    Raises:
      OSError: there is no such file.
      ValueError: it is no object, of another version, or lacks a field of its type; names it.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: holds a {type(values).__name__}, expected an object")
    if (version := values.get("version")) != VERSION:
        raise ValueError(f"{path}: version is {version!r}, expected {VERSION}")
    for field, kind in fields.items():
        if not isinstance(values.get(field), kind):
            raise ValueError(
                f"{path}: {field} is {values.get(field)!r}, expected a {kind.__name__}"
            )
    return values
