"""Plays many episodes at once: decide, act, step, and one `Step` a turn.

All running episodes take a turn together, in waves: the helpers decide for all, then each actor and
intervention answers, in one call, all the states that are its. A wave lasts as long as its slowest
reply. An episode that ends is handed out and the next one takes its place.

Whoever decides or acts draws from a seed made of the episode's seed and the turn
(`adapters.seeds`). So an episode does not depend on what is played beside it.

What is no action:

  truncated reply   not a wrong action, but none. The episode ends in "truncated" where it is:
                    next_state_key is state_key, action is None.
  failed reply      the episode is given up and is no data; its last step has the error.
  stop              likewise, and `Played.stopped` is set: somebody wants no more of this.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from adapters import seeds as seeds_lib
from adapters.protocols import Actor, Decision, Helper, Intervention, Reply, State, World
from adapters.step import Step


@dataclasses.dataclass(frozen=True, slots=True)
class TaskWise:
    """A help once asked for plays every later turn (Section 4.3, I(s_t -> T)).

    Attributes:
      ask_turns: None: the helper is asked in every turn until it asks for help, which begins at
        once. n: it is asked in turns 0..n-1, which the base actor plays all the same; what it first
        asked for plays from turn n on (Appendix B, "first five steps": n = 5).
    """

    ask_turns: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Episode:
    """One episode to be played.

    Attributes:
      name: unique among all that are stored together.
      task: its name.
      helper: decides who plays.
      probabilities: [K] with which it asks for each help; written into the steps, no more.
      seed: all chance comes from it.
      prefix: actions replayed from the start of the task before the episode begins; they are no
        turns of it, and the interventions are told of them as of turns that others played.
      begins: the key that the prefix must lead to; None for no check.
      first: the decision of the first turn; None to ask the helper.
      cap: [K] calls of each help at most. Help that has none left is not called: the base actor
        plays, and the decision is 0. None for no cap.
      task_wise: None to ask the helper in every turn.
    """

    name: str
    task: str
    helper: Helper
    probabilities: tuple[float, ...] = ()
    seed: int = 0
    prefix: tuple[str, ...] = ()
    begins: str | None = None
    first: int | None = None
    cap: tuple[int, ...] | None = None
    task_wise: TaskWise | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Played:
    """An episode that is over.

    Attributes:
      episode: what was to be played.
      steps: its turns, at least one. The last one has an outcome, or an error.
      error: why it was given up; None if it is complete.
      stopped: somebody answered with stop.
    """

    episode: Episode
    steps: list[Step]
    error: str | None = None
    stopped: bool = False


def play(
    world: World,
    actor: Actor,
    interventions: Sequence[Intervention],
    episodes: Iterable[Episode],
    *,
    batch: int = 64,
    style: str | None = "full",
    max_turns: int | None = None,
    ahead: Callable[[Sequence[tuple[Episode, State]]], None] | None = None,
) -> Iterator[Played]:
    """Plays the episodes, and yields each as it ends.

    Args:
      world: where they play.
      actor: the base actor, decision 0.
      interventions: [K], decision i is interventions[i - 1].
      episodes: taken one by one, when there is room for them.
      batch: how many run at once.
      style: of the text that is written into the steps; None to write none.
      max_turns: an episode that has not ended after so many is "truncated"; None leaves it to the
        world. Where keys do not hold the turn, a table of such episodes is an approximation.
      ahead: told in every turn of the states that helpers are about to be asked in, so that what
        several of them read can be found at one time.

    Raises:
      ValueError: an argument is out of range; a task has ended before its first turn; a prefix does
        not lead where it must; an actor or a helper breaks its contract.
    """
    if batch < 1:
        raise ValueError(f"batch is {batch}, expected at least 1")
    if max_turns is not None and max_turns < 1:
        raise ValueError(f"max_turns is {max_turns}, expected at least 1")
    game = _Game(world, (actor, *interventions), style, max_turns, ahead)
    waiting, running = iter(episodes), []
    while True:
        running += map(game.begin, itertools.islice(waiting, batch - len(running)))
        if not running:
            return
        game.decide(running)
        game.act(running)
        over = [one.played for one in running if one.played is not None]
        running = [one for one in running if one.played is None]
        yield from over


@dataclasses.dataclass(slots=True)
class _Running:
    """An episode that is being played."""

    episode: Episode
    state: State
    memories: list[Any]  # [K], one of each intervention
    calls_left: list[int] | None
    steps: list[Step] = dataclasses.field(default_factory=list)
    decision: int = 0  # of the present turn
    latched: int = 0  # task-wise: the help that was asked for
    played: Played | None = None

    def seed(self, use: str) -> int:
        """The seed of the present turn, for one use."""
        return seeds_lib.derive(self.episode.seed, len(self.steps), use)

    def foregone(self) -> int | None:
        """What the present turn wants if the helper need not be asked, else None."""
        turn, rule = len(self.steps), self.episode.task_wise
        if turn == 0 and self.episode.first is not None:
            return self.episode.first
        if rule is None:
            return None
        if self.latched or (rule.ask_turns is not None and turn >= rule.ask_turns):
            return self.latched
        return None

    def settle(self, wanted: int) -> None:
        """Decides for what is wanted, as far as task-wise use and the cap let it."""
        if self.episode.task_wise is not None:
            self.latched = wanted
            if len(self.steps) < (self.episode.task_wise.ask_turns or 0):
                wanted = 0
        if wanted and not self._allowed(wanted):
            wanted = 0
        wanted = self._possible(wanted)
        if wanted and self.calls_left is not None:
            self.calls_left[wanted - 1] -= 1
        self.decision = wanted

    def _possible(self, wanted: int) -> int:
        """What is wanted, or the first decision that a recorded state has in its place."""
        possible = getattr(self.state, "decisions", None)  # most worlds let all of them be made
        if possible is None or wanted in possible:
            return wanted
        return next((one for one in possible if self._allowed(one)), 0)

    def _allowed(self, decision: int) -> bool:
        return decision == 0 or self.calls_left is None or self.calls_left[decision - 1] > 0


@dataclasses.dataclass(frozen=True, slots=True)
class _Game:
    """What all episodes of one `play` share."""

    world: World
    players: tuple[Actor | Intervention, ...]  # [K + 1], by decision
    style: str | None
    max_turns: int | None
    ahead: Callable[[Sequence[tuple[Episode, State]]], None] | None

    def begin(self, episode: Episode) -> _Running:
        """The episode in its first state."""
        where, num_helps = f"episode {episode.name!r}", len(self.players) - 1
        if episode.cap is not None and len(episode.cap) != num_helps:
            raise ValueError(f"{where}: cap is {episode.cap}, expected {num_helps} numbers")
        if episode.cap is not None and min(episode.cap, default=0) < 0:
            raise ValueError(f"{where}: cap is {episode.cap}, expected none below 0")
        if episode.first is not None and not 0 <= episode.first <= num_helps:
            raise ValueError(f"{where}: first is {episode.first}, expected 0..{num_helps}")
        memories = [intervention.start() for intervention in self.players[1:]]
        state = self.world.reset(episode.task)
        for turn, action in enumerate(episode.prefix):
            if state.outcome is not None:
                raise ValueError(f"{where}: the task has ended before prefix[{turn}]")
            self._tell(memories, state, action)
            state = self.world.step(state, action)
        if episode.begins is not None and state.key != episode.begins:
            raise ValueError(
                f"{where}: the prefix leads to state {state.key!r}, expected {episode.begins!r}; "
                "is this the world that the rollouts are from?"
            )
        if state.outcome is not None:
            raise ValueError(
                f"{where}: the task has ended in {state.outcome!r} before the first turn"
            )
        return _Running(episode, state, memories, None if episode.cap is None else [*episode.cap])

    def decide(self, running: Sequence[_Running]) -> None:
        """Sets the decision of each; a helper is asked once, for all states that are its."""
        asked: dict[tuple[int, bool], list[_Running]] = {}
        for one in running:
            wanted = one.foregone()
            if wanted is None:
                group = id(one.episode.helper), one.calls_left is None
                asked.setdefault(group, []).append(one)
            else:
                one.settle(wanted)
        if self.ahead is not None:
            self.ahead([(one.episode, one.state) for some in asked.values() for one in some])
        for (_, uncapped), theirs in asked.items():
            helper = theirs[0].episode.helper
            decisions = helper.decide(
                [one.state for one in theirs],
                None if uncapped else [tuple(one.calls_left or ()) for one in theirs],
                [one.seed("decide") for one in theirs],
            )
            self._check(type(helper).__name__, decisions, theirs)
            for one, decision in zip(theirs, decisions, strict=True):
                one.settle(decision.help)

    def act(self, running: Sequence[_Running]) -> None:
        """Lets each actor and intervention play the turns that are its."""
        for decision, who in enumerate(self.players):
            theirs = [one for one in running if one.decision == decision]
            if not theirs:
                continue
            states, seeds = [one.state for one in theirs], [one.seed("act") for one in theirs]
            if decision == 0:
                replies = who.act(states, seeds)
            else:
                replies = who.act(states, [one.memories[decision - 1] for one in theirs], seeds)
            if len(replies) != len(theirs):
                raise ValueError(f"{who.name} gave {len(replies)} replies, expected {len(theirs)}")
            for one, reply in zip(theirs, replies, strict=True):
                self._advance(one, who.name, reply)

    def _advance(self, one: _Running, who: str, reply: Reply) -> None:
        """Gives the action to the world, tells the interventions, writes the step."""
        before, error, action = one.state, reply.error, None
        if reply.stop:
            error = error or f"{who} stopped the episode"
        if error is None and not reply.truncated:
            action = reply.action
            if action is None:
                raise ValueError(f"{who} gave neither action nor error in state {before.key!r}")
            self._tell(one.memories, before, action, but=one.decision)
            one.state = self.world.step(before, action)
        outcome = one.state.outcome
        cut_off = reply.truncated or len(one.steps) + 1 == self.max_turns
        if error is None and outcome is None and cut_off:
            outcome = "truncated"
        one.steps.append(
            Step(
                task=one.episode.task,
                episode=one.episode.name,
                probabilities=one.episode.probabilities,
                seed=one.episode.seed,
                turn=len(one.steps),
                state_key=before.key,
                state_text="" if self.style is None else before.text(self.style),
                decision=one.decision,
                actor=who,
                raw=reply.raw,
                action=action,
                next_state_key=one.state.key,
                outcome=outcome,
                invalid=action is not None and one.state.invalid,
                truncated=reply.truncated,
                error=error,
                measures=dict(one.state.measures),
                seconds=reply.seconds,
                input_tokens=reply.input_tokens,
                output_tokens=reply.output_tokens,
                retries=reply.retries,
                cost=reply.cost,
                cached=reply.cached,
            )
        )
        if error is not None or outcome is not None:
            one.played = Played(one.episode, one.steps, error, reply.stop)

    def _tell(self, memories: Sequence[Any], state: State, action: str, but: int = 0) -> None:
        """Tells the interventions of a turn, all but the one that played it."""
        for i, memory in enumerate(memories, 1):
            if i != but:
                self.players[i].watch(memory, state, action)

    def _check(
        self, helper: str, decisions: Sequence[Decision], theirs: Sequence[_Running]
    ) -> None:
        """Raises unless there is a possible decision for each."""
        if len(decisions) != len(theirs):
            raise ValueError(f"{helper} gave {len(decisions)} decisions, expected {len(theirs)}")
        for one, decision in zip(theirs, decisions, strict=True):
            if not 0 <= decision.help < len(self.players):
                raise ValueError(
                    f"{helper} decided for help {decision.help} in state {one.state.key!r}, "
                    f"expected 0..{len(self.players) - 1}"
                )
