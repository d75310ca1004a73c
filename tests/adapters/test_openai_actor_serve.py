"""The actor against a server not written here: `transformers serve` on a tiny LLaMA of random
weights, which is made on the spot. Needs the extra `parity`."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from adapters.openai_actor import OpenAIActor
from adapters.reply_cache import ReplyCache
from adapters.spending import Prices, Spending
from tests.adapters.plain_state import PlainState

pytest.importorskip("torch", reason="needs the extra parity: torch")
pytest.importorskip("transformers", reason="needs the extra parity: transformers[serving]")
pytest.importorskip("fastapi", reason="needs the extra parity: transformers[serving]")
pytest.importorskip("uvicorn", reason="needs the extra parity: transformers[serving]")

STATES = [PlainState(f"s{i}", ("look", "wait")) for i in range(4)]
# Tokens are bytes; the template puts "user: ...\n" around a message and asks for "assistant:".
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
SECONDS_TO_START = 120  # it took 10 to 19 on two cores that others used as well


def make_model(folder) -> None:
    """A LLaMA of 30 thousand random weights over bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*alphabet, "<s>", "</s>"])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        bos_token_id=vocabulary["<s>"],
        eos_token_id=vocabulary["</s>"],
        pad_token_id=vocabulary["</s>"],
    )
    model = LlamaForCausalLM(config)
    model.generation_config.do_sample = True  # the server does not turn it on by itself
    model.save_pretrained(folder)


@contextlib.contextmanager
def serving(folder, log_path):
    """`transformers serve` as a process of its own; gives its base URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with open(log_path, "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        end = time.monotonic() + SECONDS_TO_START
        while not healthy(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, log_path.read_text()
            assert time.monotonic() < end, log_path.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def healthy(url) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny-llama")
    make_model(folder)
    with serving(folder, folder / "serve.log") as base_url:
        yield base_url, str(folder)


@pytest.fixture
def actor_at(server):
    base_url, model = server
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            OpenAIActor(
                model, name="tiny", base_url=base_url, api_key_env=None, max_tokens=12, **options
            )
        )


def act(actor, states=STATES, seed=0):
    return actor.act(states, [seed] * len(states))


def test_greedy_replies_are_whole_counted_and_always_the_same(actor_at):
    spending = Spending(max_calls=100, max_money=1.0, prices=Prices(1.0, 1.0))
    actor = actor_at(spending=spending, concurrency=4)
    first, second = act(actor), act(actor)
    for state, reply in zip(STATES, first, strict=True):
        assert reply.error is None and reply.retries == 0 and not reply.cached
        assert reply.raw and reply.seconds > 0
        # One token a byte: "user: full s0\nassistant:".
        assert reply.input_tokens == len(f"user: {state.text()}\nassistant:")
        assert 1 <= reply.output_tokens <= 12
        assert reply.truncated == (reply.action is None)
        assert reply.truncated == (reply.output_tokens == 12)
    assert [reply.raw for reply in first] == [reply.raw for reply in second]
    assert spending.spent.calls == 8 and spending.spent.lost_calls == 0
    assert spending.spent.input_tokens == 2 * sum(reply.input_tokens for reply in first)


def test_a_system_message_is_read_by_the_model(actor_at):
    (reply,) = act(actor_at(system="Be brief."), STATES[:1])
    assert reply.input_tokens == len("system: Be brief.\nuser: full s0\nassistant:")


def test_samples_follow_their_seed(actor_at):
    # One call at a time: the server seeds one generator for all.
    actor = actor_at(temperature=1.0, send_seed=True, concurrency=1)
    one, two, again = (act(actor, STATES[:2], seed) for seed in (1, 2, 1))
    assert [reply.raw for reply in one] == [reply.raw for reply in again]
    assert [reply.raw for reply in one] != [reply.raw for reply in two]


def test_the_cache_spares_the_second_run(actor_at, tmp_path):
    with ReplyCache(tmp_path / "cache") as cache:
        first, second = act(actor_at(cache=cache)), act(actor_at(cache=cache))
    assert [reply.raw for reply in first] == [reply.raw for reply in second]
    assert not any(reply.cached for reply in first) and all(reply.cached for reply in second)


def test_what_the_server_refuses_is_an_error_at_once(actor_at):
    (reply,) = act(actor_at(extra={"no_such_field": 1}), STATES[:1])
    assert reply.action is None and reply.retries == 0
    assert reply.error.startswith("422 ") and "no_such_field" in reply.error
