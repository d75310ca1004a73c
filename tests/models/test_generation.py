"""Generation against the plain forward pass, token by token and row by row."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import nnx

from models.config import Execution
from models.generation import Generator
from models.llama import Llama
from models.stopping import StopTable, text_before
from tests.models import tiny

LENGTH = 32  # of all plain forward passes
NEVER = StopTable.build(tiny.VOCAB)
# What tokens stand for in tests of stop strings: two letters each.
BYTES = [chr(97 + i // 8).encode() + chr(97 + i % 8).encode() for i in range(tiny.VOCAB)]


def prompts(count, shortest=1, longest=16, seed=0):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(shortest, longest + 1, count)
    return [rng.integers(0, tiny.VOCAB, size).tolist() for size in sizes]


def generate(some, seeds=None, *, max_rows=4, model=None, **rest):
    """Four rows or one at a time; a program costs seconds, so most tests use the same three."""
    generator = Generator(tiny.llama() if model is None else model, max_rows=max_rows)
    arguments = {"max_new_tokens": 10, "stop": NEVER, **rest}
    return generator.generate(some, [[0]] * len(some) if seeds is None else seeds, **arguments)


def small(**changes):
    """A model of one layer. Programs are compiled for each config anew."""
    config = dataclasses.replace(tiny.CONFIG, num_hidden_layers=1, **changes)
    return Llama(config, rngs=nnx.Rngs(0), dtype="float32")


@functools.cache
def forward():
    graphdef, weights = nnx.split(tiny.llama())

    @jax.jit
    def run(tokens, length):
        model = nnx.merge(graphdef, weights)
        return jax.nn.log_softmax(model.logits(model(tokens[None])[0, length - 1]))

    return run


def log_probabilities(tokens):
    """[V] after these tokens, by a pass over all of them without a cache."""
    padded = np.zeros(LENGTH, np.int32)
    padded[: len(tokens)] = tokens
    return np.asarray(forward()(padded, len(tokens)))


def same(found, expected, *, exact=False):
    assert found.tokens.tolist() == expected.tokens.tolist()
    tolerance = dict(rtol=0, atol=0) if exact else dict(rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.logprobs, expected.logprobs, **tolerance)
    assert found.finish == expected.finish


def test_cached_and_padded_greedy_tokens_are_those_of_plain_forward_passes():
    some = prompts(7)
    for prompt, [reply] in zip(some, generate(some), strict=True):
        seen = list(prompt)
        for token, logprob in zip(reply.tokens, reply.logprobs, strict=True):
            expected = log_probabilities(seen)
            assert token == np.argmax(expected)
            np.testing.assert_allclose(logprob, expected[token], rtol=1e-4, atol=1e-5)
            seen.append(int(token))
        assert len(reply.tokens) == 10 and reply.finish == "length"


def test_the_cache_is_made_larger_for_long_replies():
    """48 slots for new tokens, after 32."""
    model, [prompt] = small(), prompts(1)
    [[reply]] = generate([prompt], model=model, max_rows=1, max_new_tokens=40)
    hidden = model(jnp.array([[*prompt, *reply.tokens]]))[0, len(prompt) - 1 : -1]
    expected = jax.nn.log_softmax(model.logits(hidden))
    assert reply.tokens.tolist() == jnp.argmax(expected, axis=-1).tolist()
    np.testing.assert_allclose(reply.logprobs, expected.max(axis=-1), rtol=1e-4, atol=1e-5)


def test_log_probabilities_of_sampled_tokens_are_the_models_own():
    some = prompts(3)
    for prompt, [reply] in zip(some, generate(some, temperature=1.7, top_p=0.9), strict=True):
        for i, token in enumerate(reply.tokens):
            expected = log_probabilities([*prompt, *reply.tokens[:i].tolist()])[token]
            np.testing.assert_allclose(reply.logprobs[i], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("temperature, top_p", [(0.0, 1.0), (1.0, 1.0), (1.3, 0.8)])
def test_a_row_depends_on_its_prompt_and_seed_alone(temperature, top_p):
    """Among other neighbours, in other blocks, in another order."""
    some, seeds = prompts(9), [[100 + i] for i in range(9)]
    sampled = dict(temperature=temperature, top_p=top_p)
    together = generate(some, seeds, **sampled)
    back = generate(some[::-1], seeds[::-1], **sampled)[::-1]
    fewer = generate(some[::2], seeds[::2], **sampled)
    for row in range(9):
        same(back[row][0], together[row][0])
        same(fewer[row // 2][0], together[row - row % 2][0])


def test_a_row_is_the_same_in_any_bucket():
    """Alone, among four, and beside a prompt that is longer than the others' bucket."""
    some, seeds = prompts(4), [[10], [11], [12], [13]]
    long = prompts(1, 30, 30)
    together = generate(some, seeds, temperature=1.0)
    beside = generate(some[:3] + long, seeds, temperature=1.0)
    [alone] = generate(some[:1], seeds[:1], temperature=1.0)
    same(alone[0], together[0][0])
    for row in range(3):
        same(beside[row][0], together[row][0])


def test_the_same_call_gives_the_same_bits():
    some = prompts(5)
    first, again = (generate(some, temperature=1.0) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        same(one[0], other[0], exact=True)


def test_seeds_decide_at_a_temperature_and_not_without():
    four = prompts(1) * 4
    sampled = generate(four, [[1], [2], [1], [3]], temperature=1.0)
    same(sampled[0][0], sampled[2][0])
    assert len({tuple(reply.tokens) for [reply] in sampled}) == 3
    greedy = generate(four, [[1, 2], [3], [4], [5]])
    same(greedy[0][0], greedy[0][1], exact=True)
    same(greedy[0][0], greedy[3][0])


def test_sampled_tokens_follow_the_softmax_of_the_model():
    """First tokens of 1,000 seeds against one plain forward pass: chi-square over the ten likeliest
    tokens and the rest."""
    [prompt] = prompts(1)
    replies = generate(
        [prompt] * 1000, [[i] for i in range(1000)], max_new_tokens=1, temperature=1.0
    )
    p = np.exp(log_probabilities(prompt).astype(float))
    order = np.argsort(-p)
    tokens = [reply.tokens[0] for [reply] in replies]
    counts = np.bincount(tokens, minlength=tiny.VOCAB)[order]
    expected = np.array([*p[order][:10], p[order][10:].sum()])
    observed = [*counts[:10], counts[10:].sum()]
    assert scipy.stats.chisquare(observed, 1000 * expected / expected.sum()).pvalue > 0.01


@pytest.fixture
def traced(monkeypatch):
    """Shapes of the tokens that passes are compiled for, from here on."""
    shapes = {"prefill": [], "step": []}
    prefill, step = Llama.prefill, Llama.step

    def recording_prefill(self, tokens, *arguments, **rest):
        shapes["prefill"].append(tokens.shape)
        return prefill(self, tokens, *arguments, **rest)

    def recording_step(self, tokens, *arguments, **rest):
        shapes["step"].append(tokens.shape)
        return step(self, tokens, *arguments, **rest)

    monkeypatch.setattr(Llama, "prefill", recording_prefill)
    monkeypatch.setattr(Llama, "step", recording_step)
    return shapes


def test_samples_of_a_prompt_share_its_prefill(traced):
    """Four samples and eight, which are two blocks: one row in prefill, four where tokens are
    drawn. A prompt without seeds gets no reply. Each sample is what it is on its own."""
    model = small(bos_token_id=1)
    some = prompts(3)
    seeds = [list(range(4)), [], list(range(10, 18))]
    together = generate(some, seeds, model=model, temperature=1.0)
    assert traced == {"prefill": [(1, 16)], "step": [(4, 1)]}
    assert [len(replies) for replies in together] == [4, 0, 8]
    pairs = [(prompt, [seed]) for prompt, group in zip(some, seeds, strict=True) for seed in group]
    apart = generate(*zip(*pairs, strict=True), model=model, temperature=1.0)
    for found, [expected] in zip(sum(together, []), apart, strict=True):
        same(found, expected)


def test_nothing_compiles_again_as_lengths_numbers_and_weights_vary(traced):
    """Prompts of 1 to 16 tokens, 2 to 4 of them, replies of up to 6 to 16, other ends, temperatures
    and weights."""
    model = small(bos_token_id=2)
    for i, count in enumerate((4, 2, 3)):
        generate(prompts(count, seed=i), max_new_tokens=16 - 5 * i, model=model)
    generate(prompts(4), stop=StopTable.build(tiny.VOCAB, [3, 5]), model=model)
    model.norm.scale[...] = 2 * model.norm.scale[...]
    generate(prompts(4), model=model)
    assert traced == {"prefill": [(4, 16)], "step": [(4, 1)]}
    for i in range(3):
        generate(prompts(4, seed=i), temperature=0.5 + i)
    assert len(traced["prefill"]) <= 2


@pytest.fixture
def stepped(monkeypatch):
    """Counts the decoding steps that are run from here on."""
    count = []
    step = Llama.step

    def counting(self, *arguments, **rest):
        jax.debug.callback(lambda: count.append(1))
        return step(self, *arguments, **rest)

    monkeypatch.setattr(Llama, "step", counting)
    return count


def test_the_loop_ends_with_its_last_row(stepped):
    model = small(bos_token_id=3)
    some = prompts(3)
    whole = [reply.tokens.tolist() for [reply] in generate(some, model=model)]
    jax.effects_barrier()
    assert len(stepped) == 9  # the last of ten tokens is drawn, and not looked at
    ends = {tokens[i] for i, tokens in enumerate(whole)}
    lengths = [1 + min(map(tokens.index, ends & {*tokens})) for tokens in whole]
    assert 1 < max(lengths) < 10
    del stepped[:]
    ended = generate(some, model=model, stop=StopTable.build(tiny.VOCAB, ends))
    jax.effects_barrier()
    assert len(stepped) == max(lengths) - 1
    for [reply], tokens, length in zip(ended, whole, lengths, strict=True):
        assert reply.tokens.tolist() == tokens[:length]
        assert len(reply.logprobs) == length and reply.finish == "end"


def test_end_tokens_are_those_of_the_config_unless_told():
    model = small(eos_token_id=tuple(range(32)))
    whole, ended = (generate(prompts(4), model=model, stop=stop) for stop in (NEVER, None))
    for [before], [reply] in zip(whole, ended, strict=True):
        places = np.flatnonzero(before.tokens < 32)
        expected = before.tokens[: places[0] + 1] if places.size else before.tokens
        np.testing.assert_array_equal(reply.tokens, expected)
        assert reply.finish == ("end" if places.size else "length")
    assert {reply.finish for [reply] in ended} == {"end", "length"}


def test_stop_strings_are_found_across_tokens():
    """The string begins in the middle of one token, and ends in the middle of the next but one."""
    some = prompts(4)
    whole = [replies[0] for replies in generate(some)]
    text = [b"".join(BYTES[token] for token in reply.tokens).decode() for reply in whole]
    string = text[0][5:9]
    stop = StopTable.build(tiny.VOCAB, strings=[string], token_bytes=BYTES)
    stopped = generate(some, stop=stop)
    end = text[0].index(string) + len(string)
    np.testing.assert_array_equal(stopped[0][0].tokens, whole[0].tokens[: (end + 1) // 2])
    data = b"".join(BYTES[token] for token in stopped[0][0].tokens)
    assert text_before(data, [string]) == text[0][: text[0].index(string)]
    for [reply], before, said in zip(stopped, whole, text, strict=True):
        assert reply.finish == ("stop" if string in said else "length")
        same_length = len(reply.tokens) == len(before.tokens)
        assert same_length or string in said


def test_long_prompts_are_refused_or_cut_on_the_left_and_counted():
    model = small(max_position_embeddings=20)
    some = prompts(1, 5, 5) + prompts(1, 16, 16)
    with pytest.raises(ValueError, match=r"prompts\[1\]: 16 tokens, expected at most 10"):
        generate(some, model=model)
    cut = Generator(model, max_rows=4, too_long="truncate")
    some += [some[1][6:]]
    found = cut.generate(some, [[0]] * 3, max_new_tokens=10, stop=NEVER)
    assert [reply.dropped for [reply] in found] == [0, 6, 0]
    same(found[1][0], found[2][0])


def test_bfloat16_weights_and_cache_generate():
    model = small()
    model.execution = Execution(dtype="bfloat16")
    [[reply]] = generate(prompts(1), model=model)
    assert len(reply.tokens) == 10 and np.isfinite(reply.logprobs).all()


def test_weights_that_are_no_numbers_stop_it():
    model = tiny.llama()
    model.norm.scale[...] = jnp.full(tiny.CONFIG.hidden_size, jnp.nan)
    with pytest.raises(FloatingPointError, match=r"prompts\[0\]: the logits of new token 0"):
        generate(prompts(2), model=model)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(some=[[1], []]), r"prompts\[1\] is \[\], expected one token id or more"),
        (dict(some=[[1, 64]]), r"prompts\[0\] holds token 64, expected 0 <= id < 64"),
        (dict(some=[[-1]]), r"prompts\[0\] holds token -1"),
        (dict(some=[[0.5]]), r"prompts\[0\] is \[0.5\]"),
        (dict(some=[[1]], seeds=[]), "seeds has 0 entries, expected 1, as prompts"),
        (dict(some=[[1]], seeds=[[-1]]), "a seed is -1"),
        (dict(some=[[1]], max_new_tokens=0), "max_new_tokens is 0, expected 1 or more"),
        (dict(some=[[1]], max_new_tokens=128), "max_new_tokens is 128, expected 1 or more, and"),
        (dict(some=[[1]], temperature=-1.0), "temperature is -1.0"),
        (dict(some=[[1]], stop=StopTable.build(9)), "stop is for 9 tokens, expected 64"),
        (dict(some=[[1]], max_rows=0), "max_rows is 0, expected 1 or more"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        generate(**arguments)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere memory sets the limit")
@pytest.mark.parametrize("vocab_size, rows", [(64, 8), (6_000, 24), (20_000, 32)])
def test_more_rows_share_the_weights_of_models_whose_weights_outweigh_their_caches(
    vocab_size, rows
):
    # A word is 32 weights; the keys and values of 256 tokens are 8,192 numbers.
    model = small(vocab_size=vocab_size)
    assert Generator(model).max_rows == rows


def test_what_becomes_of_long_prompts_is_one_of_two():
    with pytest.raises(ValueError, match="too_long is 'cut', expected 'refuse' or 'truncate'"):
        Generator(tiny.llama(), too_long="cut")


def test_weights_are_those_at_the_call():
    model = nnx.clone(tiny.llama())
    generators = [Generator(model, max_rows=4, fixed=fixed) for fixed in (False, True)]

    def logprobs():
        some = [one.generate([[1, 2]], [[0]], max_new_tokens=10) for one in generators]
        np.testing.assert_array_equal(some[0][0][0].logprobs, some[1][0][0].logprobs)
        return some[0][0][0].logprobs

    before = logprobs()
    model.norm.scale[...] = -model.norm.scale[...]
    assert logprobs()[0] != before[0]


def test_no_prompts_give_no_replies():
    assert generate([]) == []
