"""Resampling in chunks; `test_dp_oracles` compares the intervals with the standard error."""

import jax
import numpy as np
import pytest

import core.bootstrap
from core import dp
from tests.core import thin


@pytest.mark.parametrize("held", [1, 3])
def test_chunks_change_no_draw(monkeypatch, held):
    """Seven resamples of four tasks; room for one or for three at once."""
    chain = [(s, 0, thin.WIN, s / 4) for s in range(1, 4)]
    chain += [(s, 0, thin.FAIL, 1 - s / 4) for s in range(4)]
    table = thin.build(chain, 4, start=[0, 1, 2, 3])
    plan = dp.Plan(  # nohelp everywhere
        budget=np.zeros(1),
        policy=np.zeros((1, table.num_states), np.int8),
        weight=np.ones(1),
        policy_success=np.array([3 / 8]),
        policy_usage=np.zeros((1, 1)),
        cost=np.ones(1),
        expected_success=3 / 8,
        expected_usage=np.zeros(1),
        upper_bound=3 / 8,
    )
    whole = dp.bootstrap(table, plan, num_resamples=7, seed=3)
    monkeypatch.setattr(core.bootstrap, "_CHUNK_ELEMENTS", held * 4 * 3)
    chunked = dp.bootstrap(table, plan, num_resamples=7, seed=3)
    np.testing.assert_array_equal(chunked.success_draws, whole.success_draws)
    np.testing.assert_array_equal(chunked.success_interval, whole.success_interval)
    assert whole.success == 3 / 8 and np.unique(whole.success_draws).size > 3


def test_memory_does_not_grow_with_the_resamples():
    total = jax.ShapeDtypeStruct((50_000, 3), np.float32)

    def held(num_resamples):
        keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), num_resamples))
        program = core.bootstrap._resamples.lower(keys, total, chunk=8).compile()
        return program.memory_analysis().temp_size_in_bytes

    assert held(1000) < 1.1 * held(80) < 50e6
