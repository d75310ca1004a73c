"""SifWorld as a World: tasks by name, configuration, tasks given by hand."""

import dataclasses
import json

import pytest

from adapters.sif.generator import SPLITS, SifConfig
from adapters.sif.spl import spl
from adapters.sif.world import SifWorld
from tests.adapters.sif.small import PNP, S_HUM


def test_splits_have_the_sizes_configured():
    world = SifWorld(SifConfig(train_tasks=3, val_tasks=2, test_tasks=5))
    assert len(world.splits) == 15
    assert world.tasks("s_obj/train") == ["s_obj/train/0", "s_obj/train/1", "s_obj/train/2"]
    assert len(world.tasks("pnp/val_unseen")) == 2
    assert len(world.tasks("s_hum/test_seen")) == 5


def test_default_sizes_are_those_of_the_paper():
    world = SifWorld()
    assert [len(world.tasks(split)) for split in SPLITS] == [1000, 40, 40, 40, 40] * 3


@pytest.mark.parametrize(
    "name",
    ["pnp/train/3", "pnp/train/-1", "pnp/train/01", "pnp/train/", "pnp/dev/0", "train", ""],
)
def test_unknown_tasks_are_refused(name):
    with pytest.raises(ValueError, match="expected"):
        SifWorld(SifConfig(train_tasks=3)).reset(name)


def test_unknown_splits_are_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"'train', expected one of .*s_obj/train"):
        SifWorld().tasks("train")


def test_config_is_json_and_tells_worlds_apart():
    worlds = [
        SifWorld(),
        SifWorld(SifConfig(seed=1)),
        SifWorld(SifConfig(train_houses=20)),
        SifWorld(history_in_key=True),
        SifWorld(tasks={PNP.name: PNP}),
        SifWorld(tasks={PNP.name: dataclasses.replace(PNP, command="Put it on a cabinet.")}),
        SifWorld(None, {PNP.name: PNP}),
    ]
    texts = [json.dumps(world.config, sort_keys=True) for world in worlds]
    assert len(set(texts)) == len(texts)
    assert json.loads(texts[0]) == SifWorld().config


def test_tasks_given_by_hand_are_played_like_others():
    world = SifWorld(tasks={PNP.name: PNP, S_HUM.name: S_HUM})
    assert world.tasks("pnp/hand") == ["pnp/hand/0"]
    state = world.reset("pnp/hand/0")
    assert world.step(state, "Done!").outcome == "failure"
    assert len(world.tasks("pnp/train")) == 1000


def test_a_world_may_have_tasks_by_hand_only():
    world = SifWorld(None, {PNP.name: PNP})
    assert world.splits == ("pnp/hand",)
    with pytest.raises(ValueError, match="expected one of 1 given tasks"):
        world.reset("pnp/train/0")


def test_tasks_by_hand_must_not_pass_for_others():
    with pytest.raises(ValueError, match="is named 'pnp/hand/0'"):
        SifWorld(tasks={"other": PNP})
    disguised = dataclasses.replace(PNP, split="pnp/train")
    with pytest.raises(ValueError, match="simulated split 'pnp/train'"):
        SifWorld(tasks={PNP.name: disguised})


def test_negative_sizes_and_too_few_houses_are_refused():
    with pytest.raises(ValueError, match="val_tasks is -1"):
        SifConfig(val_tasks=-1)
    with pytest.raises(ValueError, match="train_houses is 5, expected at least 6"):
        SifConfig(train_houses=5)


def test_spl_weighs_success_by_length_in_both_measures():
    """PNP by hand has L* = 5 actions, 70 low-level steps."""
    longer = {"actions": 10.0, "low_level_steps": 100.0}
    assert spl(PNP, "success", longer) == (0.5, 0.7)
    assert spl(PNP, "success", {"actions": 4.0, "low_level_steps": 70.0}) == (1.0, 1.0)
    assert spl(PNP, "failure", longer) == (0.0, 0.0)
    assert spl(PNP, "truncated", longer) == (0.0, 0.0)


def test_spl_is_none_where_the_oracle_s_length_is_not_known():
    unknown = dataclasses.replace(PNP, oracle_actions=None)
    assert spl(unknown, "success", {"actions": 5.0, "low_level_steps": 140.0}) == (None, 0.5)
