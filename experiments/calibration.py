"""What an actor does in a split of the simulated SIF, and what one turn of help would change."""

import dataclasses
import math
import statistics
import time
from collections.abc import Sequence

from adapters.protocols import Actor
from adapters.sif.spl import spl
from adapters.sif.state import SifState
from adapters.sif.world import SifWorld


@dataclasses.dataclass(frozen=True)
class Row:
    """What an actor did in a split.

    Attributes:
      actor, split: names.
      tasks: played.
      success: share of them.
      error: standard error of that.
      actions, steps: mean length of an episode, in actions and in low-level steps.
      spl_actions, spl_steps: mean SPL.
      invalid: share of the failures that ended in an invalid action; None without failures.
      truncated: likewise, in a limit.
      rescued: share of the failures of which one turn of a helper, at the best moment, makes a
        success, chosen in hindsight: a ceiling. None without a helper, or without failures.
      rescued_at_random: likewise, at a moment drawn evenly from the episode's turns.
      episodes_per_second: how fast they were played.
    """

    actor: str
    split: str
    tasks: int
    success: float
    error: float
    actions: float
    steps: float
    spl_actions: float
    spl_steps: float
    invalid: float | None
    truncated: float | None
    rescued: float | None
    rescued_at_random: float | None
    episodes_per_second: float


def measure(
    world: SifWorld,
    actor: Actor,
    split: str,
    starts: Sequence[SifState],
    helper: Actor | None = None,
) -> Row:
    """Plays an actor from the first states of a split's tasks.

    Args:
      world: theirs.
      actor: plays alone.
      split: its name.
      starts: the first states, at least one.
      helper: who plays one turn of a failed episode, to see what that changes; None for nobody.
    """
    began = time.perf_counter()
    ends = play(world, actor, starts)
    seconds = time.perf_counter() - began
    won = [end.outcome == "success" for end in ends]
    lost = [end for end in ends if end.outcome != "success"]
    lengths = [spl(end.task, end.outcome, end.measures) for end in ends]
    success = statistics.fmean(won)
    rescues = rescue(world, actor, helper, lost) if helper is not None and lost else None
    return Row(
        actor=actor.name,
        split=split,
        tasks=len(ends),
        success=success,
        error=math.sqrt(success * (1 - success) / len(ends)),
        actions=statistics.fmean(end.measures["actions"] for end in ends),
        steps=statistics.fmean(end.measures["low_level_steps"] for end in ends),
        spl_actions=statistics.fmean(length.actions for length in lengths),
        spl_steps=statistics.fmean(length.low_level_steps for length in lengths),
        invalid=statistics.fmean(end.invalid for end in lost) if lost else None,
        truncated=statistics.fmean(end.outcome == "truncated" for end in lost) if lost else None,
        rescued=statistics.fmean(max(turns) for turns in rescues) if rescues else None,
        rescued_at_random=statistics.fmean(map(statistics.fmean, rescues)) if rescues else None,
        episodes_per_second=len(ends) / seconds,
    )


def play(world: SifWorld, actor: Actor, starts: Sequence[SifState]) -> list[SifState]:
    """The last states of the episodes from these states, all played at once."""
    states = list(starts)
    running = [i for i, state in enumerate(states) if state.outcome is None]
    while running:
        replies = actor.act([states[i] for i in running], [0] * len(running))
        for i, reply in zip(running, replies, strict=True):
            states[i] = world.step(states[i], reply.action)
        running = [i for i in running if states[i].outcome is None]
    return states


def rescue(
    world: SifWorld, actor: Actor, helper: Actor, ends: Sequence[SifState]
) -> list[list[bool]]:
    """For each episode and turn, whether it succeeds if the helper plays that turn."""
    asked = [state for end in ends for state in end.past()[:-1]]
    replies = helper.act(asked, [0] * len(asked))
    helped = [world.step(s, reply.action) for s, reply in zip(asked, replies, strict=True)]
    won = iter([end.outcome == "success" for end in play(world, actor, helped)])
    return [[next(won) for _ in end.past()[:-1]] for end in ends]
