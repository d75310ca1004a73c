"""What a checkpoint's config.json says about a decoder, and how one wants it computed.

Families: Llama 2, 3, 3.1, 3.2 ("llama"), Qwen2 and 2.5 ("qwen2": bias on q, k, v), Qwen3 ("qwen3":
RMS norm on the heads of q and k). Anything else in a config.json that would change the numbers is
refused by name.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax

from models import rope as rope_lib
from models.rope import DefaultRope, Rope

_ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
DTYPES = ("float32", "bfloat16", "float16")
# What changes the numbers and is not computed here, with the values that switch it off.
_MUST_BE_OFF = {
    "hidden_act": ("silu", "swish"),
    "mlp_bias": (False, None),
    "use_sliding_window": (False, None),
    "quantization_config": (None,),
    "partial_rotary_factor": (1, None),
    "embedding_multiplier": (1, None),
    "residual_multiplier": (1, None),
    "logits_scaling": (1, None),
}


@dataclasses.dataclass(frozen=True)
class LlamaConfig:
    """The architecture, in Hugging Face's names. Every field is read or written in config.json.

    Attributes:
      vocab_size: rows of the embedding, V.
      hidden_size: D.
      intermediate_size: F, of the SwiGLU.
      num_hidden_layers: L.
      num_attention_heads: H, of the queries.
      num_key_value_heads: K, divides H; H / K queries share a key (GQA).
      head_dim: h, even; None is hidden_size / num_attention_heads.
      max_position_embeddings: longest document that the model is meant for, in tokens.
      rms_norm_eps: added to the mean square.
      rope: scaling of the rotary embedding.
      tie_word_embeddings: the embedding is the output matrix too.
      family: "llama", "qwen2" or "qwen3".
      attention_bias: biases on q, k, v and o; in qwen2 q, k, v always have them and o never.
      initializer_range: standard deviation of fresh weights.
      bos_token_id, eos_token_id, pad_token_id: as in config.json; eos may be several.
      dtype: of the weights in the folder; None where config.json does not say.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    rope: Rope = DefaultRope()
    tie_word_embeddings: bool = False
    family: Literal["llama", "qwen2", "qwen3"] = "llama"
    attention_bias: bool = False
    initializer_range: float = 0.02
    bos_token_id: int | None = None
    eos_token_id: int | tuple[int, ...] | None = None
    pad_token_id: int | None = None
    dtype: Literal["float32", "bfloat16", "float16"] | None = None

    def __post_init__(self):
        if self.family not in _ARCHITECTURES:
            raise ValueError(f"family is {self.family!r}, expected one of {[*_ARCHITECTURES]}")
        if self.num_key_value_heads is None:
            object.__setattr__(self, "num_key_value_heads", self.num_attention_heads)
        for name in _SIZES:
            value = getattr(self, name)
            if not _is_whole(value) or value < 1:
                raise ValueError(f"{name} is {value!r}, expected a whole number above 0")
        if self.head_dim is None:
            if self.hidden_size % self.num_attention_heads:
                raise ValueError(
                    f"hidden_size is {self.hidden_size}, expected a multiple of "
                    f"num_attention_heads, {self.num_attention_heads}, where head_dim is not given"
                )
            object.__setattr__(self, "head_dim", self.hidden_size // self.num_attention_heads)
        if not _is_whole(self.head_dim) or self.head_dim < 2 or self.head_dim % 2:
            raise ValueError(f"head_dim is {self.head_dim!r}, expected an even number above 0")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_key_value_heads is {self.num_key_value_heads}, expected a divisor of "
                f"num_attention_heads, {self.num_attention_heads}"
            )
        for name in ("rms_norm_eps", "initializer_range"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ValueError(f"{name} is {value!r}, expected a number above 0")
        for name in ("tie_word_embeddings", "attention_bias"):
            if not isinstance(value := getattr(self, name), bool):
                raise ValueError(f"{name} is {value!r}, expected true or false")
        for name in ("bos_token_id", "pad_token_id"):
            value = getattr(self, name)
            if value is not None and not _is_whole(value):
                raise ValueError(f"{name} is {value!r}, expected a whole number")
        if not is_token_ids(self.eos_token_id):
            raise ValueError(f"eos_token_id is {self.eos_token_id!r}, expected one id or several")
        if self.attention_bias and self.family == "qwen2":
            raise ValueError("attention_bias is true, expected false: qwen2 has its own biases")
        if self.dtype is not None and self.dtype not in DTYPES:
            raise ValueError(f"dtype is {self.dtype!r}, expected one of {DTYPES}")

    @property
    def qkv_bias(self) -> bool:
        return self.attention_bias or self.family == "qwen2"

    @property
    def o_bias(self) -> bool:
        return self.attention_bias

    @property
    def qk_norm(self) -> bool:
        return self.family == "qwen3"

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "LlamaConfig":
        """Reads `folder`/config.json.

        Raises:
          OSError: there is none.
          ValueError: it is not JSON, or `from_hf` refuses it; names the file.
        """
        path = Path(folder) / "config.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(values, dict):
                raise ValueError(f"holds a {type(values).__name__}, expected an object")
            return cls.from_hf(values)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def from_hf(cls, values: Mapping[str, Any]) -> "LlamaConfig":
        """The config that the entries of a config.json describe.

        Raises:
          ValueError: the architecture or rope type is unknown, an entry is missing or out of
            range, or asks for something that is not computed here.
        """
        family = values.get("model_type")
        if not isinstance(family, str) or family not in _ARCHITECTURES:
            raise ValueError(f"model_type is {family!r}, expected one of {[*_ARCHITECTURES]}")
        expected = _ARCHITECTURES[family]
        if (found := values.get("architectures") or [expected]) != [expected]:
            raise ValueError(f"architectures is {found}, expected [{expected!r}]")
        _refuse_what_is_not_computed(values)
        required = [f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING]
        if missing := [name for name in required if values.get(name) is None]:
            raise ValueError(f"lacks {missing}")
        given = {f.name: values.get(f.name) for f in dataclasses.fields(cls)}
        given |= dict(family=family, rope=rope_lib.from_hf(values))
        if family == "qwen3" and given["head_dim"] is None:
            given["head_dim"] = 128  # transformers' default; not hidden_size / heads
        if isinstance(given["eos_token_id"], list):
            given["eos_token_id"] = tuple(given["eos_token_id"])
        dtype = values.get("dtype", values.get("torch_dtype"))  # transformers 5, before
        given["dtype"] = dtype.removeprefix("torch.") if isinstance(dtype, str) else dtype
        return cls(**{name: value for name, value in given.items() if value is not None})

    def to_hf(self) -> dict[str, Any]:
        """The entries of a config.json; `from_hf` gives the same config back."""
        values = {
            "architectures": [_ARCHITECTURES[self.family]],
            "model_type": self.family,
            "hidden_act": "silu",
            **{f.name: getattr(self, f.name) for f in dataclasses.fields(self)},
            **rope_lib.to_hf(self.rope),
            "torch_dtype": self.dtype,  # for readers before transformers 5
        }
        del values["rope"], values["family"]
        if isinstance(self.eos_token_id, tuple):
            values["eos_token_id"] = list(self.eos_token_id)
        return values


def is_token_ids(value: Any) -> bool:
    """Whether it is what a JSON file may say of end tokens: an id, several, or null."""
    ids = value if isinstance(value, list | tuple) else () if value is None else (value,)
    return all(map(_is_whole, ids))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
)


@dataclasses.dataclass(frozen=True)
class Execution:
    """How a forward pass is computed. Nothing here changes what is computed, but for rounding.

    Attributes:
      attention: "xla" anywhere; "cudnn" on NVIDIA GPUs, in bfloat16 or float16.
      remat: what the backward pass computes again instead of keeping it: "none"; "dots", all of a
        layer but its products with weights; "full", all of a layer.
      scan_layers: one `lax.scan` over the layers in place of a Python loop: compiles faster where
        there are many; copies the weights once a pass, and is slower on CPU. Passes with a cache
        always use the loop.
      dtype: to compute in; None is the dtype of the embedding.
      mesh: with the axes of `models.sharding`, which activations are spread over; None is none.
    """

    attention: Literal["xla", "cudnn"] = "xla"
    remat: Literal["none", "dots", "full"] = "none"
    scan_layers: bool = False
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    mesh: jax.sharding.Mesh | None = None

    def __post_init__(self):
        if self.attention not in ("xla", "cudnn"):
            raise ValueError(f"attention is {self.attention!r}, expected 'xla' or 'cudnn'")
        if self.remat not in ("none", "dots", "full"):
            raise ValueError(f"remat is {self.remat!r}, expected 'none', 'dots' or 'full'")
        if self.dtype is not None and self.dtype not in DTYPES:
            raise ValueError(f"dtype is {self.dtype!r}, expected one of {DTYPES}")


def _refuse_what_is_not_computed(values: Mapping[str, Any]) -> None:
    for name, off in _MUST_BE_OFF.items():
        if (value := values.get(name, off[0])) not in off:
            raise ValueError(f"{name} is {value!r}, expected {off[0]!r}: nothing else is computed")
    kinds = values.get("layer_types") or []
    if not isinstance(kinds, list | tuple):
        raise ValueError(f"layer_types is {kinds!r}, expected a list of 'full_attention'")
    if other := [kind for kind in kinds if kind != "full_attention"]:
        raise ValueError(f"layer_types holds {other}, expected nothing but 'full_attention'")
