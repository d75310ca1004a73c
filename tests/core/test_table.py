"""Tables and their layout: what is stored, how it is packed, and what a prior does to it."""

import jax
import numpy as np
import pytest

from core.layout import MAX_WIDTH
from core.transitions import FAILURE, SUCCESS, TRUNCATED, TransitionCounts, TransitionTable
from experiments import instances


def build(instance: instances.Instance) -> TransitionTable:
    return TransitionTable.from_arrays(**instance.table_arguments())


def unpacked(table: TransitionTable) -> np.ndarray:
    """[S, A, S] transitions read back from the tiles, auxiliary rows resolved."""
    layout = table.layout
    num_actions = table.num_actions
    step = np.zeros((layout.num_nodes, num_actions, layout.num_nodes))
    for tiles in layout.classes:
        action_of_slot = np.repeat(np.arange(num_actions), tiles.widths)
        for t, k, b in np.argwhere(tiles.prob > 0):
            node = tiles.offset[t] + b
            step[node, action_of_slot[k], tiles.node[t, k, b]] += tiles.prob[t, k, b]
        for t, a, b in np.argwhere(tiles.self_prob > 0):
            node = tiles.offset[t] + b
            step[node, a, node] += tiles.self_prob[t, a, b]
    is_state = np.zeros(layout.num_nodes, bool)
    is_state[layout.position] = True
    while step[:, :, ~is_state].any():  # parts of wide rows: replace them by what they sum
        parts, sums = step[:, :, ~is_state], step[~is_state, 0].copy()
        step[:, :, ~is_state] = 0.0
        step += np.einsum("nap,pm->nam", parts, sums)
    return step[layout.position][:, :, layout.position]


@pytest.mark.parametrize(
    ("family", "num_states", "helps"),
    [
        ("layered", 100, 1),
        ("skewed", 100, 1),
        ("layered", 700, 1),
        ("skewed", 700, 1),
        ("layered", 520, 3),
    ],
)
def test_tiles_hold_the_entries(family, num_states, helps):
    table = build(instances.FAMILIES[family](num_states, num_helps=helps))
    dense = np.zeros((table.num_states * table.num_actions, table.num_states))
    dense[table.entry_row, table.successor] = table.prob
    expected = dense.reshape(table.num_states, table.num_actions, -1)
    np.testing.assert_allclose(unpacked(table), expected, atol=1e-12)


@pytest.mark.parametrize("family", ["layered", "random", "skewed"])
@pytest.mark.parametrize(
    ("num_states", "helps"),
    [(1_000, 1), (10_000, 1), (100_000, 1), (1_000, 3), (1_000, 5), (10_000, 5), (1_000, 7)],
)
def test_padding_is_at_most_half_of_the_entries(family, num_states, helps):
    instance = instances.FAMILIES[family](num_states, num_helps=helps)
    layout = build(instance).layout
    assert layout.num_slots <= 1.5 * instance.num_entries
    assert max(max(tiles.widths) for tiles in layout.classes) <= MAX_WIDTH


def test_arrays_are_read_only_and_those_of_the_caller_are_not():
    arguments = instances.layered(600).table_arguments()
    table = TransitionTable.from_arrays(**arguments)
    counts = TransitionCounts(2)
    counts.add([0, 0], [0, 1], [SUCCESS, FAILURE])
    counted = counts.table([0])
    for one in (table, counted, counted.with_prior(np.full((1, 2), 0.5), 1.0)):
        assert not any(array.flags.writeable for array in jax.tree.leaves(one))
    given = [value for value in arguments.values() if isinstance(value, np.ndarray)]
    assert len(given) == 6 and all(array.flags.writeable for array in given)


def test_a_prior_takes_its_share_of_each_row():
    # State 0: nohelp 3 times (twice to 1, once success), help never. State 1: help once, failed.
    counts = TransitionCounts(2)
    counts.add([0, 0, 0, 1], [0, 0, 0, 1], [1, 1, SUCCESS, FAILURE])
    table = counts.table([0])
    np.testing.assert_array_equal(table.available, [[True, False], [False, True]])
    np.testing.assert_allclose(table.exit_success, [[1 / 3, 0], [0, 0]])
    p = np.array([[0.5, 0.9], [0.2, 0.8]])
    mixed = table.with_prior(p, 1.0)
    # Nohelp in 0: 3 / 4 of what was seen, 1 / 4 to 0.5. Never seen: all of it.
    np.testing.assert_allclose(mixed.prob, [3 / 4 * 2 / 3])
    np.testing.assert_allclose(
        mixed.exit_success, [[3 / 4 / 3 + 1 / 4 * 0.5, 0.9], [0.2, 1 / 2 * 0.8]]
    )
    assert mixed.available.all()
    np.testing.assert_array_equal(mixed.count, table.count)
    assert table.with_prior(p, 0.0) is table


def test_truncated_is_failure_counted_apart():
    counts = TransitionCounts(2)
    counts.add([0, 0, 0, 0], [0, 0, 0, 0], [SUCCESS, TRUNCATED, TRUNCATED, FAILURE])
    assert counts.outcomes() == (1, 1, 2)
    table = counts.table([0])
    np.testing.assert_allclose(table.exit_success[0, 0], 1 / 4)
    assert table.prob.size == 0
