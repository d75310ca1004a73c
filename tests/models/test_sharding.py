"""Four devices, virtual ones in a process of their own, compute what one computes."""

import subprocess
import sys

import jax
import pytest
from flax import nnx

from models import convert, sharding
from models.config import LlamaConfig
from models.llama import Llama

CONFIG = LlamaConfig(
    vocab_size=40,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    family="qwen3",
    initializer_range=0.2,
    dtype="float32",
)

FOUR_DEVICES = """
import math, sys
import jax
jax.config.update("jax_num_cpu_devices", 4)
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import PartitionSpec as P
from models import convert, sharding
from models.config import Execution
from models.generation import Generator
from models.safetensors_folder import SafetensorsFolder

folder = sys.argv[1]
tokens = np.random.default_rng(0).integers(0, 40, (4, 16))
segments = np.sort(np.random.default_rng(1).integers(0, 3, (4, 16)))

def results(model, mesh):
    graphdef, state = nnx.split(model)
    arrays = tokens, segments
    if mesh is not None:
        arrays = jax.device_put(arrays, sharding.batch_sharding(mesh))

    def loss(state, tokens, segments):
        model = nnx.merge(graphdef, state)
        hidden = model(tokens, segments=segments)
        return jnp.mean(jax.nn.log_softmax(model.logits(hidden)) ** 2), hidden

    return jax.jit(jax.value_and_grad(loss, has_aux=True))(state, *arrays)

def replies(model):
    # Two and one, of prompts of other lengths; three rows are padded to four.
    found = Generator(model).generate(
        [[7, 30, 2], [11]], [[1, 2], [3]], max_new_tokens=6, temperature=1.0
    )
    return [reply for some in found for reply in some]

read, counts = SafetensorsFolder.read, []
def counting(self, name, index):
    part = read(self, name, index)
    counts.append((name, part.size))
    return part
SafetensorsFolder.read = counting

alone = convert.load(folder)
expected, said = results(alone, None), replies(alone)
total = sum(size for _, size in counts)
both, scan = dict(fsdp=2, tensor=2), Execution(scan_layers=True, remat="dots")
for shape, execution, generates in (
    (both, Execution(), True),
    (dict(data=2, tensor=2), scan, False),
    (dict(data=2, fsdp=2), Execution(), False),
):
    mesh = sharding.make_mesh(**shape)
    counts.clear()
    model = convert.load(folder, mesh=mesh, execution=execution)
    assert model.execution.mesh == mesh
    found = results(model, mesh)
    for one, other in zip(found, expected, strict=True):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), one, other
        )
    if generates:
        for one, other in zip(replies(model), said, strict=True):
            assert one.tokens.tolist() == other.tokens.tolist()
            np.testing.assert_allclose(one.logprobs, other.logprobs, rtol=2e-4, atol=2e-5)
    gradient = found[1]
    assert gradient["layers"][0]["mlp"]["down_proj"]["kernel"][...].shape == (48, 32)
    weights = {".".join(map(str, k)): v[...] for k, v in nnx.to_flat_state(nnx.state(model))}
    tensor = "tensor" if "tensor" in shape else None
    fsdp = "fsdp" if "fsdp" in shape else None
    cut = math.prod(shape[name] for name in (tensor, fsdp) if name)
    for name, spec in {
        "embed_tokens.embedding": P("tensor", "fsdp"),
        "layers.1.self_attn.q_proj.kernel": P("fsdp", "tensor"),
        "layers.1.self_attn.o_proj.kernel": P("tensor", "fsdp"),
        "layers.1.mlp.down_proj.kernel": P("tensor", "fsdp"),
        "lm_head.kernel": P("fsdp", "tensor"),
    }.items():
        array = weights[name]
        assert array.sharding.spec == spec, (name, array.sharding)
        assert {s.data.size for s in array.addressable_shards} == {array.size // cut}, name
    # Each device's part was read, never the whole for it.
    largest = max(size for name, size in counts if name == "lm_head.weight")
    assert largest == weights["lm_head.kernel"].size // cut
    print(shape, "ok")

convert.save(model, sys.argv[2])
"""


def test_four_devices_compute_what_one_does_and_each_reads_its_part(tmp_path):
    model = Llama(CONFIG, rngs=nnx.Rngs(0))
    convert.save(model, tmp_path / "model")
    command = [sys.executable, "-c", FOUR_DEVICES, str(tmp_path / "model"), str(tmp_path / "back")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ok") == 3
    # Written from four devices, the files are the same.
    for path in (tmp_path / "model").iterdir():
        assert (tmp_path / "back" / path.name).read_bytes() == path.read_bytes()


def test_a_mesh_that_does_not_divide_the_weights_is_refused_with_all_of_them():
    state = nnx.state(Llama(CONFIG, rngs=nnx.Rngs(0)))
    three = jax.sharding.AbstractMesh((1, 1, 3), sharding.AXES)
    with pytest.raises(ValueError, match="cannot be cut over the mesh") as error:
        sharding.shardings(state, three)
    lines = str(error.value).splitlines()[1:]
    assert len(lines) == 2 + 2 * 4  # 48 is a multiple of 3
    assert any("q_proj" in line and "32 is no multiple of tensor=3" in line for line in lines)


def test_more_devices_than_there_are_is_refused():
    with pytest.raises(ValueError, match="data=1, fsdp=7, tensor=1 need 7 devices; expected 1 to"):
        sharding.make_mesh(fsdp=7)
    with pytest.raises(ValueError, match="data=0"):
        sharding.make_mesh(data=0)
