"""Text environments with Gymnasium's interface as a world.

An environment is anything with `reset(seed=...) -> (observation, info)`,
`step(action) -> (observation, reward, terminated, truncated, info)` and `close()`. Gymnasium itself
is not imported: whoever has such environments has it.

Every task has one seed, so that the same actions show the same observations whenever they are
played; `adapters.replayed` relies on it, and finds out where it is not so.
"""

import dataclasses
import hashlib
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from adapters.protocols import Outcome
from adapters.replayed import Observation, Replayed

_END = "The action was not admissible: the episode ends."


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """What an environment gave after a reset or an action; what the callables of a world are given.

    Attributes:
      task: its name.
      env: the environment, as `make` gave it; `env.unwrapped` is the one inside the wrappers.
      turn: actions so far.
      observation: as the environment gave it.
      info: likewise.
      reward: of the last action; 0.0 after a reset.
      total_reward: of all actions so far.
      terminated, truncated: as Gymnasium has them; False after a reset.
    """

    task: str
    env: Any
    turn: int
    observation: Any
    info: Mapping[str, Any]
    reward: float = 0.0
    total_reward: float = 0.0
    terminated: bool = False
    truncated: bool = False


def seed_of(task: str) -> int:
    """A seed from the name of a task, the same on every machine: 31 bits of its SHA-256."""
    return int.from_bytes(hashlib.sha256(task.encode()).digest()[:4], "big") >> 1


def text_of(seen: Seen) -> str:
    """The observation if it is a str, else its entry "text".

    Raises:
      TypeError: it is neither a str nor a mapping whose "text" is a str.
    """
    text = seen.observation
    if isinstance(text, Mapping):
        if "text" not in text:
            raise TypeError(f"observation has the entries {list(text)}, expected 'text' among them")
        text = text["text"]
    if not isinstance(text, str):
        raise TypeError(
            f"observation is {type(text).__name__}, expected str or a mapping with 'text'; "
            "give GymnasiumWorld a `text` that renders it"
        )
    return text


def admissible_commands(seen: Seen) -> Sequence[str]:
    """`info["admissible_commands"]`; none, and so any text, where there is no such entry."""
    return seen.info.get("admissible_commands", ())


class GymnasiumWorld(Replayed):
    """The world of tasks that are played in text environments with Gymnasium's interface."""

    def __init__(
        self,
        make: Callable[[str], Any],
        tasks: Mapping[str, Sequence[str]],
        *,
        name: str,
        config: Mapping[str, Any] | None = None,
        text: Callable[[Seen], str] = text_of,
        actions: Callable[[Seen], Sequence[str]] = admissible_commands,
        key: Callable[[Seen], str] | None = None,
        success_reward: float = 1.0,
        success_info: str | None = None,
        outcome: Callable[[Seen], Outcome | None] | None = None,
        encode: Callable[[Seen, str], Any] | None = None,
        inadmissible: Literal["step", "end"] = "step",
        seed: Callable[[str], int] = seed_of,
        live: int = 64,
    ):
        """Makes the world; no environment is made before the first reset.

        Args:
          make: a new environment for a task.
          tasks: the names of the tasks of each split.
          name: of the environment, and its version if it has one; stands in the rollouts.
          config: options that tell this world from others of that name, JSON values; what the
            callables below do belongs here too, for it cannot be seen from outside.
          text: what an actor reads of one observation.
          actions: the admissible actions; empty where any text is one.
          key: canonical within the task: equal keys have equal futures and equal texts.
            None: the whole history, always true, but two ways to one place are then two states.
          success_reward: an episode succeeds if its last reward is at least this.
          success_info: name of the entry of `info` that says, at the end, whether it succeeded; the
            reward then does not matter.
          outcome: decides in place of these two; None while the episode runs.
          encode: from the text of an action to what `env.step` takes; the text itself if None.
          inadmissible: an action that is not among the `actions` offered is given to the
            environment all the same ("step"), or ends the episode as a failure ("end"). It is
            marked invalid either way.
          seed: the seed of a task.
          live: how many environments are kept open.

        Raises:
          TypeError, ValueError: an argument is not what it has to be.
        """
        if inadmissible not in ("step", "end"):
            raise ValueError(f"inadmissible is {inadmissible!r}, expected 'step' or 'end'")
        if not math.isfinite(success_reward):
            raise ValueError(f"success_reward is {success_reward}, expected a finite number")
        rules = _Rules(
            text=text,
            actions=actions,
            key=key,
            outcome=outcome or _outcome_by(success_reward, success_info),
            encode=encode or (lambda seen, action: action),
            ends=inadmissible == "end",
        )
        own = {
            "world": name,
            "key": "history" if key is None else "own",
            "success": "own" if outcome else success_info or success_reward,
            "inadmissible": inadmissible,
            "options": dict(config or {}),
        }
        super().__init__(
            lambda task: _Environment(task, seed(task), make(task), rules),
            tasks,
            config=own,
            live=live,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class _Rules:
    """How what an environment gives becomes an `Observation`; see `GymnasiumWorld`."""

    text: Callable[[Seen], str]
    actions: Callable[[Seen], Sequence[str]]
    key: Callable[[Seen], str] | None
    outcome: Callable[[Seen], Outcome | None]
    encode: Callable[[Seen, str], Any]
    ends: bool


class _Environment:
    """One Gymnasium environment as an `adapters.replayed.Environment`."""

    def __init__(self, task: str, seed: int, env: Any, rules: _Rules):
        self._task, self._seed, self._env, self._rules = task, seed, env, rules

    def reset(self) -> Observation:
        observation, info = self._env.reset(seed=self._seed)
        return self._show(Seen(self._task, self._env, 0, observation, info), invalid=False)

    def step(self, action: str) -> Observation:
        before, shown = self._seen, self._shown
        invalid = bool(shown.actions) and action not in shown.actions
        if invalid and self._rules.ends:
            key = None if shown.key is None else f"inadmissible|{shown.key}"
            return Observation(_END, (), "failure", True, shown.measures, key)
        given = self._rules.encode(before, action)
        observation, reward, terminated, truncated, info = self._env.step(given)
        if not isinstance(reward, numbers.Real) or not math.isfinite(reward):
            raise ValueError(f"reward is {reward!r}, expected a finite number")
        seen = Seen(
            self._task,
            self._env,
            before.turn + 1,
            observation,
            info,
            float(reward),
            before.total_reward + float(reward),
            bool(terminated),
            bool(truncated),
        )
        return self._show(seen, invalid)

    def close(self) -> None:
        self._env.close()

    def _show(self, seen: Seen, invalid: bool) -> Observation:
        rules = self._rules
        outcome = rules.outcome(seen)
        if outcome is None and (seen.terminated or seen.truncated):
            raise ValueError("outcome is None, expected one because the environment has ended")
        actions = () if outcome else rules.actions(seen)
        if isinstance(actions, str):
            raise TypeError(f"actions is {actions!r}, expected a sequence of str")
        self._seen = seen
        self._shown = Observation(
            text=rules.text(seen),
            actions=tuple(actions),
            outcome=outcome,
            invalid=invalid,
            measures={"reward": seen.total_reward},
            key=rules.key and rules.key(seen),
        )
        return self._shown


def _outcome_by(reward: float, flag: str | None) -> Callable[[Seen], Outcome | None]:
    """Success by the last reward, or by an entry of `info`."""

    def outcome(seen: Seen) -> Outcome | None:
        if not (seen.terminated or seen.truncated):
            return None
        if flag is not None and flag not in seen.info:
            raise ValueError(
                f"info has the entries {list(seen.info)}, expected {flag!r} at the end"
            )
        if seen.info[flag] if flag is not None else seen.reward >= reward:
            return "success"
        return "failure" if seen.terminated else "truncated"

    return outcome
