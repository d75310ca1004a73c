"""Asks for help where a process reward model sees failure coming: the paper's threshold baselines.

The difficulty of a state is 1 - p(s), p(s) the estimated success of the base actor from s on. State
by state, help is asked for where it is above a threshold (Section 4.3). For whole tasks there are
two ways (Appendix B): `judge` looks at what the base actor did alone, for
`adapters.taskwise.restart`; and the helper itself, asked in the first turns only, decides who plays
the others (`adapters.episodes.TaskWise`).
"""

from collections.abc import Sequence
from typing import Any, Protocol, Self

import numpy as np

from adapters import seeds as seeds_lib
from adapters.proposals import REPLY
from adapters.protocols import Decision, State, TextReader
from adapters.recorded import RecordedState
from adapters.step import Step


class SuccessModel(Protocol):
    """What is asked of a process reward model, as `adapters.prm.PRM` has it."""

    style: str

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """[N, 1 + K] success if nobody, or help i, is asked from here on; only [:, 0] is read."""
        ...


class PRMHelper:
    """Asks a help where 1 - p(s) is above a threshold; each state is judged once.

    Attributes:
      style: of the texts that the model reads.
      threshold: on 1 - p(s).
    """

    def __init__(
        self,
        model: SuccessModel,
        threshold: float,
        *,
        help: int | None = 1,
        num_helps: int = 1,
    ):
        """Makes a helper.

        Args:
          model: the process reward model.
          threshold: -inf always asks, +inf never.
          help: which one is asked; None for one drawn evenly, as p(s) does not tell (Table 3).
          num_helps: K.

        Raises:
          ValueError: there is no such help, or the threshold is no number.
        """
        if help is not None and not 1 <= help <= num_helps:
            raise ValueError(f"help is {help}, expected 1..{num_helps}")
        if np.isnan(threshold):
            raise ValueError(f"threshold is {threshold}, expected a number")
        self.style, self.threshold = model.style, float(threshold)
        self._model, self._help, self._num_helps = model, help, num_helps
        self._helps = (help,) if help is not None else tuple(range(1, num_helps + 1))
        self._known: dict[str, float] = {}  # difficulty by state key

    @property
    def readers(self) -> tuple[TextReader, ...]:
        """Language models that it reads texts with."""
        return readers_of(self._model)

    @property
    def config(self) -> dict[str, Any]:
        """What rollouts say about it."""
        model = dict(getattr(self._model, "config", {}))
        return {**model, "threshold": self.threshold, "help": self._help}

    def at(self, threshold: float) -> Self:
        """The same helper with another threshold; what was judged is shared."""
        found = type(self)(self._model, threshold, help=self._help, num_helps=self._num_helps)
        found._known = self._known
        return found

    def difficulty(self, states: Sequence[State]) -> np.ndarray:
        """[N] 1 - p(s)."""
        fresh = {state.key: state for state in states if state.key not in self._known}
        if fresh:
            texts = [state.text(self.style) for state in fresh.values()]
            found = 1.0 - np.asarray(self._model.probabilities(texts), np.float64)[:, 0]
            self._known |= zip(fresh, found.tolist(), strict=True)
        return np.array([self._known[state.key] for state in states])

    def margins(self, states: Sequence[State]) -> np.ndarray:
        """[N, K] 1 - p(s) for the help that is asked, -inf for the others."""
        found = np.full((len(states), self._num_helps), -np.inf)
        found[:, np.array(self._helps) - 1] = self.difficulty(states)[:, None]
        return found

    def decide(
        self,
        states: Sequence[State],
        calls_left: Sequence[Sequence[int]] | None,
        seeds: Sequence[int],
    ) -> list[Decision]:
        """Asks where 1 - p(s) is above the threshold and a call is left."""
        decisions = []
        for i, found in enumerate(self.difficulty(states)):
            left = [h for h in self._helps if calls_left is None or calls_left[i][h - 1] > 0]
            if not left:
                decisions.append(Decision(0, "no calls left"))
                continue
            asks = found > self.threshold
            above = "above" if asks else "not above"
            reason = f"1 - p = {found:.3g} {above} {self.threshold:.3g}"
            drawn = 0
            if asks and len(left) > 1:
                drawn = int(seeds_lib.uniform(seeds_lib.derive("help", seeds[i])) * len(left))
            decisions.append(Decision(left[drawn] if asks else 0, reason))
        return decisions


def readers_of(model: SuccessModel) -> tuple[TextReader, ...]:
    """The language model that it reads texts with; none if it tells of none."""
    encoder = getattr(model, "encoder", None)
    return () if encoder is None else (encoder,)


class Judging(Protocol):
    """A helper that says by how much each help is worth asking for."""

    style: str
    threshold: float

    def margins(self, states: Sequence[State]) -> np.ndarray:
        """[N, K]; help is asked for where the largest is above the threshold."""
        ...


def judge(helper: Judging, steps: Sequence[Step]) -> int:
    """Which help a task that was played alone needs, 0 for none: that of the hardest state decides.

    Args:
      helper: its largest margin of all turns is compared with its threshold.
      steps: of the base actor, with texts in the helper's style; replies may be read beside them.
    """
    own = helper.style.removesuffix(REPLY)
    passed = [RecordedState(one.state_key, one.state_text, own, one.raw) for one in steps]
    margins = helper.margins(passed)
    hardest = margins[margins.max(axis=1).argmax()]
    return int(hardest.argmax()) + 1 if hardest.max() > helper.threshold else 0
