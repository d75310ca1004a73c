"""The helpers that conditions speak of, loaded once and shared by all that use them.

Where a condition names MODULE:FUNCTION in place of a folder,

  FUNCTION(num_helps, cost)   gives a helper with `style`, `threshold`, `margins(states)` [N, K] and
                              `at(threshold)`, as `adapters.model_helper.ModelHelper` has them;
                              an `adapters.threshold_helper.ThresholdHelper` for "either"
  FUNCTION(num_helps)         gives a process reward model, as `adapters.prm_helper.SuccessModel`
"""

import collections
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from adapters import seeds as seeds_lib
from adapters import tree_helper
from adapters.either import Either
from adapters.helpers import Always, Never, Random
from adapters.prm_helper import PRMHelper
from adapters.proposals import REPLY, Proposals, WithReplies
from adapters.protocols import Actor, Helper, State, TextReader
from adapters.rising import Rising
from experiments.conditions import Condition, Dial
from experiments.players import make

if TYPE_CHECKING:
    from adapters.encoder import Encoder


class _Reader(NamedTuple):
    """Reads states' texts in a style."""

    model: TextReader
    style: str


class Deciders:
    """The helpers of conditions; what is loaded is loaded once."""

    def __init__(self, num_helps: int, actor: Actor):
        """Loads nothing yet.

        Args:
          num_helps: K.
          actor: the base actor, for helpers that read its replies.
        """
        self._num_helps, self._actor = num_helps, actor
        self._proposals: Proposals | None = None
        self._loaded: dict[str, Any] = {}
        self._made: dict[tuple[str, Dial | int | None], Helper] = {}
        self._readers: dict[tuple[str, bool], list[_Reader]] = {}
        self._met: dict[_Reader, set[str]] = collections.defaultdict(set)  # keys of states

    @property
    def config(self) -> dict[str, Any]:
        """What is known of all that was loaded, JSON values."""
        return {key: dict(getattr(one, "config", {})) for key, one in sorted(self._loaded.items())}

    @property
    def encoders(self) -> "list[Encoder]":
        """The language models from folders that those who are loaded read texts with."""
        found = (one for helper in self._loaded.values() for one in getattr(helper, "readers", ()))
        return [one for one in dict.fromkeys(found) if getattr(one, "sha256", None) is not None]

    def judge(self, condition: Condition, either: bool = False) -> Any:
        """The helper behind a threshold, with `style`, `margins`, `threshold` and `at`.

        Args:
          condition: of a helper or a process reward model.
          either: the helper and the condition's process reward model together.

        Raises:
          OSError, ValueError: it cannot be loaded, or is for other helps.
        """
        parts = condition.method, condition.source, condition.cost, condition.help
        key = repr((*parts, condition.either) if either else parts)
        if key not in self._loaded:
            try:
                found = self._load(condition)
                found = Either(found, self._prm(condition.either)) if either else found
                self._loaded[key] = self._with_replies(found)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{condition.name!r}: {error}") from error
        return self._loaded[key]

    def helper(self, condition: Condition, dial: Dial | None, seed: int) -> Helper:
        """Who decides in an episode of this seed; the same object for the same value."""
        if condition.method == "random" and condition.task_wise is not None:
            return self.whole_task(condition, dial, seed)
        if dial is not None:
            dial = dial.at(dial.of_episode(seed))
        key = condition.name, dial
        if key not in self._made:
            self._made[key] = self._make(condition, dial)
        return self._made[key]

    def look_ahead(self, asked: Sequence[tuple[Condition, Dial | None, State]]) -> None:
        """Has language models read at one time what several helpers are about to ask them.

        Helpers are right without it, too, but ask one after the other, about a few states each.

        Args:
          asked: conditions whose helper is to decide, at a dial in a state.
        """
        fresh: dict[_Reader, dict[str, State]] = {}
        for condition, dial, state in asked:
            for reader in self._readers_of(condition, dial is not None and dial.either):
                if state.key not in self._met[reader]:
                    fresh.setdefault(reader, {})[state.key] = state
        for reader, by_key in fresh.items():
            states = list(by_key.values())
            if reader.style.endswith(REPLY):
                states = self._proposals.read(states)
            reader.model([one.text(reader.style) for one in states])
            self._met[reader] |= by_key.keys()

    def whole_task(self, condition: Condition, dial: Dial, seed: int) -> Helper:
        """The help for a whole task, drawn for it."""
        (decision,) = Random(condition.shares(dial.of_episode(seed))).decide(
            [None], None, [seeds_lib.derive("task", seed)]
        )
        key = "whole task", decision.help
        return self._made.setdefault(key, Always(decision.help))

    def _readers_of(self, condition: Condition, either: bool) -> list[_Reader]:
        key = condition.name, either
        if key not in self._readers:
            found = []
            if condition.method in ("prm", "helper"):
                helper = self.judge(condition, either)
                models = dict.fromkeys(getattr(helper, "readers", ()))
                found = [_Reader(model, helper.style) for model in models]
            self._readers[key] = found
        return self._readers[key]

    def _make(self, condition: Condition, dial: Dial | None) -> Helper:
        if condition.method == "never":
            return Never()
        if condition.method == "always":
            return Always(condition.help)
        if condition.method == "random":
            return Random(condition.shares(dial.values[0]))
        found = self.judge(condition, dial is not None and dial.either)
        rise = condition.rises[0]
        if dial is not None:
            found, rise = found.at(dial.values[0]), dial.rise
        return Rising(found, rise, condition.cap) if rise else found

    def _with_replies(self, helper: Any) -> Any:
        if not helper.style.endswith(REPLY):
            return helper
        if self._proposals is None:
            self._proposals = Proposals(self._actor)
        return WithReplies(helper, self._proposals)

    def _prm(self, source: str) -> Any:
        if ":" in source and not os.path.exists(source):
            return make(source, self._num_helps)
        from adapters.prm import PRM  # takes flax

        return PRM.load(source)

    def _load(self, condition: Condition) -> Any:
        source = condition.source
        if condition.method == "prm":
            model = self._prm(source)
            return PRMHelper(model, 0.5, help=condition.help, num_helps=self._num_helps)
        if ":" in source and not os.path.exists(source):
            found = make(source, self._num_helps, condition.cost)
        elif os.path.exists(os.path.join(source, tree_helper.NAME)):
            found = tree_helper.TreeHelper.load(source, cost=condition.cost)
        else:
            from adapters.model_helper import ModelHelper  # takes flax

            found = ModelHelper.load(source, cost=condition.cost)
        if len(getattr(found, "helps", [None] * self._num_helps)) != self._num_helps:
            raise ValueError(
                f"{source} is for the helps {list(found.helps)}, expected {self._num_helps}"
            )
        return found
