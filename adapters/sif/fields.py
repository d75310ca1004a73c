"""Values of a file, each knowing where it stands, so that an error can say so.

jsons/pnp_val_seen.json.gz: episodes[3].sif_params.prompt.recep_type is 7, expected str
"""

import dataclasses
import gzip
import json
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_MISSING = object()


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """A value and where it was found.

    Attributes:
      file: its path.
      path: the way to it in there, for example "episodes[3].scene_id".
      value: as read; made of dicts, lists, texts, numbers, None, arrays.
    """

    file: str
    path: str
    value: Any

    def get(self, key: str) -> "Field":
        """The entry of a mapping. Raises ValueError if there is none."""
        found = self.mapping().get(key, _MISSING)
        if found is _MISSING:
            raise ValueError(f"{self.file}: {self._at(key)} is missing")
        return Field(self.file, self._at(key), found)

    def entries(self) -> dict[Any, "Field"]:
        """The entries of a mapping, in their order."""
        return {key: Field(self.file, self._at(key), v) for key, v in self.mapping().items()}

    def items(self, count: int | None = None) -> list["Field"]:
        """The items of a list or tuple; `count` of them if given."""
        if not isinstance(self.value, list | tuple):
            raise self.error("a list")
        if count is not None and len(self.value) != count:
            raise self.error(f"{count} items")
        return [Field(self.file, f"{self.path}[{i}]", v) for i, v in enumerate(self.value)]

    def mapping(self) -> Mapping:
        """The value, a mapping."""
        if not isinstance(self.value, Mapping):
            raise self.error("a mapping")
        return self.value

    def text(self) -> str:
        """The value, a str that is not empty."""
        if not isinstance(self.value, str) or not self.value:
            raise self.error("a str that is not empty")
        return self.value

    def truth(self) -> bool:
        """The value, true or false."""
        if not isinstance(self.value, bool | np.bool_):
            raise self.error("true or false")
        return bool(self.value)

    def whole(self) -> int:
        """The value, a whole number."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | np.integer):
            raise self.error("a whole number")
        return int(self.value)

    def number(self) -> float:
        """The value, a finite number."""
        known = isinstance(self.value, int | float | np.integer | np.floating)
        if not known or isinstance(self.value, bool) or not math.isfinite(self.value):
            raise self.error("a finite number")
        return float(self.value)

    def numbers(self, count: int) -> tuple[float, ...]:
        """The value, so many finite numbers."""
        return tuple(item.number() for item in self.items(count))

    def is_null(self) -> bool:
        return self.value is None

    def error(self, expected: str) -> ValueError:
        """The error that this value is not as expected."""
        shown = repr(self.value)
        if isinstance(self.value, np.ndarray):
            shown = f"an array of {self.value.dtype}, {list(self.value.shape)}"
        elif len(shown) > 60:
            shown = f"{type(self.value).__name__} {shown[:57]}..."
        return ValueError(f"{self.file}: {self.path or 'the file'} is {shown}, expected {expected}")

    def _at(self, key) -> str:
        if isinstance(key, str) and key.isidentifier():
            return f"{self.path}.{key}" if self.path else key
        return f"{self.path}[{key!r}]"


def read_json_gz(path: str | os.PathLike) -> Field:
    """Reads a gzipped JSON file.

    Raises:
      OSError: there is no such file, or it may not be read.
      ValueError: it is damaged, or holds no JSON.
    """
    data = Path(path).read_bytes()
    try:
        return Field(str(path), "", json.loads(gzip.decompress(data)))
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: damaged gzip: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
