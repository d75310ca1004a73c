"""What is looked up before an action: by hand, on one view."""

import pytest

from adapters.sif.situation import Entry
from adapters.sif.tasks import Goal, Sentence
from adapters.sif.view import HumanView
from experiments import sif_thoughts
from tests.experiments.sif_view import EATING, VIEW


@pytest.mark.parametrize(
    "change, action, lines",
    [
        ({}, "Pick up cup", ["cup here chair", "cup 1 bed ?", "cup on table none"]),
        (
            dict(goal=Goal("recep", "cup", "chair")),
            "Done!",
            ["cup here chair", "cup 1 bed ?", "cup on chair here"],
        ),
        (
            dict(here=0, goal=Goal("recep", "cup", "chair")),
            "Done!",
            ["cup here bed ?", "cup 2 chair", "cup on chair 2"],
        ),
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
    assert sif_thoughts.thought(view, action, view).splitlines() == lines
    plain = [line for line in lines if " on " not in line]
    assert sif_thoughts.thought(view, action).splitlines() == plain


def test_a_thought_goes_where_the_map_has_the_object_unless_something_was_said_of_this_room():
    there = dict(entries=(Entry("cup", 0, "bed", "premap"),))
    thought = sif_thoughts.thought(VIEW._replace(**there), "Go to Room 1")
    assert thought.splitlines() == ["cup 1 bed ?", "here 2 look 1", *EATING]
    silent = sif_thoughts.thought(VIEW._replace(**there, sentences=()), "Go to Room 1")
    assert silent.splitlines() == ["cup 1 bed ?", "here 2 look 1"]


def test_a_thought_goes_on_to_what_was_said_where_the_teacher_does_not_heed_the_map():
    view = VIEW._replace(entries=(Entry("cup", 1, "chair", "premap"),))
    blind = view._replace(entries=())
    lines = ["cup here chair ?", "here 2 look 1", *EATING]
    assert sif_thoughts.thought(view, "Explore Room 2", blind).splitlines() == lines
    assert sif_thoughts.thought(view, "Pick up cup").splitlines() == lines[:1]
    deaf = view._replace(entries=(), sentences=())
    assert sif_thoughts.thought(view, "Explore Room 2", deaf).splitlines() == lines[:2]


def test_a_thought_of_where_the_human_goes():
    human = dict(type="s_hum", goal=Goal("human", "cup"), asking=True, human=HumanView(0, 1))
    heard = (Sentence("", "", "bedroom"), Sentence("", "cup", "eating"))
    thought = sif_thoughts.thought(VIEW._replace(**human, sentences=heard), "Enough Evidence")
    assert thought.splitlines() == ["hear human bedroom", "bed 1", "human 1 to here ask"]
    thought = sif_thoughts.thought(VIEW._replace(**human, sentences=()), "Not Enough Evidence")
    assert thought == "human 1 to here ask"
