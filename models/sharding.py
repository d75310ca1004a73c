"""How weights and activations are spread over devices: three mesh axes, declared here once.

data    copies of the weights; each works on its part of the batch
fsdp    the batch is cut here too, and so are the weights, which are gathered when needed
tensor  heads, the SwiGLU's inner dimension and the vocabulary are cut
"""

from typing import Any

import jax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXES = ("data", "fsdp", "tensor")
# Dimension of a weight -> mesh axis that it is cut over. Dimensions not listed are not cut.
WEIGHT_AXES = {
    "embed": "fsdp",
    "heads": "tensor",
    "kv_heads": "tensor",
    "ffn": "tensor",
    "vocab": "tensor",
}
BATCH = ("data", "fsdp")


def make_mesh(data: int = 1, fsdp: int = 1, tensor: int = 1, *, devices=None) -> Mesh:
    """A mesh of data * fsdp * tensor devices with the axes above.

    Raises:
      ValueError: there are not that many devices.
    """
    wanted = data * fsdp * tensor
    devices = jax.devices() if devices is None else list(devices)
    if min(data, fsdp, tensor) < 1 or wanted > len(devices):
        raise ValueError(
            f"data={data}, fsdp={fsdp}, tensor={tensor} need {wanted} devices; "
            f"expected 1 to {len(devices)}"
        )
    kinds = (jax.sharding.AxisType.Auto,) * 3
    return jax.make_mesh((data, fsdp, tensor), AXES, kinds, devices=devices[:wanted])


def param(value: jax.Array, *dimensions: str | None) -> nnx.Param:
    """A weight whose dimensions have these names (None: never cut)."""
    cut = tuple(WEIGHT_AXES.get(name) for name in dimensions)
    return nnx.Param(value, out_sharding=cut, eager_sharding=False)


def shardings(state: Any, mesh: Mesh) -> Any:
    """The NamedSharding of every leaf of a state (of weights, of an optimizer, abstract ones too).

    Raises:
      ValueError: lists every leaf with a dimension that its mesh axis does not divide.
    """
    found = nnx.get_named_sharding(state, mesh)
    problems = []
    pairs = zip(jax.tree_util.tree_leaves_with_path(state), jax.tree.leaves(found), strict=True)
    for (path, leaf), sharding in pairs:
        for size, axis in zip(leaf.shape, sharding.spec, strict=False):
            if axis is not None and size % mesh.shape[axis]:
                name = jax.tree_util.keystr(path[:-1], simple=True, separator=".")
                problems.append(
                    f"{name} {leaf.shape}: {size} is no multiple of {axis}={mesh.shape[axis]}"
                )
    if problems:
        raise ValueError("cannot be cut over the mesh:\n  " + "\n  ".join(problems))
    return found


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """For arrays whose first axis is the batch."""
    return NamedSharding(mesh, PartitionSpec(BATCH))


def constrain(x: jax.Array, mesh: Mesh | None, *axes: str | tuple[str, ...] | None) -> jax.Array:
    """Tells XLA how an activation is cut; without a mesh nothing."""
    if mesh is None:
        return x
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, PartitionSpec(*axes)))
