"""States with nothing behind them, for tests of actors."""

import dataclasses
from collections.abc import Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class PlainState:
    """A state that shows its key and says nothing else."""

    key: str
    actions: Sequence[str] = ()
    outcome: None = None
    invalid: bool = False
    measures: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def text(self, style: str = "full") -> str:
        return f"{style} {self.key}"
