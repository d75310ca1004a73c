"""What a condition would do on the tasks of some rollouts, without playing: its own decisions in
every state, evaluated on the transition table.

A decision that was never tried in a state has no row there. A process reward model can say how the
episode ends after it; without one the base actor plays in its place. Either way later calls are
missing from the forecast, so it is told how many decisions an episode were never tried.
"""

import copy
import dataclasses
import os
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from scipy import sparse

from adapters.prm_helper import SuccessModel
from adapters.protocols import Helper
from core import dp
from core.table import build_table
from experiments import planning
from experiments.conditions import Condition, Dial
from experiments.deciders import Deciders
from experiments.statistics import interval, weighted_means

_TOUCH = 1e-9  # observations; so weak a prior speaks only where there are none
_MOST_COUNTED = 30  # calls; a table is as many times as large where they are counted
_SLACK = 1e-9  # calls, by which rounding may put a forecast below what every policy needs


class Forecast(NamedTuple):
    """What is expected on the tasks of rollouts.

    Attributes:
      success, usage: expected, usage [K].
      success_ci, usage_ci: [2] and [K, 2] at 95%, by a bootstrap over tasks; None for one task.
      untried: decisions an episode that were never tried, the first such one if there is a prior.
    """

    success: float
    usage: list[float]
    success_ci: list[float] | None
    usage_ci: list[list[float]] | None
    untried: float


class Tables:
    """The table of a folder of rollouts, and the texts of its states."""

    def __init__(
        self,
        directory: str | os.PathLike,
        *,
        prior: SuccessModel | None = None,
        seed: int = 0,
    ):
        """Reads the folder.

        Args:
          directory: of rollouts of the tasks that the forecast is for.
          prior: what it says of a decision that was never tried is all that follows from it.
          seed: of the resamples.

        Raises:
          OSError, ValueError: as `experiments.planning.read`.
        """
        self._data, self._seed = planning.read(directory), seed
        self._table = self._data.counts.table()
        if prior is not None:
            success = prior.probabilities(self._data.texts.read_in(prior.style))
            self._table = self._table.with_prior(np.asarray(success, np.float64), _TOUCH)
        self._states = self._data.texts.states()
        self._left: np.ndarray | None = None  # [S] calls; None where they are not counted
        self._counting: dict[int, Tables] = {}  # by cap
        self._leads = _leads(self._table)

    @property
    def num_helps(self) -> int:
        """K."""
        return len(self._data.helps)

    def ceiling(self, calls: Sequence[float]) -> dict[str, Any]:
        """The optimum on the table within so many calls [K], in hindsight: JSON values."""
        planner = planning.Planner(self._data.counts, self._table, seed=self._seed)
        return planner.answer(np.asarray(calls, np.float64) + _SLACK).as_json()

    def forecast(
        self, condition: Condition, dial: Dial | None, deciders: Deciders
    ) -> Forecast | None:
        """What the condition would do; None where it needs more than the state and the calls left.

        What was decided in earlier turns is no part of a state. Where a helper of one help has a
        cap of not too many calls, those that it leaves are counted in the states.
        """
        if condition.task_wise is not None or not self._can_count(condition):
            return None
        on = self if condition.cap is None else self._counted(condition.cap[0])
        return on._forecast(condition, dial, deciders)

    def _can_count(self, condition: Condition) -> bool:
        if condition.cap is None:
            return True
        judged = condition.method in ("prm", "helper") and self.num_helps == 1
        return judged and condition.cap[0] <= _MOST_COUNTED

    def _counted(self, cap: int) -> Self:
        """The same, with calls counted in the states."""
        if cap not in self._counting:
            found = copy.copy(self)
            found._table = counting_calls(self._table, cap)
            found._states = self._states * (cap + 1)
            found._left = np.repeat(np.arange(cap, -1, -1), len(self._states))
            found._leads = _leads(found._table)
            self._counting[cap] = found
        return self._counting[cap]

    def _forecast(self, condition: Condition, dial: Dial | None, deciders: Deciders) -> Forecast:
        dials, shares = [dial], [1.0]
        if dial is not None and len(dial.values) == 2:
            dials = [dial.at(one) for one in dial.values]
            shares = [1 - dial.share, dial.share]
        wanted = np.stack([self._decisions(condition, one, deciders) for one in dials], axis=-1)
        taken = self._possible(wanted)
        reached = dp.evaluate(self._table, taken)
        start, weight = self._table.start, self._table.start_weight
        outcome = np.concatenate([reached.success[start][..., None], reached.usage[start]], axis=-1)
        outcome = np.einsum("gjc,j->gc", outcome, shares)
        success, *usage = (weight @ outcome).tolist()
        draws = weighted_means(outcome, weight, self._data.counts.start_task, seed=self._seed)
        between = None if draws is None else interval(draws).tolist()
        return Forecast(
            success=success,
            usage=usage,
            success_ci=None if between is None else between[0],
            usage_ci=None if between is None else between[1:],
            untried=sum(
                share * self._untried(wanted[..., j], taken[..., j])
                for j, share in enumerate(shares)
            ),
        )

    def _decisions(self, condition: Condition, dial: Dial | None, deciders: Deciders) -> np.ndarray:
        """[S, A] the probability of each decision, at a dial of one value."""
        if condition.method == "random":
            p = condition.shares(dial.values[0])
            return np.tile([1 - sum(p), *p], (len(self._states), 1))
        return self._followed(deciders.helper(condition, dial, 0))

    def _followed(self, helper: Helper) -> np.ndarray:
        """[S, A] of a helper in the states that it comes to; nohelp in the others.

        A model is thus asked about a part of the states only.
        """
        num_actions = self.num_helps + 1
        wanted = np.zeros((len(self._states), num_actions))
        wanted[:, 0] = 1.0
        known = np.zeros(len(self._states), bool)
        fresh = np.unique(self._table.start)
        while fresh.size:
            known[fresh] = True
            left = None if self._left is None else self._left[fresh, None]
            decided = helper.decide([self._states[s] for s in fresh], left, [0] * fresh.size)
            helps = np.array([one.help for one in decided])
            wanted[fresh] = np.eye(num_actions)[helps if left is None else helps * (left[:, 0] > 0)]
            states, actions = np.nonzero(self._possible(wanted[..., None])[fresh, :, 0])
            leads = self._leads[fresh[states] * num_actions + actions]
            after = np.unique(leads.indices)
            fresh = after[~known[after]]
        return wanted

    def _possible(self, wanted: np.ndarray) -> np.ndarray:
        """[S, A, J] the same with nohelp where a decision was never tried, or else what was."""
        available = self._table.available
        instead = np.eye(available.shape[1])[
            available.argmax(axis=1)
        ]  # the first: nohelp, if tried
        taken = wanted * available[..., None]
        missing = wanted.sum(axis=1) - taken.sum(axis=1)
        return taken + instead[..., None] * missing[:, None]

    def _untried(self, wanted: np.ndarray, taken: np.ndarray) -> float:
        """How many decisions an episode were wanted and never tried."""
        followed = dataclasses.replace(self._table, count=taken)
        visits = followed.coverage(top=0).visits
        return float(visits @ (wanted * (self._table.count == 0)).sum(axis=1))


def counting_calls(table: dp.TransitionTable, cap: int) -> dp.TransitionTable:
    """The table of one help in which a state also tells how many calls were made.

    Returns:
      A table of (cap + 1) S states: state c S + s is s after c calls. A call more than the cap is
      there, and not counted.
    """
    layers, number = cap + 1, table.num_states
    state, action = np.divmod(table.entry_row, table.num_actions)
    layer = np.repeat(np.arange(layers), state.size)
    state, action, successor, prob = (
        np.tile(one, layers) for one in (state, action, table.successor, table.prob)
    )
    return build_table(
        num_states=layers * number,
        num_actions=table.num_actions,
        state=layer * number + state,
        action=action,
        successor=np.minimum(layer + (action > 0), cap) * number + successor,
        prob=prob,
        exit_success=np.tile(table.exit_success, (layers, 1)),
        available=np.tile(table.available, (layers, 1)),
        count=np.tile(table.count, (layers, 1)),
        start=table.start,
        start_weight=table.start_weight,
        terminal=np.tile(table.terminal, layers),
    )


def _leads(table: dp.TransitionTable) -> sparse.csr_array:
    """[S A, S] probabilities of the states that follow."""
    return sparse.csr_array(
        (table.prob, table.successor, table.indptr), shape=(table.available.size, table.num_states)
    )
