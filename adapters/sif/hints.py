"""What the human says in generated tasks: clear and ambiguous hints, and the command."""

from collections.abc import Mapping

from adapters.sif.draws import Draws
from adapters.sif.houses import ACTIVITIES, House
from adapters.sif.tasks import Goal, Sentence

_AMBIGUOUS = 0.3  # of the tasks, and of those in which nothing clear can be said
_SECOND = 0.5  # of the tasks have a second sentence, about another object that was moved
_MOVED = {
    "function": ("I took the {object} to the {cue}.", "The {object} is in the {cue} now."),
    "receptacle": ("I left the {object} near the {cue}.", "Look for the {object} by the {cue}."),
    "activity": ("I had the {object} with me for {cue}.", "I used the {object} while {cue}."),
}
_WALKING = {
    "function": ("I will be in the {cue}.", "You will find me in the {cue}."),
    "receptacle": ("I will be near the {cue}.", "I am going over to the {cue}."),
}
_VAGUE = ("I am going over there.", "I have to go now, come and find me.")


def command(goal: Goal) -> str:
    """The command that sets a goal."""
    thing = spoken(goal.object)
    if goal.kind == "human":
        return f"Bring me the {thing}."
    if goal.kind == "room":
        return f"Put the {thing} in the {goal.target}."
    return f"Put the {thing} on a {goal.target}."


def spoken(category: str) -> str:
    """An object category as one says it."""
    return category.replace("_", " ")


def about_objects(
    draws: Draws,
    house: House,
    before: Mapping[str, tuple[int, int]],
    now: Mapping[str, tuple[int, int]],
    target: str,
) -> tuple[bool, tuple[Sentence, ...]]:
    """One sentence or two on where objects were moved to; the first is about the target.

    Args:
      draws: the source of chance.
      house: where they are.
      before, now: room and receptacle of each object, in phase 1 and in phase 2.
      target: the object of the task.

    Returns:
      Whether more than one room fits what is said of the target, and the sentences.
    """
    cues = _cues(house, now[target][0])
    ambiguous = draws.chance(_AMBIGUOUS)
    kinds = [pair for pair in cues if (cues[pair] > 1) == ambiguous]
    if not kinds:
        kinds, ambiguous = list(cues), not ambiguous
    sentences = [_say(draws, _MOVED, *draws.pick(kinds), target)]
    others = sorted(name for name in now if name != target and now[name] != before[name])
    if others and draws.chance(_SECOND):
        other = draws.pick(others)
        kinds = list(_cues(house, now[other][0]))
        sentences.append(_say(draws, _MOVED, *draws.pick(kinds), other))
    return ambiguous, tuple(sentences)


def about_human(draws: Draws, house: House, destination: int) -> tuple[bool, tuple[Sentence, ...]]:
    """One sentence on where the human walks: clear, or ambiguous and then of no use.

    Returns:
      Whether it is ambiguous, and the sentence.
    """
    cues = _cues(house, destination)
    clear = [pair for pair in cues if cues[pair] == 1 and pair[0] in _WALKING]
    if not clear or draws.chance(_AMBIGUOUS):
        return True, (Sentence(draws.pick(_VAGUE), cue=""),)
    return False, (_say(draws, _WALKING, *draws.pick(clear)),)


def _cues(house: House, room: int) -> dict[tuple[str, str], int]:
    """All that may be said of a room, (kind, cue), and how many rooms of the house it fits."""
    (function,) = house.rooms[room].functions
    cues = {("function", function): _count(house, {function})}
    for receptacle in sorted(set(house.rooms[room].receptacles)):
        fitting = sum(receptacle in other.receptacles for other in house.rooms)
        if fitting == 1:
            cues["receptacle", receptacle] = 1
    for activity, functions in ACTIVITIES.items():
        if function in functions:
            cues["activity", activity] = _count(house, set(functions))
    return cues


def _count(house: House, functions: set[str]) -> int:
    return sum(not functions.isdisjoint(room.functions) for room in house.rooms)


def _say(draws: Draws, patterns: Mapping, kind: str, cue: str, about: str = "") -> Sentence:
    pattern = draws.pick(patterns[kind])
    return Sentence(pattern.format(object=spoken(about), cue=cue), about, cue)
