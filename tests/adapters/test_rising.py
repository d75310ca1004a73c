"""Thresholds that rise with the calls an episode has made."""

import numpy as np
import pytest

from adapters.rising import Rising


class Margins:
    """The margins that states are."""

    threshold = 0.2

    def margins(self, states):
        return np.array(states, float).reshape(len(states), -1)


def decided(helper, states, left):
    return [one.help for one in helper.decide(states, left, [0] * len(states))]


def test_each_call_that_was_made_raises_the_threshold():
    helper = Rising(Margins(), 0.1, (4,))
    states = [[0.25], [0.25], [0.35], [0.35], [0.9]]
    assert decided(helper, states, [[4], [3], [3], [2], [0]]) == [1, 0, 1, 0, 0]
    made_one, none_left = (helper.decide([[0.25]], [[n]], [0])[0].reason for n in (3, 0))
    assert made_one == "0.25 not above 0.3, calls made: 1"
    assert none_left == "no calls left"


def test_calls_of_all_helps_count_and_the_best_that_is_left_is_asked():
    helper = Rising(Margins(), 0.1, (2, 2))
    assert decided(helper, [[0.5, 0.3]] * 3, [[2, 2], [0, 2], [0, 1]]) == [1, 0, 0]
    assert decided(helper, [[0.5, 0.45]], [[0, 2]]) == [2]


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="rise is -1, expected a number of at least 0"):
        Rising(Margins(), -1, (1,))
    with pytest.raises(ValueError, match="calls_left is None"):
        Rising(Margins(), 0.1, (1,)).decide([[0.5]], None, [0])
