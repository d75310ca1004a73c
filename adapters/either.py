"""A helper and a process reward model that judge together.

The helper learnt what a call adds where both decisions were tried, which is in few states, and from
rollouts in hindsight. The process reward model learnt from all states whether the base actor and
the help succeed, if each plays on alone; what one call adds it does not know. Help is asked for
where either of the two sees enough. Which tasks that is better for, validation tasks say.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from adapters.prm_helper import SuccessModel, readers_of
from adapters.protocols import TextReader
from adapters.threshold_helper import ThresholdHelper


class Either(ThresholdHelper):
    """Margins are the larger of the helper's and p_help - p_nohelp, each a difference in success.

    Attributes:
      prm: the process reward model.
    """

    def __init__(self, helper: ThresholdHelper, prm: SuccessModel):
        """Takes the helper's threshold.

        Args:
          helper: of one threshold.
          prm: of the same helps, reading texts of the same style.

        Raises:
          ValueError: it reads another style, or the helper is none whose margins are of texts.
        """
        if not isinstance(helper, ThresholdHelper):
            raise ValueError(
                f"{type(helper).__name__} cannot be joined, expected a ThresholdHelper"
            )
        if prm.style != helper.style:
            raise ValueError(
                f"the PRM reads {prm.style!r}, expected {helper.style!r} as the helper"
            )
        super().__init__(
            style=helper.style,
            helps=helper.helps,
            cost=helper.cost,
            threshold=helper.threshold,
            sha256=helper.sha256,
        )
        self._helper, self.prm = helper, prm

    @property
    def readers(self) -> tuple[TextReader, ...]:
        return (*self._helper.readers, *readers_of(self.prm))

    @property
    def config(self) -> dict[str, Any]:
        """What rollouts say about it, JSON values."""
        return super().config | {"either": dict(getattr(self.prm, "config", {}))}

    def margins_of(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [N, K] of states by their texts.

        Raises:
          ValueError: the PRM is of other helps; or a text is too long and is refused.
        """
        p = np.asarray(self.prm.probabilities(texts))
        if p.shape[1] != 1 + len(self.helps):
            raise ValueError(f"the PRM is of {p.shape[1] - 1} helps, expected {len(self.helps)}")
        return np.maximum(self._helper.margins_of(texts), p[:, 1:] - p[:, :1]).astype(np.float32)
