"""The rules of the world, one by one; see `small` for the house and the tasks."""

import dataclasses

import pytest

from adapters.sif import rules
from adapters.sif.tasks import Goal, Walk
from tests.adapters.sif.small import (
    BATH,
    BED,
    BOOK_ON_BED,
    CUP_ON_COUCH,
    HOUSE,
    KITCHEN,
    LIVING,
    PNP,
    S_HUM,
    S_OBJ,
    entries,
    place,
    play,
)

EVIDENT = "Enough Evidence"


def steps(state) -> float:
    return state.measures["low_level_steps"]


# What is offered.


def test_in_a_room_it_may_be_explored_and_every_other_room_gone_to():
    assert play(PNP).actions == (
        *("Explore Room 1", "Go to Room 2", "Go to Room 3", "Go to Room 4"),
        "Done!",
    )


def test_between_rooms_only_going_and_done_are_offered():
    task = dataclasses.replace(PNP, start=None, start_steps=(12, 13, 38, 63))
    state = play(task)
    assert state.room is None
    assert state.actions == tuple(f"Go to Room {n}" for n in (1, 2, 3, 4)) + ("Done!",)
    assert steps(rules.step(state, "Go to Room 3")) == 38


def test_objects_believed_to_be_here_may_be_picked_up_with_an_empty_hand():
    state = play(PNP, "Go to Room 2")
    assert "Pick up cup" in state.actions
    assert "Pick up book" not in state.actions
    state = rules.step(state, "Pick up cup")
    assert not any(action.startswith("Pick up") for action in state.actions)


def test_put_is_offered_on_what_can_hold_things_but_not_on_shelves_fridge_and_bench():
    def puts(state):
        return [action for action in state.actions if action.startswith("Put")]

    state = play(PNP, "Go to Room 2", "Pick up cup")
    assert puts(state) == ["Put cup on the couch", "Put cup on the table"]
    state = rules.step(state, "Go to Room 1")
    assert puts(state) == ["Put cup on the counter", "Put cup on the table"]
    state = rules.step(state, "Go to Room 4")
    assert puts(state) == ["Put cup on the bed"]


def test_put_is_offered_only_on_receptacles_seen_in_either_phase():
    known = frozenset({(LIVING, 0), (BED, 0)})
    state = play(dataclasses.replace(PNP, mapped=known), "Go to Room 2", "Pick up cup")
    assert "Put cup on the table" not in state.actions
    assert "Put cup on the table" in rules.step(state, "Explore Room 2").actions


def test_nothing_is_offered_when_the_episode_has_ended():
    state = play(PNP, "Done!")
    assert state.actions == ()
    with pytest.raises(ValueError, match="ended in failure"):
        rules.step(state, "Done!")


# What is seen, and the map.


def test_going_shows_the_first_spot_exploring_the_next_and_round_again():
    hat = place("hat", LIVING, "table")
    task = dataclasses.replace(S_OBJ, objects=(*S_OBJ.objects, hat))
    state = play(task, "Go to Room 2")
    assert not {e for e in entries(state) if e[1] == 2}
    state = rules.step(state, "Explore Room 2")
    assert ("hat", 2, "table", "seen") in entries(state)
    assert not state.view().rooms[LIVING].complete
    state = rules.step(state, "Explore Room 2")
    assert ("cup", 2, "shelves", "seen") in entries(state)
    assert state.view().rooms[LIVING].complete
    again = rules.step(state, "Explore Room 2")
    assert entries(again) == entries(state)


def test_a_room_all_seen_stays_so_however_often_it_is_explored():
    for times in range(2, 12):
        state = play(S_OBJ, "Go to Room 2", *["Explore Room 2"] * times)
        assert state.view().rooms[LIVING] == (2, ("couch", "table", "shelves"), 3, True)


def test_coming_back_goes_on_exploring_where_it_was_left():
    state = play(S_OBJ, "Go to Room 2", "Explore Room 2", "Go to Room 1", "Go to Room 2")
    assert ("cup", 2, "shelves", "seen") in entries(rules.step(state, "Explore Room 2"))


def test_the_order_of_spots_is_the_task_s():
    task = dataclasses.replace(S_OBJ, looks=((0, 1), (2, 0, 1), (0, 1), (0,)))
    assert ("cup", 2, "shelves", "seen") in entries(play(task, "Go to Room 2"))


def test_a_stale_object_stays_on_the_map_when_its_place_is_seen_to_be_empty():
    state = play(S_OBJ)
    assert ("cup", 1, "counter", "premap") in entries(state)
    state = rules.step(state, "Explore Room 1")
    assert ("cup", 1, "counter", "gone") in entries(state)
    assert "Pick up cup" in state.actions


def test_a_moved_object_is_on_the_map_twice_once_it_is_found():
    state = play(S_OBJ, "Go to Room 2", "Explore Room 2", "Explore Room 2")
    assert {e for e in entries(state) if e[0] == "cup"} == {
        ("cup", 1, "counter", "premap"),
        ("cup", 2, "shelves", "seen"),
    }


# Picking up and putting.


def test_a_pick_takes_the_object_and_erases_its_entry():
    state = play(PNP, "Go to Room 2", "Pick up cup")
    assert state.held == "cup"
    assert not any(e[0] == "cup" for e in entries(state))
    assert [placed.object for placed in state.true_objects()] == ["book"]


def test_what_the_map_tells_may_be_picked_up_without_having_been_seen():
    hidden = place("cup", LIVING, "shelves")
    task = dataclasses.replace(PNP, premap=(hidden, BOOK_ON_BED), objects=(hidden, BOOK_ON_BED))
    assert play(task, "Go to Room 2", "Pick up cup").held == "cup"


def test_a_failed_pick_erases_the_stale_entry_and_is_told():
    state = play(S_OBJ, "Pick up cup")
    assert state.held is None
    assert state.outcome is None and not state.invalid
    assert not any(e[0] == "cup" for e in entries(state))
    assert "Pick up cup" not in state.actions
    assert "Pick up cup: That failed" in state.text("full")


def test_a_pick_goes_for_the_nearest_entry_first():
    """One cup was seen on the couch in phase 1 and is on the table now."""
    task = dataclasses.replace(
        S_OBJ,
        premap=(CUP_ON_COUCH, BOOK_ON_BED),
        objects=(place("cup", LIVING, "table"), BOOK_ON_BED),
    )
    state = play(task, "Go to Room 2", "Explore Room 2", "Pick up cup")
    assert state.held is None
    assert entries(state) >= {("cup", 2, "table", "seen")}
    assert rules.step(state, "Pick up cup").held == "cup"


def test_two_objects_of_a_category_are_two():
    two = (CUP_ON_COUCH, place("cup", BED, "bed"))
    task = dataclasses.replace(PNP, premap=two, objects=two)
    state = play(task, "Go to Room 2", "Pick up cup", "Go to Room 4", "Put cup on the bed")
    assert state.true_objects() == (place("cup", BED, "bed"),) * 2
    state = rules.step(state, "Pick up cup")  # takes one; the entry goes, the other stays
    assert not any(e[0] == "cup" for e in entries(state))
    assert ("cup", 4, "bed", "seen") in entries(rules.step(state, "Explore Room 4"))


def test_what_is_put_down_is_there_and_on_the_map():
    state = play(PNP, "Go to Room 2", "Pick up cup", "Go to Room 1", "Put cup on the counter")
    assert state.held is None
    assert ("cup", 1, "counter", "seen") in entries(state)
    assert place("cup", KITCHEN, "counter") in state.true_objects()
    assert rules.step(state, "Pick up cup").held == "cup"


# The human.


def test_s_hum_begins_with_the_query_and_enough_evidence_ends_it():
    state = play(S_HUM)
    assert state.actions == ("Enough Evidence", "Not Enough Evidence")
    state = rules.step(state, EVIDENT)
    assert state.actions == play(PNP).actions
    assert steps(state) == 0


def test_not_enough_evidence_follows_the_human_20_steps_and_asks_again():
    state = play(S_HUM, "Not Enough Evidence")
    assert steps(state) == 20
    assert state.actions == ("Enough Evidence", "Not Enough Evidence")
    assert state.room is None  # between Room 1 and Room 2
    assert state.view().human == (None, LIVING)
    state = rules.step(state, EVIDENT)
    assert steps(rules.step(state, "Go to Room 2")) == 20 + 5
    assert steps(rules.step(state, "Go to Room 1")) == 20 + 20


def test_following_into_a_room_shows_its_first_spot():
    state = play(S_HUM, "Not Enough Evidence", "Not Enough Evidence", "Not Enough Evidence")
    assert state.room == BATH and state.view().rooms[BATH].looks == 1


def test_the_query_ends_when_the_human_stops():
    state = play(S_HUM, *["Not Enough Evidence"] * 4)
    assert steps(state) == 75
    assert state.room == BED
    assert state.view().human == (BED, None)
    assert "Done!" in state.actions


def test_the_query_ends_at_500_low_level_steps():
    task = dataclasses.replace(S_HUM, walk=Walk((KITCHEN, BED), (0, 590)))
    state = play(task, *["Not Enough Evidence"] * 14)
    assert steps(state) == 280 and state.actions == ("Enough Evidence", "Not Enough Evidence")
    # 15 calls end an episode before 500 steps are followed; a state near the limit shows the rule.
    late = state.now._replace(calls=3, steps=480, walked=480)
    asked = rules.step(rules.SifState(state.layout, late), "Not Enough Evidence")
    assert steps(asked) == 500 and not asked.view().asking


def test_the_human_walks_for_as_long_as_the_agent_acts():
    state = play(S_HUM, EVIDENT, "Explore Room 1", "Go to Room 2")  # 16 and 25 of 75 steps
    assert state.now.walked == 41
    assert state.view().human == (KITCHEN, LIVING)  # not seen since
    state = rules.step(state, "Go to Room 4")
    assert state.view().human == (BED, None)  # it stands there


def test_a_human_that_leaves_is_remembered_where_it_was_last_seen():
    task = dataclasses.replace(S_HUM, walk=Walk((KITCHEN, LIVING, BED), (0, 25, 200)))
    state = play(task, EVIDENT, "Go to Room 2")
    assert state.view().human == (LIVING, BED)
    state = rules.step(state, "Explore Room 2")
    assert state.now.walked == 41 and state.view().human == (LIVING, BED)


def test_give_is_offered_where_the_human_goes_and_nowhere_else():
    state = play(S_HUM, EVIDENT, "Go to Room 2", "Pick up cup")
    assert "Give cup to the human" not in state.actions
    elsewhere = rules.step(state, "Give cup to the human")
    assert elsewhere.invalid and elsewhere.outcome == "failure"
    state = rules.step(state, "Go to Room 4")
    assert "Give cup to the human" in state.actions
    state = rules.step(rules.step(state, "Give cup to the human"), "Done!")
    assert state.outcome == "success"


def test_giving_waits_for_a_human_still_on_its_way():
    task = dataclasses.replace(S_HUM, walk=Walk((KITCHEN, BED), (0, 200)))
    before = play(task, EVIDENT, "Go to Room 2", "Pick up cup", "Go to Room 4")
    assert steps(before) == 85
    assert steps(rules.step(before, "Give cup to the human")) == 200 + 1


def test_giving_the_wrong_object_does_not_meet_the_goal():
    # By way of Room 3, since the first other room entered must not be the human's.
    to_bed = [EVIDENT, "Go to Room 3", "Go to Room 4", "Pick up book"]
    assert play(S_HUM, *to_bed, "Give book to the human", "Done!").outcome == "failure"


def test_clear_s_hum_fails_when_the_human_is_gone_to_first():
    way = [EVIDENT, "Go to Room 4", "Go to Room 2", "Pick up cup", "Go to Room 4"]
    way += ["Give cup to the human", "Done!"]
    assert play(S_HUM, *way).outcome == "failure"
    ambiguous = dataclasses.replace(S_HUM, ambiguous=True)
    assert play(ambiguous, *way).outcome == "success"
    assert play(S_HUM, EVIDENT, "Go to Room 3", *way[1:]).outcome == "success"


def test_neither_the_first_room_nor_following_counts_as_entering_another():
    led = [*["Not Enough Evidence"] * 3, EVIDENT, "Go to Room 1"]  # by way of Rooms 2 and 3
    way = ["Go to Room 2", "Pick up cup", "Go to Room 4", "Give cup to the human", "Done!"]
    assert play(S_HUM, *led, *way).outcome == "success"
    assert play(S_HUM, *led, "Go to Room 4", *way).outcome == "failure"


# How an episode ends.


def test_an_invalid_action_ends_the_episode_and_is_scored():
    state = rules.step(play(PNP), "Fly to Room 2")
    assert state.invalid and state.outcome == "failure"
    way = ["Go to Room 2", "Pick up cup", "Go to Room 3", "Put cup on the cabinet"]
    state = rules.step(play(PNP, *way), "done")
    assert state.invalid and state.outcome == "success"
    assert state.measures == {"low_level_steps": 25 + 10 + 25 + 10, "actions": 5}


def test_fifteen_actions_end_the_episode():
    state = play(PNP, *["Explore Room 1"] * 14)
    assert state.outcome is None
    state = rules.step(state, "Explore Room 1")
    assert state.outcome == "truncated" and not state.invalid
    assert state.measures["actions"] == 15


def test_a_goal_met_with_the_last_action_is_a_success():
    way = ["Go to Room 2", "Pick up cup", "Go to Room 3", "Put cup on the cabinet"]
    assert play(PNP, *["Explore Room 1"] * 11, *way).outcome == "success"


def test_done_at_the_last_action_is_a_failure_and_not_truncated():
    assert play(PNP, *["Explore Room 1"] * 14, "Done!").outcome == "failure"


def test_600_low_level_steps_end_the_episode_and_cut_the_action_off():
    walk = ["Go to Room 4", "Go to Room 1"] * 4
    state = play(PNP, "Go to Room 2", "Pick up cup", "Go to Room 1", *walk[:-1])
    assert steps(state) == 60 + 7 * 75  # 585
    cut = rules.step(state, "Go to Room 1")
    assert cut.outcome == "truncated" and steps(cut) == 600
    assert cut.room == BED
    assert "There was no time left." in cut.text("full")


def test_exactly_600_low_level_steps_are_enough():
    state = play(PNP)
    for before, room in [(575, LIVING), (576, KITCHEN)]:  # and the way takes 25
        late = rules.SifState(state.layout, state.now._replace(steps=before))
        last = rules.step(late, "Go to Room 2")
        assert last.outcome == "truncated" and steps(last) == 600 and last.room == room


# The goals.


def test_a_receptacle_goal_is_met_by_any_receptacle_of_the_category():
    task = dataclasses.replace(PNP, goal=Goal("recep", "cup", "table"))
    carry = ["Go to Room 2", "Pick up cup"]
    assert play(task, *carry, "Put cup on the table", "Done!").outcome == "success"
    there = [*carry, "Go to Room 1", "Put cup on the table"]
    assert play(task, *there, "Done!").outcome == "success"
    assert play(task, *carry, "Put cup on the couch", "Done!").outcome == "failure"
    assert play(task, *carry, "Done!").outcome == "failure"


def test_a_room_goal_is_met_with_the_object_there_and_the_hand_empty():
    task = dataclasses.replace(PNP, goal=Goal("room", "cup", "bathroom"))
    carry = ["Go to Room 2", "Pick up cup", "Go to Room 3"]
    assert play(task, *carry, "Done!").outcome == "failure"
    put = [*carry, "Put cup on the toilet"]
    assert play(task, *put, "Done!").outcome == "success"
    full_hand = [*put, "Go to Room 4", "Pick up book"]
    assert play(task, *full_hand, "Done!").outcome == "failure"
    assert play(task, *full_hand, "Put book on the bed", "Done!").outcome == "success"


def test_a_room_may_have_several_functions():
    rooms = list(HOUSE.rooms)
    rooms[BATH] = dataclasses.replace(rooms[BATH], functions=("bathroom", "laundry"))
    house = dataclasses.replace(HOUSE, rooms=tuple(rooms))
    task = dataclasses.replace(PNP, house=house, goal=Goal("room", "cup", "laundry"))
    put = ["Go to Room 2", "Pick up cup", "Go to Room 3", "Put cup on the toilet"]
    assert play(task, *put, "Done!").outcome == "success"


# What it costs.


@pytest.mark.parametrize(
    "actions, cost",
    [
        (["Go to Room 2"], 25),
        (["Go to Room 4"], 75),
        (["Explore Room 1"], 12 + 4),
        (["Go to Room 2", "Explore Room 2", "Explore Room 2"], 25 + 2 * (12 + 4)),
        (["Go to Room 2", *["Explore Room 2"] * 3], 25 + 2 * (12 + 4) + (12 + 8)),
        (["Go to Room 4", "Explore Room 4"], 75 + 12),
        (["Go to Room 2", "Pick up cup"], 25 + 10),
        (["Go to Room 2", "Pick up cup", "Put cup on the table"], 25 + 10 + 10),
        (["Done!"], 0),
    ],
)
def test_low_level_steps(actions, cost):
    state = play(PNP, *actions)
    assert state.measures == {"low_level_steps": cost, "actions": len(actions)}


def test_a_failed_pick_costs_what_a_pick_costs():
    assert steps(play(S_OBJ, "Pick up cup")) == 10
