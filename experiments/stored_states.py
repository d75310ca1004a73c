"""Hidden states that are computed once and kept in files, for all that stands on one decoder."""

import math
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.progress import Progress

if TYPE_CHECKING:
    from adapters.encoder import Encoder

_AT_ONCE = 4096  # texts that are passed over together


def hidden_states(encoder: "Encoder", texts: Sequence[str], path: str | os.PathLike) -> np.ndarray:
    """[N, D] of the texts; those in the file are read, the others are added to it.

    Raises:
      OSError, ValueError: the file is not as expected, or a text is too long and is refused.
    """
    path = pathlib.Path(path)
    if path.exists():
        encoder.recall(path)
    kept = len(encoder)
    progress, found = Progress("hidden states", math.ceil(len(texts) / _AT_ONCE)), []
    for start in range(0, len(texts), _AT_ONCE):
        found.append(encoder(texts[start : start + _AT_ONCE]))
        if len(encoder) > kept:
            kept = len(encoder)
            path.parent.mkdir(parents=True, exist_ok=True)
            encoder.save(path)
        progress.add()
    progress.end()
    return np.concatenate(found)


def keep(encoder: "Encoder", folder: str | os.PathLike) -> None:
    """Writes all that the encoder remembers into a file of the folder, named after the encoder.

    Raises:
      OSError: it cannot be written.
    """
    encoder.save(_file(encoder, folder))


def recall(encoder: "Encoder", folder: str | os.PathLike) -> None:
    """Lets the encoder remember what `keep` wrote for it into the folder, if it did.

    Raises:
      OSError, ValueError: the file cannot be read, or is damaged; names it.
    """
    if (path := _file(encoder, folder)).exists():
        encoder.recall(path)


def _file(encoder: "Encoder", folder: str | os.PathLike) -> pathlib.Path:
    return pathlib.Path(folder, f"hidden-{encoder.sha256[:16]}.safetensors")
