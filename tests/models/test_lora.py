"""Adapters: what they change, merging, and files."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from flax import nnx

from models import lora, tensors
from models.heads import HeadConfig, HeadedLlama
from models.llama import Llama
from models.lora import LoraConfig
from tests.models import tiny

CONFIG = LoraConfig(rank=3, alpha=6.0, targets=("q_proj", "v_proj", "down_proj"))
TOKENS = np.random.default_rng(0).integers(0, tiny.VOCAB, (2, 16))


@pytest.fixture
def model():
    return tiny.llama()


@functools.partial(jax.jit, static_argnums=0)
def run(graphdef, state):
    return nnx.merge(graphdef, state)(TOKENS)


def hidden(model):
    return np.asarray(run(*nnx.split(model)))


def adapt(model, seed=1):
    """With B at random, as after training."""
    lora.add(model, CONFIG, rngs=nnx.Rngs(seed))
    for i, variable in enumerate(jax.tree.leaves(nnx.state(model, nnx.LoRAParam), is_leaf=_is)):
        variable[...] = 0.2 * jax.random.normal(jax.random.key(i), variable.shape)


def _is(x):
    return isinstance(x, nnx.Variable)


def test_fresh_adapters_change_nothing_and_removed_ones_leave_nothing(model):
    before = hidden(model)
    lora.add(model, CONFIG, rngs=nnx.Rngs(1))
    np.testing.assert_array_equal(hidden(model), before)
    lora.remove(model)
    assert not jax.tree.leaves(nnx.state(model, nnx.LoRAParam))
    np.testing.assert_array_equal(hidden(model), before)


def test_merged_is_unmerged(model):
    plain = hidden(model)
    adapt(model)
    adapted = hidden(model)
    assert np.abs(adapted - plain).max() > 0.1
    lora.merge(model)
    assert not jax.tree.leaves(nnx.state(model, nnx.LoRAParam))
    np.testing.assert_allclose(hidden(model), adapted, rtol=1e-4, atol=1e-5)


def test_an_adapter_is_alpha_over_rank_times_a_b(model):
    adapt(model)
    adapted = model.layers[1].self_attn.q_proj
    x = jax.random.normal(jax.random.key(0), (5, tiny.CONFIG.hidden_size))
    expected = x @ (adapted.base.kernel[...] + 6 / 3 * adapted.a[...] @ adapted.b[...])
    np.testing.assert_allclose(adapted(x), expected, rtol=1e-5, atol=1e-5)


def test_only_adapters_and_the_head_are_trainable():
    model = tiny.headed(HeadConfig("success", 0))
    lora.add(model.backbone, CONFIG, rngs=nnx.Rngs(1))
    chosen, _ = nnx.split_state(nnx.state(model), lora.trainable(model), ...)
    names = {path[-1] if path[0] != "head" else "head" for path, _ in nnx.to_flat_state(chosen)}
    assert names == {"a", "b", "head"}
    assert len(nnx.to_flat_state(chosen)) == 2 * 3 * 2 + 2


def test_without_adapters_all_is_trainable_that_a_loss_reaches(model):
    untied = dataclasses.replace(tiny.CONFIG, tie_word_embeddings=False)
    model = Llama(untied, rngs=nnx.Rngs(0), dtype="float32")
    headed = HeadedLlama(model, tiny.headed(HeadConfig("success", 0)).head)
    for whole, expected in ((model, True), (headed, False)):
        chosen, _ = nnx.split_state(nnx.state(whole), lora.trainable(whole), ...)
        names = {"/".join(map(str, path)) for path, _ in nnx.to_flat_state(chosen)}
        assert any("lm_head" in name for name in names) == expected
        assert any("embed_tokens" in name for name in names)


def test_adapters_are_saved_apart_and_loaded(model, tmp_path):
    adapt(model)
    lora.save(model, tmp_path / "adapters.safetensors")
    arrays, _ = tensors.read(tmp_path / "adapters.safetensors")
    assert len(arrays) == 2 * 3 * tiny.CONFIG.num_hidden_layers
    other = tiny.llama()
    lora.load(other, tmp_path / "adapters.safetensors")
    assert other.layers[0].mlp.down_proj.config == CONFIG
    np.testing.assert_array_equal(hidden(other), hidden(model))


def test_merging_keeps_the_dtype_of_the_matrix():
    model = Llama(tiny.CONFIG, rngs=nnx.Rngs(0), dtype="bfloat16")
    adapt(model)
    assert model.layers[0].self_attn.q_proj.a.dtype == "float32"
    lora.merge(model)
    assert model.layers[0].self_attn.q_proj.kernel.dtype == "bfloat16"


def test_files_that_do_not_fit_are_refused_and_change_nothing(model, tmp_path):
    path = tmp_path / "adapters.safetensors"
    adapt(model)
    lora.save(model, path)
    arrays, metadata = tensors.read(path)
    name = "layers/0/self_attn/q_proj/a"
    tensors.write(path, {**arrays, name: arrays[name][:3], "more": arrays[name]}, metadata)
    other = tiny.llama()
    before = hidden(other)
    with pytest.raises(ValueError, match="has more, not expected") as error:
        lora.load(other, path)
    assert f"{name} is (3, 3), expected (32, 3)" in str(error.value)
    np.testing.assert_array_equal(hidden(other), before)
    tensors.write(path, arrays, {})
    with pytest.raises(ValueError, match="expected that of adapters"):
        lora.load(other, path)
    for config in ("{", "{}", '{"targets": ["q_proj"], "colour": 1}'):
        tensors.write(path, arrays, {"lora": config})
        with pytest.raises(ValueError, match="safetensors: metadata are not those of adapters: "):
            lora.load(other, path)


@pytest.mark.parametrize(
    "config, message",
    [
        (dict(rank=0), "rank is 0"),
        (dict(alpha=0.0), "alpha is 0.0"),
        (dict(targets=()), "targets is empty"),
        (dict(targets=("q_proj", "qkv")), r"targets \['qkv'\] are no matrices of the model"),
    ],
)
def test_bad_configs_are_refused(model, config, message):
    with pytest.raises(ValueError, match=message):
        lora.add(model, LoraConfig(**config), rngs=nnx.Rngs(0))


def test_adapters_are_not_put_on_adapters_and_none_are_not_saved(model, tmp_path):
    with pytest.raises(ValueError, match="the model has no adapters"):
        lora.save(model, tmp_path / "adapters.safetensors")
    lora.add(model, CONFIG, rngs=nnx.Rngs(1))
    with pytest.raises(ValueError, match="has adapters already"):
        lora.add(model, CONFIG, rngs=nnx.Rngs(1))
