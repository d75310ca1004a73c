"""From observed steps to a transition table: `TransitionCounts` and `TransitionTable`."""

from core.counts import FAILURE, SUCCESS, TRUNCATED, TransitionCounts
from core.table import TransitionTable

__all__ = ["FAILURE", "SUCCESS", "TRUNCATED", "TransitionCounts", "TransitionTable"]
