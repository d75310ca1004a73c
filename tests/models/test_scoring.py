"""One pass a trajectory against one pass a state, packed against alone."""

import numpy as np
import pytest

from models.documents import Limit, state_documents
from models.heads import HeadConfig
from models.scoring import Scorer
from tests.models import tiny

CONFIG = HeadConfig("policy", num_helps=2, cost_range=(0.01, 1.0), inner_size=8)


@pytest.fixture(scope="module")
def scorer():
    return Scorer(tiny.headed(CONFIG), row_lengths=(tiny.ROW,), batch_tokens=8 * tiny.ROW)


@pytest.fixture(scope="module")
def states():
    rng = np.random.default_rng(0)
    return [tiny.transcript(rng, turns) for turns in (1, 5, 8, 8, 3, 2, 8)]


def documents(states, limit=tiny.ROW, cost=0.1, **rest):
    found = []
    for i, state in enumerate(states):
        features = CONFIG.features(len(state), costs=cost)
        limited = Limit(limit, "truncate")
        found += state_documents(f"task {i}", state, features=features, limit=limited, **rest)
    return found


def test_one_pass_a_trajectory_is_one_pass_a_state(scorer, states):
    together = scorer(documents(states))
    apart = scorer(documents([[state] for trajectory in states for state in trajectory]))
    assert [len(scores) for scores in together] == [len(trajectory) for trajectory in states]
    np.testing.assert_allclose(
        np.concatenate(together), np.concatenate(apart), rtol=1e-5, atol=1e-6
    )
    assert np.std(np.concatenate(apart), axis=0).min() > 0.01  # states differ


def test_truncated_states_too(scorer, states):
    together = scorer(documents(states, limit=16))
    last = [[state[-16:]] for trajectory in states for state in trajectory]
    apart = scorer(documents(last, limit=16))
    assert len(together) > len(states)
    np.testing.assert_allclose(
        np.concatenate(together), np.concatenate(apart), rtol=1e-5, atol=1e-6
    )


def test_a_document_scores_the_same_in_any_company(scorer, states):
    found = documents(states)
    together = scorer(found)
    for i in (0, 2, 6):
        (alone,) = scorer([found[i]])
        np.testing.assert_allclose(alone, together[i], rtol=1e-5, atol=1e-6)


def test_reads_of_several_costs_are_those_of_each_cost(scorer, states):
    trajectory = states[1]
    costs = np.array([0.02, 0.3])
    (both,) = state_documents(
        "task",
        trajectory,
        of_state=np.repeat(np.arange(len(trajectory)), 2),
        features=CONFIG.features(10, costs=np.repeat(np.tile(costs, 5)[:, None], 2, axis=1)),
        limit=Limit(tiny.ROW),
    )
    (found,) = scorer([both])
    for k, cost in enumerate(costs):
        (alone,) = scorer(documents([trajectory], cost=cost))
        np.testing.assert_allclose(found[k::2], alone, rtol=1e-5, atol=1e-6)
    assert np.abs(found[::2] - found[1::2]).max() > 0.01


def test_lengths_and_counts_that_vary_do_not_compile_again(scorer, states):
    for count in range(1, len(states)):
        scorer(documents(states, cost=0.01 * count)[:count])
    assert scorer.num_compiled <= 4  # batches of one row and of more, with few reads and with more


@pytest.mark.parametrize(
    "found, message",
    [
        ([], "no documents"),
        (state_documents("task", [[1] * 49], limit=Limit(99)), "task: 49 tokens, expected at most"),
        (state_documents("task", [[64]], limit=Limit(99)), "task: token 64, expected 0..63"),
        (state_documents("task", [[1]], limit=Limit(99)), "task: 0 features, expected 2"),
    ],
)
def test_bad_documents_are_refused(scorer, found, message):
    with pytest.raises(ValueError, match=message):
        scorer(found)


def test_models_of_one_form_share_what_was_compiled(scorer, states):
    some = documents(states)
    scorer(some)
    before = scorer.num_compiled
    other = Scorer(tiny.headed(CONFIG, seed=3), row_lengths=[tiny.ROW], batch_tokens=8 * tiny.ROW)
    assert np.abs(other(some)[0] - scorer(some)[0]).max() > 1e-3  # but not their weights
    assert other.num_compiled == before
