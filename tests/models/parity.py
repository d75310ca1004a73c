"""Compares a `Llama` with what PyTorch gave, part by part and whole."""

import json
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors.numpy import save_file

from models import rope
from models.llama import Llama, positions_of

TOLERANCE = 1e-4


def write_folder(folder: Path, config: Mapping, weights: Mapping[str, np.ndarray]) -> Path:
    """A Hugging Face folder."""
    (folder / "config.json").write_text(json.dumps(dict(config)))
    save_file(dict(weights), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def check(model: Llama, parts: Mapping[str, np.ndarray], tokens, mask) -> None:
    """Asserts that every part of the first layer and the whole agree where there is no padding.

    Each part of the layer is given what PyTorch's had, so that errors do not add up.
    """
    real = mask == 1
    graphdef, state = nnx.split(model)

    @jax.jit
    def run(state, tokens, mask, parts):
        model = nnx.merge(graphdef, state)
        layer = model.layers[0]
        positions = positions_of(tokens, mask)[:, None]
        frequencies = model.config.rope.frequencies(model.config.head_dim)
        angles = rope.angles(positions, frequencies)
        rest = (*angles, mask, model.execution)
        hidden = model(tokens, segments=mask)
        return {
            "embed_tokens": model.embed_tokens.embedding[...][tokens],
            "layers.0.input_layernorm": layer.input_layernorm(parts["embed_tokens"]),
            "layers.0.self_attn": layer.self_attn(parts["layers.0.input_layernorm"], *rest),
            "layers.0.mlp": layer.mlp(parts["layers.0.post_attention_layernorm"], model.execution),
            "layers.0": layer(parts["embed_tokens"], *rest),
            "norm": hidden,
            "logits": model.logits(hidden),
        }

    found = run(state, jnp.asarray(tokens), jnp.asarray(mask), dict(parts))
    for name, value in found.items():
        assert value.dtype == jnp.float32
        np.testing.assert_allclose(
            np.asarray(value)[real], parts[name][real], atol=TOLERANCE, rtol=TOLERANCE, err_msg=name
        )
