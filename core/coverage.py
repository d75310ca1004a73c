"""How well data covers a transition table: which actions were tried, and where that matters.

What can be said about an action in a state rests on how often it was tried there, n(s,a); what
that is worth depends on how often episodes come by. Visits are those of the behaviour in the data,
b(a|s) = n(s,a) / sum_a n(s,a), without discount:

    x(s') = start(s') + sum_{s,a} x(s) b(a|s) P(s'|s,a)

A state without counts ends the walk. In a recurrent class, states that lead to one another and
never out, this x is infinite; there x(s) is the mass that arrives in the class, which is the chance
that an episode comes by s at all.

The sum is followed step by step along the walk, with returns of a state to itself summed in closed
form, until at most 1e-9 of the episodes are under way or 10,000 steps are done;
`Coverage.walking` says what is left.
"""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

if TYPE_CHECKING:
    from core.table import TransitionTable

BUCKETS = ("0", "1", "2-4", "5+")
_BUCKET_BOUNDS = (1, 2, 5)  # the least count of each bucket but the first

_WALKING = 1e-9
_MAX_STEPS = 10_000
_ROUNDING = 1e-12  # by which the probabilities of one state may miss one


@dataclasses.dataclass(frozen=True)
class Coverage:
    """How often each of A actions was tried in the S states of a table.

    Attributes:
      state_share: [A, 4] share of the states where the action was tried 0, 1, 2-4 and 5 or more
        times; rows sum to one.
      visit_share: [A, 4] the same, each state weighted by its visits.
      visits: [S] expected visits an episode under the behaviour in the data.
      untried: A arrays [at most `top`] int32, the reachable states where the action was never
        tried, those with most visits first.
      walking: share of the episodes whose later visits are missing from `visits`.
    """

    state_share: np.ndarray
    visit_share: np.ndarray
    visits: np.ndarray
    untried: tuple[np.ndarray, ...]
    walking: float

    def format(self) -> str:
        """Returns a table to read."""
        head = "".join(f"{bucket:>8}" for bucket in BUCKETS)
        lines = [
            f"coverage of {len(self.visits)} states, by how often an action was tried",
            f"{'':10}{'share of states':>32}   {'share of visits':>32}",
            f"{'times':10}{head}   {head}",
        ]
        for action, shares in enumerate(zip(self.state_share, self.visit_share, strict=True)):
            of_states, of_visits = ("".join(f"{x:8.1%}" for x in row) for row in shares)
            lines.append(f"{_action_name(action):10}{of_states}   {of_visits}")
        lines.append("most visited states where an action was never tried (share of visits)")
        total = self.visits.sum()
        for action, states in enumerate(self.untried):
            named = ", ".join(f"{s} ({self.visits[s] / total:.1%})" for s in states)
            lines.append(f"{_action_name(action):10}{named or 'none'}")
        if self.walking > _WALKING:
            lines.append(f"{self.walking:.1%} of the episodes go on beyond the steps followed here")
        return "\n".join(lines)

    __str__ = format


def coverage(table: "TransitionTable", *, top: int = 10) -> Coverage:
    """Returns how often the actions of a table were tried, and where they were not.

    Args:
      table: made from counts, as by `TransitionCounts.table`.
      top: how many states without a try to name for each action.

    Raises:
      ValueError: the table has no counts (it was built from probabilities), or `top` is negative.
    """
    if top < 0:
        raise ValueError(f"top is {top}, expected at least 0")
    if np.isnan(table.count).any():
        state, action = np.argwhere(np.isnan(table.count))[0]
        raise ValueError(
            f"table.count[{state}, {action}] is nan, expected a count: "
            "coverage needs a table made from counts, not from probabilities"
        )
    visits, walking = _visits(table)
    bucket = np.searchsorted(_BUCKET_BOUNDS, table.count, side="right")  # [S, A]
    in_bucket = bucket[:, :, None] == np.arange(len(BUCKETS))  # [S, A, 4]
    by_visits = np.argsort(-visits, kind="stable")
    by_visits = by_visits[visits[by_visits] > 0].astype(np.int32)
    return Coverage(
        state_share=in_bucket.mean(axis=0),
        visit_share=np.einsum("s,sab->ab", visits / visits.sum(), in_bucket),
        visits=visits,
        untried=tuple(by_visits[tried == 0][:top] for tried in bucket[by_visits].T),
        walking=walking,
    )


def _visits(table: "TransitionTable") -> tuple[np.ndarray, float]:
    """Returns the expected visits [S] and the share of episodes not followed to their end."""
    step = _behaviour(table)
    recurrent, label = _recurrent(step)
    stay = np.where(recurrent, 0.0, step.diagonal())
    leave = np.where(recurrent, 0.0, 1 / (1 - stay))  # walks are not followed inside a class
    onward = (sparse.diags_array(leave) @ (step - sparse.diags_array(step.diagonal()))).T.tocsr()

    arriving = np.bincount(table.start, weights=table.start_weight, minlength=table.num_states)
    arrived = np.zeros(table.num_states)  # from another state or from the start
    for _ in range(_MAX_STEPS):
        arrived += arriving
        arriving = onward @ arriving
        if arriving.sum() <= _WALKING:
            break
    in_class = np.bincount(label, weights=arrived)[label]
    return np.where(recurrent, in_class, arrived / (1 - stay)), float(arriving.sum())


def _behaviour(table: "TransitionTable") -> sparse.csr_array:
    """Returns [S, S] sum_a b(a|s) P(s'|s,a)."""
    tries = table.count.sum(axis=1, keepdims=True)
    behaviour = np.divide(table.count, tries, out=np.zeros_like(table.count), where=tries > 0)
    weight = np.repeat(behaviour.ravel(), np.diff(table.indptr)) * table.prob
    # The rows (s, 0), (s, 1), ... follow one another, so every A-th pointer starts a state.
    state = np.repeat(np.arange(table.num_states), np.diff(table.indptr[:: table.num_actions]))
    shape = (table.num_states, table.num_states)
    return sparse.coo_array((weight, (state, table.successor)), shape=shape).tocsr()


def _recurrent(step: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Returns which states [S] are in a class that is never left, and the class [S] of each."""
    _, label = csgraph.connected_components(step, connection="strong")
    entries = step.tocoo()
    crosses = label[entries.row] != label[entries.col]
    left = step.sum(axis=1) < 1 - _ROUNDING
    left[entries.row[crosses]] = True
    return ~np.isin(label, label[left]), label


def _action_name(action: int) -> str:
    return f"help {action}" if action else "nohelp"
