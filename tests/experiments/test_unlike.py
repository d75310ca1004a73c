"""What is not as in the paper is said where the numbers say so, and only there."""

from experiments.main_job.unlike import unlike_the_paper
from tests.experiments.synthetic_results import results


def of(found, **fields):
    return [row for row in found if all(row[name] == value for name, value in fields.items())]


def test_what_is_as_in_the_paper_is_not_spoken_of():
    found = results()
    found["turns"].append(found["turns"][0] | dict(method="helper", changes=1.0))
    assert unlike_the_paper(found) == []


def test_each_thing_is_said_with_its_numbers():
    found = results()
    (always,) = of(found["conditions"], intervention="search", method="always", split="test_unseen")
    always["success"] = 0.1
    found["turns"].append(found["turns"][0] | dict(method="helper", changes=4.25))
    (never,) = of(
        found["conditions"],
        task_type="s_obj",
        intervention="stronger",
        method="never",
        split="test_unseen",
    )
    first = never | dict(method="task_prm_first", setting="30%", usage=[2.4])
    found["conditions"].append(first)
    alone = found["self_regulation"][0] | dict(reads="compact", accuracy=0.65, success=0.3)
    found["self_regulation"].append(alone)
    search, toggling, first_steps, stopping = unlike_the_paper(found)
    assert "succeeds in 10.0%, without it in 30.0%" in search
    assert "changes 3.50 times a task, 4.25 by the helper" in toggling
    assert "gain nothing: 30.0% at 2.40 calls, 30.0% without help" in first_steps
    assert "right in 65.0% of S_obj" in stopping and "always the same, 70.0%" in stopping


def test_what_was_not_measured_is_not_spoken_of():
    found = results()
    empty = {name: [] for name in ("conditions", "turns", "self_regulation", "comparisons")}
    assert unlike_the_paper(found | empty) == []
