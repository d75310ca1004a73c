"""Results compared with others."""

import copy

import pytest

from experiments.main_job.golden import differences
from tests.experiments import synthetic_results


@pytest.fixture
def found():
    return synthetic_results.results()


def test_the_same_is_the_same_however_long_it_took(found):
    golden = copy.deepcopy(found)
    found["timing"], found["peak_memory_mb"] = {"plan": 9.0}, 1.0
    assert differences(found, golden, success=0.0, calls=0.0) == []
    assert differences(found, golden, success=0.1, calls=0.1) == []


def test_without_tolerance_the_last_digit_counts(found):
    golden = copy.deepcopy(found)
    found["conditions"][3]["success"] += 1e-12
    assert differences(found, golden, success=0.0, calls=0.0) == ["conditions differs"]
    assert differences(found, golden, success=0.1, calls=0.1) == []


def test_what_is_beyond_its_tolerance_is_named(found):
    golden = copy.deepcopy(found)
    found["conditions"][2]["success"] += 0.2
    found["conditions"][3]["usage"][0] += 1.0
    assert differences(found, golden, success=0.1, calls=0.5) == [
        "s_obj stronger test_unseen all random 10%: 0.620, expected 0.420 within 0.1",
        "s_obj stronger test_unseen all random 30%: 3.90 calls, expected 2.90 within 0.5",
    ]


def test_stopping_and_frontiers_are_compared_too(found):
    golden = copy.deepcopy(found)
    found["self_regulation"][0]["accuracy"] = 0.9
    golden["self_regulation"][0]["accuracy"] = 0.7
    found["frontier"][0]["usage"][-1] = golden["frontier"][0]["usage"][-1] + 1
    words = differences(found, golden, success=0.1, calls=0.5)
    assert [one.split(":")[0].split()[0] for one in words] == ["stopping", "frontier"]
    assert "0.900, expected 0.700 within 0.1" in words[0] and "within 0.5" in words[1]


def test_conditions_that_are_missing_or_new_are_named(found):
    golden = copy.deepcopy(found)
    found["conditions"][2]["setting"] = "11%"
    assert differences(found, golden, success=0.1, calls=0.5) == [
        "s_obj stronger test_unseen all random 10% is missing",
        "s_obj stronger test_unseen all random 11% is new",
    ]
