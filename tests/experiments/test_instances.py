import dataclasses

import numpy as np
import pytest

from experiments import instances, peers
from experiments.instances import FAMILIES, NUM_LAYERS, Instance

EVERY_FAMILY = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def rows_of(instance):
    return instance.state * instance.num_actions + instance.action


def assert_same(first, second):
    for field in dataclasses.fields(Instance):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))


@EVERY_FAMILY
@pytest.mark.parametrize("num_helps", [1, 3])
def test_every_row_is_a_distribution_over_known_states(family, num_helps):
    instance = family(1000, seed=1, num_helps=num_helps)
    row, num_inner = rows_of(instance), instance.num_states - 2
    assert (instance.success, instance.failure) == (num_inner, num_inner + 1)
    assert (instance.num_states, instance.num_actions) == (1000, num_helps + 1)
    np.testing.assert_array_equal(np.unique(row), np.arange(num_inner * instance.num_actions))
    np.testing.assert_allclose(np.bincount(row, instance.prob), 1.0, rtol=0, atol=1e-12)
    assert instance.prob.min() > 0
    assert instance.next_state.min() >= 0
    assert instance.next_state.max() < instance.num_states
    assert instance.prob.size == instance.num_entries == instance.next_state.size


@EVERY_FAMILY
def test_entries_are_sorted_without_duplicates(family):
    instance = family(1000)
    key = rows_of(instance) * instance.num_states + instance.next_state
    assert (np.diff(key) > 0).all()


@EVERY_FAMILY
def test_starts_are_distinct_inner_states_with_weights_that_sum_to_one(family):
    instance = family(1000)
    assert np.unique(instance.start).size == instance.start.size == instance.start_weight.size
    assert instance.start.max() < instance.success
    assert instance.start_weight.sum() == pytest.approx(1.0, abs=1e-12)
    assert instance.start_weight.min() > 0


@EVERY_FAMILY
def test_seed_decides_the_instance(family):
    assert_same(family(500, seed=3), family(500, seed=3))
    assert not np.array_equal(family(500, seed=3).prob, family(500, seed=4).prob)


@EVERY_FAMILY
def test_help_pays_when_cheap_and_not_when_dear(family):
    problem = peers.from_instance(family(1000))
    solve = peers.PEERS["scipy"].build(problem)
    costs = np.array([0.0, 0.001, 0.03, 0.031, 10.0, 10.001])
    value = problem.at_start(solve(costs))
    usage = -np.diff(value)[::2] / np.diff(costs)[::2]  # V(r) falls by the expected calls
    assert usage[0] > 2
    assert 0.1 < usage[1] < usage[0]
    assert usage[2] == pytest.approx(0, abs=1e-3)


def test_layered_has_the_shape_of_rollouts():
    instance = instances.layered(100_000)
    num_inner = instance.num_states - 2
    row, inner = rows_of(instance), instance.next_state < num_inner
    loop = instance.next_state == instance.state
    num_rows = num_inner * 2
    degree = np.bincount(row)
    assert instance.num_entries / num_inner == pytest.approx(4.9, abs=0.1)
    assert degree.max() == 8
    assert (inner & ~loop).sum() / num_rows == pytest.approx(1.8, abs=0.05)
    assert 0.4 < (degree == 1).mean() < 0.6  # deterministic
    assert 0.15 < loop.sum() / num_rows < 0.3

    layer = np.searchsorted(
        np.arange(1, NUM_LAYERS + 1) * num_inner // NUM_LAYERS, np.arange(num_inner), side="right"
    )
    moves = inner & ~loop
    step = layer[instance.next_state[moves]] - layer[instance.state[moves]]
    assert (step == 1).mean() > 0.8
    goes_back = np.unique(row[moves][step <= 0]).size / num_rows
    assert 0.02 < goes_back < 0.05
    last = layer[instance.state] == NUM_LAYERS - 1
    assert not inner[last].any()
    assert np.unique(instance.next_state[last]).tolist() == [instance.success, instance.failure]
    assert layer[instance.start].max() == 0


def test_random_has_eight_successors_and_two_exits():
    instance = instances.random(20_000)
    degree = np.bincount(rows_of(instance))
    assert degree.max() == 10
    assert degree.mean() == pytest.approx(10, abs=0.01)


def test_skewed_has_few_rows_of_thousands():
    degree = np.bincount(rows_of(instances.skewed(20_000)))
    assert np.median(degree) <= 3
    assert degree.max() > 2000


def test_shuffling_renumbers_the_same_problem():
    instance = instances.layered(500)
    other = instances.shuffled(instance, seed=1)
    assert not np.array_equal(instance.start, other.start)
    key = rows_of(other) * other.num_states + other.next_state
    assert (np.diff(key) > 0).all()
    cost = np.array([0.03])
    values = []
    for problem in map(peers.from_instance, (instance, other)):
        value = peers.PEERS["scipy"].build(problem)(cost)
        values.append((problem.at_start(value), np.sort(value[:, 0])))
    np.testing.assert_allclose(values[0][0], values[1][0], rtol=0, atol=1e-7)
    np.testing.assert_allclose(values[0][1], values[1][1], rtol=0, atol=1e-7)


def test_saved_instance_comes_back(tmp_path):
    instance = instances.random(100, seed=2)
    instance.save(tmp_path / "instance.npz")
    loaded = Instance.load(tmp_path / "instance.npz")
    assert_same(instance, loaded)
    assert [type(value) for value in dataclasses.astuple(loaded)] == [
        type(value) for value in dataclasses.astuple(instance)
    ]


def test_table_arguments_leave_out_name_and_discount():
    arguments = instances.random(100).table_arguments()
    assert {field.name for field in dataclasses.fields(Instance)} - set(arguments) == {
        "name",
        "discount",
    }


@EVERY_FAMILY
def test_impossible_sizes_are_refused(family):
    with pytest.raises(ValueError, match="num_states must be at least 64, got 63"):
        family(63)
    with pytest.raises(ValueError, match="num_helps must be at least 1, got 0"):
        family(64, num_helps=0)
