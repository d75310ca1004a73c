"""Greedy generation is that of PyTorch's `transformers` on the same exported weights."""

import numpy as np
import pytest
from flax import nnx

from models import convert
from models.config import LlamaConfig
from models.generation import Generator
from models.llama import Llama
from tests.models import torch_reference

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

NEW = 12


def theirs(folder, prompts, ends):
    """Tokens of each row up to its end, from one batch padded on the left."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    length = max(map(len, prompts))
    tokens = torch.tensor([[0] * (length - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (length - len(p)) + [1] * len(p) for p in prompts])
    with torch.inference_mode():
        found = model.generate(
            tokens,
            attention_mask=mask,
            max_new_tokens=NEW,
            do_sample=False,
            eos_token_id=ends,
            pad_token_id=0,
        )
    rows = found[:, length:].tolist()
    cut = [next((i + 1 for i, t in enumerate(row) if t in ends), len(row)) for row in rows]
    return [row[:end] for row, end in zip(rows, cut, strict=True)]


@pytest.mark.parametrize("name", torch_reference.GOLDEN)
def test_greedy_tokens_are_those_of_transformers(tmp_path, name):
    """Prompts of 1 to 40 tokens; rows that end early, and rows that do not."""
    ends = [3, 5, 8]
    entries = {"dtype": "float32", "initializer_range": 0.4, "eos_token_id": ends}
    config = LlamaConfig.from_hf({**torch_reference.GOLDEN[name], **entries})
    ours = Llama(config, rngs=nnx.Rngs(2))
    convert.save(ours, tmp_path / "export")
    rng = np.random.default_rng(0)
    sizes = [1, 40, *rng.integers(2, 40, 6)]
    prompts = [rng.integers(0, config.vocab_size, size).tolist() for size in sizes]
    found = Generator(ours, max_rows=8).generate(prompts, [[0]] * 8, max_new_tokens=NEW)
    assert [reply.tokens.tolist() for [reply] in found] == theirs(
        tmp_path / "export", prompts, ends
    )
    assert {reply.finish for [reply] in found} == {"end", "length"}
