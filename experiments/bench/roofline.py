"""How fast a device can be at most: model FLOPs by count, and peaks of devices.

Model FLOPs are those that the mathematics needs, a multiplication and an addition each 1; what is
computed again to save memory, norms, softmax and the optimizer are not counted. For a row of T
tokens, of which R are read, with D, F, H, K, h, L and V as in `models.config.LlamaConfig`:

    products   2 T L (2 D H h + 2 D K h + 3 D F)       q, o; k, v; SwiGLU
    attention  4 H h L T (T + 1) / 2                   scores and values, causal pairs alone
    logits     2 R D V

A backward pass takes twice of each: once for its input's gradient, once for its weights'. Frozen
weights take the first alone; the adapters beside them are not counted.
"""

from typing import NamedTuple

from models.config import LlamaConfig


class Device(NamedTuple):
    """Dense bfloat16 arithmetic and memory, as its maker states them."""

    tflops: float
    gb_a_second: float


# By a part of jax's device_kind in small letters; the first that occurs counts.
DEVICES = {
    "h200": Device(989, 4800),
    "h100 pcie": Device(756, 2000),
    "h100": Device(989, 3350),
    "a100-sxm4-40gb": Device(312, 1555),
    "a100": Device(312, 2039),
    "tpu v6": Device(918, 1640),
    "tpu v5 lite": Device(197, 819),
    "tpu v5": Device(459, 2765),
    "tpu v4": Device(275, 1228),
}


def device(kind: str) -> Device | None:
    """The peaks of jax's device kind; None where it is not known."""
    return next((found for part, found in DEVICES.items() if part in kind.lower()), None)


def forward_flops(config: LlamaConfig, length: int, reads: int) -> dict[str, int]:
    """Model FLOPs of one row, by part: products, attention, logits.

    Args:
      config: the architecture.
      length: T.
      reads: R; 0 for a head whose own product is not counted.
    """
    queries = config.num_attention_heads * config.head_dim
    keys = config.num_key_value_heads * config.head_dim
    width, layers = config.hidden_size, config.num_hidden_layers
    weights = 2 * width * queries + 2 * width * keys + 3 * width * config.intermediate_size
    return {
        "products": 2 * length * layers * weights,
        "attention": 4 * queries * layers * length * (length + 1) // 2,
        "logits": 2 * reads * width * config.vocab_size,
    }


def training_flops(config: LlamaConfig, length: int, reads: int, *, frozen: bool) -> int:
    """Model FLOPs of one row, forward and backward; `frozen` where adapters alone are trained."""
    parts = forward_flops(config, length, reads)
    times = 2 if frozen else 3
    return times * (parts["products"] + parts["logits"]) + 3 * parts["attention"]


def num_parameters(config: LlamaConfig) -> int:
    """Of the products and the embedding; norms and biases aside."""
    layers = forward_flops(config, 1, 0)["products"] // 2
    tables = 1 if config.tie_word_embeddings else 2
    return layers + tables * config.vocab_size * config.hidden_size


def decode_bytes(config: LlamaConfig, rows: int, length: int, itemsize: int = 2) -> int:
    """Bytes read to generate one token in each row: all weights but an untied embedding, once, and
    each row's keys and values of `length` tokens."""
    weights = num_parameters(config)
    if not config.tie_word_embeddings:
        weights -= config.vocab_size * config.hidden_size
    keys = config.num_key_value_heads * config.head_dim
    cached = 2 * config.num_hidden_layers * keys * length
    return itemsize * (weights + rows * cached)
