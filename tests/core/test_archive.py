"""Archives are written whole or not at all, and damage never goes unnoticed."""

import errno
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from core import archive

FIELDS = {"x": archive.Field(np.int64, 1), "y": archive.Field(np.float64, 0)}
ARRAYS = {"x": np.arange(5), "y": np.array(0.5)}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "some.npz"
    archive.write(path, "thing", 1, ARRAYS)
    return path


def test_round_trip(path):
    arrays = archive.read(path, "thing", 1, FIELDS)
    assert list(arrays) == ["x", "y"]
    np.testing.assert_array_equal(arrays["x"], np.arange(5))
    assert arrays["y"] == 0.5


def test_file_has_the_permissions_of_any_new_file(path, tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("step", ["savez", "fsync", "replace"])
def test_failed_write_leaves_the_old_file_and_no_other(path, monkeypatch, step):
    def fail(*args, **kwargs):
        if step == "savez":
            args[0].write(b"half of a")
        raise OSError(errno.ENOSPC, "No space left on device")

    before = path.read_bytes()
    monkeypatch.setattr(np if step == "savez" else os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        archive.write(path, "thing", 1, {"x": np.zeros(9, np.int64), "y": np.array(1.0)})
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_kill_in_the_middle_of_a_write_leaves_the_old_file(path):
    child = """if True:
        import os, signal, sys
        import numpy as np
        from core import archive

        def killed(file, **arrays):
            file.write(b"half of a")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

        np.savez = killed
        archive.write(sys.argv[1], "thing", 1, {})
    """
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", child, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    assert len(os.listdir(path.parent)) == 2  # the half file lies beside it under another name


def test_write_into_a_missing_folder_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        archive.write(tmp_path / "nowhere" / "some.npz", "thing", 1, {})


def test_read_of_a_missing_file_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.npz"):
        archive.read(tmp_path / "absent.npz", "thing", 1, FIELDS)


def test_any_truncation_is_found(path):
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="some.npz"):
            archive.read(path, "thing", 1, FIELDS)


def test_any_damaged_byte_is_found_or_harmless(path):
    whole = path.read_bytes()
    found = 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            arrays = archive.read(path, "thing", 1, FIELDS)
        except ValueError:
            found += 1
        else:
            np.testing.assert_array_equal(arrays["x"], np.arange(5))
            assert arrays["y"] == 0.5
    assert found > len(whole) / 2  # the rest is times of day and the like


@pytest.mark.parametrize(
    ("arrays", "kind", "version", "message"),
    [
        (ARRAYS, "other", 1, "holds 'other 1', expected 'thing 1'"),
        (ARRAYS, "thing", 2, "holds 'thing 2', expected 'thing 1'"),
        ({"x": np.arange(5)}, "thing", 1, r"holds arrays \['x'\], expected \['x', 'y'\]"),
        ({"x": np.ones(5), "y": np.array(0.5)}, "thing", 1, "x is float64 with 1 dimensions"),
        ({"x": np.arange(5), "y": np.ones(2)}, "thing", 1, "y is float64 with 1 dimensions"),
    ],
)
def test_another_kind_of_file_is_refused(path, arrays, kind, version, message):
    archive.write(path, kind, version, arrays)
    with pytest.raises(ValueError, match=message):
        archive.read(path, "thing", 1, FIELDS)


def test_an_archive_without_a_format_is_refused(path):
    np.savez(path, **ARRAYS)
    with pytest.raises(ValueError, match="holds 'no format'"):
        archive.read(path, "thing", 1, FIELDS)


def test_pickled_objects_are_refused(path):
    np.savez(path, x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="not a readable thing file"):
        archive.read(path, "thing", 1, FIELDS)
