"""Rows and batches of documents; no model here."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.documents import Document
from models.packing import Packing, choose_row_lengths, pack
from tests.models import tiny


def document(number, length, reads=1, **changes):
    """All of whose tokens are its number."""
    fields = dict(
        name=f"document {number}",
        tokens=np.full(length, number, np.int32),
        reads=np.arange(reads, dtype=np.int32),
        targets=np.full(reads, number, np.int32),
        weights=np.ones(reads, np.float32),
        features=np.full((reads, 2), number, np.float32),
    )
    return Document(**(fields | changes))


def documents(lengths):
    return [document(i + 1, length, reads=1 + i % length) for i, length in enumerate(lengths)]


@given(st.lists(st.integers(1, 64), min_size=1, max_size=60))
def test_every_document_is_in_one_row_and_no_row_is_too_full(lengths):
    lengths = np.array(lengths)
    rows = pack(lengths, [16, 64])
    assert sorted(i for row in rows for i in row.members) == list(range(len(lengths)))
    assert all(lengths[row.members].sum() <= row.length for row in rows)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=20), st.integers(0, 3))
def test_a_batch_holds_whole_documents_with_their_reads(lengths, index):
    packing = Packing(documents(lengths), batch_tokens=64, row_lengths=(8, 32), seed=index)
    batch = packing.batch(index)
    for row in range(len(batch.tokens)):
        read = 0
        for segment in range(1, batch.segments[row].max() + 1):
            places = np.flatnonzero(batch.segments[row] == segment)
            number = batch.tokens[row, places[0]]
            found = packing.documents[number - 1]
            assert np.array_equal(batch.tokens[row, places], found.tokens)
            count = slice(read, read + len(found.reads))
            assert np.array_equal(batch.reads[row, count] - places[0], found.reads)
            assert np.all(batch.targets[row, count] == number)
            assert np.all(batch.features[row, count] == number)
            read = count.stop
        assert np.array_equal(batch.weights[row] != 0, np.arange(len(batch.weights[row])) < read)
        assert np.all(batch.tokens[row, batch.segments[row] == 0] == 0)


def test_every_document_is_seen_equally_often():
    rng = np.random.default_rng(0)
    lengths = np.concatenate([rng.integers(3, 17, 100), rng.integers(55, 65, 40)])
    packing = Packing(documents(lengths), batch_tokens=256, row_lengths=(16, 64))
    assert [shape.length for shape in packing.shapes] == [16, 64]
    seen = np.zeros(len(lengths), int)
    epochs = 5
    for index in range(round(epochs * packing.batches_per_epoch)):
        batch = packing.batch(index)
        for tokens, segments in zip(batch.tokens, batch.segments, strict=True):
            starts = np.flatnonzero(np.diff(segments, prepend=0) > 0)
            seen[tokens[starts] - 1] += 1
    assert epochs - 1 <= seen.min() and seen.max() <= epochs + 1


def test_batches_depend_on_seed_and_index_alone():
    made = [Packing(documents(range(1, 40)), batch_tokens=128, seed=seed) for seed in (1, 1, 2)]
    late = made[1].batch(9)  # without the ones before it
    early = [made[0].batch(i) for i in range(10)]
    assert all(np.array_equal(a, b) for a, b in zip(early[9], late, strict=True))
    assert made[0].fingerprint() == made[1].fingerprint() != made[2].fingerprint()
    assert any(not np.array_equal(early[i].tokens, made[2].batch(i).tokens) for i in range(10))


def test_the_fingerprint_tells_data_from_data():
    lengths = [3, 4, 5]
    one, two = documents(lengths), documents(lengths)
    two[1].weights[0] = 0.5
    prints = {Packing(found, batch_tokens=64).fingerprint() for found in (one, two)}
    assert len(prints) == 2


def test_rows_of_a_batch_are_a_multiple_where_asked():
    for wanted, rows in ((1, 8), (3, 6), (9, 9)):
        packing = tiny.packing(documents([40] * 10), rows_multiple=wanted)
        assert packing.batch(0).tokens.shape == (rows, tiny.ROW)


@pytest.mark.parametrize(
    "low, high, least_fill", [(5, 20, 0.95), (30, 130, 0.85), (200, 210, 0.9), (10, 500, 0.85)]
)
def test_chosen_row_lengths_are_few_and_mostly_full(low, high, least_fill):
    lengths = np.random.default_rng(0).integers(low, high, 1500)
    row_lengths = choose_row_lengths(lengths)
    assert len(row_lengths) <= 3 and all(length % 32 == 0 for length in row_lengths)
    rows = pack(lengths, row_lengths)
    assert lengths.sum() / sum(row.length for row in rows) > least_fill


@pytest.mark.parametrize(
    "found, message",
    [
        ([], "no documents, expected one or more"),
        ([document(1, 70)], "document 1: 70 tokens, expected at most 48, the longest row"),
        ([document(1, 5), document(2, 0, 0)], "document 2: 0 tokens and 0 reads"),
        ([document(1, 2, 3)], r"document 1: reads 0..2, expected 0..1"),
        ([document(1, 2, tokens=np.array([-1, 0]))], "document 1: token -1, expected 0 or more"),
        (
            [document(1, 5), document(2, 5, targets=np.zeros((1, 2)))],
            r"document 2: targets has shape \(1, 2\), expected \(1,\)",
        ),
        (
            [document(1, 5), document(2, 5, targets=np.zeros(1))],
            "document 2: targets are float64, expected int32",
        ),
        ([document(1, 5, weights=np.array([-1.0]))], "document 1: weight -1.0, expected 0 or more"),
        ([document(1, 5, features=np.array([[np.nan]]))], "document 1: features holds a number"),
        ([document(1, 5, weights=np.zeros(1))], "all weights are 0"),
    ],
)
def test_bad_documents_are_refused(found, message):
    with pytest.raises(ValueError, match=message):
        tiny.packing(found)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(batch_tokens=-64), "batch_tokens is -64, expected 1 or more"),
        (dict(rows_multiple=0), "rows_multiple is 0, expected 1 or more"),
        (dict(row_lengths=()), r"row_lengths are \(\), expected one or more, all above 0"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        tiny.packing([document(1, 5)], **change)


@pytest.mark.parametrize(
    "bad, message",
    [
        (document(70, 5), "document 70: token 70, expected 0..63"),
        (document(1, 129), "document 1: 129 tokens, expected at most 128"),
    ],
)
def test_what_the_model_cannot_read_is_refused(bad, message):
    packing = tiny.packing([bad], row_lengths=(160,))
    with pytest.raises(ValueError, match=message):
        packing.check_fits(tiny.CONFIG)
