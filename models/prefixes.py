"""Texts of which some are prefixes of others, in as few documents as may be.

The states of a growing transcript are read in one pass over the longest (`models.documents`), and
trajectories that part have a document each, but what they have in common is read once. Texts that
are nobody's prefix are documents of their own.

What counts is the tokens. A tokenizer may merge the end of a text with what follows it, a newline
with the next one, say; that text then is the beginning of the other one, but its tokens are not. It
is scored right, by a pass of its own, as it would be alone. `broken` says how many are so.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from models.documents import Document, Limit, state_documents


class Reads(NamedTuple):
    """What is learnt of N reads of texts; all [N, ...], None for what `state_documents` takes then.

    Attributes:
      text: int, ascending: the text that is read.
      targets, weights, features: as `models.documents.state_documents`.
    """

    text: np.ndarray
    targets: np.ndarray | None = None
    weights: np.ndarray | None = None
    features: np.ndarray | None = None


def chains(texts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Every text in one chain of texts that are each a prefix of the next, or equal to it.

    Args:
      texts: tokens.

    Returns:
      Places in `texts`; as many chains as there are texts that are no prefix of a longer one.
    """
    order = sorted(range(len(texts)), key=lambda i: list(texts[i]))
    found: list[list[int]] = []
    for i in order:
        # In this order the text before is a prefix of this one, or of no text at all.
        last = texts[found[-1][-1]] if found else None
        if last is not None and list(texts[i][: len(last)]) == list(last):
            found[-1].append(i)
        else:
            found.append([i])
    return found


def broken(texts: Sequence[str], tokens: Sequence[Sequence[int]]) -> int:
    """How many texts cost a pass of their own although they are the beginning of another one.

    Args:
      texts: N.
      tokens: theirs.
    """
    order = sorted(range(len(texts)), key=texts.__getitem__)
    beginnings = [
        i
        for i, after in itertools.pairwise(order)
        if texts[i] != texts[after] and texts[after].startswith(texts[i])
    ]
    if not beginnings:  # as in texts that do not grow: sorting tokens takes long
        return 0
    passed = {chain[-1] for chain in chains(tokens)}
    return sum(i in passed for i in beginnings)


def prefix_documents(
    texts: Sequence[Sequence[int]],
    reads: Reads | None = None,
    *,
    limit: Limit,
    names: Sequence[str] | None = None,
) -> tuple[list[Document], list[np.ndarray]]:
    """Documents of texts that are read at their last token.

    Args:
      texts: tokens.
      reads: of the texts; None is each one once, with nothing to learn.
      limit: of a text's length.
      names: of the texts, for errors.

    Returns:
      The documents, and for each the reads that it holds, as places in `reads`.

    Raises:
      ValueError: a text is empty or too long; names it.
    """
    reads = reads or Reads(np.arange(len(texts)))
    if np.any(np.diff(reads.text) < 0):
        raise ValueError("reads.text is out of order, expected ascending")
    first = np.searchsorted(reads.text, np.arange(len(texts) + 1))
    documents, held = [], []
    for chain in chains(texts):
        places = [np.arange(first[i], first[i + 1]) for i in chain]
        at = np.concatenate(places)
        some = state_documents(
            f"text {chain[-1]}" if names is None else names[chain[-1]],
            [np.asarray(texts[i]) for i in chain],
            limit=limit,
            targets=_rows(reads.targets, at),
            weights=_rows(reads.weights, at),
            features=_rows(reads.features, at),
            of_state=np.repeat(np.arange(len(chain)), [len(place) for place in places]),
        )
        ends = np.cumsum([len(document.reads) for document in some])
        documents += some
        held += np.split(at, ends)[: len(some)]
    return documents, held


def _rows(values: ArrayLike | None, at: np.ndarray) -> np.ndarray | None:
    return None if values is None else np.asarray(values)[at]
