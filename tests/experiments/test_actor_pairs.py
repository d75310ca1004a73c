"""Files of pairs, and pairs as documents."""

import json

import numpy as np
import pytest

from experiments.actor_pairs import Pair, corpus, documents, read_pairs
from models.documents import Limit

TEXT = "cup 7 ?\nhere 2"


class Letters:
    """A token a letter; "^" stands before any text, and 0 ends a reply."""

    end_token = 0

    def encode(self, texts, *, special=True):
        return [[ord(letter) for letter in "^" * special + text] for text in texts]


def learnt(document):
    """What a document teaches: the text before each run of learnt tokens, and the run."""
    runs, last, tokens = [], None, [*document.tokens, int(document.targets[-1])]
    for read, target in zip(document.reads.tolist(), document.targets.tolist(), strict=True):
        if last is None or read != last + 1:
            runs.append(["".join(map(chr, tokens[: read + 1])), ""])
        runs[-1][1] += chr(target)
        last = read
        assert tokens[read + 1] == target
    return [tuple(run) for run in runs]


def test_reply_and_answers_are_learnt_and_nothing_else():
    pair = Pair("one", TEXT, "go", [("where cup", "\ncup 7"), ("here", " 2")])
    (document,) = documents([pair], Letters(), Limit(100))
    said = f"^{TEXT}\ngo\0\nwhere cup"
    assert learnt(document) == [
        (f"^{TEXT}", "\ngo\0"),
        (said, "\ncup 7\0"),
        (f"{said}\ncup 7\0\nhere", " 2\0"),
    ]
    assert (document.weights == 1).all()


def test_questions_alone_are_learnt_too():
    (document,) = documents([Pair("one", TEXT, None, [("here", " 2")])], Letters(), Limit(100))
    assert learnt(document) == [(f"^{TEXT}\nhere", " 2\0")]


def test_many_pairs_keep_their_order():
    pairs = [Pair(f"pair {i}", f"text {i}", f"reply {i}") for i in range(2500)]
    made = documents(pairs, Letters(), Limit(100))
    assert [document.name for document in made] == [pair.name for pair in pairs]
    assert learnt(made[1234]) == [("^text 1234", "\nreply 1234\0")]


def test_the_corpus_is_what_the_documents_say():
    pair = Pair("one", TEXT, "go", [("here", " 2")])
    assert list(corpus([pair])) == [f"{TEXT}\ngo\nhere 2"]


def test_texts_that_are_too_long_are_refused_or_cut_on_the_left_and_counted():
    pairs = [Pair("short", "abc", "go"), Pair("long", "abcdefgh", "go")]
    with pytest.raises(ValueError, match="long: 13 tokens, expected at most 9"):
        documents(pairs, Letters(), Limit(9))
    limit = Limit(9, "truncate")
    short, long = documents(pairs, Letters(), limit)
    assert learnt(short) == [("^abc", "\ngo\0")] and learnt(long) == [("defgh", "\ngo\0")]
    assert limit.truncated == 1
    with pytest.raises(ValueError, match="short: 4 tokens beside the text, expected fewer than 4"):
        documents(pairs, Letters(), Limit(4, "truncate"))


def test_pairs_are_read_from_a_file(tmp_path):
    path = tmp_path / "pairs.jsonl"
    lines = [
        {"text": TEXT, "reply": "Action: go\nthere"},
        {"text": TEXT, "questions": [["where cup", "cup 7"]]},
        {"text": "é", "reply": "ü", "questions": [["a", "b"], ["c", "d"]]},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_pairs(path) == [
        Pair(f"{path}:1", TEXT, "Action: go\nthere", []),
        Pair(f"{path}:2", TEXT, None, [("where cup", "cup 7")]),
        Pair(f"{path}:3", "é", "ü", [("a", "b"), ("c", "d")]),
    ]
    assert np.isfinite(documents(read_pairs(path), Letters(), Limit(99))[2].weights).all()


@pytest.mark.parametrize(
    "line, message",
    [
        ('{"text": "a", "reply": 3}', "Expected `str"),
        ('{"text": "a", "repyl": "b"}', "unknown field `repyl`"),
        ('{"reply": "b"}', "missing required field `text`"),
        ('{"text": "a", "questions": [["b"]]}', "length 2"),
        ('{"text": "a"', "truncated"),
        ("", "truncated"),
        ('{"text": "a"}', "neither reply nor questions"),
        ('{"text": "", "reply": "b"}', "text or reply is empty"),
        ('{"text": "a", "reply": ""}', "text or reply is empty"),
    ],
)
def test_a_line_that_is_no_pair_is_named(tmp_path, line, message):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"text": "a", "reply": "b"}\n' + line + "\n")
    with pytest.raises(ValueError, match=f"pairs.jsonl:2: .*{message}"):
        read_pairs(path)


def test_an_empty_file_and_none_at_all_are_refused(tmp_path):
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ValueError, match="empty.jsonl: no pairs"):
        read_pairs(tmp_path / "empty.jsonl")
    with pytest.raises(FileNotFoundError, match="none.jsonl"):
        read_pairs(tmp_path / "none.jsonl")
