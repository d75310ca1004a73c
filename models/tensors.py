"""Named arrays in a safetensors file: written whole or not at all, checked when read back."""

import os
from collections.abc import Mapping

import numpy as np
from flax import nnx
from safetensors import SafetensorError, numpy, safe_open

from models.atomic_file import write_bytes


def write(
    path: str | os.PathLike, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Writes `arrays` to `path` in one step; on any failure the old file stays.

    Raises:
      OSError: the folder is missing, not writable or full.
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_bytes(path, numpy.save(arrays, dict(metadata)))


def read(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata of a safetensors file.

    Raises:
      OSError: there is no such file.
      ValueError: it is damaged.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path}: not a readable safetensors file: {error}") from error


def fill(path: str | os.PathLike, arrays: Mapping[str, np.ndarray], state: nnx.State) -> None:
    """Puts every array into the variable of `state` that its name, a path with "/", leads to.

    Raises:
      ValueError: lists every missing, extra or misshaped array; then nothing is put.
    """
    variables = {"/".join(map(str, key)): leaf for key, leaf in nnx.to_flat_state(state)}
    problems = [f"lacks {name}" for name in sorted(variables.keys() - arrays.keys())]
    problems += [f"has {name}, not expected" for name in sorted(arrays.keys() - variables.keys())]
    problems += [
        f"{name} is {arrays[name].shape}, expected {variable.shape}"
        for name, variable in variables.items()
        if name in arrays and arrays[name].shape != variable.shape
    ]
    if problems:
        raise ValueError(f"{path}: does not fit:\n  " + "\n  ".join(problems))
    for name, variable in variables.items():
        variable[...] = arrays[name].astype(variable.dtype)
