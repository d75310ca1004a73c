"""An exact table from recorded turns: what if the costly model had played some of the turns?

Two or more models worked on the same tasks, each alone. Where answers do not depend on what was
asked before, as with read-only queries, their recorded turns can be put together in any order:

  state     the task, i turns of the base model, j_k turns of help k
  nohelp    the base model's next recorded turn is played
  help k    help k's next recorded turn is played
  success   after a turn that solved the task, whoever played it
  end       after `max_turns` turns in all ("truncated"), or when no turns are left ("failure")

Where the turns of one are used up, another's next turn is played and counted as what it is: the
base model's if it has any left. So every outcome of every policy is known, if one thing is assumed,
which every report on such a table repeats: `ASSUMPTION`.

Every state that can be reached is enumerated into a folder of rollouts, each decision in it once.
The folder has no distribution of episodes: each model alone is an episode from the start of a task,
all else is filled in by episodes that begin in the middle (`adapters.gaps.MORE`), which say nothing
about how tasks begin. Behind a list that is used up some turns come again; no figure depends on it.
"""

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import structs

from adapters.gaps import MORE
from adapters.logs.log import Log, LoggedTurn, Problem
from adapters.logs.splits import Splits
from adapters.logs.texts import one_line, state_text, turn_text
from adapters.protocols import Outcome
from adapters.rollouts import RolloutWriter
from adapters.step import Step

ASSUMPTION = "Spliced from recorded turns: no model reacts to the turns of another."

Node = tuple[int, ...]  # [1 + K] turns so far of the base model and of each help


@dataclasses.dataclass(frozen=True)
class Spliced:
    """What was imported.

    Attributes:
      tasks, states, steps: their numbers in the folder.
      problems: what was left out, and why.
    """

    tasks: int
    states: int
    steps: int
    problems: tuple[Problem, ...]


def import_spliced(
    logs: Sequence[Iterable[Log | Problem]],
    out: str | os.PathLike,
    *,
    names: Sequence[str],
    max_turns: int = 10,
    splits: Splits | None = None,
    max_chars: int = 200,
    source: Mapping[str, Any] | None = None,
    progress: Callable[[], None] = lambda: None,
) -> Spliced:
    """Enumerates all states of tasks into a folder of rollouts; goes on where it was stopped.

    The tasks are those that all models tried. Memory grows with the logs, whose observations are
    held no longer than `max_chars`.

    Args:
      logs: [1 + K] of the base model and of each help, of the same tasks; one trial of a task.
      out: folder of the rollouts.
      names: [1 + K] of the models.
      max_turns: of an episode.
      splits: of the tasks into train, val and test; None for the defaults.
      max_chars: characters of an action or an observation that a state's text shows.
      source: what the folder is to say about where the logs are from, JSON values.
      progress: is called after each task.

    Raises:
      ValueError: names do not fit the logs, or there is no task that all models tried.
      OSError: the folder cannot be written; or as `adapters.rollouts.RolloutWriter`.
    """
    if len(logs) < 2 or len(names) != len(logs):
        raise ValueError(f"{len(logs)} logs and {len(names)} names, expected two or more of each")
    if len(set(names)) < len(names):
        raise ValueError(f"names are {list(names)}, expected none twice")
    if max_turns < 1 or max_chars < 1:
        raise ValueError(
            f"max_turns is {max_turns} and max_chars {max_chars}, expected at least 1 of each"
        )
    problems: list[Problem] = []
    read = [_by_task(one, name, max_chars, problems) for one, name in zip(logs, names, strict=True)]
    tasks = _shared(read, names, problems)
    if not tasks:
        raise ValueError("there is no task that all models tried, expected logs of the same tasks")
    config = {
        "spliced": True,
        "assumption": ASSUMPTION,
        "actor": {"name": names[0]},
        "interventions": [{"name": name} for name in names[1:]],
        "style": "full",
        "max_turns": max_turns,
        "max_chars": max_chars,
        "splits": (splits or Splits()).as_json(),
        "source": dict(source or {}),
    }
    states = steps = 0
    with RolloutWriter(out, config) as writer:
        for task in tasks:
            graph = Graph(task, [one[task] for one in read], names, max_turns)
            states += len(graph.nodes)
            for episode in graph.episodes():
                steps += len(episode)
                if episode[0].episode not in writer.finished:
                    writer.write(episode)
            progress()
    return Spliced(len(tasks), states, steps, tuple(problems))


class Graph:
    """All that can happen in one task.

    Attributes:
      nodes: those that have not ended, the start first, each behind all that lead to it.
    """

    def __init__(self, task: str, logs: Sequence[Log], names: Sequence[str], max_turns: int):
        """Finds the nodes.

        Args:
          task: its name.
          logs: [1 + K] of the base model and of each help.
          names: [1 + K].
          max_turns: of an episode.
        """
        self._task, self._names, self._max_turns = task, names, max_turns
        self._prompt = logs[0].prompt
        self._turns = [log.turns for log in logs]
        self._solves = [_solving_turn(log) for log in logs]
        self._lines = [
            [turn_text(name, n, one.action, one.observation) for n, one in enumerate(turns, 1)]
            for name, turns in zip(names, self._turns, strict=True)
        ]
        start = (0,) * len(logs)
        found, level = [start], [start]
        while level:  # all nodes of a level have the same number of turns
            after = (
                self.after(node, decision)
                for node in level
                for decision in self.decisions(node)
                if self.outcome(node, decision) is None
            )
            level = list(dict.fromkeys(after))
            found += level
        self.nodes: tuple[Node, ...] = tuple(found)

    def decisions(self, node: Node) -> tuple[int, ...]:
        """Whose turns are not used up."""
        return tuple(k for k, n in enumerate(node) if n < len(self._turns[k]))

    def after(self, node: Node, decision: int) -> Node:
        """Where a turn leads, the end or not."""
        return tuple(n + (k == decision) for k, n in enumerate(node))

    def outcome(self, node: Node, decision: int) -> Outcome | None:
        """How a turn ends the episode; None if it goes on."""
        if node[decision] == self._solves[decision]:
            return "success"
        if sum(node) + 1 == self._max_turns:
            return "truncated"
        return None if self.decisions(self.after(node, decision)) else "failure"

    def key(self, node: Node) -> str:
        return "|".join([self._task, *map(str, node)])

    def text(self, node: Node) -> str:
        """The prompt, then the turns of each model in their order: the order in which the models
        took turns is left out, as nothing depends on it."""
        return state_text(
            self._prompt, (one for k, n in enumerate(node) for one in self._lines[k][:n])
        )

    def episodes(self) -> Iterator[list[Step]]:
        """Each decision of each node once, in episodes up to the end of the task.

        First each model alone, from the start; then, from each node in which something is left,
        the first decision that is, and so on.
        """
        start, helps = self.nodes[0], len(self._names) - 1
        left = {node: list(self.decisions(node)) for node in self.nodes}
        for k, name in enumerate(self._names):
            probabilities = tuple(float(i == k) for i in range(1, helps + 1))
            path = self._path(start, left, lambda _, k=k: k)
            yield self._steps(f"{self._task} {name} alone", probabilities, path)
        for node in self.nodes:
            while left[node]:
                name = f"{MORE}{self.key(node)} {left[node][0]}"
                path = self._path(node, left, lambda at: (left[at] or [0])[0])
                yield self._steps(name, (1 / (helps + 1),) * helps, path)

    def _path(
        self, node: Node, left: dict[Node, list[int]], wanted: Callable[[Node], int]
    ) -> list[tuple[Node, int]]:
        """Nodes and decisions up to the end; takes them from what is left."""
        path: list[tuple[Node, int]] = []
        while not path or self.outcome(*path[-1]) is None:
            node = self.after(*path[-1]) if path else node
            possible, decision = self.decisions(node), wanted(node)
            decision = decision if decision in possible else possible[0]
            if decision in left[node]:
                left[node].remove(decision)
            path.append((node, decision))
        return path

    def _steps(
        self, name: str, probabilities: tuple[float, ...], path: Sequence[tuple[Node, int]]
    ) -> list[Step]:
        found = []
        for turn, (node, decision) in enumerate(path):
            logged = self._turns[decision][node[decision]]
            found.append(
                Step(
                    task=self._task,
                    episode=name,
                    probabilities=probabilities,
                    seed=0,
                    turn=turn,
                    state_key=self.key(node),
                    state_text=self.text(node),
                    decision=decision,
                    actor=self._names[decision],
                    raw=logged.action,
                    # With the name: two models may say the same, and it leads to two states.
                    action=f"{self._names[decision]}: {logged.action}",
                    next_state_key=self.key(self.after(node, decision)),
                    outcome=self.outcome(node, decision),
                    invalid=logged.invalid,
                    seconds=logged.seconds,
                    input_tokens=logged.input_tokens,
                    output_tokens=logged.output_tokens,
                    cost=logged.cost,
                )
            )
        return found


def turns_so_far(key: str, num_helps: int) -> Node:
    """The node of a state's key."""
    return tuple(map(int, key.split("|")[-1 - num_helps :]))


def _by_task(
    logs: Iterable[Log | Problem], name: str, max_chars: int, problems: list[Problem]
) -> dict[str, Log]:
    """The first trial of each task, its turns as long as texts show them."""
    found: dict[str, Log] = {}
    for log in logs:
        if isinstance(log, Problem):
            problems.append(log)
        elif log.task in found:
            text = f"task {log.task!r} of {name} once more, trial {log.trial!r}; the first counts"
            problems.append(Problem(log.where, "another trial", text))
        elif log.success and _solving_turn(log) is None:
            text = (
                f"task {log.task!r} of {name} is solved and has rewards of turns, none of them "
                "1 or more; expected the turn that solved it"
            )
            problems.append(Problem(log.where, "no solving turn", text))
        else:
            turns = tuple(_clipped(turn, max_chars) for turn in log.turns)
            found[log.task] = structs.replace(log, turns=turns)
    return found


def _shared(
    logs: Sequence[Mapping[str, Log]], names: Sequence[str], problems: list[Problem]
) -> list[str]:
    """The tasks that all models tried, with the same prompt."""
    shared = []
    for task in dict.fromkeys(task for one in logs for task in one):
        there = [one[task] for one in logs if task in one]
        if len(there) < len(logs):
            absent = next(n for n, one in zip(names, logs, strict=True) if task not in one)
            text = f"task {task!r} was not tried by {absent}, so it is left out"
            problems.append(Problem(there[0].where, "not tried by all", text))
        elif len({log.prompt for log in there}) > 1:
            text = f"task {task!r} has another prompt than in {there[0].where}, so it is left out"
            problems.append(Problem(there[-1].where, "other prompt", text))
        else:
            shared.append(task)
    return shared


def _solving_turn(log: Log) -> int | None:
    """The first turn with a reward of 1; where turns have no rewards, the last of a success."""
    rewards = [turn.reward for turn in log.turns]
    if all(reward is None for reward in rewards):
        return len(rewards) - 1 if log.success else None
    return next((n for n, x in enumerate(rewards) if x is not None and x >= 1), None)


def _clipped(turn: LoggedTurn, max_chars: int) -> LoggedTurn:
    return structs.replace(
        turn,
        action=one_line(turn.action, max_chars),
        observation=one_line(turn.observation, max_chars),
    )
