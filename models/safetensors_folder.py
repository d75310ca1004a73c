"""A folder of safetensors files, as Hugging Face lays them out: read by slices, written whole.

One file `model.safetensors`, or several with `model.safetensors.index.json`, which says what tensor
is in which. Nothing is held in memory but the slice asked for: the files are opened anew for each.
"""

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


class Entry(NamedTuple):
    """What the header of a file says about a tensor."""

    file: Path
    shape: tuple[int, ...]
    dtype: str  # "float32"; safetensors' own name, "I8", where it is no float for weights


class SafetensorsFolder:
    """The tensors of a folder.

    Attributes:
      entries: by name; of the files that can be read.
      problems: one line each for what is wrong with the files: missing, damaged, in disagreement
        with the index. Empty for a sound folder.
    """

    def __init__(self, folder: str | os.PathLike):
        """Reads the index and the headers.

        Raises:
          FileNotFoundError: there are neither model.safetensors nor its index.
          ValueError: the index is no index.
        """
        self.entries: dict[str, Entry] = {}
        self.problems: list[str] = []
        folder = Path(folder)
        if (folder / _INDEX).exists():
            where = _read_index(folder / _INDEX)
        elif (folder / _SINGLE).exists():
            where = None
        else:
            raise FileNotFoundError(f"{folder}: holds neither {_SINGLE} nor {_INDEX}")
        files = [_SINGLE] if where is None else sorted(set(where.values()))
        readable = {file for file in files if self._read_header(folder / file)}
        for name, file in (where or {}).items():
            found = self.entries.get(name)
            if file in readable and (found is None or found.file.name != file):
                self.problems.append(f"{name}: not in {file}, where the index says it is")

    def read(self, name: str, index: tuple[slice, ...]) -> np.ndarray:
        """The part `index` of a tensor."""
        with safe_open(self.entries[name].file, framework="numpy") as file:
            return file.get_slice(name)[index]

    def _read_header(self, path: Path) -> bool:
        """Whether the file can be read; if so its tensors are added."""
        try:
            with safe_open(path, framework="numpy") as file:
                for name in file.keys():
                    part = file.get_slice(name)
                    if name in self.entries:
                        other = self.entries[name].file.name
                        self.problems.append(f"{name}: in {path.name} and in {other}")
                    dtype = DTYPES.get(part.get_dtype(), part.get_dtype())
                    self.entries[name] = Entry(path, tuple(part.get_shape()), dtype)
        except FileNotFoundError:
            self.problems.append(f"{path.name}: missing")
        except SafetensorError as error:
            self.problems.append(f"{path.name}: damaged: {error}")
        else:
            return True
        return False


class Tensor(NamedTuple):
    """A tensor to write: its size is known before it is made."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    make: Callable[[], np.ndarray]


def write(folder: Path, tensors: Sequence[Tensor], max_shard_bytes: int) -> None:
    """Writes the tensors in their order, with an index where they need more than one file.

    Args:
      folder: an existing one.
      tensors: made shard by shard: the arrays of one and its bytes are in memory at a time.
      max_shard_bytes: of a file; a tensor that is larger has a file of its own.
    """
    shards = list(_shards(tensors, max_shard_bytes))
    names = [f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
    names = [_SINGLE] if len(shards) == 1 else names
    for name, shard in zip(names, shards, strict=True):
        arrays = {tensor.name: tensor.make() for tensor in shard}
        save_file(arrays, folder / name, metadata={"format": "pt"})
        (folder / name).chmod(folder.stat().st_mode & 0o666)  # save_file lets the owner alone read
    if len(shards) > 1:
        index = {
            "metadata": {"total_size": sum(map(_nbytes, tensors))},
            "weight_map": {
                tensor.name: name
                for name, shard in zip(names, shards, strict=True)
                for tensor in shard
            },
        }
        (folder / _INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _shards(tensors: Sequence[Tensor], max_shard_bytes: int) -> Iterator[list[Tensor]]:
    shard: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if shard and size + _nbytes(tensor) > max_shard_bytes:
            yield shard
            shard, size = [], 0
        shard.append(tensor)
        size += _nbytes(tensor)
    yield shard


def _nbytes(tensor: Tensor) -> int:
    return math.prod(tensor.shape) * (4 if tensor.dtype == "float32" else 2)


def _read_index(path: Path) -> dict[str, str]:
    try:
        where = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not an index of safetensors: {error!r}") from error
    if not isinstance(where, dict) or not all(isinstance(f, str) for f in where.values()):
        raise ValueError(f"{path}: weight_map is no map from tensors to files")
    return where
