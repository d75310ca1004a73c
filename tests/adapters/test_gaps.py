"""Gaps in rollouts: what closes them, what is drawn, and that neither depends on the order."""

import dataclasses
import random
from collections import Counter

import pytest

from adapters import phase1
from adapters.episodes import play
from adapters.gaps import Gaps, is_start
from adapters.interventions import ByActor
from tests.adapters import doors
from tests.adapters.doors import Doors

WORLD = Doors(tasks=4, rooms=4, limit=8)
TASKS = WORLD.tasks("train")
HELPS = [ByActor(doors.oracle())]
SETTINGS = phase1.settings(1, [0.0, 0.5, 1.0])


def rollouts(episodes, actor=None):
    played = play(WORLD, actor or doors.greedy(), HELPS, episodes)
    return [step for one in played for step in one.steps]


@pytest.fixture(scope="module")
def explored():
    plan = phase1.episodes(TASKS, SETTINGS, doors.greedy(), HELPS, repetitions=2)
    return rollouts(plan)


def test_untried_is_where_a_decision_is_missing(explored):
    states = {step.state_key for step in explored}
    for decision in (0, 1):
        tried = {step.state_key for step in explored if step.decision == decision}
        assert Gaps(explored, 1).untried(decision) == sorted(states - tried) != []


def test_one_round_closes_the_table_without_help(explored):
    before = Gaps(explored, 1)
    closing = before.close()
    steps = rollouts(closing)
    assert {step.decision for step in steps} == {0}
    assert {step.probabilities for step in steps} == {(0.0,)}
    assert not any(is_start(step.episode) for step in steps)
    begins = [step.state_key for step in steps if step.turn == 0]
    assert sorted(begins) == before.untried(0)
    assert Gaps(explored + steps, 1).untried(0) == []
    assert Gaps(explored + steps, 1).close() == []


def test_closing_adds_what_the_base_actor_does_there(explored):
    # Whatever the table has of nohelp afterwards, the base actor alone would have done.
    for step in rollouts(Gaps(explored, 1).close()):
        (reply,) = doors.greedy().act([doors_state(step)], [0])
        assert step.action == reply.action


def doors_state(step):
    room, calls = (int(part.split("=")[1]) for part in step.state_key.split()[1:])
    return doors.State(step.task, 4, 8, room, calls)


def test_more_begins_with_what_was_tried_rarely(explored):
    gaps = Gaps(explored, 1)
    tried = Counter((step.state_key, step.decision) for step in explored)
    for thin in (1, 3):
        episodes = gaps.more(10, SETTINGS, thin=thin)
        assert len(episodes) == len({(e.begins, e.first) for e in episodes}) == 10
        assert all(tried[e.begins, e.first] < thin for e in episodes)
        steps = rollouts(episodes)
        first = {(step.state_key, step.decision) for step in steps if step.turn == 0}
        assert first == {(e.begins, e.first) for e in episodes}
        assert not any(is_start(step.episode) for step in steps)


def test_more_is_drawn_in_proportion_to_visits():
    # State "a" was visited 9 times, "b" once; both lack decision 1.
    plan = phase1.episodes(TASKS[:1], [(0.0,)], doors.greedy(), HELPS)
    first = rollouts(plan)[0]
    steps = [dataclasses.replace(first, episode=f"e{i}", state_key="a") for i in range(9)]
    steps.append(dataclasses.replace(first, episode="e9", state_key="b"))
    gaps = Gaps(steps, 1)
    drawn = [gaps.more(1, SETTINGS, seed=seed)[0].begins for seed in range(1000)]
    assert drawn.count("a") == pytest.approx(900, abs=29)  # three standard errors


def test_a_larger_n_holds_the_smaller_and_ends_where_all_is_tried(explored):
    gaps = Gaps(explored, 1)
    missing = len(gaps.untried(0)) + len(gaps.untried(1))
    all_of_them = gaps.more(10_000, SETTINGS)
    assert len(all_of_them) == missing
    assert gaps.more(5, SETTINGS) == all_of_them[:5]
    assert gaps.more(0, SETTINGS) == []
    assert gaps.more(5, SETTINGS, seed=1) != all_of_them[:5]


def test_the_order_of_reading_changes_nothing(explored):
    steps = explored[:]
    random.Random(0).shuffle(steps)
    one, two = Gaps(explored, 1), Gaps(steps, 1)
    assert one.close() == two.close()
    assert one.more(20, SETTINGS) == two.more(20, SETTINGS)


def test_the_way_to_a_state_is_a_shortest_one(explored):
    distance = {}
    for episode in {step.episode for step in explored}:
        for turn, step in enumerate(s for s in explored if s.episode == episode):
            distance[step.state_key] = min(turn, distance.get(step.state_key, turn))
    for episode in Gaps(explored, 1).close():
        assert len(episode.prefix) == distance[episode.begins]


def test_what_cannot_be_replayed_is_refused(explored):
    first = explored[0]
    other = dataclasses.replace(first, next_state_key="x")
    with pytest.raises(ValueError, match="led from .* to 'x', elsewhere to .* deterministic"):
        Gaps([first, other], 1)
    with pytest.raises(ValueError, match=r"decision is 1, expected 0..0"):
        Gaps(explored, 0)
    orphan = [step for step in explored if step.turn > 0]
    with pytest.raises(ValueError, match="no episode leads from the start"):
        Gaps(orphan, 1).close()


@pytest.mark.parametrize(
    ("n", "settings", "thin", "message"),
    [
        (-1, SETTINGS, 1, "n is -1"),
        (1, [], 1, "settings is empty"),
        (1, SETTINGS, 0, "thin is 0"),
    ],
)
def test_impossible_arguments_are_refused(explored, n, settings, thin, message):
    with pytest.raises(ValueError, match=message):
        Gaps(explored, 1).more(n, settings, thin=thin)
