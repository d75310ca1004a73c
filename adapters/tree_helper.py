"""A helper that needs no language model: gradient-boosted trees on numbers that describe the text.

    helper = TreeHelper.load("trees", cost=0.1)
    play(world, actor, interventions, [Episode(..., helper=helper)])

`experiments.train_trees` makes the folder, with scikit-learn; reading it takes none. The trees give
A_i(s, r), what help i adds to the value of nohelp at the cost r, and read r beside the numbers: one
helper serves every budget. In the folder:

    trees.json    what it is
    trees.npz     the trees
    numbers.npz   what the numbers of texts were fitted to
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from adapters import numbers as numbers_lib
from adapters.json_file import VERSION, read_json
from adapters.made import check_made
from adapters.numbers import Numbers
from adapters.threshold_helper import ThresholdHelper
from adapters.trees import FIELDS, Trees
from core import archive
from models.atomic_file import write_bytes

NAME, ARRAYS = "trees.json", "trees.npz"
_KIND, _VERSION = "trees", 1
_FIELDS = {"style": str, "helps": list, "cost_range": list, "threshold": float}


def with_costs(numbers: np.ndarray, costs: ArrayLike) -> np.ndarray:
    """float32 [N, F + K]: log r beside the numbers, for costs [K] or [N, K]."""
    costs = np.atleast_1d(np.asarray(costs, np.float64))
    told = np.broadcast_to(np.log(costs), (len(numbers), costs.shape[-1]))
    return np.concatenate([numbers, told], axis=1, dtype=np.float32)


class TreeHelper(ThresholdHelper):
    """A `ThresholdHelper` whose margins are trees' estimates of A_i(s, r).

    Attributes:
      values: all that trees.json says.
      numbers: of texts.
      trees: on them.
    """

    def __init__(self, numbers: Numbers, trees: Trees, values: dict[str, Any], **how: Any):
        """Takes what is made; `load` takes a folder."""
        super().__init__(style=values["style"], helps=values["helps"], **how)
        self.values, self.numbers, self.trees = values, numbers, trees

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike,
        cost: ArrayLike,
        threshold: float | None = None,
        *,
        thresholds: Sequence[float] | None = None,
        share: float = 0.0,
    ) -> Self:
        """Reads a folder; arguments as `adapters.model_helper.ModelHelper.load`.

        Raises:
          OSError: a file is missing.
          ValueError: one is damaged, or they do not belong together, or an argument does not fit
            them; names it.
        """
        folder = Path(folder)
        check_made(folder / NAME, "a helper of trees, which experiments.train_trees makes")
        values = read_json(folder / NAME, _FIELDS)
        path = folder / ARRAYS
        try:
            trees = Trees.of_arrays(archive.read(path, _KIND, _VERSION, FIELDS))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        helps = len(values["helps"])
        if len(trees.root) != helps:
            raise ValueError(f"{path}: trees of {len(trees.root)} helps, expected {helps}")
        low, high = values["cost_range"]
        r = None if cost is None else np.broadcast_to(np.asarray(cost, float), (helps,))
        if r is None or not ((r >= low * 0.999) & (r <= high * 1.001)).all():
            raise ValueError(f"{folder}: cost is {cost}, expected {low:.4g}..{high:.4g}")
        sha256 = numbers_lib.fingerprint(folder, (NAME, ARRAYS, numbers_lib.NAME))
        if threshold is None and thresholds is None:
            threshold = values["threshold"]
        how = dict(threshold=threshold, thresholds=thresholds, share=share)
        return cls(Numbers.load(folder), trees, values, cost=r, sha256=sha256, **how)

    def margins_of(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [N, K] of states by their texts."""
        return self.trees(with_costs(self.numbers(texts), self.cost))


def save(folder: str | os.PathLike, numbers: Numbers, trees: Trees, values: dict[str, Any]) -> None:
    """Writes a folder that `TreeHelper.load` reads; trees.json comes last.

    Raises:
      OSError: it cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    archive.write(folder / ARRAYS, _KIND, _VERSION, trees.arrays())
    numbers.save(folder)
    text = json.dumps({"version": VERSION} | values, indent=1, allow_nan=False) + "\n"
    write_bytes(folder / NAME, text.encode())
