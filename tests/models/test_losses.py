"""Losses against numpy, packed against one document a row, and targets out of range."""

import functools

import jax
import numpy as np
import pytest
from flax import nnx
from scipy import special

from models.documents import Limit, reply_document, state_documents
from models.heads import HeadConfig
from models.layers import read
from models.losses import NextToken, Policy, Regression, Success, class_weights
from models.packing import Shape, assemble
from tests.models import tiny


@functools.cache
def headed(kind):
    return tiny.headed(HeadConfig(kind, num_helps=1))


def outcomes(rng, turns):
    return rng.random((turns, 2))


def labels(rng, turns):
    return rng.integers(0, 2, turns)


class Outputs:
    """A model that has said all it will say: for losses alone, nothing is compiled."""

    def __init__(self, outputs, kernel=None):
        self.outputs, self.kernel = outputs, kernel

    def __call__(self, *batch, segments=None, reads=None):
        return self.outputs if reads is None else read(self.outputs, reads)

    def logits(self, hidden):
        return hidden @ self.kernel


SHAPE = Shape(8, tiny.ROW, 24)


def one_a_row(documents):
    return assemble(documents, [[i] for i in range(len(documents))], SHAPE)


def packed(documents):
    rows = [list(range(i, len(documents), 6)) for i in range(6)]
    return assemble(documents, rows, SHAPE)


@functools.cache
def value_and_gradient(loss, graphdef):
    def total(state, batch):
        return loss(nnx.merge(graphdef, state), batch).loss

    return jax.jit(jax.value_and_grad(total))


@pytest.mark.parametrize(
    "loss, model, documents",
    [
        (NextToken(), tiny.llama, lambda: tiny.replies(8)),
        (Success(), lambda: headed("success"), lambda: tiny.trajectories(8, targets=outcomes)),
    ],
    ids=["next token", "head"],
)
def test_packed_and_unpacked_have_the_same_loss_and_gradient(loss, model, documents):
    documents = documents()
    graphdef, state = nnx.split(model())
    evaluate = value_and_gradient(loss, graphdef)
    one, two = (evaluate(state, form(documents)) for form in (one_a_row, packed))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_values_against_numpy():
    rng = np.random.default_rng(0)
    batch = packed(tiny.trajectories(targets=outcomes))
    weights = batch.weights * rng.random(batch.weights.shape).astype(np.float32)
    y = batch.targets.astype(float)
    logits = rng.normal(size=y.shape)
    model = Outputs(logits.astype(np.float32))

    expected = -(y * np.log(special.expit(logits)) + (1 - y) * np.log(special.expit(-logits)))
    each = np.stack([weights, 2 * weights], axis=-1)
    found = Success()(model, batch._replace(weights=each))
    np.testing.assert_allclose(found.loss, np.sum(each * expected), rtol=1e-5)
    np.testing.assert_allclose(found.weight, np.sum(each), rtol=1e-5)

    # A weight a read is one for each of its columns.
    found = Regression()(model, batch._replace(weights=weights))
    expected = np.sum(weights[..., None] * (logits - y) ** 2)
    np.testing.assert_allclose(found.loss, expected, rtol=1e-5)
    np.testing.assert_allclose(found.weight, 2 * np.sum(weights), rtol=1e-5)

    target = (y[..., 0] > 0.5).astype(np.int32)
    chosen = np.take_along_axis(special.log_softmax(logits, -1), target[..., None], -1)[..., 0]
    found = Policy()(model, batch._replace(targets=target, weights=weights))
    np.testing.assert_allclose(found.loss, -np.sum(weights * chosen), rtol=1e-5)


@pytest.mark.parametrize("chunk", [None, 5, 24, 40])
def test_next_token_against_numpy_with_logits_a_chunk_at_a_time(chunk):
    rng = np.random.default_rng(0)
    batch = packed(tiny.replies())
    hidden = rng.normal(size=(*batch.tokens.shape, 5)).astype(np.float32)
    kernel = rng.normal(size=(5, tiny.VOCAB)).astype(np.float32)
    found = NextToken(chunk)(Outputs(hidden, kernel), batch)
    read = np.take_along_axis(hidden, batch.reads[..., None], axis=1)
    logits = special.log_softmax((read @ kernel).astype(float), axis=-1)
    chosen = np.take_along_axis(logits, batch.targets[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(found.loss, -np.sum(batch.weights * chosen), rtol=1e-5)
    assert found.weight == np.sum(batch.weights) == 3 * 12


def test_class_weights_make_classes_weigh_the_same():
    found = np.array([0] * 8 + [2] * 2)
    weights = class_weights(found, 3)
    np.testing.assert_allclose(weights, [10 / 16, 0, 10 / 4])
    np.testing.assert_allclose(np.bincount(found, weights[found]), [5, 0, 5])
    np.testing.assert_allclose(class_weights(found, 3, balance=0.0), [1, 0, 1])


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([], 2), "no labels"),
        (([0, 3], 2), "labels 0..3, expected 0..1"),
        (([0, 1], 2, 2.0), "balance is 2.0, expected 0..1"),
    ],
)
def test_class_weights_refuse_bad_labels(arguments, message):
    *rest, balance = arguments if len(arguments) == 3 else (*arguments, 1.0)
    with pytest.raises(ValueError, match=message):
        class_weights(*rest, balance=balance)


@pytest.mark.parametrize(
    "loss, kind, targets, message",
    [
        (Success(), "success", [[0.5, 1.5]], "read 0, column 1: target 1.5, expected 0.0..1.0"),
        (Success(), "success", [[np.nan, 0]], "task 0: read 0, column 0: target nan"),
        (Success(), "success", [[0.5]], r"targets are float32 \(1, 1\), expected floats"),
        (Policy(), "policy", [2], "task 0: read 0: 2 is a label out of range, expected 0..1"),
        (Policy(), "policy", [-1], "task 0: read 0: -1 is a label out of range"),
        (Policy(), "policy", [0.5], "task 0: targets are float32"),
        (Regression(), "gains", [[np.inf, 0]], "target inf, expected a finite number"),
    ],
)  # fmt: skip
def test_targets_out_of_range_are_named(loss, kind, targets, message):
    documents = state_documents("task 0", [[1, 2]], targets=targets, limit=Limit(9))
    with pytest.raises(ValueError, match=message):
        loss.check(headed(kind), documents)
    good = tiny.trajectories(targets=labels if kind == "policy" else outcomes)
    loss.check(headed(kind), good)


def test_replies_of_unknown_tokens_are_named():
    document = reply_document("pair 3", [1, 2], [5, 64], limit=Limit(9))
    with pytest.raises(ValueError, match="pair 3: read 1: 64 is a token out of range"):
        NextToken().check(tiny.llama(), [document])


@pytest.mark.parametrize(
    "loss, kind, targets, weights, message",
    [
        (Success(), "success", [[0.5, 0.5]], [[1, 1, 1]], r"\(1, 3\), expected \(1,\) or \(1, 2\)"),
        (Policy(), "policy", [1], [[1, 1]], r"\(1, 2\), expected \(1,\)"),
    ],
)
def test_weights_of_another_shape_are_named(loss, kind, targets, weights, message):
    rest = dict(targets=targets, weights=weights, limit=Limit(9))
    with pytest.raises(ValueError, match=f"task 0: weights.*{message}"):
        loss.check(headed(kind), state_documents("task 0", [[1, 2]], **rest))


@pytest.mark.parametrize("means", [(), (0.0, 0.0)])
def test_features_that_the_head_does_not_read_or_lacks_are_named(means):
    config = HeadConfig("success", 1, feature_means=means, feature_scales=(1.0,) * len(means))
    rest = dict(targets=[[0.5, 0.5]], features=[[1.0]], limit=Limit(9))
    [document] = state_documents("task 0", [[1, 2]], **rest)
    message = rf"task 0: features have shape \(1, 1\), expected \(1, {len(means)}\)"
    with pytest.raises(ValueError, match=message):
        Success().check(tiny.headed(config), [document])


def test_a_model_of_another_kind_is_named():
    for loss in (Success(), Policy(), Regression()):
        with pytest.raises(ValueError, match="model is a Llama, expected a HeadedLlama for "):
            loss.check(tiny.llama(), [])
    with pytest.raises(ValueError, match="a HeadedLlama, expected one with logits for NextToken"):
        NextToken().check(headed("success"), [])
