"""What documents hold, on token lists by hand."""

import numpy as np
import pytest

from models.documents import Limit, masked_document, reply_document, state_documents


def arrays(document):
    return [array.tolist() for array in document[1:5]]


def test_only_the_reply_is_learnt_and_its_last_token_is_never_read():
    document = reply_document("one", [5, 6, 7], [8, 9], limit=Limit(10))
    assert arrays(document) == [[5, 6, 7, 8], [2, 3], [8, 9], [1, 1]]


def test_marked_tokens_are_learnt_from_the_token_before():
    document = masked_document("one", [5, 6, 7, 8, 9], [1, 0, 1, 1, 0], weight=0.5)
    assert arrays(document) == [[5, 6, 7], [1, 2], [7, 8], [0.5, 0.5]]


def test_a_long_prompt_is_cut_on_the_left_and_counted():
    limit = Limit(4, "truncate")
    document = reply_document("one", [1, 2, 3, 4], [8, 9], limit=limit)
    assert arrays(document)[:3] == [[3, 4, 8], [1, 2], [8, 9]]
    reply_document("two", [1, 2], [8, 9], limit=limit)
    assert limit.truncated == 1


def test_a_reply_is_never_cut():
    with pytest.raises(ValueError, match="one: the reply has 4 tokens, expected fewer than 4"):
        reply_document("one", [1], [6, 7, 8, 9], limit=Limit(4, "truncate"))


def test_a_long_text_is_refused_and_named():
    with pytest.raises(ValueError, match="one: 6 tokens, expected at most 4"):
        reply_document("one", [1, 2, 3, 4], [8, 9], limit=Limit(4))


def test_a_trajectory_is_one_document_read_at_the_end_of_each_state():
    (document,) = state_documents(
        "task", [[1, 2], [1, 2, 3], [1, 2, 3, 4, 5]], targets=[0.0, 1.0, 0.5], limit=Limit(9)
    )
    assert arrays(document) == [[1, 2, 3, 4, 5], [1, 2, 4], [0, 1, 0.5], [1, 1, 1]]


def test_states_may_be_selected_and_what_follows_the_last_one_is_not_computed():
    (document,) = state_documents(
        "task", [[1, 2], [1, 2, 3], [1, 2, 3, 4]], select=[True, True, False], limit=Limit(9)
    )
    assert arrays(document)[:2] == [[1, 2, 3], [1, 2]]
    assert state_documents("task", [[1, 2]], select=[False], limit=Limit(9)) == []


def test_a_state_may_be_read_once_for_every_cost():
    (document,) = state_documents(
        "task",
        [[1, 2], [1, 2, 3]],
        of_state=[0, 0, 1, 1],
        features=[[-1], [1], [-1], [1]],
        targets=[0, 1, 1, 0],
        limit=Limit(9),
    )
    assert document.reads.tolist() == [1, 1, 2, 2]
    assert document.features.ravel().tolist() == [-1, 1, -1, 1]
    assert document.targets.dtype == np.int32


def test_a_truncated_state_gets_a_document_of_its_own_and_counts():
    limit = Limit(3, "truncate")
    states = [[1, 2], [1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4, 5]]
    documents = state_documents("task", states, targets=[0, 1, 2, 3], limit=limit)
    assert [arrays(document)[:3] for document in documents] == [
        [[1, 2, 3], [1, 2], [0, 1]],
        [[2, 3, 4], [2], [2]],
        [[3, 4, 5], [2], [3]],
    ]
    assert limit.truncated == 2


@pytest.mark.parametrize("second", [[1, 9, 3], [1]])
def test_a_state_that_is_no_prefix_of_the_next_is_named(second):
    with pytest.raises(ValueError, match="task 7: the 2 tokens of state 0 are no prefix"):
        state_documents("task 7", [[1, 2], second], limit=Limit(9))


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(states=[[1], []]), "task: state 1: tokens of shape"),
        (dict(states=[[2**33, 1]]), "task: state 0: tokens 1..8589934592, expected 0 to"),
        (dict(states=[[1.5], [1.5]]), "task: state 0: tokens are float64"),
        (dict(targets=[1, 2, 3]), r"task: targets has shape \(3,\), expected \(2, ...\)"),
        (dict(of_state=[1, 0]), r"task: of_state is \[1, 0\], expected ascending"),
        (dict(of_state=[0, 2]), "task: of_state reaches 2, expected 0..1"),
        (dict(limit=Limit(1)), "task: state 1: 2 tokens, expected at most 1"),
    ],
)
def test_bad_trajectories_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        state_documents("task", **(dict(states=[[1], [1, 2]], limit=Limit(9)) | change))


@pytest.mark.parametrize("arguments", [(0,), (5, "cut")])
def test_bad_limits_are_refused(arguments):
    with pytest.raises(ValueError, match="expected"):
        Limit(*arguments)
