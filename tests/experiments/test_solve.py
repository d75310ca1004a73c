"""The script that plans a budget from a file of counts, run as a user would."""

import csv
import subprocess
import sys

import numpy as np
import pytest

from core.transitions import FAILURE, SUCCESS, TransitionCounts


def solve(*flags):
    command = [sys.executable, "-m", "experiments.solve", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def counts_file(tmp_path):
    # One state: nohelp succeeds in 1 of 4, help in 3 of 4.
    counts = TransitionCounts(2)
    counts.add([0] * 4, [0] * 4, [SUCCESS, FAILURE, FAILURE, FAILURE])
    counts.add([0] * 4, [1] * 4, [SUCCESS, SUCCESS, SUCCESS, FAILURE])
    path = tmp_path / "counts.npz"
    counts.save(path)
    return path


def test_half_a_call_buys_half_of_the_gain(tmp_path, counts_file):
    out = tmp_path / "out"
    done = solve(f"--counts={counts_file}", "--budget=0.5,2", f"--out={out}")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[2:4]]
    assert [row[:3] for row in rows] == [["0.500", "0.500", "50.0%"], ["2.000", "1.000", "75.0%"]]
    with open(out / "frontier.csv") as file:
        vertices = [[float(x) for x in row] for row in list(csv.reader(file))[1:]]
    np.testing.assert_allclose(vertices, [[np.inf, 0, 0.25], [0.5, 1, 0.75]], atol=1e-9)
    with np.load(out / "plan_0.5.npz") as plan:
        np.testing.assert_allclose(np.sort(plan["weight"]), [0.5, 0.5], atol=1e-9)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--counts=missing.npz"], "missing.npz"),
        (["--budget=x", "--synthetic=100"], "--budget: 'x' is no float."),
        (["--budget=-1", "--synthetic=100"], "budget"),
        ([], "give either --counts or --synthetic."),
    ],
)
def test_rubbish_gets_one_line(tmp_path, flags, message):
    done = solve(*flags, f"--out={tmp_path}")
    assert done.returncode != 0
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not any(tmp_path.iterdir())
