"""PyTorch's `transformers` on random tiny models: what ours must give. Calls import torch."""

import numpy as np

_SIZES = dict(
    vocab_size=40,
    hidden_size=32,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=512,
    rms_norm_eps=1e-5,
)
# With head_dim 8 and theta 10,000 wavelengths are 6, 63, 628 and 6283 tokens: one is kept (below
# 128 / 4), one is between, two are stretched (above 128 / 1).
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=10_000.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=128,
)
DEFAULT = dict(rope_type="default", rope_theta=10_000.0)


def hf_config(
    family: str, *, key_heads: int, tied: bool, rope: dict = DEFAULT, **rest
) -> dict[str, object]:
    """Entries of a config.json, as transformers 5 writes them."""
    return {
        **_SIZES,
        "model_type": family,
        "num_key_value_heads": key_heads,
        "tie_word_embeddings": tied,
        "rope_parameters": rope,
        **rest,
    }


# Those of the golden files: groups of 1, 2 and 4 queries a key, both ropes, tied and untied.
GOLDEN = {
    "llama_1": hf_config("llama", key_heads=4, tied=False),
    "llama_2": hf_config("llama", key_heads=2, tied=True, rope=LLAMA3),
    "llama_4": hf_config("llama", key_heads=1, tied=False, rope=LLAMA3, attention_bias=True),
    "qwen2": hf_config("qwen2", key_heads=2, tied=True),
    "qwen3": hf_config("qwen3", key_heads=2, tied=False, head_dim=16),
}


def tokens_and_mask(length: int = 12, padding: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Two rows [2, length] of tokens; the second one begins with padding, where the mask is 0."""
    tokens = np.random.default_rng(0).integers(0, _SIZES["vocab_size"], (2, length))
    mask = np.ones_like(tokens)
    mask[1, :padding] = 0
    return tokens, mask


def model(config: dict[str, object], seed: int = 0):
    """A `transformers` model with large random weights, norms and biases too, exact in float16."""
    import torch
    import transformers

    classes = {
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
        "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
        "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
    }
    make_config, make_model = classes[config["model_type"]]
    entries = {name: value for name, value in config.items() if name != "model_type"}
    found = make_model(make_config(**entries, attn_implementation="eager")).float().eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            parameter.normal_(0.0, 0.2)
            if name.endswith("norm.weight"):
                parameter.add_(1.0)
            parameter.copy_(parameter.half().float())
    return found


def outputs(found, tokens: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    """float32 of every part: "layers.0.mlp" and so on, "norm" (the hidden states), "logits"."""
    import torch

    parts: dict[str, np.ndarray] = {}

    def keep(name):
        def hook(module, arguments, output):
            value = output[0] if isinstance(output, tuple) else output
            parts[name] = value.numpy().copy()

        return hook

    inner = found.model
    named = {"embed_tokens": inner.embed_tokens, "norm": inner.norm}
    for i, layer in enumerate(inner.layers):
        named[f"layers.{i}"] = layer
        for name in ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp"):
            named[f"layers.{i}.{name}"] = getattr(layer, name)
    hooks = [module.register_forward_hook(keep(name)) for name, module in named.items()]
    positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
    with torch.no_grad():
        logits = found(
            input_ids=torch.tensor(tokens),
            attention_mask=torch.tensor(mask),
            position_ids=torch.tensor(positions),
            use_cache=False,
        ).logits
    for hook in hooks:
        hook.remove()
    return {**parts, "logits": logits.numpy().copy()}
