"""What the models are trained for: a sum over the reads of a batch, and the sum of its weights.

A loss is called on a model and a batch, and checks documents before training. Training minimises
sum(loss) / sum(weight) over a whole step, however many parts it is computed in.
"""

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from numpy.typing import ArrayLike

from models.documents import Document
from models.heads import HeadConfig, HeadedLlama
from models.llama import Llama
from models.packing import Batch


class Sums(NamedTuple):
    """float32 [] each."""

    loss: jax.Array
    weight: jax.Array


class Loss(Protocol):
    """What `models.training.train` minimises."""

    def __call__(self, model: nnx.Module, batch: Batch) -> Sums:
        """Traced by jax."""
        ...

    def check(self, model: nnx.Module, documents: Iterable[Document]) -> None:
        """Raises ValueError where the model is of another kind, or a document does not fit it: a
        target out of range, or features or weights of another shape; names the document."""
        ...


@dataclasses.dataclass(frozen=True)
class NextToken:
    """SFT: cross-entropy of the token after each read. Targets int [R]; the model is a `Llama`.

    Attributes:
      chunk: reads a row whose logits exist at one time, [B, chunk, V]; computed again in the
        backward pass. None is all. Must divide nothing: the last chunk is padded.
    """

    chunk: int | None = None

    def __call__(self, model: Llama, batch: Batch) -> Sums:
        hidden = model(batch.tokens, segments=batch.segments, reads=batch.reads)

        def sums(hidden, targets, weights):
            losses = optax.softmax_cross_entropy_with_integer_labels(model.logits(hidden), targets)
            return jnp.sum(weights * losses)

        if self.chunk is None:
            return Sums(sums(hidden, batch.targets, batch.weights), jnp.sum(batch.weights))

        def chunked(x):  # [chunks, B, chunk, ...]
            x = jnp.pad(x, [(0, 0), (0, -x.shape[1] % self.chunk)] + [(0, 0)] * (x.ndim - 2))
            return jnp.moveaxis(x.reshape(x.shape[0], -1, self.chunk, *x.shape[2:]), 1, 0)

        def add(total, part):
            return total + jax.checkpoint(sums)(*part), None

        parts = tuple(map(chunked, (hidden, batch.targets, batch.weights)))
        total, _ = jax.lax.scan(add, jnp.zeros((), jnp.float32), parts)
        return Sums(total, jnp.sum(batch.weights))

    def check(self, model: Llama, documents: Iterable[Document]) -> None:
        if not hasattr(model, "logits"):
            raise ValueError(
                f"the model is a {type(model).__name__}, expected one with logits for NextToken"
            )
        _check_classes(documents, model.config.vocab_size, "a token")
        _check_weights(documents)


@dataclasses.dataclass(frozen=True)
class Success:
    """PRM: binary cross-entropy of p(success), for the actors that were tried.

    Targets float [R, 1 + K] in 0..1: outcomes, or soft ones such as the share of rollouts that
    succeeded. Weights [R, 1 + K], 0 for an actor without a rollout from there.
    """

    def __call__(self, model: HeadedLlama, batch: Batch) -> Sums:
        logits = model(batch.tokens, batch.segments, batch.reads, batch.features)
        losses = optax.sigmoid_binary_cross_entropy(logits, batch.targets)
        return _weighted(losses, batch.weights)

    def check(self, model: HeadedLlama, documents: Iterable[Document]) -> None:
        config = _head_config(self, model)
        _check_numbers(documents, config.num_outputs, 0.0, 1.0)
        _check_weights(documents)
        _check_features(documents, config.num_features)


@dataclasses.dataclass(frozen=True)
class Policy:
    """The paper's helper: cross-entropy of the label. Targets int [R], 0 nohelp, 1..K help i.

    Labels are unbalanced: see `class_weights`.
    """

    def __call__(self, model: HeadedLlama, batch: Batch) -> Sums:
        logits = model(batch.tokens, batch.segments, batch.reads, batch.features)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.targets)
        return _weighted(losses, batch.weights)

    def check(self, model: HeadedLlama, documents: Iterable[Document]) -> None:
        config = _head_config(self, model)
        _check_classes(documents, config.num_outputs, "a label")
        _check_weights(documents)
        _check_features(documents, config.num_features)


@dataclasses.dataclass(frozen=True)
class Regression:
    """Advantages or gains: squared error. Targets and weights float [R, num_outputs].

    Squared, since what decides is the expected gain, and only the squared error has the mean as
    its minimiser. Differences in calls are larger than those in success: weights a column put them
    on one scale.
    """

    def __call__(self, model: HeadedLlama, batch: Batch) -> Sums:
        outputs = model(batch.tokens, batch.segments, batch.reads, batch.features)
        return _weighted(jnp.square(outputs - batch.targets), batch.weights)

    def check(self, model: HeadedLlama, documents: Iterable[Document]) -> None:
        config = _head_config(self, model)
        _check_numbers(documents, config.num_outputs, -np.inf, np.inf)
        _check_weights(documents)
        _check_features(documents, config.num_features)


def class_weights(labels: ArrayLike, num_classes: int, *, balance: float = 1.0) -> np.ndarray:
    """Weight of each class, (N / (C n_c)) ** balance: at balance 1 all classes weigh the same.

    Args:
      labels: int [N].
      num_classes: of which C occur.
      balance: 0 (none) to 1.

    Returns:
      float [num_classes]; 0 for a class that does not occur. `class_weights(...)[labels]` are
      weights of reads.

    Raises:
      ValueError: there are no labels, or one is out of range.
    """
    labels = np.asarray(labels)
    if not labels.size:
        raise ValueError("no labels, expected one or more")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"labels {labels.min()}..{labels.max()}, expected 0..{num_classes - 1}")
    if not 0 <= balance <= 1:
        raise ValueError(f"balance is {balance}, expected 0..1")
    counts = np.bincount(labels, minlength=num_classes)
    present = counts > 0
    full = labels.size / (present.sum() * np.maximum(counts, 1))
    return np.where(present, full**balance, 0.0)


def _weighted(losses: jax.Array, weights: jax.Array) -> Sums:
    weights = weights.reshape(weights.shape + (1,) * (losses.ndim - weights.ndim))
    weights = jnp.broadcast_to(weights, losses.shape)
    return Sums(jnp.sum(weights * losses), jnp.sum(weights))


def _head_config(loss: Loss, model: nnx.Module) -> HeadConfig:
    if not hasattr(model, "head"):
        raise ValueError(
            f"the model is a {type(model).__name__}, expected a HeadedLlama for "
            f"{type(loss).__name__}"
        )
    return model.head.config


def _check_weights(documents: Iterable[Document]) -> None:
    for document in documents:
        shape, targets = document.weights.shape, document.targets.shape
        if shape not in (targets[:1], targets):
            expected = " or ".join(map(str, dict.fromkeys((targets[:1], targets))))
            raise ValueError(f"{document.name}: weights have shape {shape}, expected {expected}")


def _check_features(documents: Iterable[Document], size: int) -> None:
    for document in documents:
        expected = len(document.reads), size
        if (shape := document.features.shape) != expected:
            raise ValueError(
                f"{document.name}: features have shape {shape}, expected {expected}, as the head "
                "reads"
            )


def _check_classes(documents: Iterable[Document], size: int, what: str) -> None:
    for document in documents:
        targets = document.targets
        if targets.ndim != 1 or targets.dtype.kind not in "iu":
            raise ValueError(
                f"{document.name}: targets are {targets.dtype} {targets.shape}, expected whole "
                f"numbers ({len(document.reads)},)"
            )
        wrong = np.flatnonzero((targets < 0) | (targets >= size))
        if wrong.size:
            raise ValueError(
                f"{document.name}: read {wrong[0]}: {targets[wrong[0]]} is {what} out of range, "
                f"expected 0..{size - 1}"
            )


def _check_numbers(documents: Iterable[Document], size: int, low: float, high: float) -> None:
    for document in documents:
        targets = document.targets
        if targets.shape[1:] != (size,) or targets.dtype.kind != "f":
            raise ValueError(
                f"{document.name}: targets are {targets.dtype} {targets.shape}, expected floats "
                f"({len(document.reads)}, {size})"
            )
        wrong = np.argwhere(~((targets >= low) & (targets <= high) & np.isfinite(targets)))
        if wrong.size:
            place = tuple(wrong[0].tolist())
            raise ValueError(
                f"{document.name}: read {place[0]}, column {place[1]}: target {targets[place]}, "
                f"expected {'a finite number' if np.isinf(low) else f'{low}..{high}'}"
            )
