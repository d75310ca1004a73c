"""What gets compiled, and where it runs."""

import subprocess
import sys

import chex
import jax
import numpy as np

from core import compiling, dp, rules
from core.transitions import TransitionTable
from experiments import instances


def test_other_numbers_compile_nothing_new():
    first, second = (
        TransitionTable.from_arrays(**instances.layered(300, seed).table_arguments())
        for seed in (0, 1)
    )
    jax.clear_caches()
    traced = chex.assert_max_traces(rules.maximize.__wrapped__, n=1)
    original = rules.maximize
    rules.maximize = jax.jit(traced)
    try:
        for table, costs, discount in ((first, [0.1, 0.2], 0.9), (second, [0.0, 0.7], 1.0)):
            assert dp.sweep(table, costs, discount=discount).converged.all()
    finally:
        rules.maximize = original


def test_options_are_asked_for_where_the_compiler_knows_them(monkeypatch):
    def double(x):
        return 2 * x

    assert compiling.jit(double)(3) == 6
    assert compiling.jit(donate_argnums=0)(double)(jax.numpy.arange(3)).tolist() == [0, 2, 4]
    monkeypatch.setattr(compiling, "_ON_CPU", {"xla_no_such_option": True})
    compiling._compiler_options.cache_clear()
    try:
        assert compiling._compiler_options() is None
        assert compiling.jit(double)(3) == 6
    finally:
        compiling._compiler_options.cache_clear()


def test_a_jitted_function_keeps_its_name():
    assert rules.maximize.__name__ == "maximize" and "backups" in rules.maximize.__doc__


FOUR_DEVICES = """
import jax
jax.config.update("jax_num_cpu_devices", 4)
import numpy as np
from core import dp
from core.transitions import TransitionTable
from experiments import instances

instance = instances.layered(600)
table = TransitionTable.from_arrays(**instance.table_arguments())
costs = np.geomspace(1e-3, 1.0, 32)  # as many as frontier and plan solve: one compilation
assert len(jax.devices()) == 4
calls = {
    "sweep": lambda devices: dp.sweep(table, costs, discount=0.99, devices=devices),
    "frontier": lambda devices: dp.frontier(
        table, discount=0.99, gap=1e-3, batch=32 if devices is None else 30, devices=devices
    ),
    "plan": lambda devices: dp.plan(table, 0.5, discount=0.99, devices=devices),
}
for name, call in calls.items():
    one, four = call(None), call(jax.devices())
    assert np.all(getattr(four, "converged", True)), name
    for found, expected in zip(jax.tree.leaves(four), jax.tree.leaves(one), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12, err_msg=name)
print("agreed")
"""


def test_costs_are_split_over_four_devices():
    done = subprocess.run(
        [sys.executable, "-c", FOUR_DEVICES], capture_output=True, text=True, check=False
    )
    assert done.stdout == "agreed\n", done.stderr


def test_the_switch_for_float64_is_left_alone():
    table = TransitionTable.from_arrays(**instances.layered(64).table_arguments())
    before = jax.config.jax_enable_x64
    wide, narrow = (dp.sweep(table, [0.1], dtype=dtype) for dtype in (None, "float32"))
    assert jax.config.jax_enable_x64 == before
    assert wide.success.dtype == np.float64
    assert narrow.success.dtype == np.float32
    np.testing.assert_allclose(narrow.success, wide.success, atol=1e-5)
