"""The best policy for a budget on the expected number of calls; see `core.dp` for the problem."""

import dataclasses
from typing import Any

import jax
import numpy as np
import scipy.optimize

from core import checks, solver
from core.table import TransitionTable

_TOLERANCE = 1e-10
_BATCH = 32
_MAX_ROUNDS = 200
# Success a call over budget costs in the master problem, see `_Master`: at first, what it grows by
# where a budget is not met, and at most. Success is 1 at most, so that a budget that can be met is
# then missed by 1e-9 calls at most.
_SHORTFALL, _MORE, _MOST_SHORTFALL = 1e3, 1e3, 1e9
_MET = 1e-9  # calls over budget that count as none


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Plan:
    """A mixture of J <= K + 1 deterministic policies: at the start of an episode one is drawn.

    Attributes:
      budget: [K] expected calls an episode allowed of each help.
      policy: [J, S] int8.
      weight: [J], sums to one.
      policy_success: [J] expected success of each policy.
      policy_usage: [J, K] expected calls of each.
      cost: [K] the prices r at which the budget is what one would buy; 0 where it does not bind.
      expected_success: of the mixture.
      expected_usage: [K] of the mixture; at most the budget.
      upper_bound: no policy within the budget has a higher expected success.
    """

    budget: np.ndarray
    policy: np.ndarray
    weight: np.ndarray
    policy_success: np.ndarray
    policy_usage: np.ndarray
    cost: np.ndarray
    expected_success: float
    expected_usage: np.ndarray
    upper_bound: float


def plan(
    table: TransitionTable,
    budget: Any,
    *,
    discount: float = 1.0,
    gap: float = 1e-7,
    devices: Any = None,
) -> Plan:
    """Maximises expected success subject to expected usage <= budget.

    For every r >= 0 no policy within the budget does better than d(r) = V(r) + r . budget, with
    V(r) the expected value at costs r; and min_r d(r) is reached by a mixture of policies (linear
    programming duality over the mixtures of deterministic policies). d is convex and piecewise
    linear: each solution at a cost r adds the plane of its policy, a linear program (HiGHS) finds
    the next r and the weights of the best mixture so far (Kelley's cutting planes; Dantzig-Wolfe's
    columns). A batch of costs around that r is solved at once.

    Args:
      table: the problem.
      budget: C >= 0, expected calls an episode; a number if K = 1, else [K].
      discount: gamma in (0, 1]; below 1 the budget is one of discounted calls.
      gap: upper_bound - expected_success to stop at. Values are solved to 1e-10, which gaps much
        below 1e-8 run into.
      devices: JAX devices to split the costs over; None is the default device.

    Raises:
      ValueError: for a budget of the wrong shape, below zero, or below what every policy needs.
    """
    discount = checks.discount(discount)
    gap = checks.in_range("gap", gap, 0.0, np.inf)
    array = checks.non_negative("budget", budget)
    num_helps = table.num_helps
    if array.shape not in ((num_helps,), () if num_helps == 1 else (num_helps,)):
        expected = "a number or [1]" if num_helps == 1 else f"[{num_helps}]"
        raise ValueError(f"budget must have shape {expected}, got {array.shape}.")
    array = array.reshape(num_helps)
    devices = checks.devices(devices)
    share = solver.num_shares(devices)
    shape = -(-_BATCH // share) * share, num_helps
    dtype, context = solver.precision(None)
    with context:
        problem = solver.prepare(table, discount, dtype)
        master = _Master(array)
        costs = _first_costs(num_helps)
        for _ in range(_MAX_ROUNDS):
            # At costs r usage must be as exact as success by 1 / r.
            tolerance = _TOLERANCE * _SHORTFALL / master.shortfall
            costs = np.resize(costs, shape)
            block = solver.solve(problem, costs, tolerance=tolerance, devices=devices)
            reached = solver.at_start(problem, block)
            improved = master.add(costs, reached, block.bound)
            master.solve()
            if master.upper_bound - master.success <= gap:
                break
            if not improved:
                if master.is_met or master.shortfall >= _MOST_SHORTFALL:
                    break
                master.shortfall *= _MORE
                master.solve()
            costs = master.next_costs()
        return master.result()


def _first_costs(num_helps: int) -> np.ndarray:
    """[_BATCH, K]: none, far too much of each, and a spread in between."""
    spread = np.random.default_rng(0).uniform(-4.0, 0.0, (_BATCH - 2, num_helps))
    if num_helps == 1:
        spread = np.linspace(-4.0, 0.0, _BATCH - 2)[:, None]
    ends = np.array([[0.0], [2 * _SHORTFALL]]) * np.ones(num_helps)
    return np.concatenate([ends, 10.0**spread])


class _Master:
    """The linear program over the policies found so far.

      max sum_j w_j S_j - shortfall  s.t.  sum_j w_j U_j <= budget + excess,  sum_j w_j = 1.

    The excess, at a price above what calls are worth, keeps the program feasible until a policy
    within the budget is found.
    """

    def __init__(self, budget: np.ndarray):
        self.budget = budget
        self.shortfall = _SHORTFALL
        self.success_of = np.zeros(0)
        self.usage_of = np.zeros((0, budget.size))
        self.policies: list[np.ndarray] = []
        self.upper_bound = np.inf
        self.best_cost = np.zeros(budget.size)
        self._tried: set[bytes] = set()

    def add(self, costs: np.ndarray, reached: solver.AtStart, bound: np.ndarray) -> bool:
        """Takes in solved costs; whether any gave a new policy or a better bound."""
        value = reached.success - (reached.usage * costs).sum(axis=1)
        dual = value + bound + costs @ self.budget
        best = int(np.argmin(dual))
        improved = False
        if dual[best] < self.upper_bound:
            self.upper_bound, self.best_cost = float(dual[best]), costs[best]
            improved = True
        for j in range(len(costs)):
            policy = reached.policy[j]
            key = np.concatenate([[reached.success[j]], reached.usage[j]]).round(12).tobytes()
            if key not in self._tried:
                self._tried.add(key)
                self.success_of = np.append(self.success_of, reached.success[j])
                self.usage_of = np.concatenate([self.usage_of, reached.usage[j : j + 1]])
                self.policies.append(policy)
                improved = True
        return improved

    def solve(self) -> None:
        """Weights, success, the prices of the budget and what is over it."""
        num_helps, num_policies = self.budget.size, len(self.policies)
        found = scipy.optimize.linprog(
            np.concatenate([-self.success_of, np.full(num_helps, self.shortfall)]),
            A_ub=np.hstack([self.usage_of.T, -np.eye(num_helps)]),
            b_ub=self.budget,
            A_eq=np.concatenate([np.ones(num_policies), np.zeros(num_helps)])[None],
            b_eq=[1.0],
            method="highs-ds",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )
        if not found.success:
            raise RuntimeError(f"HiGHS could not solve the master problem: {found.message}")
        self.weight = np.maximum(found.x[:num_policies], 0.0)
        self.weight /= self.weight.sum()
        self.excess = found.x[num_policies:]
        self.price = np.maximum(-found.ineqlin.marginals, 0.0)
        self.is_met = self.excess.max() <= _MET
        self.success = float(self.success_of @ self.weight) if self.is_met else -np.inf

    def next_costs(self) -> np.ndarray:
        """[_BATCH, K] the price the program asks for, and costs around it and towards the best."""
        toward = np.linspace(0.0, 1.0, _BATCH // 2, endpoint=False)[:, None]
        line = self.price + toward * (self.best_cost - self.price)
        count = _BATCH - len(line)
        step = 0.5 ** (1 + np.arange(count) // 2 // self.budget.size)[:, None]
        sign = np.where(np.arange(count) % 2 == 0, 1.0, -1.0)[:, None]
        axis = np.eye(self.budget.size)[np.arange(count) // 2 % self.budget.size]
        around = self.price * (1.0 + sign * step * axis)
        return np.minimum(np.concatenate([line, around]), 2 * self.shortfall)

    def result(self) -> Plan:
        if not self.is_met:
            k = int(np.argmax(self.excess))
            raise ValueError(
                f"budget[{k}] = {self.budget[k]:.12g} cannot be met: every policy needs more, "
                f"within the other budgets at least {self.budget[k] + self.excess[k]:.12g} "
                f"expected calls of help {k + 1}."
            )
        support = np.flatnonzero(self.weight > 1e-12)
        weight = self.weight[support] / self.weight[support].sum()
        usage = weight @ self.usage_of[support]
        return Plan(
            budget=self.budget,
            policy=np.stack([self.policies[j] for j in support]),
            weight=weight,
            policy_success=self.success_of[support],
            policy_usage=self.usage_of[support],
            cost=self.price,
            expected_success=float(weight @ self.success_of[support]),
            expected_usage=usage,
            upper_bound=max(self.upper_bound, float(weight @ self.success_of[support])),
        )
