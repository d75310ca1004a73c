"""A `Llama` in a folder of its own: config.json, the tokenizer's files, weights by Orbax.

    config.json, tokenizer.json, ...    as in a Hugging Face folder
    nnx/                                the parameters, an `nnx.State`, by Orbax

Every host writes and reads its part only.
"""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import jax
from flax import nnx
from jax.sharding import Mesh, SingleDeviceSharding
from orbax.checkpoint import v1 as ocp

from models import sharding
from models.config import Execution, LlamaConfig
from models.llama import Llama
from models.model_folder import atomic_folder, check_tokenizer, tokenizer_files

WEIGHTS = "nnx"


def save(
    model: Llama, folder: str | os.PathLike, *, tokenizer_from: str | os.PathLike | None = None
) -> None:
    """Writes the folder; whole or not at all.

    Args:
      model: the weights keep their dtypes.
      folder: must not exist, or be empty.
      tokenizer_from: folder whose tokenizer files are copied, after a check against the embedding.

    Raises:
      FileExistsError: there is something in `folder`.
      FileNotFoundError: `tokenizer_from` holds no tokenizer.
      ValueError: the tokenizer has more tokens than the embedding.
    """
    config = dataclasses.replace(model.config, dtype=str(model.embed_tokens.embedding.dtype))
    copied = [] if tokenizer_from is None else tokenizer_files(tokenizer_from, config.vocab_size)
    with atomic_folder(folder) as partial:
        for path in copied:
            shutil.copyfile(path, partial / path.name)
        ocp.save(partial / WEIGHTS, nnx.state(model))
        (partial / "config.json").write_text(json.dumps(config.to_hf(), indent=2) + "\n")


def load(
    folder: str | os.PathLike,
    *,
    dtype: str | None = None,
    mesh: Mesh | None = None,
    execution: Execution = Execution(),  # noqa: B008 (frozen)
) -> Llama:
    """The model in a folder that `save` wrote.

    Args:
      folder: of the model.
      dtype: cast the weights to; None keeps them.
      mesh: spread the weights over it, as `models.sharding` says; None is the default device.
      execution: of the model; where it has no mesh, it gets this one.

    Raises:
      OSError: a file is missing or may not be read.
      ValueError: config.json is refused, the tokenizer has more tokens than the embedding, the
        mesh does not divide a weight, or the weights are damaged or not those of the config.
    """
    config = LlamaConfig.load(folder)
    check_tokenizer(folder, config.vocab_size)
    path = Path(folder).absolute() / WEIGHTS
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: missing")
    config = dataclasses.replace(config, dtype=dtype or config.dtype)
    graphdef, state = nnx.split(nnx.eval_shape(lambda: Llama(config, rngs=nnx.Rngs(0))))
    if mesh is None:
        spread = jax.tree.map(lambda _: SingleDeviceSharding(jax.local_devices()[0]), state)
    else:
        spread = sharding.shardings(state, mesh)
    abstract = jax.tree.map(
        lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
        state,
        spread,
    )
    try:
        _check_shapes(path, abstract)
        state = ocp.load(path, abstract)
    except Exception as error:  # Orbax and TensorStore have many ways to say it
        raise ValueError(f"{path}: not the weights of this config: {error}") from error
    model = nnx.merge(graphdef, state)
    model.execution = dataclasses.replace(execution, mesh=execution.mesh or mesh)
    return model


def _check_shapes(path: Path, expected: nnx.State) -> None:
    """Raises ValueError with every weight that is missing, extra or of another shape.

    Orbax finds out in the middle of loading, and leaves its other reads unfinished.
    """
    found = _shapes(ocp.metadata(path).metadata)
    wanted = _shapes(expected)
    problems = [
        f"{name}: {found.get(name, 'missing')}, expected {wanted.get(name, 'none')}"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]
    if problems:
        raise ValueError(f"{len(problems)} differ in shape:\n  " + "\n  ".join(problems))


def _shapes(tree) -> dict[str, tuple[int, ...]]:
    leaves, _ = jax.tree.flatten_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape)
        for path, leaf in leaves
    }
