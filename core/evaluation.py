"""What a given policy is worth: success and usage at every state, and of each action taken once."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from core import bellman, certificate, checks, cycles, rules, solver
from core.table import TransitionTable

_FIRST_SWEEPS = 1000  # before it is asked whether the policy goes round for ever
_MAX_SWEEPS = 10_000_000
_MANY_STEPS = 1e-2 / bellman.NO_MASS  # from which on they may go by what is taken for no mass
_CHUNK_ELEMENTS = 2**23  # nodes x policies held at once, unless that is fewer than _MIN_CHUNK
_MIN_CHUNK = 16
_SUM_TOLERANCE = 1e-6


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Success and usage of one policy, or of R policies ([..., R] where R is given in brackets).

    Attributes:
      success: [S (, R)] S(s).
      usage: [S (, R), K] M_k(s); inf where help k is called without end.
      expected_success: [(R)] over the start distribution.
      expected_usage: [(R,) K] likewise.
    """

    success: np.ndarray
    usage: np.ndarray
    expected_success: np.ndarray
    expected_usage: np.ndarray


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ActionValues:
    """What follows an action taken once, when a policy is followed after it.

    Attributes:
      success: [S, A], NaN where the action is not available.
      usage: [S, A, K], the action's own call included; NaN likewise.
      available: [S, A] bool.
    """

    success: np.ndarray
    usage: np.ndarray
    available: np.ndarray

    def advantage(self, costs: Any) -> np.ndarray:
        """[S, K] gain of each help over nohelp, (S_k - S_0) - r.(M_k - M_0).

        The target a helper is trained on: help is worth asking for where it is above zero. NaN
        where help or nohelp is not available, or both call without end at a cost.

        Args:
          costs: r from 0 to 1e12, a number or [K].
        """
        num_helps = self.usage.shape[-1]
        r = np.broadcast_to(checks.prices("costs", costs), (num_helps,))
        spent = np.where(r > 0, self.usage, 0.0) * r  # for ever at no cost is no cost
        value = self.success - spent.sum(axis=-1)
        with np.errstate(invalid="ignore"):  # -inf from -inf
            return value[:, 1:] - value[:, :1]


def evaluate(
    table: TransitionTable,
    policy: Any,
    *,
    discount: float = 1.0,
    tolerance: float = 1e-10,
    dtype: Any = None,
) -> Evaluation:
    """Success and usage of any policy: the least solution of

      S(s)   = sum_a pi(a | s) (exit_success(s, a) + gamma sum_s' P(s' | s, a) S(s')),
      M_k(s) = pi(k | s) + gamma sum_a pi(a | s) sum_s' P(s' | s, a) M_k(s').

    This is how a trained helper's behaviour is forecast on the tables of tasks it has not seen,
    without a new rollout. At discount 1, states from which the policy goes round for ever count as
    failure there, and usage is inf where it calls help for ever on the way.

    Args:
      table: the problem.
      policy: deterministic, integers [S] or, for R policies, [S, R]; or stochastic, floats [S, A]
        or [S, A, R] that sum to one over A. Where a state has no action its policy is not read.
      discount: gamma in (0, 1].
      tolerance: how far success and finite usage may be from those of the policy. Rounding adds
        about 1e-15 (float32: 1e-6) of the largest value, times the expected steps to the end.
      dtype: float32 or float64; None is float64, except on TPUs.

    Raises:
      ValueError: for a policy of wrong shape, or that takes an action that is not available.
      RuntimeError: the policy takes so long to end that sweeps do not come to rest.
    """
    discount = checks.discount(discount)
    tolerance = checks.in_range("tolerance", tolerance, 0.0, np.inf, open_low=True)
    dtype, context = solver.precision(dtype)
    batch, is_batch = check_policy(table, policy)
    num_policies = batch.shape[-1]
    size = min(num_policies, max(_MIN_CHUNK, _CHUNK_ELEMENTS // table.layout.num_nodes))
    parts = []
    with context:
        backups = bellman.discount_rows(
            table.layout, discount, dtype, eliminate=(False,) * table.num_actions
        )
        for first in range(0, num_policies, size):
            columns = np.minimum(np.arange(first, first + size), num_policies - 1)
            mixture = _mixture(table, batch[..., columns])
            part = _evaluate(table, backups, mixture, discount, tolerance, dtype)
            parts.append([array[:, : num_policies - first] for array in part])
    success, usage = (np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))
    success[table.terminal == 1] = 1.0
    if not is_batch:
        success, usage = success[:, 0], usage[:, 0]
    possible = table.start_weight > 0  # where there is no weight, usage without end is none
    start, weight = table.start[possible], table.start_weight[possible]
    return Evaluation(
        success=success,
        usage=usage,
        expected_success=weight @ success[start],
        expected_usage=np.tensordot(weight, usage[start], 1),
    )


def action_values(
    table: TransitionTable,
    policy: Any,
    *,
    discount: float = 1.0,
    tolerance: float = 1e-10,
    dtype: Any = None,
) -> ActionValues:
    """Success and usage of each action taken once, the policy followed after it.

      S(s, a)   = exit_success(s, a) + gamma sum_s' P(s' | s, a) S(s')
      M_k(s, a) = [a = k] + gamma sum_s' P(s' | s, a) M_k(s')

    Their differences are what a helper learns, see `ActionValues.advantage`. Actions that are not
    available are marked by NaN, not filled.

    Args:
      table, discount, tolerance, dtype: see `evaluate`.
      policy: one policy, [S] or [S, A].

    Raises:
      ValueError: see `evaluate`; and for a batch of policies.
    """
    if check_policy(table, policy)[1]:
        raise ValueError(f"policy must be one policy, [S] or [S, A], got {np.shape(policy)}.")
    reached = evaluate(table, policy, discount=discount, tolerance=tolerance, dtype=dtype)
    num_rows = table.available.size
    step = scipy.sparse.csr_matrix(
        (table.prob, table.successor, table.indptr), shape=(num_rows, table.num_states)
    )
    shape = table.available.shape
    success = table.exit_success + discount * (step @ reached.success).reshape(shape)
    usage = np.zeros((*shape, table.num_helps))
    for k in range(table.num_helps):
        finite = np.isfinite(reached.usage[:, k])
        later = step @ np.where(finite, reached.usage[:, k], 0.0)
        later[step @ (~finite).astype(float) > 0] = np.inf
        usage[..., k] = discount * later.reshape(shape)
        usage[:, k + 1, k] += 1.0
    success[~table.available] = np.nan
    usage[~table.available] = np.nan
    return ActionValues(success, usage, table.available)


def check_policy(table: TransitionTable, policy: Any) -> tuple[np.ndarray, bool]:
    """The policies as integers [S, R] or weights [S, A, R], and whether it was a batch."""
    policy = checks.as_array("policy", policy)
    num_states, num_actions = table.available.shape
    acts = table.available.any(axis=1)
    deterministic = policy.dtype.kind in "iu"
    if policy.dtype.kind not in "iuf":
        raise ValueError(f"policy must be integers or floats, got dtype {policy.dtype}.")
    lead = (num_states,) if deterministic else (num_states, num_actions)
    shapes = len(lead), len(lead) + 1
    if policy.shape[: len(lead)] != lead or policy.ndim not in shapes or policy.size == 0:
        raise ValueError(
            f"policy must be integers [S (, R)] or floats [S, A (, R)] with S = {num_states}, "
            f"A = {num_actions}, got shape {policy.shape} of {policy.dtype}."
        )
    is_batch = policy.ndim == len(lead) + 1
    read = acts.reshape(-1, *[1] * (policy.ndim - 1))
    if deterministic:
        off = read & ((policy < 0) | (policy >= num_actions))
        checks.first("policy", policy, off, f"an action in 0..{num_actions - 1}")
        batch = policy.reshape(num_states, -1)
        inside = np.where(acts[:, None], batch, 0)
        taken = acts[:, None] & ~np.take_along_axis(table.available, inside, axis=1)
    else:
        off = read & ~((policy >= 0) & (policy <= 1.0 + _SUM_TOLERANCE))
        checks.first("policy", policy, off, "a number in [0, 1]")
        batch = policy.reshape(num_states, num_actions, -1)
        total = batch.sum(axis=1, dtype=np.float64)
        off = acts[:, None] & (np.abs(total - 1.0) > _SUM_TOLERANCE)
        if off.any():
            s, j = np.argwhere(off)[0]
            where = f"policy[{s}, :, {j}]" if is_batch else f"policy[{s}]"
            raise ValueError(f"{where} sums to {total[s, j]}, expected 1 within {_SUM_TOLERANCE}.")
        taken = acts[:, None] & ((batch > 0) & ~table.available[:, :, None]).any(axis=1)
    if taken.any():
        s, j = np.argwhere(taken)[0]
        where = f"policy[{s}, {j}]" if is_batch else f"policy[{s}]"
        weights = (batch[s, j] == np.arange(num_actions)) if deterministic else batch[s, :, j] > 0
        raise ValueError(
            f"{where} takes action {np.flatnonzero(weights & ~table.available[s])[0]}, which is "
            f"not available in state {s}; expected one of "
            f"{np.flatnonzero(table.available[s]).tolist()}."
        )
    return batch, is_batch


def _mixture(table: TransitionTable, batch: np.ndarray) -> np.ndarray:
    """[S, A, R] weights of policies that `check_policy` let pass; 0 where there is no action."""
    acts = table.available.any(axis=1)
    if batch.ndim == 3:
        return np.where(acts[:, None, None], batch.astype(np.float64), 0.0)
    actions = np.arange(table.num_actions)[None, :, None]
    return ((batch[:, None] == actions) & acts[:, None, None]).astype(np.float64)


def _evaluate(table, backups, mixture, discount, tolerance, dtype):
    """success [S, R] and usage [S, R, K] of the weights [S, A, R]."""
    num_states, num_actions, num_policies = mixture.shape
    row = table.entry_row
    loop = row // num_actions == table.successor
    stay = discount * np.bincount(row[loop], table.prob[loop], num_states * num_actions)
    onward = discount * np.bincount(row[~loop], table.prob[~loop], num_states * num_actions)
    stay, onward = stay.reshape(mixture.shape[:2]), onward.reshape(mixture.shape[:2])
    only_loops = stay >= 1.0 - bellman.NO_MASS
    # Not less than the mass known to leave, so that shares of it are never more than all.
    leave = np.where(only_loops, 0.0, np.maximum(1.0 - stay, onward + table.exit_success))

    # While it loops in s the policy acts 1 / total times. `weights`: how often it takes each action
    # that may leave s; `calls`: how often it has called each help by then.
    total = (mixture * leave[:, :, None]).sum(axis=1, keepdims=True)
    acts = np.where(total > 0, 1.0 / np.where(total > 0, total, 1.0), 0.0)
    weights = mixture * ~only_loops[:, :, None] * acts
    calls = mixture[:, 1:] * acts
    gain = (table.exit_success[:, :, None] * weights).sum(axis=1)

    def to_nodes(values, fill=0.0):
        nodes = np.full((table.layout.num_nodes, num_policies), fill, dtype)
        nodes[table.layout.position] = values
        return jnp.asarray(nodes)

    def run(at_once, target, max_sweeps):
        # Parts of wide rows are no states: they always take their one row, action 0.
        share = tuple(to_nodes(weights[:, a], fill=float(a == 0)) for a in range(num_actions))
        return rules.evaluate(backups, share, at_once, target=target, max_sweeps=max_sweeps)

    def expected_steps(max_sweeps):
        """[R] of a certificate (`core.certificate`) of each policy; inf where none is found."""
        found = run(to_nodes(1.0, fill=1.0), certificate.GROWTH, max_sweeps)
        return certificate.largest(found.values, found.change)

    endless = np.zeros((num_states, num_policies, num_actions - 1), bool)
    steps = expected_steps(_FIRST_SWEEPS if discount == 1.0 else _MAX_SWEEPS)
    if discount == 1.0:
        suspect = (steps > _MANY_STEPS) | (only_loops[:, :, None] & (mixture > 0)).any(axis=(0, 1))
        for j in np.flatnonzero(suspect):
            recurrent, endless[:, j] = cycles.endless_usage(table, mixture[:, :, j])
            weights[recurrent, :, j] = 0.0
            calls[recurrent, :, j] = 0.0
            gain[recurrent, j] = 0.0
        if (steps > _MANY_STEPS).any():
            steps = expected_steps(_MAX_SWEEPS)
    found = []
    for at_once in (gain, *np.moveaxis(calls, 1, 0)):
        target = jnp.asarray(tolerance / steps, dtype)
        found.append(run(to_nodes(at_once), target, _MAX_SWEEPS))
    at_rest = np.isfinite(steps)
    for one in found:
        at_rest &= np.asarray(one.iterations) < _MAX_SWEEPS
    if not at_rest.all():
        raise RuntimeError(
            f"policy {np.argmin(at_rest)} of {num_policies} takes too long to end: {_MAX_SWEEPS} "
            f"sweeps in {np.dtype(dtype)} do not come to rest."
        )
    success, *usage = (np.array(one.values)[table.layout.position] for one in found)
    usage = np.stack(usage, axis=-1)
    usage[endless] = np.inf
    return success, usage
