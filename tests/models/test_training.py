"""What training does to a model, and when it stops."""

import dataclasses
import json
import math
import os
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest
from flax import nnx

from models import lora
from models.config import Execution
from models.documents import Limit, state_documents
from models.heads import HeadConfig
from models.llama import Llama
from models.losses import NextToken, Success
from models.training import DivergedError, train
from models.training_config import TrainingConfig
from tests.models import killed_run, tiny

CONFIG = TrainingConfig(steps=4, learning_rate=1e-2, schedule="constant", checkpoint_every=2)


def weights(model):
    return [np.array(leaf) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))]


@dataclasses.dataclass(frozen=True)
class Broken(Success):
    """Times the `factor` of a `tiny.Bag` where its bias has passed .175."""

    def __call__(self, model, batch):
        sums = super().__call__(model, batch)
        factor = jax.numpy.where(model.bias[...] > 0.175, model.factor[...], 1.0)
        return sums._replace(loss=factor * sums.loss)


@dataclasses.dataclass(frozen=True)
class Scripted(Success):
    """Learns as `Success`, and says the losses given, one after the other; the bias is its clock,
    as it grows by .01 a step."""

    losses: tuple[float, ...] = ()

    def __call__(self, model, batch):
        sums = super().__call__(model, batch)
        step = jax.numpy.round(model.bias[...] / 0.01).astype(int)
        said = jax.numpy.array(self.losses)[step] * sums.weight
        return sums._replace(loss=sums.loss + jax.lax.stop_gradient(said - sums.loss))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Reports and history of a run that learns to say the first tokens of its prompt again."""
    model, reports, folder = tiny.llama(layers=1), [], tmp_path_factory.mktemp("run")
    before = weights(model)
    history = killed_run.run(folder, model, on_step=reports.append)
    return before, weights(model), reports, history, folder


def test_the_loss_falls_to_a_tenth_on_replies_learnt_by_heart(trained):
    *_, history, _ = trained
    assert history[0]["loss"] > 4 and history[-1]["loss"] < 0.1 * history[0]["loss"]


def test_every_weight_moves(trained):
    before, after, *_ = trained
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(before, after, strict=True))


def test_each_step_is_reported_and_written_down(trained):
    *_, reports, history, folder = trained
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == history
    for report, values in zip(reports, history, strict=True):
        assert values == {name: getattr(report, name) for name in values}
        assert report.tokens_per_second > 0 and report.seconds_left >= 0
        assert 0 < report.tokens <= 4 * tiny.ROW
    assert reports[-1].seconds_left == 0
    np.testing.assert_allclose(
        [values["learning_rate"] for values in history[:6]],
        [0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01],
        rtol=1e-6,
    )
    assert sorted(os.listdir(folder / "checkpoints"), key=int) == ["40", "60"]


def test_a_batch_in_parts_is_the_batch(tmp_path):
    """Losses and gradient norms of four steps, in 1, 2 and 8 parts each."""
    found = []
    for part_tokens in (8 * tiny.ROW, 7 * tiny.ROW, 1):
        config = dataclasses.replace(CONFIG, part_tokens=part_tokens, clip_norm=0.5)
        found.append(
            train(
                tiny.Bag(),
                tiny.packing(tiny.trajectories(30)),
                Success(),
                config,
                folder=tmp_path / str(part_tokens),
            )
        )
    for name in ("loss", "grad_norm", "tokens"):
        whole, *parts = ([values[name] for values in history] for history in found)
        for some in parts:
            np.testing.assert_allclose(some, whole, rtol=1e-4)


def test_longer_trainings_and_other_rates_share_a_compiled_step(tmp_path):
    calls = []

    class Counted(Success):
        def __call__(self, model, batch):
            calls.append(batch.tokens.shape)
            return super().__call__(model, batch)

    loss, packing = Counted(), tiny.packing(tiny.trajectories())
    changes = ({}, dict(steps=6, warmup_steps=2), dict(learning_rate=1e-3, schedule="cosine"))
    traced = []
    for i, change in enumerate(changes):
        config = dataclasses.replace(CONFIG, **change)
        train(tiny.Bag(), packing, loss, config, folder=tmp_path / str(i))
        traced.append(len(calls))
    assert 0 < traced[0] == traced[-1]


def test_with_adapters_nothing_else_moves(tmp_path):
    model = tiny.headed(HeadConfig("success", 0), layers=1)
    lora.add(model.backbone, lora.LoraConfig(2, 4.0, ("q_proj", "v_proj")), rngs=nnx.Rngs(1))
    chosen = lora.trainable(model)
    before = nnx.split_state(nnx.state(model), chosen, ...)
    before = jax.tree.map(np.array, before)
    train(model, tiny.packing(tiny.trajectories()), Success(), CONFIG, folder=tmp_path)
    after = nnx.split_state(nnx.state(model), chosen, ...)
    moved, kept = (
        [np.abs(a - b).max() > 0 for a, b in zip(*map(jax.tree.leaves, pair), strict=True)]
        for pair in zip(before, after, strict=True)
    )
    assert all(moved) and len(moved) == 2 * 2 + 2
    assert not any(kept) and len(kept) > 5


@pytest.mark.parametrize(
    "value, message",
    [
        (math.nan, r"step \d+: loss nan, gradient norm nan, expected finite numbers; the last"),
        (math.inf, r"step \d+: loss inf, gradient norm"),
        (1000.0, r"step \d+: mean loss .* of the last 10 steps, expected at most 10.0 times"),
    ],
)
def test_a_loss_that_breaks_stops_and_keeps_the_last_good_checkpoint(tmp_path, value, message):
    certain = tiny.trajectories(targets=lambda rng, turns: np.ones((turns, 1)))  # the bias grows
    config = dataclasses.replace(CONFIG, steps=40, checkpoint_every=4)
    model = tiny.Bag()
    model.factor = nnx.Variable(jax.numpy.float32(value))
    with pytest.raises(DivergedError, match=message) as error:
        train(model, tiny.packing(certain), Broken(), config, folder=tmp_path)
    saved = max(map(int, os.listdir(tmp_path / "checkpoints")))
    assert f"checkpoints/{saved}" in str(error.value) and saved == 16
    history = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(history) == 18
    assert all(math.isfinite(values["loss"]) for values in history)


def certain():
    """What makes the bias of a `tiny.Bag` grow by the learning rate at each step."""
    return tiny.packing(tiny.trajectories(targets=lambda rng, turns: np.ones((turns, 1))))


def fallen(*after):
    """Losses that fall from 4 to 0 within 20 steps, and these after 24."""
    return (*np.maximum(4 - 0.2 * np.arange(24), 0).tolist(), *after)


def test_learning_that_is_lost_stops_though_it_is_no_worse_than_at_first(tmp_path):
    """Bad from step 25 on: the checkpoint of step 28 is not written, that of 24 is not called good,
    as its weights made the loss of step 25."""
    loss = Scripted(fallen(*[3.9] * 16))
    config = dataclasses.replace(CONFIG, steps=40, checkpoint_every=4)
    message = r"step 29: mean loss 1.97 of the last 10 steps, expected at most .*/20; remove .*/24"
    with pytest.raises(DivergedError, match=message):
        train(tiny.Bag(), certain(), loss, config, folder=tmp_path)
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["20", "24"]


def test_a_checkpoint_waits_until_a_loss_has_come_down(tmp_path):
    """Of step 28, whose loss is bad, until step 30."""
    loss = Scripted(fallen(*[0] * 3, 3.9, 3.9, *[0] * 3))
    config = dataclasses.replace(CONFIG, steps=31, checkpoint_every=14, keep=3)
    assert len(train(tiny.Bag(), certain(), loss, config, folder=tmp_path)) == 31
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["14", "30", "31"]


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    class Wild(TrainingConfig):
        def optimizer(self):
            return optax.scale(-math.inf)

    config = Wild(steps=1, learning_rate=1.0)
    with pytest.raises(DivergedError, match="step 1: a weight is not finite after it; there is no"):
        train(tiny.Bag(), certain(), Success(), config, folder=tmp_path)
    assert not os.listdir(tmp_path / "checkpoints")


def test_weights_of_half_precision_are_refused(tmp_path):
    model = Llama(tiny.CONFIG, rngs=nnx.Rngs(0), dtype="bfloat16")
    with pytest.raises(ValueError, match="trained weights are not float32"):
        train(model, tiny.packing(tiny.replies()), NextToken(), CONFIG, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "documents, message",
    [
        (lambda: tiny.trajectories(targets=lambda rng, n: np.full((n, 1), 2.0)), "target 2.0"),
        (lambda: tiny.replies(), "targets are int32"),
        (
            lambda: state_documents("task", [[99]], targets=[[0.0]], limit=Limit(9)),
            "task: token 99, expected 0..63",
        ),
    ],
)
def test_bad_data_leave_no_folder(tmp_path, documents, message):
    model = tiny.headed(HeadConfig("success", 0))
    with pytest.raises(ValueError, match=message):
        train(model, tiny.packing(documents()), Success(), CONFIG, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_rows_that_cannot_be_shared_out_are_refused(tmp_path):
    model = tiny.llama()
    model.execution = Execution(mesh=SimpleNamespace(shape={"data": 3, "fsdp": 1, "tensor": 1}))
    with pytest.raises(ValueError, match="batches of 8 rows, expected a multiple of the 3 devices"):
        train(model, tiny.packing(tiny.replies()), NextToken(), CONFIG, folder=tmp_path)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(steps=0), "steps is 0, expected 1 or more"),
        (dict(warmup_steps=5), "warmup_steps is 5, expected 0..4"),
        (dict(schedule="step"), "schedule is 'step'"),
        (dict(part_tokens=0), "part_tokens is 0, expected 1 or more"),
        (dict(learning_rate=math.nan), "learning_rate is nan"),
        (dict(final_share=2), "final_share is 2"),
        (dict(steps=1.5), "steps is 1.5, expected a whole number"),
        (dict(weight_decay=-5), "weight_decay is -5, expected 0 or a number above 0"),
        (dict(beta2=1.0), "beta2 is 1.0, expected 0 or more, below 1"),
        (dict(clip_norm=0.0), "clip_norm is 0.0"),
        (dict(explode_ratio=-1.0), "explode_ratio is -1.0"),
    ],
)
def test_bad_configs_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **change)


@pytest.mark.parametrize("schedule, last", [("cosine", 0.1), ("linear", 0.1), ("constant", 1.0)])
def test_schedules_rise_and_fall(schedule, last):
    config = TrainingConfig(
        steps=100, learning_rate=1.0, warmup_steps=10, schedule=schedule, final_share=0.1
    )
    rates = [float(config.learning_rates()(step)) for step in (0, 9, 10, 55, 100)]
    middle = 1.0 if schedule == "constant" else 0.55
    np.testing.assert_allclose(rates, [0.1, 1.0, 1.0, middle, last], rtol=1e-5)
