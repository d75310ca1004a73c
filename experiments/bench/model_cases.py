"""The cases of `bench_models`; one side of one: `python -m experiments.bench.model_cases JSON`.

The request is a JSON object: `module`, `function` and `arguments` of what measures, `threads` that
it may use, and the file of the answer. Modules are imported here, after the threads are limited.
"""

import dataclasses
import importlib
import json
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.bench.model_setup import Setup

OURS, TORCH = "experiments.bench.model_work", "experiments.bench.torch_work"
ACCELERATOR = "experiments.bench.accelerator_work"
PYTORCH = "PyTorch"  # the side that is measured where torch is installed
GROUPS = ("training", "scoring", "growing", "generation")
# Rows of a batch at which generation is measured, and the ratio promised.
_GENERATED = {1: None, 32: None, 256: 3.0}


@dataclasses.dataclass(frozen=True)
class Side:
    """One measurement: a function of `module`, and its arguments beside the `Setup`."""

    module: str
    function: str
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Case:
    """Two ways to do the same on the CPU.

    Attributes:
      group: of cases that belong together.
      model: a name in `model_setup.ARCHITECTURES`.
      name: unique within the group.
      ours: the way that is promised to be faster.
      other: the other one; `beside` is its name.
      promised: how many times as fast; None for no promise.
      rows: of the `Setup`.
    """

    group: str
    model: str
    name: str
    ours: Side
    other: Side
    beside: str = PYTORCH
    promised: float | None = None
    rows: int = 1


@dataclasses.dataclass(frozen=True)
class AcceleratorCase:
    """One way, beside what the device can do; `arguments` are the fields of `Work` and others."""

    name: str
    function: str
    rows: int
    length: int
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def cpu_cases(models: Sequence[str]) -> list[Case]:
    """Training and scoring of each model; the rest with the first one, the small one."""
    small = models[0]
    cases = [
        Case(group, model, model, Side(OURS, group), Side(TORCH, group), promised=1.3)
        for group in ("training", "scoring")
        for model in models
    ]
    one, many = (Side(OURS, "growing", {"one_pass": one}) for one in (True, False))
    cases.append(Case("growing", small, small, one, many, beside="a pass a state", promised=5.0))
    return cases + [
        Case(
            "generation",
            small,
            f"{small}, {rows} at once",
            Side(OURS, "generation"),
            Side(TORCH, "generation"),
            promised=promised,
            rows=rows,
        )
        for rows, promised in _GENERATED.items()
    ]


def accelerator_cases(length: int) -> list[AcceleratorCase]:
    """Rows of `length` tokens in training and scoring; new tokens in generation."""
    return [
        AcceleratorCase("training, all weights", "training", 4, length, {"frozen": False}),
        AcceleratorCase("training, LoRA", "training", 8, length, {"frozen": True}),
        AcceleratorCase("scoring", "scoring", 8, length),
        *(
            AcceleratorCase(f"generation, {rows} at once", "generation", rows, max(length // 8, 1))
            for rows in _GENERATED
        ),
    ]


def main() -> None:
    request = json.loads(sys.argv[1])
    _limit_threads(request["threads"])
    function = getattr(importlib.import_module(request["module"]), request["function"])
    answer = function(*_settings(request), **request["arguments"])
    pathlib.Path(request["answer"]).write_text(json.dumps(answer))


def _settings(request: Mapping[str, Any]) -> list[Any]:
    if "setup" in request:
        return [Setup(**request["setup"] | {"folder": pathlib.Path(request["setup"]["folder"])})]
    if "work" in request:
        from experiments.bench.accelerator_work import Work

        return [Work(**request["work"])]
    return []


def _limit_threads(threads: int | None) -> None:
    """To the first cores allowed: XLA has as many threads as there are, PyTorch is told."""
    if threads is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


if __name__ == "__main__":
    main()
