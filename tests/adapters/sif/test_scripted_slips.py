"""Each slip of the scripted actors: what decides, from what number on, and what happens."""

import math

import pytest

from adapters.sif import rules
from adapters.sif.choice import Choice
from adapters.sif.layout import Layout
from adapters.sif.situation import Entry
from adapters.sif.slips import KINDS, Slips
from adapters.sif.tasks import Sentence
from adapters.sif.view import HumanView, RoomView
from tests.adapters.sif.small import S_OBJ

VIEW = rules.start(Layout(S_OBJ)).view()  # the cup, to be put on a cabinet; here: Room 1
GO, LOOK = Choice("Go to Room 2", ""), Choice("Explore Room 1", "")
ACTIONS = ("Explore Room 1", "Go to Room 2", "Done!")


def room(number=1, receptacles=3, looks=0, complete=False):
    return RoomView(number, ("table",) * receptacles, looks, complete)


def entries(count, room=1, object_="book", mark="premap"):
    return tuple(Entry(object_, room, "table", mark) for _ in range(count))


def read(kind, view):
    return Slips(0.25, (kind,)).misread(view)


def done(kind, view, choice=GO, actions=ACTIONS):
    return Slips(0.25, (kind,)).blunder(view, actions, choice).action


@pytest.mark.parametrize("kind", KINDS)
def test_at_dial_0_nothing_is_misread_and_no_blunder_made(kind):
    view = VIEW._replace(
        calls=14,
        entries=entries(20, room=0) + entries(20),
        rooms=(room(receptacles=9, looks=2), *(room(n, 9, 2) for n in (2, 3, 4))),
    )
    assert Slips(0, (kind,)).misread(view) == view
    assert Slips(0, (kind,)).blunder(view, ACTIONS, GO) == GO


def test_overlook_old_lines_from_the_sixth_on_those_here_read_first():
    there, here = entries(5, room=1), entries(2, room=0, object_="cup")
    seen = entries(1, object_="hat", mark="seen")
    assert read("overlook", VIEW._replace(entries=there)).entries == there
    found = read("overlook", VIEW._replace(entries=there + here + seen)).entries
    assert found == there[:3] + here + seen


def test_misread_an_activity_of_many_meanings_as_the_first():
    hints = (Sentence("", "cup", "reading"), Sentence("", "cup", "washing"))
    hints += (Sentence("", "cup", "chair"), Sentence("in my office", "cup"))
    view = VIEW._replace(sentences=hints)
    assert read("misread", view) == view  # none means four functions
    cues = [s.cue for s in Slips(0.4, ("misread",)).misread(view).sentences]
    assert cues == ["bedroom", "washing", "chair", None]  # three are enough
    cues = [s.cue for s in Slips(1, ("misread",)).misread(view).sentences]
    assert cues == ["bedroom", "bathroom", "chair", None]


def test_stale_nothing_said_is_heeded_while_it_was_in_a_room_of_six_receptacles():
    hints = (Sentence("", "cup", "resting"), Sentence("", "book", "resting"))
    view = VIEW._replace(sentences=hints, entries=entries(1, room=0, object_="cup"))
    small, large = ((room(receptacles=n), *VIEW.rooms[1:]) for n in (5, 6))
    assert read("stale", view._replace(rooms=small)).sentences == hints
    assert read("stale", view._replace(rooms=large)).sentences == hints[1:]
    looked = entries(1, room=0, object_="cup", mark="gone")
    assert read("stale", view._replace(rooms=large, entries=looked)).sentences == hints


def test_forget_after_eleven_calls_that_other_rooms_were_looked_through():
    view = VIEW._replace(rooms=tuple(room(n, looks=2, complete=True) for n in (1, 2)), calls=10)
    assert read("forget", view) == view
    first, second = read("forget", view._replace(calls=11)).rooms
    assert first == view.rooms[0] and second == room(2)


def test_shallow_two_looks_are_all_of_a_room_of_six_receptacles():
    rooms = [room(receptacles=n, looks=k) for n, k in ((5, 2), (6, 1), (6, 2), (6, 3))]
    found = read("shallow", VIEW._replace(rooms=tuple(rooms))).rooms
    assert [r.complete for r in found] == [False, False, True, False]


def test_hurry_after_nine_calls_a_glance_is_all_of_a_room():
    rooms = tuple(room(n, looks=k) for n, k in enumerate((1, 0, 2)))
    view = VIEW._replace(rooms=rooms, calls=8)
    assert read("hurry", view) == view
    late = view._replace(calls=9)
    assert [r.complete for r in read("hurry", late).rooms] == [True, False, True]
    assert read("hurry", late._replace(held="cup")).rooms == rooms


def test_hasty_enough_evidence_after_six_calls():
    view = VIEW._replace(asking=True, human=HumanView(None, 1))
    follow = Choice("Not Enough Evidence", "")
    answers = [done("hasty", view._replace(calls=n), follow) for n in (5, 6)]
    assert answers == ["Not Enough Evidence", "Enough Evidence"]


def test_quit_in_place_of_leaving_when_four_rooms_were_looked_through():
    def view(complete):
        return VIEW._replace(rooms=tuple(room(n, complete=n <= complete) for n in range(1, 6)))

    assert done("quit", view(3)) == "Go to Room 2"
    assert done("quit", view(4)) == "Done!"
    assert done("quit", view(4), LOOK) == "Explore Room 1"
    assert done("quit", view(4)._replace(held="cup")) == "Go to Room 2"


def test_name_an_object_that_is_not_among_the_five_here():
    four, five = (VIEW._replace(entries=entries(n, room=0)) for n in (4, 5))
    assert done("name", four) == "Go to Room 2"
    assert done("name", five) == "Pick up cup"
    assert done("name", five, LOOK) == "Explore Room 1"
    assert done("name", five._replace(here=None)) == "Go to Room 2"
    assert done("name", five, actions=(*ACTIONS, "Pick up cup")) == "Go to Room 2"


@pytest.mark.parametrize(
    ("kind", "target", "named"),
    [
        ("recep", "cabinet", "Put cup on the cabinet"),
        ("room", "office", "Put cup in the office"),
        ("human", "", "Give cup to the human"),
    ],
)
def test_name_the_end_of_the_task_with_six_old_entries_on_the_map(kind, target, named):
    goal = type(VIEW.goal)(kind, "cup", target)
    five, six = (VIEW._replace(goal=goal, held="cup", entries=entries(n)) for n in (5, 6))
    assert done("name", five) == "Go to Room 2"
    assert done("name", six) == named
    assert done("name", six._replace(held="book")) == "Go to Room 2"
    fresh = six._replace(entries=entries(9, mark="seen"))
    assert done("name", fresh) == "Go to Room 2"


@pytest.mark.parametrize("kind", KINDS)
def test_limits_fall_as_the_dial_rises(kind):
    names = ["name to pick", "name to finish"] if kind == "name" else [kind]
    for name in names:
        limits = [Slips(dial, (kind,))._limit(name) for dial in (0, 0.01, 0.25, 0.5, 1)]
        assert limits[0] == math.inf
        assert limits == sorted(limits, reverse=True) and len(set(limits)) == 5
