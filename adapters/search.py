"""Depth-1 search around an actor: Appendix A of https://arxiv.org/abs/2502.04576.

The actor proposes five actions at temperature 1, and the one of the highest UCT is played:

  UCT(s, a) = Q(s, a) + c sqrt(ln N(s) / N(s, a)),   c = 0.25

Q comes from a scorer. N(s) counts the visits of s in this episode, the present one included, and
N(s, a) how often a was proposed in s, the present proposals included, each one by itself: an action
proposed three times of five counts three. So N(s, a) >= 1 wherever it is needed, and on a first
visit ln N(s) = 0 and the search plays the best Q.

A turn that somebody else played "updates the chosen N(s) and N(s, a) by multiplying the chosen
count by five times". A new count is 0, which no multiplying changes; it is read as: the one choice
counts for five, as many as a turn of search proposes. N(s) and N(s, a) both grow by 5.

As printed the square root is missing, c ln N(s) / N(s, a): `root=False`.
"""

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from adapters import seeds as seeds_lib
from adapters.memo import free
from adapters.protocols import Actor, Reply, Scorer, State

CANDIDATES, C = 5, 0.25  # of Appendix A


@dataclasses.dataclass(slots=True)
class Visits:
    """The memory of a search: what happened so far in one episode.

    Attributes:
      state: N(s), by the state's key.
      pair: N(s, a), by the state's key and the action.
    """

    state: Counter[str] = dataclasses.field(default_factory=Counter)
    pair: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)


class _Drawn(NamedTuple):
    """What was proposed in a state.

    Attributes:
      replies: of the proposer.
      candidates: how often each action was proposed.
      q: of each of them.
      seconds: that the scorer took.
    """

    replies: Sequence[Reply]
    candidates: Counter[str]
    q: dict[str, float]
    seconds: float

    def free(self) -> "_Drawn":
        """The same, as it costs when it is remembered."""
        return self._replace(replies=[free(one) for one in self.replies], seconds=0.0)


class Search:
    """Several proposals of an actor, of which the highest UCT is played.

    Proposals that were cut off or failed are dropped. Where none is left there is no action: the
    reply carries an error if a proposal failed, and is truncated if all were cut off. Among equal
    UCT the higher Q wins, then what was proposed more often this time, then what came first.

    Attributes:
      name: stands in the rollouts for who acted.
      deterministic: whether a state has the same proposals always (`once`).
      config: of the search, JSON values.
    """

    def __init__(
        self,
        proposer: Actor,
        scorer: Scorer,
        *,
        candidates: int = CANDIDATES,
        c: float = C,
        root: bool = True,
        key: Callable[[State], str] = lambda state: state.key,
        once: bool = False,
        name: str | None = None,
    ):
        """Makes a search.

        Args:
          proposer: the base actor at temperature 1.
          scorer: Q(s, a).
          candidates: how many actions are proposed in a turn; a turn of others counts as many.
          c: weight of the visits.
          root: False for the formula as printed.
          key: what counts as the same state. A world whose keys hold the calls used never meets one
            twice in an episode, and the search then plays the best Q; here one may leave them out.
          once: the proposals of a state are drawn once, by a seed made of its key, and remembered:
            the search then leaves nothing to chance, and costs once what is met often.
          name: "search(<name of the proposer>)" if None.

        Raises:
          ValueError: the proposer's temperature is 0, so that all proposals would be the same;
            `candidates` is below 1; `c` is negative.
        """
        if proposer.temperature <= 0:
            raise ValueError(
                f"proposer {proposer.name!r} has temperature {proposer.temperature}, "
                "expected more than 0 (Appendix A: 1.0), because at 0 all proposals are the same"
            )
        if candidates < 1:
            raise ValueError(f"candidates is {candidates}, expected at least 1")
        if not c >= 0:
            raise ValueError(f"c is {c}, expected at least 0")
        self.name = name or f"search({proposer.name})"
        self.deterministic = once
        self.config = {
            "candidates": candidates,
            "c": c,
            "root": root,
            "once": once,
        }
        self._proposer, self._scorer, self._key = proposer, scorer, key
        self._candidates, self._c, self._root = candidates, c, root
        self._known: dict[str, _Drawn] = {}  # by state key, where all is drawn once

    def start(self) -> Visits:
        """Nothing was visited yet."""
        return Visits()

    def watch(self, memory: Visits, state: State, action: str) -> None:
        """Counts a turn of others as many visits and proposals as a turn of search makes."""
        key = self._key(state)
        memory.state[key] += self._candidates
        memory.pair[key, action] += self._candidates

    def act(
        self, states: Sequence[State], memories: Sequence[Visits], seeds: Sequence[int]
    ) -> list[Reply]:
        """Proposes for all states in one call of the actor, scores in one call of the scorer.

        Raises:
          ValueError: the scorer gave another number of scores, or one outside of [0, 1].
        """
        if not self.deterministic:
            drawn = self._draw(states, seeds)
        else:
            fresh = {one.key: one for one in states if one.key not in self._known}
            own = [seeds_lib.derive("search", key) for key in fresh]
            found = dict(zip(fresh, self._draw(list(fresh.values()), own), strict=True))
            self._known |= {key: one.free() for key, one in found.items()}
            drawn = [found.pop(one.key, None) or self._known[one.key] for one in states]
        return [self._choose(*one) for one in zip(states, memories, drawn, strict=True)]

    def _draw(self, states: Sequence[State], seeds: Sequence[int]) -> list[_Drawn]:
        if not states:
            return []
        n = self._candidates
        replies = self._proposer.act(
            [state for state in states for _ in range(n)],
            [seeds_lib.derive("candidate", seed, i) for seed in seeds for i in range(n)],
        )
        proposed = [replies[i * n : i * n + n] for i in range(len(states))]
        candidates = [_actions(batch) for batch in proposed]
        began = time.perf_counter()
        scores = self._score(states, candidates)
        seconds = time.perf_counter() - began
        return [_Drawn(*one, seconds) for one in zip(proposed, candidates, scores, strict=True)]

    def _score(
        self, states: Sequence[State], candidates: Sequence[Counter[str]]
    ) -> list[dict[str, float]]:
        """Q of each distinct candidate of each state."""
        pairs = [
            (state, action)
            for state, actions in zip(states, candidates, strict=True)
            for action in actions
        ]
        found = self._scorer([s for s, _ in pairs], [a for _, a in pairs]) if pairs else []
        if len(found) != len(pairs):
            raise ValueError(f"the scorer gave {len(found)} scores, expected {len(pairs)}")
        for (state, action), q in zip(pairs, found, strict=True):
            if not 0 <= q <= 1:
                raise ValueError(
                    f"the scorer gave {q} for action {action!r} in state {state.key!r}, "
                    "expected 0 <= Q <= 1"
                )
        scores = iter(found)
        return [{action: float(next(scores)) for action in actions} for actions in candidates]

    def _choose(self, state: State, memory: Visits, drawn: _Drawn) -> Reply:
        """Counts the visit and the proposals, and picks the highest UCT."""
        proposed, candidates, q, seconds = drawn
        key = self._key(state)
        memory.state[key] += 1
        for action, times in candidates.items():
            memory.pair[key, action] += times

        def rank(action: str) -> tuple[float, float, int]:
            exploration = math.log(memory.state[key]) / memory.pair[key, action]
            uct = q[action] + self._c * (math.sqrt(exploration) if self._root else exploration)
            return uct, q[action], candidates[action]

        # `max` keeps the first of equals, and a Counter the order in which actions were proposed.
        action = max(candidates, key=rank, default=None)
        lines = [f"{a} (Q {q[a]:.4f}, UCT {rank(a)[0]:.4f}, x{candidates[a]})" for a in candidates]
        chosen = [
            reply.raw for reply in proposed if action is not None and _action(reply) == action
        ]
        return Reply(
            action=action,
            raw="\n".join(["Proposed: " + "; ".join(lines), *chosen[:1]]),
            truncated=action is None and all(reply.truncated for reply in proposed),
            error=None if action is not None else _first(reply.error for reply in proposed),
            stop=any(reply.stop for reply in proposed),
            input_tokens=sum(reply.input_tokens for reply in proposed),
            output_tokens=sum(reply.output_tokens for reply in proposed),
            seconds=max(reply.seconds for reply in proposed) + seconds,
            retries=sum(reply.retries for reply in proposed),
            cost=sum(reply.cost for reply in proposed),
            cached=all(reply.cached for reply in proposed),
        )


def _action(reply: Reply) -> str | None:
    """The action proposed; None if the reply was cut off or failed."""
    return None if reply.truncated or reply.error is not None else reply.action


def _actions(replies: Sequence[Reply]) -> Counter[str]:
    """How often each action was proposed."""
    return Counter(action for action in map(_action, replies) if action is not None)


def _first(errors: Iterable[str | None]) -> str | None:
    return next((error for error in errors if error is not None), None)
