"""Every budget of a help-seeking policy, from a transition table.

The problem. In each state the agent acts on its own (action 0, nohelp) or asks help k = 1..K, which
costs r_k a call; reaching success pays 1. For a policy pi, with exit_success the mass that ends in
success at once,

  S(s)   = exit_success(s, pi) + gamma sum_s' P(s' | s, pi) S(s')        success
  M_k(s) = [pi(s) = k]         + gamma sum_s' P(s' | s, pi) M_k(s')      usage of help k
  V(s)   = S(s) - r . M(s)                                               value

`sweep` finds the best policy for each of many costs r, `frontier` for every r there is, `plan` for
a budget on the expected number of calls, `capped` for a hard cap on it. `evaluate` and
`action_values` say what a given policy is worth. gamma = 1 is the default because a budget counts
calls; a policy that goes round for ever fails, so S and M are the least solutions of their
equations. Rows sum to one within 1e-9, and no more mass than that is taken for none: a cycle left
with 1e-9 or less is never left, and a discount as close to 1 is refused.

Solved by block Gauss-Seidel sweeps of the Bellman operator for all costs at once (`core.bellman`),
stopped by a certified bound: with w the largest expected number of steps under any policy, an error
of at most w max |TV - V|. Results are numpy arrays, whatever device they were computed on.

The method is that of "Self-Regulation and Requesting Interventions" (arXiv 2502.04576), Sections
5.2 to 5.4; what differs is said where it differs.
"""

from core.bootstrap import Bootstrap, bootstrap
from core.capped import Capped, capped
from core.evaluation import ActionValues, Evaluation, action_values, evaluate
from core.frontier import Frontier, frontier
from core.plan import Plan, plan
from core.sweep import Solution, sweep
from core.table import TransitionTable

__all__ = [
    "ActionValues",
    "Bootstrap",
    "Capped",
    "Evaluation",
    "Frontier",
    "Plan",
    "Solution",
    "TransitionTable",
    "action_values",
    "bootstrap",
    "capped",
    "evaluate",
    "frontier",
    "plan",
    "sweep",
]
