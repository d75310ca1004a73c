"""The same as `model_work` by PyTorch and `transformers`, on the same weights and the same data.

With what makes PyTorch fast on a CPU without a compiler: its fused attention (sdpa), which gets no
mask where none is needed, the fused AdamW, inference mode, texts sorted by length, and the output
matrix at the tokens alone that are learnt.
"""

from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import load_file

from experiments.bench.model_setup import (
    CHECKED,
    NEW,
    OPTIMIZER,
    ROW,
    SCORED,
    WARMUP,
    Data,
    Setup,
    repeat,
)
from models.packing import Batch, Packing


def training(setup: Setup) -> dict[str, Any]:
    """SFT on the batches of `models.packing`."""
    model = _model(setup).train()
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": OPTIMIZER["weight_decay"]},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=OPTIMIZER["learning_rate"],
        betas=(OPTIMIZER["beta1"], OPTIMIZER["beta2"]),
        eps=1e-8,
        fused=True,
    )
    packing = Packing(
        Data.load(setup.folder).documents, batch_tokens=setup.batch_tokens, row_lengths=(ROW,)
    )
    losses: list[float] = []
    tokens = 0

    def step(index: int) -> None:
        nonlocal tokens
        batch = packing.batch(index)
        loss = _loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), OPTIMIZER["clip_norm"])
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        tokens += np.count_nonzero(batch.segments)

    for index in range(WARMUP):
        step(index)
    tokens = 0
    meter, _ = repeat(setup.seconds, lambda count: step(WARMUP + count))
    return _result(meter, {"tokens": int(tokens)}, losses[:CHECKED])


def scoring(setup: Setup) -> dict[str, Any]:
    """A linear head at the last token of each state's text."""
    states = Data.load(setup.folder).states
    model = _model(setup).model.eval()
    weights = load_file(setup.head)
    kernel, bias = weights["outer/kernel"], weights["outer/bias"]

    def score(_: int = 0) -> torch.Tensor:
        scores = torch.empty(len(states))
        with torch.inference_mode():
            for members in _batches(states):
                batch = [torch.tensor(states[i]) for i in members]
                # Padding on the right is seen by no token before it: no mask is needed.
                tokens = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True)
                hidden = model(input_ids=tokens, use_cache=False).last_hidden_state
                last = torch.tensor([len(states[i]) - 1 for i in members])
                read = hidden[torch.arange(len(members)), last]
                scores[torch.tensor(members)] = (read @ kernel + bias)[:, 0]
        return scores

    check = score().tolist()
    meter, times = repeat(setup.seconds, score)
    counts = {"tokens": times * sum(map(len, states)), "states": times * len(states)}
    return _result(meter, counts, check)


def generation(setup: Setup) -> dict[str, Any]:
    """`generate`, greedy, `setup.rows` prompts a call."""
    prompts = torch.tensor(Data.load(setup.folder).prompts)
    model = _model(setup).eval()
    batches = prompts.split(setup.rows)

    def generate(count: int) -> torch.Tensor:
        batch = batches[count % len(batches)]
        with torch.inference_mode():
            return model.generate(
                batch,
                attention_mask=torch.ones_like(batch),
                max_new_tokens=NEW,
                do_sample=False,
                pad_token_id=0,
            )

    check = generate(0)[:, prompts.shape[1] :].flatten().tolist()
    meter, calls = repeat(setup.seconds, generate)
    return _result(meter, {"new tokens": calls * setup.rows * NEW}, check)


def _model(setup: Setup):
    torch.set_num_threads(setup.threads)
    return transformers.AutoModelForCausalLM.from_pretrained(
        setup.weights, dtype=torch.float32, attn_implementation="sdpa"
    )


def _loss(model, batch: Batch) -> torch.Tensor:
    """The mean of the cross-entropy at the reads."""
    tokens, segments = torch.from_numpy(batch.tokens), torch.from_numpy(batch.segments)
    place = torch.arange(tokens.shape[1])
    new = torch.nn.functional.pad(segments[:, 1:] != segments[:, :-1], (1, 0))
    start = torch.where(new, place, 0).cummax(dim=1).values
    same = segments[:, None, :, None] == segments[:, None, None, :]
    mask = same & (place[None, :] <= place[:, None])
    hidden = model.model(
        input_ids=tokens, attention_mask=mask, position_ids=place - start, use_cache=False
    ).last_hidden_state
    row, read = np.nonzero(batch.weights)
    logits = model.lm_head(hidden[torch.from_numpy(row), torch.from_numpy(batch.reads[row, read])])
    targets = torch.from_numpy(batch.targets[row, read]).long()
    return torch.nn.functional.cross_entropy(logits, targets)


def _batches(states: list[list[int]]) -> list[list[int]]:
    """Places of states of like length, up to `SCORED` tokens a batch, padding included."""
    batches: list[list[int]] = []
    for i in sorted(range(len(states)), key=lambda i: -len(states[i])):
        if not batches or (len(batches[-1]) + 1) * len(states[batches[-1][0]]) > SCORED:
            batches.append([])
        batches[-1].append(i)
    return batches


def _result(meter, counts: dict[str, int], check: list[float]) -> dict[str, Any]:
    note = f"PyTorch {torch.__version__}, transformers {transformers.__version__}"
    return meter.result(next(iter(counts.values())), note) | {"counts": counts, "check": check}
