"""What is wrong with a real file is named with the file, the place in it and what was expected.

Every file of these tests holds a good episode after the bad one, which has to be used all the same.
"""

import os
import re

import numpy as np
import pytest

from adapters.sif import real
from tests.adapters.sif import real_files
from tests.adapters.sif.real_files import ANYWHERE, mask, plan, pnp, pose, s_hum, s_obj, step


def problem(folder, name="pnp_val_seen"):
    """The one problem of a split, of which everything but the first episode is used."""
    split = real.read_split(folder, name)
    assert [task.name for task in split.tasks] == [f"{name}/good"]
    assert split.episodes == 2
    [(why, episodes)] = split.problems.items()
    assert episodes == ("episodes[0]",)
    return why


def write(folder, episode, good, name):
    real_files.write_scene(folder)
    real_files.write_split(folder, name, [episode, good | {"episode_id": "good"}])
    return folder


def changed(episode, path, *value):
    """The episode with the value at a path like ("sif_params", "prompt") changed; none: removed."""
    *parents, last = path
    holder = episode
    for key in parents:
        holder = holder[key]
    if value:
        [holder[last]] = value
    else:
        del holder[last]
    return episode


PARAMS = ("sif_params",)
PROMPT = (*PARAMS, "prompt")
INITIAL = (*PROMPT, "initial")
RELOC = (*PARAMS, "objects_reloc_start_loc")


@pytest.mark.parametrize(
    "path",
    [
        *(("episode_id",), ("scene_id",), ("rigid_objs",), ("name_to_receptacle",), PARAMS, PROMPT),
        *((*PARAMS, "ambiguous"), (*PARAMS, "agent_start_pose"), RELOC),
        *((*PROMPT, "recep_type"), INITIAL, (*PROMPT, "intermediate")),
        *((*INITIAL, "prompt"), (*INITIAL, "obj_eval")),
        *((*INITIAL, "recep_eval_unique"), (*INITIAL, "recep_eval_notunique")),
    ],
)
def test_a_missing_field_is_named(tmp_path, path):
    write(tmp_path, changed(pnp(), path), pnp(), "pnp_val_seen")
    expected = f"pnp_val_seen.json.gz: episodes[0].{'.'.join(path)} is missing"
    assert problem(tmp_path).endswith(f"{os.sep}{expected}")


@pytest.mark.parametrize(
    "path", [(*PARAMS, "human_start_pose"), (*PARAMS, "human_dest_pose"), (*INITIAL, "prompt")]
)
def test_a_missing_field_of_the_human_is_named(tmp_path, path):
    write(tmp_path, changed(s_hum(), path), s_hum(), "s_hum_val_seen")
    assert f"episodes[0].{'.'.join(path)} is missing" in problem(tmp_path, "s_hum_val_seen")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("episode_id",), 3, "episode_id is 3, expected a str that is not empty"),
        (("episode_id",), "../0", "episode_id is '../0', expected letters, digits, _ and -"),
        (("scene_id",), "scenes/", "scene_id is 'scenes/', expected a path that ends in NAME.sc"),
        (("scene_id",), "a/..", "scene_id is 'a/..', expected a path that ends in NAME.scene_inst"),
        (("rigid_objs",), {}, "rigid_objs is {}, expected a list"),
        (("rigid_objs", 1), ["book"], "rigid_objs[1] is ['book'], expected 2 items"),
        (
            ("rigid_objs", 0, 0),
            "vase",
            "rigid_objs[0][0] is 'vase', expected a name with one of ba",
        ),
        (("rigid_objs", 0, 0), "cupboard_3", "'cupboard_3', expected a name with one of basket"),
        (("rigid_objs", 0, 0), "teacup_3", "'teacup_3', expected a name with one of basket"),
        (("rigid_objs", 0, 0), "cup_hat", "'cup_hat', expected a name with one of basket"),
        (("rigid_objs", 0, 1), [1, 2, 3], "rigid_objs[0][1] is [1, 2, 3], expected 4 items"),
        (
            ("rigid_objs", 0, 1, 0, 3),
            "x",
            "rigid_objs[0][1][0][3] is 'x', expected a finite number",
        ),
        (("rigid_objs", 0, 1, 0, 3), float("nan"), "[0][3] is nan, expected a finite number"),
        (("rigid_objs", 0, 1, 3), [5, 0, 0, 1], "expected a 4 x 4 pose with the last row 0, 0, 0"),
        (("rigid_objs", 0, 1), pose(-5, -9), "a place in the house; it is in no room, at row 180"),
        (("rigid_objs", 0, 1), pose(99, 0), "expected a place in the house; it is in no room"),
        (("rigid_objs", 0, 1), pose(0, 1), "expected a place in a room; it lies in free space"),
        (("name_to_receptacle", "cup_:0000"), "bed", "['cup_:0000'] is none of rigid_objs"),
        (("name_to_receptacle", "blue_cup_:0000"), None, "expected a str that is not empty"),
        (PARAMS, [], "sif_params is [], expected a mapping"),
        ((*PARAMS, "ambiguous"), 1, "sif_params.ambiguous is 1, expected true or false"),
        ((*PARAMS, "agent_start_pose"), pose(0, 3), "it is in no room, at row 420, column 360"),
        (
            (*RELOC, "hat_:0000"),
            [0, 0, -1],
            "objects_reloc_start_loc['hat_:0000'] is none of rigid",
        ),
        ((*RELOC, "blue_cup_:0000"), [0, 1], "expected 3 items"),
        ((*RELOC, "blue_cup_:0000"), [0, 0, 1], "expected a place in a room; it lies in free"),
        ((*PROMPT, "recep_type"), None, "prompt.recep_type is None, expected a str"),
        (
            (*PROMPT, "recep_type"),
            "human",
            "goal.kind is 'human', expected one of ('recep', 'room')",
        ),
        ((*PROMPT, "intermediate"), "no", "intermediate is 'no', expected a list"),
        ((*PROMPT, "intermediate"), [{}], "intermediate[0].prompt is missing"),
        (
            (*PROMPT, "intermediate"),
            [{"prompt": {"sentences": ["a"]}}],
            "intermediate[0].prompt.sentences is ['a'], expected a str",
        ),
        ((*INITIAL, "prompt"), "", "initial.prompt is '', expected a str that is not empty"),
        (
            (*INITIAL, "obj_eval"),
            "vase",
            "initial.obj_eval is 'vase', expected one of basket, book",
        ),
        ((*INITIAL, "obj_eval"), "hat", "goal.object is 'hat', expected one of ['book', 'cup']"),
        ((*INITIAL, "recep_eval_notunique"), "fridge", "'fridge', expected null or one of chair"),
        ((*INITIAL, "recep_eval_notunique"), "car", "nothing stands on a car in any episode of ho"),
        ((*INITIAL, "recep_eval_notunique"), None, "initial.room_function is None, expected a str"),
    ],
)
def test_a_wrong_value_is_named(tmp_path, path, value, message):
    write(tmp_path, changed(pnp(), path, value), pnp(), "pnp_val_seen")
    why = problem(tmp_path)
    assert "pnp_val_seen.json.gz: episodes[0]" in why
    assert message in why


def test_a_room_that_nothing_can_be_put_down_in_is_no_goal(tmp_path):
    episode = s_obj()
    del episode["name_to_receptacle"]["hat_:0000"], episode["rigid_objs"][3]
    episode["sif_params"]["objects_reloc_start_loc"] = {}
    write(tmp_path, episode, pnp(), "s_obj_val_seen")
    why = problem(tmp_path, "s_obj_val_seen")
    assert "nothing stands in a room with the function 'living room' in any episode of house" in why


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            (*INITIAL, "walking_to_room"),
            2,
            "is 2, expected the room of human_dest_pose, which lies",
        ),
        ((*INITIAL, "walking_to_room"), 3, "is 3, expected the number of a room, one of (1, 2, 4)"),
        ((*INITIAL, "walking_to_room"), "4", "walking_to_room is '4', expected a whole number"),
        ((*PARAMS, "human_dest_pose"), [4, ANYWHERE, 1], "a place in a room; it lies in free sp"),
        (
            (*PARAMS, "human_start_pose"),
            [4, ANYWHERE, -1],
            "human_start_pose is [4, -9.0, -1], exp",
        ),
        ((*PROMPT, "recep_type"), "table", "initial.room_function is None, expected a str"),
    ],
)
def test_a_wrong_value_of_the_human_is_named(tmp_path, path, value, message):
    write(tmp_path, changed(s_hum(), path, value), s_hum(), "s_hum_val_seen")
    assert message in problem(tmp_path, "s_hum_val_seen")


def test_two_episodes_of_one_id_are_told_apart_by_nobody(tmp_path):
    real_files.write_scene(tmp_path)
    real_files.write_split(tmp_path, "pnp_val_seen", [pnp(), pnp()])
    split = real.read_split(tmp_path, "pnp_val_seen")
    [(why, episodes)] = split.problems.items()
    assert "episodes[1].episode_id is '0', expected one of its own; episodes[0] has the same" in why
    assert (len(split.tasks), episodes) == (1, ("episodes[1]",))


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({}, "the file is {}, expected a list"),
        ([3], "[0] is 3, expected a mapping"),
        ([step(None, 1)], "[0].hl_tool is None, expected a str"),
        (
            [step("go", 7)],
            "[0].chosen_room_number is 7, expected the number of a room, one of (1, 2",
        ),
        ([step("go", "1")], "[0].chosen_room_number is '1', expected a whole number"),
        ([step("pick", None, "cup")], "[0].ll_argument is 'cup', expected a mapping"),
        ([step("pick", None, {"obj": "cup"})], "[0].ll_argument.in_room is missing"),
        ([step("pick", 1, {"obj": "cup", "in_room": 3})], "[0].ll_argument.in_room is 3, expected"),
        ([{"hl_tool": "go"}], "[0].chosen_room_number is missing"),
        (os.system, "not a pickle of plain data: asks for posix.system"),
    ],
)
def test_a_wrong_plan_is_named(tmp_path, steps, message):
    write(tmp_path, pnp(), pnp(), "pnp_val_seen")
    real_files.write_plan(tmp_path, "pnp_val_seen", "0", steps)
    real_files.write_plan(tmp_path, "pnp_val_seen", "good", plan(1))
    why = problem(tmp_path)
    assert why.startswith(str(tmp_path / "jsons" / "oracle_pddl" / "pnp_val_seen" / "0.p"))
    assert message in why


def without(part, key):
    annotation = real_files.annotation()
    del (annotation[part] if part else annotation)[key]
    return annotation


def with_(part, key, value):
    annotation = real_files.annotation()
    annotation[part][key] = value
    return annotation


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "the file is [], expected a mapping"),
        (without("", "room_assignment"), "room_assignment is missing"),
        (without("", "human_annotation"), "human_annotation is missing"),
        (
            without("human_annotation", 2),
            "expected the functions of every room; there are none of 2",
        ),
        (
            with_("human_annotation", 2, set()),
            "human_annotation[2] is set(), expected a set of room",
        ),
        (
            with_("human_annotation", 2, "bedroom"),
            "human_annotation[2] is 'bedroom', expected a set",
        ),
        (with_("human_annotation", 2, {3}), "human_annotation[2] is {3}, expected a set of room"),
        (with_("human_annotation", "attic", {"a"}), "'attic' has no number, expected a room's"),
        (
            with_("room_assignment", "hall", mask(0, 0, 1, 1)),
            "room_assignment.hall: 'hall' has no nu",
        ),
        (with_("room_assignment", 1.5, mask(0, 0, 1, 1)), "[1.5]: 1.5 has no number, expected"),
        (
            with_("room_assignment", "room_2", mask(0, 0, 1, 1)),
            "a room other than 2: both are Room 2",
        ),
        (
            with_("room_assignment", 2, np.zeros((720, 720))),
            "expected a mask with at least one cell",
        ),
        (with_("room_assignment", 2, np.ones((72, 72))), "an array of numbers, [720, 720]"),
        (with_("room_assignment", 2, np.full((720, 720), "x")), "an array of numbers, [720, 720]"),
        (with_("room_assignment", 2, None), "room_assignment[2] is None, expected an array"),
        (
            {"room_assignment": {"free_space": mask(0, 0, 1, 1)}, "human_annotation": {}},
            "expected at least one room",
        ),
    ],
)
def test_a_wrong_annotation_is_named_once_for_all_its_episodes(tmp_path, value, message):
    write(tmp_path, pnp(), pnp(), "pnp_val_seen")
    path = real_files.write_scene(tmp_path, value=value)
    split = real.read_split(tmp_path, "pnp_val_seen")
    [(why, episodes)] = split.problems.items()
    assert why.startswith(f"{path}: ")
    assert message in why
    assert (split.tasks, episodes) == ((), ("episodes[0]", "episodes[1]"))


def test_rooms_may_be_named_by_texts_and_masks_be_of_any_numbers(tmp_path):
    write(tmp_path, pnp(), pnp(), "pnp_val_seen")
    expected = real.read_split(tmp_path, "pnp_val_seen").tasks
    annotation = real_files.annotation()
    named = {
        "room_assignment": {
            key if key == "free_space" else f"room_{key}": cells.astype(np.float32)
            for key, cells in annotation["room_assignment"].items()
        },
        "human_annotation": {
            str(key): sorted(names) for key, names in annotation["human_annotation"].items()
        },
    }
    real_files.write_scene(tmp_path, value=named)
    assert real.read_split(tmp_path, "pnp_val_seen").tasks == expected


def test_a_cell_of_two_rooms_belongs_to_the_lower_number(tmp_path):
    write(tmp_path, pnp(), pnp(), "pnp_val_seen")
    annotation = real_files.annotation()
    annotation["room_assignment"][1] |= mask(-2, -4, 1, 0)  # most of Room 2
    real_files.write_scene(tmp_path, value=annotation)
    task = real.read_split(tmp_path, "pnp_val_seen").tasks[0]
    assert task.objects[1].room == task.start == 0


def test_a_scene_without_annotation_is_named(tmp_path):
    write(tmp_path, pnp() | {"scene_id": "x/attic.scene_instance.json"}, pnp(), "pnp_val_seen")
    expected = re.escape(str(tmp_path / "room_annotations" / "attic" / "room_annotation_dict.p"))
    assert re.search(f"No such file .*{expected}", problem(tmp_path))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("pnp_val_seen", lambda data: data[:-20], "damaged gzip: Compressed file ended"),
        ("pnp_val_seen", lambda data: data[:40] + b"\0\0" + data[42:], "damaged gzip: "),
        ("pnp_val_seen", lambda data: b"{}", "damaged gzip: Not a gzipped file"),
        ("pnp_val_seen", lambda data: real_files.zipped(b'{"episodes": ['), "not JSON: Expecting"),
        ("pnp_val_seen", lambda data: real_files.zipped(b"\xff"), "not JSON: 'utf-8' codec"),
        (
            "pnp_val_seen",
            lambda data: real_files.zipped(b"[" * 10**6),
            "not JSON: maximum recursion",
        ),
        (
            "pnp_val_seen",
            lambda data: real_files.zipped(b"[]"),
            "the file is [], expected a mapping",
        ),
        ("pnp_val_seen", lambda data: real_files.zipped(b"{}"), "episodes is missing"),
        ("pnp_val_seen", lambda data: real_files.zipped(b'{"episodes": 3}'), "episodes is 3, exp"),
        (
            "val_seen",
            lambda data: data,
            "its name tells no type, expected one of ('pnp', 's_obj', ",
        ),
        ("pnp_s_obj", lambda data: data, "its name tells no type, expected one of"),
    ],
)
def test_a_file_that_cannot_be_used_at_all_is_named(tmp_path, name, damage, message):
    path = real_files.write_split(tmp_path, name, [pnp()])
    path.write_bytes(damage(path.read_bytes()))
    split = real.read_split(tmp_path, name)
    [(why, episodes)] = split.problems.items()
    assert why.startswith(f"{path}: ")
    assert message in why
    assert (split.episodes, split.tasks, episodes) == (0, (), ())
    with pytest.raises(ValueError, match=re.escape(why)):
        real.read_tasks(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON: Expecting"),
        ("[]", "the file is [], expected a mapping"),
        ('{"cup": 3}', "cup is 3, expected a str"),
    ],
)
def test_a_wrong_table_of_categories_is_named(tmp_path, text, message):
    write(tmp_path, pnp(), pnp(), "pnp_val_seen")
    (tmp_path / "categories.json").write_text(text)
    [why] = real.read_split(tmp_path, "pnp_val_seen").problems
    assert why.startswith(f"{tmp_path / 'categories.json'}: ")
    assert message in why


def test_a_category_that_is_none_of_the_worlds_is_no_category(tmp_path):
    write(tmp_path, pnp(), pnp(), "pnp_val_seen")
    (tmp_path / "categories.json").write_text('{"blue_cup": "vase"}')
    [why, _] = real.read_split(tmp_path, "pnp_val_seen").problems
    assert "episodes[0].rigid_objs[0][0] is 'objects/blue_cup.object_config.json', expected" in why


def test_a_split_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="holds no jsons/.*json.gz, expected the folder of a SIF"):
        real.splits(tmp_path)
    [why] = real.read_split(tmp_path, "pnp_val_seen").problems
    assert "No such file" in why
    assert "pnp_val_seen.json.gz" in why


def test_wrong_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match="reloc is 'both', expected 'before' or 'after'"):
        real.read_split(tmp_path, "pnp_val_seen", reloc="both")
