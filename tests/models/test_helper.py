"""What a helper learns where luck is hidden from it: labels mislead, expected gains do not."""

import jax
import numpy as np
import pytest
from flax import nnx

from models.documents import Limit, state_documents
from models.heads import Head, HeadConfig, HeadedLlama, decide, margins
from models.layers import read
from models.losses import Policy, Regression, class_weights
from models.training import train
from models.training_config import TrainingConfig
from tests.models import tiny

# In a state of kind k a call turns failure into success with this chance.
CHANCES = np.array([0.05, 0.2, 0.42, 0.8])
LOW, HIGH = 0.02, 1.0


class Lookup(nnx.Module):
    """Hidden states that are the token's alone: next to nothing to compile."""

    config, execution = tiny.CONFIG, tiny.Execution()

    def __init__(self):
        self.table = nnx.Param(jax.random.normal(jax.random.key(0), (tiny.VOCAB, 8)))

    def __call__(self, tokens, segments, reads):
        return read(self.table[...][tokens], reads)


def learn(folder, config, loss, documents):
    """A function from cost to the decision in each kind of state."""
    model = HeadedLlama(Lookup(), Head(config, 8, rngs=nnx.Rngs(0)))
    packing = tiny.packing(documents, batch_tokens=16 * tiny.ROW)
    train(model, packing, loss, TrainingConfig(steps=150, learning_rate=2e-2), folder=folder)
    states = 1 + np.arange(len(CHANCES))[:, None]  # a row each
    one, read = np.ones_like(states), np.zeros_like(states)

    def decisions(cost):
        features = config.features(len(states), costs=cost if config.cost_range else None)
        outputs = model(states, one, read, features[:, None])[:, 0]
        return decide(margins(outputs, config, [cost] if config.kind == "gains" else None)).tolist()

    return decisions


@pytest.fixture(scope="module")
def draws():
    """Kind, success gained by a call (0 or 1), and a cost, [N] each."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, len(CHANCES), 4000)
    gained = rng.random(4000) < CHANCES[kinds]
    return kinds, gained.astype(float), LOW * (HIGH / LOW) ** rng.random(4000)


def documents(config, kinds, targets, costs=None, weights=None):
    features = config.features(len(kinds), costs=None if costs is None else costs[:, None])
    return [
        state_documents(
            f"state {i}",
            [[1 + kind]],
            targets=targets[i : i + 1],
            weights=None if weights is None else weights[i : i + 1],
            features=features[i : i + 1],
            limit=Limit(9),
        )[0]
        for i, kind in enumerate(kinds)
    ]


def test_copied_labels_ask_where_most_labels_do(tmp_path, draws):
    kinds, gained, _ = draws
    config = HeadConfig("policy")
    labels = (gained > 0.1).astype(int)  # at r = .1
    decisions = learn(tmp_path / "plain", config, Policy(), documents(config, kinds, labels))
    assert decisions(0.1) == [0, 0, 0, 1]


def test_balanced_labels_ask_more(tmp_path, draws):
    kinds, gained, _ = draws
    config = HeadConfig("policy")
    labels = (gained > 0.1).astype(int)
    weights = class_weights(labels, 2)[labels]
    found = documents(config, kinds, labels, weights=weights)
    assert learn(tmp_path, config, Policy(), found)(0.1) == [0, 0, 1, 1]


def test_one_regression_of_advantages_serves_every_cost(tmp_path, draws):
    kinds, gained, costs = draws
    config = HeadConfig("advantage", cost_range=(LOW, HIGH), inner_size=16)
    found = documents(config, kinds, (gained - costs)[:, None], costs=costs)
    decisions = learn(tmp_path, config, Regression(), found)
    assert decisions(0.1) == [0, 1, 1, 1]
    assert decisions(0.27) == [0, 0, 1, 1]
    assert decisions(0.55) == [0, 0, 0, 1]
    assert decisions(0.99) == [0, 0, 0, 0]


def test_gains_are_weighed_by_the_cost_afterwards(tmp_path, draws):
    kinds, gained, _ = draws
    config = HeadConfig("gains")
    targets = np.stack([gained, np.ones_like(gained)], axis=1)  # one more call each
    decisions = learn(tmp_path, config, Regression(), documents(config, kinds, targets))
    assert [sum(decisions(cost)) for cost in (0.02, 0.1, 0.27, 0.55, 0.99)] == [4, 3, 2, 1, 0]
