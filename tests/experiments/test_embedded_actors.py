"""The small language models that the repository holds do what their READMEs say, on a few tasks."""

import functools
import pathlib
import sys

import jax
import pytest
from flax import nnx

from adapters.llama_actor import LlamaActor
from adapters.sif.generator import SifConfig
from adapters.sif.world import SifWorld
from models import convert
from tests.experiments.in_process import Script

Script("experiments.train_actor")  # imports it, with its flags apart
train_actor = sys.modules["experiments.train_actor"]
ACTORS = pathlib.Path(train_actor.__file__).parent / "actors"
TASKS = 20
SPLITS = ("s_obj/val_unseen", "pnp/val_unseen")


@functools.cache
def results(name):
    """By split, `played` of an actor on the first tasks."""
    world, actor = SifWorld(SifConfig(val_tasks=TASKS)), LlamaActor(ACTORS / name)
    return {split: train_actor.played(world, actor, world.tasks(split)[:TASKS]) for split in SPLITS}


@pytest.mark.parametrize("name, parameters", [("base", 543_616), ("strong", 1_184_064)])
def test_its_size_is_as_its_readme_says(name, parameters):
    model = convert.load(ACTORS / name)
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))) == parameters
    assert f"{parameters:,} parameters" in (ACTORS / name / "README.md").read_text()


@pytest.mark.parametrize("split", SPLITS)
def test_the_base_actor_is_sound_and_weak(split):
    assert results("base")[split]["valid"] > 0.97
    assert 0.15 < results("base")[split]["success"] < 0.65


@pytest.mark.parametrize("split", SPLITS)
def test_the_stronger_actor_is_stronger(split):
    assert results("strong")[split]["valid"] > 0.97
    assert results("strong")[split]["success"] > max(0.5, results("base")[split]["success"] + 0.1)
