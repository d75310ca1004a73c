"""Asks a greedy actor only once in every state."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from adapters.protocols import Actor, Reply, State
from adapters.spending import SpendingLimit


class Memoised:
    """An actor at temperature 0 that remembers its reply to every state, by the state's key.

    A reply from memory is marked `cached` and costs nothing. The same state twice among those of
    one call is asked once. A reply with an error is not remembered, nor one that gives up.

    For use by one thread. `name` and `temperature` are the actor's.
    """

    def __init__(self, actor: Actor, max_states: int | None = None):
        """Wraps `actor`.

        Args:
          actor: at temperature 0.
          max_states: how many to remember; beyond it the one not met for longest is forgotten.
            None for no limit.

        Raises:
          ValueError: the actor samples, or `max_states` is below 1.
        """
        if actor.temperature != 0:
            raise ValueError(f"actor has temperature {actor.temperature}, expected 0")
        if max_states is not None and max_states < 1:
            raise ValueError(f"max_states is {max_states}, expected 1 or more, or None")
        self._actor = actor
        self._max_states = max_states
        self._replies: collections.OrderedDict[str, Reply] = collections.OrderedDict()

    @property
    def name(self) -> str:
        return self._actor.name

    @property
    def temperature(self) -> float:
        return self._actor.temperature

    @property
    def known(self) -> Mapping[str, Reply]:
        """What is remembered, by the state's key."""
        return self._replies

    def learn(self, replies: Iterable[tuple[str, Reply]]) -> int:
        """Remembers replies given before, by key; what is known already stays.

        Returns:
          How many were new.
        """
        before = set(self._replies)
        for key, reply in replies:
            if key not in self._replies:
                self._remember(key, reply)
        return len(self._replies.keys() - before)

    def act(self, states: Sequence[State], seeds: Sequence[int]) -> list[Reply]:
        """One reply for each state, as `Actor.act`.

        Raises:
          ValueError: there are more or fewer seeds than states.
          SpendingLimit: from the actor; its `replies` are those to `states`.
        """
        if len(seeds) != len(states):
            raise ValueError(f"seeds has {len(seeds)} entries, expected {len(states)}, as states")
        keys = [state.key for state in states]
        known = {key: self._recall(key) for key in keys if key in self._replies}
        # The place of each unknown state's first appearance.
        first = {key: i for i, key in reversed(list(enumerate(keys))) if key not in known}
        places = sorted(first.values())
        try:
            fresh = self._ask([states[i] for i in places], [seeds[i] for i in places])
        except SpendingLimit as limit:
            if limit.replies is None:
                raise
            fresh = dict(zip(places, limit.replies, strict=True))
            replies = self._spread(keys, known, first, fresh)
            raise SpendingLimit(str(limit), limit.spent, replies) from limit
        return self._spread(keys, known, first, dict(zip(places, fresh, strict=True)))

    def _ask(self, states: Sequence[State], seeds: Sequence[int]) -> list[Reply]:
        return self._actor.act(states, seeds) if states else []

    def _spread(
        self,
        keys: Sequence[str],
        known: dict[str, Reply],
        first: dict[str, int],
        fresh: dict[int, Reply | None],
    ) -> list[Reply | None]:
        """The replies in the order of `keys`; remembers the fresh ones."""
        replies = []
        for i, key in enumerate(keys):
            if key in known:
                replies.append(known[key])
                continue
            reply = fresh[first[key]]
            if reply is not None and i == first[key]:
                self._remember(key, reply)
            elif reply is not None:
                reply = free(reply)
            replies.append(reply)
        return replies

    def _recall(self, key: str) -> Reply:
        self._replies.move_to_end(key)
        return self._replies[key]

    def _remember(self, key: str, reply: Reply) -> None:
        if reply.error is None and not reply.stop:
            self._replies[key] = free(reply)
            if self._max_states is not None and len(self._replies) > self._max_states:
                self._replies.popitem(last=False)


def free(reply: Reply) -> Reply:
    """The same reply, given once more: it costs nothing now."""
    return dataclasses.replace(
        reply, input_tokens=0, output_tokens=0, seconds=0.0, retries=0, cost=0.0,
        cached=reply.error is None,
    )  # fmt: skip
