"""Training that can be stopped at any moment and goes on where it was.

    python script.py            trains, writes folder/run.json, metrics.jsonl, checkpoints/
    (killed)
    python script.py            goes on from the last checkpoint, to the same loss curve

Everything random is a function of the seed and the step. On a CPU a run that was interrupted ends
with the same numbers, bit for bit, as one that was not; on other devices, where their sums do so.
The step is one compiled function a batch shape; its state is donated. Numbers of steps and learning
rates are not part of it: trainings that differ in these alone share it.

Trained weights are float32: half-precision ones would lose updates below their last bit. To compute
in bfloat16 set `Execution.dtype`. Frozen weights may have any dtype.
"""

import bisect
import dataclasses
import functools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from models import lora, sharding
from models.explosion import Course
from models.losses import Loss
from models.packing import Batch, Packing
from models.run_folder import RunFolder
from models.training_config import TrainingConfig

# See `TrainingConfig.part_tokens`; by backend.
_PART_TOKENS = {"cpu": 1024}


class Report(NamedTuple):
    """One step, as it is written to metrics.jsonl and given to `on_step`.

    Attributes:
      step: updates done.
      loss: mean over the step's weights, before the update.
      grad_norm: before clipping.
      learning_rate: of the update.
      tokens: of the step, without padding.
      seconds: that the step took; the first of each batch shape compiles.
      tokens_per_second: at the median pace of this process's steps.
      seconds_left: at that pace.
    """

    step: int
    loss: float
    grad_norm: float
    learning_rate: float
    tokens: int
    seconds: float
    tokens_per_second: float
    seconds_left: float


class DivergedError(ArithmeticError):
    """The loss, its gradient or a weight is not finite, or the loss exploded.

    No checkpoint is written while a step's loss is above the bar of `models.explosion`, and none of
    weights that are not finite. The message names the last one from before.
    """


def train(
    model: nnx.Module,
    packing: Packing,
    loss: Loss,
    config: TrainingConfig,
    *,
    folder: str | Path,
    trainable: nnx.filterlib.Filter | None = None,
    on_step: Callable[[Report], None] | None = None,
) -> list[dict]:
    """Trains `model` in place, from the last checkpoint in `folder` if there is one.

    Args:
      model: a `Llama` or a `HeadedLlama`. With a mesh in its execution its weights lie on it, and
        batches are spread over it.
      packing: the data.
      loss: what is minimised.
      config: how.
      folder: of this run; made if missing.
      trainable: of the parameters; None is `lora.trainable(model)`.
      on_step: called after every step, with some delay.

    Returns:
      What metrics.jsonl holds: a dict a step, with the fields of `Report` up to `seconds`.

    Raises:
      ValueError: the data do not fit the model or the loss, trained weights are not float32, or
        `folder` holds a run with other data or another config. Nothing is written.
      DivergedError: see there. The checkpoints of the steps before are kept.
    """
    loss.check(model, packing.documents)
    packing.check_fits(model.config)
    mesh = model.execution.mesh
    devices = math.prod(mesh.shape[axis] for axis in sharding.BATCH) if mesh is not None else 1
    _check_rows(packing, devices)
    if trainable is None:
        trainable = lora.trainable(model)
    graphdef, params, frozen = nnx.split(model, trainable, ...)
    _check_float32(params)
    optimizer = config.optimizer()
    # A copy: the step donates it, and other models may hold the same arrays.
    state = TrainState(
        jax.tree.map(jnp.copy, params), optimizer.init(params), jnp.zeros((), jnp.int32)
    )
    if mesh is not None:
        state = jax.device_put(state, sharding.shardings(state, mesh))
    settings = {
        "config": dataclasses.asdict(config),
        "loss": repr(loss),
        "trained": {name: list(leaf.shape) for name, leaf in _named(params)},
        "data": packing.fingerprint(),
    }
    with RunFolder(folder, settings, keep=config.keep) as run:
        state = run.restore(state)
        start = int(state.step)
        step = _compiled_step(graphdef, loss, optimizer, mesh)
        rates = _rates(config)
        part_tokens = config.part_tokens or _PART_TOKENS.get(jax.default_backend())
        watch = _Watch(run, config, on_step)
        due = False
        for index in range(start, config.steps):
            batch = packing.batch(index)
            parts = _in_parts(batch, part_tokens, devices, mesh)
            state, metrics = step(state, frozen, parts, rates[index])
            watch.add(metrics, rates[index], np.count_nonzero(batch.segments))
            done = index + 1
            due = due or done % config.checkpoint_every == 0 or done == config.steps
            if due:
                watch.drain()
            if due and (done == config.steps or not watch.in_doubt):
                if not _all_finite(state.params):
                    raise watch.diverged(done, "a weight is not finite after it")
                run.save(done, state)
                due = False
        nnx.update(model, state.params)
        return run.history


def _rates(config: TrainingConfig) -> np.ndarray:
    """float32 [steps]"""
    rates = config.learning_rates()(np.arange(config.steps))
    return np.broadcast_to(np.asarray(rates, np.float32), config.steps)


class TrainState(NamedTuple):
    """What a checkpoint holds."""

    params: nnx.State
    optimizer: optax.OptState
    step: jax.Array  # int32 [], updates done


class Metrics(NamedTuple):
    """float32 [] each, of one step."""

    loss: jax.Array
    grad_norm: jax.Array


@functools.lru_cache(maxsize=4)  # for those who train the same on other data: folds, say
def _compiled_step(
    graphdef: nnx.GraphDef, loss: Loss, optimizer: optax.GradientTransformation, mesh: Mesh | None
):
    """(state, frozen, batch [N, B / N, ...], rate) -> (state, metrics); donates the state."""

    def sums_and_gradient(params, frozen, part: Batch):
        def total(params):
            sums = loss(nnx.merge(graphdef, params, frozen), part)
            return sums.loss, sums

        (_, sums), gradient = jax.value_and_grad(total, has_aux=True)(params)
        return sums, gradient

    def step(state: TrainState, frozen, batch: Batch, rate: jax.Array):
        params = state.params
        part = jax.tree.map(lambda x: x[0], batch)
        if len(batch.tokens) == 1:
            sums, gradient = sums_and_gradient(params, frozen, part)
        else:

            def add(total, part):
                found = sums_and_gradient(params, frozen, part)
                return jax.tree.map(jnp.add, total, found), None

            like = jax.eval_shape(sums_and_gradient, params, frozen, part)
            zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)
            (sums, gradient), _ = jax.lax.scan(add, zeros, batch)
        # No weight, no loss and no gradient.
        weight = jnp.where(sums.weight > 0, sums.weight, 1)
        gradient = jax.tree.map(lambda g: g / weight, gradient)
        norm = optax.tree.norm(gradient)
        updates, state_of_optimizer = optimizer.update(gradient, state.optimizer, params)
        updates = jax.tree.map(lambda update: rate * update, updates)
        metrics = Metrics(sums.loss / weight, norm)
        params = optax.apply_updates(params, updates)
        state = TrainState(params, state_of_optimizer, state.step + 1)
        if mesh is not None:  # as it came in, or the next step is compiled anew
            state = jax.lax.with_sharding_constraint(state, sharding.shardings(state, mesh))
        return state, metrics

    return jax.jit(step, donate_argnums=0)


class _Watch:
    """Takes what steps return, one step late, so that the next one is under way already."""

    def __init__(self, run: RunFolder, config: TrainingConfig, on_step):
        self._run, self._config, self._on_step = run, config, on_step
        self._course = Course(config.explode_ratio, (one["loss"] for one in run.history))
        self._pending: tuple[Metrics, float, int] | None = None
        self._paces: list[float] = []  # seconds a token, sorted
        self._tokens = 0
        self._clock = time.monotonic()

    def add(self, metrics: Metrics, learning_rate: float, tokens: int) -> None:
        self.drain()
        self._pending = metrics, float(learning_rate), int(tokens)

    def drain(self) -> None:
        """Waits for the step in flight, checks it and writes it down.

        Raises:
          DivergedError: see there.
        """
        if self._pending is None:
            return
        (metrics, learning_rate, tokens), self._pending = self._pending, None
        loss, grad_norm = (float(value) for value in jax.device_get(metrics))
        now, before = time.monotonic(), self._clock
        self._clock = now
        step = len(self._run.history) + 1
        self._check(step, loss, grad_norm)
        values = dict(
            step=step,
            loss=loss,
            grad_norm=grad_norm,
            learning_rate=learning_rate,
            tokens=tokens,
            seconds=round(now - before, 6),
        )
        self._run.log(values)
        self._course.add(loss)
        if self._on_step is None:
            return
        bisect.insort(self._paces, (now - before) / tokens)
        pace = self._paces[len(self._paces) // 2]
        self._tokens += tokens
        left = (self._config.steps - step) * pace * self._tokens / len(self._paces)
        self._on_step(Report(**values, tokens_per_second=1 / pace, seconds_left=left))

    @property
    def in_doubt(self) -> bool:
        """Whether the last step's loss is above the bar: it may come down again, or be lost."""
        return self._run.history[-1]["loss"] > self._course.bar

    def diverged(self, step: int, problem: str) -> DivergedError:
        """The error to raise."""
        # The weights before the first bad step made its loss, so they are bad, too.
        found = self._run.checkpoint_before(self._course.first_bad() - 1)
        newest = self._run.last_checkpoint
        kept = f"the last good checkpoint is {found}" if found else "there is no good checkpoint"
        if newest != found:
            kept += f"; remove {newest}, which is not, before going on"
        return DivergedError(f"step {step}: {problem}; {kept}")

    def _check(self, step: int, loss: float, grad_norm: float) -> None:
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            problem = f"loss {loss}, gradient norm {grad_norm}, expected finite numbers"
        else:
            problem = self._course.problem(loss)
        if problem:
            raise self.diverged(step, problem)


@jax.jit
def _all_finite(params: nnx.State) -> jax.Array:
    """bool []"""
    leaves = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]
    return jnp.stack(leaves).all()


def _in_parts(batch: Batch, part_tokens: int | None, devices: int, mesh) -> Batch:
    """[B, ...] -> [N, B / N, ...], spread over the mesh where there is one. N is the least that
    divides B / devices with parts of at most `part_tokens`."""
    rows, length = batch.tokens.shape
    counts = [n for n in range(1, rows // devices + 1) if rows // devices % n == 0]
    fitting = [n for n in counts if part_tokens is None or rows // n * length <= part_tokens]
    parts = min(fitting, default=counts[-1])
    batch = jax.tree.map(lambda x: x.reshape(parts, rows // parts, *x.shape[1:]), batch)
    if mesh is None:
        return batch
    return jax.device_put(batch, NamedSharding(mesh, PartitionSpec(None, sharding.BATCH)))


def _check_rows(packing: Packing, devices: int) -> None:
    for shape in packing.shapes:
        if shape.rows % devices:
            raise ValueError(
                f"batches of {shape.rows} rows, expected a multiple of the {devices} devices that "
                "they are spread over: see rows_multiple of Packing"
            )


def _check_float32(params: nnx.State) -> None:
    if not (named := _named(params)):
        raise ValueError("trainable holds no parameter, expected one or more")
    if wrong := [name for name, leaf in named if leaf.dtype != jnp.float32]:
        raise ValueError(
            f"{len(wrong)} trained weights are not float32, the first is {wrong[0]}; to compute in "
            "a narrower type set Execution.dtype"
        )


def _named(params: nnx.State) -> list[tuple[str, nnx.Variable]]:
    return [("/".join(map(str, path)), leaf) for path, leaf in nnx.to_flat_state(params)]
