"""Houses and tasks built by hand: what does not fit together is refused and named."""

import dataclasses

import pytest

from adapters.sif.houses import House, Room
from adapters.sif.tasks import Goal, Placed, Walk
from tests.adapters.sif.small import HOUSE, PNP, S_HUM, S_OBJ, place


@pytest.mark.parametrize(
    "task, change, message",
    [
        (PNP, dict(type="pick"), "type is 'pick'"),
        (PNP, dict(premap=(Placed("cup", 9, 0),)), r"premap\[0\] is Placed.*room=9"),
        (PNP, dict(objects=(Placed("cup", 0, 3),)), r"objects\[0\] is .*receptacle=3"),
        (
            PNP,
            dict(mapped=frozenset({(1, 0)})),
            r"premap\[1\] is .*expected a receptacle in mapped",
        ),
        (PNP, dict(mapped=frozenset({(0, 7)})), r"mapped is \(0, 7\)"),
        (PNP, dict(start=4), "start is 4"),
        (PNP, dict(start=None), r"start_steps is \(\), expected 4 numbers"),
        (PNP, dict(start=None, start_steps=(1, 0, 1, 1)), "start_steps"),
        (PNP, dict(looks=((0, 1), (0, 1), (0, 1), (0,))), "looks is"),
        (PNP, dict(goal=Goal("recep", "hat", "table")), "goal.object is 'hat'"),
        (PNP, dict(goal=Goal("recep", "cup", "fridge")), "goal.target is 'fridge'"),
        (PNP, dict(goal=Goal("room", "cup", "garage")), "goal.target is 'garage'"),
        (PNP, dict(goal=Goal("human", "cup")), "goal.kind is 'human'"),
        (S_HUM, dict(goal=Goal("recep", "cup", "table")), "goal.kind is 'recep'"),
        (S_HUM, dict(walk=None), "walk is None"),
        (S_OBJ, dict(walk=Walk((0,), (0,))), "walk is Walk"),
        (S_HUM, dict(walk=Walk((0, 1), (0,))), "walk is Walk"),
        (S_HUM, dict(walk=Walk((0, 1), (5, 25))), "walk is Walk"),
        (S_HUM, dict(walk=Walk((0, 4), (0, 25))), "walk is Walk"),
    ],
)
def test_tasks_that_do_not_fit_together(task, change, message):
    with pytest.raises(ValueError, match=f"{task.name}: {message}"):
        dataclasses.replace(task, **change)


def test_spots_must_hold_each_receptacle_once():
    for spots in (((0,),), ((0, 1), (1,)), ()):
        with pytest.raises(ValueError, match="spots of Room 3"):
            Room(3, ("office",), ("table", "chair"), spots)


def test_house_numbers_and_steps_must_fit():
    rooms, steps = HOUSE.rooms, HOUSE.steps
    with pytest.raises(ValueError, match=r"numbered \[1, 1\]"):
        House("twins", (rooms[0], rooms[0]), ((0, 1), (1, 0)))
    with pytest.raises(ValueError, match=r"not \[4\]\[4\]"):
        House("short", rooms, steps[:3])
    with pytest.raises(ValueError, match="from room 0 to 1 is 0"):
        House("flat", rooms[:2], ((0, 0), (1, 0)))


def test_a_house_without_doors_has_straight_ways():
    house = dataclasses.replace(HOUSE, doors=())
    assert house.path(0, 3) == (0, 3) and house.path(2, 2) == (2,)
    assert HOUSE.path(0, 3) == (0, 1, 2, 3)


def test_a_room_may_be_empty_or_hold_what_is_unidentified():
    rooms = (
        Room(1, (), ("unidentified", "table"), ((0, 1),)),
        Room(7, ("office",), (), ((),)),
    )
    house = House("bare", rooms, ((0, 9), (8, 0)))
    cup = Placed("cup", 0, 0)
    task = dataclasses.replace(
        *(PNP,),
        house=house,
        premap=(cup,),
        objects=(cup,),
        looks=((0,), (0,)),
        goal=Goal("recep", "cup", "table"),
    )
    from tests.adapters.sif.small import play

    state = play(task, "Go to Room 7", "Explore Room 7", "Go to Room 1", "Pick up cup")
    assert [a for a in state.actions if a.startswith("Put")] == ["Put cup on the table"]
    assert play(task, "Pick up cup", "Put cup on the table", "Done!").outcome == "success"


def test_places_are_named_by_receptacle():
    assert place("cup", 1, "shelves") == Placed("cup", 1, 2)
