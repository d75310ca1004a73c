"""Thresholds on 1 - p(s): where help is asked for, and which tasks are begun again."""

import dataclasses

import numpy as np
import pytest

from adapters.episodes import Episode, TaskWise, play
from adapters.helpers import Never
from adapters.interventions import ByActor
from adapters.prm_helper import PRMHelper, judge
from adapters.proposals import REPLY
from adapters.recorded import RecordedState
from adapters.taskwise import restart
from tests.adapters import doors
from tests.adapters.small_rollouts import turns


class Model:
    """Success by the room that a text names; notes what it is asked."""

    style = "compact"

    def __init__(self, **success):
        self.success, self.asked = success, []

    def probabilities(self, texts):
        self.asked += texts
        rooms = [text.split("room=")[1][0] for text in texts]
        return np.array([[self.success[f"room{room}"], 0.5] for room in rooms])


def states(*rooms):
    return [RecordedState(f"key {room}", f"compact: t room={room}", "compact") for room in rooms]


def decided(helper, given, calls_left=None):
    return [one.help for one in helper.decide(given, calls_left, [0] * len(given))]


def test_help_is_asked_for_where_difficulty_is_above_the_threshold():
    helper = PRMHelper(Model(room0=0.75, room1=0.5, room2=0.25), 0.5)
    assert decided(helper, states(0, 1, 2)) == [0, 0, 1]
    (reason,) = [one.reason for one in helper.decide(states(2), None, [0])]
    assert reason == "1 - p = 0.75 above 0.5"


def test_thresholds_share_what_was_judged():
    model = Model(room0=0.75, room1=0.5)
    helper = PRMHelper(model, 0.5)
    assert decided(helper.at(0.2), states(0, 1, 1)) == [1, 1, 1]
    assert decided(helper.at(0.6), states(1, 0)) == [0, 0]
    assert len(model.asked) == 2
    assert decided(helper.at(-np.inf), states(0)) == [1]
    assert decided(helper.at(np.inf), states(0)) == [0]


def test_without_calls_left_nobody_is_asked():
    helper = PRMHelper(Model(room0=0.0), 0.5, help=2, num_helps=2)
    assert decided(helper, states(0, 0), [(1, 0), (0, 1)]) == [0, 2]
    np.testing.assert_array_equal(helper.margins(states(0)), [[-np.inf, 1.0]])


def test_a_help_is_drawn_evenly_of_those_with_calls_left():
    helper = PRMHelper(Model(room0=0.0, room1=1.0), 0.5, help=None, num_helps=3)
    many = [0] * 600

    def shares(calls_left):
        found = helper.decide(states(*many), [calls_left] * 600, range(600))
        return np.bincount([one.help for one in found], minlength=4) / 600

    np.testing.assert_allclose(shares((1, 1, 1)), [0, 1 / 3, 1 / 3, 1 / 3], atol=0.06)
    np.testing.assert_allclose(shares((1, 0, 1)), [0, 1 / 2, 0, 1 / 2], atol=0.06)
    assert decided(helper, states(0), [(0, 0, 0)]) == decided(helper, states(1)) == [0]
    assert helper.margins(states(0)).tolist() == [[1.0] * 3]


def test_a_whole_task_is_judged_by_its_hardest_state():
    world, tasks = doors.Doors(6), doors.Doors(6).tasks("train")
    helper = PRMHelper(Model(room0=0.9, room1=0.2, room2=0.9), 0.5)
    helps = [ByActor(doors.oracle())]
    found = restart(
        world, doors.greedy(), helps, tasks, lambda steps: judge(helper, steps), style="compact"
    )
    kinds = set()
    for attempt in found:
        came_by = any("room=1" in step.state_key for step in attempt.alone.steps)
        assert (attempt.helped is not None) == came_by
        kinds.add(came_by)
        if came_by:
            assert attempt.last.steps[-1].outcome == "success"
    assert kinds == {False, True}


def test_the_hardest_state_says_which_help():
    class Two:
        style, threshold = "compact", 0.5

        def margins(self, states):
            return np.array([[0.9, 0.1], [0.2, 0.95]])

    steps = [
        step
        for played in play(
            doors.Doors(1), doors.oracle(), [], [Episode("e", "doors/train/0", Never())]
        )
        for step in played.steps[:2]
    ]
    assert judge(Two(), steps) == 2


def test_in_first_turns_it_decides_about_all_that_follow():
    helper = PRMHelper(Model(room0=0.9, room1=0.2, room2=0.9), 0.5)
    episode = Episode("e", "doors/train/1", helper, task_wise=TaskWise())
    guide = doors.oracle()
    (played,) = play(doors.Doors(), guide, [ByActor(doors.oracle())], [episode])
    assert [step.decision for step in played.steps] == [0, 1, 1]


def test_recorded_states_have_one_style():
    (state,) = states(0)
    assert state.text("compact") == "compact: t room=0"
    with pytest.raises(ValueError, match="style is 'full', expected 'compact'"):
        state.text("full")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(threshold=0.5, help=2), r"help is 2, expected 1\.\.1"),
        (dict(threshold=float("nan")), "threshold is nan"),
    ],
)
def test_what_makes_no_sense_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        PRMHelper(Model(), **given)


def test_a_whole_task_is_judged_by_what_the_base_actor_replied():
    class ByReply(Model):
        style = "compact" + REPLY

        def probabilities(self, texts):
            return np.array([[float(not text.endswith("give up")), 0.5] for text in texts])

    steps = turns("one", "t", ["hall", "attic"], [0, 0], "failure")
    given_up = [steps[0], dataclasses.replace(steps[1], raw="give up")]
    assert judge(PRMHelper(ByReply(), 0.5), steps) == 0
    assert judge(PRMHelper(ByReply(), 0.5), given_up) == 1
