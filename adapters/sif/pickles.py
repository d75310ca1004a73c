"""Pickles of strangers, read without running anything of theirs.

A pickle is a program that may call whatever it can name. Here it can name only what plain data
needs: containers, complex numbers, and numpy arrays and scalars as numpy 1 and numpy 2 write them.
Everything else is refused by its name.

numpy's own functions for this are not handed out: a made-up state of a dtype makes numpy take
bytes for pointers. Small stand-ins take their place, which build arrays of booleans, numbers and
texts and nothing else. A dtype that belongs to no array stays such a stand-in.
"""

import collections
import io
import os
import pickle
import pickletools
import re
from pathlib import Path
from typing import Any

import numpy as np

_NDARRAY = "numpy.ndarray"  # only named, so that nothing can be made of it
_EXPECTED = "plain data: numbers, texts, containers, numpy arrays"
# As numpy writes them into pickles: no objects, no records, no dates.
_DTYPES = re.compile(r"b1|[iu][1248]|f(2|4|8|16)|c(8|16|32)|[SU]\d{1,6}")


def load(path: str | os.PathLike) -> Any:
    """Reads a pickle of plain data.

    Arrays come back as `Array`, which is a numpy array in every respect.

    Raises:
      OSError: there is no such file, or it may not be read.
      ValueError: the file is damaged, or holds something else than plain data; names the file and,
        where there is one, the global that it asked for.
    """
    data = Path(path).read_bytes()
    try:
        return _Unpickler(io.BytesIO(_unframed(data))).load()
    except Exception as error:  # a damaged pickle fails in many ways: Key, Index, Type, EOF, ...
        raise ValueError(f"{path}: not a pickle of plain data: {_named(error)}") from error


class Array(np.ndarray):
    """A numpy array that was read from a pickle."""

    def __setstate__(self, state):
        _, shape, dtype, in_columns, data = state
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
            raise pickle.UnpicklingError(f"an array of objects, expected {_EXPECTED}")
        super().__setstate__((1, shape, dtype.made(), bool(in_columns), data))


class _Dtype:
    """A dtype on its way in: its code and, once its state has come, its byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code, align=False, copy=False):
        if not isinstance(code, str) or not _DTYPES.fullmatch(code):
            raise pickle.UnpicklingError(f"dtype {code!r}, expected booleans, numbers or texts")
        self.code, self.order = code, "="

    def __setstate__(self, state):
        _, order, subarray, names, fields, *_ = state
        if order not in ("<", ">", "=", "|") or (subarray, names, fields) != (None, None, None):
            raise pickle.UnpicklingError(f"dtype with state {state!r}, expected a plain one")
        self.order = order

    def made(self) -> np.dtype:
        return np.dtype(self.code).newbyteorder(self.order)


class _Unpickler(pickle.Unpickler):
    """Finds the stand-ins by the names that pickles know the real ones by.

    Functions are handed out as bound methods: those have no attributes that a pickle could set.
    """

    def find_class(self, module: str, name: str):
        module = module.replace("__builtin__", "builtins").replace("numpy.core.", "numpy._core.")
        known = {
            **{("builtins", kind.__name__): kind for kind in (set, frozenset, complex)},
            **{("builtins", kind.__name__): kind for kind in (int, float, bool, list, dict, str)},
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("collections", "defaultdict"): collections.defaultdict,
            ("builtins", "bytes"): self._no_bytes,
            ("_codecs", "encode"): self._encode,
            ("numpy", "ndarray"): _NDARRAY,
            ("numpy", "dtype"): _Dtype,
            ("numpy._core.multiarray", "_reconstruct"): self._reconstruct,
            ("numpy._core.multiarray", "scalar"): self._scalar,
            ("numpy._core.numeric", "_frombuffer"): self._frombuffer,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"asks for {module}.{name}, expected {_EXPECTED}")
        return known[module, name]

    def _no_bytes(self) -> bytes:
        """Empty bytes, as protocols before 3 write them."""
        return b""

    def _encode(self, text: str, encoding: str) -> bytes:
        """Bytes, as protocols before 3 write them."""
        if encoding != "latin1":
            raise pickle.UnpicklingError(f"asks for encoding {encoding!r}, expected 'latin1'")
        return text.encode("latin1")

    def _reconstruct(self, kind, shape, code) -> Array:
        """An empty array; its state follows."""
        if kind is not _NDARRAY:
            raise pickle.UnpicklingError(f"an array of type {kind!r}, expected numpy.ndarray")
        return Array((0,), np.uint8)

    def _scalar(self, dtype: _Dtype, data: bytes) -> np.generic:
        return np.frombuffer(data, dtype.made(), count=1)[0]

    def _frombuffer(self, data, dtype: _Dtype, shape, order: str) -> np.ndarray:
        if not isinstance(data, bytes | bytearray):
            raise pickle.UnpicklingError(f"an array of {type(data).__name__}, expected bytes")
        return np.frombuffer(bytes(data), dtype.made()).reshape(shape, order=order).view(Array)


def _named(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _unframed(data: bytes) -> bytes:
    """The pickle without frames, which it can do without: damaged ones make CPython free a buffer
    in use. Refuses numbers of the memo beyond the bytes there are: they would fill the memory."""
    parts, start = [], 0
    for opcode, argument, at in pickletools.genops(data):
        if opcode.name == "FRAME":
            parts.append(data[start:at])
            start = at + 9
        elif opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > len(data):
            raise pickle.UnpicklingError(f"memo number {argument} at byte {at}, damaged")
    return b"".join([*parts, data[start:]])
