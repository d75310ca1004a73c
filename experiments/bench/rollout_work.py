"""What `bench_rollouts` measures, each of them a function of `Sizes` and a folder.

The folder is that of the rollouts; `write_store` fills it for the others of the store.
"""

import asyncio
import dataclasses
import importlib.util
import itertools
import json
import pathlib
import random
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import msgspec

from adapters import phase1
from adapters.episodes import Episode, play
from adapters.helpers import Never, Random
from adapters.rollouts import RolloutWriter, read_steps
from adapters.seeds import derive
from adapters.sif.generator import SifConfig, generate_task
from adapters.sif.layout import DONE
from adapters.sif.tasks import TASK_TYPES
from adapters.step import Step
from experiments.bench import chat_server
from experiments.bench.measure import Meter
from experiments.players import Players, Servers, make_world

HELP_PROBABILITY = 0.3
PLAIN_CONNECTIONS = 16
_STYLE = "compact"  # of the texts in the rollouts
_STORE_TASKS = 12  # whose episodes the store's are copies of
_MODEL_PACKAGES = ("flax", "transformers")
_WARMUP = 64  # episodes: as many as are played at once
_BUFFER = 1 << 20  # bytes read at once, as the reader of the store does


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much of each is done.

    Attributes:
      tasks: that are played; of all types.
      world_steps, generated, episodes, calls: of each case.
      store_steps: in the store, or a few more.
    """

    tasks: int
    world_steps: int
    generated: int
    episodes: int
    calls: int
    store_steps: int


def step_world(sizes: Sizes, folder: pathlib.Path) -> dict[str, Any]:
    """Random admissible actions, with the key of every state that follows."""
    world = make_world("sif")
    walks = [(task, _walk(world, task)) for task in _tasks(sizes.tasks)]
    meter, steps, characters = Meter(), 0, 0
    with meter:
        while steps < sizes.world_steps:
            for task, actions in walks:
                state = world.reset(task)
                for action in actions:
                    state = world.step(state, action)
                    characters += len(state.key)
                steps += len(actions)
    return meter.result(steps, f"keys of {characters / steps:.0f} characters")


def generate_tasks(sizes: Sizes, folder: pathlib.Path) -> dict[str, Any]:
    """Tasks from the seed, their houses too, each with the oracle's episode."""
    config, names = SifConfig(), _tasks(sizes.generated)
    meter = Meter()
    with meter:
        tasks = [generate_task(config, name) for name in names]
    return meter.result(len(tasks))


def play_episodes(
    sizes: Sizes, folder: pathlib.Path, *, actor: str, help: str | None = None
) -> dict[str, Any]:
    """Whole episodes, 64 at once, with texts in their steps; tasks are made before.

    Args:
      sizes, folder: as all cases.
      actor, help: names as `experiments.players` has them; help is asked at random.
    """
    world, tasks = make_world("sif"), _tasks(sizes.tasks)
    probabilities = (HELP_PROBABILITY,) if help else ()
    helper = Random(probabilities) if help else Never()
    with Players(world, Servers()) as players:
        base = players.actor(actor)
        helps = [players.intervention(help, base, actor)] if help else []
        plan = [
            Episode(f"{task} run={run}", task, helper, probabilities, derive(run, task))
            for run, task in _repeated(tasks, sizes.episodes)
        ]
        for task in tasks:
            world.reset(task)
        meter, turns = Meter(), 0
        with meter:
            for played in play(world, base, helps, plan, style=_STYLE):
                turns += len(played.steps)
                if played.error is not None:
                    raise RuntimeError(f"{played.episode.name}: {played.error}")
    return meter.result(len(plan), f"{turns / len(plan):.1f} turns each")


def play_local_model(sizes: Sizes, folder: pathlib.Path) -> dict[str, Any]:
    """Whole episodes of a `LlamaActor` alone, 64 at once, with random weights: each reply stands
    for some action. The programs are compiled before, by episodes that are not counted."""
    if missing := [name for name in _MODEL_PACKAGES if importlib.util.find_spec(name) is None]:
        return {"status": "skipped", "reason": f"{', '.join(missing)} not installed"}
    from experiments.bench.local_actor import NEW, random_actor

    world, tasks = make_world("sif"), _tasks(sizes.tasks)
    texts = [world.reset(task).text("compact") for task in tasks]
    plan = [
        Episode(f"{task} run={run}", task, Never())
        for run, task in _repeated(tasks, sizes.episodes)
    ]
    with tempfile.TemporaryDirectory() as made:
        actor = random_actor(pathlib.Path(made), texts)
        for _ in play(world, actor, [], plan[:_WARMUP], style=None):
            pass
        meter, turns = Meter(), 0
        with meter:
            for played in play(world, actor, [], plan, style=_STYLE):
                turns += len(played.steps)
                if played.error is not None:
                    raise RuntimeError(f"{played.episode.name}: {played.error}")
    return meter.result(
        len(plan), f"{turns / len(plan):.1f} turns each of {NEW} tokens; untrained: acts at random"
    )


def call_actor(sizes: Sizes, folder: pathlib.Path, *, concurrency: int) -> dict[str, Any]:
    """Calls of `OpenAIActor`, the making of their prompts included; connections are open before."""
    from adapters.openai_actor import OpenAIActor  # takes the openai client

    states = _first_states(sizes, max(sizes.calls, concurrency))
    with (
        chat_server.serving() as base_url,
        # Samples of different seeds: no call is spared because another asked the same.
        OpenAIActor(
            "bench",
            base_url=base_url,
            api_key_env=None,
            temperature=1.0,
            concurrency=concurrency,
        ) as actor,
    ):
        actor.act(states[:concurrency], range(concurrency))
        meter = Meter()
        with meter:
            seeds = range(concurrency, concurrency + sizes.calls)
            replies = actor.act(states[: sizes.calls], seeds)
        bad = [reply for reply in replies if reply.action != chat_server.ACTION or reply.retries]
    if bad:
        raise RuntimeError(f"{len(bad)} calls went wrong, the first: {bad[0]}")
    return meter.result(len(replies), f"prompts of {_mean_length(states):,.0f} characters")


def call_plainly(sizes: Sizes, folder: pathlib.Path) -> dict[str, Any]:
    """The same server without the client: sockets, and no look into the answers."""
    states = _first_states(sizes, 1)
    message = {"role": "user", "content": states[0].text("full")}
    body = json.dumps({"model": "bench", "messages": [message]}).encode()
    with chat_server.serving() as base_url:
        meter = Meter()
        with meter:
            answers = asyncio.run(
                chat_server.call_plainly(base_url, body, sizes.calls, PLAIN_CONNECTIONS)
            )
    return meter.result(len(answers), f"prompts of {_mean_length(states):,.0f} characters")


def write_store(sizes: Sizes, folder: pathlib.Path) -> dict[str, Any]:
    """`RolloutWriter.write` of whole episodes, and the forcing to disk at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    played, meter, steps = _phase1(), Meter(), 0
    writer = RolloutWriter(folder, {"world": "sif"})
    for number in itertools.count():
        if steps >= sizes.store_steps:
            break
        episodes = [_copy(episode, number) for episode in played]
        with meter:
            for episode in episodes:
                writer.write(episode)
        steps += sum(map(len, episodes))
    with meter:
        writer.close()
    size = sum(path.stat().st_size for path in _shards(folder))
    return meter.result(steps, f"{size / steps:.0f} bytes a step, {size / 1e6:.0f} MB")


def read_store(sizes: Sizes, folder: pathlib.Path) -> dict[str, Any]:
    """`read_steps`: every field of every step."""
    meter = Meter()
    with meter:
        steps = sum(1 for _ in read_steps(folder))
    return meter.result(steps)


def count_store(sizes: Sizes, folder: pathlib.Path) -> dict[str, Any]:
    """`read_counts`: from the lines to transition counts."""
    from adapters.rollouts.counts import read_counts  # takes jax

    meter = Meter()
    with meter:
        found = read_counts(folder)
    return meter.result(found.counts.num_steps, f"{len(found.index):,} states")


def parse_store(sizes: Sizes, folder: pathlib.Path) -> dict[str, Any]:
    """The same lines through msgspec's parser into plain dicts, and nothing else."""
    meter, lines = Meter(), 0
    with meter:
        for path in _shards(folder):
            with open(path, "rb", buffering=_BUFFER) as file:
                for line in file:
                    msgspec.json.decode(line)
                    lines += 1
    return meter.result(lines)


def _tasks(number: int) -> list[str]:
    """The first training tasks, of all types in turn."""
    types = len(TASK_TYPES)
    return [f"{TASK_TYPES[i % types]}/train/{i // types}" for i in range(number)]


def _repeated(tasks: list[str], number: int) -> Iterator[tuple[int, str]]:
    """As many pairs of a repetition and a task."""
    return ((i // len(tasks), tasks[i % len(tasks)]) for i in range(number))


def _walk(world, task: str) -> list[str]:
    """Admissible actions by chance, from the start of a task to its end."""
    chance, state, actions = random.Random(task), world.reset(task), []
    while state.outcome is None:
        actions.append(chance.choice([a for a in state.actions if a != DONE] or [DONE]))
        state = world.step(state, actions[-1])
    return actions


def _first_states(sizes: Sizes, number: int) -> list[Any]:
    world = make_world("sif")
    tasks = _tasks(sizes.tasks)
    return [world.reset(task) for _, task in _repeated(tasks, number)]


def _mean_length(states: list[Any]) -> float:
    return sum(len(state.text("full")) for state in states) / len(states)


def _phase1() -> list[list[Step]]:
    """Episodes as the paper's first phase gives them, of a few tasks."""
    world = make_world("sif")
    with Players(world, Servers()) as players:
        actor = players.actor("greedy")
        helps = [players.intervention("reasoner", actor, "greedy")]
        plan = phase1.episodes(_tasks(_STORE_TASKS), phase1.settings(1), actor, helps)
        return [played.steps for played in play(world, actor, helps, plan, style=_STYLE)]


def _copy(episode: list[Step], number: int) -> list[Step]:
    """The episode as one of another task, its states new ones."""
    mark = f" copy {number}"
    return [
        dataclasses.replace(
            step,
            task=step.task + mark,
            episode=step.episode + mark,
            state_key=step.state_key + mark,
            next_state_key=step.next_state_key + mark,
        )
        for step in episode
    ]


def _shards(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.glob("shard-*.jsonl"))
