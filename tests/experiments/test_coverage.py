"""The script that says whether rollouts can tell what help is worth."""

import pytest

from adapters.rollouts import RolloutWriter
from tests.adapters.small_rollouts import turns
from tests.experiments.in_process import Script

# Without help hall fails; with it comes the kitchen, where only help was tried.
ALONE = turns("t 1", "t", ["hall"], [0], "failure")
HELPED = turns("t 2", "t", ["hall", "kitchen"], [1, 1], "success")
ELSEWHERE = turns("u 1", "u", ["cellar"], [1], "success")


@pytest.fixture(scope="module")
def script():
    return Script("experiments.coverage")


def written(folder, *episodes):
    with RolloutWriter(folder, {"interventions": [{"name": "sage"}]}) as writer:
        for episode in episodes:
            writer.write(episode)
    return f"--rollouts={folder}"


def test_what_was_tried_and_which_budgets_that_supports(script, tmp_path):
    done = script(written(tmp_path, ALONE, HELPED))
    assert done.error == ""
    lines = done.output.splitlines()
    # Of 1.5 visits an episode one is in the hall, and half a one in the kitchen.
    assert lines[0] == "1 tasks, 2 states; nohelp was tried in 66.7% of the visits"
    assert lines[1] == "sage: it and nohelp were tried in 50.0% of the states, 66.7% of the visits"
    assert lines[2] == (
        "  budgets from 0 to 2 calls an episode are supported; the best plan in hindsight makes 2"
    )
    assert lines[3] == "nohelp never tried (33.33% of the visits, t): kitchen"
    assert lines[4].startswith("collect --close=nohelp")


def test_a_task_that_always_has_help_raises_the_least_budget(script, tmp_path):
    done = script(written(tmp_path, ALONE, HELPED, ELSEWHERE))
    assert "  budgets from 0.5 to 1.5 calls an episode are supported" in done.output


def test_help_that_is_of_no_use_can_be_called_all_the_same(script, tmp_path):
    # Two of three episodes begin in the hall, where help twice in a row is of no use.
    alone, kitchen = (
        turns("t 1", "t", ["hall"], [0], "success"),
        turns("t 3", "t", ["kitchen"], [0], "failure"),
    )
    done = script(written(tmp_path, alone, HELPED, kitchen))
    assert "from 0 to 1.67 calls an episode are supported; the best plan" in done.output
    assert "in hindsight makes 0.333\n" in done.output


def test_a_decision_that_was_never_tried_is_refused(script, tmp_path):
    done = script(written(tmp_path, ALONE))
    assert "help sage was never tried in any of 1 states" in done.error
    assert "\n" not in done.error


def test_decisions_that_are_compared_too_rarely_are_refused(script, tmp_path):
    flag = written(tmp_path, ALONE, HELPED)
    done = script(flag, "--least=0.7")
    assert "help sage can be compared with nohelp in 66.67% of the visits only" in done.error


def test_rubbish_is_answered_by_one_line(script):
    assert script("--rollouts=/nowhere").error == (
        "coverage: /nowhere: no shard-*.jsonl there, expected rollouts"
    )
