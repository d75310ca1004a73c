"""Gaps in rollouts, and the episodes that fill them.

A decision that was never tried in a state has no row in the transition table. Two kinds of episodes
go there: each replays the actions that lead to the state, which costs no call, and begins in it.

  close/...   The base actor plays on, alone, from a state in which nohelp was never tried. That
              spends no help, and one round closes the table: every state that it reaches is one in
              which the base actor has played.
  more/...    A decision that was tried rarely is taken, then helps are triggered at random again.

Their first state is no start of a task: whoever estimates how tasks begin must leave them out,
`is_start` tells. What follows a state and a decision is as true in them as anywhere else.

Which episodes there are depends on the episodes of phase 1 alone, for more/, or on these and more/,
for close/, and not on the order of reading; so a run that was broken off goes on as it would have.
"""

import hashlib
import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence

from adapters import seeds as seeds_lib
from adapters.episodes import Episode
from adapters.helpers import Never, Random
from adapters.phase1 import format_setting
from adapters.step import Step

CLOSE, MORE = "close/", "more/"


def is_start(episode: str) -> bool:
    """Whether an episode of this name begins where its task does."""
    return not episode.startswith((CLOSE, MORE))


class Gaps:
    """What was tried in every state, and how to get there."""

    def __init__(self, steps: Iterable[Step], num_helps: int):
        """Reads rollouts; memory grows with the number of distinct transitions.

        Args:
          steps: in any order; steps with an error tell nothing, and are passed over.
          num_helps: K.

        Raises:
          ValueError: a step decides for more helps; one action led from one state to two states, so
            that nothing can be replayed.
        """
        self._num_helps = num_helps
        self._tried: dict[str, Counter[int]] = {}
        self._leads: dict[str, dict[str, str]] = {}
        self._starts: set[tuple[str, str]] = set()
        for step in steps:
            if step.error is None:
                self._add(step)

    def _add(self, step: Step) -> None:
        key = step.state_key
        if step.decision > self._num_helps:
            raise ValueError(
                f"episode {step.episode!r}, turn {step.turn}: decision is {step.decision}, "
                f"expected 0..{self._num_helps}"
            )
        self._tried.setdefault(key, Counter())[step.decision] += 1
        if step.turn == 0 and is_start(step.episode):
            self._starts.add((step.task, key))
        if step.action is not None:
            led = self._leads.setdefault(key, {}).setdefault(step.action, step.next_state_key)
            if led != step.next_state_key:
                raise ValueError(
                    f"episode {step.episode!r}, turn {step.turn}: action {step.action!r} led from "
                    f"{key!r} to {step.next_state_key!r}, elsewhere to {led!r}; expected a "
                    "deterministic world"
                )

    def untried(self, decision: int) -> list[str]:
        """The keys of the states in which a decision was never tried, sorted."""
        return sorted(key for key, tried in self._tried.items() if not tried[decision])

    def close(self, seed: int = 0) -> list[Episode]:
        """From each state in which nohelp was never tried, the base actor alone."""
        helper, zeros = Never(), (0.0,) * self._num_helps
        found = []
        for key, (task, prefix) in self._ways(self.untried(0)):
            name = f"{CLOSE}{task} at={_short(key)}"
            found.append(
                Episode(name, task, helper, zeros, seeds_lib.derive(seed, name), prefix, begins=key)
            )
        return found

    def more(
        self, n: int, settings: Sequence[tuple[float, ...]], *, thin: int = 1, seed: int = 0
    ) -> list[Episode]:
        """Up to n episodes that begin with a decision that was tried fewer than `thin` times.

        Pairs of a state and a decision are drawn without replacement, in proportion to the visits
        of the state. What is drawn for n is among what is drawn for n + 1.

        Args:
          n: how many.
          settings: [K] probabilities each; after its first turn an episode goes on at one of them,
            drawn for it.
          thin: at 1 what was never tried; one try tells all where the actors are deterministic.
          seed: all chance comes from it.

        Raises:
          ValueError: `n` is negative, `thin` is below 1, there are no settings.
        """
        if n < 0:
            raise ValueError(f"n is {n}, expected at least 0")
        if thin < 1:
            raise ValueError(f"thin is {thin}, expected at least 1")
        if not settings:
            raise ValueError("settings is empty, expected one at least")
        # The first n by time of arrival, where pairs arrive at random at a rate of their visits.
        arrivals = []
        for key, tried in self._tried.items():
            for decision in range(self._num_helps + 1):
                if tried[decision] < thin:
                    u = seeds_lib.uniform(seeds_lib.derive(seed, "pair", key, decision))
                    arrivals.append((-math.log1p(-u) / tried.total(), key, decision))
        chosen = sorted(arrivals)[:n]
        ways = dict(self._ways({key for _, key, _ in chosen}))
        helpers = {setting: Random(setting) for setting in settings}
        found = []
        for _, key, decision in chosen:
            task, prefix = ways[key]
            draw = seeds_lib.uniform(seeds_lib.derive(seed, "setting", key, decision))
            setting = settings[int(draw * len(settings))]
            name = f"{MORE}{task} at={_short(key)} help={decision} p={format_setting(setting)}"
            found.append(
                Episode(
                    name,
                    task,
                    helpers[setting],
                    setting,
                    seeds_lib.derive(seed, name),
                    prefix,
                    begins=key,
                    first=decision,
                )
            )
        return found

    def _ways(self, keys: Iterable[str]) -> Iterator[tuple[str, tuple[str, tuple[str, ...]]]]:
        """For each key its task and the shortest actions to it, the first in order of equals."""
        came: dict[str, tuple[str, str] | None] = {}
        task_of: dict[str, str] = {}
        queue: deque[str] = deque()
        for task, key in sorted(self._starts):
            if key not in came:
                came[key], task_of[key] = None, task
                queue.append(key)
        while queue:
            key = queue.popleft()
            for action, following in sorted(self._leads.get(key, {}).items()):
                if following not in came:
                    came[following], task_of[following] = (key, action), task_of[key]
                    queue.append(following)
        for key in keys:
            if key not in came:
                raise ValueError(f"no episode leads from the start of a task to state {key!r}")
            prefix, at = [], key
            while came[at] is not None:
                at, action = came[at]
                prefix.append(action)
            yield key, (task_of[key], tuple(reversed(prefix)))


def _short(key: str) -> str:
    """64 bits of a key for the name of an episode."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]
