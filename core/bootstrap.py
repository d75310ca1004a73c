"""How sure the success and usage of a plan are, by resampling tasks; see `core.dp`."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from core import checks, solver
from core.evaluation import evaluate
from core.plan import Plan
from core.table import TransitionTable

_CHUNK_ELEMENTS = 2**22  # of draws held at once: 32 MB of float64, unless one resample is more


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Bootstrap:
    """Percentile intervals over B resamples of the tasks.

    Attributes:
      success: expected success of the plan on the table as it is.
      success_interval: [2] low, high.
      usage: [K] expected usage on the table as it is.
      usage_interval: [K, 2].
      success_draws: [B].
      usage_draws: [B, K].
    """

    success: float
    success_interval: np.ndarray
    usage: np.ndarray
    usage_interval: np.ndarray
    success_draws: np.ndarray
    usage_draws: np.ndarray


def bootstrap(
    table: TransitionTable,
    plan: Plan,
    *,
    groups: Any = None,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    discount: float = 1.0,
) -> Bootstrap:
    """Intervals for the success and usage of a plan, as if other tasks had been drawn.

    Each resample draws as many tasks as there are, with replacement, and weighs each task's start
    states by how often it was drawn; tasks of no weight are none. The plan stays as it is. What the
    table itself does not know, the transition probabilities, is not resampled.

    Args:
      table: the table the plan was made for.
      plan: the mixture of policies.
      groups: [G] the task of each start state, any integers; None: each is a task of its own.
      num_resamples: B.
      level: of the intervals, in (0, 1).
      seed: of the draws.
      discount: gamma, as for the plan.

    Raises:
      ValueError: for arguments out of range, a plan of another table, or fewer than two
        tasks of some weight.
    """
    num_resamples = checks.whole("num_resamples", num_resamples, 1, 2**31 - 1)
    level = checks.in_range("level", level, 0.0, 1.0, open_low=True, open_high=True)
    if plan.policy.shape[1] != table.num_states or plan.policy_usage.shape[1] != table.num_helps:
        raise ValueError(
            f"plan is for S = {plan.policy.shape[1]} states and K = {plan.policy_usage.shape[1]} "
            f"helps, expected those of the table, {table.num_states} and {table.num_helps}."
        )
    num_starts = table.start.size
    groups = np.arange(num_starts) if groups is None else np.asarray(groups)
    if groups.shape != (num_starts,) or groups.dtype.kind not in "iu":
        raise ValueError(
            f"groups must be [G] = [{num_starts}] integers, got shape {groups.shape}, "
            f"dtype {groups.dtype}."
        )
    possible = table.start_weight > 0
    start, weight = table.start[possible], table.start_weight[possible]
    names, group = np.unique(groups[possible], return_inverse=True)
    if names.size < 2:
        raise ValueError(f"groups must name at least 2 tasks of some weight, got {names.size}.")
    reached = evaluate(table, plan.policy.T, discount=discount)
    outcome = np.concatenate(
        [reached.success[start][..., None], reached.usage[start]], axis=-1
    )  # [G, J, 1 + K]
    mixed = np.einsum("gjk,j->gk", outcome, plan.weight) * weight[:, None]
    total = np.zeros((names.size, 2 + table.num_helps))
    np.add.at(total, group, np.column_stack([weight, mixed]))
    dtype, context = solver.precision(None)
    with context:
        keys = jax.random.split(jax.random.key(seed), num_resamples)
        chunk = int(np.clip(_CHUNK_ELEMENTS // total.size, 1, num_resamples))
        draws = np.asarray(_resamples(keys, jnp.asarray(total, dtype), chunk=chunk))
    tail = (1.0 - level) / 2.0
    low_high = np.quantile(draws, [tail, 1.0 - tail], axis=0)  # [2, 1 + K]
    point = total[:, 1:].sum(axis=0) / total[:, 0].sum()
    return Bootstrap(
        success=float(point[0]),
        success_interval=low_high[:, 0],
        usage=point[1:],
        usage_interval=low_high[:, 1:].T,
        success_draws=draws[:, 0],
        usage_draws=draws[:, 1:],
    )


def _resample(key: jax.Array, total: jax.Array) -> jax.Array:
    """[1 + K] of one resample; total is [tasks, 2 + K]: weight, weighted success and usage."""
    drawn = jax.random.randint(key, (total.shape[0],), 0, total.shape[0])
    summed = total[drawn].sum(axis=0)
    return summed[1:] / summed[0]


@functools.partial(jax.jit, static_argnames=("chunk",))
def _resamples(keys: jax.Array, total: jax.Array, *, chunk: int) -> jax.Array:
    """[B, 1 + K] of the resample of each key, `chunk` of them at once; which, changes no draw."""
    return jax.lax.map(lambda key: _resample(key, total), keys, batch_size=chunk)
