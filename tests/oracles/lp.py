"""Occupancy-measure linear programs, solved by HiGHS.

x[l] >= 0 is the expected (discounted) number of times row l = (s, a) is taken. With `start` the
first state,

  sum_a x[s, a] - discount * sum_l P(s | l) x[l] = start[s]      for every state s that has rows,
  success = x . win,   usage_k = x . [action = help_k].

At discount = 1 two things need saying. (i) An occupancy is infinite where a policy goes round for
ever, and no finite x satisfies the equation; going round with nohelp is free and counts as failure,
so the states of the closed nohelp classes get one more column, "stop here, failed". A policy that
calls help for ever needs none: another policy is better whenever some policy has finite usage. (ii)
A closed nohelp class may also carry a circulation that no flow feeds. It is unbounded in x but
neither wins nor calls, so objective and usage are right. (Altman, Constrained Markov Decision
Processes, 1999, chapters 3 and 8.)
"""

import dataclasses

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog

from tests.oracles.problem import Problem

_OPTIONS = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


@dataclasses.dataclass(frozen=True)
class Optimum:
    value: float  # of the program's objective
    success: float
    usage: np.ndarray  # [K]


def _columns(problem: Problem, discount: float):
    """`(balance [N, L + J], calls [L + J, K], win [L + J])`, N the states with rows, J the "stop
    here" columns.
    """
    alive = np.flatnonzero(problem.alive)
    rows = np.arange(problem.num_rows)
    out = sp.csr_matrix(
        (np.ones(rows.size), (problem.row_state, rows)), shape=(problem.num_states, rows.size)
    )
    balance = (out - discount * problem.move.T).tocsr()
    stops = (
        np.flatnonzero(problem.free_loops() & problem.alive)
        if discount == 1.0
        else np.zeros(0, int)
    )
    stop = sp.csr_matrix(
        (np.ones(stops.size), (stops, np.arange(stops.size))),
        shape=(problem.num_states, stops.size),
    )
    balance = sp.hstack([balance, stop]).tocsr()[alive]
    calls = np.concatenate([problem.calls, np.zeros((stops.size, problem.num_helps))])
    win = np.concatenate([problem.win, np.zeros(stops.size)])
    return balance, calls, win


def _highs(objective, **program):
    """HiGHS sometimes gives up at tight tolerances without a verdict: then its other methods."""
    for method in ("highs", "highs-ds", "highs-ipm"):
        result = linprog(objective, **program, method=method, options=_OPTIONS)
        if result.status in (0, 2, 3):
            break
    return result


def _solve(problem, objective, *, discount, budget=None):
    """Maximises objective(calls, win) . x."""
    balance, calls, win = _columns(problem, discount)
    gain = objective(calls, win)
    limit = (
        {}
        if budget is None
        else {"A_ub": sp.csr_matrix(calls.T), "b_ub": np.atleast_1d(budget).astype(float)}
    )
    result = _highs(
        -gain,
        A_eq=balance,
        b_eq=problem.start[problem.alive],
        **limit,
        bounds=(0, None),
    )
    if result.status == 2:
        return None
    if result.status == 3:
        return Optimum(np.inf, np.nan, np.full(problem.num_helps, np.nan))
    assert result.status == 0, result.message
    return Optimum(-result.fun, float(result.x @ win), result.x @ calls)


def best_value(problem: Problem, cost, *, discount: float = 1.0) -> Optimum:
    """max S - cost . M from the start; cost [K]."""
    cost = np.atleast_1d(np.asarray(cost, float))
    return _solve(problem, lambda calls, win: win - calls @ cost, discount=discount)


def best_success(problem: Problem, budget, *, discount: float = 1.0) -> Optimum | None:
    """max S subject to usage_k <= budget_k; None if no policy keeps the budget."""
    return _solve(problem, lambda calls, win: win, discount=discount, budget=budget)


def least_usage(problem: Problem, weight, *, discount: float = 1.0) -> Optimum:
    """min weight . M; `value` is that minimum."""
    weight = np.atleast_1d(np.asarray(weight, float))
    found = _solve(problem, lambda calls, win: -calls @ weight, discount=discount)
    return dataclasses.replace(found, value=-found.value)


def most_usage(problem: Problem, weight, *, discount: float = 1.0) -> Optimum:
    """max weight . M; `value` is inf if some policy calls for ever (discount 1 only)."""
    weight = np.atleast_1d(np.asarray(weight, float))
    return _solve(problem, lambda calls, win: calls @ weight, discount=discount)


def values(problem: Problem, cost, *, discount: float = 1.0) -> np.ndarray:
    """[S] the optimal value of every state: the dual program, min sum V with V >= every backup (and
    V >= 0 where nohelp goes round).
    """
    cost = np.atleast_1d(np.asarray(cost, float))
    balance, calls, win = _columns(problem, discount)
    result = _highs(
        np.ones(balance.shape[0]),
        A_ub=-balance.T,
        b_ub=-(win - calls @ cost),
        bounds=(None, None),
    )
    assert result.status == 0, result.message
    value = np.zeros(problem.num_states)
    value[problem.alive] = result.x
    return value
