import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import instances, peers
from tests.oracles import lp
from tests.oracles.problem import Problem as OracleProblem

COSTS = np.array([1.0, 0.003, 0.05, 0.3])
# One of each family, a case of several helps, and one without any order among its states.
INSTANCES = [
    instances.layered(1000),
    instances.layered(200, seed=1, num_helps=3),
    instances.scattered(300, seed=2),
    instances.random(300),
    instances.skewed(300),
]


@pytest.fixture(scope="module", params=INSTANCES, ids=lambda instance: instance.name)
def instance(request):
    return request.param


@pytest.fixture(scope="module")
def optimal(instance):
    """V [S, R] by HiGHS on the value program."""
    problem = OracleProblem.of(**instance.table_arguments())
    values = [
        lp.values(problem, np.full(instance.num_actions - 1, cost), discount=instance.discount)
        for cost in COSTS
    ]
    return np.stack(values, axis=1)[: instance.num_states - 2]


@pytest.fixture(params=peers.PEERS)
def peer(request):
    peer = peers.PEERS[request.param]
    if not peer.installed():
        pytest.skip(f"{peer.package} is not installed")
    return peer


# pymdptoolbox compares sparse matrices with zero.
@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
def test_peer_finds_the_optimal_value_of_every_state(peer, instance, optimal):
    value = peer.build(peers.from_instance(instance))(COSTS)
    assert value.shape == optimal.shape
    np.testing.assert_allclose(value, optimal, rtol=0, atol=peers.ACCURACY)


@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
def test_answers_do_not_hang_on_what_was_asked_before(peer):
    solve = peer.build(peers.from_instance(instances.layered(100)))
    together = solve(np.array([0.3, 0.003, 0.3]))
    np.testing.assert_allclose(together[:, 0], together[:, 2], rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        solve(np.array([0.003]))[:, 0], together[:, 1], rtol=0, atol=2 * peers.ACCURACY
    )


def test_double_precision_in_mdpax_ends_with_its_call():
    pytest.importorskip("mdpax", reason="mdpax is not installed")
    peers.PEERS["mdpax"].build(peers.from_instance(instances.layered(100)))(COSTS)
    assert jnp.ones(1).dtype == jnp.float32


def test_many_costs_keep_their_order_though_some_finish_first():
    many, one = peers.PEERS["numba-many"], peers.PEERS["numba"]
    if not many.installed():
        pytest.skip("numba is not installed")
    problem = peers.from_instance(instances.layered(100))
    costs = np.random.default_rng(0).permutation(np.geomspace(1e-3, 1.0, 40))
    np.testing.assert_allclose(
        many.build(problem)(costs), one.build(problem)(costs), rtol=0, atol=peers.ACCURACY
    )


def test_problem_keeps_what_the_instance_says():
    instance = instances.random(100, num_helps=2)
    problem = peers.from_instance(instance)
    dense = np.zeros((100, 3, 100))
    dense[instance.state, instance.action, instance.next_state] = instance.prob
    inner = dense[:98].reshape(98 * 3, 100)
    np.testing.assert_array_equal(problem.transition.toarray(), inner[:, :98])
    np.testing.assert_array_equal(problem.exit_success, inner[:, instance.success])
    np.testing.assert_array_equal(
        problem.reward(0.25), problem.exit_success - np.tile([0, 0.25, 0.25], 98)
    )


def test_closed_problem_sends_every_ending_to_one_more_state():
    problem = peers.from_instance(instances.random(100))
    closed = problem.closed().toarray()
    assert closed.shape == (99 * 2, 99)
    assert closed.min() >= 0
    np.testing.assert_allclose(closed.sum(axis=1), 1.0, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(closed[: 98 * 2, :98], problem.transition.toarray())
    np.testing.assert_array_equal(closed[98 * 2 :, 98], 1.0)


def test_expected_value_weighs_the_starts():
    problem = peers.from_instance(instances.layered(100))
    value = np.random.default_rng(0).random((98, 2))
    expected = sum(w * value[s] for s, w in zip(problem.start, problem.start_weight, strict=True))
    np.testing.assert_allclose(problem.at_start(value), expected)
    np.testing.assert_allclose(problem.at_start(value[:, 0]), expected[0])


def test_missing_row_is_named():
    instance = instances.random(100)
    keep = (instance.state != 7) | (instance.action != 1)
    arrays = {
        name: getattr(instance, name)[keep] for name in ("state", "action", "next_state", "prob")
    }
    with pytest.raises(ValueError, match="state 7 lacks action 1"):
        peers.from_instance(dataclasses.replace(instance, **arrays))


def test_missing_package_is_reported_not_raised():
    assert not peers.Peer("no_such_solver", "scipy_csr", "value_iteration").installed()
    assert peers.PEERS["scipy"].installed()
