"""A person at a terminal, played by a script."""

import dataclasses
import io

import pytest

from adapters.person import Person
from tests.adapters import doors
from tests.adapters.doors import Doors

STATES = [Doors().reset(f"doors/train/{i}") for i in range(3)]


def ask(text, states=STATES[:1]):
    output = io.StringIO()
    person = Person(doors.oracle(), input=io.StringIO(text), output=output)
    replies = person.act(states, [person.start()] * len(states), list(range(len(states))))
    return replies, output.getvalue()


@pytest.mark.parametrize("text", ["2\n", "door 1\n", " DOOR 1 \n", "2"])
def test_a_number_or_a_text_is_an_answer(text):
    (reply,), shown = ask(text)
    assert reply.action == "door 1"
    assert not reply.stop
    assert "full: doors/train/0 room=0 calls=0" in shown
    assert "  1  door 0\n  2  door 1\n  3  door 2\n" in shown


def test_what_is_no_action_is_asked_for_again():
    (reply,), shown = ask("0\n4\nkick\n\n1\n")
    assert reply.action == "door 0"
    for rubbish in ("'0'", "'4'", "'kick'", "''"):
        assert f"{rubbish} is no action here; expected a number from 1 to 3" in shown


def test_where_any_text_is_an_action_a_number_is_one_too():
    @dataclasses.dataclass(frozen=True)
    class Free:
        key, actions, outcome, invalid, measures = "k", (), None, False, {}

        def text(self, style):
            return "say something"

    (reply,), _ = ask("\n3\n", [Free()])
    assert reply.action == "3"


def test_skipped_states_go_to_the_fallback():
    replies, _ = ask("/skip\n1\n/skip\n", STATES)
    assert [reply.action for reply in replies] == [
        STATES[0].right_door,
        "door 0",
        STATES[2].right_door,
    ]
    assert replies[0].raw.startswith("I say")


@pytest.mark.parametrize("text", ["1\n/stop\n", "1\n"])
def test_stop_or_the_end_of_input_stops_from_there_on(text):
    replies, shown = ask(text, STATES)
    assert [(reply.action, reply.stop) for reply in replies] == [
        ("door 0", False),
        (None, True),
        (None, True),
    ]
    assert "doors/train/2" not in shown
