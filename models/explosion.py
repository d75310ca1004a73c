"""Whether a training has lost what it had learnt, by the course of its losses.

    lost    the mean loss of the last ten steps, and each of the last two, is above the bar
    bar     the best such mean so far, and the larger of: half of what was learnt from the first
            ten steps to the best, and five times what the loss changes by from one step to the next

This keeps noise from being taken for it: where little can be learnt, ten steps differ from ten
others by more than all that was learnt; and a single step may be an outlier. Where a training
starts with a loss near 0, the mean of ten steps is held to a multiple of the first ten's as well.
"""

import math
import statistics
from collections.abc import Iterable

_WINDOW = 10
_NOISE = 5


class Course:
    """The losses of a training so far."""

    def __init__(self, ratio: float | None, losses: Iterable[float] = ()):
        """Takes the losses of the steps that are done.

        Args:
          ratio: how many times the mean of the first ten steps that of ten steps may be; None
            finds nothing wrong, ever.
          losses: in order.
        """
        self._ratio = ratio
        self._losses: list[float] = []
        self._changed = 0.0  # in all
        self._first = self._best = math.inf
        for loss in losses:
            self.add(loss)

    def add(self, loss: float) -> None:
        """The loss of the next step."""
        if self._losses:
            self._changed += abs(loss - self._losses[-1])
        self._losses.append(loss)
        if len(self._losses) >= _WINDOW:
            mean = statistics.fmean(self._losses[-_WINDOW:])
            self._best = min(self._best, mean)
            if len(self._losses) == _WINDOW:
                self._first = mean

    @property
    def bar(self) -> float:
        """A step whose loss is above it has lost what was learnt, or is an outlier."""
        if self._ratio is None or len(self._losses) < _WINDOW:
            return math.inf
        noise = _NOISE * self._changed / (len(self._losses) - 1)
        return self._best + max((self._first - self._best) / 2, noise)

    def problem(self, loss: float) -> str | None:
        """What is wrong with the course where `loss` is that of the next step, if anything is."""
        if self._ratio is None or len(self._losses) < _WINDOW:
            return None
        mean = statistics.fmean([*self._losses[1 - _WINDOW :], loss])
        if mean > self._ratio * self._first:
            most = f"{self._ratio} times {self._first:.4g}, that of the first {_WINDOW}"
        elif min(mean, loss, self._losses[-1]) > self.bar:
            most = f"{self.bar:.4g}, as the best {_WINDOW} had {self._best:.4g}"
        else:
            return None
        return f"mean loss {mean:.4g} of the last {_WINDOW} steps, expected at most {most}"

    def first_bad(self) -> int:
        """The first of the last ten steps, the next one among them, whose loss is above the bar;
        the next one if none is. Steps are numbered from 1."""
        bar, number = self.bar, len(self._losses)
        start = max(number + 1 - _WINDOW, 0)
        bad = (i + 1 for i in range(start, number) if self._losses[i] > bar)
        return next(bad, number + 1)
