"""What the loops rely on: feedback nodes, residuals, and where new costs begin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core import bellman, dp, rules, solver
from core.table import TransitionTable
from core.tangents import Known
from experiments import instances

COSTS = np.array([[0.003], [0.1], [0.7]])


def prepared(family, num_states, discount=0.97, num_helps=1):
    instance = instances.FAMILIES[family](num_states, 1, num_helps)
    table = TransitionTable.from_arrays(**instance.table_arguments())
    return solver.prepare(table, discount, np.dtype(np.float64))


def worth(block):
    """[N, R] V = S - r.M."""
    return block.success - sum(r * m for r, m in zip(block.costs.T, block.usage, strict=True))


def all_allowed(problem, num_costs):
    return jnp.repeat(jnp.asarray(problem.backups.offered)[:, None], num_costs, axis=1)


@pytest.fixture(autouse=True)
def _wide():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize(
    ("family", "num_states", "helps"),
    [("layered", 100, 1), ("layered", 1500, 1), ("skewed", 1500, 1), ("layered", 1500, 4)],
)
def test_a_sweep_is_a_function_of_the_feedback_nodes(family, num_states, helps):
    problem = prepared(family, num_states, num_helps=helps)
    backups, rng = problem.backups, np.random.default_rng(0)

    def update(tile, values):
        return sum(bellman.expectation(tile, values))

    sweep = jax.jit(lambda values: bellman.sweep(backups, update, values))
    one, other = rng.random((2, problem.num_nodes, len(COSTS)))
    feedback = np.asarray(backups.feedback)
    other[feedback] = one[feedback]
    np.testing.assert_array_equal(sweep(jnp.asarray(one)), sweep(jnp.asarray(other)))
    if feedback.size < problem.num_nodes:  # and of all of them, where they are not simply all nodes
        for node in feedback[:: max(1, feedback.size // 8)]:
            changed = one.copy()
            changed[node] += 1.0
            assert (sweep(jnp.asarray(changed)) != sweep(jnp.asarray(one))).any()


@pytest.mark.parametrize("helps", [1, 4])  # with 4 most wide rows are auxiliary nodes
def test_few_nodes_of_a_layered_table_are_feedback(helps):
    backups = prepared("layered", 20_000, num_helps=helps).backups
    assert backups.feedback.size < 0.15 * backups.offered.size


@pytest.mark.parametrize("family", ["layered", "random"])
@pytest.mark.parametrize("max_sweeps", [3, 7, 1000])
def test_the_last_change_bounds_the_residual(family, max_sweeps):
    problem = prepared(family, 1500)
    prices, allowed = jnp.asarray(COSTS.T), all_allowed(problem, len(COSTS))
    reached = rules.maximize(
        problem.backups,
        jnp.full((problem.num_nodes, len(COSTS)), 1e30),
        jnp.zeros((problem.backups.feedback.size, len(COSTS))),
        allowed,
        1.0,
        prices,
        target=1e-9,
        max_sweeps=max_sweeps,
        extrapolate=True,
    )
    rows = problem.backups

    def visit(tile, carry):
        q = bellman.backup(tile, reached.values, 1.0, prices)
        best = bellman.best_allowed(q, bellman.own(tile, rows.offered)[:, None])
        return bellman.write(tile, carry, best)

    again = bellman.visit_tiles(rows, visit, jnp.zeros_like(reached.values))
    residual = np.abs(again - reached.values).max(axis=0)
    assert (residual <= np.asarray(reached.change) + 1e-15).all()
    assert (np.asarray(reached.iterations) <= max_sweeps).all()
    assert max_sweeps < 1000 or (np.asarray(reached.change) <= 1e-9).all()


@pytest.mark.parametrize("num_helps", [1, 2])
def test_new_costs_begin_below_their_values_and_near_them(num_helps):
    problem = prepared("layered", 1500, num_helps=num_helps)
    rng = np.random.default_rng(3)
    known_costs = np.sort(10.0 ** rng.uniform(-3, 0, (12, num_helps)), axis=0)
    costs = known_costs[3:9] * rng.uniform(0.9, 1.1, (6, num_helps))
    first = solver.solve(problem, known_costs, tolerance=1e-10)
    known = Known.of(problem, first, range(12))
    value, negative = known.start(costs)
    solved = solver.solve(problem, costs, tolerance=1e-10)
    best = worth(solved)[np.asarray(problem.backups.feedback)]
    assert (value <= best + 1e-9).all()
    assert np.abs(value - best).max() < 0.05 < np.abs(best).max()
    warm = solver.solve(problem, costs, tolerance=1e-10, start=(value, negative))
    np.testing.assert_allclose(worth(warm), worth(solved), atol=2e-10)
    np.testing.assert_array_equal(warm.policy, solved.policy)
    assert warm.iterations.max() < solved.iterations.max()


def test_known_costs_begin_where_they_end():
    problem = prepared("layered", 1500)
    solved = solver.solve(problem, COSTS, tolerance=1e-10)
    known = Known.of(problem, solved, range(3))
    value, _ = known.start(COSTS)
    best = worth(solved)[np.asarray(problem.backups.feedback)]
    np.testing.assert_allclose(value, best, atol=1e-9)
    both = known.and_others(Known.of(problem, solved, [1]))
    assert len(both.success) == len(both.usage) == len(both.costs) == 4


def test_a_block_that_is_done_with_lends_its_memory():
    problem = prepared("layered", 1500, num_helps=2)
    costs = np.repeat(COSTS, 2, axis=1)
    fresh = solver.solve(problem, costs, tolerance=1e-10)
    spent = solver.solve(problem, costs[::-1] / 2, tolerance=1e-10)
    again = solver.solve(problem, costs, tolerance=1e-10, spent=spent)
    for name in ("success", "usage", "policy"):
        np.testing.assert_array_equal(getattr(again, name), getattr(fresh, name))
    assert spent.success.is_deleted() and all(m.is_deleted() for m in spent.usage)


def test_chunks_agree_where_help_can_go_round_for_ever():
    num_states, rng = 60, np.random.default_rng(2)
    states, success = np.arange(num_states), 0.6 * rng.random(num_states)
    table = TransitionTable.from_arrays(  # help leads round, nohelp ends
        state=np.tile(states, 3),
        action=np.repeat([1, 0, 0], num_states),
        next_state=np.concatenate([rng.permutation(num_states), *np.repeat([[60], [61]], 60, 1)]),
        prob=np.concatenate([np.ones(num_states), success, 1 - success]),
        num_states=num_states + 2,
        num_actions=2,
        success=num_states,
        failure=num_states + 1,
        start=states,
    )
    costs = np.append(0.0, np.geomspace(1e-3, 1, 11))
    whole, parts = (dp.sweep(table, costs, chunk=chunk) for chunk in (12, 4))
    assert whole.converged.all() and parts.converged.all()
    np.testing.assert_array_equal(parts.policy, whole.policy)
    np.testing.assert_allclose(parts.usage, whole.usage, atol=1e-9)
