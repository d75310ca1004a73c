"""What actors read: the two styles, and that neither tells what is hidden."""

import dataclasses
import re

import pytest

from adapters.sif import oracle
from adapters.sif.tasks import Sentence, Walk
from adapters.sif.text import compact, house_text, object_lines, receptacle_line, task_text, ways
from adapters.sif.world import SifWorld
from tests.adapters.sif.small import LIVING, PNP, S_HUM, S_OBJ, place, play

WORLD = SifWorld()


def test_compact_text():
    state = play(S_OBJ, "Explore Room 1", "Go to Room 2", "Explore Room 2", "Explore Room 2")
    assert state.text("compact") == (
        "here 2 look all couch table shelves\n"
        "go 3 4 1 all\n"
        "bed 4\n"
        "shelves here all\n"
        "toilet 3\n"
        "bench 4\n"
        "fridge 1 all\n"
        "couch here all\n"
        "counter 1 all\n"
        "table here all 1 all\n"
        "cabinet 3\n"
        "cup here shelves\n"
        "book 4 bed ?\n"
        "cup 1 counter x\n"
        "hear cup resting\n"
        "call 4 all 2 hand none\n"
        "s_obj put cup on cabinet"
    )


def test_compact_text_of_a_walking_human():
    text = play(S_HUM, "Not Enough Evidence").text("compact")
    assert text.startswith("here none\ngo 1 look 1 2 3 4\n")
    assert text.endswith(
        "\nhear human bedroom\nhuman between to 2 ask\ncall 1 all 0 hand none\ns_hum bring cup"
    )
    text = play(S_HUM, *["Not Enough Evidence"] * 4).text("compact")
    assert text.startswith("here 4 look all bed bench\n") and "\nhuman here stays\n" in text


def test_lines_of_the_compact_text_by_what_they_are_about():
    view = play(S_OBJ, "Explore Room 1", "Go to Room 2", *["Explore Room 2"] * 2).view()
    assert object_lines(view, "cup") == ["cup here shelves", "cup 1 counter x"]
    assert object_lines(view, "hat") == ["hat none"]
    assert receptacle_line(view, "table") == "table here all 1 all"
    assert receptacle_line(view, "table", 1) == "table here all"
    assert receptacle_line(view, "car") == "car none"
    assert view.rooms[ways(view)[0]].number == 3
    assert compact(view) == f"{house_text(view)}\n{task_text(view)}"


def test_compact_text_holds_sentences_that_nobody_has_interpreted():
    heard = dataclasses.replace(
        S_OBJ, sentences=(Sentence("It is by the tub."), Sentence("Hm.", cue=""))
    )
    lines = play(heard).text("compact").splitlines()
    assert lines[-3] == "hear It is by the tub." and lines[-2].startswith("call")


def test_compact_texts_are_about_120_words_at_most():
    words = []
    for kind in ("pnp", "s_obj", "s_hum"):
        for i in range(60):
            state = WORLD.reset(f"{kind}/train/{i}")
            while state.outcome is None:
                words.append(len(state.text("compact").split()))
                state = WORLD.step(state, oracle.choose(state))
    assert max(words) <= 130 and 60 < sum(words) / len(words) < 100


def test_full_text_has_the_parts_of_the_prompt_in_order():
    text = play(S_HUM, "Not Enough Evidence", "Enough Evidence", "Go to Room 3").text()
    parts = [
        "You are a robot",
        "WHAT YOU SAW BEFORE",
        "may be out of date",
        'The human says: "I will be in the bedroom."',
        'The human asks you: "Bring me the cup."',
        "THE HUMAN",
        "WHAT YOU HAVE DONE",
        "1. Not Enough Evidence: You follow. You last saw the human between two rooms, walking "
        "towards Room 2.",
        "2. Enough Evidence:",
        "3. Go to Room 3: You see no small objects.",
        "THE MAP NOW",
        'Remember what you were asked: "Bring me the cup."',
        "ACTIONS",
        "- Explore Room 3",
        "You are in Room 3. Your hand is empty. You have used 3 of 15 actions.",
        "Reasoning:",
        "Action:",
    ]
    at = [text.find(part) for part in parts]
    assert -1 not in at and at == sorted(at)


def test_full_text_tells_each_outcome():
    state = play(PNP, "Go to Room 2", "Pick up cup", "Explore Room 2", "Put cup on the table")
    told = state.text("full")
    assert "0. You start in Room 1. You see no small objects." in told
    assert "1. Go to Room 2: You see cup on the couch." in told
    assert "2. Pick up cup: You have it." in told
    assert "4. Put cup on the table: It is there now." in told
    state = play(PNP, *["Explore Room 1"] * 2)
    assert "2. Explore Room 1: You had seen all of this room." in state.text("full")


def test_full_text_keeps_the_first_map_beside_the_map_of_now():
    state = play(S_OBJ, "Pick up cup")
    before, _, now = state.text("full").partition("THE MAP NOW")
    assert "counter: cup" in before and "counter: cup" not in now


def test_full_text_shows_every_action_that_is_offered():
    state = play(PNP, "Go to Room 2", "Pick up cup")
    listed = re.findall(r"^- (.*)$", state.text("full"), re.M)
    assert tuple(listed) == state.actions


def test_the_human_in_sight_is_told():
    state = play(S_HUM, "Enough Evidence", "Go to Room 3", "Go to Room 4", "Explore Room 4")
    assert "Go to Room 4: You see book on the bed. The human is here." in state.text("full")


@pytest.mark.parametrize("style", ["compact", "full"])
@pytest.mark.parametrize("kind", ["pnp", "s_obj", "s_hum"])
def test_hidden_parts_change_no_text(style, kind):
    """Functions of rooms and places not seen yet: texts before anything is found are the same."""
    task = {"pnp": PNP, "s_obj": S_OBJ, "s_hum": S_HUM}[kind]
    rooms = tuple(dataclasses.replace(room, functions=("office",)) for room in task.house.rooms)
    changed = dataclasses.replace(
        task,
        house=dataclasses.replace(task.house, rooms=rooms),
        objects=(place("cup", LIVING, "table"), place("book", LIVING, "table")),
    )
    way = ["Go to Room 3", "Go to Room 1"]
    if kind == "s_hum":
        way = ["Enough Evidence", *way]
    assert play(task, *way).text(style) == play(changed, *way).text(style)


@pytest.mark.parametrize("style", ["compact", "full"])
def test_where_the_human_will_go_changes_no_text(style):
    to_bed = dataclasses.replace(S_HUM, ambiguous=True)
    to_bath = dataclasses.replace(to_bed, walk=Walk((0, 1, 2), (0, 25, 50)))
    way = ["Not Enough Evidence", "Enough Evidence", "Go to Room 2", "Pick up cup"]
    assert play(to_bed, *way).text(style) == play(to_bath, *way).text(style)


def test_unknown_styles_are_refused():
    with pytest.raises(ValueError, match="style is 'short', expected 'compact' or 'full'"):
        play(PNP).text("short")
