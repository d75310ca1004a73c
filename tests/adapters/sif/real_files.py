"""A release of SIF in small, in the form that `adapters.sif.real` describes.

The scene "house" from above, in metres; z grows downwards. The hall is free space.

       x  -6        -2         2         6
    z -4  +----------+---------+---------+
          |  Room 1  |  Room 2 |  Room 4 |
          |  kitchen |  bedroom|  office |
    z  0  +----------+---------+---------+
          |              hall            |
    z  2  +------------------------------+

Room 1 has a counter (-5, -2) and a table (-3, -1), Room 2 a bed (0, -3), Room 4 a table (4, -2).
"""

import copy
import gzip
import json
import pickle

import numpy as np

ROOMS = {1: (-6.0, -4.0, -2.0, 0.0), 2: (-2.0, -4.0, 2.0, 0.0), 4: (2.0, -4.0, 6.0, 0.0)}
HALL = (-6.0, 0.0, 6.0, 2.0)
FUNCTIONS = {1: {"kitchen"}, 2: {"bedroom"}, 4: {"office", "living room"}}
ANYWHERE = -9.0  # the height of things does not matter


def mask(x_low, z_low, x_high, z_high):
    """The cells of a rectangle on the map."""
    cells = np.zeros((720, 720), bool)
    columns = slice(round(360 + x_low / 0.05), round(360 + x_high / 0.05))
    cells[round(360 + z_low / 0.05) : round(360 + z_high / 0.05), columns] = True
    return cells


def annotation():
    """What room_annotation_dict.p holds."""
    rooms = {number: mask(*bounds) for number, bounds in ROOMS.items()}
    return {
        "room_assignment": rooms | {"free_space": mask(*HALL)},
        "human_annotation": copy.deepcopy(FUNCTIONS),
    }


def pose(x, z):
    """A 4 x 4 pose at a point of the floor."""
    return [[0, 0, 1, x], [0, 1, 0, ANYWHERE], [-1, 0, 0, z], [0, 0, 0, 1]]


def pnp(**sif_params):
    """A cup on the counter in Room 1; to be put on a table. A book lies on the bed."""
    return {
        "episode_id": "0",
        "scene_id": "data/scenes/house.scene_instance.json",
        "load_from_json": "exploration",
        "load_from_json_ep_idx": "0",
        "rigid_objs": [
            ["objects/blue_cup.object_config.json", pose(-5, -2)],
            ["objects/book_7.object_config.json", pose(0, -3)],
            ["objects/book_7.object_config.json", pose(-3, -1)],
        ],
        "name_to_receptacle": {
            "blue_cup_:0000": "counter_2_:0000|top",
            "book_7_:0000": "bed_:0000|top",
            "book_7_:0001": "table_12_:0000|top",
        },
        "sif_params": {
            "ambiguous": False,
            "agent_start_pose": pose(0, -1),
            "human_start_pose": pose(-4, -2),
            "human_dest_pose": [4, ANYWHERE, -3],
            "objects_reloc_start_loc": {},
            "prompt": {
                "recep_type": "table",
                "initial": {
                    "prompt": "Put the cup on the table.",
                    "obj_eval": "cup",
                    "recep_eval_unique": None,
                    "recep_eval_notunique": "table",
                    "room_function": None,
                    "walking_to_room": None,
                },
                "intermediate": [],
            },
        }
        | sif_params,
    }


def s_obj():
    """As `pnp`, but in phase 1 the cup stood in Room 4, where a hat is on the table."""
    episode = pnp(ambiguous=True, agent_start_pose=pose(5, -1))
    episode["rigid_objs"].append(["objects/hat.object_config.json", pose(4, -2)])
    episode["name_to_receptacle"]["hat_:0000"] = "table_12_:0001|top"
    params = episode["sif_params"]
    params["objects_reloc_start_loc"] = {"blue_cup_:0000": [4.5, ANYWHERE, -2.5]}
    params["prompt"]["initial"]["prompt"] = "Bring the cup to the living room."
    params["prompt"]["initial"]["recep_eval_notunique"] = None
    params["prompt"]["initial"]["room_function"] = "living room"
    params["prompt"]["intermediate"] = [
        {"prompt": {"sentences": "I had my cup where I cook."}},
        {"prompt": {"sentences": "I was in a hurry."}},
    ]
    return episode


def s_hum():
    """As `pnp`, but the human, who walks from Room 1 to Room 4, is to get the cup."""
    episode = pnp()
    prompt = episode["sif_params"]["prompt"]
    prompt["recep_type"] = "human"
    prompt["initial"] |= {"prompt": "Bring me the cup.", "recep_eval_notunique": None}
    prompt["initial"]["walking_to_room"] = 4
    prompt["intermediate"] = [{"prompt": {"sentences": "I am going to the office."}}]
    return episode


def plan(*rooms, pick=1):
    """An oracle's plan that goes to those rooms and picks the cup up in one of them."""
    steps = []
    for room in rooms:
        steps.append(step("go", room))
        if room == pick:
            steps.append(step("pick", None, {"obj": "cup", "in_room": room}))
    return [*steps, step("place", None, {"obj": "cup", "in_room": None}), step("Done!", None)]


def step(tool, room, argument=None):
    return {"hl_tool": tool, "chosen_room_number": room, "ll_argument": argument}


def write_split(data, name, episodes):
    """Writes jsons/<name>.json.gz; gives its path."""
    path = data / "jsons" / f"{name}.json.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(zipped(json.dumps({"episodes": episodes}).encode()))
    return path


def zipped(data):
    return gzip.compress(data, mtime=0)


def write_pickle(path, value, protocol=4):
    """Writes a pickle, and the folders that it needs; gives its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def write_scene(data, name="house", value=None):
    """Writes room_annotation_dict.p of a scene; gives its path."""
    path = data / "room_annotations" / name / "room_annotation_dict.p"
    return write_pickle(path, annotation() if value is None else value)


def write_plan(data, split, episode_id, value):
    """Writes an oracle's plan; gives its path."""
    return write_pickle(data / "jsons" / "oracle_pddl" / split / f"{episode_id}.p", value)


def write_release(data):
    """Writes one split of each type, one episode in each, with plans."""
    write_scene(data)
    write_split(data, "pnp_val_seen", [pnp()])
    write_split(data, "s_obj_val_seen", [s_obj()])
    write_split(data, "s_hum_val_seen", [s_hum()])
    write_plan(data, "pnp_val_seen", "0", plan(1))
    write_plan(data, "s_obj_val_seen", "0", plan(1, 4))
    write_plan(data, "s_hum_val_seen", "0", plan(1, 2, 4))
    return data
