"""StateIndex against a dict, and what it promises about collisions, memory and bad input."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import archive, states
from core.states import CollisionError, StateIndex

# Few different keys, so that they repeat; some str and bytes are the same state.
KEYS = st.one_of(
    st.text(alphabet="aé€😀\0", max_size=2), st.binary(max_size=1), st.sampled_from([b"a", b"aa"])
)
BATCHES = st.lists(st.lists(KEYS, max_size=20), max_size=5)


def as_bytes(key):
    return key.encode() if isinstance(key, str) else key


@given(batches=BATCHES, asked=st.lists(KEYS), keep_texts=st.booleans())
def test_like_a_dict(batches, asked, keep_texts):
    oracle, first_seen = {}, []
    index = StateIndex(keep_texts=keep_texts)
    for batch in batches:
        expected = []
        for key in batch:
            if as_bytes(key) not in oracle:
                first_seen.append(key)
            expected.append(oracle.setdefault(as_bytes(key), len(oracle)))
        got = index.intern(batch)
        assert got.dtype == np.int32
        assert got.tolist() == expected
    assert len(index) == len(oracle)
    assert index.lookup(asked).tolist() == [oracle.get(as_bytes(key), -1) for key in asked]
    if keep_texts:
        assert [index.key(i) for i in range(len(index))] == first_seen
        assert [type(index.key(i)) for i in range(len(index))] == list(map(type, first_seen))


@given(a=st.lists(KEYS), b=st.lists(KEYS), texts=st.sampled_from([(0, 0), (0, 1), (1, 1)]))
def test_merge_is_interning_the_other_keys(a, b, texts):
    ours, theirs, both = (StateIndex(keep_texts=bool(keep)) for keep in (*texts, texts[0]))
    ours.intern(a)
    theirs.intern(b)
    remap = ours.merge(theirs)
    both.intern(a)
    both.intern(b)
    assert remap.dtype == np.int32
    assert ours.lookup(a + b).tolist() == both.lookup(a + b).tolist()
    assert ours.lookup(b).tolist() == remap[theirs.lookup(b)].tolist()
    assert len(ours) == len(both)
    if ours.keeps_texts:
        assert [ours.key(i) for i in range(len(ours))] == [both.key(i) for i in range(len(both))]


def test_merge_with_itself_changes_nothing():
    index = StateIndex(keep_texts=True)
    index.intern(["a", "b"])
    assert index.merge(index).tolist() == [0, 1]
    assert len(index) == 2


@pytest.mark.parametrize("batch_size", [1, 7, 1000, 5000])
def test_growth_keeps_every_index(batch_size):
    keys = [f"state {i % 4000}" for i in range(5000)]
    index = StateIndex()
    got = [index.intern(keys[i : i + batch_size]) for i in range(0, len(keys), batch_size)]
    assert np.concatenate(got).tolist() == [i % 4000 for i in range(5000)]
    assert index.lookup(keys).tolist() == [i % 4000 for i in range(5000)]


def test_at_most_64_bytes_a_state_at_every_size():
    index = StateIndex()
    for size in range(1, 5000):
        index.intern([str(size)])
        assert index.nbytes <= 64 * max(size, 4)


def test_nbytes_counts_every_array():
    index = StateIndex()
    index.intern(map(str, range(100)))
    held = [value for value in vars(index).values() if isinstance(value, np.ndarray)]
    held += [value for value in vars(index._slots).values() if isinstance(value, np.ndarray)]
    assert index.nbytes == sum(array.nbytes for array in held) > 0


def test_fingerprint_is_sha256():
    """The fingerprint is part of the file format."""
    digest = hashlib.sha256("é".encode()).digest()
    expected = [int.from_bytes(digest[i : i + 8], "little") for i in (0, 8, 16)]
    assert states._fingerprints(["é"]).tolist() == [expected]


def with_fingerprints(monkeypatch, table):
    """Makes `states` see the fingerprints of `table`, key to (identity, check)."""

    def fingerprints(keys):
        rows = [(0, *table[key]) for key in keys]
        return np.array(rows, np.uint64).reshape(-1, 3)

    monkeypatch.setattr(states, "_fingerprints", fingerprints)


def test_identities_that_share_their_slots_are_told_apart(monkeypatch):
    # 2^40 apart: the same slots and the same steps from one to the next, at any size.
    with_fingerprints(monkeypatch, {str(i): (i << 40, i) for i in range(300)})
    index = StateIndex()
    index.intern(map(str, range(200)))
    asked = index.lookup(map(str, range(300)))
    assert asked.tolist() == [*range(200), *([-1] * 100)]


# Without texts the checks tell two keys apart; with texts nothing else is needed.
@pytest.mark.parametrize(("keep_texts", "check_of_b"), [(False, 8), (True, 8), (True, 7)])
def test_collisions_are_never_silent(monkeypatch, keep_texts, check_of_b):
    with_fingerprints(monkeypatch, {"a": (1, 7), "b": (1, check_of_b), "c": (2, 9)})
    index = StateIndex(keep_texts=keep_texts)
    with pytest.raises(CollisionError, match=r"keys\[2\] has the .* identity of keys\[1\]"):
        index.intern(["c", "a", "b", "a"])
    assert len(index) == 0
    assert index.intern(["c", "a", "a"]).tolist() == [0, 1, 1]
    with pytest.raises(CollisionError, match=r"keys\[1\] has the .* identity of state\[1\]"):
        index.intern(["a", "b"])
    with pytest.raises(CollisionError, match=r"keys\[0\] has the .* identity of state\[1\]"):
        index.lookup(["b", "c"])
    other = StateIndex(keep_texts=keep_texts)
    other.intern(["b"])
    with pytest.raises(CollisionError, match=r"other\[0\] has the .* identity of state\[1\]"):
        index.merge(other)
    assert index.lookup(["c", "a"]).tolist() == [0, 1]
    assert len(index) == 2


def test_at_most_int32_states(monkeypatch):
    monkeypatch.setattr(states, "_MAX_STATES", 3)
    index = StateIndex()
    index.intern(["a", "b"])
    with pytest.raises(ValueError, match="keys makes 4 states, expected at most 3"):
        index.intern(["a", "c", "d"])
    assert index.lookup(["a", "b", "c", "d"]).tolist() == [0, 1, -1, -1]
    assert index.intern(["c", "c"]).tolist() == [2, 2]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("hall", "keys is str, expected a sequence of str or bytes"),
        (b"hall", "keys is bytes, expected a sequence of str or bytes"),
        (7, "keys is int, expected a sequence of str or bytes"),
        (["new", 7, None], r"keys\[1\] is int, expected str or bytes"),
        (["new", "known", None], r"keys\[2\] is NoneType, expected str or bytes"),
        (["new", bytearray(b"x")], r"keys\[1\] is bytearray, expected str or bytes"),
        (["new", "\ud800"], r"keys\[1\] is '\\ud800', expected text with a UTF-8"),
    ],
)
def test_bad_keys_change_nothing(keys, message):
    index = StateIndex(keep_texts=True)
    index.intern(["known"])
    for call in (index.intern, index.lookup):
        with pytest.raises(ValueError, match=message):
            call(keys)
    assert len(index) == 1
    assert index.lookup(["known", "new"]).tolist() == [0, -1]


def test_arrays_and_generators_of_keys():
    index = StateIndex()
    assert index.intern(np.array(["a", "b", "a"])).tolist() == [0, 1, 0]
    assert index.lookup(np.array([b"b", b"c"])).tolist() == [1, -1]
    assert index.lookup(key for key in "ab").tolist() == [0, 1]


def test_no_keys():
    index = StateIndex()
    assert index.intern([]).tolist() == []
    assert index.lookup([]).tolist() == []
    assert index.merge(StateIndex()).tolist() == []


def test_bad_calls_of_key_and_merge():
    plain, texts = StateIndex(), StateIndex(keep_texts=True)
    plain.intern(["a"])
    texts.intern(["a"])
    with pytest.raises(ValueError, match="this index keeps no texts"):
        plain.key(0)
    for index in (1, -1):
        with pytest.raises(ValueError, match=f"index is {index}, expected 0 <= index < 1"):
            texts.key(index)
    with pytest.raises(ValueError, match="other keeps no texts"):
        texts.merge(plain)
    with pytest.raises(TypeError, match="other is list, expected StateIndex"):
        texts.merge(["a"])


@given(first=st.lists(KEYS), then=st.lists(KEYS), keep_texts=st.booleans())
def test_save_and_load(tmp_path_factory, first, then, keep_texts):
    path = tmp_path_factory.mktemp("index") / "index.npz"
    index = StateIndex(keep_texts=keep_texts)
    index.intern(first)
    index.save(path)
    loaded = StateIndex.load(path)
    assert len(loaded) == len(index)
    assert loaded.keeps_texts == keep_texts
    assert loaded.intern(then).tolist() == index.intern(then).tolist()
    if keep_texts:
        assert [loaded.key(i) for i in range(len(index))] == [
            index.key(i) for i in range(len(index))
        ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fingerprint": np.zeros((2, 4), np.uint64)}, r"fingerprint is \[2, 4\], expected \[N, 3"),
        ({"fingerprint": np.zeros((2, 3), np.uint64)}, r"fingerprint\[1\] is not the identity of"),
        ({"text": np.frombuffer(b"xyz", np.uint8)}, r"text\[0\] is not the text that its finger"),
        ({"text": np.frombuffer(b"a\xff\xff", np.uint8)}, r"text\[1\] is b'\\xff\\xff', expected"),
        ({"text": np.frombuffer(b"a", np.uint8)}, "text has 1 bytes, expected 3"),
        ({"text_end": np.array([4, 3])}, r"text_end\[1\] is not at or after the end before it"),
        ({"text_end": np.array([-1, 3])}, r"text_end\[0\] is not at or after the end before it"),
        ({"text_end": np.array([3])}, "text_end has 1 texts, expected 2"),
        ({"text_is_bytes": np.array([False])}, "text_is_bytes has 1 texts, expected 2"),
        ({"keeps_texts": np.array(False)}, "text_end has 2 texts, expected 0"),
    ],
)
def test_load_refuses_what_does_not_fit(tmp_path, change, message):
    path = tmp_path / "index.npz"
    index = StateIndex(keep_texts=True)
    index.intern(["a", "é"])
    index.save(path)
    arrays = archive.read(path, "state-index", 1, states._FIELDS)
    archive.write(path, "state-index", 1, arrays | change)
    with pytest.raises(ValueError, match=f"index.npz: {message}"):
        StateIndex.load(path)


def test_load_refuses_another_file(tmp_path):
    path = tmp_path / "index.npz"
    path.write_text("hall\nkitchen\n")
    with pytest.raises(ValueError, match="index.npz: not a readable state-index file"):
        StateIndex.load(path)
