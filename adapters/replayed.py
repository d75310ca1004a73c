"""A world made of an environment that only goes forward.

A `World` steps from any state; most environments know one state only, the one they are in. Here a
state keeps its task, the actions so far and what was seen after each. A step from a state that an
open environment is in moves that environment on. For any other state a new environment is made and
the actions are played again from the start; what it shows must be what was seen the first time, at
every turn, or the environment is not deterministic and no table of its states would be true.

At most `live` environments are open; the one longest unused is closed first. A program that plays
n episodes at once wants live >= n, or every turn plays its whole episode again.
"""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, Self

from adapters.protocols import OUTCOMES, Outcome

STYLES = ("full", "compact")


@dataclasses.dataclass(frozen=True, slots=True)
class Observation:
    """What an environment shows after a reset or an action.

    Attributes:
      text: what there is to read now.
      actions: the admissible actions; empty where any text is one, or the episode has ended.
      outcome: None while the episode runs.
      invalid: the action that led here was not admissible.
      measures: figures of the episode so far.
      key: canonical within the task: where it is equal, all that follows is equal and the text is
        equal. None: the whole history is the key, which is true of every deterministic environment.
    """

    text: str
    actions: tuple[str, ...] = ()
    outcome: Outcome | None = None
    invalid: bool = False
    measures: Mapping[str, float] = dataclasses.field(default_factory=dict)
    key: str | None = None

    def __post_init__(self):
        if not isinstance(self.text, str):
            raise TypeError(f"text is {type(self.text).__name__}, expected str")
        if not (self.key is None or isinstance(self.key, str)):
            raise TypeError(f"key is {type(self.key).__name__}, expected str or None")
        if not isinstance(self.actions, tuple) or not all(isinstance(a, str) for a in self.actions):
            raise TypeError(f"actions is {self.actions!r}, expected a tuple of str")
        if self.outcome not in (None, *OUTCOMES):
            raise ValueError(f"outcome is {self.outcome!r}, expected None or one of {OUTCOMES}")


class Environment(Protocol):
    """One episode of one task, forward only. `reset` is called once, before any step."""

    def reset(self) -> Observation: ...

    def step(self, action: str) -> Observation: ...

    def close(self) -> None: ...


@dataclasses.dataclass(frozen=True, slots=True)
class ReplayedState:
    """A state of a task: how it was reached, and what was seen on the way.

    Attributes:
      task: its name.
      taken: [T] actions so far.
      seen: [T + 1] what was shown at the start and after each of them.
      history: a hash of task, taken and seen.
    """

    task: str
    taken: tuple[str, ...]
    seen: tuple[Observation, ...]
    history: str

    @classmethod
    def first(cls, task: str, observation: Observation) -> Self:
        return cls(task, (), (observation,), _hash(task, observation))

    def after(self, action: str, observation: Observation) -> Self:
        """The state that follows if `action` shows `observation`."""
        history = _hash(self.history, action, observation)
        return type(self)(self.task, (*self.taken, action), (*self.seen, observation), history)

    @property
    def key(self) -> str:
        """The task and the environment's own key, or the hash of the history."""
        own = self.seen[-1].key
        return f"{self.task}|{self.history if own is None else own}"

    @property
    def actions(self) -> tuple[str, ...]:
        return self.seen[-1].actions

    @property
    def outcome(self) -> Outcome | None:
        return self.seen[-1].outcome

    @property
    def invalid(self) -> bool:
        return self.seen[-1].invalid

    @property
    def measures(self) -> Mapping[str, float]:
        return self.seen[-1].measures

    def text(self, style: str = "full") -> str:
        """What an actor reads.

        "compact" is the last observation. "full" is the whole episode, observations and "> action"
        in their order; where the environment has a key of its own it is the last observation too,
        for what a key leaves out no policy may depend on.

        Raises:
          ValueError: there is no such style.
        """
        if style not in STYLES:
            raise ValueError(f"style is {style!r}, expected one of {STYLES}")
        now = self.seen[-1]
        if style == "compact" or now.key is not None:
            return now.text
        parts = [self.seen[0].text]
        for action, observation in zip(self.taken, self.seen[1:], strict=True):
            parts += [f"> {action}", observation.text]
        return "\n".join(parts)


class Replayed:
    """The world whose tasks are played in environments that only go forward.

    For one thread. `close`, or leaving a `with`, closes the environments still open.
    """

    def __init__(
        self,
        make: Callable[[str], Environment],
        tasks: Mapping[str, Sequence[str]],
        *,
        config: Mapping[str, Any],
        live: int = 64,
    ):
        """Makes the world; no environment is made before the first reset.

        Args:
          make: a new environment for a task, ready for `reset`. Two of one task must behave alike.
          tasks: the names of the tasks of each split.
          config: what tells this world from others, JSON values: name, version, options.
          live: how many environments are kept open, at least one.

        Raises:
          TypeError: `config` or a name of a task is not what it has to be.
          ValueError: `live` is below one.
        """
        if live < 1:
            raise ValueError(f"live is {live}, expected at least 1")
        try:
            self._config = json.loads(json.dumps(dict(config), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise TypeError(f"config is {config!r}, expected JSON values: {error}") from error
        self._tasks = {split: tuple(names) for split, names in tasks.items()}
        for split, names in self._tasks.items():
            if isinstance(tasks[split], str) or not all(isinstance(name, str) for name in names):
                raise TypeError(f"tasks[{split!r}] is {tasks[split]!r}, expected names, each a str")
        self._known = {name for names in self._tasks.values() for name in names}
        self._make, self._limit = make, live
        # Each with the task and the actions that brought it where it is; the last used come last.
        self._live: list[tuple[str, tuple[str, ...], Environment]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @property
    def config(self) -> Mapping[str, Any]:
        return self._config

    def tasks(self, split: str) -> Sequence[str]:
        """The names of the tasks of a split. Raises ValueError naming the splits there are."""
        if split not in self._tasks:
            raise ValueError(f"split is {split!r}, expected one of {sorted(self._tasks)}")
        return self._tasks[split]

    def reset(self, task: str) -> ReplayedState:
        """The first state of a task.

        Raises:
          ValueError: there is no task of that name, or it has ended before its first action.
        """
        if task not in self._known:
            raise ValueError(f"task is {task!r}, expected one of the {len(self._known)} task names")
        environment, state = self._start(task)
        self._keep(state, environment)
        return state

    def step(self, state: ReplayedState, action: str) -> ReplayedState:
        """The state that follows.

        Raises:
          TypeError: `state` is of another world, or `action` is no str.
          ValueError: `state` has ended.
          RuntimeError: the actions so far, played again, showed something else. What an environment
            raises itself comes through, with the task and the turn in a note; it is then closed.
        """
        if not isinstance(state, ReplayedState):
            raise TypeError(f"state is {type(state).__name__}, expected a state of this world")
        if not isinstance(action, str):
            raise TypeError(f"action is {action!r}, expected str")
        if state.outcome is not None:
            raise ValueError(
                f"state of task {state.task!r} has ended in {state.outcome}, "
                "expected one that has not"
            )
        environment = self._take(state) or self._replay(state)
        state = _advance(environment, state, action)
        self._keep(state, environment)
        return state

    def close(self) -> None:
        """Closes the open environments. The world can still be used; it opens new ones."""
        while self._live:
            self._live.pop()[-1].close()

    def _start(self, task: str) -> tuple[Environment, ReplayedState]:
        environment = self._make(task)
        with _closed_on_error(environment, f"task {task!r}, reset"):
            observation = _checked(environment.reset())
            if observation.outcome is not None:
                raise ValueError(
                    f"the episode has ended in {observation.outcome}, expected it to begin"
                )
        return environment, ReplayedState.first(task, observation)

    def _take(self, state: ReplayedState) -> Environment | None:
        """An open environment that is in `state`, no longer among those kept; None if none is."""
        for i in range(len(self._live) - 1, -1, -1):
            if self._live[i][:2] == (state.task, state.taken):
                return self._live.pop(i)[-1]
        return None

    def _replay(self, state: ReplayedState) -> Environment:
        """A new environment, brought to `state`."""
        environment, again = self._start(state.task)
        _check_same(environment, again, state)
        for action in state.taken:
            again = _advance(environment, again, action)
            _check_same(environment, again, state)
        return environment

    def _keep(self, state: ReplayedState, environment: Environment) -> None:
        if state.outcome is not None:
            environment.close()
            return
        self._live.append((state.task, state.taken, environment))
        while len(self._live) > self._limit:
            self._live.pop(0)[-1].close()


@contextlib.contextmanager
def _closed_on_error(environment: Environment, where: str) -> Iterator[None]:
    """An error leaves an environment in nobody knows which state; says where that was."""
    try:
        yield
    except BaseException as error:
        error.add_note(where)
        environment.close()
        raise


def _advance(environment: Environment, state: ReplayedState, action: str) -> ReplayedState:
    with _closed_on_error(environment, f"task {state.task!r}, turn {len(state.taken)}, {action!r}"):
        return state.after(action, _checked(environment.step(action)))


def _checked(observation: Observation) -> Observation:
    if not isinstance(observation, Observation):
        raise TypeError(f"the environment gave {observation!r}, expected an Observation")
    return observation


def _check_same(environment: Environment, again: ReplayedState, state: ReplayedState) -> None:
    turn = len(again.taken)
    found, expected = again.seen[turn], state.seen[turn]
    if found == expected:
        return
    environment.close()
    fields = [field.name for field in dataclasses.fields(Observation)]
    name = next(name for name in fields if getattr(found, name) != getattr(expected, name))
    after = f"after {again.taken[-1]!r}" if again.taken else "at the start"
    raise RuntimeError(
        f"task {state.task!r}, turn {turn}, {after}: played again, {name} is "
        f"{getattr(found, name)!r}, expected {getattr(expected, name)!r} as the first time. "
        "The environment is not deterministic: fix its seed, or put what it drew into the task."
    )


def _hash(*parts: str | Observation) -> str:
    """A hash of texts and of all that observations show."""
    plain = [
        part
        if isinstance(part, str)
        else [part.text, part.actions, part.outcome, part.invalid, part.key]
        for part in parts
    ]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:32]
