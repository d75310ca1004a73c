"""Plays tasks under many conditions at once, and says how each episode went.

Conditions differ in who decides; the actors are the same, and where they are deterministic each
state is asked once for all conditions. Episodes of all conditions run side by side, so that a model
is asked about many states at a time.
"""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from adapters.episodes import Episode, Played, TaskWise, play
from adapters.helpers import Always, Never, Watch
from adapters.interventions import ByActor
from adapters.memo import Memoised
from adapters.prm_helper import judge
from adapters.proposals import REPLY
from adapters.protocols import Actor, Intervention, State, World
from adapters.remembered import Remembered
from adapters.seeds import derive
from adapters.sif.layout import DONE
from adapters.sif.spl import spl
from adapters.sif.world import SifWorld
from experiments.conditions import Condition, Dial
from experiments.deciders import Deciders

CAUSES = ("invalid action", "limit", "wrong Done", "other")


@dataclasses.dataclass(frozen=True)
class Job:
    """A task to be played under a condition.

    Attributes:
      condition: who decides.
      dial: its p or threshold, if it has one.
      task: its name.
      seed: 0, 1, ...
    """

    condition: Condition
    dial: Dial | None
    task: str
    seed: int = 0

    @property
    def name(self) -> str:
        """Unique."""
        return f"{self.condition.name} {self.dial} {self.task} seed={self.seed}"


@dataclasses.dataclass(frozen=True)
class Result:
    """How an episode went.

    Attributes:
      condition: its name.
      task, seed: as in the job.
      success: of the attempt that counts.
      spl: success weighted by low-level steps; None where the world has no shortest length.
      spl_actions: likewise, by actions.
      length: actions, or turns where the world does not count them; of the attempt that counts.
      usage: [K] calls of each help.
      invalid: actions that were not admissible.
      outcome: "success", "failure" or "truncated".
      cause: of a failure, one of `CAUSES`; None for a success.
    """

    condition: str
    task: str
    seed: int
    success: bool
    spl: float | None
    spl_actions: float | None
    length: float
    usage: tuple[int, ...]
    invalid: int
    outcome: str
    cause: str | None


class EpisodeFailed(Exception):
    """Nobody answered: the episode is no result, and may be played again later."""


class Contest:
    """Plays jobs.

    Attributes:
      actor: the base actor; `Memoised` where it leaves nothing to chance.
      deciders: the helpers of the conditions.
      deterministic: the actors leave nothing to chance.
    """

    def __init__(
        self,
        world: World,
        actor: Actor,
        helps: Sequence[Intervention],
        deciders: Deciders,
        *,
        batch: int = 256,
        max_turns: int | None = None,
        seed: int = 0,
    ):
        """Makes a contest; steps and replies of deterministic actors are remembered from now on.

        Args:
          world, actor: as `adapters.episodes.play`.
          helps: [K].
          deciders: for K helps.
          batch: episodes at once.
          max_turns: of an episode, if the world has no limit.
          seed: all chance comes from it.
        """
        self._world, self._seed = world, seed
        self._remembered = Remembered(world)
        self.deciders = deciders
        self.actor = _memoised(actor)
        self._helps = [ByActor(_memoised(one.actor)) if _by_actor(one) else one for one in helps]
        self._how = dict(batch=batch, max_turns=max_turns)
        self.deterministic = actor.temperature == 0 and all(one.deterministic for one in helps)

    @property
    def num_helps(self) -> int:
        """K."""
        return len(self._helps)

    def seeds(self, condition: Condition, dial: Dial | None, seeds: int) -> int:
        """How many seeds tell something: one where nothing is left to chance."""
        chance = condition.method == "random" or (dial is not None and dial.mixed)
        return seeds if chance or not self.deterministic else 1

    def play(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Result]]:
        """The jobs in the order in which they end.

        Raises:
          EpisodeFailed: an actor failed, or somebody stopped.
          ValueError, OSError: as `adapters.episodes.play` and `Deciders`.
        """
        restarting = []

        def begin():
            for job in jobs:
                if job.condition.restarts:
                    restarting.append(job)
                else:
                    yield job

        for job, played in self._play(begin(), self._episode):
            yield job, self._result(job, played)
        yield from self._restart(restarting)

    def states(self, jobs: Sequence[Job]) -> list[State]:
        """The states in which the jobs ask their helpers; jobs are played as if none restarts."""
        watch = Watch()

        def watched(job: Job) -> Episode:
            episode = self._episode(job)
            return dataclasses.replace(episode, helper=watch.over(episode.helper))

        collections.deque(self._play(jobs, watched), maxlen=0)
        return list(watch.met.values())

    def _restart(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Result]]:
        """Plays each task alone, and those that need it again, with help at every turn."""
        again: dict[str, int] = {}  # the help that plays, by the name of the job

        def style(job: Job) -> str | None:
            condition = job.condition
            judged = condition.method in ("prm", "helper")
            return self.deciders.judge(condition).style.removesuffix(REPLY) if judged else None

        by_style = sorted(jobs, key=lambda job: style(job) or "")
        for one_style, group in itertools.groupby(by_style, style):
            for job, played in self._play(group, self._alone, one_style):
                help = self._needs(job, played)
                if help:
                    again[job.name] = help
                else:
                    yield job, self._result(job, played)
        helpers = [Always(i) for i in range(self.num_helps + 1)]
        helped = [job for job in jobs if job.name in again]
        for job, played in self._play(
            helped, lambda job: self._episode(job, helpers[again[job.name]])
        ):
            yield job, self._result(job, played)

    def _needs(self, job: Job, played: Played) -> int:
        """Which help a task needs that was played alone; 0 for none."""
        condition, seed = job.condition, played.episode.seed
        if condition.method in ("never", "always"):
            return condition.help if condition.method == "always" else 0
        if condition.method == "random":
            return self.deciders.whole_task(condition, job.dial, seed).help
        return judge(self.deciders.helper(condition, job.dial, seed), played.steps)

    def _alone(self, job: Job) -> Episode:
        return self._episode(job, Never())

    def _episode(self, job: Job, helper: Any = None) -> Episode:
        condition = job.condition
        # Of the task and its number alone: the conditions share their luck, and differ by less.
        seed = derive(self._seed, job.task, job.seed)
        return Episode(
            name=job.name,
            task=job.task,
            helper=helper or self.deciders.helper(condition, job.dial, seed),
            seed=seed,
            cap=condition.cap,
            task_wise=condition.task_wise if isinstance(condition.task_wise, TaskWise) else None,
        )

    def _play(self, jobs, episode, style=None) -> Iterator[tuple[Job, Played]]:
        waiting: dict[str, Job] = {}  # by the names of the episodes that run

        def begin():
            for job in jobs:
                made = episode(job)
                waiting[made.name] = job
                yield made

        def ahead(asked: Sequence[tuple[Episode, State]]) -> None:
            judged = [  # a task that is played alone, or again with help, asks nobody
                (waiting[episode.name], state)
                for episode, state in asked
                if not isinstance(episode.helper, Always | Never)
            ]
            self.deciders.look_ahead([(job.condition, job.dial, state) for job, state in judged])

        how = dict(style=style, ahead=ahead, **self._how)
        for played in play(self._remembered, self.actor, self._helps, begin(), **how):
            if played.error is not None:
                raise EpisodeFailed(f"{played.episode.name}: {played.error}")
            yield waiting.pop(played.episode.name), played

    def _result(self, job: Job, played: Played) -> Result:
        steps, last = played.steps, played.steps[-1]
        calls = [0] * self.num_helps
        for step in steps:
            if step.decision:
                calls[step.decision - 1] += 1
        by_steps, by_actions = self._spl(job.task, last)
        return Result(
            condition=job.condition.name,
            task=job.task,
            seed=job.seed,
            success=last.outcome == "success",
            spl=by_steps,
            spl_actions=by_actions,
            length=last.measures.get("actions", float(len(steps))),
            usage=tuple(calls),
            invalid=sum(step.invalid for step in steps),
            outcome=last.outcome,
            cause=_cause(last),
        )

    def _spl(self, task: str, last: Any) -> tuple[float | None, float | None]:
        if not isinstance(self._world, SifWorld):
            return None, None
        found = spl(self._remembered.reset(task).task, last.outcome, last.measures)
        return found.low_level_steps, found.actions


def _cause(last: Any) -> str | None:
    """Why the episode failed, by its last step."""
    if last.outcome == "success":
        return None
    if last.invalid:
        return "invalid action"
    if last.outcome == "truncated":
        return "limit"
    return "wrong Done" if last.action == DONE else "other"


def _by_actor(help: Intervention) -> bool:
    return isinstance(help, ByActor)


def _memoised(actor: Actor) -> Actor:
    if actor.temperature == 0 and not isinstance(actor, Memoised):
        return Memoised(actor)
    return actor
