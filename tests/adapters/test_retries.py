"""What is made of a failed call, and the waits before the next."""

import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.completions import BrokenAnswer
from adapters.retries import Backoff, failure_of, retry_after

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    "headers, seconds",
    [
        ({}, None),
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": email.utils.formatdate(NOW + 90, usegmt=True)}, 90.0),
        ({"retry-after": email.utils.formatdate(NOW - 90, usegmt=True)}, 0.0),
        ({"retry-after": "Tuesday"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
    ],
)
def test_retry_after(headers, seconds):
    assert retry_after(headers, NOW) == seconds


@given(st.integers(0, 10_000), st.floats(0, 100), st.floats(0, 100))
def test_a_wait_is_never_longer_than_allowed(retry, first, longest):
    assert 0 <= Backoff(first=first, longest=longest).seconds(retry, None) <= longest


@given(st.floats(0, 300), st.floats(0, 5))
def test_a_wait_that_was_asked_for_is_never_cut_short(asked, first):
    assert asked <= Backoff(first=first).seconds(3, asked) <= asked + first


def test_a_wait_that_is_too_long_is_none():
    backoff = Backoff(longest_asked=10.0)
    assert backoff.seconds(0, 10.1) is None and backoff.seconds(0, 10.0) is not None


def test_waits_differ():
    assert len({Backoff().seconds(3, None) for _ in range(20)}) > 10


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="longest is nan"):
        Backoff(longest=float("nan"))


def test_what_no_call_raises_is_no_failure_of_a_call():
    assert failure_of(ZeroDivisionError()) is None
    assert failure_of(BrokenAnswer("x")).retryable
