"""Numbers of texts: what they count, that equal texts have equal ones, what is kept."""

import numpy as np
import pytest

from adapters.logs.features import TextFeatures
from adapters.logs.texts import one_line, players, read_text, state_text, turn_text
from adapters.numbers import Numbers

TURNS = [
    turn_text("base", 1, "SELECT a", "Error: unknown column 'a'"),
    turn_text("base", 2, "SELECT a", "Error: unknown column 'a'"),
    turn_text("strong", 1, "SHOW TABLES", "[('singers',), ('songs',)]"),
]
TEXTS = [state_text("How many singers are there?", TURNS[:n]) for n in range(len(TURNS) + 1)]
OTHERS = [state_text(f"Which {word}?", TURNS[i % 3 :]) for i, word in enumerate("abcdefgh")]


@pytest.fixture(scope="module")
def fitted():
    return TextFeatures.fit(TEXTS + OTHERS, ("base", "strong"))


def named(fitted, texts):
    found = fitted(texts)
    assert found.shape == (len(texts), len(fitted.names))
    return [dict(zip(fitted.names, row, strict=True)) for row in found.tolist()]


def test_texts_are_read_as_they_were_written():
    prompt, turns = read_text(TEXTS[3])
    assert prompt == "How many singers are there?"
    assert [turn.name for turn in turns] == ["base", "base", "strong"]
    assert turns[2].action == "SHOW TABLES"
    assert turns[0].observation == "Error: unknown column 'a'"
    assert read_text("of another\nkind [of text]\nthan these") == ("of another", [])
    assert players(TEXTS, ["strong"]) == ("base", "strong")


def test_long_texts_are_cut_and_say_so():
    assert one_line("a\n  b", 3) == "a b"
    assert one_line("abcdef", 4) == "abcd ... 2 more"


def test_what_is_counted(fitted):
    start, first, again, helped = named(fitted, TEXTS)
    assert [one["turns"] for one in (start, first, again, helped)] == [0, 1, 2, 3]
    assert (helped["base: turns"], helped["strong: turns"]) == (2, 1)
    assert np.isnan(start["base: last is an error"])
    assert (again["base: errors"], again["base: last is an error"]) == (2, 1)
    assert (first["base: last action came before"], again["base: last action came before"]) == (
        0,
        1,
    )
    assert (again["base: turns since an error"], helped["strong: turns since an error"]) == (0, 1)
    # Of the prompt's six words and signs one is among those of the tables.
    assert helped["strong: prompt words in observations"] == pytest.approx(1 / 6)


def test_rare_words_lie_apart_and_equal_texts_together(fitted):
    found = fitted([OTHERS[0], OTHERS[0], OTHERS[1]])
    np.testing.assert_array_equal(found[0], found[1])
    words = [i for i, name in enumerate(fitted.names) if name.startswith(" prompt")]
    assert np.abs(found[0, words] - found[2, words]).max() > 1e-3


def test_numbers_for_a_head_are_finite_and_tell_each_turn_apart(fitted):
    found = fitted.for_head(TEXTS)
    assert np.isfinite(found).all()
    steps = found[:, -3 * 15 :].reshape(len(TEXTS), 3, 15)  # of all turns, of base, of strong
    assert steps.sum(axis=2).tolist() == [[0, 0, 0], [1, 1, 0], [2, 2, 0], [3, 2, 1]]


def own(texts):
    return [[len(text), text.count("!")] for text in texts]


def bad(texts):
    return [1.0]


def test_numbers_are_kept_with_those_of_the_users_own(fitted, tmp_path):
    numbers = Numbers(fitted, f"{__name__}:own")
    numbers.save(tmp_path)
    again = Numbers.load(tmp_path)
    np.testing.assert_array_equal(again(TEXTS), numbers(TEXTS))
    np.testing.assert_array_equal(again.for_head(TEXTS), numbers.for_head(TEXTS))
    assert again(TEXTS)[:, -2:].tolist() == own(TEXTS)
    assert again.own == f"{__name__}:own"


def test_functions_that_do_not_fit_are_refused(fitted):
    with pytest.raises(ValueError, match="'nowhere', expected MODULE:FUNCTION"):
        Numbers(fitted, "nowhere")
    with pytest.raises(ValueError, match=r"gives shape \(1,\), expected \(4, F\)"):
        Numbers(fitted, f"{__name__}:bad")(TEXTS)


def test_a_damaged_file_is_refused(fitted, tmp_path):
    Numbers(fitted).save(tmp_path)
    path = tmp_path / "numbers.npz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="not a readable numbers file"):
        Numbers.load(tmp_path)
