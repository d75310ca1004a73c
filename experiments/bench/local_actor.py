"""A `LlamaActor` of random weights, for measuring how fast one is."""

import pathlib
import zlib
from collections.abc import Iterable, Sequence

from flax import nnx

from adapters.llama_actor import LlamaActor
from models import convert
from models import tokenizer as tokenizer_lib
from models.config import LlamaConfig
from models.llama import Llama

NEW = 16  # tokens of a reply at most


def random_actor(folder: pathlib.Path, texts: Iterable[str]) -> LlamaActor:
    """An actor of half a million parameters, with a tokenizer of `texts`, made in `folder`.

    It says nothing that could be an action, and its episodes would end at once. So any reply stands
    for one of the actions offered.
    """
    tokenizer = tokenizer_lib.train(texts, folder / "tokenizer", vocab_size=512)
    config = LlamaConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.end_token,
        dtype="float32",
    )
    model = Llama(config, rngs=nnx.Rngs(0))
    convert.save(model, folder / "actor", tokenizer_from=folder / "tokenizer")
    return LlamaActor(folder / "actor", max_new_tokens=NEW, parse=_any_action)


def _any_action(raw: str, actions: Sequence[str], *, cut: bool = False) -> str:
    return actions[zlib.crc32(raw.encode()) % len(actions)]
