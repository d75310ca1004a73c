"""A model in a local folder as an actor: prompts, batches, seeds, ends of replies, errors.

The model is random, so it says nothing that makes sense, but always the same. Its blocks have one
row: what batches do is tested with `models.generation`, and each size of them takes a compilation.
"""

import json
import socket

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from adapters.llama_actor import LlamaActor
from adapters.memo import Memoised
from adapters.search import Search
from models import convert
from models.config import Execution, LlamaConfig
from models.generation import Generation, Generator
from models.llama import Llama
from models.tokenizer import Tokenizer, train
from tests.adapters.plain_state import PlainState

CORPUS = [f"full s{i} compact look go to door {i % 10}\n" for i in range(200)]
REPLY = "<|reply|>"
NEW = 8
STATES = [PlainState(f"s{i}", ("look", "go")) for i in range(6)]


def write_folder(path, *, chat_template=None, **changes):
    """A folder with a random model of one layer, and a tokenizer of the corpus."""
    tokenizer = train(
        CORPUS,
        path.with_name(f"{path.name}-tokenizer"),
        vocab_size=300,
        special_tokens=[REPLY],
        chat_template=chat_template,
    )
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=40,
        tie_word_embeddings=True,
        initializer_range=1.0,
        dtype="float32",
        eos_token_id=tokenizer.end_token,
        **changes,
    )
    model = Llama(config, rngs=nnx.Rngs(0))
    unreadable = [
        i for i, data in enumerate(tokenizer.token_bytes) if not data.isascii() or not data
    ]
    embedding = model.embed_tokens.embedding
    embedding[...] = embedding[...].at[jnp.array(unreadable)].set(0)  # hardly ever said
    convert.save(model, path, tokenizer_from=path.with_name(f"{path.name}-tokenizer"))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def tokenizer(folder):
    return Tokenizer.load(folder)


@pytest.fixture(scope="module")
def greedy(folder):
    return LlamaActor(folder, max_new_tokens=NEW, max_rows=1)


@pytest.fixture(scope="module")
def sampling(greedy):
    return greedy.at(1.0)


def say_all(raw, actions, *, cut=False):
    """A parser for tests of what is said."""
    return None if cut else raw


def acts(actor, states=STATES, seeds=None):
    return actor.act(states, seeds or [0] * len(states))


def test_replies_are_what_the_model_says_to_each_text(folder, tokenizer, greedy):
    """In the order of the states, which is not that of their lengths."""
    states = [PlainState("s1 look go to door 3"), PlainState("s2"), PlainState("s3 look")]
    replies = acts(greedy, states)
    generator = Generator(convert.load(folder), max_rows=1)
    for state, reply in zip(states, replies, strict=True):
        [prompt] = tokenizer.encode([f"compact {state.key}"])
        [[expected]] = generator.generate([prompt], [[0]], max_new_tokens=NEW)
        assert reply.raw == tokenizer.decode(expected.tokens)
        assert reply.input_tokens == len(prompt) and prompt[0] == 0
        assert reply.output_tokens == len(expected.tokens)
        assert reply.error is None and reply.cost == 0 and reply.seconds > 0
    assert len({reply.raw for reply in replies}) == 3


def test_nothing_is_sent_anywhere(folder, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert len(acts(LlamaActor(folder, max_new_tokens=NEW, max_rows=1), STATES[:1])) == 1


def test_seeds_decide_at_a_temperature_whatever_the_batch(sampling):
    """Five candidates of one state, as a search draws them, alone and among others."""
    candidates = acts(sampling, [STATES[0]] * 5, [11, 12, 13, 14, 15])
    assert len({reply.raw for reply in candidates}) > 1
    mixed = acts(sampling, [*STATES, STATES[0], STATES[0]], [1, 2, 3, 4, 5, 6, 14, 14])
    assert mixed[6].raw == mixed[7].raw == candidates[3].raw
    again = acts(sampling, STATES[::-1], [6, 5, 4, 3, 2, 1])
    assert [reply.raw for reply in again[::-1]] == [reply.raw for reply in mixed[:6]]


def test_a_text_is_prefilled_once_for_all_its_states(sampling, monkeypatch):
    asked = []

    def answer(self, prompts, seeds, **_):
        """Says each row's seed."""
        asked.append(seeds)
        tokens = [sampling._tokenizer.encode(list(map(str, some)), special=False) for some in seeds]
        return [[Generation(np.array(t), np.zeros(len(t)), "end") for t in some] for some in tokens]

    monkeypatch.setattr(Generator, "generate", answer)
    order = [STATES[i] for i in (0, 1, 0, 2, 0)]
    replies = acts(sampling, order, [1, 2, 3, 4, 1])
    assert asked == [[[1, 3, 1], [2], [4]]]
    assert [reply.raw for reply in replies] == ["1", "2", "3", "4", "1"]


def test_another_temperature_shares_the_weights(greedy, sampling):
    assert (greedy.temperature, sampling.temperature) == (0.0, 1.0)
    assert sampling.name == greedy.name == "tiny"
    assert greedy.at(0.5, top_p=0.9, name="warm").name == "warm"
    assert greedy.at(0.5, top_p=0.9).config == {**greedy.config, "top_p": 0.9}
    with pytest.raises(ValueError, match="temperature is -1"):
        greedy.at(-1)


def test_it_proposes_for_a_search(sampling):
    search = Search(sampling, lambda states, actions: [0.5] * len(actions))
    [reply] = search.act(STATES[:1], [search.start()], [0])
    assert reply.raw.startswith("Proposed: ") or reply.truncated


def test_a_stop_string_ends_the_reply_and_is_no_part_of_it(folder, greedy):
    """Two letters in the middle of the greedy reply, wherever its tokens begin. What stands before
    them is the action, in the words of the world."""
    [whole] = acts(greedy, STATES[:1])
    stop = whole.raw[3:5]
    before = whole.raw.partition(stop)[0]
    actor = LlamaActor(folder, max_new_tokens=NEW, max_rows=1, stop=[stop])
    [reply] = acts(actor, [PlainState("s0", (f"{before.upper()}!", "look"))])
    assert (reply.raw, reply.action) == (before, f"{before.upper()}!")
    assert not reply.truncated and reply.output_tokens < whole.output_tokens


@pytest.mark.parametrize("where", ["generation_config", "config", "tokenizer"])
def test_end_tokens_end_the_reply(tmp_path, where, greedy, tokenizer):
    """Each place counts only where the ones before say nothing. The first token that the model
    likes best is made the end."""
    [whole] = acts(greedy, STATES[:1])
    path = write_folder(tmp_path / "tiny")
    [first] = Generator(convert.load(path)).generate(
        tokenizer.encode([f"compact {STATES[0].key}"]), [[0]], max_new_tokens=1
    )
    end = int(first[0].tokens[0])
    entries = json.loads((path / "config.json").read_text())
    entries["eos_token_id"] = {"generation_config": 1, "config": end, "tokenizer": None}[where]
    (path / "config.json").write_text(json.dumps(entries))
    if where == "generation_config":
        (path / "generation_config.json").write_text(json.dumps({"eos_token_id": [end, 1]}))
    if where == "tokenizer":
        name = tokenizer.hf.convert_ids_to_tokens(end)
        settings = json.loads((path / "tokenizer_config.json").read_text())
        (path / "tokenizer_config.json").write_text(json.dumps({**settings, "eos_token": name}))
    [reply] = acts(LlamaActor(path, max_new_tokens=NEW, max_rows=1, parse=say_all), STATES[:1])
    assert reply.output_tokens == 1 and not reply.truncated
    assert whole.output_tokens > 1


def test_replies_cut_off_before_their_action_are_truncated(folder):
    """The parser is told that the end is missing, and what it finds all the same counts."""
    told = []

    def parse(raw, actions, *, cut=False):
        told.append(cut)
        return "look" if len(told) == 1 else None

    actor = LlamaActor(folder, max_new_tokens=2, max_rows=1, parse=parse)
    replies = acts(actor, STATES[:2])
    assert told == [True, True]
    assert [(reply.action, reply.truncated) for reply in replies] == [("look", False), (None, True)]


def test_memoised_it_is_asked_once_in_each_state(greedy):
    actor = Memoised(greedy)
    first, again = acts(actor, STATES[:3]), acts(actor, STATES[:3])
    assert not any(reply.cached for reply in first) and all(reply.cached for reply in again)
    assert [reply.raw for reply in first] == [reply.raw for reply in again]


def test_prompts_are_what_the_caller_makes_of_the_text(folder, tokenizer):
    actor = LlamaActor(
        folder, style="full", max_new_tokens=NEW, max_rows=1, prompt=lambda text: f"{text}{REPLY}"
    )
    [reply] = acts(actor, STATES[:1])
    [prompt] = tokenizer.encode([f"full s0{REPLY}"])
    assert reply.input_tokens == len(prompt)


def test_chat_templates_make_the_prompt_where_there_is_one(tmp_path, folder):
    template = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}<|reply|>{% endfor %}"
    path = write_folder(tmp_path / "chat", chat_template=template)
    actor = LlamaActor(path, max_new_tokens=NEW, max_rows=1, system="look")
    expected = LlamaActor(
        folder, max_new_tokens=NEW, max_rows=1, prompt=lambda text: f"look{REPLY}{text}{REPLY}"
    )
    [reply], [other] = acts(actor, STATES[:1]), acts(expected, STATES[:1])
    assert (reply.raw, reply.input_tokens) == (other.raw, other.input_tokens)


def test_long_prompts_are_refused_or_cut_on_the_left_and_counted(folder, greedy):
    long = PlainState("x" * 60)
    with pytest.raises(ValueError, match=r"state 'x+': 6\d tokens, expected at most 32"):
        acts(greedy, [STATES[0], long])
    actor = LlamaActor(folder, max_new_tokens=NEW, max_rows=1, too_long="truncate")
    replies = acts(actor, [STATES[0], long])
    assert replies[1].input_tokens == 32 and actor.truncated_prompts == 1
    [cut] = acts(actor, [PlainState("x" * 80)])  # the same last 32 tokens
    assert cut.raw == replies[1].raw and actor.truncated_prompts == 2


def test_what_rollouts_say_about_it(folder, greedy, tmp_path):
    assert json.loads(json.dumps(greedy.config)) == greedy.config
    assert greedy.config["max_new_tokens"] == NEW and greedy.config["reads"] == "compact"
    other = write_folder(tmp_path / "tiny", rms_norm_eps=1e-5)
    assert LlamaActor(other, max_new_tokens=NEW).config["sha256"] != greedy.config["sha256"]
    assert LlamaActor(folder, max_new_tokens=NEW).config["sha256"] == greedy.config["sha256"]


def test_rollouts_name_what_is_not_the_default(folder, greedy):
    assert not greedy.config.keys() & {"computed_in", "prompt", "parse"}
    how = dict(max_new_tokens=NEW, prompt=_stripped, parse=_first_action)
    other = LlamaActor(folder, execution=Execution(dtype="bfloat16"), **how).config
    own = {"computed_in": "bfloat16"}
    assert other.pop("parse") == f"{__name__}:_first_action"
    assert other.pop("prompt") == f"{__name__}:_stripped"
    assert other == greedy.config | own


def _stripped(text):
    return text.strip()


def _first_action(said, actions, cut):
    return actions[0]


def test_no_states_give_no_replies(greedy):
    assert greedy.act([], []) == []
    with pytest.raises(ValueError, match="seeds has 1 entries, expected 0, as states"):
        greedy.act([], [1])


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(temperature=-1.0), "temperature is -1.0"),
        (dict(top_p=0.0), "top_p is 0.0"),
        (dict(max_new_tokens=0), "max_new_tokens is 0, expected 1 or more, and below 40"),
        (dict(max_new_tokens=40), "max_new_tokens is 40"),
        (dict(stop=[""]), "expected none to be empty"),
        (dict(stop="look"), "strings is 'look', expected a sequence"),
        (dict(too_long="cut"), "too_long is 'cut'"),
        (dict(max_rows=0), "max_rows is 0"),
        (dict(system="be brief"), "system is 'be brief', expected None: .*no chat template"),
    ],
)
def test_bad_arguments_are_refused(folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        LlamaActor(folder, **{"max_new_tokens": NEW, **arguments})


def test_folders_without_a_part_are_refused(folder, tmp_path):
    for missing in ("config.json", "tokenizer.json", "model.safetensors"):
        path = tmp_path / missing
        path.mkdir()
        for file in folder.iterdir():
            if file.name != missing:
                (path / file.name).write_bytes(file.read_bytes())
        with pytest.raises(FileNotFoundError):
            LlamaActor(path, max_new_tokens=NEW)


def test_a_vocabulary_beyond_the_embedding_is_refused(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    entries = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**entries, "vocab_size": 200}))
    with pytest.raises(ValueError, match="token ids go up to .*, expected below the"):
        LlamaActor(tmp_path, max_new_tokens=NEW)


@pytest.mark.parametrize("wrong", ["1", ["a"], 1.5, True])
def test_end_tokens_that_are_no_ids_are_refused(folder, tmp_path, wrong):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": wrong}))
    with pytest.raises(
        ValueError, match="generation_config.json: eos_token_id is .*, expected one"
    ):
        LlamaActor(tmp_path, max_new_tokens=NEW)
