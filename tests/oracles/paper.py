"""The algorithm printed in arXiv 2502.04576, section 5.3 and appendix E.3, in plain numpy, line by
line.

  M^i(help_j) = [i = j] + discount * P_help_j M^i        M^i(nohelp) = discount * P_nohelp M^i
  dp_i = p_help_i - p_nohelp        dM_i = p_help_i M^i(help_i) - p_nohelp M^i(nohelp)
  ratio_i = dp_i / dM_i; dM_i numerically close to zero: help_i is no candidate
  candidates: r_i < ratio_i; none: nohelp; else the candidate with the least sum_j r_j M^j(a)
  M <- M(chosen); from M = 0, until max |M - M_old| < epsilon

Nothing else: no elimination of self-loops, every state updated from the previous iteration.
"""

import dataclasses

import numpy as np

from tests.oracles.problem import Problem


@dataclasses.dataclass(frozen=True)
class Result:
    policy: np.ndarray  # [S] of the last iteration
    usage: np.ndarray  # [S, K] the fixed point M, if it converged
    converged: bool
    period: int  # 0 if it converged, else the length of the cycle that M has run into
    margin: float  # the least |r_i - ratio_i| and |dM_i| met: how far the run was from a tie
    iterations: int


def run(
    problem: Problem,
    cost,
    action_success: np.ndarray,
    *,
    discount: float = 1.0,
    epsilon: float = 1e-10,
    max_iterations: int = 2000,
    zero: float = 1e-12,
) -> Result:
    move, _, available = problem.dense()
    cost = np.atleast_1d(np.asarray(cost, float))
    helps = problem.num_helps
    states = np.arange(problem.num_states)
    own = np.arange(helps)
    m = np.zeros((problem.num_states, helps))
    history = []
    margin = np.inf
    for iteration in range(1, max_iterations + 1):
        by_action = discount * np.einsum("sat,tk->sak", move, m)  # [S, A, K]
        by_action[:, own + 1, own] += 1.0
        by_action[~available] = 0.0
        p_nohelp, p_help = action_success[:, :1], action_success[:, 1:]
        dp = p_help - p_nohelp
        dm = p_help * by_action[:, own + 1, own] - p_nohelp * by_action[:, 0, :]
        close = np.abs(dm) < zero
        ratio = np.where(close, 0.0, dp / np.where(close, 1.0, dm))
        candidate = ~close & (cost < ratio) & available[:, 1:]
        used = candidate | problem.alive[:, None]
        if used.any():
            margin = min(margin, np.abs(cost - ratio)[used & ~close].min(initial=np.inf))
        total = np.where(candidate, by_action[:, 1:] @ cost, np.inf)
        policy = np.where(candidate.any(axis=1), total.argmin(axis=1) + 1, 0)
        new = by_action[states, policy]
        change = np.abs(new - m).max()
        m = new
        history.append(m)
        if change < epsilon:
            return Result(policy, m, True, 0, margin, iteration)
    for period in range(2, min(64, max_iterations // 2) + 1):
        if all(
            np.abs(history[-1 - i] - history[-1 - i - period]).max() < 1e-9 for i in range(period)
        ):
            return Result(policy, m, False, period, margin, max_iterations)
    return Result(policy, m, False, 0, margin, max_iterations)
