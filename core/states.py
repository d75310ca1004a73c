"""State keys to dense indices.

A key is a str or bytes; a str stands for its UTF-8 bytes, so "a" and b"a" are the same state.
A state is known by a fingerprint, the first 192 bits of the SHA-256 of its key:

    identity  128 bits   finds the state
    check      64 bits   compared at every meeting; must agree where identities do

Collisions. Two different keys of one identity raise `CollisionError`, at `intern`, `lookup` and
`merge` alike. With texts kept the texts themselves are compared, so no collision goes unseen.
Without texts the checks are compared, so a collision goes unseen only where all 192 bits agree:
for n states by a chance below n^2 / 2^193 (10^9 states: 10^-40), and nobody knows how to bring
about two such keys on purpose.

Memory, without texts: 24 bytes a state for the fingerprint with up to half again of room to grow,
and 8 to 16 bytes for the slots that find it; 52 bytes at most.
"""

import os
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple, Self

import numpy as np

from core import archive

_MAX_STATES = 2**31 - 1  # indices are int32

_KIND, _VERSION = "state-index", 1
_FIELDS = {
    "fingerprint": archive.Field(np.uint64, 2),
    "keeps_texts": archive.Field(np.bool_, 0),
    "text": archive.Field(np.uint8, 1),
    "text_end": archive.Field(np.int64, 1),
    "text_is_bytes": archive.Field(np.bool_, 1),
}


class CollisionError(ValueError):
    """Two different keys have the same 128-bit identity; one index cannot hold both."""


class StateIndex:
    """Gives every key an index: 0, 1, 2, ... in the order of first sight.

    Hand over many keys at once: a call costs some tens of microseconds, however few its keys.
    A call that raises changes nothing.

    Example:
      >>> index = StateIndex()
      >>> index.intern(["hall", "kitchen", "hall"])
      array([0, 1, 0], dtype=int32)
      >>> index.lookup(["kitchen", "attic"])
      array([ 1, -1], dtype=int32)
    """

    def __init__(self, *, keep_texts: bool = False):
        """Makes an empty index; with `keep_texts` it can give the keys back."""
        self._size = 0
        self._fingerprint = np.empty((8, 3), np.uint64)  # rows from _size on are room to grow
        self._slots = _Slots(0)
        self._texts: list[str | bytes] | None = [] if keep_texts else None

    def __len__(self) -> int:
        return self._size

    @property
    def keeps_texts(self) -> bool:
        """Whether `key` can give the keys back."""
        return self._texts is not None

    @property
    def nbytes(self) -> int:
        """Bytes held, counting the room to grow but not the texts."""
        return self._fingerprint.nbytes + self._slots.nbytes

    def intern(self, keys: Iterable[str | bytes]) -> np.ndarray:
        """Returns the index of each key, giving new keys the next indices.

        Args:
          keys: [N] keys, in which a key may stand several times.

        Returns:
          [N] int32.

        Raises:
          CollisionError: two different keys have the same identity.
          ValueError: `keys` is a single str or bytes, holds something that is neither, or a str
            without a UTF-8 form (a lone surrogate), or int32 would overflow.
        """
        return self._intern(_batch(keys))

    def lookup(self, keys: Iterable[str | bytes]) -> np.ndarray:
        """Returns the index of each key, -1 for a key that was never interned.

        Args:
          keys: [N] keys.

        Returns:
          [N] int32.

        Raises:
          CollisionError, ValueError: as `intern`.
        """
        return self._find(_batch(keys))

    def key(self, index: int) -> str | bytes:
        """Returns the key of a state, as the str or the bytes it was first seen as.

        Raises:
          ValueError: this index keeps no texts, or `index` is none of its states.
        """
        if self._texts is None:
            raise ValueError("this index keeps no texts, expected one made with keep_texts=True")
        if not 0 <= index < self._size:
            raise ValueError(f"index is {index}, expected 0 <= index < {self._size}")
        return self._texts[index]

    def merge(self, other: "StateIndex") -> np.ndarray:
        """Interns the states of `other`, in their order, into this index.

        Args:
          other: stays as it is. It must keep texts if this index does.

        Returns:
          [len(other)] int32, the index here of each state of `other`: what
          `TransitionCounts.remap` needs to bring along what was counted with `other`.

        Raises:
          TypeError: `other` is no StateIndex.
          CollisionError: two different keys have the same identity.
          ValueError: `other` lacks the texts that this index keeps, or int32 would overflow.
        """
        if not isinstance(other, StateIndex):
            raise TypeError(f"other is {type(other).__name__}, expected StateIndex")
        if self.keeps_texts and not other.keeps_texts:
            raise ValueError("other keeps no texts, expected texts because this index keeps them")
        return self._intern(other._states("other"))

    def save(self, path: str | os.PathLike) -> None:
        """Writes the index to one file, in one step: a failure leaves the old file as it was.

        Raises:
          OSError: the file cannot be written.
        """
        texts = self._texts or []
        encoded = [_encode(text) for text in texts]
        arrays = {
            "fingerprint": self._fingerprint[: self._size],
            "keeps_texts": np.array(self.keeps_texts),
            "text": np.frombuffer(b"".join(encoded), np.uint8),
            "text_end": np.cumsum([len(text) for text in encoded], dtype=np.int64),
            "text_is_bytes": np.array([isinstance(text, bytes) for text in texts], np.bool_),
        }
        archive.write(path, _KIND, _VERSION, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Self:
        """Reads what `save` wrote.

        Raises:
          OSError: there is no such file, or it may not be read.
          ValueError: the file is damaged or is not a state index.
        """
        arrays = archive.read(path, _KIND, _VERSION, _FIELDS)
        fingerprint, size = arrays["fingerprint"], len(arrays["fingerprint"])
        if fingerprint.shape[1] != 3:
            raise ValueError(f"{path}: fingerprint is {list(fingerprint.shape)}, expected [N, 3]")
        _check_fits_int32(path, size)
        index = cls(keep_texts=bool(arrays["keeps_texts"]))
        first = _Slots(size).enter(fingerprint)
        _check_all(first == np.arange(size), f"{path}: fingerprint", "the identity of no other")
        texts = _unpack_texts(path, arrays, size if index.keeps_texts else 0)
        if index.keeps_texts:
            fits = (_fingerprints(texts) == fingerprint).all(axis=1)
            _check_all(fits, f"{path}: text", "the text that its fingerprint was made from")
            index._texts.extend(texts)
        index._append(fingerprint)
        return index

    def _states(self, name: str) -> "_Batch":
        """The states of this index as a batch of keys, called `name` in errors."""
        return _Batch(name, self._fingerprint[: self._size], self._texts)

    def _find(self, batch: "_Batch") -> np.ndarray:
        index = self._slots.find(batch.fingerprint, self._fingerprint)
        known = np.flatnonzero(index >= 0)
        _check_same(batch, known, self._states("state"), index[known])
        return index

    def _intern(self, batch: "_Batch") -> np.ndarray:
        index = self._find(batch)
        unknown = np.flatnonzero(index < 0)
        if not unknown.size:
            return index
        fingerprint = batch.fingerprint[unknown]
        # first[j] <= j is the first of the unknown keys with the identity of the j-th.
        first = _Slots(len(unknown)).enter(fingerprint)
        is_first = first == np.arange(len(unknown))
        if self._texts is None:
            batch = batch._replace(texts=None)  # compare checks, as for keys of earlier calls
        _check_same(batch, unknown[~is_first], batch, unknown[first[~is_first]])
        size = self._size + int(is_first.sum())
        _check_fits_int32(batch.name, size)
        index[unknown] = (self._size - 1 + np.cumsum(is_first))[first]
        self._append(fingerprint[is_first])
        if self._texts is not None:
            self._texts.extend(batch.texts[i] for i in unknown[is_first].tolist())
        return index

    def _append(self, fingerprint: np.ndarray):
        """Adds states whose identities differ from one another and from those held."""
        start, size = self._size, self._size + len(fingerprint)
        if size > len(self._fingerprint):
            grown = np.empty((max(size, start + start // 2), 3), np.uint64)
            grown[:start] = self._fingerprint[:start]
            self._fingerprint = grown
        self._fingerprint[start:size] = fingerprint
        slots = self._slots
        if not slots.has_room_for(size):
            slots, start = _Slots(size), 0
        slots.enter(self._fingerprint[:size], start)
        self._slots, self._size = slots, size


class _Slots:
    """A hash table with open addressing: from an identity to its row among fingerprints [M, 3].

    It holds row numbers only; the fingerprints are handed to every call. At most half of the
    slots are taken, so walks are short and always come to a free slot.
    """

    def __init__(self, rows: int):
        """Makes room for `rows` rows."""
        self._row = np.full(1 << max(3, (2 * rows - 1).bit_length()), -1, np.int32)

    @property
    def nbytes(self) -> int:
        return self._row.nbytes

    def has_room_for(self, rows: int) -> bool:
        return 2 * rows <= len(self._row)

    def find(self, wanted: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Returns the row with the identity of each of `wanted` [N, 3], -1 where there is none."""
        return self._walk(wanted, rows, enter_from=None)

    def enter(self, rows: np.ndarray, start: int = 0) -> np.ndarray:
        """Enters rows[start:], and returns for each the first row that has its identity."""
        return self._walk(rows[start:], rows, enter_from=start)

    def _walk(self, wanted: np.ndarray, rows: np.ndarray, enter_from: int | None) -> np.ndarray:
        found = np.full(len(wanted), -1, np.int32)
        mask = np.uint64(len(self._row) - 1)
        slot = wanted[:, 0] & mask
        step = wanted[:, 1] & mask | np.uint64(1)  # odd: the walk passes every slot
        waiting = np.arange(len(wanted))
        while waiting.size:
            if enter_from is not None:
                # Where several want one free slot, the last one written has it: the lowest row.
                free = np.flatnonzero(self._row[slot] < 0)[::-1]
                self._row[slot[free]] = enter_from + waiting[free]
            row = self._row[slot]
            taken = row >= 0
            same = taken & (rows[row, 0] == wanted[waiting, 0])
            same &= rows[row, 1] == wanted[waiting, 1]
            found[waiting[same]] = row[same]
            go_on = taken & ~same
            waiting, step = waiting[go_on], step[go_on]
            slot = (slot[go_on] + step) & mask
        return found


class _Batch(NamedTuple):
    """Keys on their way in: what errors call them, fingerprints [N, 3], and texts if at hand."""

    name: str
    fingerprint: np.ndarray
    texts: Sequence[str | bytes] | None


def _batch(keys: Iterable[str | bytes]) -> _Batch:
    if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
        raise ValueError(f"keys is {type(keys).__name__}, expected a sequence of str or bytes")
    if not isinstance(keys, list | tuple):
        keys = list(keys)
    if not set(map(type, keys)) <= {str, bytes}:
        for i, key in enumerate(keys):
            if not isinstance(key, str | bytes):
                raise ValueError(f"keys[{i}] is {type(key).__name__}, expected str or bytes")
    return _Batch("keys", _fingerprints(keys), keys)


def _fingerprints(keys: Sequence[str | bytes]) -> np.ndarray:
    """Returns the fingerprints of `keys`, [N, 3] uint64: identity, identity, check."""
    digests = bytearray()
    try:
        for key in keys:
            digests += sha256(key.encode() if isinstance(key, str) else key).digest()
    except UnicodeEncodeError as error:
        at = len(digests) // 32
        raise ValueError(f"keys[{at}] is {keys[at]!r}, expected text with a UTF-8 form") from error
    return np.frombuffer(digests, "<u8").reshape(-1, 4)[:, :3].astype(np.uint64)


def _encode(key: str | bytes) -> bytes:
    return key.encode() if isinstance(key, str) else key


def _check_same(batch: _Batch, i: np.ndarray, other: _Batch, j: np.ndarray):
    """Raises unless key i[m] of `batch` is key j[m] of `other`; their identities agree."""
    differs = batch.fingerprint[i, 2] != other.fingerprint[j, 2]
    if batch.texts is not None and other.texts is not None:
        pairs = zip(i.tolist(), j.tolist(), strict=True)
        for m, (a, b) in enumerate(pairs):
            differs[m] |= _encode(batch.texts[a]) != _encode(other.texts[b])
    if differs.any():
        m = int(differs.argmax())
        raise CollisionError(
            f"{batch.name}[{i[m]}] has the 128-bit identity of {other.name}[{j[m]}], "
            "expected the same key but it is another"
        )


def _check_fits_int32(name, size: int):
    if size > _MAX_STATES:
        raise ValueError(f"{name} makes {size} states, expected at most {_MAX_STATES} (int32)")


def _check_all(good: np.ndarray, name: str, expected: str):
    if not good.all():
        raise ValueError(f"{name}[{int(good.argmin())}] is not {expected}")


def _unpack_texts(path, arrays: dict[str, np.ndarray], size: int) -> list[str | bytes]:
    """Returns the `size` texts of an archive, each as the str or bytes it was."""
    blob, end, is_bytes = arrays["text"].tobytes(), arrays["text_end"], arrays["text_is_bytes"]
    for name in ("text_end", "text_is_bytes"):
        if len(arrays[name]) != size:
            raise ValueError(f"{path}: {name} has {len(arrays[name])} texts, expected {size}")
    bounds = np.concatenate([[0], end])
    _check_all(np.diff(bounds) >= 0, f"{path}: text_end", "at or after the end before it")
    if bounds[-1] != len(blob):
        raise ValueError(f"{path}: text has {len(blob)} bytes, expected {bounds[-1]}")
    texts: list[str | bytes] = []
    for i, kept_as_bytes in enumerate(is_bytes.tolist()):
        text = blob[bounds[i] : bounds[i + 1]]
        try:
            texts.append(text if kept_as_bytes else text.decode())
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: text[{i}] is {text!r}, expected UTF-8") from error
    return texts
