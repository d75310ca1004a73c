"""Arrays in one .npz file: written whole or not at all, read back with every field checked.

The file holds the named arrays and one more, `format`, which says what they are and in which
version: "state-index 1". `write` fills a temporary file beside the target, forces it to disk and
renames it over the target, so that a crash, a kill or a full disk leaves the old file as it was.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Field(NamedTuple):
    """What an array of an archive must look like."""

    dtype: type[np.generic]
    ndim: int


def write(
    path: str | os.PathLike, kind: str, version: int, arrays: Mapping[str, np.ndarray]
) -> None:
    """Writes `arrays` to `path` in one step; on any failure the old file stays.

    Raises:
      OSError: the folder is missing, not writable or full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            np.savez(file, format=np.array(f"{kind} {version}"), **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def read(
    path: str | os.PathLike, kind: str, version: int, fields: Mapping[str, Field]
) -> dict[str, np.ndarray]:
    """Reads the arrays of an archive that `write` made with the same kind, version and fields.

    Raises:
      OSError: there is no such file, or it may not be read.
      ValueError: the file is damaged, or is another kind, version or layout.
    """
    with open(path, "rb") as file:
        try:
            # Reading a member to its end checks its CRC, so damage to the data is found here.
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except Exception as error:  # a damaged zip fails in many ways: zlib, struct, numpy, ...
            raise ValueError(f"{path}: not a readable {kind} file: {error}") from error
    found, expected = str(arrays.pop("format", "no format")), f"{kind} {version}"
    if found != expected:
        raise ValueError(f"{path}: holds {found!r}, expected {expected!r}")
    if arrays.keys() != fields.keys():
        raise ValueError(f"{path}: holds arrays {sorted(arrays)}, expected {sorted(fields)}")
    for name, field in fields.items():
        array = arrays[name]
        if array.dtype != field.dtype or array.ndim != field.ndim:
            raise ValueError(
                f"{path}: {name} is {array.dtype} with {array.ndim} dimensions, "
                f"expected {np.dtype(field.dtype)} with {field.ndim}"
            )
    return arrays


def _sync_folder(folder: Path) -> None:
    """Forces a rename in `folder` to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
