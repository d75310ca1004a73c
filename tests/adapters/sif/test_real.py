"""Real episode files, written here in the form that is described, become tasks of the same world.

See `real_files` for the scene and its episodes.
"""

import json

import pytest

from adapters.sif import real
from adapters.sif.tasks import Goal, Placed, Sentence, Walk
from adapters.sif.world import SifWorld
from tests.adapters.sif import real_files
from tests.adapters.sif.real_files import ANYWHERE, plan, pnp, pose, s_hum, s_obj

KITCHEN, BEDROOM, OFFICE = range(3)  # Rooms 1, 2, 4
TABLE, COUNTER = 0, 1  # in the kitchen: the table is nearer to the hall


def read(folder, name, *episodes, **options):
    """The split of those episodes, in the scene of `real_files`."""
    real_files.write_scene(folder)
    real_files.write_split(folder, name, list(episodes))
    return real.read_split(folder, name, **options)


def only_task(split):
    assert not split.problems
    [task] = split.tasks
    return task


def test_rooms_come_from_the_annotation_and_furniture_from_what_stands_on_it(tmp_path):
    house = only_task(read(tmp_path, "s_obj_val_seen", s_obj())).house
    assert [(room.number, room.functions, room.receptacles) for room in house.rooms] == [
        (1, ("kitchen",), ("table", "counter")),
        (2, ("bedroom",), ("bed",)),
        (4, ("living room", "office"), ("table",)),
    ]
    assert house.name == "house"


def test_ways_are_straight_lines_between_the_middles_of_rooms(tmp_path):
    house = only_task(read(tmp_path, "pnp_val_seen", pnp())).house
    assert house.steps == ((0, 16, 32), (16, 0, 16), (32, 16, 0))  # 4 m are 16 steps of 25 cm


def test_rooms_with_one_middle_are_a_step_apart(tmp_path):
    annotation = real_files.annotation()
    rooms = annotation["room_assignment"]
    rooms[4] = real_files.mask(-1, -3, 1, -1)  # in the middle of Room 2, which goes round it
    rooms[2] = rooms[2] & ~rooms[4]
    real_files.write_scene(tmp_path, "round", annotation)
    episode = pnp() | {"scene_id": "round.scene_instance.json"}
    episode["rigid_objs"][1][1] = pose(-1.5, -3.5)
    episode["sif_params"]["agent_start_pose"] = pose(0, -2)
    task = only_task(read(tmp_path, "pnp_val_seen", episode))
    assert task.start == OFFICE
    assert task.house.steps[BEDROOM][OFFICE] == 1


def test_a_receptacle_stands_where_the_first_object_on_it_stands(tmp_path):
    episode = pnp()
    episode["rigid_objs"].append(["plate.object_config.json", pose(-1.9, -1)])  # in Room 2
    episode["name_to_receptacle"]["plate_:0000"] = "table_12_:0000|top"
    task = only_task(read(tmp_path, "pnp_val_seen", episode))
    assert task.objects[2:] == (Placed("book", KITCHEN, TABLE), Placed("plate", KITCHEN, TABLE))


def test_pnp(tmp_path):
    task = only_task(read(tmp_path, "pnp_val_seen", pnp()))
    assert (task.name, task.split, task.type) == ("pnp_val_seen/0", "pnp_val_seen", "pnp")
    assert task.premap == task.objects
    assert task.objects == (
        Placed("cup", KITCHEN, COUNTER),
        Placed("book", BEDROOM, 0),
        Placed("book", KITCHEN, TABLE),
    )
    assert (task.start, task.walk, task.sentences, task.ambiguous) == (BEDROOM, None, (), False)
    assert task.command == "Put the cup on the table."
    assert task.goal == Goal("recep", "cup", "table")


def test_s_obj(tmp_path):
    task = only_task(read(tmp_path, "s_obj_val_seen", s_obj()))
    assert task.premap[0] == Placed("cup", OFFICE, 0)
    assert task.objects[0] == Placed("cup", KITCHEN, COUNTER)
    assert task.premap[1:] == task.objects[1:]
    assert task.sentences == (
        Sentence("I had my cup where I cook."),
        Sentence("I was in a hurry."),
    )
    assert (task.goal, task.ambiguous) == (Goal("room", "cup", "living room"), True)


def test_relocation_read_the_other_way_round(tmp_path):
    before = only_task(read(tmp_path, "s_obj_val_seen", s_obj(), reloc="before"))
    after = only_task(read(tmp_path, "s_obj_val_seen", s_obj(), reloc="after"))
    assert (after.premap, after.objects) == (before.objects, before.premap)


def test_s_hum(tmp_path):
    # From (-4, -2) to (4, -3), 8.06 m in 33 steps: through the wall at x = -2 after 2.02 m, at
    # x = 2 after 6.05 m. The walk ends where the human stops.
    task = only_task(read(tmp_path, "s_hum_val_seen", s_hum()))
    assert task.walk == Walk((KITCHEN, BEDROOM, OFFICE), (0, 9, 33))
    assert task.goal == Goal("human", "cup")
    assert task.sentences == (Sentence("I am going to the office."),)


def test_a_human_that_starts_in_free_space_starts_in_the_nearest_room(tmp_path):
    episode = s_hum()
    episode["sif_params"]["human_start_pose"] = pose(-3, 1)
    assert only_task(read(tmp_path, "s_hum_val_seen", episode)).walk.rooms[0] == KITCHEN


def test_a_human_may_stay_where_it_is(tmp_path):
    episode = s_hum()
    episode["sif_params"]["human_start_pose"] = pose(4, -3)
    assert only_task(read(tmp_path, "s_hum_val_seen", episode)).walk == Walk((OFFICE,), (0,))


ROUTES = {
    "pnp_val_seen": ["Go to Room 1", "Pick up cup", "Put cup on the table", "Done!"],
    "s_obj_val_seen": [
        *("Go to Room 1", "Pick up cup", "Go to Room 4"),
        *("Put cup on the table", "Done!"),
    ],
    "s_hum_val_seen": [
        *("Enough Evidence", "Go to Room 1", "Pick up cup", "Go to Room 4"),
        *("Give cup to the human", "Done!"),
    ],
}


@pytest.mark.parametrize("split", ROUTES)
def test_each_type_is_played_to_its_goal_in_the_world(tmp_path, split):
    world = SifWorld(config=None, tasks=real.read_tasks(real_files.write_release(tmp_path)))
    [name] = world.tasks(split)
    state = world.reset(name)
    for action in ROUTES[split]:
        assert action in state.actions
        state = world.step(state, action)
    assert state.outcome == "success"
    task = world.task(name)
    assert task.oracle_actions == state.measures["actions"]
    assert task.oracle_steps == state.measures["low_level_steps"]


def test_what_was_moved_is_found_gone_where_the_premap_has_it(tmp_path):
    world = SifWorld(config=None, tasks=real.read_tasks(real_files.write_release(tmp_path)))
    state = world.reset("s_obj_val_seen/0")  # in Room 4, where the cup was in phase 1
    assert "Pick up cup" in state.actions
    state = world.step(state, "Pick up cup")
    assert state.held is None
    assert "Pick up cup" not in state.actions


def test_an_agent_in_free_space_can_go_or_be_done(tmp_path):
    episode = pnp(agent_start_pose=pose(4, 1))
    task = only_task(read(tmp_path, "pnp_val_seen", episode))
    assert task.start is None
    assert task.start_steps == (35, 20, 12)  # 8.54, 5 and 3 m
    state = SifWorld(config=None, tasks={task.name: task}).reset(task.name)
    assert state.actions == ("Go to Room 1", "Go to Room 2", "Go to Room 4", "Done!")


def test_a_moved_object_stands_on_the_nearest_receptacle_within_a_metre(tmp_path):
    episode = s_obj()
    reloc = episode["sif_params"]["objects_reloc_start_loc"]
    reloc["blue_cup_:0000"] = [-3.5, ANYWHERE, -1.2]  # 0.54 m from the table, 1.7 from the counter
    task = only_task(read(tmp_path, "s_obj_val_seen", episode))
    assert task.premap[0] == Placed("cup", KITCHEN, TABLE)


def test_a_wall_parts_what_is_near(tmp_path):
    episode = s_obj()
    episode["rigid_objs"][1][1] = pose(-1.8, -1)  # so that the bed is just behind the wall
    episode["sif_params"]["objects_reloc_start_loc"] = {"blue_cup_:0000": [-2.1, ANYWHERE, -1]}
    task = only_task(read(tmp_path, "s_obj_val_seen", episode))
    assert task.premap[0] == Placed("cup", KITCHEN, TABLE)


def test_an_object_that_is_near_no_receptacle_stands_on_an_unidentified_one(tmp_path):
    episode = s_obj()
    episode["sif_params"]["objects_reloc_start_loc"] = {
        "blue_cup_:0000": [-4, ANYWHERE, -3.9],
        "book_7_:0001": [-5.8, ANYWHERE, -3.5],
    }
    del episode["name_to_receptacle"]["hat_:0000"]
    episode["rigid_objs"].append(["cap_hat.object_config.json", pose(2.5, -3.5)])
    episode["name_to_receptacle"]["cap_hat_:0000"] = "table_12_:0001|top"
    episode["rigid_objs"][3][1] = pose(5.5, -0.5)
    task = only_task(read(tmp_path, "s_obj_val_seen", episode))
    kitchen, _, office = task.house.rooms
    assert kitchen.receptacles.count("unidentified") == 1
    assert office.receptacles == ("unidentified", "table")
    cup, _, book, hat, _ = task.premap
    assert kitchen.receptacles[cup.receptacle] == kitchen.receptacles[book.receptacle]
    assert kitchen.receptacles[cup.receptacle] == "unidentified"
    assert hat == Placed("hat", OFFICE, 0)


def test_furniture_is_known_from_all_episodes_of_the_scene_in_the_file(tmp_path):
    first, second = pnp(), s_obj() | {"episode_id": "1"}
    both = read(tmp_path, "s_obj_val_seen", first, second).tasks
    assert [task.house.rooms for task in both] == [both[1].house.rooms] * 2
    assert both[0].house.rooms[OFFICE].receptacles == ("table",)


def bathtub_goal():
    episode = pnp()
    episode["sif_params"]["prompt"]["initial"]["recep_eval_notunique"] = "bathtub"
    return episode


def test_a_goal_that_nothing_stands_on_is_where_the_oracle_goes_last(tmp_path):
    real_files.write_plan(tmp_path, "pnp_val_seen", "0", plan(1, 2))
    split = read(tmp_path, "pnp_val_seen", bathtub_goal())
    task = only_task(split)
    assert task.house.rooms[BEDROOM].receptacles.count("bathtub") == 1
    assert task.goal == Goal("recep", "cup", "bathtub")
    assert task.oracle_actions is not None
    assert split.counts["with the goal's receptacle placed by the oracle's plan"] == 1


@pytest.mark.parametrize("unique", ["table", "table_12"])
def test_a_goal_of_one_receptacle_is_a_goal_of_its_category(tmp_path, unique):
    episode = pnp()
    initial = episode["sif_params"]["prompt"]["initial"]
    initial |= {"recep_eval_unique": unique, "recep_eval_notunique": None}
    assert only_task(read(tmp_path, "pnp_val_seen", episode)).goal == Goal("recep", "cup", "table")


def test_handles_that_name_no_category_are_looked_up_in_our_table(tmp_path):
    episode = pnp()
    text = json.dumps(episode).replace("blue_cup", "a1b2").replace("counter_2", "00ff")
    (tmp_path / "categories.json").write_text(json.dumps({"a1b2": "cup", "00ff": "counter"}))
    named = only_task(read(tmp_path, "pnp_val_seen", episode))
    assert only_task(read(tmp_path, "pnp_val_seen", json.loads(text))) == named


def test_a_receptacle_of_no_known_category_is_unidentified_and_counted(tmp_path):
    episode = json.loads(json.dumps(pnp()).replace("counter_2", "00ff"))
    split = read(tmp_path, "pnp_val_seen", episode)
    assert only_task(split).house.rooms[KITCHEN].receptacles == ("table", "unidentified")
    assert split.counts["in a scene with receptacles of no known category"] == 1


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(0, [0]), (1, [1]), (2, [2]), (3, [2, 1]), (8, [2, 2, 2, 2]), (11, [3, 3, 2, 3])],
)
def test_two_receptacles_are_a_spot_in_up_to_four_spots(tmp_path, count, sizes):
    episode = pnp()
    for i in range(count):
        episode["rigid_objs"].append([f"plate_{i}.object_config.json", pose(2.5 + 0.3 * i, -2)])
        episode["name_to_receptacle"][f"plate_{i}_:0000"] = f"chair_{i}|seat"
    task = only_task(read(tmp_path, "pnp_val_seen", episode))
    assert sorted(map(len, task.house.rooms[OFFICE].spots)) == sorted(sizes)
    assert sorted(task.looks[OFFICE]) == list(range(len(sizes)))


def test_a_release_is_read_the_same_way_every_time(tmp_path):
    real_files.write_release(tmp_path)
    assert real.splits(tmp_path) == ("pnp_val_seen", "s_hum_val_seen", "s_obj_val_seen")
    tasks = real.read_tasks(tmp_path)
    assert list(tasks) == ["pnp_val_seen/0", "s_hum_val_seen/0", "s_obj_val_seen/0"]
    assert real.read_tasks(tmp_path) == tasks
    assert list(real.read_tasks(tmp_path, ["s_obj_val_seen"])) == ["s_obj_val_seen/0"]


@pytest.mark.parametrize(
    ("rooms", "pick", "reloc", "remark"),
    [
        ((1, 4), 1, "before", "is when the task begins"),
        ((1, 4), 1, "after", "is in phase 1 alone"),
        ((2, 4), 2, "before", "no object of the goal has been"),
    ],
)
def test_the_plan_tells_which_way_round_the_relocation_is_meant(
    tmp_path, rooms, pick, reloc, remark
):
    real_files.write_plan(tmp_path, "s_obj_val_seen", "0", plan(*rooms, pick=pick))
    counts = read(tmp_path, "s_obj_val_seen", s_obj(), reloc=reloc).counts
    assert [count for what, count in counts.items() if remark in what] == [1]
    assert sum("whose plan picks" in what for what in counts) == 1


def test_a_plan_tells_nothing_of_the_relocation_where_nothing_was_moved(tmp_path):
    real_files.write_plan(tmp_path, "pnp_val_seen", "0", plan(1))
    assert read(tmp_path, "pnp_val_seen", pnp()).counts == {}


def test_an_episode_without_a_plan_is_used_and_counted(tmp_path):
    split = read(tmp_path, "pnp_val_seen", pnp())
    assert split.counts == {"without an oracle's plan": 1}
    assert len(split.tasks) == 1


def test_a_task_that_the_scripted_oracle_fails_is_used_and_counted(tmp_path):
    # The human goes to the one room that it must not enter first, and there is no other.
    episode = s_hum()
    real_files.write_scene(tmp_path, "flat", flat())
    episode["scene_id"] = "flat.scene_instance.json"
    split = read(tmp_path, "s_hum_val_seen", episode)
    task = only_task(split)
    assert (task.oracle_actions, task.oracle_steps) == (None, None)
    assert split.counts["not solved by the scripted oracle"] == 1


def flat():
    annotation = real_files.annotation()
    for part in annotation.values():
        part[1] = part[1] | part.pop(2)
    return annotation
