"""Tasks played alone, and again from the start with help."""

import pytest

from adapters.interventions import ByActor
from adapters.taskwise import restart
from tests.adapters import doors
from tests.adapters.doors import ByRule, Doors

TASKS = Doors().tasks("train")
HELPS = [ByActor(doors.guesser()), ByActor(doors.oracle())]


def failed(steps):
    return 0 if steps[-1].outcome == "success" else 2


def half(state, seed):
    """Right in tasks 0 and 1, always wrong in the others."""
    right = state.right_door
    return right if state.task[-1] in "01" else next(d for d in doors.DOORS if d != right)


def test_what_failed_alone_is_played_again_from_the_start():
    attempts = list(restart(Doors(), ByRule("half", half), HELPS, TASKS, failed))
    assert [attempt.alone.episode.task for attempt in attempts] == TASKS
    assert [attempt.helped is None for attempt in attempts] == [True, True, False, False]
    for attempt in attempts:
        assert {step.decision for step in attempt.alone.steps} == {0}
        assert attempt.last.steps[-1].outcome == "success"
    for attempt in attempts[2:]:
        assert attempt.alone.steps[-1].outcome == "truncated"
        assert [step.decision for step in attempt.helped.steps] == [2, 2, 2]
        assert attempt.helped.steps[0].state_key == attempt.alone.steps[0].state_key
        assert attempt.helped.steps[0].probabilities == (0.0, 1.0)


def test_chance_is_another_in_each_task_and_the_same_each_time():
    def run(seed):
        return [
            [step.seed for step in attempt.last.steps] + [s.action for s in attempt.last.steps]
            for attempt in restart(
                Doors(), doors.guesser(), HELPS, TASKS, lambda steps: 1, seed=seed, batch=2
            )
        ]

    assert run(0) == run(0) != run(1)
    assert len({actions[0] for actions in run(0)}) == len(TASKS)


def test_what_was_given_up_is_not_judged():
    def judge(steps):
        raise AssertionError("judged")

    gone = ByRule("gone", lambda state, seed: doors.Reply(None, error="gone"))
    (attempt,) = restart(Doors(), gone, HELPS, TASKS[:1], judge)
    assert (attempt.last.error, attempt.helped) == ("gone", None)


def test_bad_tasks_and_judges_are_named():
    with pytest.raises(ValueError, match="tasks holds a task twice"):
        list(restart(Doors(), doors.greedy(), HELPS, TASKS[:1] * 2, failed))
    with pytest.raises(ValueError, match=r"judge gave 3 for 'doors/train/0', expected 0..2"):
        list(restart(Doors(), doors.greedy(), HELPS, TASKS[:1], lambda steps: 3))
