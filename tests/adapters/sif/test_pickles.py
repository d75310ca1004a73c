"""Pickles of plain data are read, whoever wrote them; everything else is refused by its name."""

import codecs
import collections
import contextlib
import datetime
import decimal
import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.sif import pickles

PLAIN = [
    *(0, -1, 2**70, 1.5, float("inf"), True, None, 1j, "", "é", b"", b"a\xff"),
    *([], [1, [2]], (), (1, (2,)), {}, {"a": {1: None}}, set(), {1, 2}, frozenset({3})),
    collections.OrderedDict(a=1),
    collections.defaultdict(list, {1: [2]}),
    [{"hl_tool": "go", "chosen_room_number": np.int64(3), "ll_argument": {"obj": "cup"}}],
]
ARRAYS = [
    np.arange(6).reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(24).reshape(4, 6)[::2, 1::2],
    np.ones((3, 4), bool),
    np.array([1.5, -2.0], np.float32),
    np.array([1 + 2j]),
    np.array(["ab", "c"]),
    np.array([b"ab"]),
    np.array(3.0),
    np.zeros((0, 3)),
    *(np.float64(2.5), np.int32(3), np.bool_(True), np.str_("abc")),
]
protocols = pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))


def load(folder, data):
    path = folder / "x.p"
    path.write_bytes(data)
    return pickles.load(path)


@protocols
def test_plain_data_comes_back_as_it_was(tmp_path, protocol):
    for value in PLAIN:
        found = load(tmp_path, pickle.dumps(value, protocol))
        assert (found, type(found)) == (value, type(value))


@protocols
@pytest.mark.parametrize("of_numpy", [b"numpy._core.", b"numpy.core."])
def test_arrays_and_scalars_come_back_as_they_were(tmp_path, protocol, of_numpy):
    for value in ARRAYS:
        found = load(tmp_path, renamed(pickle.dumps(value, protocol), of_numpy))
        assert isinstance(found, np.ndarray | np.generic)
        assert (found.shape, found.dtype) == (value.shape, value.dtype)
        np.testing.assert_array_equal(found, value)


def renamed(data, of_numpy):
    """The pickle as the other numpy writes it: 1 has numpy.core, 2 has numpy._core."""
    for name in (b"multiarray", b"numeric"):
        old, new = b"numpy._core." + name, of_numpy + name
        data = data.replace(b"\x8c" + bytes([len(old)]) + old, b"\x8c" + bytes([len(new)]) + new)
        data = data.replace(b"c" + old + b"\n", b"c" + new + b"\n")
    assert b"numpy" not in data or of_numpy in data
    frame = data.find(b"\x95", 2, 3)  # protocols from 4 tell the length of what follows
    if frame >= 0:
        data = data[: frame + 1] + struct.pack("<Q", len(data) - frame - 9) + data[frame + 9 :]
    return data


def test_bytes_in_another_order_come_back_with_their_values(tmp_path):
    found = load(tmp_path, pickle.dumps(np.array([1, 2], ">i4")))
    np.testing.assert_array_equal(found, [1, 2])


class Calls:
    """A pickle that calls a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@protocols
@pytest.mark.parametrize(
    ("value", "asked"),
    [
        (Calls(os.system, "touch touched"), "system"),
        (Calls(eval, "open('touched', 'w')"), "builtins.eval"),
        (Calls(getattr, [], "append"), "builtins.getattr"),
        (Calls(open, "touched", "w"), "open"),
        ({"deep": [Calls(os.mkdir, "touched")]}, "mkdir"),
        (datetime.date(2024, 1, 1), "datetime.date"),
        (decimal.Decimal(1), "decimal.Decimal"),
        (collections.Counter("a"), "collections.Counter"),
        (os.system, "system"),
        (np.random.default_rng, "numpy.random"),
        (np.load, "numpy"),
        (np.frombuffer, "numpy"),
        (np.ma.array([1]), "numpy.ma"),
    ],
)
def test_whatever_else_a_pickle_asks_for_is_named_and_not_touched(
    tmp_path, monkeypatch, value, asked, protocol
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"x.p: .*asks for .*{asked}.*, expected plain") as caught:
        load(tmp_path, pickle.dumps(value, protocol))
    assert "plain data" in str(caught.value)
    assert os.listdir(tmp_path) == ["x.p"]


def test_only_the_encoding_of_bytes_is_known(tmp_path):
    with pytest.raises(ValueError, match="asks for encoding 'rot13', expected 'latin1'"):
        load(tmp_path, pickle.dumps(Calls(codecs.encode, "text", "rot13")))


def test_a_name_with_dots_leads_nowhere(tmp_path):
    for name in ("set.__init__", "dtype.__class__", "ndarray.tofile"):
        for module in ("builtins", "numpy"):
            data = b"\x80\x04\x8c" + bytes([len(module)]) + module.encode()
            data += b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93."
            with pytest.raises(ValueError, match=f"asks for {module}.{name}"):
                load(tmp_path, data)


@pytest.mark.parametrize(
    "value",
    [
        np.array([{1: 2}, None]),
        np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]),
        np.array(["2024-01-01"], "M8[D]"),
        np.zeros(2, "V8"),
    ],
)
def test_arrays_of_anything_but_numbers_and_texts_are_refused(tmp_path, value):
    with pytest.raises(ValueError, match="x.p: .*dtype '.*', expected booleans, numbers or texts"):
        load(tmp_path, pickle.dumps(value))


class Forged:
    """A dtype whose state says that its eight bytes are pointers to objects."""

    def __reduce__(self):
        return np.dtype, ("i8", False, True), (3, "|", None, ("a",), {"a": (1, 0)}, 8, 8, 0x3F)


class ForgedArray:
    """An array of such a dtype, which numpy itself would take the pointers of."""

    def __reduce__(self):
        make = np.zeros(1).__reduce__()[0]
        return make, (np.ndarray, (0,), b"b"), (1, (1,), Forged(), False, b"\x00" * 8)


class Short:
    """An array with fewer bytes than its shape needs."""

    def __reduce__(self):
        make = np.zeros(1).__reduce__()[0]
        return make, (np.ndarray, (0,), b"b"), (1, (10**9,), np.dtype("f8"), False, b"\x00" * 8)


@pytest.mark.parametrize(
    "value",
    [Forged(), ForgedArray(), Short(), Calls(np.ndarray, (1,), "O", b"\x00" * 8)],
)
def test_forged_arrays_are_refused(tmp_path, value):
    with pytest.raises(ValueError, match="x.p: not a pickle of plain data"):
        load(tmp_path, pickle.dumps(value))


def test_a_pickle_cannot_change_what_it_is_handed(tmp_path):
    # The function itself on the stack, then BUILD with attributes to set.
    for module, name in [("numpy._core.numeric", "_frombuffer"), ("_codecs", "encode")]:
        data = b"\x80\x04\x8c" + bytes([len(module)]) + module.encode()
        data += b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93"
        state = pickle.dumps((None, {"__defaults__": (1,), "__code__": 2}), 2)[2:-1]
        with pytest.raises(ValueError, match="x.p: not a pickle of plain data: AttributeError"):
            load(tmp_path, data + state + b"b.")
    value = np.arange(3)
    np.testing.assert_array_equal(load(tmp_path, pickle.dumps(value, 5)), value)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="x.p"):
        pickles.load(tmp_path / "x.p")


@pytest.mark.parametrize(
    "data", [b"", b"no pickle", b"\x80\x63.", b"\x80\x04r\xff\xff\xff\xff.", b"(lp0\nI1\n", b"."]
)
def test_rubbish_is_named_with_its_file(tmp_path, data):
    with pytest.raises(ValueError, match="x.p: not a pickle of plain data: ."):
        load(tmp_path, data)


def test_a_memo_number_beyond_the_file_is_refused_before_it_fills_the_memory(tmp_path):
    with pytest.raises(ValueError, match="memo number 4294967295 at byte 3, damaged"):
        load(tmp_path, b"\x80\x02]r\xff\xff\xff\xff.")


def test_frames_of_a_wrong_length_do_no_harm(tmp_path, capfd):
    whole = bytearray(pickle.dumps(np.arange(6), 5))
    assert whole[2] == 0x95
    for length in range(256):
        whole[3] = length
        np.testing.assert_array_equal(load(tmp_path, bytes(whole)), np.arange(6))
    assert capfd.readouterr() == ("", "")


@given(st.data())
def test_a_damaged_file_is_read_as_plain_data_or_refused(tmp_path_factory, data):
    value = {"room": {1: np.arange(6).reshape(2, 3)}, "plan": [("go", 3, None)], "f": {"a", "b"}}
    whole = pickle.dumps(value, data.draw(st.integers(0, 5)))
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:at]
    if data.draw(st.booleans()):
        damaged += bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]
    with contextlib.suppress(ValueError):  # whatever else it raises fails the test
        load(tmp_path_factory.mktemp("damaged"), damaged)
