"""Plain numpy for tiny tables: linear solves after a look at the graph, and every deterministic
policy tried.

At discount = 1 a policy is a finite Markov chain that may have recurrent classes (it goes round for
ever): success is the least fixed point, so such a class wins nothing; usage is infinite exactly
where a class that calls help can be reached. (Puterman, Markov Decision Processes, 1994, chapter 7;
Baier and Katoen, Principles of Model Checking, 2008, section 10.1.)
"""

import dataclasses
import itertools

import numpy as np
from scipy.optimize import linprog
from scipy.spatial import ConvexHull

from tests.oracles.problem import Problem


def _reach(edge: np.ndarray) -> np.ndarray:
    """[..., S, S] bool: t can be reached from s in zero or more steps."""
    size = edge.shape[-1]
    reach = edge | np.eye(size, dtype=bool)
    for _ in range(max(1, int(np.ceil(np.log2(size))))):
        reach = (reach[..., :, :, None] & reach[..., None, :, :]).any(axis=-2)
    return reach


def _solve(chain: np.ndarray, gain: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """x = gain + chain x, and x = 0 where `zero`; chain [N, S, S], gain and zero [N, S, C]."""
    size = chain.shape[-1]
    out = np.empty_like(gain)
    for c in range(gain.shape[-1]):
        keep = ~zero[..., c]
        matrix = np.eye(size) - chain * keep[:, :, None] * keep[:, None, :]
        out[..., c] = np.linalg.solve(matrix, (gain[..., c] * keep)[..., None])[..., 0]
    return out


def evaluate(problem: Problem, policy: np.ndarray, discount: float = 1.0):
    """Deterministic policies [N, S] -> (success [N, S], usage [N, S, K]); a row not offered means:
    end, failed.
    """
    policy = np.asarray(policy)
    move, win, _ = problem.dense()
    states = np.arange(problem.num_states)
    chain, gain = move[states, policy], win[states, policy]
    calls = (policy[..., None] == np.arange(1, problem.num_actions)) & problem.alive[:, None]
    return _evaluate_chain(chain, gain, calls.astype(float), discount)


def evaluate_mixed(problem: Problem, policy: np.ndarray, discount: float = 1.0):
    """A stochastic policy [S, A] -> (success [S], usage [S, K])."""
    move, win, _ = problem.dense()
    weight = policy * problem.alive[:, None]
    chain = np.einsum("sa,sat->st", weight, move)
    gain = (weight * win).sum(axis=1)
    success, usage = _evaluate_chain(chain[None], gain[None], weight[None, :, 1:], discount)
    return success[0], usage[0]


def _evaluate_chain(chain, gain, calls, discount):
    if discount < 1.0:
        both = np.concatenate([gain[..., None], calls], axis=-1)
        both = _solve(discount * chain, both, np.zeros(both.shape, bool))
        return both[..., 0], both[..., 1:]
    reach = _reach(chain > 0)
    wins = (reach & (gain > 0)[:, None, :]).any(axis=-1)
    success = _solve(chain, gain[..., None], ~wins[..., None])[..., 0]
    # A recurrent class: closed under `reach`, and no row in it ends.
    stays = chain.sum(axis=-1) > 1.0 - 1e-9
    returns = (~reach | np.swapaxes(reach, -1, -2)).all(axis=-1)
    recurrent = returns & (~reach | stays[:, None, :]).all(axis=-1)
    forever = recurrent[:, :, None] & (reach[..., None] & (calls > 0)[:, None]).any(axis=-2)
    infinite = (reach[..., None] & forever[:, None]).any(axis=-2)
    zero = recurrent[:, :, None] | infinite
    # Infinite states are cut off; a state that reaches one is infinite itself, so the cut hurts
    # nobody.
    usage = np.where(infinite, np.inf, _solve(chain, calls * ~zero, zero))
    return success, usage


def value(success: np.ndarray, usage: np.ndarray, cost) -> np.ndarray:
    """S - cost . M; a help that costs nothing may be called for ever, any other makes the value
    -inf.
    """
    cost = np.atleast_1d(np.asarray(cost, float))
    paid = np.where(cost > 0, usage, 0.0) @ np.where(cost > 0, cost, 1.0)
    return success - paid


def all_policies(problem: Problem) -> np.ndarray:
    """[N, S] every deterministic policy; 0 where there is nothing to decide."""
    _, _, available = problem.dense()
    choices = [np.flatnonzero(row) if row.any() else np.zeros(1, int) for row in available]
    return np.array(list(itertools.product(*choices)))


@dataclasses.dataclass(frozen=True)
class Enumeration:
    """Every deterministic policy, valued. Start-weighted figures in `expected_*`."""

    policy: np.ndarray  # [N, S]
    success: np.ndarray  # [N, S]
    usage: np.ndarray  # [N, S, K]
    expected_success: np.ndarray  # [N]
    expected_usage: np.ndarray  # [N, K]

    @classmethod
    def of(cls, problem: Problem, discount: float = 1.0) -> "Enumeration":
        policy = all_policies(problem)
        success, usage = evaluate(problem, policy, discount)
        seen = problem.start > 0
        start = problem.start[seen]
        return cls(
            policy,
            success,
            usage,
            success[:, seen] @ start,
            np.einsum("nsk,s->nk", usage[:, seen], start),
        )

    def best(self, cost) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`(value [S], success [S], usage [S, K])`: in every state the best value and, among
        policies within 1e-9 of it, the one with the fewest calls in all."""
        worth = value(self.success, self.usage, cost)
        top = worth.max(axis=0)
        total = np.where(worth >= top - 1e-9, self.usage.sum(axis=-1), np.inf)
        at = (total.argmin(axis=0), np.arange(top.size))
        return top, self.success[at], self.usage[at]

    def best_success(self, budget) -> float | None:
        """The constrained optimum: a linear program over mixtures of the enumerated policies."""
        finite = np.isfinite(self.expected_usage).all(axis=1)
        usage, success = self.expected_usage[finite], self.expected_success[finite]
        result = linprog(
            -success,
            A_ub=usage.T,
            b_ub=np.atleast_1d(budget).astype(float),
            A_eq=np.ones((1, success.size)),
            b_eq=[1.0],
            method="highs",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )
        if result.status == 2:
            return None
        assert result.status == 0, result.message
        return -result.fun

    def frontier(self, digits: int = 10) -> np.ndarray:
        """[V, 2] the vertices (usage, success) of the upper hull, usage ascending; K = 1 only."""
        finite = np.isfinite(self.expected_usage[:, 0])
        points = np.stack([self.expected_usage[finite, 0], self.expected_success[finite]], axis=1)
        points = np.unique(np.round(points, digits), axis=0)
        first = points[points[:, 0] == points[0, 0]][-1]
        top = points[points[:, 1] == points[:, 1].max()][0]
        if first[0] == top[0]:
            return first[None]
        # Two corners below close the hull, so that it is never flat.
        floor = np.array([[first[0], -1.0], [top[0], -1.0]])
        inside = points[(points[:, 0] >= first[0]) & (points[:, 0] <= top[0])]
        hull = ConvexHull(np.concatenate([inside, floor]))
        corner = hull.points[hull.vertices]
        corner = corner[corner[:, 1] >= first[1]]
        corner = corner[np.argsort(corner[:, 0])]
        slope = np.diff(corner[:, 1]) / np.diff(corner[:, 0])
        keep = np.concatenate([[True], slope[:-1] - slope[1:] > 1e-7, [True]])
        return corner[keep]


def capped_table(table: dict, cap) -> dict:
    """The table whose states are (state, calls left of each help), as arguments of `from_arrays`
    again.

    State s with b = (b_1, ..., b_K) left has id s * prod(cap + 1) + ravel(b); terminals are kept
    for every b (each copy is a terminal). A help whose calls are spent is not offered.
    """
    cap = np.broadcast_to(np.asarray(cap, int), (table["num_actions"] - 1,))
    shape = tuple(cap + 1)
    copies = int(np.prod(shape))
    left = np.stack(np.unravel_index(np.arange(copies), shape), axis=1)  # [copies, K]
    entries = []
    for b in range(copies):
        for s, a, t, p in zip(
            table["state"], table["action"], table["next_state"], table["prob"], strict=True
        ):
            after = left[b].copy()
            if a > 0:
                after[a - 1] -= 1
                if after[a - 1] < 0:
                    continue
            entries.append((s * copies + b, a, t * copies + np.ravel_multi_index(after, shape), p))
    state, action, next_state, prob = (np.array(x) for x in zip(*entries, strict=True))

    def every(ids):
        return (np.atleast_1d(ids)[:, None] * copies + np.arange(copies)).ravel()

    return {
        "state": state,
        "action": action,
        "next_state": next_state,
        "prob": prob,
        "num_states": table["num_states"] * copies,
        "num_actions": table["num_actions"],
        "success": every(table["success"]),
        "failure": every(table["failure"]),
        "start": np.atleast_1d(table["start"]) * copies + copies - 1,
        "start_weight": table.get("start_weight"),
    }
