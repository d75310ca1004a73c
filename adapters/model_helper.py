"""The trained helper: asks for help where its margin over nohelp is above a threshold.

    helper = ModelHelper.load("helper", cost=0.05)
    play(world, actor, interventions, [Episode(..., helper=helper)])

`experiments.train_helper` makes the folder. A margin is what `models.heads.margins` says: a gain in
success less the cost of the calls, or a difference of logits where labels were copied.

A plan in between two thresholds is met by a mixture: a share of the episodes takes the second one,
each for all of its turns. `load` takes the thresholds and the share that `models.thresholds.
usage_threshold` found, and `for_episode` draws for one episode.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from adapters import head_folder
from adapters.head_folder import HeadFolder
from adapters.made import check_made
from adapters.protocols import TextReader
from adapters.threshold_helper import ThresholdHelper
from models import heads

NAME = "helper.json"
_FIELDS = {"helps": list, "kind": str, "target": str, "threshold": (int, float)}


class ModelHelper(ThresholdHelper):
    """A `ThresholdHelper` whose margins a head on a language model says.

    Attributes:
      values: all that helper.json says.
    """

    def __init__(self, folder: HeadFolder, cost: np.ndarray | None, **how: Any):
        """Takes what is loaded; `load` takes a folder."""
        self._folder, self.values = folder, folder.values
        helps, style = folder.values["helps"], folder.values["style"]
        super().__init__(helps=helps, style=style, cost=cost, sha256=folder.sha256, **how)

    @property
    def readers(self) -> tuple[TextReader, ...]:
        return (self._folder.encoder,)

    @property
    def what(self) -> str:
        return "logit" if self._folder.config.kind == "policy" else "gain"

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
        check_made(path, "a helper, which experiments.train_helper makes")
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
        if threshold is None and thresholds is None:
            threshold = found.values["threshold"]
        return cls(found, r, threshold=threshold, thresholds=thresholds, share=share)

    def margins_of(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [N, K] of states by their texts."""
        config = self._folder.config
        told = None if config.cost_range is None else self.cost
        outputs = self._folder.outputs(list(texts), told)
        costs = self.cost if config.kind == "gains" else None
        return heads.margins(outputs, config, costs).astype(np.float32)


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
        alone = dataclasses.replace(config, feature_means=(), feature_scales=())
        alone.features(1, costs=wanted)  # raises where it is out of range
    elif config.kind != "gains" and not np.allclose(wanted, own, rtol=1e-6):
        raise ValueError(f"cost is {cost}, expected {own}, the only one it was trained for")
    return wanted
