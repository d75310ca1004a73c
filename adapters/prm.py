"""Process reward models: the probability of success from a state's text (Section 4.1).

    prm = PRM.load("prm")
    prm.probabilities(["s_obj put cup on table ..."])       [1, 1 + K]

`experiments.train_prm` makes the folder; `adapters.prm_data` says what the outputs mean.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from adapters import head_folder
from adapters.encoder import Encoder
from adapters.head_folder import HeadFolder
from adapters.made import check_made
from adapters.prm_data import with_action
from adapters.protocols import Scorer, State
from models.calibration import Isotonic, Temperature

NAME = "prm.json"
_FIELDS = {"helps": list, "reads": str, "calibration": list, "quality": dict}

Calibration = Temperature | Isotonic


class PRM:
    """p(success) of texts, calibrated; a text that was seen before costs nothing.

    Attributes:
      style: of the states' texts.
      helps: [K] names; none where it reads actions.
      reads: "state" or "action".
      values: all that prm.json says.
      sha256: of the folder.
    """

    def __init__(self, folder: HeadFolder, calibration: Sequence[Calibration]):
        """Takes what is loaded; `load` takes a folder."""
        self._folder, self._calibration = folder, tuple(calibration)
        self.values, self.sha256 = folder.values, folder.sha256
        self.style: str = folder.values["style"]
        self.helps: tuple[str, ...] = tuple(folder.values["helps"])
        self.reads: str = folder.values["reads"]

    @classmethod
    def load(cls, folder: str | os.PathLike) -> Self:
        """Reads a folder.

        Raises:
          OSError: a file is missing.
          ValueError: one is damaged, or they do not belong together; names it.
        """
        path = Path(folder) / NAME
        check_made(path, "a process reward model, which experiments.train_prm makes")
        found = head_folder.load(folder, NAME, _FIELDS)
        if found.config.kind != "success":
            raise ValueError(f"{path}: the head is {found.config.kind!r}, expected 'success'")
        numbers = len(found.values["helps"]), len(found.values["calibration"]) - 1
        if numbers != (found.config.num_helps,) * 2:
            raise ValueError(
                f"{path}: {numbers[0]} helps and {numbers[1] + 1} calibrations, expected "
                f"{found.config.num_helps} and {found.config.num_outputs} as the head has"
            )
        if found.values["reads"] not in ("state", "action"):
            raise ValueError(
                f"{path}: reads is {found.values['reads']!r}, expected state or action"
            )
        try:
            calibration = [calibration_of(values) for values in found.values["calibration"]]
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        return cls(found, calibration)

    @property
    def config(self) -> Mapping[str, Any]:
        """What rollouts say about it."""
        return {"prm": self.sha256, "style": self.style, "reads": self.reads}

    @property
    def encoder(self) -> Encoder:
        """Texts to the hidden states that its head stands on."""
        return self._folder.encoder

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """float [N, 1 + K]: if the base actor, or help i, plays on alone.

        Raises:
          ValueError: a text is too long and is refused.
        """
        logits = self.logits(texts)
        columns = [f(column) for f, column in zip(self._calibration, logits.T, strict=True)]
        return np.stack(columns, axis=1)

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [N, 1 + K], before calibration."""
        return self._folder.outputs(list(texts))

    def as_scorer(self, style: str | None = None) -> Scorer:
        """Q(s, a) for `adapters.search`, of states by their texts.

        Args:
          style: of the texts; None is the one it was trained on.

        Raises:
          ValueError: it reads states alone, or another style.
        """
        if self.reads != "action":
            raise ValueError(f"this PRM reads {self.reads!r}, expected one of actions for a search")
        if style not in (None, self.style):
            raise ValueError(f"style is {style!r}, expected {self.style!r}, which it learnt from")

        def score(states: Sequence[State], actions: Sequence[str]) -> list[float]:
            pairs = zip(states, actions, strict=True)
            texts = [with_action(state.text(self.style), action) for state, action in pairs]
            return self.probabilities(texts)[:, 0].tolist()

        return score


def calibration_of(values: Mapping[str, Any]) -> Calibration:
    """What `calibration_json` wrote.

    Raises:
      ValueError: it is none.
    """
    make: dict[str, Callable[[], Calibration]] = {
        "temperature": lambda: Temperature(float(values["temperature"])),
        "isotonic": lambda: Isotonic(tuple(values["scores"]), tuple(values["probabilities"])),
    }
    try:
        return make[values["kind"]]()
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"calibration {values!r}, expected temperature or isotonic: {error}"
        ) from error


def calibration_json(calibration: Calibration) -> dict[str, Any]:
    """As it stands in prm.json."""
    if isinstance(calibration, Temperature):
        return {"kind": "temperature", "temperature": calibration.temperature}
    return {
        "kind": "isotonic",
        "scores": list(calibration.scores),
        "probabilities": list(calibration.probabilities),
    }
