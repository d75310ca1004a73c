"""The picture is drawn."""

import numpy as np
import pytest

from experiments import reliability_plot
from models.calibration import reliability


def test_curves_are_drawn_to_a_png(tmp_path):
    pytest.importorskip("matplotlib", exc_type=ImportError)
    p = np.linspace(0, 1, 200)
    path = tmp_path / "prm.png"
    curves = {"raw": reliability(p, p**2), "calibrated": reliability(p, p)}
    assert reliability_plot.draw(path, curves, title="PRM")
    assert path.read_bytes().startswith(b"\x89PNG") and len(path.read_bytes()) > 10_000
