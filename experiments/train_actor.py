"""Trains a small language model, from nothing, to act: on a teacher's pairs or on pairs of a file.

    python -m experiments.train_actor --out=sound
    python -m experiments.train_actor --out=base --start=sound/model --steps=800 --rate=1e-3 \\
        --teacher=experiments.teachers:base
    python -m experiments.train_actor --out=actor --pairs=pairs.jsonl --width=256 --depth=8

Without `--pairs` a scripted teacher plays tasks of the simulated SIF, and its replies and questions
about the texts are the pairs (`experiments.sif_pairs`); `experiments.actor_pairs` says what a file
of pairs holds. Replies and answers are learnt jointly, from the first step, in the tokens of a
byte-level BPE trained on the same pairs. With `--start` a model that has learnt to look things up
goes on with other pairs. In `--out`:

    settings.json   what the run was started with; another one is refused
    run/            metrics.jsonl, one line a step, and checkpoints
    model/          the actor, in Hugging Face's format: config.json, safetensors, tokenizer
    played.json     what it and its teacher did on unseen tasks, simulated: no result on SIF

The same command goes on where it was stopped, and ends in the same model.
"""

import collections
import itertools
import json
import math
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import jax
from absl import app, flags, logging
from flax import nnx

from adapters.episodes import Episode, play
from adapters.helpers import Never
from adapters.llama_actor import LlamaActor
from adapters.protocols import Actor
from adapters.sif.generator import SifConfig
from adapters.sif.world import SifWorld
from experiments import sif_pairs
from experiments.actor_pairs import Pair, corpus, documents, read_pairs
from experiments.bench.runner import replace_text
from experiments.players import Players, Servers
from experiments.progress import Progress
from experiments.run_files import check_settings, compare_settings
from experiments.shown_training import check_decay, check_rate
from models import convert
from models import tokenizer as tokenizer_lib
from models.config import LlamaConfig
from models.documents import Limit
from models.llama import Llama
from models.losses import NextToken
from models.packing import Packing
from models.training import DivergedError, Report, train
from models.training_config import TrainingConfig

_OUT = flags.DEFINE_string("out", None, "Folder of the run.", required=True)
_SEED = flags.DEFINE_integer("seed", 0, "Of the pairs, the weights and the order.", lower_bound=0)

_PAIRS = flags.DEFINE_string("pairs", None, "JSONL file of pairs; None lets a teacher play.")
_TEACHER = flags.DEFINE_string("teacher", "experiments.teachers:sound", "See experiments.players.")
_SPLITS = flags.DEFINE_list("splits", "s_obj/train,pnp/train", "Whose tasks the teacher plays.")
_TASKS = flags.DEFINE_integer("tasks", 1000, "That it plays, of each.", lower_bound=1)
_HOUSES = flags.DEFINE_integer("houses", 1000, "That training tasks take place in.", lower_bound=6)
_GOALS = flags.DEFINE_integer("goals", 2, "Other ones each state is answered for.", lower_bound=0)
_QUESTIONS = flags.DEFINE_integer("questions", 8, "Asked about each state.", lower_bound=0)
_EXCERPTS = flags.DEFINE_integer("excerpts", 1, "Of each state, with questions.", lower_bound=0)
_MET = flags.DEFINE_float("met", 0.0, "Share of other goals about an object seen.", 0.0, 1.0)
_CHECKED = flags.DEFINE_bool("checked", False, "Checked thoughts; see experiments.sif_thoughts.")
_CAREFUL = flags.DEFINE_bool("careful", False, "Careful thoughts; see experiments.sif_thoughts.")
_STRAY = flags.DEFINE_float("stray", 0.1, "Share of turns played at random.", 0.0, 1.0)

_START = flags.DEFINE_string(
    "start", None, "Folder of a model to start from; it brings its architecture and its tokenizer."
)
_WIDTH = flags.DEFINE_integer("width", 128, "hidden_size.", lower_bound=2)
_DEPTH = flags.DEFINE_integer("depth", 3, "num_hidden_layers.", lower_bound=1)
_HEADS = flags.DEFINE_integer("heads", 4, "num_attention_heads.", lower_bound=1)
_KV_HEADS = flags.DEFINE_integer("kv_heads", None, "num_key_value_heads. [heads]", lower_bound=1)
_MLP = flags.DEFINE_integer("mlp", None, "intermediate_size. [2 width]", lower_bound=1)
_VOCABULARY = flags.DEFINE_integer("vocabulary", 512, "Tokens of the BPE, at most.", lower_bound=1)
_CONTEXT = flags.DEFINE_integer("context", 512, "max_position_embeddings.", lower_bound=2)
_TOO_LONG = flags.DEFINE_enum(
    "too_long", "refuse", ["refuse", "truncate"], "What becomes of longer pairs; cut on the left."
)

_STEPS = flags.DEFINE_integer("steps", None, "Updates. [every pair once]", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch", 1024, "Tokens of an update.", lower_bound=1)
_RATE = flags.DEFINE_float("rate", 3e-3, "Learning rate at its peak.")
_DECAY = flags.DEFINE_float("decay", 0.1, "Weight decay.")
_SAVE = flags.DEFINE_integer("save_every", 200, "Steps between checkpoints.", lower_bound=1)

_PLAYED = flags.DEFINE_integer(
    "played", None, "Unseen tasks played at the end. [200; 0 with --pairs]", lower_bound=0
)
_PLAYED_SPLITS = flags.DEFINE_list(
    "played_splits", None, "Of those tasks. [test_unseen of the types that the teacher plays]"
)

# What the model follows from.
_SETTINGS = (
    *(_SEED, _PAIRS, _TEACHER, _SPLITS, _TASKS, _HOUSES, _GOALS, _QUESTIONS),
    *(_EXCERPTS, _MET, _CHECKED, _CAREFUL, _STRAY),
    *(_START, _WIDTH, _DEPTH, _HEADS, _KV_HEADS, _MLP, _VOCABULARY, _CONTEXT, _TOO_LONG),
    *(_STEPS, _BATCH, _RATE, _DECAY, _SAVE),
)
SIMULATED = "Simulated: houses and tasks are made up. No number here is a result on SIF."
_WARMUP = 0.08  # share of the steps
_RECENT = 20  # steps whose mean loss is shown


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        sys.exit(f"train_actor: unexpected argument {argv[1]!r}.")
    logging.set_verbosity(logging.WARNING)
    try:
        _run(pathlib.Path(_OUT.value))
    except (ValueError, OSError, DivergedError) as error:
        sys.exit(f"train_actor: {error}")


def _run(out: pathlib.Path) -> None:
    check_rate(_RATE.value)
    check_decay(_DECAY.value)
    for split in _PLAYED_SPLITS.value or ():
        SifWorld().tasks(split)  # refuses one that there is not
    players = Players(SifWorld(), Servers())
    teacher = None if _PAIRS.value is not None else players.actor(_TEACHER.value)
    settings = {flag.name: flag.value for flag in _SETTINGS} | {"who_teaches": players.config}
    compare_settings(out / "settings.json", settings)
    pairs = _pairs(teacher)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer, model = _beginning(pairs, folder)
        limit = Limit(model.config.max_position_embeddings, _TOO_LONG.value)
        packing = Packing(
            documents(pairs, tokenizer, limit), batch_tokens=_BATCH.value, seed=_SEED.value
        )
        steps = _STEPS.value or math.ceil(packing.batches_per_epoch)
        packing.check_fits(model.config)
        longest = _longest_reply(pairs, tokenizer)
        _tell(pairs, packing, model, steps, limit)
        config = _training(steps)
        check_settings(out / "settings.json", settings)
        _train(model, packing, config, out / "run")
        if not (out / "model").exists():
            convert.save(model, out / "model", tokenizer_from=_START.value or folder)
    print(f"The actor is in {out / 'model'}; its replies have up to {longest} tokens.")
    number = (0 if teacher is None else 200) if _PLAYED.value is None else _PLAYED.value
    if number:
        actors = [LlamaActor(out / "model", name="actor", max_new_tokens=longest), teacher]
        _play(out, number, [actor for actor in actors if actor is not None])


def _pairs(teacher: Actor | None) -> list[Pair]:
    if teacher is None:
        return read_pairs(_PAIRS.value)
    found = []
    for split in _SPLITS.value:
        lessons = sif_pairs.Lessons(
            split=split,
            tasks=_TASKS.value,
            houses=_HOUSES.value,
            goals=_GOALS.value,
            questions=_QUESTIONS.value,
            excerpts=_EXCERPTS.value,
            met=_MET.value,
            checked=_CHECKED.value,
            careful=_CAREFUL.value,
            stray=_STRAY.value,
            seed=_SEED.value,
        )
        progress = Progress(f"tasks of {split}", lessons.tasks)
        for pairs in sif_pairs.by_task(teacher, lessons):
            found += pairs
            progress.add()
        progress.end(f"{len(found):,} pairs")
    return found


def _beginning(pairs: Sequence[Pair], folder: str) -> tuple[tokenizer_lib.Tokenizer, Llama]:
    """A tokenizer, which is written to the folder, and a model; or those to start from."""
    if _START.value is not None:
        model = convert.load(_START.value, dtype="float32")
        return tokenizer_lib.Tokenizer.load(_START.value, vocab_size=model.config.vocab_size), model
    # Made again each time: the same pairs give the same tokenizer.
    tokenizer = tokenizer_lib.train(corpus(pairs), folder, vocab_size=_VOCABULARY.value)
    return tokenizer, Llama(_architecture(tokenizer), rngs=nnx.Rngs(_SEED.value))


def _longest_reply(pairs: Sequence[Pair], tokenizer: tokenizer_lib.Tokenizer) -> int:
    """In tokens, with the one that ends it."""
    replies = {f"\n{pair.reply}" for pair in pairs if pair.reply is not None}
    replies |= {answer for pair in pairs for _, answer in pair.questions}
    return 1 + max(map(len, tokenizer.encode(list(replies), special=False)), default=0)


def _architecture(tokenizer: tokenizer_lib.Tokenizer) -> LlamaConfig:
    width = _WIDTH.value
    return LlamaConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=width,
        intermediate_size=_MLP.value or 2 * width,
        num_hidden_layers=_DEPTH.value,
        num_attention_heads=_HEADS.value,
        num_key_value_heads=_KV_HEADS.value,
        max_position_embeddings=_CONTEXT.value,
        tie_word_embeddings=True,
        # Wider than a large model's 0.02: it learns to look things up in fewer steps.
        initializer_range=0.05,
        bos_token_id=tokenizer.hf.bos_token_id,
        eos_token_id=tokenizer.end_token,
        pad_token_id=tokenizer.hf.pad_token_id,
        dtype="float32",
    )


def _tell(pairs: Sequence[Pair], packing: Packing, model: Llama, steps: int, limit: Limit) -> None:
    tokens = sum(len(document.tokens) for document in packing.documents)
    learnt = sum(len(document.reads) for document in packing.documents)
    size = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    print(
        f"{len(pairs):,} pairs, {tokens:,} tokens, {learnt:,} of them learnt, "
        f"{limit.truncated:,} texts truncated; {model.config.vocab_size} tokens in the vocabulary\n"
        f"{size:,} parameters; {steps:,} steps, each pair {steps / packing.batches_per_epoch:.2f} "
        f"times; batches {', '.join(f'{s.rows} x {s.length}' for s in packing.shapes)}",
        flush=True,
    )


def _training(steps: int) -> TrainingConfig:
    return TrainingConfig(
        steps,
        _RATE.value,
        warmup_steps=round(_WARMUP * steps),
        final_share=0.05,
        weight_decay=_DECAY.value,
        checkpoint_every=_SAVE.value,
    )


def _train(model: Llama, packing: Packing, config: TrainingConfig, folder: pathlib.Path) -> None:
    steps = config.steps
    progress, tokens, recent = None, 0, collections.deque(maxlen=_RECENT)

    def show(report: Report) -> None:
        nonlocal progress, tokens
        progress = progress or Progress("steps", steps - report.step + 1)
        tokens += report.tokens
        recent.append(report.loss)
        progress.add(
            lambda: (
                f"step {report.step:,}, loss {statistics.fmean(recent):.4f}, "
                f"{report.tokens_per_second:,.0f} tokens/s"
            )
        )

    clocks = time.perf_counter(), time.process_time()
    train(model, packing, NextToken(), config, folder=folder, on_step=show)
    if progress is None:
        print(f"All {steps:,} steps were done before.")
        return
    seconds, cpu = time.perf_counter() - clocks[0], time.process_time() - clocks[1]
    progress.end(f"loss {statistics.fmean(recent):.4f}")
    print(
        f"{tokens:,} tokens in {seconds:.0f} s, compilation included: {tokens / seconds:,.0f} a "
        f"second, {tokens / cpu:,.0f} a second of processor time."
    )


def _play(out: pathlib.Path, number: int, actors: Sequence[Actor]) -> None:
    """Plays unseen tasks, and prints and writes down how it went."""
    world = SifWorld(SifConfig(val_tasks=number, test_tasks=number))
    splits = _PLAYED_SPLITS.value
    if splits is None:
        types = dict.fromkeys(split.split("/")[0] for split in _SPLITS.value)
        splits = [f"{kind}/test_unseen" for kind in types]
    rows: dict[str, dict[str, Any]] = {split: {} for split in splits}
    print(f"{SIMULATED}\n{number} tasks of each:")
    print(f"{'':28}{'success':>15}{'valid actions':>15}{'actions':>9}{'truncated':>11}")
    for split, actor in itertools.product(splits, actors):
        rows[split][actor.name] = row = played(world, actor, world.tasks(split)[:number])
        print(
            f"{split:18}{actor.name:10}{row['success']:>8.1%} ±{1.96 * row['error']:>4.0%} "
            f"{row['valid']:>14.1%}{row['actions']:>9.1f}{row['truncated']:>11.1%}",
            flush=True,
        )
    found = {"note": SIMULATED, "tasks": number, "splits": rows}
    replace_text(out / "played.json", json.dumps(found, indent=1) + "\n")


def played(world: SifWorld, actor: Actor, tasks: Sequence[str]) -> dict[str, float]:
    """How an actor does alone: success and its standard error, share of its replies with
    an action that is offered, actions an episode, share of episodes that end in a limit."""
    episodes = [Episode(name=task, task=task, helper=Never()) for task in tasks]
    steps = []
    for over in play(world, actor, [], episodes, style=None):
        if over.error is not None:
            raise ValueError(f"task {over.episode.name}: {over.error}")
        steps.append(over.steps)
    success = statistics.fmean(some[-1].outcome == "success" for some in steps)
    return dict(
        success=success,
        error=math.sqrt(success * (1 - success) / len(steps)),
        valid=statistics.fmean(
            step.action is not None and not step.invalid for some in steps for step in some
        ),
        actions=statistics.fmean(len(some) for some in steps),
        truncated=statistics.fmean(some[-1].outcome == "truncated" for some in steps),
    )


if __name__ == "__main__":
    app.run(main)
