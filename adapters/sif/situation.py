"""What holds in a state of the world, as small integers: all that the future depends on."""

from typing import Literal, NamedTuple

Mark = Literal["seen", "premap", "gone"]


class Situation(NamedTuple):
    """What holds in a state that has not ended; see `Layout` for the numbers.

    Attributes:
      place: of the agent.
      held: category in its hand, -1 if none.
      objects: codes of the objects as they truly are, sorted; two of a category are alike.
      belief: the combined map: for each entry its code * 2, + 1 if seen in this phase; sorted.
      mapped: receptacles seen, as a mask.
      looks: for each room how often it was looked at; see `Layout.next_look`. 0: never.
      calls: actions so far.
      steps: low-level steps so far.
      walked: low-level steps of its walk the human has made; 0 without a walk.
      sighted: where on its walk the agent last saw the human, in the same count.
      asking: the agent is being asked whether it has enough evidence.
      entered: in clear S_hum tasks, whether the first other room entered was the human's
        destination: 0 none was entered yet, 1 it was another, 2 it was. Always 0 in others.
      given: the human holds an object of the goal's category.
    """

    place: int
    held: int
    objects: tuple[int, ...]
    belief: tuple[int, ...]
    mapped: int
    looks: tuple[int, ...]
    calls: int
    steps: int
    walked: int
    sighted: int
    asking: bool
    entered: int
    given: bool


class Entry(NamedTuple):
    """An entry of the combined map: an object believed to be on a receptacle.

    Attributes:
      object: its category.
      room: position in `House.rooms`.
      receptacle: its category.
      mark: "seen": in this phase, and so it is there. "premap": only in phase 1, and its spot was
        not looked at since. "gone": its spot was looked at since, and it is not there any more;
        the map keeps such entries until an attempt to pick the object up.
    """

    object: str
    room: int
    receptacle: str
    mark: Mark
