"""Stored hidden states in place of the decoder, and documents of texts that are prefixes."""

import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from models.documents import Limit, state_documents
from models.heads import Head, HeadConfig, HeadedLlama
from models.lookup import Lookup, StoredHead, hidden_scorer, lookup_documents
from models.losses import Success
from models.packing import Packing
from models.prefixes import Reads, broken, chains, prefix_documents
from models.training import train
from models.training_config import TrainingConfig
from tests.models import tiny

COUNT = 6
LIMIT = Limit(tiny.ROW)


@pytest.fixture(scope="module")
def texts():
    """Token lists, each as long as a row."""
    rng = np.random.default_rng(0)
    return rng.integers(1, tiny.VOCAB, (COUNT, tiny.ROW)).tolist()


@pytest.fixture(scope="module")
def hidden(texts):
    """By the decoder itself."""
    return np.asarray(tiny.llama(layers=1)(np.array(texts)))


@pytest.fixture(scope="module")
def scorer():
    return hidden_scorer(tiny.llama(layers=1), row_lengths=(tiny.ROW,))


def test_the_hidden_states_are_the_decoders_at_every_read(texts, hidden, scorer):
    ends = [[tiny.ROW], [3, 7, 7, 20]]
    documents = [
        state_documents("text", [text[:end] for end in some], limit=LIMIT)[0]
        for text, some in zip(texts, ends, strict=False)
    ]
    for found, whole, some in zip(scorer(documents), hidden, ends, strict=False):
        np.testing.assert_allclose(found, whole[np.array(some) - 1], atol=1e-5)


def test_a_head_learns_from_stored_states_what_it_learns_from_the_decoder(tmp_path, texts, hidden):
    targets = np.random.default_rng(1).random((COUNT, 1)).astype(np.float32)
    config = TrainingConfig(steps=5, learning_rate=0.1)
    losses, heads = [], []
    reads = Reads(np.arange(COUNT), targets, np.arange(1.0, COUNT + 1))
    for name, backbone, documents, length in (
        ("decoder", tiny.llama(layers=1), prefix_documents(texts, reads, limit=LIMIT)[0], tiny.ROW),
        ("stored", Lookup(tiny.CONFIG, hidden[:, -1]), lookup_documents(reads, COUNT), COUNT),
    ):
        head = Head(HeadConfig("success", 0), tiny.CONFIG.hidden_size, rngs=nnx.Rngs(0))
        # Every batch is all documents, whatever their order.
        packing = Packing(documents, batch_tokens=len(documents) * length, row_lengths=(length,))
        only_head = nnx.All(nnx.Param, nnx.PathContains("head"))
        model = HeadedLlama(backbone, head)
        history = train(
            model, packing, Success(), config, folder=tmp_path / name, trainable=only_head
        )
        losses.append([values["loss"] for values in history])
        heads.append(np.asarray(head.outer.kernel[...]))
    assert losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    np.testing.assert_allclose(*heads, atol=1e-4)


def test_a_lookups_documents_hold_every_read_once():
    """Of 70 texts, text i is read i % 3 times."""
    text = np.repeat(np.arange(70), np.arange(70) % 3)
    reads = Reads(text, text.astype(np.float32)[:, None], np.ones(len(text)))
    found = lookup_documents(reads, 70, seed=1)
    assert [len(document.tokens) for document in found] == [32, 32, 6]
    assert sorted(np.concatenate([document.tokens for document in found])) == list(range(70))
    for document in found:
        np.testing.assert_array_equal(document.tokens[document.reads], document.targets[:, 0])
    assert sum(len(document.reads) for document in found) == len(text)


def test_there_is_nothing_to_train_in_stored_states(hidden):
    model = HeadedLlama(Lookup(tiny.CONFIG, hidden[0]), tiny.headed(HeadConfig("success", 0)).head)
    paths = [path[0] for path, _ in nnx.to_flat_state(nnx.state(model, nnx.Param))]
    assert paths == ["head", "head"]


@pytest.mark.parametrize(
    "shape, value, message",
    [
        ((4, 31), 0, r"hidden has shape \(4, 31\), expected \(N, 32\)"),
        ((0, 32), 0, r"hidden has shape \(0, 32\)"),
        ((2, 32), np.nan, "not finite"),
    ],
)
def test_what_cannot_be_stored_is_refused(shape, value, message):
    with pytest.raises(ValueError, match=message):
        Lookup(tiny.CONFIG, np.full(shape, value))


def test_a_stored_head_is_the_head_in_blocks_of_any_size():
    config = HeadConfig("gains", 1, cost_range=(0.01, 1.0), inner_size=4)
    head = tiny.headed(config).head
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(300, tiny.CONFIG.hidden_size)).astype(np.float32)
    features = config.features(300, costs=rng.uniform(0.01, 1, (300, 1)))
    stored = StoredHead(head)
    np.testing.assert_allclose(stored(hidden, features), head(hidden, features), atol=1e-5)
    assert stored(hidden[:0], features[:0]).shape == (0, 2)
    with pytest.raises(ValueError, match=r"features have shape \(300, 0\), expected \(300, 1\)"):
        stored(hidden)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), max_size=12))
def test_chains_are_prefixes_and_as_few_as_may_be(texts):
    found = chains(texts)
    assert sorted(i for chain in found for i in chain) == list(range(len(texts)))
    for chain in found:
        for one, two in zip(chain, chain[1:], strict=False):
            assert texts[two][: len(texts[one])] == texts[one]
    distinct = {tuple(text) for text in texts}
    ends = [t for t in distinct if not any(o != t and o[: len(t)] == t for o in distinct)]
    assert len(found) == len(ends)


@given(st.lists(st.text("ab\n", min_size=1, max_size=5), max_size=12, unique=True))
def test_texts_whose_ends_merge_with_what_follows_are_counted(texts):
    r"""By a tokenizer of characters and of "\n\n", which it takes wherever it can."""
    tokens = [list(map(ord, text.replace("\n\n", "N"))) for text in texts]
    expected = 0
    for text, own in zip(texts, tokens, strict=True):
        longer = [i for i, other in enumerate(texts) if other != text and other.startswith(text)]
        expected += bool(longer) and all(tokens[i][: len(own)] != own for i in longer)
    assert broken(texts, tokens) == expected
    assert broken(texts * 2, tokens * 2) == expected  # equal texts share a pass


def test_reads_of_prefixes_keep_what_is_theirs():
    texts = [[1, 2, 3], [5], [1, 2], [1, 2, 4]]
    text = np.array([0, 1, 1, 2, 3])
    reads = Reads(text, np.arange(5.0)[:, None], 1 + np.arange(5.0), np.arange(10.0).reshape(5, 2))
    documents, held = prefix_documents(texts, reads, limit=LIMIT)
    assert [document.tokens.tolist() for document in documents] == [[1, 2, 3], [1, 2, 4], [5]]
    assert np.sort(np.concatenate(held)).tolist() == list(range(5))
    for document, places in zip(documents, held, strict=True):
        ends = [len(texts[i]) - 1 for i in text[places]]
        assert document.reads.tolist() == ends
        assert document.targets[:, 0].tolist() == places.tolist()
        assert document.weights.tolist() == (1 + places).tolist()
        assert document.features[:, 1].tolist() == (2 * places + 1).tolist()


def test_texts_that_are_cut_have_documents_of_their_own():
    limit = Limit(3, "truncate")
    documents, held = prefix_documents([[1, 2], [1, 2, 3, 4], [1]], limit=limit)
    assert [document.tokens.tolist() for document in documents] == [[1, 2], [2, 3, 4]]
    assert [places.tolist() for places in held] == [[2, 0], [1]]
    with pytest.raises(ValueError, match="long one: state 2: 4 tokens, expected at most 3"):
        prefix_documents(
            [[1, 2], [1, 2, 3, 4], [1]], limit=Limit(3), names=["one", "long one", "two"]
        )


def test_reads_out_of_order_are_refused():
    with pytest.raises(ValueError, match="reads.text is out of order"):
        prefix_documents([[1], [2]], Reads(np.array([1, 0])), limit=LIMIT)
