"""A world that takes each step once."""

import gc

import pytest

from adapters.remembered import Remembered
from tests.adapters import doors


class Counting(doors.Doors):
    def __init__(self):
        super().__init__()
        self.resets, self.steps = [], []

    def reset(self, task):
        self.resets.append(task)
        return super().reset(task)

    def step(self, state, action):
        self.steps.append((state.key, action))
        return super().step(state, action)


def walk(world, task, actions):
    found = [world.reset(task)]
    for action in actions:
        found.append(world.step(found[-1], action))
    return found


def test_what_was_walked_before_is_given_again():
    inner = Counting()
    world = Remembered(inner)
    assert world.config == inner.config and world.tasks("train") == inner.tasks("train")
    there = ["door 0", "door 1", "door 2"]
    first = walk(world, "doors/train/0", there)
    again = walk(world, "doors/train/0", [*there[:2], "door 0"])
    assert all(a is b for a, b in zip(first[:3], again[:3], strict=True))
    assert inner.resets == ["doors/train/0"] and len(inner.steps) == 4
    for task in world.tasks("train"):
        for actions in (there, there[::-1], ["nonsense"]):
            assert walk(world, task, actions) == walk(doors.Doors(), task, actions)


def test_states_that_are_equal_but_others_are_not_taken_for_each_other():
    inner = Counting()
    world = Remembered(inner)
    for calls in range(200):  # were they not kept, one would get the place of another
        state = doors.State("doors/train/0", rooms=3, limit=1000, calls=calls)
        assert world.step(state, "door 0").calls == calls + 1
        del state
        gc.collect(0)
    assert len(inner.steps) == 200


def test_errors_are_the_worlds_each_time():
    world = Remembered(doors.Doors())
    for _ in range(2):
        with pytest.raises(ValueError, match="split is 'x'"):
            world.tasks("x")
