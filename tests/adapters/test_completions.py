"""Bodies of Chat Completions servers, good and bad."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.completions import Answer, BrokenAnswer, read_completion
from tests.adapters.chat_server import completion


def read(body) -> Answer:
    return read_completion(json.dumps(body).encode())


def test_a_good_body():
    assert read(completion("Action: ☃", "length", (12, 3))) == Answer("Action: ☃", "length", 12, 3)


def test_what_may_be_missing():
    assert read(completion(None, None, None)) == Answer("", None, None, None)
    assert read({"choices": [{"message": {"content": "x"}}]}) == Answer("x", None, None, None)
    assert read({"choices": [{"message": {"reasoning": "x"}}]}).text == "<think>x</think>"


def test_refusals_and_thoughts():
    assert read(completion(None, refusal="I will not")).text == "I will not"
    assert read(completion("b", reasoning_content="a")).text == "<think>a</think>b"
    assert read(completion(None, reasoning="a")).text == "<think>a</think>"


def test_why_it_ended():
    assert read(completion("x", "length")).cut and not read(completion("x", "stop")).cut
    assert read(completion("x", "content_filter")).withheld


@pytest.mark.parametrize(
    "body, words",
    [
        (b"", "not JSON"),
        (b"\xff\xfe\xfd", "not JSON"),
        (b'{"choices": [', "not JSON"),
        (b"<html>", "not JSON.*<html>"),
        (b"null", "no choices"),
        (b"[]", "no choices"),
        (b'{"error": {"message": "x"}}', "no choices.*error"),
        (b'{"choices": {}}', "no choices"),
        (b'{"choices": [{}]}', "no choices"),
        (b'{"choices": [{"message": "x"}]}', "no choices"),
        (b'{"choices": [{"message": {"content": 1}}]}', "no string"),
        (b'{"choices": [{"message": {"content": "x"}, "finish_reason": 1}]}', "no string"),
        (b'{"choices": [{"message": {"content": "x"}}], "usage": {}}', "usage has no"),
        (b'{"choices": [{"message": {"content": "x"}}], "usage": 3}', "usage has no"),
    ],
)
def test_what_is_no_completion(body, words):
    with pytest.raises(BrokenAnswer, match=words):
        read_completion(body)


@pytest.mark.parametrize("count", [-1, 1.5, True, "3", None])
def test_tokens_are_counts(count):
    with pytest.raises(BrokenAnswer, match="usage holds"):
        read(completion("x") | {"usage": {"prompt_tokens": 1, "completion_tokens": count}})


def test_a_message_that_says_nothing_is_none():
    with pytest.raises(BrokenAnswer, match="no choices"):
        read({"choices": [{"message": {"role": "assistant"}}]})


def test_errors_quote_only_the_beginning():
    with pytest.raises(BrokenAnswer) as error:
        read_completion(b"x" * 10_000)
    assert len(str(error.value)) < 500


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda values: (
        st.lists(values, max_size=2)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "usage", "finish_reason"]), values
        )
    ),
    max_leaves=8,
)


@given(json_values, st.integers(0, 400))
def test_no_body_does_anything_but_be_read_or_refused(value, end):
    for body in (json.dumps(value).encode(), json.dumps(completion("x")).encode()[:end]):
        try:
            assert isinstance(read_completion(body), Answer)
        except BrokenAnswer:
            continue
