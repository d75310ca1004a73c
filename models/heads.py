"""Heads on the hidden states of a decoder: process reward models and helpers.

With K interventions ("helps"), at a state s whose last token has hidden state h(s):

    success    1 + K logits; sigmoid is p(success | s) if the base actor, or help i, goes on from s
               (the paper's PRM, section 4.1; K = 0 for one actor). Where the text ends with an
               action it is Q(s, a) = p(success | s, a), for the search of appendix A.
    policy     1 + K logits over nohelp, help 1..K (the paper's helper, section 5.3, phase 3)
    advantage  K numbers, A_i(s) = dS_i(s) - sum_j r_j dM_ij(s)
    gains      K (1 + K) numbers: dS_i(s), dM_i1(s), ..., dM_iK(s) for each help i

dS_i is the success of help i now minus that of nohelp now, dM_ij the difference in the expected
calls of help j, both followed by the same policy; r_j is the cost of a call of help j.

A head may read numbers beside the text, and the costs r, so that one helper serves every budget:

    x = [h(s), (features - mean) / scale, log r rescaled to -1..1]
    out = outer(silu(inner(x)))        or outer(x), where there is no inner layer

Without an inner layer features and costs are only added to what the text says. Heads compute in
float32.
"""

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import ArrayLike

from models import tensors
from models.config import Execution, LlamaConfig
from models.layers import Linear
from models.llama import Llama

KINDS = ("success", "policy", "advantage", "gains")


@dataclasses.dataclass(frozen=True)
class HeadConfig:
    """What a head reads and says.

    Attributes:
      kind: "success", "policy", "advantage" or "gains"; see above.
      num_helps: K; 0 is allowed for "success" alone.
      feature_means, feature_scales: of the numbers beside the text; as many as there are, F.
        Scales are above 0.
      cost_range: lowest and highest cost r that the head is trained for, both above 0; None: the
        head does not read the costs.
      inner_size: width of the inner layer; None is none.
    """

    kind: Literal["success", "policy", "advantage", "gains"]
    num_helps: int = 1
    feature_means: tuple[float, ...] = ()
    feature_scales: tuple[float, ...] = ()
    cost_range: tuple[float, float] | None = None
    inner_size: int | None = None

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}, expected one of {KINDS}")
        for name, value in (("num_helps", self.num_helps), ("inner_size", self.inner_size)):
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not whole and (value is not None or name == "num_helps"):
                raise ValueError(f"{name} is {value!r}, expected a whole number")
        if self.num_helps < (self.kind != "success"):
            raise ValueError(f"num_helps is {self.num_helps} for {self.kind!r}, expected 1 or more")
        if len(self.feature_means) != len(self.feature_scales):
            raise ValueError(
                f"{len(self.feature_means)} feature_means and {len(self.feature_scales)} "
                "feature_scales, expected as many"
            )
        if not np.all(np.isfinite(self.feature_means)):
            raise ValueError(f"feature_means are {self.feature_means}, expected finite numbers")
        if not all(0 < scale < np.inf for scale in self.feature_scales):
            raise ValueError(f"feature_scales are {self.feature_scales}, expected all above 0")
        if self.cost_range is not None:
            low, high = self.cost_range
            if not 0 < low < high < np.inf:
                raise ValueError(f"cost_range is {self.cost_range}, expected 0 < lowest < highest")
        if self.inner_size is not None and self.inner_size < 1:
            raise ValueError(f"inner_size is {self.inner_size}, expected 1 or more")

    @property
    def num_outputs(self) -> int:
        """1 + K, 1 + K, K or K (1 + K)."""
        helps = self.num_helps
        return {
            "success": 1 + helps,
            "policy": 1 + helps,
            "advantage": helps,
            "gains": helps * (1 + helps),
        }[self.kind]

    @property
    def num_features(self) -> int:
        """Numbers read beside the hidden state: F, and K where the costs are read."""
        return len(self.feature_means) + (self.num_helps if self.cost_range else 0)

    def features(
        self, count: int, *, numbers: ArrayLike | None = None, costs: ArrayLike | None = None
    ) -> np.ndarray:
        """What `Document.features` holds for `count` reads, float32 [count, num_features].

        Args:
          numbers: [count, F], or [F] for all; where F > 0.
          costs: r, [count, K], or [K] for all, or one number; where the head reads the costs.

        Raises:
          ValueError: one is missing, not asked for, not finite, of another shape, or a cost is
            outside `cost_range`.
        """
        parts = []
        for name, values, size in (
            ("numbers", numbers, len(self.feature_means)),
            ("costs", costs, self.num_features - len(self.feature_means)),
        ):
            if (values is None) != (size == 0):
                raise ValueError(f"{name} is {values!r}, expected {size} a read")
            if values is None:
                continue
            array = np.asarray(values, float)
            if array.shape not in ((), (size,), (count, size)):
                raise ValueError(f"{name} has shape {array.shape}, expected ({count}, {size})")
            if not np.all(np.isfinite(array)):
                raise ValueError(f"{name} holds a number that is not finite")
            parts.append(np.broadcast_to(array, (count, size)))
        if numbers is not None:
            parts[0] = (parts[0] - self.feature_means) / np.asarray(self.feature_scales)
        if costs is not None:
            low, high = self.cost_range
            if (outside := parts[-1][(parts[-1] < low) | (parts[-1] > high)]).size:
                raise ValueError(f"cost {outside[0]}, expected {low}..{high}, as in training")
            middle, half = np.log(low * high) / 2, np.log(high / low) / 2
            parts[-1] = (np.log(parts[-1]) - middle) / half
        if not parts:
            return np.zeros((count, 0), np.float32)
        return np.concatenate(parts, axis=1).astype(np.float32)


class Head(nnx.Module):
    """One layer, or two. The last one begins at 0, so that training begins at the output 0.

    Attributes:
      config: what it reads and says.
      inner: kernel [D + num_features, inner_size] or None.
      outer: kernel [inner_size or D + num_features, num_outputs].
    """

    def __init__(self, config: HeadConfig, hidden_size: int, *, rngs: nnx.Rngs):
        self.config = config
        size, inner = hidden_size + config.num_features, config.inner_size
        options = dict(rngs=rngs, dtype=jnp.dtype("float32"), bias=True)
        self.inner = (
            Linear((size, None), (inner, None), scale=size**-0.5, **options) if inner else None
        )
        self.outer = Linear((inner or size, None), (config.num_outputs, None), scale=0.0, **options)

    def __call__(self, hidden: jax.Array, features: jax.Array) -> jax.Array:
        """float32 [..., num_outputs] from hidden states [..., D] and [..., num_features]."""
        x = jnp.concatenate([hidden.astype(jnp.float32), features], axis=-1)
        return self.outer(x if self.inner is None else jax.nn.silu(self.inner(x)))

    def save(self, path: str | os.PathLike) -> None:
        """Writes weights and config to one safetensors file, whole or not at all."""
        arrays = {
            "/".join(map(str, key)): np.asarray(variable[...])
            for key, variable in nnx.to_flat_state(nnx.state(self, nnx.Param))
        }
        config = json.dumps(dataclasses.asdict(self.config))
        tensors.write(path, arrays, {"head": config})

    @classmethod
    def load(cls, path: str | os.PathLike, hidden_size: int) -> "Head":
        """Reads what `save` wrote.

        Raises:
          OSError: there is no such file.
          ValueError: it is damaged, no head, or for another `hidden_size`; names the file.
        """
        arrays, metadata = tensors.read(path)
        if "head" not in metadata:
            raise ValueError(f"{path}: metadata {sorted(metadata)}, expected a head's")
        try:
            values = json.loads(metadata["head"])
            values = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
            config = HeadConfig(**values)
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: metadata are no head's: {error}") from error
        head = cls(config, hidden_size, rngs=nnx.Rngs(0))
        tensors.fill(path, arrays, nnx.state(head, nnx.Param))
        return head


def averaged(heads: Sequence[Head], hidden_sizes: Sequence[int]) -> Head:
    """One head on the hidden states of several decoders side by side, which says the mean of what
    each head says of its own.

    Args:
      heads: M of one config, M > 0.
      hidden_sizes: [M], of their decoders; the head found reads hidden states [..., their sum].

    Raises:
      ValueError: the heads are of several configs.
    """
    config, number = heads[0].config, len(heads)
    if any(one.config != config for one in heads):
        raise ValueError(f"heads are of {[one.config for one in heads]}, expected one config")
    if config.inner_size:
        config = dataclasses.replace(config, inner_size=number * config.inner_size)
    found = Head(config, sum(hidden_sizes), rngs=nnx.Rngs(0))
    first = [one.outer if one.inner is None else one.inner for one in heads]
    on_hidden = [one.kernel[...][:size] for one, size in zip(first, hidden_sizes, strict=True)]
    beside = [one.kernel[...][size:] for one, size in zip(first, hidden_sizes, strict=True)]
    if found.inner is None:
        found.outer.kernel[...] = jnp.concatenate([*on_hidden, sum(beside)]) / number
    else:
        own = jax.scipy.linalg.block_diag(*on_hidden)  # no head reads another one's decoder
        found.inner.kernel[...] = jnp.concatenate([own, jnp.concatenate(beside, axis=1)])
        found.inner.bias[...] = jnp.concatenate([one.bias[...] for one in first])
        found.outer.kernel[...] = jnp.concatenate([one.outer.kernel[...] for one in heads]) / number
    found.outer.bias[...] = sum(one.outer.bias[...] for one in heads) / number
    return found


class HeadedLlama(nnx.Module):
    """A decoder with a head in place of its logits.

    Attributes:
      backbone: the decoder; often an actor's. Its lm_head, if it has one, is kept, and not trained.
      head: what reads its hidden states.
    """

    def __init__(self, backbone: Llama, head: Head):
        self.backbone, self.head = backbone, head

    @property
    def config(self) -> LlamaConfig:
        """The decoder's."""
        return self.backbone.config

    @property
    def execution(self) -> Execution:
        """The decoder's."""
        return self.backbone.execution

    def __call__(
        self, tokens: jax.Array, segments: jax.Array, reads: jax.Array, features: jax.Array
    ) -> jax.Array:
        """float32 [B, R, num_outputs]; arguments as in `models.packing.Batch`."""
        return self.head(self.backbone(tokens, segments=segments, reads=reads), features)


def margins(outputs: ArrayLike, config: HeadConfig, costs: ArrayLike | None = None) -> np.ndarray:
    """By how much each help is better than nohelp, [..., K]; above 0, asking pays.

    policy: logit_i - logit_nohelp;  advantage: A_i;  gains: dS_i - sum_j r_j dM_ij.

    Args:
      outputs: [..., num_outputs], of a head that is not "success".
      config: the head's.
      costs: r, [K] or [..., K]; for "gains" alone.

    Raises:
      ValueError: the head is a PRM; or costs are missing or not asked for.
    """
    outputs, helps = np.asarray(outputs), config.num_helps
    if config.kind == "success":
        raise ValueError("kind is 'success', expected a helper's: a PRM alone decides nothing")
    if (costs is None) == (config.kind == "gains"):
        raise ValueError(f"costs are {costs!r} for {config.kind!r}, expected them for 'gains' only")
    if config.kind == "policy":
        return outputs[..., 1:] - outputs[..., :1]
    if config.kind == "advantage":
        return outputs
    gains = outputs.reshape(*outputs.shape[:-1], helps, 1 + helps)
    return gains[..., 0] - (gains[..., 1:] * np.asarray(costs)[..., None, :]).sum(-1)


def decide(margin: ArrayLike, threshold: float = 0.0) -> np.ndarray:
    """int [...]: 0 is nohelp, i the help with the largest margin [..., K], if above `threshold`."""
    margin = np.asarray(margin)
    return np.where(margin.max(-1) > threshold, 1 + margin.argmax(-1), 0)
