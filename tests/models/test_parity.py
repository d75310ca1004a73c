"""Parity with PyTorch's `transformers`, live: from their folder to ours, and back to theirs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from models import convert
from models.config import LlamaConfig
from models.llama import Llama
from tests.models import parity, torch_reference
from tests.models.torch_reference import DEFAULT, LLAMA3, hf_config

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

CONFIGS = [
    *torch_reference.GOLDEN.values(),
    hf_config("llama", key_heads=4, tied=True, rope=LLAMA3),
    hf_config("llama", key_heads=1, tied=False, rope={**DEFAULT, "rope_theta": 500_000.0}),
    hf_config("qwen2", key_heads=4, tied=False, rope={**DEFAULT, "rope_theta": 1_000_000.0}),
    hf_config("qwen3", key_heads=1, tied=True, head_dim=8, attention_bias=True),
]


@pytest.mark.parametrize("config", CONFIGS, ids=range(len(CONFIGS)))
def test_parts_hidden_states_and_logits_are_those_of_transformers(tmp_path, config):
    theirs = torch_reference.model(config, seed=1)
    theirs.save_pretrained(tmp_path)
    tokens, mask = torch_reference.tokens_and_mask(length=40, padding=9)
    parts = torch_reference.outputs(theirs, tokens, mask)
    parity.check(convert.load(tmp_path), parts, tokens, mask)


@pytest.mark.parametrize("rope", [DEFAULT, LLAMA3], ids=["default", "llama3"])
@pytest.mark.parametrize("head_dim", [8, 64, 128])
def test_frequencies_are_those_of_transformers_to_a_float32_ulp_or_two(rope, head_dim):
    entries = hf_config("llama", key_heads=4, tied=True, rope=rope, head_dim=head_dim)
    theirs = torch_reference.model(entries).model.rotary_emb.inv_freq.numpy()
    ours = LlamaConfig.from_hf(entries).rope.frequencies(head_dim)
    np.testing.assert_allclose(ours, theirs, rtol=3e-7)


@pytest.mark.parametrize("name", list(torch_reference.GOLDEN))
def test_an_export_loads_in_transformers_and_generates_our_tokens(tmp_path, name):
    entries = {"dtype": "float32", "initializer_range": 0.4}
    config = LlamaConfig.from_hf({**torch_reference.GOLDEN[name], **entries})
    ours = Llama(config, rngs=nnx.Rngs(3))
    convert.save(ours, tmp_path / "export", max_shard_bytes=20_000)
    assert len(list((tmp_path / "export").glob("*.safetensors"))) > 1
    theirs, info = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "export", output_loading_info=True
    )
    assert not any(info.values()), info
    assert theirs.dtype == torch.float32
    tokens, mask = torch_reference.tokens_and_mask()
    parts = torch_reference.outputs(theirs, tokens, mask)
    parity.check(ours, parts, tokens, mask)
    generated = theirs.generate(
        torch.tensor(tokens),
        attention_mask=torch.tensor(mask),
        max_new_tokens=10,
        min_new_tokens=10,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=None,
    )
    assert len(set(generated[:, 12:].flatten().tolist())) > 3
    np.testing.assert_array_equal(greedy(ours, tokens, mask, 10), generated[:, 12:].numpy())


def greedy(model, tokens, mask, count):
    """The next `count` tokens of each row, int [B, count], by prefill and steps."""
    graphdef, state = nnx.split(model)

    @jax.jit
    def run(state, tokens, mask):
        model = nnx.merge(graphdef, state)
        hidden, cache = model.prefill(tokens, tokens.shape[1] + count, segments=mask)

        def step(carry, _):
            hidden, cache = carry
            token = jnp.argmax(model.logits(hidden), axis=-1)
            hidden, cache = model.step(token[:, None], cache)
            return (hidden[:, -1], cache), token

        _, found = jax.lax.scan(step, (hidden[:, -1], cache), None, length=count)
        return found.T

    return np.asarray(run(state, jnp.asarray(tokens), jnp.asarray(mask)))
