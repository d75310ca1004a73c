"""What a model of 3 billion parameters could reach at most on a device that is not at hand.

Two things are done, and no time is measured:

* The programs are lowered for CUDA at full size: they can be compiled there.
* They are compiled for the CPU with one and with two layers of full width, and XLA counts what one
  row takes. The difference is what a layer takes, so that all layers can be added up; this holds
  what the backward pass computes again, which model FLOPs do not.

The estimate is a roofline: all counted FLOPs at the device's peak, then the optimizer's bytes at
its bandwidth. Real programs stay below it: no product reaches the peak, and norms, softmax and
launches are taken as free.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.bench.accelerator_work import CHUNK, CONFIGS
from experiments.bench.roofline import (
    DEVICES,
    Device,
    decode_bytes,
    forward_flops,
    num_parameters,
    training_flops,
)
from experiments.bench.tables import table
from models import lora
from models.config import Execution, LlamaConfig
from models.llama import Llama
from models.losses import NextToken
from models.packing import Batch

_PROMPT = 256  # tokens cached of each row while it generates
# AdamW in float32 reads weight, gradient and two moments, and writes all but the gradient.
_OPTIMIZER_BYTES = 28
_TITLES = ("what", "model TFLOP", "counted TFLOP", "seconds", "of the peak", "lowers for CUDA")


class Program(NamedTuple):
    """A jitted function and the shapes it is called on."""

    function: Any
    arguments: tuple[Any, ...]


def estimate(name: str, *, model: str = "3B", length: int = 2048) -> dict[str, str]:
    """The estimate as markdown, in `text`.

    Args:
      name: in `roofline.DEVICES`.
      model: in `accelerator_work.CONFIGS`.
      length: tokens of a row.
    """
    device, config = DEVICES[name], CONFIGS[model]
    rows = []
    for what, frozen, batch in (
        ("training, all weights", False, 4),
        ("training, LoRA", True, 8),
        ("scoring", None, 8),
    ):
        needed = model_flops(config, length, frozen) * batch
        counted = counted_flops(config, length, frozen) * batch
        adapted = 0 if frozen is not False else num_parameters(config) * _OPTIMIZER_BYTES
        seconds = _seconds(device, counted, adapted)
        lowered = lowers_for_cuda(config, length, frozen, batch)
        rows.append(
            [
                f"{what}, {batch} x {length}",
                f"{needed / 1e12:,.1f}",
                f"{counted / 1e12:,.1f}",
                f"{seconds:.3f}",
                f"{needed / seconds / device.tflops / 1e12:.0%}",
                "yes" if lowered else "no",
            ]
        )
    decoding = []
    for batch in (1, 32, 256):
        seconds = decode_bytes(config, batch, _PROMPT) / (device.gb_a_second * 1e9)
        decoding.append([str(batch), f"{batch / seconds:,.0f}"])
    text = (
        f"# Estimate: {model}, bfloat16, on {name}\n\nNothing here was measured. {device.tflops:g} "
        f"TFLOP/s and {device.gb_a_second:,g} GB/s, as the maker states them. The seconds and the "
        "share of the peak are a ceiling: counted FLOPs at that peak, and the optimizer's bytes at "
        f"that bandwidth.\n\n{table(_TITLES, rows, right=(1, 2, 3, 4))}\n\nGeneration with "
        f"{_PROMPT} tokens cached, bound by the bytes read:\n\n"
        f"{table(('rows', 'tokens a second, at most'), decoding, right=(0, 1))}\n"
    )
    return {"text": text}


def model_flops(config: LlamaConfig, length: int, frozen: bool | None) -> int:
    """Of a row: forward and backward; forward alone where `frozen` is None."""
    if frozen is None:
        return sum(forward_flops(config, length, 0).values())
    return training_flops(config, length, length, frozen=frozen)


def counted_flops(config: LlamaConfig, length: int, frozen: bool | None) -> float:
    """Of a row, as XLA counts them for the CPU, extrapolated from one and two layers."""
    one, two = (
        _counted(dataclasses.replace(config, num_hidden_layers=layers), length, frozen)
        for layers in (1, 2)
    )
    return one + (config.num_hidden_layers - 1) * (two - one)


def lowers_for_cuda(config: LlamaConfig, length: int, frozen: bool | None, rows: int) -> bool:
    """Whether jax lowers the program for CUDA; no GPU is needed."""
    function, arguments = _program(config, length, frozen, rows, chunk=CHUNK, scan_layers=True)
    exported = jax.export.export(function, platforms=["cuda"])(*arguments)
    return exported.platforms == ("cuda",)


def _counted(config: LlamaConfig, length: int, frozen: bool | None) -> float:
    # Without loops: XLA counts the body of one once.
    function, arguments = _program(config, length, frozen, 1, chunk=length, scan_layers=False)
    return function.lower(*arguments).compile().cost_analysis()["flops"]


def _program(
    config: LlamaConfig,
    length: int,
    frozen: bool | None,
    rows: int,
    *,
    chunk: int,
    scan_layers: bool,
) -> Program:
    """The gradient that a step of training takes, or the pass of scoring."""
    dtype = jnp.dtype("float32" if frozen is False else "bfloat16")

    def make() -> Llama:
        model = Llama(config, rngs=nnx.Rngs(0), dtype=dtype)
        if frozen:
            lora.add(model, lora.LoraConfig(), rngs=nnx.Rngs(1))
        return model

    model = nnx.eval_shape(make)
    remat = "none" if frozen is None else "full"
    model.execution = Execution(dtype="bfloat16", remat=remat, scan_layers=scan_layers)
    graphdef, params, rest = nnx.split(model, lora.trainable(model), ...)
    loss = NextToken(chunk=chunk)

    def gradient(params, rest, batch):
        return jax.grad(lambda p: loss(nnx.merge(graphdef, p, rest), batch).loss)(params)

    def forward(params, rest, batch):
        model = nnx.merge(graphdef, params, rest)
        return model(batch.tokens, segments=batch.segments)[:, -1]

    shape = jax.ShapeDtypeStruct((rows, length), jnp.int32)
    numbers = jax.ShapeDtypeStruct((rows, length), jnp.float32)
    features = jax.ShapeDtypeStruct((rows, length, 0), jnp.float32)
    batch = Batch(shape, shape, shape, shape, numbers, features)
    return Program(jax.jit(forward if frozen is None else gradient), (params, rest, batch))


def _seconds(device: Device, flops: float, moved: float) -> float:
    return flops / (device.tflops * 1e12) + moved / (device.gb_a_second * 1e9)
