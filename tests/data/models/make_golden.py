"""Writes the golden files beside it: weights and outputs of PyTorch's `transformers`.

    python -m tests.data.models.make_golden

needs torch and transformers. Of each model: its config.json, its tensors by name (float16, exact),
tokens, mask, and the output of every part of the first layer and of the whole (float32).
"""

import json
from pathlib import Path

import numpy as np

from tests.models import torch_reference


def main() -> None:
    tokens, mask = torch_reference.tokens_and_mask()
    for name, config in torch_reference.GOLDEN.items():
        model = torch_reference.model(config)
        parts = torch_reference.outputs(model, tokens, mask)
        tensors = dict(model.named_parameters())  # tied ones once
        np.savez_compressed(
            Path(__file__).parent / f"{name}.npz",
            config=np.array(json.dumps(config)),
            tokens=tokens.astype(np.int32),
            mask=mask.astype(np.int32),
            **{f"weight/{key}": tensor.detach().half().numpy() for key, tensor in tensors.items()},
            **{f"output/{key}": part for key, part in parts.items() if "layers.1." not in key},
        )


if __name__ == "__main__":
    main()
