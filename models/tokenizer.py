"""Text to tokens and back: the tokenizer of a Hugging Face folder, and one trained on a corpus.

    tokenizer = Tokenizer.load("Llama-3.2-3B")
    tokenizer = train(texts, "folder", vocab_size=1024)         byte-level BPE, saved and loaded

What a token stands for is taken as bytes. A reply's text is the bytes of its tokens, so that tokens
may end within a character, and leading spaces are kept.
"""

import functools
import itertools
import json
import logging
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from models.model_folder import atomic_folder, check_absent, has_tokenizer

BEGIN, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"  # of tokenizers trained here


class Tokenizer:
    """The tokenizer of a folder.

    Attributes:
      hf: what `transformers` made of the folder.
    """

    def __init__(self, hf):
        """Wraps a fast tokenizer of `transformers`, one with a `backend_tokenizer`."""
        self.hf = hf

    @classmethod
    def load(cls, folder: str | os.PathLike, *, vocab_size: int | None = None) -> "Tokenizer":
        """The tokenizer in a folder; nothing is looked for elsewhere.

        Args:
          folder: a Hugging Face folder.
          vocab_size: rows of the embedding that it is for; None checks nothing.

        Raises:
          FileNotFoundError: `folder` holds no tokenizer.
          ValueError: its files are damaged or of a kind without a tokenizer.json, or it has tokens
            that the embedding has not.
        """
        if not has_tokenizer(folder):
            raise FileNotFoundError(f"{folder}: holds no tokenizer")
        try:
            hf = _loader(folder).from_pretrained(os.fspath(folder), local_files_only=True)
        except Exception as error:  # the Rust library raises plain Exceptions
            raise ValueError(f"{folder}: not a tokenizer that can be read: {error}") from error
        if not hf.is_fast:
            raise ValueError(f"{folder}: {type(hf).__name__} has no tokenizer.json, expected one")
        found = cls(hf)
        if vocab_size is not None and found.vocab_size > vocab_size:
            raise ValueError(
                f"{folder}: token ids go up to {found.vocab_size - 1}, expected below the "
                f"embedding's rows, {vocab_size}"
            )
        return found

    @functools.cached_property
    def vocab_size(self) -> int:
        """The largest id, and 1."""
        return 1 + max(self.hf.get_vocab().values())

    @property
    def end_token(self) -> int | None:
        """Id of the token that ends a text, if there is one."""
        return self.hf.eos_token_id

    @property
    def has_chat_template(self) -> bool:
        return self.hf.chat_template is not None

    def encode(self, texts: Sequence[str], *, special: bool = True) -> list[list[int]]:
        """The tokens of each text.

        Args:
          texts: special tokens may be written in them.
          special: with the tokens that belong around any text, such as that of its beginning.

        Raises:
          ValueError: a text is no Unicode: half of a surrogate pair is in it.
        """
        if not texts:
            return []
        for text in texts:
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise ValueError(
                    f"text {text[:60]!r}...: {text[error.start]!r} at {error.start} is half of a "
                    "surrogate pair, expected whole characters"
                ) from error
        return self.hf(list(texts), add_special_tokens=special)["input_ids"]

    def chat(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The text of a conversation up to where the model's next message begins, special tokens
        written in it.

        Args:
          messages: of {"role": "system" | "user" | "assistant", "content": str}.

        Raises:
          ValueError: the folder has no chat template.
        """
        if not self.has_chat_template:
            raise ValueError("the tokenizer has no chat template")
        return self.hf.apply_chat_template(
            list(messages), add_generation_prompt=True, tokenize=False
        )

    def bytes_of(self, tokens: Iterable[int]) -> bytes:
        """What the tokens stand for, joined. Special tokens, and ids without a token, are nothing.

        Raises:
          ValueError: as `token_bytes`.
        """
        known = self.token_bytes
        return b"".join(known[token] for token in tokens if token < len(known))

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of the tokens; what is no UTF-8 becomes U+FFFD."""
        return self.bytes_of(tokens).decode("utf-8", errors="replace")

    @functools.cached_property
    def token_bytes(self) -> list[bytes]:
        """What each id stands for: UTF-8, or a part of a character's. Special tokens are empty.

        Raises:
          ValueError: the tokenizer is neither byte-level nor SentencePiece's with byte fallback.
        """
        backend = self.hf.backend_tokenizer
        to_bytes = _to_bytes(json.loads(backend.to_str())["decoder"])
        added = self.hf.added_tokens_decoder
        found = [b""] * self.vocab_size
        for token, i in backend.get_vocab(with_added_tokens=True).items():
            if i not in added:
                found[i] = to_bytes(token)
            elif not added[i].special:
                found[i] = token.encode()
        return found


def train(
    texts: Iterable[str],
    folder: str | os.PathLike,
    *,
    vocab_size: int,
    special_tokens: Sequence[str] = (),
    chat_template: str | None = None,
) -> Tokenizer:
    """Trains a byte-level BPE on a corpus and saves it as a Hugging Face folder.

    Ids 0, 1, 2 are BEGIN, which encoding puts before every text, END and PAD; `special_tokens`
    follow. All 256 bytes are tokens, so that nothing is unknown. The same texts in the same order
    give the same tokenizer.

    Args:
      texts: the corpus.
      folder: must not exist, or be empty; written whole or not at all.
      vocab_size: largest number of tokens; a small corpus gives fewer.
      special_tokens: further ones, which are never cut up.
      chat_template: Jinja, for `Tokenizer.chat`.

    Raises:
      FileExistsError: there is something in `folder`.
      ValueError: the corpus is empty, a special token twice or empty, or `vocab_size` is too small.
    """
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, processors, trainers

    check_absent(folder)
    special = [BEGIN, END, PAD, *special_tokens]
    if len(set(special)) < len(special) or "" in special:
        raise ValueError(f"special tokens are {special}, expected none twice and none empty")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    if vocab_size < len(alphabet) + len(special):
        raise ValueError(
            f"vocab_size is {vocab_size}, expected at least {len(alphabet) + len(special)}: "
            f"{len(alphabet)} bytes and {len(special)} special tokens"
        )
    corpus = iter(texts)
    first = next((text for text in corpus if text), None)
    if first is None:
        raise ValueError("texts are empty, expected a corpus")
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    backend.train_from_iterator(itertools.chain([first], corpus), trainer)
    backend.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, special.index(BEGIN))]
    )
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": END,
        "pad_token": PAD,
        "clean_up_tokenization_spaces": False,
    }
    if chat_template is not None:
        config["chat_template"] = chat_template
    with atomic_folder(folder) as partial:
        backend.save(os.fspath(partial / "tokenizer.json"))
        text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
        (partial / "tokenizer_config.json").write_text(text, encoding="utf-8")
    return Tokenizer.load(folder)


def _to_bytes(decoder: Mapping[str, Any] | None):
    """The function from a token's name in tokenizer.json to its bytes."""
    kinds = {part["type"] for part in _parts(decoder)}
    if "ByteLevel" in kinds:
        byte_of = _byte_of()
        return lambda token: bytes(byte_of[character] for character in token)
    if "ByteFallback" in kinds:
        return _sentencepiece_bytes
    raise ValueError(
        f"the tokenizer decodes by {sorted(kinds)}, expected ByteLevel or ByteFallback: what its "
        "tokens stand for is not known"
    )


def _parts(decoder: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    if decoder and decoder["type"] == "Sequence":
        for part in decoder["decoders"]:
            yield from _parts(part)
    elif decoder:
        yield decoder


def _byte_of() -> dict[str, int]:
    """GPT-2's names of the bytes: printable ones are themselves, the others follow from U+0100."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = sorted(set(range(256)) - printable)
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


def _sentencepiece_bytes(token: str) -> bytes:
    """`<0x0A>` is a byte, U+2581 a space."""
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes([int(token[3:5], 16)])
    return token.replace("\u2581", " ").encode()


def _loader(folder: str | os.PathLike) -> type:
    """The class of `transformers` that loads the folder's tokenizer.

    The plain one is taken directly where the folder names it, as Llama 3's and ours do:
    `AutoTokenizer` would load the same, in seconds, for it imports PyTorch where that is installed.
    The notice that PyTorch is missing is left out: no tokenizer needs it.
    """

    def is_other(record: logging.LogRecord) -> bool:
        return "PyTorch was not found" not in record.getMessage()

    logger = logging.getLogger("transformers")
    logger.addFilter(is_other)
    try:
        if _is_plain(folder):
            from transformers import PreTrainedTokenizerFast

            return PreTrainedTokenizerFast
        from transformers import AutoTokenizer

        return AutoTokenizer
    finally:
        logger.removeFilter(is_other)


def _is_plain(folder: str | os.PathLike) -> bool:
    """Whether the tokenizer is all in tokenizer.json, and needs no class of its own."""
    try:
        values = json.loads(pathlib.Path(folder, "tokenizer_config.json").read_text())
    except (OSError, ValueError):
        return False
    return (
        isinstance(values, dict)
        and values.get("tokenizer_class") == "PreTrainedTokenizerFast"
        and "auto_map" not in values
        and pathlib.Path(folder, "tokenizer.json").exists()
    )
