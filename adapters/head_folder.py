"""The folders of process reward models and helpers: a head on the decoder of a language model.

prm.json or helper.json     what it is
head.safetensors            `models.heads.Head`
backbone/                   Hugging Face's format, with the tokenizer; or several, see
                            `adapters.encoder`
numbers.npz                 where the head reads numbers beside the text
hidden.safetensors          may be there: hidden states of texts that were read, see `Encoder.save`
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from adapters import numbers as numbers_lib
from adapters.encoder import Encoder, fingerprint_of
from adapters.json_file import read_json
from adapters.numbers import Numbers
from models.heads import Head, HeadConfig
from models.lookup import StoredHead

HEAD, BACKBONE, HIDDEN = "head.safetensors", "backbone", "hidden.safetensors"


class HeadFolder(NamedTuple):
    """What a folder holds.

    Attributes:
      values: of its JSON file.
      config: of its head.
      head: on hidden states.
      encoder: texts to hidden states.
      sha256: of all of it.
      numbers: that the head reads beside the text; None for none.
    """

    values: Mapping[str, Any]
    config: HeadConfig
    head: StoredHead
    encoder: Encoder
    sha256: str
    numbers: Numbers | None = None

    def outputs(self, texts: list[str], costs: ArrayLike | None = None) -> np.ndarray:
        """float32 [N, num_outputs]; costs [K] where the head reads them."""
        numbers = None if self.numbers is None else self.numbers.for_head(texts)
        features = self.config.features(len(texts), numbers=numbers, costs=costs)
        return self.head(self.encoder(texts), features)


def load(folder: str | os.PathLike, name: str, fields: Mapping[str, type]) -> HeadFolder:
    """Reads a folder.

    Args:
      folder: of the model.
      name: of its JSON file.
      fields: that the file must have, with their types; also style and too_long.

    Raises:
      OSError: a file is missing.
      ValueError: one is damaged, or they do not belong together; names it.
    """
    folder = Path(folder)
    values = read_json(folder / name, {"style": str, "too_long": str, **fields})
    encoder = Encoder.load(folder / BACKBONE, too_long=values["too_long"])
    if (folder / HIDDEN).exists():
        encoder.recall(folder / HIDDEN)
    head = Head.load(folder / HEAD, encoder.hidden_size)
    digest = hashlib.sha256(fingerprint_of(folder / BACKBONE).encode())
    numbers = Numbers.load(folder) if values.get("numbers") else None
    for part in (HEAD, name, *([numbers_lib.NAME] if numbers else [])):
        digest.update((folder / part).read_bytes())
    return HeadFolder(values, head.config, StoredHead(head), encoder, digest.hexdigest(), numbers)
