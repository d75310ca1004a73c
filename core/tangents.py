"""Where to begin for new costs: at the policies found for others, priced anew.

A policy is worth V = S - r.M, which in r is a tangent to the best value: at another cost r' it is
worth S - r'.M, never more than the best. Of two policies each state takes the better.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from core import rules
from core.solver import Block, Problem

_SAME = 1e-9  # values closer than this may be taken for one
_MAX_ELEMENTS = 2**27  # of success and usage that are kept: 1 GB of float64


@dataclasses.dataclass(frozen=True)
class Known:
    """What policies for P costs come to at the F feedback nodes.

    Attributes:
      costs: [P, K].
      success: P arrays [F], S; apart, so that more of them cost no copy of these.
      usage: P arrays [K, F].
    """

    costs: np.ndarray
    success: tuple[np.ndarray, ...]
    usage: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, problem: Problem, block: Block, columns: Sequence[int]) -> "Known":
        """The policies of some columns of a block."""
        columns = np.asarray(columns)
        arrays = rules.rows((block.success, *block.usage), problem.backups.feedback)
        success, *usage = (np.asarray(x).T[columns] for x in arrays)  # [P, F] each
        return cls(block.costs[columns], tuple(success), tuple(np.stack(usage, axis=1)))

    def and_others(self, others: "Known") -> "Known":
        """Both, if that is not too much to keep; else these alone."""
        success, usage = self.success + others.success, self.usage + others.usage
        if len(success) * (success[0].size + usage[0].size) > _MAX_ELEMENTS:
            return self
        return Known(np.concatenate([self.costs, others.costs]), success, usage)

    def start(self, costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """V and minus the total usage [F, R] of the policies priced at costs [R, K].

        For one help the two are those of the nearest costs on either side, else the two nearest.
        """
        below, above = self._nearest(costs)
        value, negative = self._priced(below, costs)
        other_value, other_negative = self._priced(above, costs)
        fewer = other_value >= value - _SAME  # that of the higher cost, where the two are as good
        return np.maximum(value, other_value), np.where(fewer, other_negative, negative)

    def _nearest(self, costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if costs.shape[1] == 1:
            order = np.argsort(self.costs[:, 0], kind="stable")
            above = np.searchsorted(self.costs[order, 0], costs[:, 0])
            last = order.size - 1
            return order[np.clip(above - 1, 0, last)], order[np.minimum(above, last)]
        apart = np.abs(self.costs[None] - costs[:, None]).sum(axis=-1)  # [R, P]
        order = np.argsort(apart, axis=1, kind="stable")
        return order[:, 0], order[:, min(1, order.shape[1] - 1)]

    def _priced(self, columns: np.ndarray, costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        success = np.stack([self.success[i] for i in columns], axis=-1)  # [F, R]
        used = np.stack([self.usage[i] for i in columns], axis=-1)  # [K, F, R]
        return success - np.einsum("rk,kfr->fr", costs, used), -used.sum(axis=0)
