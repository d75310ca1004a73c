"""What is looked up before an action: by hand, on one view."""

import pytest

from adapters.sif.situation import Entry
from adapters.sif.slips import Slips
from adapters.sif.tasks import Goal, Sentence
from adapters.sif.view import HumanView
from experiments import sif_thoughts
from tests.experiments.sif_view import EATING, VIEW


@pytest.mark.parametrize(
    "change, action, lines",
    [
        ({}, "Pick up cup", ["cup here chair", "cup 1 bed ?"]),
        (dict(entries=()), "Explore Room 2", ["cup none", "here 2 look 1", *EATING]),
        (dict(entries=()), "Go to Room 3", ["cup none", "here 2 look 1", *EATING, "go 3"]),
        (dict(here=0, held="cup"), "Go to Room 2", ["table 2"]),
        (dict(held="cup"), "Put cup on the table", ["table here"]),
        (
            dict(held="cup", goal=Goal("room", "cup", "dining room")),
            "Put cup on the table",
            ["in dining room", "table here", "here 2 look 1 table chair"],
        ),
        (
            dict(held="cup", goal=Goal("recep", "cup", "car")),
            "Go to Room 3",
            ["car none", "here 2 look 1", "go 3"],
        ),
        (dict(held="hat"), "Put hat on the table", ["here 2 look 1 table chair"]),
        (
            dict(here=None, goal=Goal("room", "bowl", "bathroom")),
            "Go to Room 1",
            ["bowl none", "here none", "go 1"],
        ),
    ],
)
def test_a_thought_looks_up_what_the_action_follows_from(change, action, lines):
    view = VIEW._replace(**change)
    assert sif_thoughts.thought(view, action).splitlines() == lines


@pytest.mark.parametrize(
    "change, action, lines",
    [
        ({}, "Pick up cup", ["cup here chair", "cup 1 bed ?", "cup on table none"]),
        (
            dict(goal=Goal("recep", "cup", "chair")),
            "Done!",
            ["cup here chair", "cup 1 bed ?", "cup on chair here"],
        ),
        (dict(entries=()), "Explore Room 2", ["cup none", "here 2 look 1", *EATING]),
        (dict(held="cup"), "Put cup on the table", ["table here"]),
    ],
)
def test_a_checked_thought_says_whether_what_was_seen_is_where_it_should_be(change, action, lines):
    view = VIEW._replace(**change)
    assert sif_thoughts.thought(view, action, checked=True).splitlines() == lines


CALL = ["call 3", "hear cup eating"]


def told(*cues):
    return tuple(Sentence("", "cup", cue) for cue in cues)


@pytest.mark.parametrize(
    "change, action, lines",
    [
        ({}, "Pick up cup", ["cup here chair", "cup 1 bed ?", "cup on table none"]),
        (
            dict(goal=Goal("recep", "cup", "chair")),
            "Done!",
            ["cup here chair", "cup 1 bed ?", "cup on chair here"],
        ),
        (dict(here=0), "Go to Room 2", ["cup here bed ?", "cup 2 chair", "cup on table none"]),
        (
            dict(entries=()),
            "Explore Room 2",
            [*("cup none", "here 2 look 1"), *CALL, "fridge 4 all", "couch none", "table here"],
        ),
        (
            dict(here=0, entries=(Entry("cup", 1, "chair", "premap"),)),
            "Explore Room 1",
            [
                *("cup 2 chair ?", "here 1 look 0", "call 3", "2 old"),
                *("hear cup eating", "fridge 4 all", "couch none", "table 2 old 4 all"),
            ],
        ),
        (
            dict(here=2, entries=(), sentences=told("bedroom", "kitchen")),
            "Go to Room 1",
            ["cup none", "here 3 look all", "call 3", "hear cup bedroom", "bed 1"],
        ),
        (
            dict(here=2, entries=(), sentences=told("kitchen", "car")),
            "Go to Room 4",
            [
                *("cup none", "here 3 look all", "call 3", "hear cup kitchen", "fridge 4 all"),
                *("hear cup car", "car none", "go 4"),
            ],
        ),
        (
            dict(held="cup", goal=Goal("recep", "cup", "counter")),
            "Explore Room 2",
            ["counter none", "fridge 4 all", "toilet 3 all", "table here", "here 2 look 1"],
        ),
        (
            dict(here=0, held="cup", goal=Goal("recep", "cup", "counter")),
            "Go to Room 2",
            ["counter none", "fridge 4 all", "toilet 3 all", "table 2"],
        ),
        (dict(here=0, held="cup"), "Go to Room 2", ["table 2"]),
    ],
)
def test_a_careful_thought_lists_all_that_the_listener_goes_by(change, action, lines):
    view = VIEW._replace(**change)
    assert sif_thoughts.careful_thought(view, action, view).splitlines() == lines


def test_a_thought_goes_where_the_map_has_the_object_unless_something_was_said_of_this_room():
    there = dict(entries=(Entry("cup", 0, "bed", "premap"),))
    thought = sif_thoughts.thought(VIEW._replace(**there), "Go to Room 1")
    assert thought.splitlines() == ["cup 1 bed ?", "here 2 look 1", *EATING]
    silent = sif_thoughts.thought(VIEW._replace(**there, sentences=()), "Go to Room 1")
    assert silent.splitlines() == ["cup 1 bed ?", "here 2 look 1"]


def test_a_careful_thought_follows_what_the_teacher_heeds():
    view = VIEW._replace(entries=(Entry("cup", 1, "chair", "premap"),), sentences=())
    thought = sif_thoughts.careful_thought(view, "Pick up cup", view)
    assert thought == "cup here chair ?"
    blind = view._replace(entries=())
    thought = sif_thoughts.careful_thought(view, "Explore Room 2", blind)
    assert thought.splitlines() == ["cup here chair ?", "here 2 look 1"]
    # In a hurry it takes rooms as looked through that the text does not say are.
    view = VIEW._replace(entries=(), calls=9)
    thought = sif_thoughts.careful_thought(
        view, "Go to Room 3", Slips(0.5, ("hurry",)).misread(view)
    )
    assert thought.splitlines() == [
        *("cup none", "here 2 look 1", "call 9", "hear cup eating"),
        *("fridge 4 all", "couch none", "table here all 4 all", "go 3"),
    ]


def test_a_thought_of_where_the_human_goes():
    human = dict(type="s_hum", goal=Goal("human", "cup"), asking=True, human=HumanView(0, 1))
    heard = (Sentence("", "", "bedroom"), Sentence("", "cup", "eating"))
    thought = sif_thoughts.thought(VIEW._replace(**human, sentences=heard), "Enough Evidence")
    assert thought.splitlines() == ["hear human bedroom", "bed 1", "human 1 to here ask"]
    thought = sif_thoughts.thought(VIEW._replace(**human, sentences=()), "Not Enough Evidence")
    assert thought == "human 1 to here ask"
