"""A small language model from the texts of states: what `experiments.train_backbone` does."""

import dataclasses
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Literal

import jax
import numpy as np
from flax import nnx

from experiments.run_files import check_settings, compare_settings
from experiments.shown_training import check_rate, train_shown
from models import convert
from models import tokenizer as tokenizer_lib
from models.config import LlamaConfig
from models.documents import Document, Limit, masked_document
from models.llama import Llama
from models.losses import NextToken
from models.packing import Packing
from models.training_config import TrainingConfig

_WARMUP, _DECAY = 0.08, 0.1


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a backbone is made from.

    Attributes:
      source: where the texts are from, for settings.json.
      width, depth, heads: hidden_size, num_hidden_layers, num_attention_heads.
      vocabulary: tokens of the BPE, at most.
      context: longest text, in tokens.
      tokens: budget.
      batch: tokens of an update.
      rate: learning rate at its peak.
      too_long: "refuse" texts that are longer than the context, or "truncate" them on the left;
        None keeps their first tokens.
      seed: of the weights and the order.
    """

    source: str
    width: int = 96
    depth: int = 3
    heads: int = 4
    vocabulary: int = 1024
    context: int = 1024
    tokens: int = 500_000
    batch: int = 2048
    rate: float = 3e-3
    too_long: Literal["refuse", "truncate"] | None = None
    seed: int = 0

    def __post_init__(self):
        check_rate(self.rate)


def train_backbone(texts: Sequence[str], recipe: Recipe, out: pathlib.Path) -> pathlib.Path:
    """Makes the folder `out`, or goes on with it; returns the model's folder in it.

    Raises:
      OSError, ValueError: there are no texts, one is too long and is refused, or `out` was begun
        with another recipe.
      DivergedError: as `models.training.train`.
    """
    settings = out / "settings.json", dataclasses.asdict(recipe)
    compare_settings(*settings)
    if (out / "model").exists():
        return out / "model"
    texts = longest(texts)
    with tempfile.TemporaryDirectory() as folder:
        # Made again each time: the same texts give the same tokenizer.
        tokenizer = tokenizer_lib.train(texts, folder, vocab_size=recipe.vocabulary)
        model = Llama(_architecture(tokenizer, recipe), rngs=nnx.Rngs(recipe.seed))
        documents, cut = _documents(texts, tokenizer, recipe)
        tokens = sum(len(document.tokens) for document in documents)
        packing = Packing(documents, batch_tokens=recipe.batch, seed=recipe.seed)
        steps = max(round(recipe.tokens / tokens * packing.batches_per_epoch), 1)
        config = _training(steps, recipe.rate)
        size = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
        print(
            f"{len(texts):,} texts, {cut:,} of them cut to {recipe.context:,} tokens; "
            f"{tokens:,} tokens, each {recipe.tokens / tokens:.2f} times; "
            f"{size:,} parameters; {steps:,} steps",
            flush=True,
        )
        check_settings(*settings)
        train_shown(model, packing, NextToken(), config, out / "run")
        convert.save(model, out / "model", tokenizer_from=folder)
    return out / "model"


def longest(texts: Sequence[str]) -> list[str]:
    """The texts that are no beginning of another one, each once, sorted."""
    found: list[str] = []
    for text in sorted(set(texts)):
        if found and text.startswith(found[-1]):
            found[-1] = text
        else:
            found.append(text)
    return found


def _documents(
    texts: Sequence[str], tokenizer: tokenizer_lib.Tokenizer, recipe: Recipe
) -> tuple[list[Document], int]:
    """All tokens but the first are learnt. Also how many texts were cut."""
    found, limit = [], Limit(recipe.context, recipe.too_long or "truncate")
    for i, tokens in enumerate(tokenizer.encode(texts)):
        excess = limit.excess(f"text {i}, {texts[i][:60]!r}...", len(tokens))
        tokens = tokens[excess:] if recipe.too_long else tokens[: recipe.context]
        if len(tokens) > 1:
            found.append(masked_document(f"text {i}", tokens, np.ones(len(tokens), bool)))
    if not found:
        raise ValueError("the texts are empty, expected some")
    return found, limit.truncated


def _architecture(tokenizer: tokenizer_lib.Tokenizer, recipe: Recipe) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=recipe.width,
        intermediate_size=2 * recipe.width,
        num_hidden_layers=recipe.depth,
        num_attention_heads=recipe.heads,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        initializer_range=0.05,  # as of the small actors, see experiments.train_actor
        bos_token_id=tokenizer.hf.bos_token_id,
        eos_token_id=tokenizer.end_token,
        pad_token_id=tokenizer.hf.pad_token_id,
        dtype="float32",
    )


def _training(steps: int, rate: float) -> TrainingConfig:
    return TrainingConfig(
        steps,
        rate,
        warmup_steps=round(_WARMUP * steps),
        final_share=0.05,
        weight_decay=_DECAY,
        checkpoint_every=200,
    )
