"""Low-rank adapters (LoRA, arXiv 2106.09685): only they are trained, and they are saved apart.

    y = x W + (alpha / rank) (x A) B,   W [in, out] frozen, A [in, rank], B [rank, out]

A is random and B begins at 0, so that an adapted model begins as the model it adapts. A and B are
float32 whatever W is. Merged, W becomes W + (alpha / rank) A B, in W's own dtype.
"""

import dataclasses
import json
import os
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from models import tensors
from models.layers import Linear


@dataclasses.dataclass(frozen=True)
class LoraConfig:
    """Which matrices are adapted, and how.

    Attributes:
      rank: 1 or more.
      alpha: the adapter's output is scaled by alpha / rank.
      targets: names of the matrices of every layer, as in "q_proj".
    """

    rank: int = 16
    alpha: float = 32.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")

    def __post_init__(self):
        if self.rank < 1:
            raise ValueError(f"rank is {self.rank}, expected 1 or more")
        if not 0 < self.alpha < float("inf"):
            raise ValueError(f"alpha is {self.alpha}, expected a number above 0")
        if not self.targets:
            raise ValueError("targets is empty, expected one or more names")


class LoraLinear(nnx.Module):
    """A matrix with an adapter beside it, in place of the matrix alone.

    Attributes:
      base: the matrix.
      a, b: A [in, rank] and B [rank, out].
      config: rank and alpha.
    """

    def __init__(self, base: Linear, config: LoraConfig, *, rngs: nnx.Rngs):
        inner, outer = base.kernel.shape
        # The mesh axes that the matrix is cut over.
        cut = base.kernel.get_metadata().get("out_sharding") or (None, None)
        first = jax.random.normal(rngs.params(), (inner, config.rank)) * inner**-0.5
        self.base, self.config = base, config
        self.a = nnx.LoRAParam(first, out_sharding=(cut[0], None), eager_sharding=False)
        self.b = nnx.LoRAParam(
            jnp.zeros((config.rank, outer)), out_sharding=(None, cut[1]), eager_sharding=False
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., out] from x [..., in]."""
        low = x @ self.a[...].astype(x.dtype)
        scale = self.config.alpha / self.config.rank
        return self.base(x) + (scale * (low @ self.b[...].astype(x.dtype))).astype(x.dtype)


def add(model: nnx.Module, config: LoraConfig, *, rngs: nnx.Rngs) -> None:
    """Puts an adapter beside every matrix of `model` that `config` targets.

    Raises:
      ValueError: a target is no matrix of the model, or the model has adapters already.
    """
    if next(_adapted(model), None) is not None:
        raise ValueError("the model has adapters already, expected none: merge or remove them")
    found = [
        (parent, name) for _, parent, name, _ in _children(model, Linear) if name in config.targets
    ]
    if missing := sorted(set(config.targets) - {name for _, name in found}):
        known = sorted({name for _, _, name, _ in _children(model, Linear)})
        raise ValueError(
            f"targets {missing} are no matrices of the model, expected some of {known}"
        )
    for parent, name in found:
        setattr(parent, name, LoraLinear(getattr(parent, name), config, rngs=rngs))


def merge(model: nnx.Module) -> None:
    """Adds every adapter to its matrix and takes it away; computed in float32."""
    for _, parent, name, adapted in list(_adapted(model)):
        base, config = adapted.base, adapted.config
        change = config.alpha / config.rank * (adapted.a[...] @ adapted.b[...])
        kernel = base.kernel[...]
        base.kernel[...] = (kernel.astype(jnp.float32) + change).astype(kernel.dtype)
        setattr(parent, name, base)


def remove(model: nnx.Module) -> None:
    """Takes every adapter away: the model is what it was before `add`."""
    for _, parent, name, adapted in list(_adapted(model)):
        setattr(parent, name, adapted.base)


def save(model: nnx.Module, path: str | os.PathLike) -> None:
    """Writes the adapters of `model` and their config to one safetensors file.

    Raises:
      ValueError: the model has none.
    """
    arrays, config = {}, None
    for where, _, _, adapted in _adapted(model):
        config = adapted.config
        arrays[f"{where}/a"] = np.asarray(adapted.a[...])
        arrays[f"{where}/b"] = np.asarray(adapted.b[...])
    if config is None:
        raise ValueError("the model has no adapters, expected some")
    tensors.write(path, arrays, {"lora": json.dumps(dataclasses.asdict(config))})


def load(model: nnx.Module, path: str | os.PathLike) -> None:
    """Puts the adapters that `save` wrote on `model`, which has none yet.

    Raises:
      OSError: there is no such file.
      ValueError: it is damaged, holds no adapters, or they do not fit; then `model` is unchanged.
    """
    arrays, metadata = tensors.read(path)
    if "lora" not in metadata:
        raise ValueError(f"{path}: metadata {sorted(metadata)}, expected that of adapters")
    try:
        values = json.loads(metadata["lora"])
        config = LoraConfig(**{**values, "targets": tuple(values["targets"])})
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: metadata are not those of adapters: {error!r}") from error
    add(model, config, rngs=nnx.Rngs(0))
    try:
        tensors.fill(path, arrays, nnx.state(model, nnx.LoRAParam))
    except ValueError:
        remove(model)
        raise


def trainable(model: nnx.Module) -> nnx.filterlib.Filter:
    """The parameters to train: adapters and head where the model has adapters, else all.

    The output matrix of a model with a head is never trained: no loss reaches it.
    """
    adapted = next(_adapted(model), None) is not None
    headed = hasattr(model, "head")

    def chosen(path, value) -> bool:
        if not nnx.filterlib.OfType(nnx.Param)(path, value):
            return False
        if adapted:
            return nnx.filterlib.OfType(nnx.LoRAParam)(path, value) or path[0] == "head"
        return not (headed and "lm_head" in path)

    return chosen


def _adapted(model: nnx.Module) -> Iterator[tuple[str, nnx.Module, str, LoraLinear]]:
    return _children(model, LoraLinear)


def _children(model: nnx.Module, kind: type) -> Iterator[tuple[str, nnx.Module, str, nnx.Module]]:
    """Path, parent, name and module of every `kind` in `model`, itself aside."""
    for path, module in nnx.iter_modules(model):
        if not path:
            continue
        if isinstance(module, kind):
            parent = model
            for key in path[:-1]:
                parent = parent[key] if isinstance(key, int) else getattr(parent, key)
            yield "/".join(map(str, path)), parent, path[-1], module
