"""A helper and a process reward model that judge together."""

import numpy as np
import pytest

from adapters.either import Either
from adapters.recorded import RecordedState
from tests.experiments.fake_models import ByText, by_text


class Model:
    style = "compact"
    config = {"prm": "ours"}

    def __init__(self, *helps, style="compact"):
        self.helps, self.style = helps, style

    def probabilities(self, texts):
        return np.array([[0.25, *self.helps]] * len(texts))


def states(number):
    return [RecordedState(str(i), f"text {i}", "compact") for i in range(number)]


def test_the_larger_of_the_two_gains_decides():
    alone = by_text(1, None)
    both, some = Either(alone, Model(0.5)), states(20)
    own = alone.margins(some)
    assert (own > 0.25).any() and (own < 0.25).any()
    np.testing.assert_array_equal(both.margins(some), np.maximum(own, np.float32(0.25)))
    asked = [one.help for one in both.at(0.3).decide(some, None, [0] * 20)]
    assert asked == (own[:, 0] > 0.3).tolist()
    assert all(one.help for one in both.decide(some, None, [0] * 20))
    assert both.config["either"] == {"prm": "ours"}


def test_a_model_of_other_helps_or_texts_is_refused():
    with pytest.raises(ValueError, match="of 2 helps, expected 1"):
        Either(by_text(1, None), Model(0.5, 0.5)).margins(states(1))
    with pytest.raises(ValueError, match="reads 'full', expected 'compact'"):
        Either(by_text(1, None), Model(0.5, style="full"))


def test_its_threshold_is_the_helpers():
    how = dict(style="compact", helps=["oracle"], cost=None, sha256="")
    assert Either(ByText(threshold=0.4, **how), Model(0.5)).threshold == 0.4
