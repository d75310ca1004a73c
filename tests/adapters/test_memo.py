"""Greedy actors are asked once in every state."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.memo import Memoised
from adapters.protocols import Reply
from adapters.spending import SpendingLimit, Spent
from tests.adapters.plain_state import PlainState


class Counting:
    """Answers with its state's key; remembers what it was asked. Fails where told to."""

    name, temperature = "counting", 0.0

    def __init__(self, odd=None, limit=None):
        self.asked, self.seeds, self.batches = [], [], 0
        self.odd = odd or {}
        self.limit = limit

    def act(self, states, seeds):
        self.batches += 1
        replies = []
        for state, seed in zip(states, seeds, strict=True):
            if len(self.asked) == self.limit:
                replies += [None] * (len(states) - len(replies))
                raise SpendingLimit("too much", Spent(calls=self.limit), replies)
            self.asked.append(state.key)
            self.seeds.append(seed)
            reply = Reply(f"do {state.key}", "raw", False, None, False, 10, 5, 1.5, 2, 0.25)
            replies.append(self.odd.get(state.key, reply))
        return replies


def states(keys):
    return [PlainState(key) for key in keys]


def act(actor, keys):
    return actor.act(states(keys), range(len(keys)))


def test_the_second_time_nothing_is_asked_or_paid():
    inner = Counting()
    actor = Memoised(inner)
    first, second = act(actor, "ab"), act(actor, "ba")
    assert inner.asked == ["a", "b"] and inner.batches == 1
    assert first[0] == Reply("do a", "raw", False, None, False, 10, 5, 1.5, 2, 0.25)
    assert second == [
        Reply("do b", "raw", cached=True),
        Reply("do a", "raw", cached=True),
    ]


def test_what_was_learnt_is_not_asked_and_does_not_replace_what_is_known():
    inner = Counting()
    actor = Memoised(inner)
    act(actor, "a")
    learnt = [(key, Reply(f"once {key}", "old", seconds=2.0)) for key in "abb"]
    assert actor.learn(learnt) == 1
    assert [reply.action for reply in act(actor, "abc")] == ["do a", "once b", "do c"]
    assert inner.asked == ["a", "c"]
    assert actor.known["b"] == Reply("once b", "old", cached=True)
    assert list(actor.known) == ["a", "b", "c"]


def test_the_same_state_twice_in_a_batch_is_asked_once_with_its_first_seed():
    inner = Counting()
    replies = act(Memoised(inner), "abcab")
    assert inner.asked == ["a", "b", "c"] and inner.seeds == [0, 1, 2]
    assert [reply.action for reply in replies] == ["do a", "do b", "do c", "do a", "do b"]
    assert [reply.cached for reply in replies] == [False, False, False, True, True]
    assert sum(reply.cost for reply in replies) == 0.75


def test_all_that_is_unknown_is_asked_in_one_batch():
    inner = Counting()
    actor = Memoised(inner)
    act(actor, "ac")
    act(actor, "abcde")
    assert inner.asked == ["a", "c", "b", "d", "e"] and inner.batches == 2
    assert inner.seeds == [0, 1, 1, 3, 4]


def test_errors_and_those_who_give_up_are_asked_again():
    odd = {"e": Reply(None, error="gone"), "s": Reply(None, stop=True)}
    inner = Counting(odd)
    actor = Memoised(inner)
    replies = act(actor, "ees") + act(actor, "es")
    assert inner.asked == ["e", "s", "e", "s"]
    assert [reply.error for reply in replies] == ["gone", "gone", None, "gone", None]
    assert not any(reply.cached for reply in replies)


def test_a_truncated_reply_is_remembered():
    inner = Counting({"t": Reply(None, "Reason", truncated=True, output_tokens=300)})
    actor = Memoised(inner)
    act(actor, "t")
    assert act(actor, "t") == [Reply(None, "Reason", truncated=True, cached=True)]
    assert inner.asked == ["t"]


def test_no_more_is_remembered_than_allowed_and_the_longest_unused_goes_first():
    inner = Counting()
    actor = Memoised(inner, max_states=2)
    for keys in ("a", "b", "a", "c", "a", "b"):
        act(actor, keys)
    assert inner.asked == ["a", "b", "c", "b"]
    assert [reply.action for reply in act(actor, "xyzx")] == ["do x", "do y", "do z", "do x"]


def test_at_a_spending_limit_what_was_answered_is_given_and_remembered():
    inner = Counting(limit=2)
    actor = Memoised(inner)
    act(actor, "a")
    with pytest.raises(SpendingLimit, match="too much") as limit:
        act(actor, "abbcad")
    assert [reply and reply.action for reply in limit.value.replies] == [
        "do a",
        "do b",
        "do b",
        None,
        "do a",
        None,
    ]
    assert [reply.cached for reply in act(actor, "ab")] == [True, True]


def test_an_actor_that_samples_is_refused():
    inner = Counting()
    inner.temperature = 0.7
    with pytest.raises(ValueError, match="actor has temperature 0.7, expected 0"):
        Memoised(inner)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="max_states is 0"):
        Memoised(Counting(), max_states=0)
    with pytest.raises(ValueError, match="seeds has 1 entries, expected 2"):
        Memoised(Counting()).act(states("ab"), [0])


def test_it_goes_by_the_name_of_its_actor():
    actor = Memoised(Counting())
    assert (actor.name, actor.temperature) == ("counting", 0.0)
    assert actor.act([], []) == []


@given(st.lists(st.text("abcdef", max_size=8), max_size=8), st.none() | st.integers(1, 4))
def test_replies_are_those_of_the_actor_whatever_was_asked_before(batches, max_states):
    inner = Counting()
    actor = Memoised(inner, max_states)
    for keys in batches:
        assert [reply.action for reply in act(actor, keys)] == [f"do {key}" for key in keys]
    if max_states is None:
        assert sorted(inner.asked) == sorted(set("".join(batches)))
