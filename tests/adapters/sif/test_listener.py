"""Where the listener looks, by hand."""

import dataclasses

import pytest

from adapters.sif import listener, rules
from adapters.sif.layout import Layout
from adapters.sif.scripted import ScriptedGreedy, ScriptedListener
from adapters.sif.situation import Entry
from adapters.sif.tasks import Goal, Sentence
from tests.adapters.sif.small import S_OBJ
from tests.adapters.sif.test_scripted import act, success
from tests.experiments.sif_view import VIEW

GO = tuple(f"Go to Room {number}" for number in (1, 2, 3, 4))


def chosen(actions=GO, **change):
    return listener.choose(VIEW._replace(**change), actions).action


def told(*cues):
    return tuple(Sentence("", "cup", cue) for cue in cues)


@pytest.mark.parametrize(
    "cue, lists",
    [
        ("table", [("table", [1, 3])]),
        ("kitchen", [("fridge", [3])]),
        ("garage", [("car", [])]),
        # The dining room comes last, though the second to be thought of.
        ("eating", [("fridge", [3]), ("couch", []), ("table", [1, 3])]),
        # No counter on the map: kitchens have one; bathrooms and dining rooms may.
        ("counter", [("counter", []), ("fridge", [3]), ("toilet", [2]), ("table", [1, 3])]),
    ],
)
def test_the_rooms_that_a_cue_may_mean(cue, lists):
    assert listener.rooms_for(VIEW, cue) == lists


def test_what_is_believed_of_the_map():
    assert listener.believed(VIEW) == [Entry("cup", 1, "chair", "seen")]
    silent = VIEW._replace(sentences=())
    assert [e.mark for e in listener.believed(silent)] == ["seen", "premap"]
    assert listener.moved_from(VIEW, "cup") == {0} and listener.moved_from(VIEW, "book") == {1}


def test_it_goes_through_the_listed_rooms():
    assert (
        chosen(entries=()) == "Explore Room 2"
    )  # a table is here, and the kitchen is looked through
    assert chosen(entries=(), here=0) == "Go to Room 2"
    assert chosen(entries=(), here=0, sentences=told("bathroom", "bedroom")) == "Explore Room 1"
    assert chosen(entries=(), here=1, sentences=told("bathroom", "bedroom")) == "Go to Room 1"
    # All that was said is looked through: on in this room, then to the next one.
    assert chosen(entries=(), here=1, sentences=told("bathroom")) == "Explore Room 2"
    assert chosen(entries=(), here=2, sentences=told("bathroom")) == "Go to Room 4"


def test_where_the_object_was_moved_from_comes_last():
    old = (Entry("cup", 0, "bed", "premap"),)
    assert chosen(entries=old, sentences=told("bedroom", "table"), here=3) == "Go to Room 2"
    assert chosen(entries=old, sentences=told("bedroom"), here=3) == "Go to Room 1"
    assert chosen(entries=old, sentences=(), here=3) == "Go to Room 1"  # nothing was said
    gone = (Entry("cup", 1, "chair", "gone"),)
    assert chosen(entries=gone, sentences=()) == "Explore Room 2"


def test_a_receptacle_that_is_on_no_map_is_looked_for_where_it_should_be():
    rooms = [room._replace(complete=False, looks=0) for room in VIEW.rooms]
    held = dict(held="cup", goal=Goal("recep", "cup", "counter"), rooms=tuple(rooms))
    assert chosen(**held, here=0) == "Go to Room 4"
    assert chosen(**held, here=3) == "Explore Room 4"
    assert chosen(**held, here=0) != ScriptedGreedy(0)._choose(VIEW._replace(**held, here=0), GO)


def test_it_goes_where_it_was_told_and_not_where_the_map_says():
    start = rules.start(Layout(S_OBJ))
    assert act(ScriptedListener(), start) in ("Go to Room 2", "Go to Room 4")
    silent = dataclasses.replace(S_OBJ, sentences=())
    assert act(ScriptedListener(), rules.start(Layout(silent))) == "Pick up cup"


def test_it_finds_more_than_the_greedy_actor():
    found = success(ScriptedListener(), "s_obj/train")
    assert found > 0.85 and found > success(ScriptedGreedy(0), "s_obj/train")
