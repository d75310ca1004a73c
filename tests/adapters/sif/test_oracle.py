"""The scripted oracle solves what can be solved, in about the lengths of the real tasks."""

import dataclasses
import random
import statistics

import pytest

from adapters.sif import oracle
from adapters.sif.generator import SPLITS, SifConfig, generate_task, task_names
from adapters.sif.world import SifWorld
from tests.adapters.sif.small import (
    BED,
    BOOK_ON_BED,
    PNP,
    S_HUM,
    S_OBJ,
    place,
    play,
)

CONFIG = SifConfig()
WORLD = SifWorld(CONFIG)
# Means of the real tasks, per split, in low-level steps; in actions as given for pnp and s_obj.
STEPS = {"pnp": (161, 201), "s_obj": (182, 216), "s_hum": (160, 177)}
ACTIONS = {"pnp": (4, 5.5), "s_obj": (7, 8), "s_hum": (5, 6.5)}


@pytest.mark.parametrize("split", SPLITS)
def test_success_and_lengths_of_simulated_splits(split):
    tasks = [generate_task(CONFIG, name) for name in list(task_names(CONFIG, split))[:120]]
    last = [oracle.play(task) for task in tasks]
    assert statistics.mean(state.outcome == "success" for state in last) >= 0.98
    assert not any(state.invalid for state in last)
    kind = split.split("/")[0]
    low, high = STEPS[kind]
    assert low <= statistics.mean(state.measures["low_level_steps"] for state in last) <= high
    low, high = ACTIONS[kind]
    assert low <= statistics.mean(state.measures["actions"] for state in last) <= high


def test_its_length_is_that_of_the_task():
    for name in ("pnp/train/1", "s_obj/train/1", "s_hum/train/1"):
        task = generate_task(CONFIG, name)
        last = oracle.play(task)
        assert last.measures == {
            "actions": task.oracle_actions,
            "low_level_steps": task.oracle_steps,
        }


def actions_of(task):
    return [state.action for state in oracle.play(task).past()[1:]]


def test_its_way_by_hand():
    assert actions_of(PNP) == [
        *("Go to Room 2", "Pick up cup", "Go to Room 3", "Put cup on the cabinet", "Done!")
    ]
    assert actions_of(S_OBJ) == [
        *("Go to Room 2", "Explore Room 2", "Explore Room 2", "Pick up cup"),
        *("Go to Room 3", "Put cup on the cabinet", "Done!"),
    ]
    assert actions_of(S_HUM) == [
        *("Enough Evidence", "Go to Room 2", "Pick up cup", "Go to Room 4"),
        *("Give cup to the human", "Done!"),
    ]


def test_it_takes_the_object_that_makes_the_way_shortest():
    cups = (place("cup", BED, "bed"), place("cup", 0, "counter"))
    task = dataclasses.replace(PNP, premap=cups, objects=cups)
    near_bed = dataclasses.replace(task, start=2)
    assert actions_of(near_bed)[0] == "Go to Room 4"
    assert actions_of(task)[0] == "Pick up cup"


def test_it_explores_for_a_receptacle_that_is_not_mapped():
    task = dataclasses.replace(PNP, mapped=frozenset({(1, 0), (3, 0)}))
    assert actions_of(task)[2:5] == ["Go to Room 3", "Explore Room 3", "Put cup on the cabinet"]


def test_it_puts_down_what_others_picked_up_by_mistake():
    state = play(S_OBJ, "Go to Room 4", "Pick up book", "Go to Room 3")
    assert oracle.choose(state) == "Put book on the toilet"
    state = play(dataclasses.replace(S_OBJ, mapped=frozenset({(0, 1), (3, 0)})), "Go to Room 4")
    state = WORLD.step(state, "Pick up book")
    assert oracle.choose(state) == "Put book on the bed"


def test_it_gets_rid_of_a_stale_entry_in_its_way():
    cup = place("cup", 0, "table")
    task = dataclasses.replace(S_OBJ, objects=(cup, BOOK_ON_BED))
    assert actions_of(task)[:3] == ["Explore Room 1", "Pick up cup", "Pick up cup"]
    assert oracle.play(task).outcome == "success"


def test_it_does_not_go_to_the_human_first_in_a_clear_task():
    cup = place("cup", BED, "bed")
    task = dataclasses.replace(S_HUM, premap=(cup,), objects=(cup,))
    assert oracle.play(task).outcome == "success"
    assert actions_of(task)[1] in ("Go to Room 2", "Go to Room 3")


def test_it_gives_up_when_there_is_nothing_left_to_fetch():
    """The human was gone to first, so that nothing can be met any more."""
    way = ["Enough Evidence", "Go to Room 4", "Go to Room 2", "Pick up cup", "Go to Room 4"]
    assert oracle.choose(play(S_HUM, *way, "Give cup to the human")) == "Done!"


def test_it_plays_on_from_wherever_others_left():
    """After four random actions; clear S_hum tasks may be lost by then, and are left out."""
    draws, outcomes = random.Random(0), []
    for kind in ("pnp", "s_obj", "s_hum"):
        for number in range(40):
            state = WORLD.reset(f"{kind}/train/{number}")
            if kind == "s_hum" and not state.task.ambiguous:
                continue
            for _ in range(4):
                if state.outcome is None:
                    state = WORLD.step(state, draws.choice(state.actions[:-1]))
            while state.outcome is None:
                state = WORLD.step(state, oracle.choose(state))
            outcomes.append(state.outcome)
    assert outcomes.count("success") >= 0.9 * len(outcomes)


def test_it_is_an_actor():
    actor = oracle.ScriptedOracle()
    states = [WORLD.reset("pnp/train/0"), WORLD.reset("s_hum/train/0")]
    replies = actor.act(states, seeds=[0, 0])
    assert [reply.action for reply in replies] == [oracle.choose(state) for state in states]
    assert actor.temperature == 0.0 and actor.name == "oracle"
    with pytest.raises(ValueError, match="has ended"):
        oracle.choose(WORLD.step(states[0], "Done!"))
