"""Rotary position embeddings: the scalings as config objects, angles in float32, the rotation.

For a head of dimension h the angle of pair i at position p is p * f_i, with i = 0..h/2-1 and

    default:  f_i = theta ** (-2 i / h)                        (Su et al., arXiv 2104.09864)
    llama3:   with wavelength w_i = 2 pi / f_i and original length L (Llama 3.1's release)
              w_i < L / high_freq_factor                       f_i
              w_i > L / low_freq_factor                        f_i / factor
              between                                          (1 - s) f_i / factor + s f_i,
              s = (L / w_i - low_freq_factor) / (high_freq_factor - low_freq_factor)

Hugging Face checkpoints are in rotate-half order: pair i is (x[i], x[i + h/2]).
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class DefaultRope:
    """No scaling.

    Attributes:
      theta: base of the wavelengths, > 0.
    """

    rope_type: ClassVar[str] = "default"

    theta: float = 10_000.0

    def __post_init__(self):
        _check_positive(self, "theta")

    def frequencies(self, head_dim: int) -> np.ndarray:
        """f_i, float32 [head_dim / 2], in radians a token."""
        exponent = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
        return np.float32(1.0) / np.float32(self.theta) ** exponent


@dataclasses.dataclass(frozen=True)
class Llama3Rope:
    """The scaling of Llama 3.1 (factor 8) and 3.2 (factor 32).

    Attributes:
      theta: base of the wavelengths, > 0.
      factor: by which long wavelengths are stretched, > 0.
      low_freq_factor, high_freq_factor: bounds of the middle band, low < high.
      original_max_position_embeddings: L, the length before stretching, in tokens.
    """

    rope_type: ClassVar[str] = "llama3"

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int
    theta: float = 10_000.0

    def __post_init__(self):
        for name in ("theta", "factor", "low_freq_factor", "original_max_position_embeddings"):
            _check_positive(self, name)
        if not self.high_freq_factor > self.low_freq_factor:
            raise ValueError(
                f"rope high_freq_factor is {self.high_freq_factor!r}, expected more than "
                f"low_freq_factor, {self.low_freq_factor!r}"
            )

    def frequencies(self, head_dim: int) -> np.ndarray:
        """f_i, float32 [head_dim / 2], in radians a token."""
        plain = DefaultRope(self.theta).frequencies(head_dim)
        turns = self.original_max_position_embeddings * plain / (2 * math.pi)  # L / w_i
        share = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        share = np.clip(share, 0.0, 1.0)  # 0 and 1 are the outer bands
        return ((1 - share) * plain / self.factor + share * plain).astype(np.float32)


Rope = DefaultRope | Llama3Rope
_TYPES = {rope.rope_type: rope for rope in (DefaultRope, Llama3Rope)}


def from_hf(config: Mapping[str, Any]) -> Rope:
    """The scaling that a config.json describes.

    Reads `rope_parameters` (transformers 5) and `rope_theta` with `rope_scaling` (before). A file
    may hold both, if they agree.

    Raises:
      ValueError: the type is unknown, a field is missing, unknown or out of range, or the two ways
        of writing it disagree.
    """
    new = config.get("rope_parameters")
    old = config.get("rope_scaling")
    theta = config.get("rope_theta")
    for name, value in (("rope_parameters", new), ("rope_scaling", old)):
        if value is not None and not isinstance(value, Mapping):
            raise ValueError(f"{name} is {value!r}, expected an object")
    if theta is not None and not _is_number(theta):
        raise ValueError(f"rope_theta is {theta!r}, expected a number")
    found = [_parse("rope_parameters", new, theta)] if new else []
    if old:
        found.append(_parse("rope_scaling", old, (new or {}).get("rope_theta", theta)))
    if len(found) == 2 and found[0] != found[1]:
        raise ValueError(f"rope_parameters {new} and rope_scaling {old} disagree")
    if found and theta is not None and float(theta) != found[0].theta:
        raise ValueError(
            f"rope_theta is {theta!r}, but rope_parameters say {found[0].theta!r}; expected one"
        )
    if found:
        return found[0]
    return DefaultRope() if theta is None else _parse("rope_theta", {}, theta)


def to_hf(rope: Rope) -> dict[str, Any]:
    """The entries of a config.json, in both ways of writing: what `from_hf` reads."""
    values = dataclasses.asdict(rope)
    theta = values.pop("theta")
    scaling = {"rope_type": rope.rope_type, **values}
    return {
        "rope_parameters": {"rope_theta": theta, **scaling},
        "rope_theta": theta,
        "rope_scaling": scaling if values else None,
    }


def angles(positions: jax.Array, frequencies: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Cosine and sine of p * f_i.

    Args:
      positions: int [...].
      frequencies: float32 [head_dim / 2].

    Returns:
      float32 [..., head_dim / 2] each.
    """
    angle = positions[..., None].astype(jnp.float32) * frequencies
    return jnp.cos(angle), jnp.sin(angle)


def computed_once(x: jax.Array) -> jax.Array:
    """x [..., n] as it is, but from memory.

    XLA:CPU computes cosines anew in each of the many loops that read them, a quarter of a forward
    pass. It does not fuse products, so x is multiplied by one.
    """
    one = jnp.eye(x.shape[-1], dtype=x.dtype)
    return jnp.matmul(x.reshape(-1, x.shape[-1]), one, precision="highest").reshape(x.shape)


def rotate(x: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """Turns every pair (x[i], x[i + h/2]) by its angle; float32 inside, x's dtype outside.

    Args:
      x: [..., h].
      cos, sin: float32 [..., h / 2], as of `angles`; broadcast over x.
    """
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x.dtype)


def _parse(where: str, values: Mapping[str, Any], theta: float | None) -> Rope:
    values = {name: value for name, value in values.items() if value is not None}
    kind = values.pop("rope_type", None)
    older = values.pop("type", None)  # the name before transformers 4.45
    kind = kind or older or "default"
    if not isinstance(kind, str) or kind not in _TYPES:
        raise ValueError(f"{where}: rope type {kind!r} is not known, expected {sorted(_TYPES)}")
    if "rope_theta" in values:
        theta = values.pop("rope_theta")
    if theta is not None:
        values["theta"] = theta
    fields = {field.name: field for field in dataclasses.fields(_TYPES[kind])}
    required = {n for n, field in fields.items() if field.default is dataclasses.MISSING}
    if missing := sorted(required - values.keys()):
        raise ValueError(f"{where}: rope type {kind!r} lacks {missing}")
    if unknown := sorted(values.keys() - fields.keys()):
        raise ValueError(f"{where}: rope type {kind!r} has no field {unknown}")
    for name, value in values.items():
        if not _is_number(value):
            raise ValueError(f"{where}: {name} is {value!r}, expected a number")
    return _TYPES[kind](**{name: fields[name].type(value) for name, value in values.items()})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_positive(rope: Rope, name: str) -> None:
    value = getattr(rope, name)
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"rope {name} is {value!r}, expected a number above 0")
