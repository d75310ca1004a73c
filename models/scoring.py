"""Outputs of a headed model at every read of many documents, one pass a document.

A transcript of n states costs one pass over its text (see `models.documents.state_documents`), not
one over the text of each state.
"""

import functools
import math
from collections.abc import Sequence

import jax
import numpy as np
from flax import nnx

from models import sharding
from models.documents import Document
from models.heads import HeadedLlama
from models.packing import Shape, assemble, check_documents, check_fits, most_reads, pack

_SHORTEST_ROW, _LONGEST_ROW = 64, 4096
# That shapes of batches have room for: few reads make the last layer cheap.
_TOKENS_A_READ = (16, 4, 1)
_ROWS_STEP = 8  # batches have batch_tokens / length rows, an eighth of that, ... or one
# What is computed from so many tokens stays in the cache of a CPU's core: 1.2 times or more as fast
# as 8192 at once, at 1 to 10 million parameters.
_CPU_TOKENS, _ACCELERATOR_TOKENS = 1024, 8192


class Scorer:
    """Scores documents; compiles once for each shape of batch that it meets, also where several
    score with models of one form.

    The weights are those that the model had when the scorer was made.
    """

    def __init__(
        self,
        model: HeadedLlama,
        *,
        row_lengths: Sequence[int] | None = None,
        batch_tokens: int | None = None,
    ):
        """Takes the weights.

        Args:
          model: a decoder and its head.
          row_lengths: that rows may have; a document goes into the shortest one that holds it. None
            is `row_lengths_up_to(4096)`.
          batch_tokens: tokens in a full batch, padding included; None is 1024 on CPUs, whose
            caches hold no more, and 8192 elsewhere.
        """
        if batch_tokens is None:
            on_cpu = jax.default_backend() == "cpu"
            batch_tokens = _CPU_TOKENS if on_cpu else _ACCELERATOR_TOKENS
        self._config = model.config
        self._head = model.head.config
        self._mesh = model.execution.mesh
        self._row_lengths = sorted(row_lengths or row_lengths_up_to(_LONGEST_ROW))
        self._batch_tokens = batch_tokens
        axes = () if self._mesh is None else sharding.BATCH
        self._devices = math.prod(self._mesh.shape[axis] for axis in axes)
        graphdef, self._weights = nnx.split(model)
        if self._mesh is not None:
            self._weights = jax.device_put(
                self._weights, sharding.shardings(self._weights, self._mesh)
            )
        self._run = _compiled(graphdef)

    def __call__(self, documents: Sequence[Document]) -> list[np.ndarray]:
        """float32 [R, num_outputs] for each document, in order.

        Raises:
          ValueError: there are none, one is too long, holds an unknown token, or its features are
            not what the head reads. Names the document.
        """
        check_documents(documents)
        check_fits(documents, self._config)
        lengths = np.array([len(document.tokens) for document in documents])
        if lengths[longest := int(lengths.argmax())] > self._row_lengths[-1]:
            raise ValueError(
                f"{documents[longest].name}: {lengths[longest]} tokens, expected at most "
                f"{self._row_lengths[-1]}, the longest row"
            )
        if (found := documents[0].features.shape[1]) != self._head.num_features:
            raise ValueError(
                f"{documents[0].name}: {found} features, expected {self._head.num_features}"
            )
        rows = pack(lengths, self._row_lengths)
        scores: list[np.ndarray | None] = [None] * len(documents)
        pending = None
        for length in sorted({row.length for row in rows}):
            members = [row.members for row in rows if row.length == length]
            reads = _read_bucket(most_reads(documents, members), length)
            for chosen in self._batches(members, length):
                shape = Shape(self._batch_rows(len(chosen), length), length, reads)
                outputs = self._outputs(assemble(documents, chosen, shape))
                # One batch late: the next one is under way while this one is read.
                if pending is not None:
                    _take(documents, *pending, scores)
                pending = chosen, outputs
        _take(documents, *pending, scores)
        return scores

    @property
    def num_compiled(self) -> int:
        """Shapes of batches met so far, by all scorers with models of this form."""
        return self._run._cache_size()

    def _outputs(self, batch):
        arrays = batch.tokens, batch.segments, batch.reads, batch.features
        if self._mesh is not None:
            arrays = jax.device_put(arrays, sharding.batch_sharding(self._mesh))
        return self._run(self._weights, *arrays)

    def _full(self, length: int) -> int:
        return max(self._batch_tokens // (length * self._devices), 1) * self._devices

    def _batches(self, rows: list[list[int]], length: int):
        full = self._full(length)
        return [rows[start : start + full] for start in range(0, len(rows), full)]

    def _batch_rows(self, count: int, length: int) -> int:
        """The smallest of full, full / 8, full / 64, ... that is `count` or more."""
        rows = self._full(length)
        while rows % (_ROWS_STEP * self._devices) == 0 and rows // _ROWS_STEP >= count:
            rows //= _ROWS_STEP
        return rows


@functools.lru_cache(maxsize=8)
def _compiled(graphdef: nnx.GraphDef):
    return jax.jit(lambda weights, *batch: nnx.merge(graphdef, weights)(*batch))


def row_lengths_up_to(longest: int) -> list[int]:
    """64, 96, 128, 160, ..., 256, 320, ...: steps of a quarter of an octave, up to the first that
    holds the longest text. Texts of like length, as states are, then fill their rows."""
    found = [_SHORTEST_ROW]
    while found[-1] < longest:
        octave = 1 << (found[-1].bit_length() - 1)
        found.append(found[-1] + max(octave // 4, _SHORTEST_ROW // 2))
    return found


def _take(documents, rows, outputs, scores) -> None:
    outputs = np.asarray(outputs)
    for row, members in enumerate(rows):
        start = 0
        for member in members:
            end = start + len(documents[member].reads)
            scores[member] = outputs[row, start:end]
            start = end


def _read_bucket(number: int, length: int) -> int:
    """The first of a few sizes that is `number` or more, for rows of so many tokens."""
    for tokens in _TOKENS_A_READ:
        if number <= length // tokens:
            return length // tokens
    return 1 << (number - 1).bit_length()
