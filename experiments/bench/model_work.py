"""What `bench_models` measures of `models`: functions of a `Setup`.

Each returns `Meter.result` with `counts`, how many of each thing were done, and `check`: numbers
that PyTorch must find too.
"""

import contextlib
import tempfile
import time
from typing import Any

import numpy as np
from flax import nnx

from experiments.bench.measure import Meter
from experiments.bench.model_setup import (
    CHECKED,
    NEW,
    OPTIMIZER,
    PROMPTS,
    ROW,
    WARMUP,
    Data,
    Setup,
    repeat,
)
from models import convert
from models.documents import Document
from models.generation import Generator
from models.heads import Head, HeadedLlama
from models.losses import Loss, NextToken
from models.packing import Packing
from models.scoring import Scorer
from models.training import Report, train
from models.training_config import TrainingConfig

_NO_END = 10**9  # steps: it is stopped before


class _EnoughError(Exception):
    """Training was measured for long enough."""


def train_steps(
    model: nnx.Module, packing: Packing, loss: Loss, seconds: float
) -> tuple[Meter, int, list[float]]:
    """Runs `models.training.train` until `seconds` were measured after `WARMUP` steps.

    Forward, backward and update, the making of the batches and the lines of metrics; no
    checkpoint. Returns the meter, the tokens without padding, and the losses of the first steps.
    """
    config = TrainingConfig(
        _NO_END, schedule="constant", checkpoint_every=_NO_END, explode_ratio=None, **OPTIMIZER
    )
    meter, measured, losses = Meter(), contextlib.ExitStack(), []
    tokens, begin = 0, 0.0

    def on_step(report: Report) -> None:
        nonlocal tokens, begin
        if report.step <= CHECKED:
            losses.append(report.loss)
        if report.step == WARMUP:
            measured.enter_context(meter)
            begin = time.perf_counter()
        if report.step > WARMUP:
            tokens += report.tokens
            if time.perf_counter() - begin >= seconds:
                measured.close()
                raise _EnoughError

    with (
        tempfile.TemporaryDirectory() as folder,
        measured,
        contextlib.suppress(_EnoughError),
    ):
        train(model, packing, loss, config, folder=folder, on_step=on_step)
    return meter, tokens, losses


def training(setup: Setup) -> dict[str, Any]:
    """SFT: the loss on replies and answers."""
    packing = Packing(
        Data.load(setup.folder).documents, batch_tokens=setup.batch_tokens, row_lengths=(ROW,)
    )
    model = convert.load(setup.weights)
    meter, tokens, losses = train_steps(model, packing, NextToken(), setup.seconds)
    note = f"batches {packing.shapes[0].rows} x {ROW}, {packing.fill:.0%} no padding"
    return _result(meter, {"tokens": tokens}, losses, note)


def scoring(setup: Setup) -> dict[str, Any]:
    """A head at the last token of each state's text."""
    documents = Data.load(setup.folder).state_documents()
    return _scored(setup, documents, f"{_mean_length(documents):.0f} tokens a state")


def growing(setup: Setup, *, one_pass: bool) -> dict[str, Any]:
    """A head at the last token of each state of growing transcripts."""
    documents = Data.load(setup.folder).growing_documents(one_pass=one_pass)
    answer = _scored(setup, documents, f"{_mean_length(documents):.0f} tokens a pass")
    del answer["counts"]["tokens"]  # those of the two ways are not the same
    return answer


def generation(setup: Setup) -> dict[str, Any]:
    """Greedy, `setup.rows` prompts a call."""
    prompts = Data.load(setup.folder).prompts
    generator = Generator(convert.load(setup.weights), fixed=True)
    batches = [prompts[i : i + setup.rows] for i in range(0, PROMPTS, setup.rows)]

    def generate(count: int):
        batch = batches[count % len(batches)]
        return generator.generate(batch, [[0]] * len(batch), max_new_tokens=NEW)

    first = [reply.tokens for [reply] in generate(0)]
    meter, calls = repeat(setup.seconds, generate)
    check = np.concatenate(first).tolist()
    return _result(meter, {"new tokens": calls * setup.rows * NEW}, check, "")


def _scored(setup: Setup, documents: list[Document], note: str) -> dict[str, Any]:
    backbone = convert.load(setup.weights)
    head = Head.load(setup.head, backbone.config.hidden_size)
    scorer = Scorer(HeadedLlama(backbone, head))
    scores = scorer(documents)
    meter, times = repeat(setup.seconds, lambda _: scorer(documents))
    counts = {
        "tokens": times * sum(len(document.tokens) for document in documents),
        "states": times * sum(len(document.reads) for document in documents),
    }
    return _result(meter, counts, np.concatenate(scores)[:, 0].tolist(), note)


def _mean_length(documents: list[Document]) -> float:
    return sum(len(document.tokens) for document in documents) / len(documents)


def _result(meter: Meter, counts: dict[str, int], check: list[float], note: str) -> dict[str, Any]:
    return meter.result(next(iter(counts.values())), note) | {"counts": counts, "check": check}
