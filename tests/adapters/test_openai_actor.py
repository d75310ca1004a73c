"""An actor over a server that answers well: what is sent, what comes back, and what it costs."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from adapters.openai_actor import OpenAIActor
from adapters.reply_cache import ReplyCache
from adapters.spending import Prices, Spending, SpendingLimit
from tests.adapters.chat_server import ChatServer, says, slow, status, together
from tests.adapters.plain_state import PlainState

KEYS = [f"s{i}" for i in range(20)]
STATES = [PlainState(key, ("do FULL s3", "look")) for key in KEYS]
PRICES = Prices(input=1_000_000.0, output=2_000_000.0)  # 1 and 2 a token


def actor_at(server, **options):
    options = {"api_key_env": None, "base_url": server.base_url, **options}
    return OpenAIActor("tiny", **options)


def act(actor, states=STATES, seeds=None):
    return actor.act(states, seeds or [0] * len(states))


def test_each_state_gets_the_reply_to_its_own_text_in_order():
    with ChatServer(fault=lambda call: slow(0.02 * (call.number % 3))) as server:
        with actor_at(server) as actor:
            replies = act(actor)
    assert [reply.action for reply in replies[:3]] == ["do full s0", "do full s1", "do full s2"]
    assert replies[3].action == "do FULL s3"  # in the words of the admissible action
    assert [reply.action for reply in replies[4:]] == [f"do full {key}" for key in KEYS[4:]]
    assert replies[0].raw == "Reasoning: none.\nAction: do full s0"
    assert {(r.input_tokens, r.output_tokens, r.retries, r.cached) for r in replies} == {
        (10, 5, 0, False)
    }
    assert all(0 < reply.seconds < 5 for reply in replies)


def test_sends_what_it_was_told_to_and_no_more():
    with ChatServer() as server:
        with actor_at(
            server, system="Be brief.", style="compact", max_tokens=7, extra={"top_p": 0.5}
        ) as actor:
            act(actor, STATES[:1])
    (call,) = server.calls
    assert call.path == "/v1/chat/completions"
    assert call.body == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "compact s0"},
        ],
        "temperature": 0.0,
        "max_tokens": 7,
        "top_p": 0.5,
    }


def test_sends_seeds_only_if_asked_and_only_when_it_samples():
    sent = []
    for options in ({}, {"send_seed": True}, {"send_seed": True, "temperature": 0.0}):
        with ChatServer() as server:
            with actor_at(
                server, max_tokens_field="max_completion_tokens", **{"temperature": 1.0, **options}
            ) as actor:
                act(actor, STATES[:1], [2**40 + 3])
        sent.append(server.calls[0].body.get("seed"))
        assert server.calls[0].body["max_completion_tokens"] == 300
        assert "max_tokens" not in server.calls[0].body
    assert sent == [None, 3, None]


@pytest.mark.parametrize("concurrency", [1, 4])
def test_no_more_calls_at_once_than_allowed_and_no_fewer(concurrency):
    group = together(concurrency)
    with ChatServer(fault=lambda call: group, delay=0.03) as server:
        with actor_at(server, concurrency=concurrency) as actor:
            act(actor)
        assert server.most_at_once == concurrency
        assert len(server.answered) == len(STATES)


def test_threads_share_one_bound_on_calls_at_once():
    group = together(5)
    with ChatServer(fault=lambda call: group, delay=0.03) as server:
        with actor_at(server, concurrency=5) as actor:
            halves = STATES[:10], STATES[10:]
            threads = [threading.Thread(target=act, args=(actor, half)) for half in halves]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert server.most_at_once == 5
        assert sorted(server.answered) == sorted(f"full {key}" for key in KEYS)


def test_works_inside_a_running_event_loop_and_again_and_again():
    async def notebook(actor):
        return [act(actor, STATES[:2]) for _ in range(3)]

    with ChatServer() as server:
        with actor_at(server) as actor:
            rounds = [*asyncio.run(notebook(actor)), act(actor, STATES[:2])]
        assert [[reply.action for reply in replies] for replies in rounds] == 4 * [
            ["do full s0", "do full s1"]
        ]
        assert len(server.calls) == 8


def test_connections_are_kept_from_one_act_to_the_next():
    connections = set()
    with ChatServer(fault=lambda call: connections.add(call.headers["client"])) as server:
        with actor_at(server) as actor:
            for _ in range(5):
                act(actor, STATES[:1])
    assert len(connections) == 1


def test_the_same_request_twice_in_a_batch_is_called_and_paid_for_once():
    with ChatServer(delay=0.05) as server:
        spending = Spending(prices=PRICES)
        with actor_at(server, spending=spending) as actor:
            first, second = act(actor, [STATES[0], STATES[0]])
        assert len(server.calls) == 1
    assert (first.cost, first.cached, first.input_tokens) == (20.0, False, 10)
    assert (second.cost, second.cached, second.input_tokens) == (0.0, True, 0)
    assert second.action == first.action and second.raw == first.raw
    assert spending.spent.money == 20.0


def test_what_is_shared_is_read_with_each_states_own_actions():
    states = [PlainState("s", ("Do full s",)), PlainState("s", ("do FULL S",))]
    with ChatServer() as server, actor_at(server) as actor:
        assert [reply.action for reply in act(actor, states)] == ["Do full s", "do FULL S"]
        assert len(server.calls) == 1


def test_a_rerun_with_the_cache_calls_and_costs_nothing(tmp_path):
    runs = []
    with ChatServer() as server:
        for _ in range(2):
            with ReplyCache(tmp_path / "cache") as cache:
                spending = Spending(prices=PRICES)
                with actor_at(server, cache=cache, spending=spending) as actor:
                    runs.append(act(actor))
        assert len(server.calls) == len(STATES)
    first, second = runs
    assert [reply.action for reply in first] == [reply.action for reply in second]
    assert all(reply.cost == 20.0 and not reply.cached for reply in first)
    assert all(reply.cost == 0.0 and reply.cached for reply in second)
    assert spending.spent.calls == 0


def test_the_cache_tells_apart_all_that_an_answer_depends_on(tmp_path):
    variants = [
        {},
        {"temperature": 1.0},
        {"max_tokens": 301},
        {"system": "x"},
        {"style": "compact"},
        {"extra": {"top_p": 0.9}},
    ]
    with ChatServer() as server, ChatServer() as other, ReplyCache(tmp_path / "cache") as cache:
        for count, options in enumerate([*variants, {"base_url": other.base_url}], start=1):
            for _ in range(2):
                with actor_at(server, cache=cache, **options) as actor:
                    act(actor, STATES[:1], [5])
            assert len(cache) == len(server.calls) + len(other.calls) == count
        with actor_at(server, cache=cache, temperature=1.0) as actor:
            assert not act(actor, STATES[:1], [6])[0].cached  # another seed, another sample
        with actor_at(server, cache=cache) as actor:
            assert act(actor, STATES[:1], [6])[0].cached  # greedy: the seed does not matter


def test_a_reply_cut_off_is_truncated_and_no_wrong_action():
    cut = "Reasoning: the room is so very"
    with ChatServer([says(cut, "length", (10, 300))]) as server, actor_at(server) as actor:
        (reply,) = act(actor, STATES[:1])
    assert (reply.action, reply.truncated, reply.error) == (None, True, None)
    assert (reply.raw, reply.output_tokens) == (cut, 300)


def test_a_reply_cut_off_after_its_action_is_used():
    with ChatServer([says("Action: look\nThat is be", "length")]) as server:
        with actor_at(server) as actor:
            (reply,) = act(actor, STATES[:1])
    assert (reply.action, reply.truncated) == ("look", False)


def test_a_reply_that_a_filter_keeps_back_is_an_error_paid_for_and_not_kept(tmp_path):
    with ChatServer([says(None, "content_filter")]) as server:
        with ReplyCache(tmp_path / "cache") as cache:
            with actor_at(server, cache=cache, spending=Spending(prices=PRICES)) as actor:
                (reply,) = act(actor, STATES[:1])
            assert len(cache) == 0
    assert reply.action is None and not reply.truncated
    assert "content filter" in reply.error and reply.cost == 20.0


def test_thoughts_in_a_field_of_their_own_are_kept_and_are_no_action():
    thought = "Action: wrong"
    with ChatServer([says("Action: look", reasoning_content=thought)]) as server:
        with actor_at(server) as actor:
            (reply,) = act(actor, STATES[:1])
    assert reply.action == "look" and thought in reply.raw


def test_another_parser_may_read_the_replies():
    def shout(raw, actions, *, cut=False):
        return raw.splitlines()[-1].upper()

    with ChatServer() as server, actor_at(server, parse=shout) as actor:
        assert act(actor, STATES[:1])[0].action == "ACTION: DO FULL S0"


@pytest.mark.parametrize("concurrency", [1, 3, 16])
def test_a_limit_on_calls_is_met_exactly_and_no_reply_is_lost(concurrency, tmp_path):
    with ChatServer(delay=0.01) as server, ReplyCache(tmp_path / "cache") as cache:
        spending = Spending(max_calls=7)
        with actor_at(server, concurrency=concurrency, cache=cache, spending=spending) as actor:
            with pytest.raises(SpendingLimit, match="spent 7 of at most 7 calls") as limit:
                act(actor)
        assert len(server.calls) == len(cache) == 7
    replies = limit.value.replies
    assert len(replies) == len(STATES)
    answered = [f"full {key}" for key, reply in zip(KEYS, replies, strict=True) if reply]
    assert sorted(answered) == sorted(server.answered)
    assert limit.value.spent.calls == 7


@pytest.mark.parametrize("concurrency", [1, 16])
def test_a_limit_on_money_is_never_passed_however_many_calls_run_at_once(concurrency):
    # A call costs 20 and may cost 7 + 64 + 2 * 8 = 87: bytes of its text, tokens of a template,
    # tokens of the reply. So two can run at once, and after five of them 74 are left, too little.
    with ChatServer(delay=0.01) as server:
        spending = Spending(max_money=174.0, prices=PRICES)
        with actor_at(server, concurrency=concurrency, max_tokens=8, spending=spending) as actor:
            with pytest.raises(SpendingLimit):
                act(actor, STATES[:10])
        assert server.most_at_once <= 2
    assert spending.spent.calls == len(server.calls) == 5
    assert spending.spent.money == 100.0


def test_one_account_limits_two_actors():
    with ChatServer() as server:
        spending = Spending(max_calls=3)
        with actor_at(server, spending=spending) as one, actor_at(server, spending=spending) as two:
            act(one, STATES[:2])
            act(two, STATES[:1])
            with pytest.raises(SpendingLimit):
                act(one, STATES[3:4])
        assert len(server.calls) == 3


def test_a_server_that_does_not_count_tokens_is_charged_at_the_most():
    with ChatServer([says("Action: look", usage=None)]) as server:
        spending = Spending(prices=PRICES)
        with actor_at(server, max_tokens=8, spending=spending) as actor:
            (reply,) = act(actor, STATES[:1])
    assert reply.action == "look" and reply.input_tokens == 0
    assert reply.cost == spending.spent.lost_money == spending.spent.money == 7 + 64 + 2 * 8


def test_an_estimate_is_announced_once_and_before_the_first_call():
    lines = []
    with ChatServer(fault=lambda call: lines.append("call")) as server:
        spending = Spending(max_money=1e9, prices=PRICES)
        with actor_at(
            server, spending=spending, expected_calls=40, max_tokens=8, announce=lines.append
        ) as actor:
            assert lines == []
            act(actor, STATES[:2])
            act(actor, STATES[2:4])
    # Texts of 7 bytes are taken for 1.75 tokens: 40 * (1.75 + 2 * 8) = 710.
    assert lines == [
        "tiny: expected 40 calls: about 70 input tokens, at most 320 output tokens, about 710.0000 "
        "at most; spent 0 calls and 0.0000 of at most 1,000,000,000.0000",
        *4 * ["call"],
    ]


def test_nothing_is_announced_where_all_is_in_the_cache(tmp_path):
    lines = []
    with ChatServer() as server, ReplyCache(tmp_path / "cache") as cache:
        for _ in range(2):
            with actor_at(server, cache=cache, announce=lines.append) as actor:
                act(actor, STATES[:2])
    assert len(lines) == 1


def test_the_key_comes_from_the_named_variable(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-secret")
    with ChatServer() as server, actor_at(server, api_key_env="MY_KEY") as actor:
        act(actor, STATES[:1])
    assert server.calls[0].headers["authorization"] == "Bearer sk-secret"


def test_a_missing_key_is_told_by_the_name_of_its_variable(monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(ValueError, match="MY_KEY is not set"):
        OpenAIActor("tiny", api_key_env="MY_KEY")


def test_the_key_is_kept_out_of_errors(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-secret")
    quoting = status(401, message="Incorrect API key provided: sk-secret.")
    with ChatServer([quoting]) as server, actor_at(server, api_key_env="MY_KEY") as actor:
        (reply,) = act(actor, STATES[:1])
    assert reply.error == "401 Incorrect API key provided: [key]."


def test_the_address_may_come_from_the_environment(monkeypatch):
    with ChatServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url + "/")
        with actor_at(server, base_url=None) as actor:
            assert actor.base_url == server.base_url
            assert act(actor, STATES[:1])[0].action == "do full s0"
    monkeypatch.delenv("OPENAI_BASE_URL")
    with OpenAIActor("tiny", api_key_env=None) as actor:
        assert actor.base_url == "https://api.openai.com/v1"


@pytest.mark.parametrize(
    "options, words",
    [
        ({"temperature": -0.1}, "temperature is -0.1"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"concurrency": 0}, "concurrency is 0, expected 1 to 1000"),
        ({"timeout": 0}, "timeout is 0"),
        ({"max_retries": -1}, "max_retries is -1"),
        ({"extra": {"n": 2}}, r"extra has \['n'\]"),
        ({"max_tokens_field": "tokens"}, "max_tokens_field is 'tokens'"),
    ],
)
def test_bad_arguments_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        OpenAIActor("tiny", api_key_env=None, **options)


def test_states_and_seeds_go_together():
    with OpenAIActor("tiny", api_key_env=None) as actor:
        with pytest.raises(ValueError, match="seeds has 1 entries, expected 2"):
            actor.act(STATES[:2], [0])


def test_ctrl_c_stops_the_calls_and_the_actor_can_be_used_again():
    def interrupt(*_):
        raise KeyboardInterrupt

    def press(handler, call):
        os.kill(os.getpid(), signal.SIGALRM)
        handler.server.owner.stopping.wait(30)
        handler.hang_up()

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with ChatServer([slow(30), press]) as server:
            spending = Spending(prices=PRICES)
            with actor_at(server, concurrency=2, spending=spending) as actor:
                begin = time.monotonic()
                with pytest.raises(KeyboardInterrupt):
                    act(actor)
                assert time.monotonic() - begin < 20
                assert act(actor, STATES[:1])[0].action == "do full s0"
            assert len(server.calls) == 3
        # The server may have billed what was interrupted.
        assert (spending.spent.calls, spending.spent.lost_calls) == (3, 2)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_failing_cache_stops_the_batch_and_says_so(tmp_path):
    class Full(ReplyCache):
        def put(self, key, answer):
            raise OSError("disk full")

    # The second call is under way when the first one's answer cannot be kept; it fails after that.
    with ChatServer([None, slow(0.3, status(500))]) as server, Full(tmp_path / "cache") as cache:
        with actor_at(server, cache=cache, concurrency=2) as actor:
            with pytest.raises(OSError, match="disk full"):
                act(actor)
        assert len(server.calls) == 2


def test_an_actor_that_nobody_closed_ends_with_the_program_or_before():
    program = textwrap.dedent("""
        import gc
        from adapters.openai_actor import OpenAIActor
        from tests.adapters.chat_server import ChatServer
        from tests.adapters.plain_state import PlainState
        with ChatServer() as server:
            for end in ("collected", "left open"):
                actor = OpenAIActor("tiny", base_url=server.base_url, api_key_env=None)
                print(actor.act([PlainState(end)], [0])[0].action)
                if end == "collected":
                    del actor
                    gc.collect()
    """)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == (
        "do full collected\ndo full left open\n", "", 0
    )  # fmt: skip


def test_no_thread_is_left_when_an_actor_is_gone():
    with ChatServer() as server:
        actor = actor_at(server)
        act(actor, STATES[:1])
        assert any("OpenAIActor" in thread.name for thread in threading.enumerate())
        del actor
        gc.collect()
        assert not any("OpenAIActor" in thread.name for thread in threading.enumerate())
