"""Documents packed into rows of few fixed lengths, and rows into batches of fixed shapes.

Every shape is compiled once. A row holds several documents, each a segment of its own, which do not
see each other. Long rows waste attention, whose cost a token grows with the row; short rows waste
padding. `choose_row_lengths` weighs the two.
"""

import bisect
import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from models.config import LlamaConfig
from models.documents import Document

# A row of this many tokens costs twice as much a token as a very short one: on two CPU cores, a
# decoder of width 128. Wider ones weigh attention less.
_ATTENTION_TOKENS = 1024
_ROUND = 32  # row lengths are multiples of it
_MAX_SAMPLE = 2000  # documents that row lengths are chosen by


class Batch(NamedTuple):
    """B rows of T tokens with R reads each; jax and numpy arrays alike. F features.

    Attributes:
      tokens: int32 [B, T]; 0 where padding.
      segments: int32 [B, T]; 1, 2, ... for the documents of a row, 0 where padding.
      reads: int32 [B, R], places in the row; 0 where padding.
      targets: [B, R, ...].
      weights: float32 [B, R] or the shape of targets; 0 where padding.
      features: float32 [B, R, F].
    """

    tokens: np.ndarray
    segments: np.ndarray
    reads: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    features: np.ndarray


class Shape(NamedTuple):
    """Of a batch: one compilation each."""

    rows: int
    length: int
    reads: int


class Row(NamedTuple):
    """Places of documents in the list that was packed."""

    length: int
    members: list[int]


class Packing:
    """An endless stream of training batches over documents, a function of its arguments alone.

    The documents are packed into rows once. Each row length has its own stream of batches: its
    rows in random order, over and over, in a new order each time; no batch is filled up with
    padding rows. The streams take turns in proportion to their sizes, so that every document is
    seen equally often.

    Attributes:
      documents: what is packed.
      shapes: of the batches, one a row length in use.
      fill: share of the tokens in the rows that are no padding.
      batches_per_epoch: batches until every document was seen once, on average; no whole number.
    """

    def __init__(
        self,
        documents: Iterable[Document],
        *,
        batch_tokens: int,
        row_lengths: Sequence[int] | None = None,
        rows_multiple: int = 1,
        seed: int = 0,
    ):
        """Packs.

        Args:
          documents: at least one.
          batch_tokens: tokens in a batch, padding included, as nearly as whole rows give.
          row_lengths: that rows may have; None chooses them.
          rows_multiple: the rows of a batch are a multiple of this: devices that they are spread
            over.
          seed: of the order.

        Raises:
          ValueError: a number is not above 0. Or there are no documents, one is longer than every
            row, or its arrays are not as `Document` says; names the document. Or no read has
            weight.
        """
        for name, value in (("batch_tokens", batch_tokens), ("rows_multiple", rows_multiple)):
            if value < 1:
                raise ValueError(f"{name} is {value}, expected 1 or more")
        if row_lengths is not None and (not len(row_lengths) or min(row_lengths) < 1):
            raise ValueError(f"row_lengths are {row_lengths}, expected one or more, all above 0")
        self.documents = list(documents)
        check_documents(self.documents)
        if not any(document.weights.any() for document in self.documents):
            raise ValueError("all weights are 0, expected some above")
        lengths = np.array([len(document.tokens) for document in self.documents])
        if row_lengths is None:
            row_lengths = choose_row_lengths(lengths)
        if lengths[longest := int(lengths.argmax())] > max(row_lengths):
            raise ValueError(
                f"{self.documents[longest].name}: {lengths[longest]} tokens, expected at most "
                f"{max(row_lengths)}, the longest row"
            )
        self._seed = seed
        rows = pack(lengths, row_lengths, seed=seed)
        used = sorted({row.length for row in rows})
        self._rows = {n: [row.members for row in rows if row.length == n] for n in used}
        self.shapes = tuple(
            Shape(
                max(batch_tokens // (length * rows_multiple), 1) * rows_multiple,
                length,
                most_reads(self.documents, self._rows[length]),
            )
            for length in used
        )
        self.fill = lengths.sum() / sum(row.length for row in rows)
        self._shares = np.array([len(self._rows[s.length]) / s.rows for s in self.shapes])
        self.batches_per_epoch = float(self._shares.sum())
        self._turns: list[tuple[int, int]] = []
        self._taken = np.zeros(len(self.shapes), int)
        self._orders: dict[tuple[int, int], np.ndarray] = {}

    def batch(self, index: int) -> Batch:
        """Batch `index` = 0, 1, ... of the stream."""
        while len(self._turns) <= index:
            due = (len(self._turns) + 1) * self._shares / self._shares.sum() - self._taken
            turn = int(np.argmax(due))
            self._turns.append((turn, int(self._taken[turn])))
            self._taken[turn] += 1
        turn, nth = self._turns[index]
        shape = self.shapes[turn]
        rows = self._rows[shape.length]
        places = range(nth * shape.rows, (nth + 1) * shape.rows)
        chosen = [rows[self._order(turn, p // len(rows))[p % len(rows)]] for p in places]
        return assemble(self.documents, chosen, shape)

    def _order(self, turn: int, epoch: int) -> np.ndarray:
        if (turn, epoch) not in self._orders:
            self._orders = {key: order for key, order in self._orders.items() if key[0] != turn}
            count = len(self._rows[self.shapes[turn].length])
            rng = np.random.default_rng([self._seed, 1, turn, epoch])
            self._orders[turn, epoch] = rng.permutation(count)
        return self._orders[turn, epoch]

    def check_fits(self, config: LlamaConfig) -> None:
        """Raises ValueError where a document is too long for the model or a token unknown to it."""
        check_fits(self.documents, config)

    def fingerprint(self) -> str:
        """The same for the same documents and arguments, and for nothing else."""
        digest = hashlib.sha256(repr((self.shapes, self._seed, self._rows)).encode())
        for document in self.documents:
            for array in document[1:]:
                digest.update(f"{array.dtype}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def pack(lengths: np.ndarray, row_lengths: Sequence[int], *, seed: int = 0) -> list[Row]:
    """Best fit: a document goes where it leaves least room, or opens the shortest row it fits.

    Documents above a quarter of the longest row come first, the longest first; the others in random
    order, so that rows do not differ in kind.

    Args:
      lengths: int [N], tokens of each document.
      row_lengths: that rows may have; the longest holds every document.
      seed: of the random order.
    """
    sizes = sorted(row_lengths)
    shuffled = np.random.default_rng([seed, 0]).permutation(len(lengths))
    key = np.where(lengths > sizes[-1] / 4, -lengths, 0)
    rows: list[Row] = []
    rooms: list[tuple[int, int]] = []  # tokens left, row; sorted
    for i in shuffled[np.argsort(key[shuffled], kind="stable")].tolist():
        length = int(lengths[i])
        at = bisect.bisect_left(rooms, (length, -1))
        if at < len(rooms):
            room, row = rooms.pop(at)
        else:
            room, row = sizes[bisect.bisect_left(sizes, length)], len(rows)
            rows.append(Row(room, []))
        rows[row].members.append(i)
        if room > length:
            bisect.insort(rooms, (room - length, row))
    return rows


def assemble(documents: Sequence[Document], rows: Sequence[Sequence[int]], shape: Shape) -> Batch:
    """The batch with these documents in its rows; rows that `shape` has beyond them are padding."""
    example = documents[rows[0][0]]

    def empty(size, dtype, tail=()):
        return np.zeros((shape.rows, size, *tail), dtype)

    batch = Batch(
        tokens=empty(shape.length, np.int32),
        segments=empty(shape.length, np.int32),
        reads=empty(shape.reads, np.int32),
        targets=empty(shape.reads, example.targets.dtype, example.targets.shape[1:]),
        weights=empty(shape.reads, np.float32, example.weights.shape[1:]),
        features=empty(shape.reads, np.float32, example.features.shape[1:]),
    )
    for row, members in enumerate(rows):
        start, read = 0, 0
        for segment, member in enumerate(members, start=1):
            document = documents[member]
            end, last = start + len(document.tokens), read + len(document.reads)
            batch.tokens[row, start:end] = document.tokens
            batch.segments[row, start:end] = segment
            batch.reads[row, read:last] = document.reads + start
            batch.targets[row, read:last] = document.targets
            batch.weights[row, read:last] = document.weights
            batch.features[row, read:last] = document.features
            start, read = end, last
    return batch


def choose_row_lengths(lengths: np.ndarray) -> tuple[int, ...]:
    """Up to three row lengths that cost least by padding and attention together.

    The cost of a row of T tokens is taken as T (1 + T / 1024). Candidates are packed, on a sample
    where there are many documents.

    Args:
      lengths: int [N], of the documents.

    Returns:
      Ascending multiples of 32; the last one holds the longest document.
    """
    step = max(len(lengths) // _MAX_SAMPLE, 1)
    sample = np.sort(np.asarray(lengths))[::-1][::step]  # the longest is in it
    longest = _rounded(int(sample[0]))
    candidates = [
        tuple(sorted({_rounded(int(top / part)) for part in parts} | {longest}))
        for top in (longest, 1.5 * longest, 2 * longest, 4 * longest)
        for parts in ((1,), (1, 2), (1, 4), (1, 2, 4), (1, 3), (1, 1.5))
        if parts == (1,) or top <= 2 * longest
    ]

    def cost(row_lengths: tuple[int, ...]) -> float:
        rows = pack(sample, row_lengths)
        return sum(row.length * (1 + row.length / _ATTENTION_TOKENS) for row in rows)

    return min(candidates, key=lambda found: (cost(found), len(found)))


def check_documents(documents: Sequence[Document]) -> None:
    """Raises ValueError where `documents` is empty or one is not as `Document` says."""
    if not documents:
        raise ValueError("no documents, expected one or more")
    example = documents[0]
    for document in documents:
        name, count = document.name, len(document.reads)
        if not len(document.tokens) or not count:
            raise ValueError(
                f"{name}: {len(document.tokens)} tokens and {count} reads, expected some of each"
            )
        low, high = int(document.reads.min()), int(document.reads.max())
        if low < 0 or high >= len(document.tokens):
            raise ValueError(f"{name}: reads {low}..{high}, expected 0..{len(document.tokens) - 1}")
        if document.tokens.min() < 0:
            raise ValueError(f"{name}: token {document.tokens.min()}, expected 0 or more")
        for field in ("targets", "weights", "features"):
            found, first = getattr(document, field), getattr(example, field)
            if len(found) != count or found.shape[1:] != first.shape[1:]:
                raise ValueError(
                    f"{name}: {field} has shape {found.shape}, expected {(count, *first.shape[1:])}"
                )
            if field != "targets" and not np.all(np.isfinite(found)):
                raise ValueError(f"{name}: {field} holds a number that is not finite")
        if document.targets.dtype != example.targets.dtype:
            raise ValueError(
                f"{name}: targets are {document.targets.dtype}, expected {example.targets.dtype}"
            )
        if document.weights.min() < 0:
            raise ValueError(f"{name}: weight {document.weights.min()}, expected 0 or more")


def check_fits(documents: Sequence[Document], config: LlamaConfig) -> None:
    """Raises ValueError where a document is too long for the model or a token unknown to it."""
    for document in documents:
        if len(document.tokens) > config.max_position_embeddings:
            raise ValueError(
                f"{document.name}: {len(document.tokens)} tokens, expected at most "
                f"{config.max_position_embeddings}, the model's max_position_embeddings"
            )
        if document.tokens.max() >= config.vocab_size:
            raise ValueError(
                f"{document.name}: token {document.tokens.max()}, expected "
                f"0..{config.vocab_size - 1}, the model's vocabulary"
            )


def most_reads(documents: Sequence[Document], rows: Iterable[Sequence[int]]) -> int:
    """Reads of the fullest row, a multiple of 8."""
    most = max(sum(len(documents[i].reads) for i in members) for members in rows)
    return -(-most // 8) * 8


def _rounded(length: int) -> int:
    return -(-length // _ROUND) * _ROUND
