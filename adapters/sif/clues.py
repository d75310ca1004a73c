"""What furniture and sentences tell of rooms: the common sense of the scripted actors.

Everything here follows from a `View`, so from what the agent sees. What stands in a kitchen, and
where one eats, is common knowledge (`houses.FURNITURE`, `houses.ACTIVITIES`); which room is the
kitchen is not, and has to be told from its furniture.
"""

import functools
import math
import re
from collections.abc import Mapping, Sequence

from adapters.sif.hints import spoken
from adapters.sif.houses import ACTIVITIES, FURNITURE, RECEPTACLES
from adapters.sif.tasks import Sentence
from adapters.sif.view import View

# How likely a receptacle is on the map of a room of some function. [chosen]
_ALWAYS = 0.85  # what every such room has: the rest was not walked past
_MAYBE = 0.4  # what it may have
_STRANGE = 0.002  # what no such room has

_CUES = (*FURNITURE, *RECEPTACLES, *ACTIVITIES)


@functools.lru_cache(maxsize=65536)
def function_odds(receptacles: tuple[str, ...], complete: bool) -> Mapping[str, float]:
    """The probability of each function that a room may have: Bayes, receptacles independent.

    Args:
      receptacles: of the room, those on the map.
      complete: there are no others.

    Returns:
      Probabilities that sum to 1, by function.
    """
    known, always_known = set(receptacles), 0.999 if complete else _ALWAYS
    odds = {}
    for function, (always, maybe) in FURNITURE.items():
        parts = [always_known if name in known else 1 - always_known for name in always]
        parts += [_MAYBE if name in known else 1 - _MAYBE for name in maybe]
        odds[function] = math.prod(parts) * _STRANGE ** len(known - {*always, *maybe})
    total = sum(odds.values())
    return {function: value / total for function, value in odds.items()}


def odds_of(view: View, room: int, functions: Sequence[str]) -> float:
    """The probability that a room has one of these functions."""
    known = view.rooms[room]
    odds = function_odds(known.receptacles, known.complete)
    return sum(odds.get(function, 0.0) for function in functions)


def odds_of_receptacle(view: View, room: int, name: str) -> float:
    """The probability that such a receptacle stands in a room; 1 if it is on the map."""
    known = view.rooms[room]
    if name in known.receptacles:
        return 1.0
    if known.complete:
        return 0.0
    odds = function_odds(known.receptacles, False)
    always = sum(p for function, p in odds.items() if name in FURNITURE[function][0])
    maybe = sum(p for function, p in odds.items() if name in FURNITURE[function][1])
    return min(always + _MAYBE * maybe, 0.999)


def fits(view: View, cue: str) -> list[float]:
    """How well a cue fits each room, in [0, 1]."""
    rooms = range(len(view.rooms))
    if cue in ACTIVITIES:
        return [odds_of(view, room, ACTIVITIES[cue]) for room in rooms]
    if cue not in RECEPTACLES:
        return [odds_of(view, room, (cue,)) for room in rooms]
    odds = [odds_of_receptacle(view, room, cue) for room in rooms]
    # It was said because it tells the room: where one is on the map, no other is meant.
    return [float(value == 1.0) for value in odds] if max(odds) == 1.0 else odds


def is_about(sentence: Sentence, about: str) -> bool:
    """Whether a sentence is about an object category, or, for "", about the human."""
    if sentence.cue is None and about:
        return _says(sentence, about)
    return sentence.cue is None or sentence.about == about


def cues_about(view: View, about: str) -> list[str]:
    """What was said of where something is.

    Args:
      view: what the agent knows.
      about: an object category; empty for the human.

    Returns:
      Room functions, receptacles and activities, in the order heard; none if nothing was said.
    """
    cues = []
    for sentence in view.sentences:
        if is_about(sentence, about):
            read = [cue for cue in _CUES if _says(sentence, cue)]
            cues += read if sentence.cue is None else [sentence.cue] * bool(sentence.cue)
    return cues


def _says(sentence: Sentence, word: str) -> bool:
    return re.search(rf"\b{spoken(word)}s?\b", sentence.text.lower()) is not None
