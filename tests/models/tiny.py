"""Models and documents so small that a test is mostly compilation, all of a few shapes."""

import functools

import jax
import numpy as np
from flax import nnx

from models.config import Execution, LlamaConfig
from models.documents import Limit, reply_document, state_documents
from models.heads import Head, HeadConfig, HeadedLlama
from models.layers import read
from models.llama import Llama
from models.packing import Packing

VOCAB = 64
CONFIG = LlamaConfig(
    VOCAB,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    tie_word_embeddings=True,
    initializer_range=0.2,
)
ROW = 48  # the one row length


def llama(seed=0, layers=2) -> Llama:
    """One layer where it is training that is tested: half as much to compile."""
    model = nnx.clone(_llama(seed))
    model.layers = nnx.List(model.layers[:layers])
    return model


@functools.cache
def _llama(seed: int) -> Llama:
    return Llama(CONFIG, rngs=nnx.Rngs(seed), dtype="float32")


def headed(config: HeadConfig, seed=0, layers=2) -> HeadedLlama:
    """With random weights in the last layer of the head too, which begins at 0 otherwise."""
    head = Head(config, CONFIG.hidden_size, rngs=nnx.Rngs(seed + 1))
    shape = head.outer.kernel.shape
    head.outer.kernel[...] = 0.3 * jax.random.normal(jax.random.key(seed), shape)
    return HeadedLlama(llama(seed, layers), head)


class Bag(nnx.Module):
    """A number a token, summed with a bias: a model with next to nothing to compile."""

    config, execution = CONFIG, Execution()

    def __init__(self):
        self.table = nnx.Param(jax.random.normal(jax.random.key(0), (VOCAB,)))
        self.bias = nnx.Param(jax.numpy.zeros(()))
        self.head = nnx.Dict(config=HeadConfig("success", 0))

    def __call__(self, tokens, segments, reads, features):
        """[B, R, 1]: the number of the token read and the bias."""
        return read(self.table[...][tokens][..., None], reads) + self.bias[...]


def replies(count=12, seed=0):
    """Prompts of 3 to 20 tokens, and replies that say the prompt's first tokens again."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        prompt = rng.integers(1, VOCAB, rng.integers(3, 21))
        found.append(reply_document(f"pair {i}", prompt, prompt[:3], limit=Limit(ROW)))
    return found


def transcript(rng, turns, most=4):
    """Token lists of `turns` states, each a prefix of the next; no longer than 2 + most * turns."""
    text = rng.integers(1, VOCAB, 2 + most * turns)
    ends = np.cumsum(rng.integers(1, most + 1, turns)) + 2
    return [text[:end] for end in ends]


def trajectories(count=6, seed=0, targets=lambda rng, turns: rng.random((turns, 1))):
    """Documents of transcripts with 2 to 6 states."""
    rng = np.random.default_rng(seed)
    documents = []
    for i in range(count):
        turns = int(rng.integers(2, 7))
        states = transcript(rng, turns)
        documents += state_documents(
            f"task {i}", states, targets=targets(rng, turns), limit=Limit(ROW)
        )
    return documents


def packing(documents, batch_tokens=8 * ROW, row_lengths=(ROW,), **rest) -> Packing:
    return Packing(documents, batch_tokens=batch_tokens, row_lengths=row_lengths, **rest)
