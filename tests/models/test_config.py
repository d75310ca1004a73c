"""config.json files of the families as they are published, what is refused, and the way back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import Execution, LlamaConfig
from models.rope import DefaultRope, Llama3Rope

LLAMA_2_7B = {
    "architectures": ["LlamaForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 11008,
    "max_position_embeddings": 4096,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 32,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "transformers_version": "4.31.0",
    "use_cache": True,
    "vocab_size": 32000,
}
LLAMA_3_2_3B = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 128000,
    "eos_token_id": [128001, 128008, 128009],
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 3072,
    "initializer_range": 0.02,
    "intermediate_size": 8192,
    "max_position_embeddings": 131072,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 24,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "factor": 32.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "rope_theta": 500000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.45.0.dev0",
    "use_cache": True,
    "vocab_size": 128256,
}
QWEN2_5_05B = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151643,
    "hidden_act": "silu",
    "hidden_size": 896,
    "initializer_range": 0.02,
    "intermediate_size": 4864,
    "max_position_embeddings": 32768,
    "max_window_layers": 24,
    "model_type": "qwen2",
    "num_attention_heads": 14,
    "num_hidden_layers": 24,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "use_mrope": False,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
QWEN3_06B = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "dtype": "bfloat16",
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "layer_types": ["full_attention"] * 28,
    "max_position_embeddings": 40960,
    "model_type": "qwen3",
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06,
    "rope_parameters": {"rope_theta": 1000000, "rope_type": "default"},
    "tie_word_embeddings": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}


def test_llama_2():
    config = LlamaConfig.from_hf(LLAMA_2_7B)
    assert config.rope == DefaultRope(theta=10_000.0)
    assert (config.head_dim, config.num_key_value_heads) == (128, 32)
    assert (config.qkv_bias, config.o_bias, config.qk_norm) == (False, False, False)
    assert (config.dtype, config.tie_word_embeddings) == ("float16", False)


def test_llama_3_2_is_scaled_by_32():
    config = LlamaConfig.from_hf(LLAMA_3_2_3B)
    assert config.rope == Llama3Rope(32.0, 1.0, 4.0, 8192, theta=500_000.0)
    assert config.eos_token_id == (128001, 128008, 128009)
    assert (config.dtype, config.tie_word_embeddings) == ("bfloat16", True)


def test_transformers_5_writes_llama_3_2_another_way_with_the_same_meaning():
    new = {name: value for name, value in LLAMA_3_2_3B.items() if name != "rope_scaling"}
    new["rope_parameters"] = {**LLAMA_3_2_3B["rope_scaling"], "rope_theta": 500000.0}
    new["dtype"] = new.pop("torch_dtype")
    del new["rope_theta"]
    assert LlamaConfig.from_hf(new) == LlamaConfig.from_hf(LLAMA_3_2_3B)


def test_qwen_2_has_biases_on_q_k_and_v():
    config = LlamaConfig.from_hf(QWEN2_5_05B)
    assert (config.qkv_bias, config.o_bias, config.qk_norm) == (True, False, False)
    assert config.rope == DefaultRope(theta=1_000_000.0)


def test_qwen_3_has_normed_heads_of_128_whatever_its_width():
    config = LlamaConfig.from_hf(QWEN3_06B)
    assert (config.qkv_bias, config.o_bias, config.qk_norm) == (False, False, True)
    without = {name: value for name, value in QWEN3_06B.items() if name != "head_dim"}
    assert LlamaConfig.from_hf(without).head_dim == 128


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mistral"}, "model_type is 'mistral', expected one of"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "LlamaForSequenceClassification"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope type 'yarn' is not known"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope type 'linear' is not known"),
        ({"rope_scaling": {"rope_type": "llama3"}}, "lacks ['factor', 'high_freq_factor'"),
        (
            {"rope_scaling": {**LLAMA_3_2_3B["rope_scaling"], "beta_fast": 32}},
            "has no field ['beta_fast']",
        ),
        (
            {"rope_scaling": {**LLAMA_3_2_3B["rope_scaling"], "factor": "8"}},
            "factor is '8', expected a number",
        ),
        (
            {"rope_scaling": {**LLAMA_3_2_3B["rope_scaling"], "high_freq_factor": 1.0}},
            "high_freq_factor is 1.0",
        ),
        ({"rope_theta": 0}, "theta is 0.0"),
        (
            {"rope_parameters": {**LLAMA_3_2_3B["rope_scaling"], "factor": 8.0}},
            "disagree",
        ),
        (
            {"rope_parameters": {"rope_theta": 1.0, **LLAMA_3_2_3B["rope_scaling"]}},
            "rope_theta is 500000.0",
        ),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', expected 'silu'"),
        ({"mlp_bias": True}, "mlp_bias is True"),
        ({"use_sliding_window": True}, "use_sliding_window is True"),
        ({"layer_types": ["sliding_attention"]}, "['sliding_attention']"),
        ({"quantization_config": {"bits": 4}}, "quantization_config is {'bits': 4}"),
        ({"hidden_size": None, "vocab_size": None}, "lacks ['vocab_size', 'hidden_size']"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"num_key_value_heads": 7}, "num_key_value_heads is 7, expected a divisor"),
        ({"head_dim": 5}, "head_dim is 5"),
        ({"head_dim": None, "num_attention_heads": 25}, "hidden_size is 3072, expected a multiple"),
        ({"torch_dtype": "int8"}, "dtype is 'int8'"),
        ({"rms_norm_eps": -1.0}, "rms_norm_eps is -1.0"),
        ({"rms_norm_eps": "1e-5"}, "rms_norm_eps is '1e-5', expected a number"),
        ({"hidden_size": "3072"}, "hidden_size is '3072', expected a whole number"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings is 1, expected true or false"),
        ({"head_dim": "32"}, "head_dim is '32', expected an even number"),
        ({"rope_scaling": "linear"}, "rope_scaling is 'linear', expected an object"),
        ({"rope_theta": "1e4"}, "rope_theta is '1e4', expected a number"),
        ({"rope_scaling": {"rope_type": ["a"]}}, "rope type ['a'] is not known"),
        ({"layer_types": 3}, "layer_types is 3, expected a list"),
        ({"layer_types": [3, "x"]}, "layer_types holds [3, 'x']"),
        ({"model_type": ["llama"]}, "model_type is ['llama'], expected one of"),
        ({"eos_token_id": "1"}, "eos_token_id is '1', expected one id or several"),
        ({"eos_token_id": ["a"]}, "eos_token_id is ('a',), expected one id or several"),
        ({"eos_token_id": 1.5}, "eos_token_id is 1.5, expected one id or several"),
        ({"eos_token_id": True}, "eos_token_id is True, expected one id or several"),
        ({"bos_token_id": "1"}, "bos_token_id is '1', expected a whole number"),
    ],
)
def test_what_is_not_computed_is_refused_by_name(tmp_path, change, message):
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA_3_2_3B, **change}))
    with pytest.raises(ValueError) as error:  # noqa: PT011
        LlamaConfig.load(tmp_path)
    assert message in str(error.value)
    assert str(tmp_path / "config.json") in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '"llama"'])
def test_a_file_that_is_no_json_object_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json"):
        LlamaConfig.load(tmp_path)


numbers = st.floats(1.0, 1e6)
ropes = st.one_of(
    st.builds(DefaultRope, theta=numbers),
    st.builds(
        Llama3Rope,
        factor=numbers,
        low_freq_factor=st.floats(0.5, 2.0),
        high_freq_factor=st.floats(3.0, 8.0),
        original_max_position_embeddings=st.integers(1, 10_000),
        theta=numbers,
    ),
)
token = st.integers(0, 100)


@given(
    st.builds(
        LlamaConfig,
        vocab_size=st.integers(1, 10**6),
        hidden_size=st.integers(1, 64).map(lambda n: 16 * n),
        intermediate_size=st.integers(1, 10**4),
        num_hidden_layers=st.integers(1, 100),
        num_attention_heads=st.just(8),
        num_key_value_heads=st.sampled_from([None, 1, 2, 4, 8]),
        head_dim=st.sampled_from([None, 2, 64]),
        max_position_embeddings=st.integers(1, 10**6),
        rms_norm_eps=st.floats(1e-8, 1e-3),
        rope=ropes,
        tie_word_embeddings=st.booleans(),
        family=st.sampled_from(["llama", "qwen3"]),
        attention_bias=st.booleans(),
        bos_token_id=st.none() | token,
        eos_token_id=st.none() | token | st.lists(token, min_size=1).map(tuple),
        pad_token_id=st.none() | token,
        dtype=st.sampled_from([None, "float32", "bfloat16", "float16"]),
    )
)
def test_a_config_survives_json(config):
    assert LlamaConfig.from_hf(json.loads(json.dumps(config.to_hf()))) == config


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attention": "flash"}, "attention is 'flash'"),
        ({"remat": True}, "remat is True"),
        ({"dtype": "float8"}, "dtype is 'float8'"),
    ],
)
def test_an_unknown_way_to_execute_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Execution(**arguments)
