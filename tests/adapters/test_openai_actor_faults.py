"""An actor over a server that fails: nothing lost, nothing doubled, retries as configured."""

import collections
import email.utils
import random
import socket
import time

import pytest

from adapters.openai_actor import OpenAIActor
from adapters.reply_cache import ReplyCache
from adapters.retries import Backoff
from adapters.spending import Prices, Spending, SpendingLimit
from tests.adapters import chat_server
from tests.adapters.chat_server import ChatServer, body, slow, status
from tests.adapters.plain_state import PlainState

STATES = [PlainState(f"s{i}") for i in range(12)]
PRICES = Prices(input=1_000_000.0, output=2_000_000.0)  # 1 and 2 a token; a good answer costs 20
MOST = 7 + 64 + 2 * 300  # that a call can cost

# Fault, the kind it is counted under, and whether the server may have billed the call.
PASSING = {
    "too many requests": (status(429), "429", False),
    "request timeout": (status(408), "408", False),
    "conflict": (status(409), "409", False),
    "server error": (status(500), "500", False),
    "unavailable": (status(503), "503", False),
    "slow": (slow(30), "timeout", True),
    "dripping": (chat_server.drip, "timeout", True),
    "dropped": (chat_server.drop, "connection", True),
    "reset": (chat_server.reset, "connection", True),
    "cut body": (chat_server.cut_body, "connection", True),
    "cut chunks": (chat_server.cut_chunks, "connection", True),
    "broken JSON": (chat_server.broken_json, "broken answer", True),
    "HTML": (chat_server.html, "broken answer", True),
    "empty body": (body(b""), "broken answer", True),
    "wrong schema": (chat_server.wrong_schema, "broken answer", True),
    "no choices": (body(b'{"choices": []}'), "broken answer", True),
}
FINAL = {
    "bad request": (status(400, message="no such field"), "400 no such field"),
    "no key": (status(401), "401 status 401"),
    "forbidden": (status(403), "403 status 403"),
    "no model": (status(404), "404 status 404"),
    "unprocessable": (status(422), "422 status 422"),
    "no quota": (status(429, code="insufficient_quota"), "429 status 429"),
    "no quota, by type": (status(429, type="insufficient_quota"), "429 status 429"),
}


def actor_at(server, **options):
    """An actor that hardly waits."""
    options = {
        "api_key_env": None,
        "base_url": server.base_url,
        "timeout": 20,
        "backoff": Backoff(first=0.001, longest=0.01),
        **options,
    }
    return OpenAIActor("tiny", **options)


def act(actor, states=STATES):
    return actor.act(states, [0] * len(states))


@pytest.mark.parametrize("name", PASSING)
def test_what_may_pass_is_tried_again_and_counted(name):
    fault, kind, maybe_billed = PASSING[name]
    spending = Spending(prices=PRICES)
    timeout = 1.0 if kind == "timeout" else 20
    with ChatServer([fault, fault]) as server:
        with actor_at(server, timeout=timeout, spending=spending) as actor:
            (reply,) = act(actor, STATES[:1])
            assert actor.retried == {kind: 2}
        assert len(server.calls) == 3
        assert all(call.body == server.calls[0].body for call in server.calls)
    assert (reply.action, reply.error, reply.retries) == ("do full s0", None, 2)
    assert reply.cost == 20.0
    lost = 2 if maybe_billed else 0
    assert (spending.spent.calls, spending.spent.lost_calls) == (1 + lost, lost)
    assert spending.spent.money == 20.0 + lost * MOST


@pytest.mark.parametrize("name", FINAL)
def test_what_would_fail_again_is_not_tried_again(name):
    fault, error = FINAL[name]
    spending = Spending(prices=PRICES)
    with ChatServer([fault]) as server:
        with actor_at(server, spending=spending) as actor:
            (reply,) = act(actor, STATES[:1])
            assert actor.retried == {}
        assert len(server.calls) == 1
    assert (reply.action, reply.error, reply.retries, reply.cost) == (None, error, 0, 0.0)
    assert not reply.truncated
    assert spending.spent.calls == 0 and spending.spent.money == 0.0


def test_one_failure_leaves_the_others_of_a_batch_alone():
    def fault(call):
        return status(400) if call.asked == "full s3" else None

    with ChatServer(fault=fault) as server, actor_at(server) as actor:
        replies = act(actor)
    assert [reply.error is None for reply in replies] == [i != 3 for i in range(12)]


@pytest.mark.parametrize("max_retries", [0, 1, 4])
def test_retries_are_bounded_and_the_last_failure_is_told(max_retries):
    with ChatServer(fault=lambda call: status(503, message="overloaded")) as server:
        with actor_at(server, max_retries=max_retries) as actor:
            (reply,) = act(actor, STATES[:1])
        assert len(server.calls) == 1 + max_retries
    assert reply.action is None and reply.retries == max_retries
    after = f" (after {max_retries} retries)" if max_retries else ""
    assert reply.error == f"503 overloaded{after}"


def test_errors_are_never_kept_in_the_cache(tmp_path):
    with ReplyCache(tmp_path / "cache") as cache:
        with ChatServer([status(400), *3 * [chat_server.broken_json]]) as server:
            with actor_at(server, cache=cache, max_retries=2) as actor:
                assert [act(actor, STATES[:1])[0].action for _ in range(3)] == [
                    None,
                    None,
                    "do full s0",
                ]
        assert len(cache) == 1


class Waits:
    """Stands in for sleeping: notes the seconds and does not wait. Draws the upper bound."""

    def __init__(self, **options):
        self.seconds = []
        self.backoff = Backoff(sleep=self._sleep, uniform=lambda low, high: high, **options)

    async def _sleep(self, seconds):
        self.seconds.append(seconds)


def test_waits_grow_and_are_bounded():
    waits = Waits(first=1.0, longest=5.0)
    with ChatServer(fault=lambda call: status(500)) as server:
        with actor_at(server, backoff=waits.backoff, max_retries=5) as actor:
            act(actor, STATES[:1])
    assert waits.seconds == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_server_that_says_how_long_to_wait_is_listened_to():
    now = 1_700_000_000.0
    date = email.utils.formatdate(now + 40, usegmt=True)
    script = [
        status(429, {"Retry-After": "7"}),
        status(503, {"Retry-After": date}),
        status(429, {"retry-after-ms": "1500"}),
        status(429, {"Retry-After": "soon"}),
    ]
    waits = Waits(first=0.25, now=lambda: now)
    with ChatServer(script) as server, actor_at(server, backoff=waits.backoff) as actor:
        (reply,) = act(actor, STATES[:1])
    assert waits.seconds == [7.25, 40.25, 1.75, 0.25 * 2**3]
    assert reply.action == "do full s0" and reply.retries == 4


def test_the_wait_asked_for_is_really_waited():
    script = [status(429, {"Retry-After": "0.3"})]
    with ChatServer(script) as server, actor_at(server) as actor:
        (reply,) = act(actor, STATES[:1])
        first, second = server.calls
    assert second.time - first.time >= 0.3
    assert reply.seconds >= 0.3


def test_a_wait_that_is_too_long_is_an_error():
    script = [status(429, {"Retry-After": "3600"})]
    with ChatServer(script) as server:
        with actor_at(server) as actor:
            (reply,) = act(actor, STATES[:1])
        assert len(server.calls) == 1
    assert reply.error == "429 status 429: asked to wait 3600 s, which is too long"


def test_a_server_that_is_not_there_costs_nothing():
    with socket.socket() as taken:  # bound but not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        spending = Spending(prices=PRICES)
        with OpenAIActor(
            "tiny",
            base_url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1",
            api_key_env=None,
            max_retries=2,
            spending=spending,
            backoff=Backoff(first=0.001),
        ) as actor:
            (reply,) = act(actor, STATES[:1])
    assert reply.error.startswith("connection: ConnectError") and reply.retries == 2
    assert spending.spent.calls == 0


def test_a_timeout_is_for_the_whole_call():
    with ChatServer([slow(30)]) as server, actor_at(server, timeout=0.2, max_retries=0) as actor:
        begin = time.monotonic()
        (reply,) = act(actor, STATES[:1])
        assert time.monotonic() - begin < 5
    assert reply.error == "no answer in time" and 0.2 <= reply.seconds < 5


def test_lost_answers_count_towards_a_limit_on_calls():
    with ChatServer(fault=lambda call: chat_server.drop) as server:
        spending = Spending(max_calls=3)
        with actor_at(server, spending=spending) as actor:
            with pytest.raises(SpendingLimit, match="spent 3 of at most 3 calls.*lost answers"):
                act(actor, STATES[:1])
        assert len(server.calls) == 3


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost_or_doubled_whatever_goes_wrong(seed, tmp_path):
    faults = [fault for fault, _, _ in PASSING.values() if fault is not chat_server.drip]
    silence = PASSING["slow"][0]
    rng = random.Random(seed)
    plan = [rng.choice(faults) if rng.random() < 0.4 else None for _ in range(1000)]
    states = [PlainState(f"s{i}") for i in range(40)]
    spending = Spending(prices=PRICES)
    with ReplyCache(tmp_path / "cache") as cache:
        with ChatServer(fault=lambda call: plan[call.number]) as server:
            with actor_at(
                server, cache=cache, spending=spending, max_retries=30, concurrency=8, timeout=0.5
            ) as actor:
                replies = act(actor, states)
                retried = actor.retried
            num_calls, answered = len(server.calls), collections.Counter(server.answered)
            assert (
                server.most_at_once <= 8 + retried["timeout"]
            )  # the server does not know of those
        assert len(cache) == len(states)
    assert [reply.action for reply in replies] == [f"do full {state.key}" for state in states]
    assert sum(reply.retries for reply in replies) == sum(retried.values())
    assert num_calls == len(states) + sum(retried.values())
    assert sum(reply.cost for reply in replies) == 20.0 * len(states)
    assert spending.spent.money - spending.spent.lost_money == 20.0 * len(states)
    # On a machine with much else to do a good answer may come too late; it is then asked for again.
    late = retried["timeout"] - sum(fault is silence for fault in plan[:num_calls])
    assert answered.keys() == {f"full {state.key}" for state in states}
    assert len(states) <= answered.total() <= len(states) + late
