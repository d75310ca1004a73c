"""Texts to the hidden states of a language model in a local folder, each text only once.

Process reward models and helpers are heads on hidden states. Those that were tuned on one frozen
decoder have the same hidden states, so here they share them: a state costs one pass, whatever is
asked about it. What was passed over can be kept in a file, for the next process.

A folder may hold several decoders, in folders 0, 1, ... of their own: an ensemble, trained alike
but by other chance. Their hidden states stand side by side, so that a head on them averages.
"""

import collections
import hashlib
import os
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from models import convert, tensors
from models.documents import Limit
from models.llama import Llama
from models.lookup import hidden_scorer
from models.model_folder import TOKENIZER_FILES, fingerprint
from models.prefixes import prefix_documents
from models.scoring import row_lengths_up_to
from models.tokenizer import Tokenizer

_REMEMBERED = 200_000  # texts
_AT_ONCE = 4096  # texts whose documents are made together

_loaded: "weakref.WeakValueDictionary[tuple, Encoder]" = weakref.WeakValueDictionary()


class Encoder:
    """The hidden state at the last token of a text, in the model's own words of it.

    Attributes:
      backbones: the decoders, one or more.
      tokenizer: theirs.
      limit: of a text's length, in tokens.
      sha256: of the model's files; None where it is from no folder.
    """

    def __init__(
        self,
        backbones: Sequence[Llama],
        tokenizer: Tokenizer,
        limit: Limit,
        sha256: str | None = None,
    ):
        """Takes decoders that read the same tokens; `load` takes a folder."""
        self.backbones, self.tokenizer, self.limit = tuple(backbones), tokenizer, limit
        self.sha256 = sha256
        lengths = row_lengths_up_to(limit.max_length)
        self._scorers = [hidden_scorer(one, row_lengths=lengths) for one in self.backbones]
        # By SHA-256 of the text, which is shorter.
        self._known: collections.OrderedDict[bytes, np.ndarray] = collections.OrderedDict()

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike,
        *,
        too_long: Literal["refuse", "truncate"] = "refuse",
    ) -> "Encoder":
        """The encoder of a folder; the same one for folders of the same content.

        Args:
          folder: config.json, safetensors and a tokenizer, as Hugging Face has them; or several
            such folders, see `members`.
          too_long: as `models.documents.Limit`; the limit is the models' lowest.

        Raises:
          OSError, ValueError: as `models.convert.load` and `models.tokenizer.Tokenizer.load`; also
            where decoders of one folder have other tokenizers.
        """
        folders = members(folder)
        sha256 = fingerprint_of(folder)
        found = _loaded.get((sha256, too_long))
        if found is None:
            backbones = [convert.load(one) for one in folders]
            sizes = [one.config.vocab_size for one in backbones]
            tokenizer = Tokenizer.load(folders[0], vocab_size=min(sizes))
            files = _tokenizer_files(folders[0])
            for other in folders[1:]:
                if _tokenizer_files(other) != files:
                    raise ValueError(f"{other}: another tokenizer than in {folders[0]}")
            limit = Limit(min(one.config.max_position_embeddings for one in backbones), too_long)
            found = _loaded[sha256, too_long] = cls(backbones, tokenizer, limit, sha256)
        return found

    @property
    def hidden_size(self) -> int:
        """D, of all decoders together."""
        return sum(one.config.hidden_size for one in self.backbones)

    def __len__(self) -> int:
        """Texts that are remembered."""
        return len(self._known)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [N, D], D the `hidden_size`.

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
        rows = [found[digest] for digest in digests]
        return np.array(rows, np.float32).reshape(len(rows), self.hidden_size)

    def learn(self, texts: Sequence[str], hidden: np.ndarray) -> None:
        """Remembers what the decoders gave elsewhere for texts: float32 [N, D].

        Raises:
          ValueError: it has another shape.
        """
        if hidden.shape != (len(texts), self.hidden_size):
            raise ValueError(
                f"hidden has shape {hidden.shape}, expected {(len(texts), self.hidden_size)}"
            )
        self._remember(dict(zip(map(_digest, texts), hidden, strict=True)))

    def save(self, path: str | os.PathLike) -> None:
        """Writes what is remembered to one file, whole or not at all.

        Raises:
          OSError: the file cannot be written.
          ValueError: the model is from no folder, so that nobody could tell whose states they are.
        """
        if self.sha256 is None:
            raise ValueError("the model is from no folder, expected one that `load` read")
        digests = np.frombuffer(b"".join(self._known), np.uint8).reshape(-1, 32)
        hidden = np.array(list(self._known.values()), np.float32).reshape(-1, self.hidden_size)
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
        found = np.empty((len(texts), self.hidden_size), np.float32)
        end = 0
        for backbone, scorer in zip(self.backbones, self._scorers, strict=True):
            start, end = end, end + backbone.config.hidden_size
            for hidden, reads in zip(scorer(documents), held, strict=True):
                found[reads, start:end] = hidden
        return found


def members(folder: str | os.PathLike) -> list[Path]:
    """The folders of the decoders in a folder: itself, or 0, 1, ... in it where it has no
    config.json but they are there."""
    found, folder = [], Path(folder)
    if not (folder / "config.json").exists():
        while (one := folder / str(len(found))).is_dir():
            found.append(one)
    return found or [folder]


def fingerprint_of(folder: str | os.PathLike) -> str:
    """SHA-256 of the files of all decoders in a folder.

    Raises:
      OSError: as `models.model_folder.fingerprint`.
    """
    digests = [fingerprint(one) for one in members(folder)]
    return digests[0] if len(digests) == 1 else _digest("".join(digests)).hex()


def _tokenizer_files(folder: Path) -> dict[str, bytes]:
    paths = (folder / name for name in TOKENIZER_FILES)
    return {path.name: path.read_bytes() for path in paths if path.exists()}


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
