"""The frontier of success against calls, as a picture and as CSV."""

import csv
import io
import os
from collections.abc import Sequence

import numpy as np

from core import dp
from experiments.planning import Answer, Setting
from models.atomic_file import write_bytes

_INK, _CURVE, _PLAN, _MEASURED = "0.25", "#1f5fa8", "#c8501e", "0.45"


def write_csv(path: str | os.PathLike, curve: dp.Frontier) -> None:
    """Writes cost, usage and success of every vertex."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["cost", "usage", "success"])
    rows.writerows(zip(curve.cost, curve.usage, curve.success, strict=True))
    write_bytes(path, text.getvalue().encode())


def draw(
    path: str | os.PathLike,
    curve: dp.Frontier,
    answers: Sequence[Answer],
    measured: Sequence[Setting],
    *,
    title: str,
    subtitle: str,
) -> bool:
    """Writes a PNG: the frontier, the plans with their 95% intervals, and what was measured.

    Args:
      path: of the file; written whole or not at all.
      curve: of one help.
      answers: the plans.
      measured: episodes with help at random.
      title, subtitle: above it.

    Returns:
      False, and nothing is written, where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import PercentFormatter
    except ImportError:
        return False
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.add_subplot()
    measured = sorted(measured, key=lambda one: one.usage)
    right = 1.06 * max([curve.usage[-1], *(one.usage[0] for one in measured)], default=1.0)
    # Beyond the last vertex further calls buy nothing.
    usage, success = np.append(curve.usage, right), np.append(curve.success, curve.success[-1])
    axes.plot(usage, success, color=_CURVE, lw=2, zorder=2)
    axes.plot(curve.usage, curve.success, "o", color=_CURVE, ms=3, zorder=2)
    axes.annotate(
        "optimum on the table\n(hindsight: a ceiling)",
        (right, success[-1]),
        xytext=(-4, 5),
        textcoords="offset points",
        ha="right",
        va="bottom",
        color=_CURVE,
        fontsize=9,
    )
    for same in _at_one_point(answers):
        _plans(axes, same)
    if measured:
        x, y = [one.usage[0] for one in measured], [one.success for one in measured]
        axes.plot(x, y, "s--", color=_MEASURED, ms=4, lw=1, mfc="white", zorder=1)
        for one in measured:
            axes.annotate(
                f"p = {one.probabilities[0]:g}",
                (one.usage[0], one.success),
                xytext=(4 if one is measured[0] else 0, -6),
                textcoords="offset points",
                ha="left" if one is measured[0] else "center",
                va="top",
                color=_MEASURED,
                fontsize=8,
            )
        axes.annotate(
            "help at random,\nas measured",
            (x[len(x) // 2], y[len(x) // 2]),
            xytext=(14, -20),
            textcoords="offset points",
            va="top",
            color=_MEASURED,
            fontsize=9,
        )
    axes.set(xlim=(-0.02 * right, right), xlabel="calls of help an episode")
    highest = max([success.max(), *(one.success for one in measured), 0.1])
    axes.set_ylim(0, 1.13 * highest)  # room for what is written above the curve
    axes.set_yticks([y for y in axes.get_yticks() if y <= 1.0])
    axes.set_ylabel("success")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.set_title(title, loc="left", fontsize=11, pad=20)
    axes.text(0, 1.02, subtitle, transform=axes.transAxes, color=_INK, fontsize=8.5, va="bottom")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150)
    write_bytes(path, content.getvalue())
    return True


def _at_one_point(answers: Sequence[Answer]) -> list[list[Answer]]:
    """The plans, those together that buy the same."""
    found: dict[tuple[float, float], list[Answer]] = {}
    for answer in answers:
        plan = answer.plan
        point = round(plan.expected_usage[0], 3), round(plan.expected_success, 3)
        found.setdefault(point, []).append(answer)
    return list(found.values())


def _plans(axes, same: Sequence[Answer]) -> None:
    """Plans that buy the same, and their intervals."""
    answer, budgets = same[0], [one.plan.budget[0] for one in same]
    x, y = answer.plan.expected_usage[0], answer.plan.expected_success
    if answer.success_interval is not None:
        errors = np.abs([answer.usage_interval[0] - x, answer.success_interval - y])
        axes.errorbar(
            x, y, xerr=errors[0][:, None], yerr=errors[1][:, None], color=_PLAN, lw=1, capsize=2
        )
    axes.plot(x, y, "o", color=_PLAN, ms=6, zorder=3)
    calls = "call" if budgets == [1] else "calls"
    axes.annotate(
        f"{', '.join(f'{budget:g}' for budget in budgets)} {calls}: {y:.0%}",
        (x, y),
        xytext=(8, -4),
        va="top",
        textcoords="offset points",
        color=_PLAN,
        fontsize=9,
        fontweight="bold",
        zorder=4,
    )
