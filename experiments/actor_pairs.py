"""Pairs that an actor is trained on: a text with the reply to it, and questions about it.

A file of pairs holds one JSON object a line:

    {"text": "s_obj put cup on table ...", "reply": "the cup is here\\nAction: Pick up cup"}
    {"text": "s_obj put cup on table ...", "questions": [["bed", " 3"]]}

One line may have both. As a document a pair is the text, the reply, and then each question with its
answer; what is learnt are the reply and the answers, each with the token that ends it. A new line
comes before a reply and a question; an answer follows its question as it is. So the questions are
learnt jointly with the reply, in one pass over the text, and no reply sees them.
"""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence

import msgspec
import numpy as np

from models.documents import Document, Limit, masked_document
from models.tokenizer import Tokenizer

_AT_ONCE = 1024  # pairs that are tokenised together


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """A text and what is learnt about it.

    Attributes:
      name: what errors call it.
      text: as the actor will read it.
      reply: what it is to say; None where only the questions are learnt.
      questions: about the text, each with its answer.
    """

    name: str
    text: str
    reply: str | None = None
    questions: Sequence[tuple[str, str]] = ()

    def __post_init__(self):
        if not self.text or self.reply == "":
            raise ValueError(f"{self.name}: text or reply is empty, expected some words")
        if self.reply is None and not self.questions:
            raise ValueError(f"{self.name}: neither reply nor questions, expected one of them")

    def parts(self) -> list[tuple[str, bool]]:
        """Its pieces in order, and whether each is learnt. The first is the text."""
        parts = [(self.text, False)]
        if self.reply is not None:
            parts.append((f"\n{self.reply}", True))
        for question, answer in self.questions:
            parts += [(f"\n{question}", False), (answer, True)]
        return parts


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    reply: str | None = None
    questions: list[tuple[str, str]] = []


def read_pairs(path: str | os.PathLike) -> list[Pair]:
    """The pairs of a file.

    Raises:
      OSError: it cannot be read.
      ValueError: it is empty, or a line is no pair; names file and line.
    """
    decoder, found = msgspec.json.Decoder(_Line), []
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                read = decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ValueError(
                    f"{path}:{number}: {error}, expected an object with text and reply, "
                    "or text and questions"
                ) from error
            name = f"{path}:{number}"
            found.append(Pair(name, read.text, read.reply, read.questions))
    if not found:
        raise ValueError(f"{path}: no pairs, expected one a line")
    return found


def corpus(pairs: Iterable[Pair]) -> Iterator[str]:
    """The texts that a tokenizer for the pairs is trained on."""
    return ("".join(part for part, _ in pair.parts()) for pair in pairs)


def documents(pairs: Sequence[Pair], tokenizer: Tokenizer, limit: Limit) -> list[Document]:
    """The pairs as documents.

    Args:
      pairs: at least one.
      tokenizer: of the actor.
      limit: of a document. Where it may be truncated, its text is, from the left.

    Raises:
      ValueError: a pair is too long, and may not or cannot be truncated.
    """
    found: list[Document] = []
    known: dict[str, list[int]] = {}  # the same replies and questions come again and again
    for start in range(0, len(pairs), _AT_ONCE):
        some = [(pair.name, pair.parts()) for pair in pairs[start : start + _AT_ONCE]]
        new = {p: None for _, parts in some for p, _ in parts[1:] if p not in known}
        known |= zip(new, tokenizer.encode(list(new), special=False), strict=True)
        texts = tokenizer.encode([parts[0][0] for _, parts in some])
        for (name, parts), text in zip(some, texts, strict=True):
            encoded = [(text, False), *((known[p], learnt) for p, learnt in parts[1:])]
            found.append(_document(name, encoded, tokenizer.end_token, limit))
    return found


def _document(
    name: str, parts: Sequence[tuple[list[int], bool]], end: int, limit: Limit
) -> Document:
    """The document of tokenised parts, the text first."""
    tokens: list[int] = []
    learn: list[bool] = []
    for ids, learnt in parts:
        tokens += [*ids, end] if learnt else ids
        learn += [learnt] * (len(tokens) - len(learn))
    text, excess = len(parts[0][0]), limit.excess(name, len(tokens))
    if excess >= text:
        raise ValueError(
            f"{name}: {len(tokens) - text} tokens beside the text, expected fewer than "
            f"{limit.max_length}: only the text is truncated"
        )
    return masked_document(name, np.array(tokens[excess:]), learn[excess:])
