"""What the measurements of `bench_models` share: sizes of models, data, and how long to measure.

The data are texts of the simulated SIF, as actors read them, with the actions of a scripted actor
and what they told anew, in the tokens of a byte-level BPE. Weights are random. Both are made once
and read by every measurement.
"""

import dataclasses
import json
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.bench.measure import Meter
from models.documents import Document, Limit, state_documents

if TYPE_CHECKING:
    from experiments.actor_pairs import Pair

TURNS = 12  # states of a growing transcript
PROMPT = 128  # tokens of a prompt
NEW = 10  # tokens generated for each
PROMPTS = 256
ROW = 256  # tokens of a training batch's rows
SCORED = 512  # tokens of a full batch that PyTorch scores, padding included: its fastest here
CONTEXT = 2048
OPTIMIZER = dict(learning_rate=1e-3, weight_decay=0.1, beta1=0.9, beta2=0.95, clip_norm=1.0)
WARMUP = 5  # steps before training is measured
CHECKED = 3  # steps whose losses are compared
_VOCABULARY = 512

# Entries of LlamaConfig. With 512 tokens in the vocabulary 1.3M has 1,270,912 parameters and 11M
# has 10,818,432.
ARCHITECTURES = {
    "tiny": dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2),
    "1.3M": dict(
        hidden_size=128, intermediate_size=352, num_hidden_layers=6, num_attention_heads=4
    ),
    "11M": dict(
        hidden_size=384, intermediate_size=1024, num_hidden_layers=6, num_attention_heads=6
    ),
}


@dataclasses.dataclass(frozen=True)
class Setup:
    """Of one measurement.

    Attributes:
      folder: with what `make` wrote.
      model: a name in `ARCHITECTURES`.
      seconds: measured at least, after warming up.
      threads: that it may use.
      batch_tokens: of a training step, padding included.
      rows: sequences generated at once.
    """

    folder: pathlib.Path
    model: str
    seconds: float
    threads: int
    batch_tokens: int
    rows: int = 1

    @property
    def weights(self) -> pathlib.Path:
        """The Hugging Face folder of the model, with the head beside it."""
        return self.folder / self.model

    @property
    def head(self) -> pathlib.Path:
        return self.folder / f"{self.model}-head.safetensors"


@dataclasses.dataclass(frozen=True)
class Data:
    """Tokens.

    Attributes:
      documents: SFT documents, of `experiments.actor_pairs`.
      states: texts of states, int lists.
      transcripts: of `TURNS` states each, every one a prefix of the next.
      prompts: `PROMPTS` of `PROMPT` tokens.
    """

    documents: list[Document]
    states: list[list[int]]
    transcripts: list[list[list[int]]]
    prompts: list[list[int]]

    @classmethod
    def load(cls, folder: pathlib.Path) -> "Data":
        """What `make` wrote."""
        found = json.loads((folder / "data.json").read_text())
        documents = [
            Document(
                f"pair {i}",
                np.array(tokens, np.int32),
                np.array(reads, np.int32),
                np.array(targets, np.int32),
                np.ones(len(reads), np.float32),
                np.zeros((len(reads), 0), np.float32),
            )
            for i, (tokens, reads, targets) in enumerate(found.pop("documents"))
        ]
        return cls(documents, **found)

    def state_documents(self) -> list[Document]:
        """One a state."""
        return _read_at_the_end([[state] for state in self.states])

    def growing_documents(self, *, one_pass: bool) -> list[Document]:
        """One a transcript, or one a state of a transcript, in the order of the states."""
        if one_pass:
            return _read_at_the_end(self.transcripts)
        return _read_at_the_end([[state] for some in self.transcripts for state in some])


def make(folder: str, models: Sequence[str], tasks: int) -> dict[str, Any]:
    """Plays `tasks` tasks, trains the tokenizer, and writes the data and the models."""
    import flax.nnx as nnx
    import jax

    from models import convert
    from models.config import LlamaConfig
    from models.heads import Head, HeadConfig
    from models.llama import Llama

    path = pathlib.Path(folder)
    vocabulary = _write_data(path, tasks)
    for name in models:
        config = LlamaConfig(
            vocabulary,
            **ARCHITECTURES[name],
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            initializer_range=0.05,
            dtype="float32",
        )
        convert.save(Llama(config, rngs=nnx.Rngs(0)), path / name)
        head = Head(HeadConfig("success", 0), config.hidden_size, rngs=nnx.Rngs(1))
        shape = head.outer.kernel.shape  # 0 until it is trained: all states would score the same
        head.outer.kernel[...] = 0.3 * jax.random.normal(jax.random.key(2), shape)
        head.save(path / f"{name}-head.safetensors")
    return {}


def _write_data(folder: pathlib.Path, tasks: int) -> int:
    """Writes data.json and tokenizer/; returns the number of tokens in the vocabulary."""
    from experiments.actor_pairs import corpus, documents
    from models import tokenizer as tokenizer_lib

    played = _played(tasks)
    pairs = [pair for some in played for pair in some]
    tokenizer = tokenizer_lib.train(corpus(pairs), folder / "tokenizer", vocab_size=_VOCABULARY)
    trained = documents(pairs, tokenizer, Limit(ROW, "truncate"))
    states = tokenizer.encode([pair.text for pair in pairs])
    stream = [token for state in states for token in state]
    stream *= -(-PROMPTS * PROMPT // len(stream))
    data = {
        "documents": [(d.tokens.tolist(), d.reads.tolist(), d.targets.tolist()) for d in trained],
        "states": states,
        "transcripts": [_transcript(some, tokenizer) for some in played],
        "prompts": [stream[PROMPT * i : PROMPT * (i + 1)] for i in range(PROMPTS)],
    }
    (folder / "data.json").write_text(json.dumps(data))
    return tokenizer.vocab_size


def _played(tasks: int) -> list[list["Pair"]]:
    """Episodes of a scripted actor: each state's text with the action and what it told anew."""
    from adapters.sif.scripted import ScriptedGreedy
    from adapters.sif.world import SifWorld
    from experiments.actor_pairs import Pair

    world, actor, played = SifWorld(), ScriptedGreedy(), []
    for task in world.tasks("s_obj/train")[:tasks]:
        state, pairs = world.reset(task), []
        while state.outcome is None:
            [reply] = actor.act([state], [0])
            text = state.text("compact")
            known = set(text.splitlines())
            state = world.step(state, reply.action)
            new = [line for line in state.text("compact").splitlines() if line not in known]
            pairs.append(Pair(task, text, "\n".join([f"Action: {reply.action}", *new])))
        played.append(pairs)
    return played


def _transcript(pairs: Sequence["Pair"], tokenizer) -> list[list[int]]:
    """The first text, and then each action with what it told anew: `TURNS` states.

    A shorter episode begins again.
    """
    tokens = tokenizer.encode([pairs[0].text])[0]
    states = [tokens]
    for turn in range(TURNS - 1):
        reply = f"\n{pairs[turn % len(pairs)].reply}"
        tokens = tokens + tokenizer.encode([reply], special=False)[0]
        states.append(tokens)
    return states


def _read_at_the_end(transcripts: Sequence[Sequence[Sequence[int]]]) -> list[Document]:
    limit = Limit(CONTEXT)
    return [
        document
        for i, states in enumerate(transcripts)
        for document in state_documents(f"transcript {i}", states, limit=limit)
    ]


def repeat(seconds: float, work: Callable[[int], None]) -> tuple[Meter, int]:
    """Calls work(0), work(1), ... until `seconds` have passed; the meter of all, and how many."""
    meter, count, begin = Meter(), 0, time.perf_counter()
    with meter:
        while not count or time.perf_counter() - begin < seconds:
            work(count)
            count += 1
    return meter, count
