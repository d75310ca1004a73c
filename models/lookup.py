"""Hidden states computed once, in place of the decoder that they come from.

Where a head alone is trained, the decoder gives the same hidden states in every step. Computed
once, they are a table; a text is then one token, its row in the table:

    hidden = np.concatenate(hidden_scorer(backbone)(documents))             [N, D] at the reads
    model = HeadedLlama(Lookup(backbone.config, hidden), head)
    train(model, Packing(lookup_documents(reads, N), ...), loss, config, folder=folder)

Training and all losses are used as they are. `StoredHead` is the head on stored hidden states.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import ArrayLike

from models.config import Execution, LlamaConfig
from models.documents import Document
from models.heads import Head, HeadConfig, HeadedLlama
from models.llama import Llama
from models.prefixes import Reads
from models.scoring import Scorer

_TOGETHER = 32  # texts of a document: the shortest row
_BLOCK = 256  # reads that a head is applied to at once: one compilation


class Lookup(nnx.Module):
    """Stands where a `HeadedLlama` has its decoder; has nothing to train.

    Attributes:
      config: the decoder's, with as many tokens as there are rows.
      execution: of no effect; a training asks for it.
      table: float32 [N, D].
    """

    def __init__(self, config: LlamaConfig, hidden: ArrayLike):
        """Takes hidden states [N, D], N > 0.

        Raises:
          ValueError: they are not [N, D] with D the config's hidden_size, or not finite.
        """
        table = np.asarray(hidden, np.float32)
        if table.ndim != 2 or not len(table) or table.shape[1] != config.hidden_size:
            raise ValueError(f"hidden has shape {table.shape}, expected (N, {config.hidden_size})")
        if not np.all(np.isfinite(table)):
            raise ValueError("hidden holds a number that is not finite")
        self.config = dataclasses.replace(config, vocab_size=len(table))
        self.execution = Execution()
        self.table = nnx.Variable(jnp.asarray(table))

    def __call__(self, tokens: jax.Array, *, segments: jax.Array, reads: jax.Array) -> jax.Array:
        """[B, R, D]: the rows of the tokens [B, T] at the reads [B, R]."""
        return self.table[...][jnp.take_along_axis(tokens, reads, axis=1, mode="clip")]


def lookup_documents(reads: Reads, count: int, *, seed: int = 0) -> list[Document]:
    """Documents for a `Lookup`, each of some texts drawn at random: texts do not see each other.

    Args:
      reads: what is learnt of the texts; targets and weights are given.
      count: texts, N.
      seed: of which are together.
    """
    first = np.searchsorted(reads.text, np.arange(count + 1))
    order = np.random.default_rng([seed, 3]).permutation(count).astype(np.int32)
    found = []
    for start in range(0, count, _TOGETHER):
        texts = order[start : start + _TOGETHER]
        at = np.concatenate([np.arange(first[i], first[i + 1]) for i in texts])
        if not len(at):
            continue
        features = np.zeros((len(at), 0)) if reads.features is None else reads.features[at]
        found.append(
            Document(
                f"texts {start} to {start + len(texts) - 1}, shuffled",
                texts,
                np.repeat(np.arange(len(texts)), np.diff(first)[texts]).astype(np.int32),
                reads.targets[at],
                reads.weights[at].astype(np.float32),
                features.astype(np.float32),
            )
        )
    return found


def hidden_scorer(backbone: Llama, **how) -> Scorer:
    """A scorer whose outputs are the hidden states at the reads, float32 [R, D] a document.

    Args:
      backbone: the decoder.
      **how: row_lengths and batch_tokens of `Scorer`.
    """
    return Scorer(HeadedLlama(backbone, _Whole()), **how)


class StoredHead:
    """A head on hidden states that are at hand; the weights are those at the time it is made."""

    def __init__(self, head: Head):
        graphdef, self._weights = nnx.split(head)
        self._config = head.config
        self._run = jax.jit(lambda weights, *x: nnx.merge(graphdef, weights)(*x))

    def __call__(self, hidden: ArrayLike, features: ArrayLike | None = None) -> np.ndarray:
        """float32 [N, num_outputs].

        Args:
          hidden: [N, D].
          features: [N, num_features], as `HeadConfig.features` makes them; None where none is read.

        Raises:
          ValueError: features are missing, not asked for, or not one row for each hidden state.
        """
        hidden, size = np.asarray(hidden, np.float32), self._config.num_features
        count = len(hidden)
        features = np.zeros((count, 0)) if features is None else features
        features = np.asarray(features, np.float32)
        if features.shape != (count, size):
            raise ValueError(f"features have shape {features.shape}, expected ({count}, {size})")
        found = np.empty((count, self._config.num_outputs), np.float32)
        for start in range(0, count, _BLOCK):
            part = slice(start, start + _BLOCK)
            blank = ((0, _BLOCK - len(hidden[part])), (0, 0))
            padded = (np.pad(x[part], blank) for x in (hidden, features))
            found[part] = np.asarray(self._run(self._weights, *padded))[: _BLOCK - blank[0][1]]
        return found


class _Whole(nnx.Module):
    """The hidden state itself, where a head would read it."""

    config = HeadConfig("success", 0)

    def __call__(self, hidden: jax.Array, features: jax.Array) -> jax.Array:
        return hidden.astype(jnp.float32)
