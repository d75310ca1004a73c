"""Stands in for trained models, where a script loads them or is given MODULE:FUNCTION."""

import time

import numpy as np

from adapters.protocols import Decision
from adapters.seeds import derive, uniform
from adapters.threshold_helper import ThresholdHelper
from tests.adapters import doors


class PRM:
    """Chances that follow from the text."""

    style = "compact"

    @classmethod
    def load(cls, path):
        return cls()

    def probabilities(self, texts):
        first = np.array([uniform(derive("prm", text)) for text in texts])
        return np.stack([first, 1 - first / 2], axis=1)


def prm(num_helps):
    return PRM()


class ByMargin:
    """A helper whose margins follow from the text and the cost."""

    style = "compact"

    def __init__(self, num_helps, cost, threshold=0.0):
        self.num_helps, self.cost, self.threshold = num_helps, cost or 0.0, threshold

    def at(self, threshold):
        return ByMargin(self.num_helps, self.cost, threshold)

    def margins(self, states):
        found = [
            [
                uniform(derive("margin", s.text("compact"), i)) - self.cost
                for i in range(self.num_helps)
            ]
            for s in states
        ]
        return np.array(found).reshape(len(states), self.num_helps)

    def decide(self, states, calls_left, seeds):
        margins = self.margins(states)
        return [
            Decision(int(row.argmax()) + 1 if row.max() > self.threshold else 0) for row in margins
        ]


def helper(num_helps, cost):
    return ByMargin(num_helps, cost)


class ByText(ThresholdHelper):
    """Margins that follow from the text, around 0."""

    def margins_of(self, texts):
        found = [uniform(derive("by text", text)) - 0.5 for text in texts]
        return np.array(found, np.float32).reshape(-1, 1)


def by_text(num_helps, cost):
    how = dict(style="compact", helps=["oracle"], cost=None, sha256="")
    return ByText(threshold=0.0, **how)


class Splits(doors.Doors):
    """Doors with tasks of three splits."""

    def tasks(self, split):
        return [f"doors/{split}/{i}" for i in range({"train": 30, "val": 20, "test": 40}[split])]


def world():
    return Splits()


def slow_greedy(world):
    """The greedy actor, slowly."""
    actor = doors.greedy()

    def act(states, seeds):
        time.sleep(0.05)
        return doors.ByRule.act(actor, states, seeds)

    actor.act = act
    return actor


def failing(world):
    """An actor that nobody can reach."""
    return doors.ByRule("greedy", lambda state, seed: doors.Reply(None, error="no route"))


class Reader:
    """A `TextReader` that keeps what it was called with.

    Attributes:
      calls: texts of each.
      unread: how often a helper wanted a text that was not read.
    """

    def __init__(self):
        self.calls, self.unread = [], 0

    def __call__(self, texts):
        self.calls.append(list(texts))


READER = Reader()


class Reading(ByText):
    """Has its texts read ahead by `READER`."""

    readers = (READER,)

    def margins_of(self, texts):
        known = {text for call in READER.calls for text in call}
        READER.unread += sum(text not in known for text in texts)
        return super().margins_of(texts)


def reading(num_helps, cost):
    how = dict(style="compact", helps=["oracle"], cost=None, sha256="")
    return Reading(threshold=0.0, **how)
