"""A view of an S_obj task, for tests of what is looked up in it."""

from adapters.sif.situation import Entry
from adapters.sif.tasks import Goal, Sentence
from adapters.sif.view import RoomView, View

VIEW = View(
    type="s_obj",
    goal=Goal("recep", "cup", "table"),
    sentences=(Sentence("I had it for eating.", "cup", "eating"), Sentence("", "hat", "kitchen")),
    command="Put the cup on a table.",
    calls=3,
    asking=False,
    here=1,
    held=None,
    rooms=(
        RoomView(1, ("bed", "chair"), 0, False),
        RoomView(2, ("table", "chair"), 1, False),
        RoomView(3, ("toilet", "bathtub"), 3, True),
        RoomView(4, ("fridge", "table"), 2, True),
    ),
    entries=(
        Entry("book", 1, "table", "gone"),
        Entry("cup", 0, "bed", "premap"),
        Entry("cup", 1, "chair", "seen"),
        Entry("hat", 3, "table", "premap"),
    ),
    premap=(),
    human=None,
    given=False,
)
EATING = ["hear cup eating", "fridge 4 all", "table here", "couch none"]
