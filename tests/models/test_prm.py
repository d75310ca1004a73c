"""A process reward model against a process whose p(success | state) is known."""

import dataclasses

import numpy as np
import pytest
from flax import nnx
from scipy import special

from models.calibration import auroc, quality, split_tasks
from models.documents import Limit, state_documents
from models.heads import Head, HeadConfig, HeadedLlama
from models.llama import Llama
from models.losses import Success
from models.packing import Packing
from models.scoring import Scorer
from models.training import train
from models.training_config import TrainingConfig
from tests.models import tiny

EPISODES, HELD_OUT = 5000, 300
TOP = 6  # of a ladder: 0 is failure
COINS = np.array([0.35, 0.45, 0.55, 0.65])  # chance of a step up, one a task
# Tokens: which coin, then for each turn the rung and one that means nothing.
COIN, RUNG, NOISE = 1, 10, 20


def truth(coin, rung):
    """p(success) of the gambler's ruin: (1 - x^i) / (1 - x^n) with x = (1 - q) / q."""
    ratio = (1 - COINS[coin]) / COINS[coin]
    return (1 - ratio**rung) / (1 - ratio**TOP)


def episode(rng, number):
    """A document whose targets are the outcome, and p of each of its states."""
    coin, rungs = int(rng.integers(len(COINS))), [TOP // 2]
    while 0 < rungs[-1] < TOP:
        rungs.append(rungs[-1] + (1 if rng.random() < COINS[coin] else -1))
    outcome, seen = float(rungs[-1] == TOP), rungs[:-1][:15]
    turns = [[RUNG + rung, rng.integers(NOISE, tiny.VOCAB)] for rung in seen]
    states = [[COIN + coin, *np.ravel(turns[: i + 1])] for i in range(len(seen))]
    targets = np.full((len(seen), 1), outcome)
    (document,) = state_documents(f"{number}", states, targets=targets, limit=Limit(tiny.ROW))
    return document, [truth(coin, rung) for rung in seen]


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Predicted p, true p and outcome of the states of tasks held out, [N] each."""
    rng = np.random.default_rng(0)
    episodes = [episode(rng, i) for i in range(EPISODES)]
    held = split_tasks(range(EPISODES), HELD_OUT / EPISODES)
    documents = [document for document, _ in episodes]
    config = dataclasses.replace(tiny.CONFIG, initializer_range=0.1)
    backbone = Llama(config, rngs=nnx.Rngs(0), dtype="float32")
    head = Head(HeadConfig("success", 0), config.hidden_size, rngs=nnx.Rngs(1))
    model = HeadedLlama(backbone, head)
    train(
        model,
        Packing(
            [document for document, out in zip(documents, held, strict=True) if not out],
            batch_tokens=32 * tiny.ROW,
            row_lengths=(tiny.ROW,),
        ),
        Success(),
        TrainingConfig(steps=200, learning_rate=3e-3, warmup_steps=10, weight_decay=0.1),
        folder=tmp_path_factory.mktemp("run"),
    )
    test = [found for found, out in zip(episodes, held, strict=True) if out]
    scorer = Scorer(model, row_lengths=(tiny.ROW,), batch_tokens=32 * tiny.ROW)
    logits = scorer([document for document, _ in test])
    return (
        special.expit(np.concatenate(logits)[:, 0]),
        np.concatenate([p for _, p in test]),
        np.concatenate([document.targets[:, 0] for document, _ in test]),
    )


def test_a_prm_recovers_the_true_probability(judged):
    """2240 states of 300 unseen tasks. ECE against the truth .020; AUROC against the truth .840,
    of the truth itself .861; mean error .080, that of the best constant .280.
    """
    predicted, true, _ = judged
    found = quality(predicted, true)
    assert found.ece < 0.04
    assert found.auroc > auroc(true, true) - 0.04
    assert np.abs(predicted - true).mean() < 0.11


def test_and_tells_outcomes_nearly_as_well_as_the_truth(judged):
    """AUROC of outcomes .861, the truth's .884; Brier score .152, the truth's .139."""
    predicted, true, outcome = judged
    found, best = quality(predicted, outcome), quality(true, outcome)
    assert best.auroc - 0.04 < found.auroc < best.auroc
    assert best.brier < found.brier < best.brier + 0.02
