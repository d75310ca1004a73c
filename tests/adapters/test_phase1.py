"""Which episodes phase 1 has."""

from collections import Counter

import pytest

from adapters import phase1
from adapters.helpers import Random
from adapters.interventions import ByActor
from tests.adapters import doors

TASKS = [f"doors/train/{i}" for i in range(3)]
FIXED, SAMPLED = ByActor(doors.oracle()), ByActor(doors.guesser())


def plan(actor, helps, **how):
    return list(phase1.episodes(TASKS, phase1.settings(len(helps)), actor, helps, **how))


def test_one_help_is_triggered_at_the_probabilities_of_the_paper():
    assert phase1.settings(1) == [(0.0,), (0.1,), (0.3,), (0.5,), (0.7,), (0.9,), (1.0,)]


def test_several_helps_are_triggered_each_alone_and_in_pairs():
    alone = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
    assert phase1.settings(2) == [
        (0.0, 0.0),
        *((p, 0.0) for p in alone),
        *((0.0, p) for p in alone),
        (0.1, 0.1),
        (0.3, 0.3),
        (0.1, 0.3),
        (0.3, 0.1),
    ]
    three = phase1.settings(3)
    assert len(three) == len(set(three)) == 1 + 3 * 6 + 3 * 4
    assert (0.0, 0.1, 0.3) in three and (0.3, 0.0, 0.1) in three


@pytest.mark.parametrize(
    ("actor", "help", "at_zero", "at_one"),
    [
        (doors.greedy(), FIXED, 1, 1),
        (doors.greedy(), SAMPLED, 1, 3),
        (doors.guesser(), FIXED, 3, 1),
        (doors.guesser(), SAMPLED, 3, 3),
    ],
)
def test_what_is_certain_is_played_once(actor, help, at_zero, at_one):
    times = Counter((e.task, e.probabilities) for e in plan(actor, [help]))
    for task in TASKS:
        assert times[task, (0.0,)] == at_zero
        assert times[task, (1.0,)] == at_one
        assert all(times[task, (p,)] == 3 for p in (0.1, 0.3, 0.5, 0.7, 0.9))


def test_each_help_counts_by_itself():
    helps = [SAMPLED, FIXED]
    assert phase1.repetitions_of((1.0, 0.0), doors.greedy(), helps) == 3
    assert phase1.repetitions_of((0.0, 1.0), doors.greedy(), helps) == 1
    assert phase1.repetitions_of((0.3, 0.1), doors.greedy(), helps) == 3


def test_names_and_seeds_are_unique_and_stay_as_more_is_asked_for():
    small = plan(doors.greedy(), [FIXED], repetitions=2)
    large = plan(doors.greedy(), [FIXED], repetitions=3)
    assert len({e.name for e in large}) == len({e.seed for e in large}) == len(large) == 3 * 17
    assert large[: len(small)] == small
    fewer = phase1.episodes(TASKS[:1], [(0.3,)], doors.greedy(), [FIXED])
    assert {e.name: e.seed for e in fewer}.items() <= {e.name: e.seed for e in large}.items()
    assert not {e.seed for e in large} & {e.seed for e in plan(doors.greedy(), [FIXED], seed=1)}


def test_every_task_is_seen_at_every_probability_first():
    first = plan(doors.greedy(), [FIXED])[: 7 * len(TASKS)]
    assert {(e.task, e.probabilities) for e in first} == {
        (task, (p,)) for task in TASKS for p in phase1.PROBABILITIES
    }
    for episode in first:
        assert episode.helper == Random(episode.probabilities)


def test_names_can_be_read():
    names = [e.name for e in plan(doors.greedy(), [FIXED, FIXED])]
    assert names[0] == "doors/train/0 p=0,0 run=0"
    assert "doors/train/2 p=0.1,0.3 run=2" in names


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: phase1.settings(0), "num_helps is 0"),
        (lambda: phase1.settings(1, [1.5]), r"probabilities\[0\] is 1.5"),
        (lambda: phase1.settings(2, [0.0], [(0.7, 0.7)]), "add up to 1.4"),
        (lambda: plan(doors.greedy(), [FIXED], repetitions=0), "repetitions is 0"),
        (
            lambda: list(phase1.episodes(TASKS * 2, [(0.0,)], doors.greedy(), [FIXED])),
            "tasks hold one twice",
        ),
    ],
)
def test_impossible_plans_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
