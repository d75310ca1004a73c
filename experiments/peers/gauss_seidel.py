"""A strong reference written by hand: Gauss-Seidel value iteration in numba.

* Self-loops are solved, not iterated: with p = P(s|s, a) a row is worth
  (reward + gamma * sum over the other successors) / (1 - gamma * p). That is exact and
  contracts no slower than gamma.
* States are renumbered by descending breadth-first distance from the start, so that most
  successors of a state have been updated before it.
* For many costs the values are [S, R] with the costs minor: one read of a row serves them all.
"""

import dataclasses
from collections.abc import Callable

import numba
import numpy as np
import scipy.sparse
from scipy.sparse import csgraph

from experiments.peers.problem import Problem


def one_cost(problem: Problem) -> Callable[[float], np.ndarray]:
    """Solves one cost at a time."""
    rows = _renumbered(problem)
    actions = problem.num_actions

    def sweep(reward: np.ndarray, value: np.ndarray) -> float:
        return _sweep(rows.indptr, rows.successor, rows.weight, reward, actions, value)

    def solve(cost: float) -> np.ndarray:
        reward = rows.reward(cost)
        value = np.zeros(problem.num_states)
        while sweep(reward, value) > problem.step_change():
            pass
        return value[rows.rank]

    sweep(rows.reward(0.0), np.zeros(0))  # compiles
    return solve


def many_costs(problem: Problem) -> Callable[[np.ndarray], np.ndarray]:
    """Solves costs [R] together; returns V [S, R]. Smaller groups of costs were never faster."""
    rows = _renumbered(problem)
    actions = problem.num_actions

    def sweep(price: np.ndarray, value: np.ndarray) -> np.ndarray:
        return _sweep_many(
            rows.indptr, rows.successor, rows.weight, rows.exit, rows.scale, price, value
        )

    def solve(costs: np.ndarray) -> np.ndarray:
        solved = np.empty((problem.num_states, costs.size))
        active = np.arange(costs.size)
        value = np.zeros((problem.num_states, costs.size))
        while active.size:
            price = np.outer(np.arange(actions) > 0, costs[active]).astype(float)
            running = sweep(price, value) > problem.step_change()
            if running.sum() <= active.size // 2:  # go on with the slower half alone
                solved[:, active[~running]] = value[:, ~running]
                active, value = active[running], value[:, running].copy()
        return solved[rows.rank]

    sweep(np.zeros((actions, 0)), np.zeros((0, 0)))  # compiles
    return solve


@dataclasses.dataclass(frozen=True)
class _Rows:
    """The rows in sweep order.

    Attributes:
      indptr: [S * A + 1] int64.
      successor: [E] int32, self-loops left out.
      weight: [E], gamma * P(s'|s, a) / (1 - gamma * P(s|s, a)).
      exit: [S * A], mass that ends in success at once.
      help: [S * A], 1 where help is called.
      scale: [S * A], 1 / (1 - gamma * P(s|s, a)).
      rank: [S], the new number of each state.
    """

    indptr: np.ndarray
    successor: np.ndarray
    weight: np.ndarray
    exit: np.ndarray
    help: np.ndarray
    scale: np.ndarray
    rank: np.ndarray

    def reward(self, cost: float) -> np.ndarray:
        """Scaled rewards [S * A]."""
        return (self.exit - cost * self.help) * self.scale


def _renumbered(problem: Problem) -> _Rows:
    """The rows of `problem`, states by descending distance and self-loops eliminated."""
    num_states, num_actions = problem.num_states, problem.num_actions
    rank = _descending_distance(problem)
    entries = problem.transition.tocoo()
    state, action = np.divmod(entries.row.astype(np.int64), num_actions)
    row = rank[state] * num_actions + action
    successor = rank[entries.col]
    num_rows = num_states * num_actions

    is_loop = state == entries.col
    loop = np.bincount(row[is_loop], entries.data[is_loop], num_rows)
    scale = 1.0 / (1.0 - problem.discount * loop)
    weight = problem.discount * entries.data * scale[row]
    order = np.lexsort((successor, row))
    order = order[~is_loop[order]]
    exit_success = np.empty((num_states, num_actions))
    exit_success[rank] = problem.exit_success.reshape(num_states, num_actions)
    return _Rows(
        indptr=np.append(0, np.cumsum(np.bincount(row[~is_loop], minlength=num_rows))),
        successor=successor[order].astype(np.int32),
        weight=weight[order],
        exit=exit_success.ravel(),
        help=problem.is_help().astype(float),
        scale=scale,
        rank=rank,
    )


def _descending_distance(problem: Problem) -> np.ndarray:
    """The new number [S] of each state: unreachable first, the start last."""
    num_states, num_actions = problem.num_states, problem.num_actions
    entries = problem.transition.tocoo()
    source = num_states  # one more state, before every start
    graph = scipy.sparse.csr_matrix(
        (
            np.ones(entries.nnz + problem.start.size),
            (
                np.append(entries.row // num_actions, np.full(problem.start.size, source)),
                np.append(entries.col, problem.start),
            ),
        ),
        shape=(num_states + 1, num_states + 1),
    )
    reached = csgraph.breadth_first_order(graph, source, return_predecessors=False)[1:]
    unreached = np.setdiff1d(np.arange(num_states), reached)
    rank = np.empty(num_states, np.int64)
    rank[np.concatenate([unreached, reached[::-1]])] = np.arange(num_states)
    return rank


@numba.njit
def _sweep(indptr, successor, weight, reward, num_actions, value):
    """One pass over all states, in place; value [S]. Returns the largest change."""
    change = 0.0
    for state in range(value.size):
        best = -np.inf
        for row in range(state * num_actions, (state + 1) * num_actions):
            total = reward[row]
            for entry in range(indptr[row], indptr[row + 1]):
                total += weight[entry] * value[successor[entry]]
            best = max(best, total)
        change = max(change, abs(best - value[state]))
        value[state] = best
    return change


@numba.njit
def _sweep_many(indptr, successor, weight, exit_success, scale, price, value):
    """One pass over all states, in place; price [A, R], value [S, R]. Returns changes [R]."""
    num_actions, num_costs = price.shape
    best = np.empty(num_costs)
    total = np.empty(num_costs)
    change = np.zeros(num_costs)
    for state in range(value.shape[0]):
        for action in range(num_actions):
            row = state * num_actions + action
            for cost in range(num_costs):
                total[cost] = scale[row] * (exit_success[row] - price[action, cost])
            for entry in range(indptr[row], indptr[row + 1]):
                w = weight[entry]
                target = successor[entry]
                for cost in range(num_costs):
                    total[cost] += w * value[target, cost]
            if action == 0:
                best[:] = total
            else:
                for cost in range(num_costs):
                    best[cost] = total[cost] if total[cost] > best[cost] else best[cost]
        for cost in range(num_costs):
            difference = abs(best[cost] - value[state, cost])
            change[cost] = difference if difference > change[cost] else change[cost]
            value[state, cost] = best[cost]
    return change
