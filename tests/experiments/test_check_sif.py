"""The script that checks a download of SIF, run as a user would."""

import os
import subprocess
import sys

import numpy as np

from tests.adapters.sif import real_files
from tests.adapters.sif.real_files import pnp


def check(*flags):
    command = [sys.executable, "-m", "experiments.check_sif", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_release_as_described_is_counted_by_file(tmp_path):
    done = check(f"--data={real_files.write_release(tmp_path)}")
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["file", "episodes", "usable", "rooms", "receptacles"]
        + ["objects", "moved", "L*", "actions", "L*", "steps"],
        ["pnp_val_seen", *"1 1 3.0 3.0 3.0 0.0 4.0 36.0".split()],
        ["s_hum_val_seen", *"1 1 3.0 3.0 3.0 0.0 6.0 59.0".split()],
        ["s_obj_val_seen", *"1 1 3.0 4.0 4.0 1.0 5.0 84.0".split()],
        ["all", "3", "3"],
        "s_obj_val_seen: 1 of 1 whose plan picks something up where an object of the goal is "
        "when the task begins".split(),
    ]


def test_what_cannot_be_used_is_listed_with_its_reason_and_the_rest_is_used(tmp_path):
    real_files.write_release(tmp_path)
    bad = [pnp() | {"episode_id": f"{i}", "sif_params": i} for i in range(2)]
    lost = [
        pnp() | {"episode_id": f"{i}", "scene_id": "attic.scene_instance.json"} for i in range(2, 9)
    ]
    good = pnp() | {"episode_id": "9"}
    path = real_files.write_split(tmp_path, "pnp_test_seen", [*bad, *lost, good])
    truncated = real_files.write_split(tmp_path, "s_obj_test_seen", [pnp()])
    truncated.write_bytes(truncated.read_bytes()[:-9])
    forbidden = real_files.write_scene(tmp_path, "cellar", value=os.system)
    empty = real_files.write_scene(
        tmp_path, "hut", value=real_files.annotation() | {"room_assignment": {1: np.zeros(3)}}
    )
    done = check(f"--data={tmp_path}")
    assert (done.returncode, done.stderr) == (1, "")
    rows = {line.split()[0]: line.split()[1:3] for line in done.stdout.splitlines()[1:7]}
    assert rows == {
        "pnp_test_seen": ["10", "1"],
        "pnp_val_seen": ["1", "1"],
        "s_hum_val_seen": ["1", "1"],
        "s_obj_test_seen": ["0", "0"],
        "s_obj_val_seen": ["1", "1"],
        "all": ["13", "4"],
    }
    _, listed = done.stdout.split("\nNot used, for 6 reasons:\n")
    attic = tmp_path / "room_annotations" / "attic" / "room_annotation_dict.p"
    assert [line.strip() for line in listed.splitlines()] == [
        f"{path}: episodes[0].sif_params is 0, expected a mapping",
        f"{path}: episodes[1].sif_params is 1, expected a mapping",
        f"[Errno 2] No such file or directory: '{attic}' (7 episodes: episodes[2], episodes[3], "
        "episodes[4], episodes[5], episodes[6] and 2 more)",
        f"{truncated}: damaged gzip: Compressed file ended before the end-of-stream marker was "
        "reached",
        f"{forbidden}: not a pickle of plain data: asks for posix.system, expected plain data: "
        "numbers, texts, containers, numpy arrays",
        f"{empty}: room_assignment[1] is an array of float64, [3], expected an array of numbers, "
        "[720, 720]",
    ]


def test_the_other_reading_of_the_relocation(tmp_path):
    done = check(f"--data={real_files.write_release(tmp_path)}", "--reloc=after")
    assert done.returncode == 0, done.stderr
    assert "where an object of the goal is in phase 1 alone" in done.stdout


def test_a_folder_without_episodes_gets_one_line(tmp_path):
    done = check(f"--data={tmp_path}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"check_sif: {tmp_path} holds no jsons/*.json.gz, expected the folder of a SIF release.\n"
    )


def test_a_stray_argument_gets_one_line(tmp_path):
    done = check(f"--data={tmp_path}", "here")
    assert done.returncode == 1
    assert done.stderr == "check_sif: unexpected argument 'here'.\n"
