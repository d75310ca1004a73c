"""The trained helper: asks for help where its margin over nohelp is above a threshold.

    helper = ModelHelper.load("helper", cost=0.05)
    play(world, actor, interventions, [Episode(..., helper=helper)])

`experiments.train_helper` makes the folder. A margin is what `models.heads.margins` says: a gain in
success less the cost of the calls, or a difference of logits where labels were copied.

A plan in between two thresholds is met by a mixture: a share of the episodes takes the second one,
each for all of its turns. `load` takes the thresholds and the share that `models.thresholds.
usage_threshold` found, and `for_episode` draws for one episode.
"""

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from adapters import head_folder
from adapters import seeds as seeds_lib
from adapters.head_folder import HeadFolder
from adapters.protocols import Decision, State
from models import heads

NAME = "helper.json"
_FIELDS = {"helps": list, "kind": str, "target": str, "threshold": (int, float)}


class ModelHelper:
    """An `adapters.protocols.Helper`; a state that was seen before costs nothing.

    Attributes:
      style: of the states' texts.
      helps: [K] names.
      cost: float [K], r; None where the helper was trained for none.
      threshold: on margins; None for a mixture.
      values: all that helper.json says.
      sha256: of the folder.
    """

    def __init__(self, folder: HeadFolder, cost: np.ndarray | None, threshold: float):
        """Takes what is loaded; `load` takes a folder."""
        self._folder, self.cost, self.threshold = folder, cost, threshold
        self._thresholds: tuple[float, float] | None = None
        self._share = 0.0
        self._known: dict[str, np.ndarray] = {}  # margins by state key
        self.values, self.sha256 = folder.values, folder.sha256
        self.style: str = folder.values["style"]
        self.helps: tuple[str, ...] = tuple(folder.values["helps"])

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike,
        cost: ArrayLike | None = None,
        threshold: float | None = None,
        *,
        thresholds: Sequence[float] | None = None,
        share: float = 0.0,
    ) -> Self:
        """Reads a folder.

        Args:
          folder: of the helper.
          cost: r of a call of each help, [K] or one number. None is the one that the helper was
            trained for. Needed where it reads the cost; where it predicts gains, any will do;
            elsewhere there is no other one.
          threshold: on margins; None is the folder's. +inf never asks, -inf always does.
          thresholds: two, for a mixture in place of `threshold`.
          share: of the episodes that take the second of the two.

        Raises:
          OSError: a file is missing.
          ValueError: one is damaged, or they do not belong together, or an argument does not fit
            them; names it.
        """
        path = Path(folder) / NAME
        found = head_folder.load(folder, NAME, _FIELDS)
        config = found.config
        if config.kind == "success" or config.kind != found.values["kind"]:
            raise ValueError(
                f"{path}: kind is {found.values['kind']!r} and the head's {config.kind!r}, "
                "expected one kind, of a helper"
            )
        if len(found.values["helps"]) != config.num_helps:
            raise ValueError(
                f"{path}: helps are {found.values['helps']}, expected {config.num_helps} as the "
                "head has"
            )
        try:
            r = _cost(found, cost)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from error
        helper = cls(found, r, found.values["threshold"] if threshold is None else threshold)
        if thresholds is not None:
            if threshold is not None or len(thresholds) != 2 or not 0 <= share <= 1:
                raise ValueError(
                    f"threshold is {threshold}, thresholds {thresholds} and share {share}, "
                    "expected one threshold, or two and a share in 0..1"
                )
            helper._thresholds, helper.threshold = tuple(map(float, thresholds)), None
            helper._share = share
        return helper

    @property
    def config(self) -> dict[str, Any]:
        """What rollouts say about it, JSON values."""
        how = {"threshold": self.threshold}
        if self._thresholds is not None:
            how = {"thresholds": [*self._thresholds], "share": self._share}
        cost = None if self.cost is None else self.cost.tolist()
        return {"helper": self.sha256, "style": self.style, "cost": cost, **how}

    def at(self, threshold: float) -> Self:
        """The same helper with one threshold; margins are shared."""
        found = copy.copy(self)
        found.threshold, found._thresholds, found._share = threshold, None, 0.0
        return found

    def for_episode(self, seed: int) -> Self:
        """The helper that plays an episode of this seed: one with one threshold.

        The number drawn from the seed belongs to the episode alone: for a higher share the same
        episodes take the second threshold, and others.
        """
        if self._thresholds is None:
            return self
        first, second = self._thresholds
        drawn = seeds_lib.uniform(seeds_lib.derive("threshold", seed))
        return self._at_either[second if drawn < self._share else first]

    def margins(self, states: Sequence[State]) -> np.ndarray:
        """float32 [N, K]: by how much each help is better than nohelp.

        Raises:
          ValueError: the text of a state is too long and is refused.
        """
        fresh = {state.key: state for state in states if state.key not in self._known}
        if fresh:
            texts = [state.text(self.style) for state in fresh.values()]
            self._known |= zip(fresh, self.margins_of(texts), strict=True)
        rows = [self._known[state.key] for state in states]
        return np.array(rows, np.float32).reshape(len(rows), len(self.helps))

    def margins_of(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [N, K] of states by their texts."""
        config, features = self._folder.config, None
        if config.cost_range is not None:
            features = config.features(len(texts), costs=self.cost)
        outputs = self._folder.outputs(list(texts), features)
        costs = self.cost if config.kind == "gains" else None
        return heads.margins(outputs, config, costs).astype(np.float32)

    def decide(
        self,
        states: Sequence[State],
        calls_left: Sequence[Sequence[int]] | None,
        seeds: Sequence[int],
    ) -> list[Decision]:
        """The help of the largest margin of those with calls left, where it is above the threshold.

        Raises:
          ValueError: the helper is a mixture: `for_episode` says which one plays. Or a text is too
            long and is refused.
        """
        if self.threshold is None:
            raise ValueError("a mixture of two thresholds decides nothing, expected for_episode's")
        margins = self.margins(states)
        if calls_left is not None:
            left = np.asarray(calls_left).reshape(margins.shape)
            margins = np.where(left > 0, margins, -np.inf)
        return [
            Decision(help, self._reason(margin.max()))
            for help, margin in zip(
                heads.decide(margins, self.threshold).tolist(), margins, strict=True
            )
        ]

    @property
    def _at_either(self) -> dict[float, Self]:
        """By threshold. Always the same two, so that all episodes of one are asked together."""
        if "_views" not in self.__dict__:
            self._views = {one: self.at(one) for one in self._thresholds}
        return self._views

    def _reason(self, margin: float) -> str:
        if margin == -np.inf:
            return "no calls left"
        what = "logit" if self._folder.config.kind == "policy" else "gain"
        above = "above" if margin > self.threshold else "not above"
        return f"{what} {margin:.3g} {above} {self.threshold:.3g}"


def _cost(folder: HeadFolder, cost: ArrayLike | None) -> np.ndarray | None:
    """r, [K]."""
    config, own = folder.config, folder.values.get("cost")
    if cost is None:
        if own is None:
            low, high = config.cost_range or (0, np.inf)
            raise ValueError(f"cost is None, expected one in {low:.4g}..{high:.4g}")
        return np.asarray(own, float)
    wanted = np.asarray(cost, float)
    if wanted.shape not in ((), (config.num_helps,)) or not np.all(wanted >= 0):
        raise ValueError(f"cost is {cost}, expected {config.num_helps} numbers of at least 0")
    wanted = np.broadcast_to(wanted, (config.num_helps,))
    if config.cost_range is not None:
        config.features(1, costs=wanted)  # raises where it is out of range
    elif config.kind != "gains" and not np.allclose(wanted, own, rtol=1e-6):
        raise ValueError(f"cost is {cost}, expected {own}, the only one it was trained for")
    return wanted
