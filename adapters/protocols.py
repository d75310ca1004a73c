"""What a world, an actor, an intervention and a helper are: the plugs of everything in `adapters`.

An episode is one attempt at a task. In every state that has not ended a helper decides whether the
base actor plays on (0, nohelp) or help i is called; whoever plays gives an action, and the world
says which state follows:

  state --decide--> 0: actor, i: intervention i --act--> action --step--> state

All are protocols: a class of anyone's that has these attributes and methods will do. States are
immutable, and a world steps from any state of its own, so that a program may keep a state, try two
actions from it, or play on from it later. `adapters.replayed` makes such a world of an environment
that can only go forward.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

Outcome = Literal["success", "failure", "truncated"]
OUTCOMES: tuple[Outcome, ...] = ("success", "failure", "truncated")
# Passes over texts and remembers what it found, so that texts it has read cost nothing.
TextReader = Callable[[Sequence[str]], Any]


class State(Protocol):
    """One state of one task; immutable.

    Attributes:
      key: canonical; equal keys have equal futures. What it leaves out, no policy can depend on.
      actions: the admissible actions in the order they are offered; empty where any text is one.
      outcome: None while the episode runs; "truncated" is a failure by a limit, counted apart.
      invalid: the action that led here was not admissible.
      measures: figures of the episode so far, by name, for example {"low_level_steps": 161.0}.
    """

    @property
    def key(self) -> str: ...

    @property
    def actions(self) -> Sequence[str]: ...

    @property
    def outcome(self) -> Outcome | None: ...

    @property
    def invalid(self) -> bool: ...

    @property
    def measures(self) -> Mapping[str, float]: ...

    def text(self, style: str = "full") -> str:
        """What an actor reads. A world may offer several styles: "full", "compact"."""
        ...


class World(Protocol):
    """Tasks by name, and what follows from an action.

    Attributes:
      config: what the world was made from, JSON values only; rollouts of different configurations
        are never mixed.
    """

    @property
    def config(self) -> Mapping[str, Any]: ...

    def tasks(self, split: str) -> Sequence[str]:
        """The names of the tasks of a split. Raises ValueError naming the splits there are."""
        ...

    def reset(self, task: str) -> State:
        """The first state of a task. Raises ValueError if there is none of that name."""
        ...

    def step(self, state: State, action: str) -> State:
        """The state that follows. Raises ValueError if `state` has ended."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """What an actor answered in one state.

    Attributes:
      action: for the world. An action that was not understood is passed on as it is, and is then
        the world's to refuse; None where there is none: the reply was truncated, or failed.
      raw: all that was said.
      truncated: the reply was cut off before its action: no wrong action, but none.
      error: why there is no reply at all, after all retries.
      stop: the episode is to be given up at once; a person may say so.
      input_tokens, output_tokens: as billed; 0 where nothing is.
      seconds: wall time of the call, retries included.
      retries: calls beyond the first.
      cost: money, in the unit of the prices configured.
      cached: the answer came from a cache, and costs nothing.
    """

    action: str | None
    raw: str = ""
    truncated: bool = False
    error: str | None = None
    stop: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    retries: int = 0
    cost: float = 0.0
    cached: bool = False


class Actor(Protocol):
    """Answers states with actions.

    Attributes:
      name: stands in the rollouts for who acted.
      temperature: of its sampling; at 0 the same state gets the same action.
    """

    @property
    def name(self) -> str: ...

    @property
    def temperature(self) -> float: ...

    def act(self, states: Sequence[State], seeds: Sequence[int]) -> list[Reply]:
        """One reply for each state, in their order; all states at once, so that calls can be
        batched. An actor that samples draws from the seed given with the state and nothing else."""
        ...


class Intervention(Protocol):
    """Help: acts in place of the base actor for one turn.

    It may remember, within one episode. `start` makes the memory, None if there is none; `act` and
    `watch` change it.

    Attributes:
      name: stands in the rollouts for who acted.
      deterministic: the same states, memories and seeds get the same replies whatever the seeds.
    """

    @property
    def name(self) -> str: ...

    @property
    def deterministic(self) -> bool: ...

    def start(self) -> Any:
        """The memory for a new episode."""
        ...

    def act(
        self, states: Sequence[State], memories: Sequence[Any], seeds: Sequence[int]
    ) -> list[Reply]:
        """One reply for each state, as `Actor.act`, each with the memory of its episode."""
        ...

    def watch(self, memory: Any, state: State, action: str) -> None:
        """Told of each turn of the episode that somebody else played."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """Whether to ask for help, and why.

    Attributes:
      help: 0 for nohelp, i for help i.
      reason: one line for people and logs.
    """

    help: int
    reason: str = ""


class Helper(Protocol):
    """Decides who plays the next turn."""

    def decide(
        self,
        states: Sequence[State],
        calls_left: Sequence[Sequence[int]] | None,
        seeds: Sequence[int],
    ) -> list[Decision]:
        """One decision for each state.

        Args:
          states: none of which has ended.
          calls_left: for each state K numbers, the calls of each help still allowed in its episode;
            None where there is no cap.
          seeds: one for each state; the only source of chance.
        """
        ...


class Scorer(Protocol):
    """Judges actions: Q(s, a), the probability of success after taking a in s."""

    def __call__(self, states: Sequence[State], actions: Sequence[str]) -> Sequence[float]:
        """One score in [0, 1] for each pair of a state and an action."""
        ...
