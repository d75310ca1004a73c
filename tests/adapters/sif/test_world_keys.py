"""Keys are equal if and only if futures are."""

import dataclasses
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.sif import oracle, rules
from adapters.sif.world import SifWorld
from tests.adapters.sif.small import BED, PNP, S_HUM, S_OBJ, TASKS, place, play

WORLD = SifWorld(tasks={task.name: task for task in TASKS})
NAMES = [task.name for task in TASKS]
NAMES += [f"{kind}/train/{i}" for kind in ("pnp", "s_obj", "s_hum") for i in range(5)]


def sight(state) -> tuple:
    """What the world and the compact text tell of a state."""
    if state.outcome is not None:
        return (state.outcome,)
    return (state.actions, state.text("compact"))


def walk(state, choices) -> list:
    """The states from here on, by actions chosen by number; Done! where nothing else is left."""
    states = [state]
    for choice in choices:
        if states[-1].outcome is not None:
            break
        actions = states[-1].actions
        states.append(WORLD.step(states[-1], actions[choice % max(len(actions) - 1, 1)]))
    return states


def future(state, with_steps: bool) -> list:
    """What follows from sampled action sequences to the end, if wanted with the steps they take."""
    draws = random.Random(0)
    ways = [walk(state, [draws.randrange(100) for _ in range(15)]) for _ in range(20)]
    ways.append([state])
    while state.outcome is None:
        state = WORLD.step(state, oracle.choose(state))
        ways[-1].append(state)
    return [[(sight(s), s.now.steps * with_steps) for s in way] for way in ways]


WAIT = ("Enough Evidence", "Go to Room 4", "Go to Room 1")  # until the human has arrived


@pytest.mark.parametrize("task, way", [(PNP, ()), (S_OBJ, ()), (S_HUM, WAIT)])
def test_one_key_has_one_future(task, way):
    """Of all states that few actions lead to, and of all actions: by induction, at any depth."""
    frontier, meetings = [play(task, *way)], 0
    for _ in range(4):
        after: dict[str, tuple] = {}
        for state in frontier:
            nexts = [rules.step(state, action) for action in state.actions]
            follows = (sight(state), [(s.key, s.outcome) for s in nexts], sorted(state.actions))
            meetings += state.key in after
            assert after.setdefault(state.key, follows) == follows
        frontier = [rules.step(state, a) for state in frontier for a in state.actions]
        frontier = [state for state in frontier if state.outcome is None]
    assert meetings > 0


CHOICES = st.lists(st.integers(0, 99), max_size=6)


@given(name=st.sampled_from(NAMES), way=CHOICES, data=st.data())
def test_states_have_one_key_if_and_only_if_their_futures_agree(name, way, data):
    """One way and the same actions in another order, which often meet again."""
    other = data.draw(st.permutations(way))
    a, b = walk(WORLD.reset(name), way)[-1], walk(WORLD.reset(name), other)[-1]
    if a.key == b.key:
        assert future(a, with_steps=False) == future(b, with_steps=False)
    else:
        assert future(a, with_steps=True) != future(b, with_steps=True)


@given(name=st.sampled_from(NAMES), way=CHOICES)
def test_steps_repeat_exactly(name, way):
    fresh = SifWorld(tasks={task.name: task for task in TASKS})
    first, again = walk(WORLD.reset(name), way), fresh.reset(name)
    for state in first[1:]:
        again = fresh.step(again, state.action)
    assert (again.key, again.text("full")) == (first[-1].key, first[-1].text("full"))


@given(name=st.sampled_from(NAMES), way=CHOICES)
def test_a_state_may_be_stepped_from_twice(name, way):
    state = walk(WORLD.reset(name), way)[-1]
    before = (state.key, state.text("full"), state.measures)
    if state.outcome is None:
        nexts = [[WORLD.step(state, action).key for action in state.actions] for _ in range(2)]
        assert nexts[0] == nexts[1]
    assert (state.key, state.text("full"), state.measures) == before


def test_the_order_in_which_rooms_were_looked_at_leaves_no_trace():
    one = play(S_OBJ, "Explore Room 1", "Pick up cup", "Go to Room 2")
    other = play(S_OBJ, "Pick up cup", "Explore Room 1", "Go to Room 2")
    assert one.key == other.key and one.text("compact") == other.text("compact")
    assert one.text("full") != other.text("full")


def test_low_level_steps_are_in_the_key_only_where_their_limit_can_matter():
    near = play(S_OBJ)  # no action takes more than 75 steps
    late = [near.now._replace(calls=14, steps=steps) for steps in (400, 500, 560, 570)]
    keys = [rules.SifState(near.layout, now).key for now in late]
    assert keys[0] == keys[1]
    assert len(set(keys[1:])) == 3


def test_the_actions_left_belong_to_the_key():
    state = play(S_OBJ)
    late = [rules.SifState(state.layout, state.now._replace(calls=n)).key for n in (12, 13, 14)]
    assert len(set(late)) == 3


def test_where_the_unseen_human_is_belongs_to_the_key():
    fast = play(S_HUM, "Enough Evidence", "Go to Room 2", "Go to Room 1")
    slow = play(S_HUM, "Enough Evidence", "Go to Room 2", "Go to Room 1", "Explore Room 1")
    assert fast.now.walked != slow.now.walked
    moved = rules.SifState(fast.layout, fast.now._replace(walked=slow.now.walked))
    assert moved.key != fast.key


TWO_CUPS = (place("cup", BED, "bed"),) * 2
TWO = dataclasses.replace(PNP, name="pnp/hand/1", premap=TWO_CUPS, objects=TWO_CUPS)
PART = dataclasses.replace(PNP, mapped=frozenset({(1, 0), (3, 0)}))
TAKE = ["Go to Room 2", "Pick up cup"]
GIVE = ["Go to Room 4", "Give cup to the human", "Done!"]


@pytest.mark.parametrize(
    "task, change, way",
    [
        (PNP, dict(calls=14), ["Explore Room 1"]),
        (PNP, dict(steps=590), ["Explore Room 1"]),
        (PNP, dict(place=1), ["Pick up cup"]),
        (PNP, dict(held=1), ["Put cup on the table"]),
        (PNP, dict(belief=()), ["Go to Room 2", "Pick up cup"]),
        (TWO, dict(objects=()), ["Go to Room 4", "Pick up cup"]),
        (PART, dict(mapped=8 + 1), [*TAKE, "Go to Room 1", "Put cup on the counter"]),
        (S_OBJ, dict(looks=(0, 1, 0, 0)), ["Go to Room 2", "Explore Room 2", "Explore Room 2"]),
        (S_HUM, dict(asking=False), ["Enough Evidence"]),
        (S_HUM, dict(sighted=25), ["Enough Evidence"]),
        (S_HUM, dict(walked=75), ["Enough Evidence", "Go to Room 2", "Go to Room 4"]),
        (S_HUM, dict(entered=2), ["Enough Evidence", *TAKE, *GIVE]),
        (S_HUM, dict(given=True), ["Enough Evidence", "Done!"]),
    ],
    ids=lambda part: "-".join(part) if isinstance(part, dict) else "",
)
def test_all_that_makes_another_future_makes_another_key(task, change, way):
    one = play(task)
    other = rules.SifState(one.layout, one.now._replace(**change))
    assert one.key != other.key
    seen = []
    for state in (one, other):
        seen.append([sight(state)])
        for action in way:
            if state.outcome is None:
                state = rules.step(state, action)
                seen[-1].append((state.invalid, sight(state), state.view().human))
    assert seen[0] != seen[1]


def test_the_key_of_an_ended_episode_is_its_outcome():
    a, b = play(S_OBJ, "Done!"), play(S_OBJ, "Go to Room 2", "Done!")
    assert a.key == b.key == "s_obj/hand/0|failure"


def test_with_history_in_the_key_full_texts_follow_from_keys():
    world = SifWorld(tasks={S_OBJ.name: S_OBJ}, history_in_key=True)
    keys = []
    for way in (["Explore Room 1", "Pick up cup"], ["Pick up cup", "Explore Room 1"]):
        state = world.reset(S_OBJ.name)
        for action in way:
            state = world.step(state, action)
        keys.append(state.key)
    assert keys[0] != keys[1]


@given(name=st.sampled_from(NAMES), way=st.lists(st.integers(0, 99), max_size=14))
def test_keys_are_short_and_name_the_task(name, way):
    for state in walk(WORLD.reset(name), way):
        assert state.key.startswith(f"{name}|") and len(state.key) < 300
        assert state.key.isascii() and "\n" not in state.key
