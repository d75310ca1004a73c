"""What the report shows of single episodes."""

import dataclasses

import pytest

from adapters.step import Step
from experiments.main_job.watched import Watched, changes, examples, self_regulation


def episode(task, decisions, outcome, actor="greedy"):
    """An episode whose states are named after their turn."""
    steps = [
        Step(
            task=task,
            episode=task,
            probabilities=(),
            seed=0,
            turn=t,
            state_key=f"{task} {t}",
            state_text=f"{task} {t}",
            decision=decision,
            actor=actor,
            raw="go",
            action="go",
            next_state_key=f"{task} {t + 1}",
        )
        for t, decision in enumerate(decisions)
    ]
    return [*steps[:-1], dataclasses.replace(steps[-1], outcome=outcome)]


def watched(method, *some, reasons=None):
    episodes = {steps[0].task: steps for steps in some}
    return Watched(method, "x", episodes, reasons or {}, Even())


class Even(dict):
    """p(s) is 0.5 wherever nothing else is said."""

    def __missing__(self, text):
        return 0.5


@pytest.mark.parametrize("decisions, expected", [([0], 0), ([0, 1, 1, 0, 1], 3), ([1, 1], 0)])
def test_changes_of_who_plays_are_counted(decisions, expected):
    assert changes(episode("a", decisions, "failure")) == expected


def test_turns_are_means_over_tasks():
    one = watched("prm", episode("a", [0, 1], "success"), episode("b", [0, 0, 0, 1], "failure"))
    assert one.turns() == dict(method="prm", setting="x", turns=3.0, calls=1.0, changes=1.0)


def test_the_first_task_that_shows_it_is_the_example():
    prm = watched(
        "prm",
        episode("a", [1, 1, 0], "failure"),  # two calls
        episode("b", [1, 0, 1, 0, 1], "success"),
        episode("c", [1, 0, 1, 0, 1], "failure"),
    )
    random = watched("random", *(episode(task, [0, 1], "success") for task in "abc"))
    (found,) = examples([prm, random], Even({"c 2": 0.25}))
    assert (found["kind"], found["task"]) == ("toggling", "c")
    assert [run["method"] for run in found["runs"]] == ["prm", "random"]
    assert [turn["p"] for turn in found["runs"][0]["turns"]] == [0.5, 0.5, 0.25, 0.5, 0.5]


def test_help_decides_where_the_actor_alone_fails():
    never = watched("never", episode("a", [0], "failure"), episode("b", [0], "failure"))
    helped = episode("a", [0], "success"), episode("b", [0, 1], "success")
    helper = watched("helper", *helped, reasons={"b 1": "a call is worth +0.200"})
    (found,) = examples([never, helper], Even())
    assert (found["kind"], found["task"]) == ("trajectory", "b")
    reasons = [turn["reason"] for turn in found["runs"][1]["turns"]]
    assert reasons == ["", "a call is worth +0.200"]


def test_no_task_shows_it_and_nothing_is_made_up():
    assert examples([watched("never", episode("a", [0], "success"))], Even()) == []


def test_self_regulation_is_judged_at_the_threshold_it_was_given():
    alone = {
        task: episode(task, [0, 0], outcome)
        for task, outcome in zip("abcd", ["success", "success", "failure", "failure"], strict=True)
    }
    # Stops in b and d: a goes on and succeeds, c goes on and fails.
    p = Even({"b 1": 0.1, "d 0": 0.2, "a 0": 0.9})
    found = self_regulation(alone, p, 0.6)
    assert (found["accuracy"], found["precision"], found["recall"]) == (0.5, 0.5, 0.5)
    assert found["tasks"] == 4
    low, high = found["accuracy_ci"]
    assert 0 <= low < 0.5 < high <= 1
    # By the mean of the last two states b, at .7, stops, and d, at .65, goes on.
    found = self_regulation(alone, p, 0.68, "last two")
    assert (found["states"], found["accuracy"], found["recall"]) == ("last two", 0.25, 0.5)


def test_where_nothing_goes_on_there_is_no_precision():
    alone = {task: episode(task, [0, 0], "failure") for task in "ab"}
    found = self_regulation(alone, Even(), 0.1)
    assert (found["accuracy"], found["precision"], found["recall"]) == (1.0, None, None)
