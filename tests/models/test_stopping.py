"""Stop strings are found in bytes, wherever tokens begin and end."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.stopping import AT_END, AT_STOP, StopTable, finish, text_before

LETTERS = st.text("abé", max_size=4)
STRINGS = st.lists(st.text("abé", min_size=1, max_size=4), min_size=1, max_size=3)
PIECES = st.lists(LETTERS.map(str.encode), min_size=1, max_size=12)


def follow(table, tokens):
    """The state after each token."""
    state, found = 0, []
    for token in tokens:
        state = state if state < 0 else int(table.table[state, token])
        found.append(state)
    return found


@given(strings=STRINGS, pieces=PIECES, data=st.data())
def test_a_row_stops_at_the_token_that_completes_a_stop_string(strings, pieces, data):
    """Against a search of the whole text after each token. Tokens may be empty, hold a stop string
    in their middle, and cut the two bytes of a letter apart."""
    pieces = [*pieces, "é".encode()[:1], "é".encode()[1:]]
    tokens = data.draw(st.lists(st.integers(0, len(pieces) - 1), max_size=12))
    table = StopTable.build(len(pieces), strings=strings, token_bytes=pieces)
    text = b""
    for token, state in zip(tokens, follow(table, tokens), strict=True):
        text += pieces[token]
        assert (state == AT_STOP) == any(string.encode() in text for string in strings)


def test_end_tokens_finish_whatever_they_stand_for():
    table = StopTable.build(4, [1, 3], ["ab"], [b"a", b"b", b"ab", b"b"])
    assert follow(table, [0, 1, 0]) == [1, AT_END, AT_END]
    assert follow(table, [0, 2, 2]) == [1, AT_STOP, AT_STOP]  # a, ab
    assert [finish(state) for state in (0, 1, AT_END, AT_STOP)] == [
        "length",
        "length",
        "end",
        "stop",
    ]


def test_ids_without_a_token_change_nothing():
    table = StopTable.build(6, strings=["ab"], token_bytes=[b"a", b"b"])
    assert follow(table, [0, 5, 1]) == [1, 1, AT_STOP]


def test_tables_are_padded_to_a_power_of_two_of_states():
    table = StopTable.build(2, [1], ["aaaab"], [b"a", b"b"])
    assert table.table.shape == (6, 2) and table.padded.shape == (8, 2)
    np.testing.assert_array_equal(table.padded[:6], table.table)
    assert StopTable.build(2, [1]).padded.shape == (1, 2)


@given(strings=STRINGS, text=st.text("abé", max_size=12))
def test_text_ends_before_the_first_stop_string(strings, text):
    places = [text.find(string) for string in strings if string in text]
    assert text_before(text.encode(), strings) == text[: min(places, default=len(text))]


def test_broken_utf_8_is_shown_as_such():
    assert text_before(b"a\xc3", []) == "a\N{REPLACEMENT CHARACTER}"
    assert text_before(b"a\xc3.b", ["."]) == "a\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(end_tokens=[2]), r"end_tokens holds \[2\], expected 0 <= id < 2"),
        (dict(end_tokens=[-1]), r"end_tokens holds \[-1\]"),
        (dict(strings=["a", ""], token_bytes=[b"a"]), r"strings is \['a', ''\], expected none"),
        (dict(strings="abc", token_bytes=[b"a"]), "strings is 'abc', expected a sequence"),
        (dict(strings=["a"]), "token_bytes: missing"),
        (dict(strings=["a"], token_bytes=[b"a"] * 3), "token_bytes: 3 entries, expected up to 2"),
        (dict(strings=["a" * 40_000], token_bytes=[b"a"]), "strings have 40001 bytes"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        StopTable.build(2, **arguments)
