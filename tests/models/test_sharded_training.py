"""Training and scoring spread over four devices, in a process of its own, against one."""

import json
import subprocess
import sys

import numpy as np

from tests.models import killed_run

FOUR_DEVICES = """
import json
import sys
import jax
jax.config.update("jax_num_cpu_devices", 4)
import numpy as np
from jax.sharding import PartitionSpec as P
from models import sharding
from models.config import Execution
from models.heads import HeadConfig, HeadedLlama
from models.scoring import Scorer
from tests.models import killed_run, tiny

model = tiny.llama(layers=1)
model.execution = Execution(mesh=sharding.make_mesh(data=1, fsdp=2, tensor=2))
history = killed_run.run(sys.argv[1], model)
kernel = model.layers[0].mlp.up_proj.kernel[...]
assert kernel.sharding.spec == P("fsdp", "tensor") and len(kernel.sharding.device_set) == 4
restored = tiny.llama(seed=1, layers=1)
restored.execution = model.execution
killed_run.run(sys.argv[1], restored)
np.testing.assert_array_equal(restored.layers[0].mlp.up_proj.kernel[...], kernel)

documents = tiny.trajectories(20)
headed = HeadedLlama(model, tiny.headed(HeadConfig("success", 0)).head)
options = dict(row_lengths=(tiny.ROW,), batch_tokens=8 * tiny.ROW)
four = Scorer(headed, **options)(documents)
model.execution = Execution()
one = Scorer(headed, **options)(documents)
np.testing.assert_allclose(np.concatenate(four), np.concatenate(one), rtol=1e-4, atol=1e-5)
print(json.dumps(history))
"""


def test_four_devices_train_and_score_as_one(tmp_path):
    command = [sys.executable, "-c", FOUR_DEVICES, str(tmp_path / "four")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    four = json.loads(done.stdout)
    one = killed_run.run(tmp_path / "one")
    for name, rtol in (("loss", 1e-4), ("grad_norm", 1e-3)):
        found, expected = ([values[name] for values in history[:10]] for history in (four, one))
        np.testing.assert_allclose(found, expected, rtol=rtol)
