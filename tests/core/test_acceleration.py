"""Anderson acceleration, against linear algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core import acceleration

advance = jax.jit(acceleration.advance)


@pytest.fixture(autouse=True)
def _wide():
    with jax.enable_x64(True):
        yield


def iterate(step, start, *, size, count, allowed=True):
    """The residuals [count, R] of an iteration, and where it went on from [F, R]."""
    x, history = jnp.asarray(start), acceleration.begin(jnp.asarray(start), size, allowed)
    sizes = []
    for _ in range(count):
        history, onward = advance(history, x, step(x))
        sizes.append(np.asarray(history.change))
        x = onward
    return np.stack(sizes), np.asarray(x), history


def linear(eigenvalues, seed=0):
    """x -> A x + b with a symmetric A of these eigenvalues, and the fixed point."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(len(eigenvalues),) * 2))
    a = q @ np.diag(eigenvalues) @ q.T
    b = rng.normal(size=(len(eigenvalues), 1))
    return (lambda x: a @ x + b), np.linalg.solve(np.eye(len(a)) - a, b)


def test_a_few_slow_modes_are_gone_in_a_few_iterations():
    # Three eigenvalues besides zero, of which plain iteration would take 2,000 steps.
    step, fixed = linear([0.99, 0.97, -0.9, 0.0, 0.0, 0.0])
    _, x, _ = iterate(step, np.zeros((6, 1)), size=4, count=8)
    np.testing.assert_allclose(x, fixed, atol=1e-6)
    _, plain, _ = iterate(step, np.zeros((6, 1)), size=4, count=8, allowed=False)
    assert np.abs(plain - fixed).max() > 1


def test_the_average_is_the_one_numpy_finds():
    step, _ = linear(np.linspace(-0.5, 0.9, 12), seed=1)
    x, history = jnp.zeros((12, 1)), acceleration.begin(jnp.zeros((12, 1)), 3, True)
    images, residuals = [], []
    for _ in range(3):
        y = step(x)
        images.append(np.asarray(y)[:, 0])
        residuals.append(np.asarray(y - x)[:, 0])
        history, x = advance(history, x, y)
    f = np.stack(residuals)
    weight = np.linalg.solve(f @ f.T, np.ones(3))
    expected = weight / weight.sum() @ np.stack(images)
    np.testing.assert_allclose(np.asarray(x)[:, 0], expected, rtol=1e-6)


def test_each_cost_goes_its_own_way():
    one, other = linear([0.9, 0.5, 0.1]), linear([-0.8, 0.3, 0.2], seed=3)

    def both(x):
        return jnp.concatenate([one[0](x[:, :1]), other[0](x[:, 1:])], axis=1)

    together, _, _ = iterate(both, np.zeros((3, 2)), size=3, count=6)
    for column, (step, _) in enumerate((one, other)):
        alone, _, _ = iterate(step, np.zeros((3, 1)), size=3, count=6)
        np.testing.assert_allclose(together[:, column], alone[:, 0], rtol=1e-4, atol=1e-13)


def test_a_cost_whose_residual_grows_again_and_again_takes_plain_steps():
    # A map that turns round by a quarter and grows at every second step of its own count.
    turns = iter(range(100))

    def erratic(x):
        return x + (10.0 if next(turns) % 2 else 0.1) * jnp.array([[1.0], [-1.0]])

    _, _, history = iterate(erratic, np.zeros((2, 1)), size=3, count=12)
    assert history.strikes[0] >= 4
    x = jnp.array([[3.0], [5.0]])
    _, onward = advance(history, x, 2 * x)
    np.testing.assert_array_equal(onward, 2 * x)


def test_a_fixed_point_stays():
    x = jnp.ones((4, 2))
    history, _ = advance(acceleration.begin(x, 3, True), x, x + 1)
    history, _ = advance(history, x, x)
    np.testing.assert_array_equal(history.change, 0.0)


@pytest.mark.parametrize("length", [700, 4096, 5003])
def test_folded_residuals_have_the_inner_products_of_those_they_stand_for(length):
    rng = np.random.default_rng(0)
    history = acceleration.begin(jnp.zeros((length, 3)), 2, True)
    before, after = rng.normal(size=(2, length, 3))
    after[:, 1] = after[:, 0] + rng.normal(size=length)
    before[:, 2] = after[:, 2]
    after[length // 3, 2] += 7.0  # all of it in one row
    folded = np.asarray(acceleration._fold(history.sign, jnp.asarray(before), jnp.asarray(after)))
    assert len(folded) <= max(length, 1024) and (length < 1024) == (len(folded) == length)
    gram, full = folded.T @ folded, (after - before).T @ (after - before)
    np.testing.assert_allclose(gram[:2, :2], full[:2, :2], rtol=0.3)
    np.testing.assert_allclose(gram[2, 2], 49.0, rtol=1e-12)


def test_a_long_iteration_is_as_short_as_a_short_one():
    modes = [0.99, 0.97, -0.9]

    def step(x):
        return jnp.asarray(rate)[:, None] * x + 1.0

    counts = []
    for length in (600, 6000):
        rate = np.resize([*modes, 0.0, 0.0], length)
        sizes, x, _ = iterate(step, np.zeros((length, 1)), size=4, count=12)
        np.testing.assert_allclose(x[:, 0], 1 / (1 - rate), atol=1e-6)
        counts.append((sizes > 1e-6).sum())
    assert counts[1] <= counts[0] + 1, counts
