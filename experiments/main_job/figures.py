"""The pictures of the report."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments.main_job.drawing import Draw, Theme, new_figure
from experiments.main_job.results import calls, names, of
from experiments.main_job.tables import (
    CAUSES,
    METHODS,
    TASK_TYPES,
    expected_interval,
    name,
    shorter,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "osD^vP"
_SERIES = (
    "helper",
    "random",
    "PRM threshold",
    "PRM threshold, replies read",
    "PRM threshold, rising threshold, replies read",
    "helper, labels copied",
)


def curve(
    results: Mapping[str, Any], task_type: str, intervention: str, *, variants: bool = False
) -> Draw:
    """Success against calls: every method's curve, and the frontier in hindsight.

    Args:
      results: of a run.
      task_type, intervention: of the conditions.
      variants: all variants of the helper in place of the methods.
    """
    here = dict(task_type=task_type, intervention=intervention)
    rows = of(results["conditions"], **here, split="test_unseen")
    ends = {method: next(iter(of(rows, method=method)), None) for method in ("never", "always")}
    found = names([row for row in rows if row.get("series")], "series")
    if variants:
        found = [one for one in found if one.startswith("helper")]
    else:
        found = [one for one in _SERIES if one in found]
    frontier = next(iter(of(results["frontier"], **here)), None)

    def draw(theme: Theme) -> "Figure":
        figure, axes = new_figure(theme, 3.5)
        if frontier is not None:
            axes.plot(
                [calls(u) if isinstance(u, list) else u for u in frontier["usage"]],
                [100 * s for s in frontier["success"]],
                color=theme.muted,
                ls="--",
                lw=1.2,
                label="ceiling, in hindsight",
            )
        for i, series in enumerate(found):
            _series(axes, of(rows, series=series), ends, series, theme.series[i % 6], i)
        most = min(_most(rows), max(3.0, 2 * _most(of(rows, method="helper"))))
        if ends["never"] is not None:
            _never(axes, ends["never"], theme)
        if ends["always"] is not None:
            _always(axes, ends["always"], theme, most)
        axes.set(xlabel="calls a task", ylabel="success, %", xlim=(-0.03 * most, 1.03 * most))
        axes.set_title(_title(task_type, rows), fontsize=10)
        _legend(figure, 1 if variants else 2)
        return figure

    return draw


def toggling(example: Mapping[str, Any]) -> Draw:
    """p(s) by turn in some runs of a task, with stars where help was called: Fig. 3 there."""

    def draw(theme: Theme) -> "Figure":
        figure, axes = new_figure(theme, 2.8)
        for i, run in enumerate(example["runs"]):
            shown = [(t, turn) for t, turn in enumerate(run["turns"], 1) if turn["p"] is not None]
            turns, p = [t for t, _ in shown], [turn["p"] for _, turn in shown]
            label = f"{METHODS.get(run['method'], run['method'])}: {run['outcome']}"
            axes.plot(turns, p, color=theme.series[i], lw=1.4, label=label)
            stars = [(t, turn["p"]) for t, turn in shown if turn["help"]]
            axes.plot(*zip(*stars, strict=True), "*", color=theme.series[i], ms=9) if stars else ()
            if turns:
                mark = "o" if run["outcome"] == "success" else "x"
                axes.plot(turns[-1], p[-1], mark, color=theme.ink, ms=6, mfc="none")
        axes.set(xlabel="turn", ylabel="p(s) of the PRM", ylim=(-0.03, 1.03))
        _legend(figure, 1)
        return figure

    return draw


def coverage(row: Mapping[str, Any]) -> Draw:
    """How often each decision was tried, in states and in visits (the paper's Fig. 6)."""
    actions = ["nohelp", *row.get("helps", [])]
    bars = [
        (f"{action}\n{what}", row[f"{field}_share"][a])
        for a, action in enumerate(actions)
        for what, field in (("of states", "state"), ("of visits", "visit"))
        if a < len(row["state_share"])
    ]

    def draw(theme: Theme) -> "Figure":
        figure, axes = new_figure(theme, 0.9 + 0.45 * len(bars))
        left = [0.0] * len(bars)
        axes.barh(range(len(bars)), [100.0] * len(bars), color=theme.paper, height=0.7)
        for i, times in enumerate(row["times"]):
            widths = [100 * share[i] for _, share in bars]
            colour = theme.muted if i == 0 else theme.series[0]
            axes.barh(
                range(len(bars)),
                widths,
                left=left,
                color=colour,
                alpha=1.0 if i == 0 else (i + 1) / len(row["times"]),
                label=f"tried {times} times" if times not in ("1", 1) else "tried once",
                height=0.7,
            )
            left = [x + w for x, w in zip(left, widths, strict=True)]
        axes.set_yticks(range(len(bars)), [label for label, _ in bars], fontsize=7.5)
        axes.invert_yaxis()
        axes.set(xlabel="share, %", xlim=(0, 100))
        axes.set_title(f"{_type(row['task_type'])}, {row['intervention']}", fontsize=10)
        _legend(figure, 3)
        return figure

    return draw


def gaps(rows: Sequence[Mapping[str, Any]]) -> Draw:
    """Calls on test tasks against the calls expected."""

    def draw(theme: Theme) -> "Figure":
        figure, axes = new_figure(theme, 3.2)
        most = 0.0
        for row in rows:
            expected, met = calls(row["expected_usage"]), calls(row["usage"])
            most = max(most, expected, met)
            across = _total_interval(expected_interval(row))
            c = names(rows, "task_type").index(row["task_type"])
            first = row is next(r for r in rows if r["task_type"] == row["task_type"])
            axes.errorbar(
                expected,
                met,
                xerr=_bars(expected, across),
                yerr=_bars(met, _total_interval(row["usage_ci"])),
                fmt=_MARKERS[c % 6],
                color=theme.series[c % 6],
                capsize=2,
                label=_type(row["task_type"]) if first else None,
            )
            if c == 0:
                axes.annotate(
                    row["setting"],
                    (expected, met),
                    (-6, 4),
                    textcoords="offset points",
                    fontsize=7.5,
                    ha="right",
                    color=theme.muted,
                )
        axes.axline((0, 0), slope=1, color=theme.muted, ls="--", lw=1)
        axes.set(xlabel="E[U], calls expected", ylabel="U, calls on test tasks")
        axes.set(xlim=(0, 1.15 * most + 0.1), ylim=(0, None))
        _legend(figure, 3)
        return figure

    return draw


def causes(rows: Sequence[Mapping[str, Any]]) -> Draw:
    """How the tasks ended, as shares."""

    def draw(theme: Theme) -> "Figure":
        figure, axes = new_figure(theme, 0.9 + 0.3 * len(rows))
        left = [0.0] * len(rows)
        for i, cause in enumerate(CAUSES):
            widths = []
            for row in rows:
                total = sum(row["causes"].values())
                share = row["causes"].get(cause, 0) / total if total else 0.0
                widths.append(100 * (1 - row["success"]) * share)
            axes.barh(range(len(rows)), widths, left=left, color=theme.series[i], label=cause)
            left = [x + w for x, w in zip(left, widths, strict=True)]
        axes.set_yticks(range(len(rows)), [name(row) for row in rows], fontsize=7.5)
        axes.invert_yaxis()
        axes.set(xlabel="tasks that fail, %", xlim=(0, 100))
        _legend(figure, 4)
        return figure

    return draw


def _legend(figure: "Figure", columns: int) -> None:
    if figure.axes[0].get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower left", ncols=columns, frameon=False, fontsize=7.5)


def _series(
    axes: "Axes",
    rows: Sequence[Mapping[str, Any]],
    ends: Mapping[str, Any],
    label: str,
    colour: str,
    place: int,
) -> None:
    """A method's curve with 95% intervals; it begins where nobody asks."""
    rows = sorted(rows, key=lambda row: calls(row["usage"]))
    x, y = [calls(row["usage"]) for row in rows], [100 * row["success"] for row in rows]
    marker = _MARKERS[(place + place // 6) % 6]  # no colour twice with the same one
    known = [row for row in rows if row["success_ci"] is not None and row["usage_ci"] is not None]
    if known:
        low, high = zip(*(row["success_ci"] for row in known), strict=True)
        across = [_total_interval(row["usage_ci"]) for row in known]
        kx, ky = [calls(row["usage"]) for row in known], [row["success"] for row in known]
        axes.errorbar(
            kx,
            [100 * v for v in ky],
            xerr=[
                [max(v - a[0], 0) for v, a in zip(kx, across, strict=True)],
                [max(a[1] - v, 0) for v, a in zip(kx, across, strict=True)],
            ],
            yerr=[
                [100 * max(v - a, 0) for v, a in zip(ky, low, strict=True)],
                [100 * max(a - v, 0) for v, a in zip(ky, high, strict=True)],
            ],
            fmt="none",
            ecolor=colour,
            elinewidth=0.8,
            alpha=0.55,
        )
    alone = len(rows) == 1 and label.startswith("helper")
    if ends["never"] is not None and not alone:
        x, y = [0.0, *x], [100 * ends["never"]["success"], *y]
    axes.plot(
        x,
        y,
        color=colour,
        marker=marker,
        ms=4 if place else 5.5,
        lw=1.2 if place else 2,
        ls="none" if alone else "-",
        zorder=3 if place else 4,
        label=shorter(label),
        markevery=slice(1, None) if len(x) > len(rows) else None,
    )


def _never(axes: "Axes", row: Mapping[str, Any], theme: Theme) -> None:
    bars = None
    if row["success_ci"] is not None:
        low, high = row["success_ci"]
        bars = [[100 * max(row["success"] - low, 0)], [100 * max(high - row["success"], 0)]]
    at = calls(row["usage"]), 100 * row["success"]
    axes.errorbar(*at, yerr=bars, fmt="o", ms=5, color=theme.ink, elinewidth=0.8, zorder=5)
    axes.annotate("never ask", at, (7, -13), textcoords="offset points", fontsize=7.5, zorder=6)


def _always(axes: "Axes", row: Mapping[str, Any], theme: Theme, most: float) -> None:
    """A line at its height: it calls so often that it would make the rest small."""
    height = 100 * row["success"]
    if row["success_ci"] is not None:
        low, high = row["success_ci"]
        axes.axhspan(100 * low, 100 * high, color=theme.rule, alpha=0.35, lw=0)
    axes.axhline(height, color=theme.ink, lw=1, ls=":")
    text = f"always ask, {calls(row['usage']):.1f} calls: {height:.0f}%"
    axes.annotate(
        text, (most, height), (0, -10), textcoords="offset points", fontsize=7.5, ha="right"
    )


def _total_interval(usage_ci: Sequence[Sequence[float]] | None) -> tuple[float, float] | None:
    """Of the calls of all helps; exact for one help, too wide for several."""
    if usage_ci is None:
        return None
    low, high = zip(*usage_ci, strict=True)
    return sum(low), sum(high)


def _bars(value: float, low_high: tuple[float, float] | None) -> list[list[float]] | None:
    if low_high is None:
        return None
    return [[max(value - low_high[0], 0)], [max(low_high[1] - value, 0)]]


def _most(rows: Sequence[Mapping[str, Any]]) -> float:
    return max((calls(row["usage"]) for row in rows), default=1.0)


def _type(task_type: str) -> str:
    return TASK_TYPES.get(task_type, task_type)


def _title(task_type: str, rows: Sequence[Mapping[str, Any]]) -> str:
    tasks = max((row["tasks"] for row in rows), default=0)
    return f"{_type(task_type)}, {tasks:,} unseen test tasks"
