"""A small house and tasks in it, by hand; tests of the rules are written on it.

Room 1 (kitchen) - Room 2 (living room) - Room 3 (bathroom) - Room 4 (bedroom), in a row, 25
low-level steps from one to the next. In every room the first spot is seen first.
"""

import dataclasses

from adapters.sif import rules
from adapters.sif.houses import House, Room, walking_steps
from adapters.sif.layout import Layout
from adapters.sif.tasks import Goal, Placed, Sentence, Task, Walk

DOORS = ((0, 1), (1, 2), (2, 3))
HOUSE = House(
    name="row",
    rooms=(
        Room(1, ("kitchen",), ("fridge", "counter", "table"), ((0,), (1, 2))),
        Room(2, ("living room",), ("couch", "table", "shelves"), ((0,), (1,), (2,))),
        Room(3, ("bathroom",), ("toilet", "cabinet"), ((0,), (1,))),
        Room(4, ("bedroom",), ("bed", "bench"), ((0, 1),)),
    ),
    steps=walking_steps(4, DOORS),
    doors=DOORS,
)
KITCHEN, LIVING, BATH, BED = range(4)


def place(object_: str, room: int, receptacle: str) -> Placed:
    return Placed(object_, room, HOUSE.rooms[room].receptacles.index(receptacle))


CUP_ON_COUCH = place("cup", LIVING, "couch")
BOOK_ON_BED = place("book", BED, "bed")

# Put the cup, which is where it was, in the living room, on a cabinet; start in the kitchen.
PNP = Task(
    name="pnp/hand/0",
    split="pnp/hand",
    type="pnp",
    house=HOUSE,
    premap=(CUP_ON_COUCH, BOOK_ON_BED),
    objects=(CUP_ON_COUCH, BOOK_ON_BED),
    start=KITCHEN,
    looks=((0, 1), (0, 1, 2), (0, 1), (0,)),
    sentences=(),
    command="Put the cup on a cabinet.",
    goal=Goal("recep", "cup", "cabinet"),
    oracle_actions=5,
    oracle_steps=70,
)
# The same, but the cup was on the counter of the kitchen and is on the shelves now.
S_OBJ = dataclasses.replace(
    PNP,
    name="s_obj/hand/0",
    split="s_obj/hand",
    type="s_obj",
    premap=(place("cup", KITCHEN, "counter"), BOOK_ON_BED),
    objects=(place("cup", LIVING, "shelves"), BOOK_ON_BED),
    sentences=(Sentence("I had the cup with me for resting.", "cup", "resting"),),
    ambiguous=True,
)
# Bring the cup to the human, who walks from the kitchen to the bedroom.
S_HUM = dataclasses.replace(
    PNP,
    name="s_hum/hand/0",
    split="s_hum/hand",
    type="s_hum",
    sentences=(Sentence("I will be in the bedroom.", "", "bedroom"),),
    command="Bring me the cup.",
    goal=Goal("human", "cup"),
    walk=Walk((KITCHEN, LIVING, BATH, BED), (0, 25, 50, 75)),
)
TASKS = (PNP, S_OBJ, S_HUM)


def play(task: Task, *actions: str):
    """The state after the actions."""
    state = rules.start(Layout(task))
    for action in actions:
        assert action in state.actions, f"{action!r} is not offered, only {state.actions}"
        state = rules.step(state, action)
    return state


def entries(state) -> set[tuple[str, int, str, str]]:
    """The combined map: (object, room number, receptacle, mark)."""
    view = state.view()
    return {(e.object, view.rooms[e.room].number, e.receptacle, e.mark) for e in view.entries}
