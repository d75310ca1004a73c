"""Numbers beside the text of a state: the general ones of logs, and those of the user's own."""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from adapters.imported import imported
from adapters.logs import features
from adapters.logs.features import TextFeatures
from core import archive

NAME = "numbers.npz"
_KIND, _VERSION = "numbers", 1
_FIELDS = features.FIELDS | {"about": archive.Field(np.uint8, 1)}


class Numbers:
    """All numbers of a text.

    Attributes:
      texts: the general ones.
      own: MODULE:FUNCTION, texts [N] -> numbers [N, F]; None for none.
    """

    def __init__(self, texts: TextFeatures, own: str | None = None):
        """Imports the function.

        Raises:
          ValueError: there is none of that name.
        """
        self.texts, self.own = texts, own
        self._function = None if own is None else imported(own)

    @classmethod
    def fit(
        cls, texts: Iterable[str], players: Sequence[str], own: str | None = None, *, seed: int = 0
    ) -> Self:
        """As `TextFeatures.fit`."""
        return cls(TextFeatures.fit(texts, players, seed=seed), own)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [N, F]; NaN where there is no such number.

        Raises:
          ValueError: the function gives another number of rows than texts.
        """
        found = self.texts(texts)
        return np.concatenate([found, self._own(texts)], axis=1)

    def for_head(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [N, G], all finite, as `TextFeatures.for_head`."""
        return np.concatenate([self.texts.for_head(texts), self._own(texts)], axis=1)

    def _own(self, texts: Sequence[str]) -> np.ndarray:
        if self._function is None:
            return np.zeros((len(texts), 0), np.float32)
        found = np.asarray(self._function(list(texts)), np.float32)
        if found.ndim != 2 or len(found) != len(texts):
            raise ValueError(f"{self.own} gives shape {found.shape}, expected ({len(texts)}, F)")
        return found

    def save(self, folder: str | os.PathLike) -> None:
        """Writes numbers.npz, whole or not at all."""
        about = json.dumps({"players": self.texts.players, "own": self.own}).encode()
        arrays = self.texts.arrays() | {"about": np.frombuffer(about, np.uint8)}
        archive.write(Path(folder) / NAME, _KIND, _VERSION, arrays)

    @classmethod
    def load(cls, folder: str | os.PathLike) -> Self:
        """Reads what `save` wrote.

        Raises:
          OSError: there is no such file.
          ValueError: it is damaged; or the function of the user's own is not there.
        """
        path = Path(folder) / NAME
        arrays = archive.read(path, _KIND, _VERSION, _FIELDS)
        try:
            about = json.loads(arrays["about"].tobytes())
            return cls(TextFeatures.of_arrays(about["players"], arrays), about["own"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error


def fingerprint(folder: str | os.PathLike, names: Iterable[str]) -> str:
    """SHA-256 of files of a folder."""
    digest = hashlib.sha256()
    for name in names:
        digest.update((Path(folder) / name).read_bytes())
    return digest.hexdigest()
