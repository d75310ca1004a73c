"""Where to begin for new costs: at the policies found for others, priced anew.

A policy is worth V = S - r.M, which in r is a tangent to the best value: at another cost r' it is
worth V + (r - r').M, never more than the best. Of two policies each state takes the better.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from core.solver import Block, Problem

_SAME = 1e-9  # values closer than this may be taken for one
_MAX_ELEMENTS = 2**27  # of V and usage that are kept: 1 GB of float64


@dataclasses.dataclass(frozen=True)
class Known:
    """What policies for P costs are worth at the F feedback nodes.

    Attributes:
      costs: [P, K].
      value: P arrays [F], V; apart, so that more of them cost no copy of these.
      usage: P arrays [K, F].
    """

    costs: np.ndarray
    value: tuple[np.ndarray, ...]
    usage: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, problem: Problem, block: Block, columns: Sequence[int]) -> "Known":
        """The policies of some columns of a block."""
        feedback, columns = np.asarray(problem.backups.feedback), np.asarray(columns)
        at = np.ix_(feedback, columns)
        value = np.asarray(block.value)[at].T.copy()  # [P, F]
        usage = np.stack([np.asarray(m)[at].T for m in block.usage], axis=1)  # [P, K, F]
        return cls(block.costs[columns], tuple(value), tuple(usage))

    def and_others(self, others: "Known") -> "Known":
        """Both, if that is not too much to keep; else these alone."""
        value, usage = self.value + others.value, self.usage + others.usage
        if len(value) * (value[0].size + usage[0].size) > _MAX_ELEMENTS:
            return self
        return Known(np.concatenate([self.costs, others.costs]), value, usage)

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
        value = np.stack([self.value[i] for i in columns], axis=-1)  # [F, R]
        used = np.stack([self.usage[i] for i in columns], axis=-1)  # [K, F, R]
        shift = self.costs[columns] - costs  # [R, K]
        return value + np.einsum("rk,kfr->fr", shift, used), -used.sum(axis=0)
