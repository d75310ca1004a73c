"""Language models of next to no size in folders, with heads on them, and rollouts of doors."""

import atexit
import functools
import json
import pathlib
import shutil
import tempfile

import jax
import numpy as np
from flax import nnx

from adapters import phase1
from adapters.encoder import Encoder
from adapters.episodes import play
from adapters.gaps import Gaps
from adapters.interventions import ByActor
from adapters.rollouts import RolloutWriter, read_steps
from models import convert
from models.config import LlamaConfig
from models.heads import Head, HeadConfig
from models.llama import Llama
from models.tokenizer import Tokenizer, train
from tests.adapters import doors

WORLD = doors.Doors(tasks=150)
STATES = [doors.State("doors/train/1", 3, 6, room, calls) for room in range(3) for calls in (2, 3)]
TEXTS = tuple(state.text("compact") for state in STATES)
SIZE = 16  # of hidden states


@functools.cache
def tokenizer_folder() -> pathlib.Path:
    corpus = [
        doors.State(f"doors/train/{i % 40}", 3, 6, i % 3, i % 6, bool(i % 2)).text(style)
        for i in range(240)
        for style in ("compact", "full")
    ]
    folder = _place() / "tokenizer"
    train([*corpus, "\nAction: door 0"], folder, vocab_size=320)
    return folder


@functools.cache
def language_model() -> pathlib.Path:
    """A random model of one layer."""
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=SIZE,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        initializer_range=0.3,
        dtype="float32",
        eos_token_id=1,
    )
    folder = _place() / "model"
    convert.save(Llama(config, rngs=nnx.Rngs(0)), folder, tokenizer_from=tokenizer_folder())
    return folder


@functools.cache
def encoder() -> Encoder:
    """Of the model; as long as it is held, what it has compiled is there for all."""
    return Encoder.load(language_model())


def with_head(folder, name, config: HeadConfig, **values):
    """Makes a folder with a random head; returns the head."""
    encoder()
    shutil.copytree(language_model(), folder / "backbone")
    head = Head(config, SIZE, rngs=nnx.Rngs(1))
    shape = head.outer.kernel.shape
    head.outer.kernel[...] = 0.3 * jax.random.normal(jax.random.key(2), shape)
    head.outer.bias[...] = jax.random.normal(jax.random.key(3), shape[1:])
    head.save(folder / "head.safetensors")
    values = dict(version=1, style="compact", too_long="refuse") | values
    (folder / name).write_text(json.dumps(values))
    return head


@functools.cache
def hidden_states(texts: tuple[str, ...]) -> np.ndarray:
    """[N, D] of the model, by the decoder itself."""
    encoded = Tokenizer.load(language_model()).encode(texts)
    longest = max(map(len, encoded))
    tokens = np.array([text + [0] * (longest - len(text)) for text in encoded])
    found = np.asarray(encoder().backbones[0](tokens))  # what is behind a token does not change it
    return found[np.arange(len(texts)), [len(text) - 1 for text in encoded]]


def collect(folder, *, tasks=150, style="compact", helps=(doors.oracle,), close=True):
    """Phase 1 in doors, and the base actor from every state in which it never played."""
    actor, names = doors.greedy(), WORLD.tasks("train")[:tasks]
    players = [ByActor(make()) for make in helps]
    plan = phase1.episodes(names, phase1.settings(len(helps)), actor, players, repetitions=1)
    config = {
        "world": WORLD.config,
        "interventions": [{"name": one.name} for one in players],
        "style": style,
    }
    with RolloutWriter(folder, config) as writer:
        for played in play(WORLD, actor, players, plan, style=style):
            writer.write(played.steps)
        if close:
            gaps = Gaps(read_steps(folder), len(helps)).close()
            for played in play(WORLD, actor, players, gaps, style=style):
                writer.write(played.steps)
    return folder


@functools.cache
def _place() -> pathlib.Path:
    """For as long as the tests run."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return pathlib.Path(folder)
