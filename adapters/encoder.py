"""Texts to the hidden states of a language model in a local folder, each text only once.

Process reward models and helpers are heads on hidden states. Those that were tuned on one frozen
decoder have the same hidden states, so here they share them: a state costs one pass, whatever is
asked about it. What was passed over can be kept in a file, for the next process.
"""

import collections
import hashlib
import os
import weakref
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from models import convert, tensors
from models.documents import Limit
from models.llama import Llama
from models.lookup import hidden_scorer
from models.model_folder import fingerprint
from models.prefixes import prefix_documents
from models.scoring import row_lengths_up_to
from models.tokenizer import Tokenizer

_REMEMBERED = 200_000  # texts
_AT_ONCE = 4096  # texts whose documents are made together

_loaded: "weakref.WeakValueDictionary[tuple, Encoder]" = weakref.WeakValueDictionary()


class Encoder:
    """The hidden state at the last token of a text, in the model's own words of it.

    Attributes:
      backbone: the decoder.
      tokenizer: its.
      limit: of a text's length, in tokens.
      sha256: of the model's files; None where it is from no folder.
    """

    def __init__(
        self, backbone: Llama, tokenizer: Tokenizer, limit: Limit, sha256: str | None = None
    ):
        """Takes a model; `load` takes a folder."""
        self.backbone, self.tokenizer, self.limit = backbone, tokenizer, limit
        self.sha256 = sha256
        self._scorer = hidden_scorer(backbone, row_lengths=row_lengths_up_to(limit.max_length))
        # By SHA-256 of the text, which is shorter.
        self._known: collections.OrderedDict[bytes, np.ndarray] = collections.OrderedDict()

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike,
        *,
        too_long: Literal["refuse", "truncate"] = "refuse",
    ) -> "Encoder":
        """The encoder of a Hugging Face folder; the same one for folders of the same content.

        Args:
          folder: config.json, safetensors and a tokenizer.
          too_long: as `models.documents.Limit`; the limit is the model's.

        Raises:
          OSError, ValueError: as `models.convert.load` and `models.tokenizer.Tokenizer.load`.
        """
        key = fingerprint(folder), too_long
        found = _loaded.get(key)
        if found is None:
            backbone = convert.load(folder)
            tokenizer = Tokenizer.load(folder, vocab_size=backbone.config.vocab_size)
            limit = Limit(backbone.config.max_position_embeddings, too_long)
            found = _loaded[key] = cls(backbone, tokenizer, limit, key[0])
        return found

    def __len__(self) -> int:
        """Texts that are remembered."""
        return len(self._known)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [N, D], D the model's hidden_size.

        Raises:
          ValueError: a text is too long and is refused; names its first words.
        """
        digests = [_digest(text) for text in texts]
        found: dict[bytes, np.ndarray] = {}
        fresh: dict[bytes, str] = {}
        for digest, text in zip(digests, texts, strict=True):
            if (hidden := self._known.get(digest)) is not None:
                self._known.move_to_end(digest)
                found[digest] = hidden
            else:
                fresh[digest] = text
        for start in range(0, len(fresh), _AT_ONCE):
            some = list(fresh.items())[start : start + _AT_ONCE]
            hidden = self._pass([text for _, text in some])
            found |= {digest: row for (digest, _), row in zip(some, hidden, strict=True)}
        self._remember({digest: found[digest] for digest in fresh})
        size = self.backbone.config.hidden_size
        rows = [found[digest] for digest in digests]
        return np.array(rows, np.float32).reshape(len(rows), size)

    def save(self, path: str | os.PathLike) -> None:
        """Writes what is remembered to one file, whole or not at all.

        Raises:
          OSError: the file cannot be written.
          ValueError: the model is from no folder, so that nobody could tell whose states they are.
        """
        if self.sha256 is None:
            raise ValueError("the model is from no folder, expected one that `load` read")
        size = self.backbone.config.hidden_size
        digests = np.frombuffer(b"".join(self._known), np.uint8).reshape(-1, 32)
        hidden = np.array(list(self._known.values()), np.float32).reshape(-1, size)
        tensors.write(path, dict(digest=digests, hidden=hidden), {"model": self.sha256})

    def recall(self, path: str | os.PathLike) -> None:
        """Remembers what `save` wrote.

        Raises:
          OSError: there is no such file.
          ValueError: it is damaged, or of another model; names it.
        """
        arrays, metadata = tensors.read(path)
        if metadata.get("model") != self.sha256 or arrays.keys() != {"digest", "hidden"}:
            raise ValueError(f"{path}: hidden states of another model, expected of this one")
        digests = map(bytes, arrays["digest"])
        self._remember(dict(zip(digests, arrays["hidden"], strict=True)))

    def _remember(self, rows: Mapping[bytes, np.ndarray]) -> None:
        self._known |= rows
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _pass(self, texts: Sequence[str]) -> np.ndarray:
        """[N, D] of texts that are not known yet, none twice."""
        names = [f"text {text[:60]!r}..." for text in texts]
        tokens = self.tokenizer.encode(texts)
        documents, held = prefix_documents(tokens, limit=self.limit, names=names)
        found = np.empty((len(texts), self.backbone.config.hidden_size), np.float32)
        for hidden, reads in zip(self._scorer(documents), held, strict=True):
            found[reads] = hidden
        return found


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
