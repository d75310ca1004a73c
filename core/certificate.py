"""Certificates: what turns the residual of a value function into a bound on its error.

If w >= 1 satisfies

  w(s) >= 1 + max_a sum_s' weight(s' | s, a) w(s')

(weights as in `core.bellman`), then |V - V*|(s) <= w(s) max |TV - V| for every V: V + eps w is a
supersolution of V = TV and V - eps w a subsolution. w bounds the expected (discounted) number of
steps to the end under every policy, so it exists exactly if every policy ends; gamma < 1 always
does. (Bertsekas and Tsitsiklis, An analysis of stochastic shortest path problems, 1991: the
weighted sup-norm contraction.)
"""

from typing import Any

import numpy as np
import scipy.sparse

from core.bellman import NO_MASS
from core.table import TransitionTable

GROWTH = 1 / 4  # of an iteration, at which there is little left to gain
_ENOUGH_ITERATIONS = 24  # where 1 / (1 - gamma) will do
_SHORT = 128.0  # steps, up to which it is not worth an iteration: a sweep or two


def expected_steps(table: TransitionTable, discount: float, max_iterations: int) -> float:
    """The largest w(s) of a certificate, or inf if none was found in `max_iterations`.

    Iterates w = 1 + max_a sum weight w from 0. If the last iteration added at most g < 1 anywhere,
    then w / (1 - g) satisfies the inequality. So does 1 / (1 - gamma), if gamma < 1, which is
    taken at once where it is small.
    """
    if discount < 1.0:
        max_iterations = min(max_iterations, _ENOUGH_ITERATIONS)
    constant = 1.0 / (1.0 - discount) if discount < 1.0 else np.inf
    if constant <= _SHORT:
        return constant
    num_states, num_actions = table.available.shape
    row = table.entry_row
    loop = row // num_actions == table.successor
    stay = np.zeros(table.available.size)
    stay[row[loop]] = discount * table.prob[loop]
    leave = np.where(stay < 1.0 - NO_MASS, 1.0 - stay, 0.0)
    weight = discount * table.prob / np.where(leave > 0, leave, 1.0)[row]
    weight[loop] = 0.0
    step = scipy.sparse.csr_matrix(
        (weight, table.successor, table.indptr), shape=(table.available.size, num_states)
    )
    acts = table.available.any(axis=1)
    # A help that only loops calls without end and is never taken; nohelp that only loops has
    # failed.
    endless = table.available & (leave.reshape(num_states, num_actions) <= 0)
    endless[:, 0] = False
    if (acts & ~(table.available & ~endless).any(axis=1)).any():
        return np.inf
    steps, growth = np.zeros(num_states), 1.0
    for _ in range(max_iterations):
        new = (step @ steps).reshape(num_states, num_actions).max(axis=1)
        new = np.where(acts, 1.0 + new, 0.0)
        growth = (new - steps).max(initial=0.0)
        steps = new
        if growth <= GROWTH:
            break
    if growth >= 1.0:
        return constant
    return min(constant, max(1.0, float(steps.max(initial=0.0) / (1.0 - growth))))


def largest(steps: Any, growth: Any) -> np.ndarray:
    """[R] the largest w(s) of certificates made of steps [N, R], to which another iteration would
    add at most growth [R]; inf where that is more than `GROWTH`.
    """
    growth = np.asarray(growth, np.float64)
    near = growth <= GROWTH
    most = np.maximum(1.0, np.asarray(steps.max(axis=0), np.float64))
    return np.where(near, most / (1.0 - np.where(near, growth, 0.0)), np.inf)
