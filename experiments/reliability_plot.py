"""A picture of how far predicted probabilities can be believed."""

import io
import os
from collections.abc import Mapping

from models.atomic_file import write_bytes
from models.calibration import Reliability


def draw(path: str | os.PathLike, curves: Mapping[str, Reliability], *, title: str = "") -> bool:
    """Writes a PNG: observed against predicted, a line a curve, points as large as their bins.

    Args:
      path: of the file; written whole or not at all.
      curves: label -> what `models.calibration.reliability` returns.
      title: above it.

    Returns:
      False, and nothing is written, where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(4.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.6", lw=1, ls="--")
    for label, curve in curves.items():
        (line,) = axes.plot(curve.probability, curve.outcome, lw=1, label=label)
        sizes = 200 * curve.count / curve.count.sum()
        axes.scatter(curve.probability, curve.outcome, s=sizes, color=line.get_color(), alpha=0.6)
    axes.set(xlabel="predicted", ylabel="observed", xlim=(0, 1), ylim=(0, 1), title=title)
    axes.set_aspect("equal")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150)
    write_bytes(path, content.getvalue())
    return True
