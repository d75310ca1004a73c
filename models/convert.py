"""A Hugging Face folder (config.json, safetensors, tokenizer) to a `Llama` and back.

    model = convert.load("Llama-3.2-3B")
    convert.save(model, "exported", tokenizer_from="Llama-3.2-3B")

Loading takes one tensor at a time: the host holds no more than the weights and, for a moment, one
of them again, the largest first. With a mesh each host reads its slices only. Every tensor of the
files must have its place in the model and every parameter its tensor, with the shape and dtype
expected; otherwise one error lists all that is wrong, and nothing is loaded.
"""

import collections
import dataclasses
import functools
import json
import math
import os
import re
import shutil
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, Sharding, SingleDeviceSharding

from models import safetensors_folder, sharding
from models.config import DTYPES, Execution, LlamaConfig
from models.llama import Llama
from models.model_folder import atomic_folder, check_tokenizer, tokenizer_files
from models.safetensors_folder import SafetensorsFolder, Tensor


class Rule(NamedTuple):
    """Where a tensor goes; {i} is the number of the layer."""

    key: str  # in the files
    path: str  # in the model
    transposed: bool = False  # PyTorch's [out, in] is [in, out] here


def _linear(name: str, path: str) -> tuple[Rule, Rule]:
    return (
        Rule(f"{name}.weight", f"{path}.kernel", transposed=True),
        Rule(f"{name}.bias", f"{path}.bias"),
    )


def _norm(name: str, path: str) -> tuple[Rule]:
    return (Rule(f"{name}.weight", f"{path}.scale"),)


# Every tensor of every family. A model has those whose path it has.
RULES = (
    Rule("model.embed_tokens.weight", "embed_tokens.embedding"),
    *_norm("model.layers.{i}.input_layernorm", "layers.{i}.input_layernorm"),
    *_linear("model.layers.{i}.self_attn.q_proj", "layers.{i}.self_attn.q_proj"),
    *_linear("model.layers.{i}.self_attn.k_proj", "layers.{i}.self_attn.k_proj"),
    *_linear("model.layers.{i}.self_attn.v_proj", "layers.{i}.self_attn.v_proj"),
    *_norm("model.layers.{i}.self_attn.q_norm", "layers.{i}.self_attn.q_norm"),
    *_norm("model.layers.{i}.self_attn.k_norm", "layers.{i}.self_attn.k_norm"),
    *_linear("model.layers.{i}.self_attn.o_proj", "layers.{i}.self_attn.o_proj"),
    *_norm("model.layers.{i}.post_attention_layernorm", "layers.{i}.post_attention_layernorm"),
    *_linear("model.layers.{i}.mlp.gate_proj", "layers.{i}.mlp.gate_proj"),
    *_linear("model.layers.{i}.mlp.up_proj", "layers.{i}.mlp.up_proj"),
    *_linear("model.layers.{i}.mlp.down_proj", "layers.{i}.mlp.down_proj"),
    *_norm("model.norm", "norm"),
    Rule("lm_head.weight", "lm_head.kernel", transposed=True),
)
# Not weights: computed from config.json. Old Llama 2 files hold them.
_COMPUTED = re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")
_TIED = "lm_head.weight"


def load(
    folder: str | os.PathLike,
    *,
    dtype: str | None = None,
    mesh: Mesh | None = None,
    execution: Execution = Execution(),  # noqa: B008 (frozen)
    progress: Callable[[int, int], None] | None = None,
) -> Llama:
    """The model in a Hugging Face folder.

    Args:
      folder: with config.json and safetensors; a tokenizer beside them is checked against the
        embedding.
      dtype: cast the weights to; None keeps them, and refuses files that mix dtypes or do not have
        the one that config.json names.
      mesh: spread the weights over it, as `models.sharding` says; None is the default device.
      execution: of the model; where it has no mesh, it gets this one.
      progress: called after each tensor with the number loaded and that of all.

    Raises:
      OSError: a file is missing or may not be read.
      ValueError: config.json is refused, the tokenizer has more tokens than the embedding, the
        mesh does not divide a weight, or tensors and parameters do not match one to one; this lists
        every missing, extra, misshaped or mistyped tensor and every damaged file.
    """
    config = LlamaConfig.load(folder)
    check_tokenizer(folder, config.vocab_size)
    files = SafetensorsFolder(folder)
    if dtype is None and config.dtype is None and (embedding := files.entries.get(RULES[0].key)):
        config = dataclasses.replace(config, dtype=embedding.dtype)
    wanted = dtype or config.dtype
    abstract = nnx.eval_shape(lambda: Llama(config, rngs=nnx.Rngs(0), dtype=wanted))
    graphdef, state = nnx.split(abstract)
    places = _places(state)
    _check_bijection(folder, files, places, config, dtype)
    spread = _spread(state, mesh)
    # The largest first: while it is held twice, little else is held.
    order = sorted(places, key=lambda place: -math.prod(place.parameter.shape))
    for done, place in enumerate(order, 1):
        place.parameter.set_value(_load(files, place, spread[place.path]))
        if progress is not None:
            progress(done, len(places))
    model = nnx.merge(graphdef, nnx.from_flat_state((p.keys, p.parameter) for p in places))
    model.config = dataclasses.replace(config, dtype=str(jnp.dtype(wanted)))
    model.execution = dataclasses.replace(execution, mesh=execution.mesh or mesh)
    return model


def save(
    model: Llama,
    folder: str | os.PathLike,
    *,
    dtype: str | None = None,
    tokenizer_from: str | os.PathLike | None = None,
    max_shard_bytes: int = 2**30,
) -> None:
    """Writes a Hugging Face folder that `transformers` loads; whole or not at all.

    Args:
      model: without anything that Hugging Face's classes do not have: merge adapters first.
      folder: must not exist, or be empty.
      dtype: cast the weights to; None keeps them.
      tokenizer_from: folder whose tokenizer files are copied, after a check against the embedding.
      max_shard_bytes: of a safetensors file; twice as much is held in memory for a moment.

    Raises:
      FileExistsError: there is something in `folder`.
      FileNotFoundError: `tokenizer_from` holds no tokenizer.
      ValueError: parameters have no place in the files or differ in dtype, the tokenizer has more
        tokens than the embedding, or an array lies on other hosts.
    """
    places = _places(nnx.state(model))
    _check_complete(places, model.config)
    dtypes = {str(place.parameter.dtype) for place in places} if dtype is None else {dtype}
    if len(dtypes) > 1:
        raise ValueError(f"the parameters are {sorted(dtypes)}, expected one dtype; give `dtype`")
    [dtype] = dtypes
    config = dataclasses.replace(model.config, dtype=dtype)
    copied = [] if tokenizer_from is None else tokenizer_files(tokenizer_from, config.vocab_size)
    tensors = [
        Tensor(p.key, p.file_shape, dtype, functools.partial(_unload, p, dtype)) for p in places
    ]
    with atomic_folder(folder) as partial:
        for path in copied:
            shutil.copyfile(path, partial / path.name)
        safetensors_folder.write(partial, tensors, max_shard_bytes)
        (partial / "config.json").write_text(json.dumps(config.to_hf(), indent=2) + "\n")


class _Place(NamedTuple):
    """A parameter and the tensor that it is in the files."""

    keys: tuple[str | int, ...]  # of nnx's state
    parameter: nnx.Variable
    rule: Rule | None  # None: the files have no such thing
    key: str

    @property
    def path(self) -> str:
        return ".".join(map(str, self.keys))

    @property
    def file_shape(self) -> tuple[int, ...]:
        shape = tuple(self.parameter.shape)
        return shape[::-1] if self.rule.transposed else shape


def _places(state: nnx.State) -> list[_Place]:
    """One for each leaf, in the order of the rules, layer by layer."""
    rules = {rule.path: (number, rule) for number, rule in enumerate(RULES)}
    found = []
    for keys, parameter in nnx.to_flat_state(state):
        layer = next((part for part in keys if isinstance(part, int)), 0)
        pattern = ".".join("{i}" if isinstance(part, int) else part for part in keys)
        number, rule = rules.get(pattern, (len(RULES), None))
        key = rule.key.format(i=layer) if rule else ""
        found.append(((layer, number), _Place(keys, parameter, rule, key)))
    return [place for _, place in sorted(found, key=lambda pair: pair[0])]


def _check_complete(places: list[_Place], config: LlamaConfig) -> None:
    """That the model has the parameters of its config, of their shapes, and no others."""
    expected = nnx.eval_shape(lambda: Llama(config, rngs=nnx.Rngs(0)))
    shapes = {p.path: tuple(p.parameter.shape) for p in _places(nnx.state(expected))}
    found = {p.path: tuple(p.parameter.shape) for p in places}
    problems = [f"{path}: the files have no place for it" for path in found.keys() - shapes.keys()]
    problems += [f"{path}: missing" for path in shapes.keys() - found.keys()]
    problems += [
        f"{path}: shape {found[path]}, expected {shapes[path]}"
        for path in found.keys() & shapes.keys()
        if found[path] != shapes[path]
    ]
    problems += [
        f"{place.path}: lies on other hosts too"
        for place in places
        if not getattr(place.parameter.get_value(), "is_fully_addressable", True)
    ]
    if problems:
        raise ValueError("the model cannot be written:\n  " + "\n  ".join(sorted(problems)))


def _check_bijection(
    folder: str | os.PathLike,
    files: SafetensorsFolder,
    places: list[_Place],
    config: LlamaConfig,
    dtype: str | None,
) -> None:
    """That each tensor has one place and each place one tensor, of its shape and dtype."""
    problems = list(files.problems)
    expected = {place.key: place for place in places}
    for key in sorted(expected.keys() - files.entries.keys()):
        problems.append(f"{key}: missing, expected shape {expected[key].file_shape}")
    for key in sorted(files.entries.keys() - expected.keys()):
        if _COMPUTED.fullmatch(key):
            continue
        if key == _TIED and config.tie_word_embeddings and _same(files, key, RULES[0].key):
            continue
        shape = files.entries[key].shape
        reason = "not a tensor of this model"
        if key == _TIED and config.tie_word_embeddings:
            reason = f"config.json ties it to {RULES[0].key}, from which it differs"
        problems.append(f"{key}: extra, shape {shape}: {reason}")
    for key in expected.keys() & files.entries.keys():
        entry, shape = files.entries[key], expected[key].file_shape
        if entry.shape != shape:
            problems.append(f"{key}: shape {entry.shape}, expected {shape}")
        allowed = DTYPES if dtype is not None else (config.dtype,)
        if entry.dtype not in allowed:
            problems.append(f"{key}: dtype {entry.dtype}, expected {' or '.join(allowed)}")
    if problems:
        raise ValueError(
            f"{folder}: {len(problems)} problems with its tensors:\n  " + "\n  ".join(problems)
        )


def _same(files: SafetensorsFolder, first: str, second: str) -> bool:
    """Whether two tensors are equal, a block of rows at a time."""
    one, other = files.entries.get(first), files.entries.get(second)
    if one is None or other is None or one[1:] != other[1:]:
        return False
    rows = one.shape[0]
    blocks = (slice(start, min(start + 4096, rows)) for start in range(0, rows, 4096))
    return all(
        np.array_equal(files.read(first, (block,)), files.read(second, (block,)))
        for block in blocks
    )


def _spread(state: nnx.State, mesh: Mesh | None) -> dict[str, Sharding]:
    """Where each parameter goes, by its path."""
    if mesh is None:
        device = jax.local_devices()[0]
        return collections.defaultdict(lambda: SingleDeviceSharding(device))
    found = nnx.to_flat_state(sharding.shardings(state, mesh))
    return {".".join(map(str, keys)): leaf.get_value() for keys, leaf in found}


def _load(files: SafetensorsFolder, place: _Place, spread: Sharding) -> jax.Array:
    """The parameter's value; reads what the devices of this host hold, each part once."""
    dtype = place.parameter.dtype

    def read(index):
        if not place.rule.transposed:
            return files.read(place.key, index).astype(dtype, copy=False)
        return transposed(files.read(place.key, index[::-1])).astype(dtype, copy=False)

    return jax.make_array_from_callback(place.parameter.shape, spread, read)


def _unload(place: _Place, dtype: str) -> np.ndarray:
    """The tensor for the file."""
    value = np.asarray(place.parameter.get_value()).astype(dtype, copy=False)
    return transposed(value) if place.rule.transposed else np.ascontiguousarray(value)


def transposed(matrix: np.ndarray, block: int = 256) -> np.ndarray:
    """A transposed copy, by blocks that fit a cache: twice as fast as numpy's for large ones."""
    out = np.empty(matrix.shape[::-1], matrix.dtype)
    for row in range(0, matrix.shape[0], block):
        for column in range(0, matrix.shape[1], block):
            part = matrix[row : row + block, column : column + block]
            out[column : column + block, row : row + block] = part.T
    return out
