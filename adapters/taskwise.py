"""Help for whole tasks: the task is played alone first, and again with help where that is needed.

I(s_[0:-1] -> T) of Appendix B of https://arxiv.org/abs/2502.04576, "all steps": the base actor
completes the task; somebody looks at what it did and says whether help was needed; if so, the task
starts again, and help plays it from the first state on. Help from a state to the end needs nothing
of this: see `adapters.episodes.TaskWise`.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from adapters import episodes as episodes_lib
from adapters.episodes import Episode, Played
from adapters.helpers import Always, Never
from adapters.protocols import Actor, Intervention, World
from adapters.seeds import derive
from adapters.step import Step


@dataclasses.dataclass(frozen=True, slots=True)
class Attempt:
    """A task played alone and perhaps once more.

    Attributes:
      alone: by the base actor.
      helped: from the start by one help; None if help was not needed, or `alone` was given up.
    """

    alone: Played
    helped: Played | None

    @property
    def last(self) -> Played:
        """The one that counts."""
        return self.helped or self.alone


def restart(
    world: World,
    actor: Actor,
    interventions: Sequence[Intervention],
    tasks: Sequence[str],
    judge: Callable[[Sequence[Step]], int],
    *,
    seed: int = 0,
    **how,
) -> Iterator[Attempt]:
    """Plays each task alone, and those that need it once more with help at every turn.

    Args:
      world, actor, interventions: as `episodes.play`.
      tasks: names, none twice.
      judge: from the turns of the base actor to 0, no help was needed, or i, help i plays.
      seed: all chance comes from it.
      **how: `batch`, `style`, `max_turns` of `episodes.play`.

    Yields:
      One attempt a task, in the order of `tasks`.

    Raises:
      ValueError: as `episodes.play`; a task is named twice; the judge names no help there is.
    """
    if len(set(tasks)) < len(tasks):
        raise ValueError("tasks holds a task twice, expected each once")
    zeros, never = (0.0,) * len(interventions), Never()
    alone = {
        played.episode.task: played
        for played in episodes_lib.play(
            world,
            actor,
            interventions,
            [Episode(f"alone/{task}", task, never, zeros, derive(seed, task)) for task in tasks],
            **how,
        )
    }
    always = [Always(i) for i in range(len(interventions) + 1)]
    again = []
    for task, played in alone.items():
        help = judge(played.steps) if played.error is None else 0
        if not 0 <= help <= len(interventions):
            raise ValueError(f"judge gave {help} for {task!r}, expected 0..{len(interventions)}")
        if help:
            ones = tuple(float(i == help) for i in range(1, len(interventions) + 1))
            again.append(
                Episode(f"again/{task}", task, always[help], ones, derive(seed, task, help))
            )
    helped = {
        played.episode.task: played
        for played in episodes_lib.play(world, actor, interventions, again, **how)
    }
    for task in tasks:
        yield Attempt(alone[task], helped.get(task))
