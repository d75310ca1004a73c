"""TransitionCounts against a Counter; its table, its files, its errors."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import archive, counts
from core.counts import FAILURE, SUCCESS, TRUNCATED, TransitionCounts
from core.states import StateIndex

NUM_ACTIONS = 3
STEPS = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.integers(0, NUM_ACTIONS - 1),
        st.sampled_from([SUCCESS, FAILURE, TRUNCATED, 0, 1, 2, 3, 4]),
        st.integers(1, 3),
    ),
    max_size=30,
)


def counted(steps, num_actions=NUM_ACTIONS):
    result = TransitionCounts(num_actions)
    result.add(*np.array(steps, np.int64).reshape(-1, 4).T)
    return result


def as_lists(transition_counts):
    return [array.tolist() for array in transition_counts.entries()]


def small_buffer(monkeypatch, size):
    monkeypatch.setattr(counts, "_MIN_PENDING", size)


@given(steps=STEPS)
def test_like_a_counter(steps):
    oracle = Counter()
    for state, action, next_state, n in steps:
        oracle[state, action, next_state] += n
    result = counted(steps)
    expected = [(*key, n) for key, n in sorted(oracle.items())]
    assert list(zip(*as_lists(result), strict=True)) == expected
    assert [array.dtype for array in result.entries()] == [np.int32] * 3 + [np.int64]
    assert result.num_steps == sum(oracle.values())
    assert result.num_states == 1 + max((max(s, t) for s, _, t in oracle), default=-1)
    assert result.outcomes() == tuple(
        sum(n for key, n in oracle.items() if key[2] == end)
        for end in (SUCCESS, FAILURE, TRUNCATED)
    )


@given(steps=STEPS, data=st.data())
def test_order_and_splits_leave_no_trace(steps, data):
    expected = counted(steps)
    shuffled = data.draw(st.permutations(steps))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(steps)), max_size=3)))
    parts = [shuffled[i:j] for i, j in zip([0, *cuts], [*cuts, len(steps)], strict=True)]

    one_by_one = TransitionCounts(NUM_ACTIONS)
    for step in shuffled:
        one_by_one.add(*step)
        one_by_one.entries()
    merged = TransitionCounts(NUM_ACTIONS)
    for part in parts:
        merged.merge(counted(part))
    for result in (one_by_one, merged):
        assert as_lists(result) == as_lists(expected)
        assert result.num_states == expected.num_states
        assert result.num_steps == expected.num_steps


def test_merge_leaves_the_other_alone_and_may_be_itself():
    a, b = counted([(0, 0, 1, 2)]), counted([(0, 0, 1, 3), (5, 1, SUCCESS, 1)])
    a.merge(b)
    assert as_lists(a) == [[0, 5], [0, 1], [1, SUCCESS], [5, 1]]
    assert as_lists(b) == [[0, 5], [0, 1], [1, SUCCESS], [3, 1]]
    a.merge(a)
    assert a.entries().n.tolist() == [10, 2]
    assert a.num_steps == 12


def test_numbers_go_with_arrays():
    result = TransitionCounts(2)
    result.add([0, 1], 1, SUCCESS)
    result.add(3, [0, 1], [4, FAILURE], n=[2, 7])
    result.add(3, 0, 4)
    assert as_lists(result) == [
        [0, 1, 3, 3],
        [1, 1, 0, 1],
        [SUCCESS, SUCCESS, 4, FAILURE],
        [1, 1, 3, 7],
    ]


def test_added_arrays_may_change_afterwards():
    state, n = np.array([0, 1]), np.array([1, 1])
    result = TransitionCounts(2)
    result.add(state, 0, SUCCESS, n)
    state[:], n[:] = 7, 9
    result.entries().n[:] = 5
    assert as_lists(result) == [[0, 1], [0, 0], [SUCCESS] * 2, [1, 1]]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint32, np.int64, np.uint64])
def test_any_integers_will_do(dtype):
    result = TransitionCounts(2)
    result.add(np.array([1], dtype), np.array([1], dtype), np.array([2], dtype))
    assert as_lists(result) == [[1], [1], [2], [1]]


def test_memory_is_bounded_by_the_distinct_entries(monkeypatch):
    small_buffer(monkeypatch, 1000)
    rng = np.random.default_rng(0)
    result = TransitionCounts(2)
    for _ in range(100):
        next_state = rng.integers(-3, 20, 300)
        next_state[next_state < 0] += TRUNCATED + 3
        result.add(rng.integers(0, 20, 300), rng.integers(0, 2, 300), next_state)
        # 16 bytes an entry; the buffer is emptied once it holds more than 1000 steps.
        assert result.nbytes <= 16 * (20 * 2 * 23 + 1000)
        held = [result._counted, *result._pending]
        assert result.nbytes == sum(array.nbytes for steps in held for array in steps)
    assert result.num_steps == 30_000
    assert len(result.entries().n) <= 20 * 2 * 23


def test_remap_moves_counts_along_with_merged_indexes():
    ours, theirs = StateIndex(), StateIndex()
    our_counts, their_counts = TransitionCounts(2), TransitionCounts(2)
    hall, kitchen = ours.intern(["hall", "kitchen"])
    our_counts.add(hall, 0, kitchen)
    attic, their_hall, _unseen = theirs.intern(["attic", "hall", "cellar"])
    their_counts.add([attic, their_hall], 0, [their_hall, TRUNCATED])
    our_counts.merge(their_counts.remap(ours.merge(theirs)))
    attic = 2
    assert as_lists(our_counts) == [
        [hall, hall, attic],
        [0] * 3,
        [TRUNCATED, kitchen, hall],
        [1] * 3,
    ]


@given(steps=STEPS, new_ids=st.permutations(range(5)))
def test_remap_renames_states(steps, new_ids):
    renamed = [(new_ids[s], a, new_ids[t] if t >= 0 else t, n) for s, a, t, n in steps]
    result = counted(steps).remap(new_ids)
    assert as_lists(result) == as_lists(counted(renamed))
    assert result.num_actions == NUM_ACTIONS


@pytest.mark.parametrize(
    ("new_ids", "message"),
    [
        ([0, 1], r"new_ids has shape \[2\], expected \[3\] or longer"),
        ([[0, 1, 2]], r"new_ids has shape \[1, 3\], expected \[3\] or longer"),
        ([4, -1, 2], r"new_ids\[1\] is -1, expected 0 to"),
        ([4, 5, 4, 5], r"new_ids\[2\] is 4 once more, expected each only once"),
        ([0.0, 1.0, 2.5], r"new_ids\[2\] is 2.5, expected integers"),
    ],
)
def test_bad_remap(new_ids, message):
    result = counted([(0, 0, 2, 1)])
    with pytest.raises(ValueError, match=message):
        result.remap(new_ids)


def test_table_holds_the_shares():
    result = TransitionCounts(2)
    result.add(0, 0, [1, 0, SUCCESS, FAILURE, TRUNCATED], n=[3, 1, 2, 1, 1])
    result.add(0, 1, SUCCESS)
    result.add(1, 1, FAILURE, n=4)
    table = result.table(start=[0, 1], start_weight=[0.25, 0.75], num_states=3)
    assert (table.num_states, table.num_actions) == (3, 2)
    assert table.indptr.tolist() == [0, 2, 2, 2, 2, 2, 2]
    assert table.successor.tolist() == [0, 1]
    assert table.prob.tolist() == [1 / 8, 3 / 8]
    assert table.exit_success.tolist() == [[2 / 8, 1], [0, 0], [0, 0]]
    assert table.available.tolist() == [[True, True], [False, True], [False, False]]
    assert table.count.tolist() == [[8, 1], [0, 4], [0, 0]]
    assert table.start.tolist() == [0, 1]
    assert table.start_weight.tolist() == [0.25, 0.75]
    assert table.terminal.tolist() == [0, 0, 0]


@given(steps=STEPS.filter(len))
def test_table_rows_sum_to_one_with_what_leaves(steps):
    result = counted(steps)
    table = result.table(start=[0])
    state, action, next_state, n = result.entries()
    lost = np.zeros((table.num_states, NUM_ACTIONS))
    ends_badly = (next_state == FAILURE) | (next_state == TRUNCATED)
    np.add.at(lost, (state[ends_badly], action[ends_badly]), n[ends_badly])
    row = np.repeat(np.arange(lost.size), np.diff(table.indptr))
    stays = np.bincount(row, weights=table.prob, minlength=lost.size).reshape(lost.shape)
    total = stays + table.exit_success + lost / np.maximum(table.count, 1)
    np.testing.assert_allclose(total, table.available, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": [0, 3]}, r"start\[1\] = 3 must be an id in 0..2"),
        ({"start": [0], "start_weight": [np.nan]}, r"start_weight\[0\] = nan must be"),
        ({"start": [0], "num_states": 2}, "num_states is 2, expected 3 to 715827881"),
    ],
)
def test_bad_table_arguments(arguments, message):
    result = counted([(0, 0, 2, 1)])
    with pytest.raises(ValueError, match=message):
        result.table(**arguments)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (([0, -1], [0, 0], [0, 0]), r"state\[1\] is -1, expected 0 to"),
        (([0, 2**31], 0, 0), r"state\[1\] is 2147483648, expected 0 to 1073741821"),
        (([0], np.array([2**63], np.uint64), 0), r"action\[0\] is 9223372036854775808"),
        ((0, 2, 0), "action is 2, expected 0 to 1"),
        ((0, [1, -1], 0), r"action\[1\] is -1, expected 0 to 1"),
        ((0, 0, -7), "next_state is -7, expected -6 to"),
        ((0, 0, [0, -1]), r"next_state\[1\] is -1, neither a state nor an end"),
        ((0, 0, -3), "next_state is -3, neither a state nor an end"),
        ((0, 0, [0, 2**31]), r"next_state\[1\] is 2147483648, expected -6 to"),
        ((0, 0, 0, [1, 0]), r"n\[1\] is 0, expected 1 to"),
        ((0, 0, 0, -1), "n is -1, expected 1 to"),
        ((0, 0, 0, 2**53), r"n makes more than 2\^53 steps"),
        ((0, 0, 0, [2**52, 2**52]), r"n makes more than 2\^53 steps"),
        ((0, 0, 0, [2**53] * 2048), r"n makes more than 2\^53 steps"),
        (([0, 1], [0, 0, 0], 0), "lengths differ: {'state': 2, 'action': 3}"),
        (([[0, 1]], 0, 0), r"state has shape \[1, 2\], expected one dimension"),
        (([[0], [0, 1]], 0, 0), "state has no shape, expected an array"),
        (([0, np.nan], 0, 0), r"state\[1\] is nan, expected integers, got dtype float64"),
        ((0, 0, 1.0), "next_state is 1.0, expected integers, got dtype float64"),
        ((0, True, 1), "action is True, expected integers"),
        ((["hall"], 0, 1), r"state\[0\] is 'hall', expected integers"),
        (([3, None], 0, 1), r"state\[1\] is None, expected integers"),
    ],
)
def test_bad_steps_change_nothing(step, message):
    result = counted([(0, 0, 1, 1)], num_actions=2)
    with pytest.raises(ValueError, match=message):
        result.add(*step)
    assert as_lists(result) == [[0], [0], [1], [1]]
    assert (result.num_states, result.num_steps) == (2, 1)


def test_largest_ids_fit():
    largest = 2**30 - 3
    result = TransitionCounts(2)
    result.add([largest], [1], [largest])
    assert [array.tolist() for array in result._pending[0]] == [[2**31 - 5], [2**30 + 3], [1]]
    with pytest.raises(ValueError, match=r"state\[0\] is 1073741822, expected 0 to 1073741821"):
        result.add([largest + 1], [0], [0])


@pytest.mark.parametrize("num_actions", [1, -1, 33, 1.5, "2"])
def test_bad_number_of_actions(num_actions):
    with pytest.raises(ValueError, match=f"num_actions is {num_actions!r}, expected"):
        TransitionCounts(num_actions)


def test_bad_merge():
    result = counted([(0, 0, 1, 2**52)], num_actions=2)
    with pytest.raises(ValueError, match="other has 3 actions, expected 2"):
        result.merge(TransitionCounts(3))
    with pytest.raises(ValueError, match=r"other makes more than 2\^53 steps"):
        result.merge(counted([(0, 0, 1, 2**52 + 1)], num_actions=2))
    with pytest.raises(TypeError, match="other is int, expected TransitionCounts"):
        result.merge(7)
    assert as_lists(result) == [[0], [0], [1], [2**52]]


def test_nothing_counted():
    empty = TransitionCounts(2)
    empty.add([], [], [])
    empty.merge(TransitionCounts(2))
    assert as_lists(empty) == [[], [], [], []]
    assert (empty.num_states, empty.num_steps) == (0, 0)
    assert empty.outcomes() == (0, 0, 0)
    assert as_lists(empty.remap([])) == [[], [], [], []]
    with pytest.raises(ValueError, match="nothing was counted"):
        empty.table(start=[0])


@given(steps=STEPS)
def test_save_and_load(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("counts") / "counts.npz"
    saved = counted(steps)
    saved.save(path)
    loaded = TransitionCounts.load(path)
    assert as_lists(loaded) == as_lists(saved)
    assert loaded.num_actions == saved.num_actions
    assert loaded.num_states == saved.num_states
    assert loaded.num_steps == saved.num_steps


def test_a_key_that_is_not_known_is_no_success():
    index = StateIndex()
    index.intern(["start"])
    with pytest.raises(ValueError, match=r"next_state\[0\] is -1"):
        TransitionCounts(2).add(index.lookup(["start"]), 0, index.lookup(["typo"]))


def test_files_hold_ends_as_they_always_have(tmp_path):
    path = tmp_path / "counts.npz"
    steps = [(0, 0, TRUNCATED, 1), (0, 0, FAILURE, 2), (0, 0, SUCCESS, 3), (0, 0, 0, 4)]
    counted(steps).save(path)
    arrays = archive.read(path, "transition-counts", 1, counts._FIELDS)
    assert arrays["next_state"].tolist() == [-3, -2, -1, 0]
    assert TransitionCounts.load(path).outcomes() == (3, 2, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_actions": np.array(1)}, "num_actions is 1, expected 2 to 32"),
        ({"num_actions": np.array(2)}, r"action\[1\] is 2, expected 0 to 1"),
        ({"state": np.array([0, -1], np.int32)}, r"state\[1\] is -1, expected 0 to"),
        ({"n": np.array([1, 0])}, r"n\[1\] is 0, expected 1 to"),
        ({"n": np.array([1])}, "lengths differ: .*'n': 1"),
        ({"action": np.array([1, 0], np.int32)}, "entries are out of order or repeated"),
        (
            {"action": np.zeros(2, np.int32), "next_state": np.zeros(2, np.int32)},
            "entries are out of order or repeated",
        ),
    ],
)
def test_load_refuses_what_does_not_fit(tmp_path, change, message):
    path = tmp_path / "counts.npz"
    counted([(0, 0, 1, 1), (0, 2, SUCCESS, 2)]).save(path)
    arrays = archive.read(path, "transition-counts", 1, counts._FIELDS)
    archive.write(path, "transition-counts", 1, arrays | change)
    with pytest.raises(ValueError, match=f"counts.npz: {message}"):
        TransitionCounts.load(path)


def test_load_refuses_another_file(tmp_path):
    path = tmp_path / "index.npz"
    StateIndex().save(path)
    with pytest.raises(ValueError, match="index.npz: holds 'state-index 1'"):
        TransitionCounts.load(path)
