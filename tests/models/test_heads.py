"""What heads read, what they say, and how they are kept."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

from models import tensors
from models.heads import Head, HeadConfig, averaged, decide, margins

CONFIG = HeadConfig(
    "gains",
    num_helps=2,
    feature_means=(1.0, -2.0, 0.0),
    feature_scales=(2.0, 1.0, 4.0),
    cost_range=(0.01, 1.0),
    inner_size=5,
)


@pytest.mark.parametrize(
    "kind, helps, outputs",
    [
        ("success", 0, 1),
        ("success", 2, 3),
        ("policy", 2, 3),
        ("advantage", 2, 2),
        ("gains", 3, 12),
    ],
)
def test_outputs_of_each_kind(kind, helps, outputs):
    head = Head(HeadConfig(kind, helps), 8, rngs=nnx.Rngs(0))
    assert head(np.ones((4, 3, 8)), np.zeros((4, 3, 0))).shape == (4, 3, outputs)


def test_features_are_standardised_and_costs_are_logarithms_rescaled():
    features = CONFIG.features(
        3, numbers=[[1, -2, 0], [3, -1, 4], [1, 0, 8]], costs=[[0.01, 1], [0.1, 0.1], [1, 0.01]]
    )
    expected = [[0, 0, 0, -1, 1], [1, 1, 1, 0, 0], [0, 2, 2, 1, -1]]
    np.testing.assert_allclose(features, expected, atol=1e-6)
    assert features.dtype == np.float32


def test_one_vector_of_numbers_and_one_cost_serve_all_reads():
    features = CONFIG.features(2, numbers=[1, -2, 0], costs=0.1)
    np.testing.assert_allclose(features, np.zeros((2, 5)), atol=1e-6)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(costs=0.1), "numbers is None, expected 3 a read"),
        (dict(numbers=[1, 2, 3]), "costs is None, expected 2 a read"),
        (dict(numbers=[1, 2], costs=0.1), r"numbers has shape \(2,\), expected \(2, 3\)"),
        (dict(numbers=[1, 2, np.nan], costs=0.1), "numbers holds a number that is not finite"),
        (dict(numbers=[1, 2, 3], costs=[0.1, 2]), "cost 2.0, expected 0.01..1.0, as in training"),
        (dict(numbers=[1, 2, 3], costs=0), "cost 0.0, expected 0.01..1.0"),
    ],
)
def test_bad_features_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        CONFIG.features(2, **arguments)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(kind="value"), "kind is 'value'"),
        (dict(num_helps=0), "num_helps is 0 for 'gains', expected 1 or more"),
        (dict(feature_scales=(1.0,)), "3 feature_means and 1 feature_scales"),
        (dict(feature_scales=(1.0, 0.0, 1.0)), "expected all above 0"),
        (dict(feature_means=(1.0, np.inf, 1.0)), "expected finite numbers"),
        (dict(cost_range=(0.0, 1.0)), "expected 0 < lowest < highest"),
        (dict(inner_size=0), "inner_size is 0"),
    ],
)
def test_bad_configs_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **change)


def test_margins_by_hand():
    policy = HeadConfig("policy", 2)
    np.testing.assert_allclose(margins([[1.0, 3.0, 0.5]], policy), [[2.0, -0.5]])
    advantage = HeadConfig("advantage", 2)
    np.testing.assert_allclose(margins([[0.1, -0.2]], advantage), [[0.1, -0.2]])
    # Help 1: success .3, own calls +1, the other's -.5. Help 2: success .4, calls 0 and +2.
    gains = HeadConfig("gains", 2)
    found = margins([[0.3, 1.0, -0.5, 0.4, 0.0, 2.0]], gains, costs=[0.1, 0.2])
    np.testing.assert_allclose(found, [[0.3 - 0.1 + 0.1, 0.4 - 0.4]])
    each = margins([[0.3, 1.0, -0.5, 0.4, 0.0, 2.0]] * 2, gains, costs=[[0.1, 0.2], [0, 0]])
    np.testing.assert_allclose(each, [[0.3, 0.0], [0.3, 0.4]])


def test_the_best_help_is_asked_where_it_is_above_the_threshold():
    margin = [[-0.1, -0.2], [0.1, 0.3], [0.2, 0.1]]
    assert decide(margin).tolist() == [0, 2, 1]
    assert decide(margin, 0.25).tolist() == [0, 2, 0]


def test_margins_refuse_a_prm_and_costs_out_of_place():
    with pytest.raises(ValueError, match="expected a helper's"):
        margins([[0.0]], HeadConfig("success", 0))
    for kind, costs in (("gains", None), ("policy", [0.1])):
        with pytest.raises(ValueError, match="for 'gains' only"):
            margins([[0.0, 0.0]], HeadConfig(kind, 1), costs)


def test_a_head_is_saved_and_loaded(tmp_path):
    head = Head(CONFIG, 8, rngs=nnx.Rngs(0))
    head.outer.kernel[...] = jax.random.normal(jax.random.key(1), head.outer.kernel.shape)
    head.save(tmp_path / "head.safetensors")
    found = Head.load(tmp_path / "head.safetensors", 8)
    x = jax.random.normal(jax.random.key(2), (2, 8))
    features = CONFIG.features(2, numbers=[1, 2, 3], costs=0.3)
    assert found.config == CONFIG
    np.testing.assert_array_equal(found(x, features), head(x, features))


@pytest.mark.parametrize("inner_size", [None, 3])
def test_an_average_says_the_mean_of_what_heads_say_of_decoders_of_their_own(inner_size):
    config = HeadConfig("advantage", 2, (1.0,), (2.0,), inner_size=inner_size)
    sizes, rng = (4, 5), np.random.default_rng(0)
    heads = [Head(config, size, rngs=nnx.Rngs(size)) for size in sizes]
    for one in heads:
        for layer in filter(None, (one.inner, one.outer)):
            layer.kernel[...] = rng.normal(size=layer.kernel.shape)
            layer.bias[...] = rng.normal(size=layer.bias.shape)
    hidden = [rng.normal(size=(6, size)) for size in sizes]
    features = rng.normal(size=(6, 1))
    said = [np.asarray(one(x, features)) for one, x in zip(heads, hidden, strict=True)]
    found = averaged(heads, sizes)(np.concatenate(hidden, axis=1), features)
    np.testing.assert_allclose(found, np.mean(said, axis=0), rtol=1e-4, atol=1e-5)


def test_heads_of_several_kinds_have_no_average():
    heads = [Head(HeadConfig(kind, 1), 3, rngs=nnx.Rngs(0)) for kind in ("success", "policy")]
    with pytest.raises(ValueError, match="heads are of .*'policy'.*expected one config"):
        averaged(heads, [3, 3])


@pytest.mark.parametrize("change", [dict(num_helps=1.5), dict(inner_size=2.5)])
def test_sizes_that_are_no_whole_numbers_are_refused(change):
    with pytest.raises(ValueError, match=r"is \d.5, expected a whole number"):
        HeadConfig("policy", **change)


def test_files_that_hold_no_such_head_are_refused(tmp_path):
    path = tmp_path / "head.safetensors"
    Head(CONFIG, 8, rngs=nnx.Rngs(0)).save(path)
    with pytest.raises(ValueError, match=r"inner/kernel is \(13, 5\), expected \(21, 5\)"):
        Head.load(path, 16)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="head.safetensors: not a readable safetensors file"):
        Head.load(path, 8)
    tensors.write(path, {"x": np.zeros(1)}, {})
    with pytest.raises(ValueError, match="expected a head's"):
        Head.load(path, 8)
    for config in ("{", "[]", '{"kind": "success", "colour": 1}', '{"kind": 3}'):
        tensors.write(path, {"x": np.zeros(1)}, {"head": config})
        with pytest.raises(ValueError, match="head.safetensors: metadata are no head's: "):
            Head.load(path, 8)
    with pytest.raises(FileNotFoundError):
        Head.load(tmp_path / "none", 8)
