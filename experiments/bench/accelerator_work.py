"""What `bench_models` measures on an accelerator, with a model of random weights in bfloat16.

Each function returns `Meter.result` with `counts` and with what the work takes at least: `flops`,
model FLOPs as `experiments.bench.roofline` counts them, or `bytes` that are read.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.bench.model_setup import repeat
from experiments.bench.model_work import train_steps
from experiments.bench.roofline import decode_bytes, forward_flops, training_flops
from models import lora
from models.config import Execution, LlamaConfig
from models.documents import Limit, masked_document, state_documents
from models.generation import Generator
from models.heads import Head, HeadConfig, HeadedLlama
from models.llama import Llama
from models.losses import NextToken
from models.packing import Packing
from models.rope import Llama3Rope
from models.scoring import Scorer

CONFIGS = {
    "3B": LlamaConfig(  # Llama 3.2
        vocab_size=128_256,
        hidden_size=3072,
        intermediate_size=8192,
        num_hidden_layers=28,
        num_attention_heads=24,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=131_072,
        rms_norm_eps=1e-5,
        rope=Llama3Rope(
            theta=500_000.0,
            factor=32.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=8192,
        ),
        tie_word_embeddings=True,
    ),
    "tiny": LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    ),
}
CHUNK = 512  # reads a row whose logits exist at one time
_PROMPT = 128


@dataclasses.dataclass(frozen=True)
class Work:
    """Attributes:
    model: a name in `CONFIGS`.
    length: tokens of a row in training and scoring, and new tokens of a row in generation.
    rows: of a batch.
    seconds: measured at least.
    """

    model: str
    length: int
    rows: int
    seconds: float


def training(work: Work, *, frozen: bool) -> dict[str, Any]:
    """SFT with the loss on every token: of all weights, or of adapters beside frozen ones."""
    config = CONFIGS[work.model]
    model = _llama(config, "bfloat16" if frozen else "float32", remat="full", scan_layers=True)
    if frozen:
        lora.add(model, lora.LoraConfig(), rngs=nnx.Rngs(1))
    documents = [
        masked_document(f"row {i}", tokens, np.ones(len(tokens), bool))
        for i, tokens in enumerate(_tokens(config, 2 * work.rows, work.length + 1))
    ]
    packing = Packing(documents, batch_tokens=work.rows * work.length, row_lengths=(work.length,))
    meter, tokens, _ = train_steps(model, packing, NextToken(chunk=CHUNK), work.seconds)
    rows = tokens // work.length
    flops = rows * training_flops(config, work.length, work.length, frozen=frozen)
    return meter.result(tokens) | {"counts": {"tokens": tokens}, "flops": flops}


def scoring(work: Work) -> dict[str, Any]:
    """A head at the end of each row."""
    config = CONFIGS[work.model]
    head = Head(HeadConfig("success", 0), config.hidden_size, rngs=nnx.Rngs(1))
    model = HeadedLlama(_llama(config, "bfloat16"), head)
    tokens = work.rows * work.length
    scorer = Scorer(model, row_lengths=(work.length,), batch_tokens=tokens)
    documents = [
        document
        for row in _tokens(config, work.rows, work.length)
        for document in state_documents("row", [row], limit=Limit(work.length))
    ]
    scorer(documents)
    meter, times = repeat(work.seconds, lambda _: scorer(documents))
    flops = times * work.rows * sum(forward_flops(config, work.length, 0).values())
    return meter.result(times * tokens) | {"counts": {"tokens": times * tokens}, "flops": flops}


def generation(work: Work) -> dict[str, Any]:
    """Greedy; the prompts' prefill is measured too, but its bytes are not counted."""
    config = CONFIGS[work.model]
    generator = Generator(_llama(config, "bfloat16"), max_rows=work.rows)
    prompts = _tokens(config, work.rows, _PROMPT).tolist()
    seeds = [[0]] * work.rows

    def generate(_: int = 0) -> None:
        generator.generate(prompts, seeds, max_new_tokens=work.length)

    generate()
    meter, calls = repeat(work.seconds, generate)
    step = decode_bytes(config, work.rows, _PROMPT + work.length // 2)
    tokens = calls * work.rows * work.length
    return meter.result(tokens) | {
        "counts": {"new tokens": tokens},
        "bytes": calls * work.length * step,
    }


def _llama(config: LlamaConfig, dtype: str, **execution: Any) -> Llama:
    """Computes in bfloat16, whatever the dtype of the weights."""
    # cuDNN's attention takes a mask for packed rows; XLA's runs everywhere.
    settings = Execution(dtype="bfloat16", **execution)
    return Llama(config, rngs=nnx.Rngs(0), dtype=jnp.dtype(dtype), execution=settings)


def _tokens(config: LlamaConfig, rows: int, length: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, config.vocab_size, (rows, length))


def describe() -> dict[str, Any]:
    """What jax runs on."""
    found = jax.devices()[0]
    return {"backend": jax.default_backend(), "kind": found.device_kind}
