"""The tables of the report, from results."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adapters.proposals import REPLY
from experiments.main_job import page
from experiments.main_job.page import Column, Safe
from experiments.main_job.results import in_table, names, of

TASK_TYPES = {"s_obj": "S_obj", "pnp": "PnP", "s_hum": "S_hum"}
INTERVENTIONS = {
    "stronger": "a stronger model",
    "search": "depth-1 search",
    "both": "stronger model / search",
    "oracle": "the oracle",
}
METHODS = {
    "never": "never",
    "always": "always",
    "random": "random",
    "prm": "PRM threshold",
    "helper": "helper",
    # For whole tasks; the settings say how.
    "task_random": "random",
    "task_prm": "PRM threshold",
    "task_prm_first": "PRM threshold",
}
CAUSES = ("invalid action", "limit", "wrong Done", "other")
REPLIES = ", replies read"  # of the base actor, by a process reward model: ends a setting
RISING, CONSTANT = ", rising threshold", ", constant threshold"  # with calls made; in settings
_USUAL = ("SR", "SPL", "L", "U", "E[U]")

Row = Mapping[str, Any]


def name(row: Row) -> str:
    """What a condition is called."""
    found = f"{METHODS.get(row['method'], row['method'])} {row['setting']}"
    dial = row.get("dial") or {}
    rises = dial.get("rise") and RISING not in row["setting"]
    return found + (", rising" if rises else "") + (", with the PRM" if dial.get("either") else "")


def shorter(called: str) -> str:
    """The name of a condition or series with fewer words."""
    return called.replace(RISING, ", rising")


def percent(share: float | None) -> str:
    """A share as 62.5%."""
    return "–" if share is None else f"{100 * share:.1f}%"


def success(row: Row, field: str = "success") -> Safe:
    """Success with its interval."""
    low_high = row.get(f"{field}_ci")
    return page.interval(
        percent(row[field]),
        None if low_high is None else f"{100 * low_high[0]:.0f}–{100 * low_high[1]:.0f}",
    )


def usage(row: Row) -> Safe:
    """Calls of each help with their intervals."""
    ends = row.get("usage_ci")
    parts = [
        page.interval(f"{u:.2f}", None if ends is None else f"{ends[k][0]:.2f}–{ends[k][1]:.2f}")
        for k, u in enumerate(row["usage"])
    ]
    return Safe(" / ".join(parts))


def expected(row: Row) -> str:
    """Calls of each help that a helper was expected to make, with the intervals of the validation
    tasks they come from; what others make follows from it."""
    if row["method"] != "helper" or row["expected_usage"] is None:
        return "–"
    return usage(dict(usage=row["expected_usage"], usage_ci=expected_interval(row)))


def expected_interval(row: Row) -> Sequence[Sequence[float]] | None:
    """[K, 2] of E[U]; None where it does not come from validation tasks."""
    return (row.get("validation") or {}).get("usage_ci")


def usual(caption: str, groups: Sequence[tuple[str, Sequence[Row]]]) -> Safe:
    """A table in the form of the paper's Table 2."""
    rows: list[tuple[str, Sequence[str]] | str] = []
    for heading, conditions in groups:
        if heading:
            rows.append(heading)
        rows += [(name(row), _usual(row)) for row in conditions]
    return page.table(caption, [Column("method, setting"), *map(Column, _USUAL)], rows)


def _usual(row: Row) -> list[str]:
    return [
        success(row),
        "–" if row["spl"] is None else f"{100 * row['spl']:.1f}",
        f"{row['length']:.1f}",
        usage(row),
        expected(row),
    ]


def by(results: Row, number: str, field: str, called: Mapping[str, str], **fields: Any) -> list:
    """The conditions of a table, in groups by a field: [(heading, rows)]."""
    rows = in_table(results, number, **fields)
    return [(called.get(one, one), of(rows, **{field: one})) for one in names(rows, field)]


def by_place(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Conditions or comparisons, in groups by task type and intervention: [(heading, rows)]."""
    found = []
    for kind in names(rows, "task_type"):
        some = of(rows, task_type=kind)
        for help_ in names(some, "intervention"):
            heading = f"{TASK_TYPES.get(kind, kind)}, {INTERVENTIONS.get(help_, help_)}"
            found.append((heading, of(some, intervention=help_)))
    return found


def compared(results: Row, number: str, caption: str) -> Safe | None:
    """Conditions of a table beside what they are compared with: it comes first, and differences of
    success follow, paired over tasks. None if there are no such conditions."""
    lines: list[tuple[str, Sequence[str]] | str] = []
    here = dict(split="test_unseen")
    for heading, rows in by_place(in_table(results, number, **here)):
        lines.append(heading)
        where = here | {field: rows[0][field] for field in ("task_type", "intervention")}
        others = of(results["comparisons"], **where)
        shown = []
        for row in rows:
            at = {field: row[field] for field in ("method", "setting")}
            against = [one for one in others if one["a"] == at]
            for one in against:
                if one["b"] not in shown:
                    shown.append(one["b"])
                    lines += [
                        (name(base), [*_usual(base), "–"])
                        for base in of(results["conditions"], **where, **one["b"])
                    ]
            apart = _points(against[0]) if against else "–"
            lines.append((name(row), [*_usual(row), apart]))
    if not lines:
        return None
    columns = [Column("method, setting"), *map(Column, _USUAL), Column("difference, points")]
    return page.table(caption, columns, lines)


def _points(row: Row) -> str:
    """A difference of success in points."""
    difference = f"{100 * row['difference']:+.1f}"
    if row["ci"] is None:
        return difference
    low, high = row["ci"]
    return page.interval(difference, f"{100 * low:+.1f} to {100 * high:+.1f}")


def reads_replies(row: Row) -> bool:
    """Whether the model of a row reads the base actor's replies."""
    return row["reads"].endswith(REPLY)


def at_the_last(row: Row) -> bool:
    """Whether a row of self-regulation is of the last two states."""
    return row.get("states") == "last two"


def table_1(results: Row) -> Safe:
    """Self-regulation."""
    rows = []
    for row in results["self_regulation"]:
        cells = [success(row, "accuracy"), success(row, "precision"), success(row, "recall")]
        threshold = "–" if row["threshold"] is None else f"{row['threshold']:.3f}"
        kind = TASK_TYPES.get(row["task_type"], row["task_type"])
        kind += ", states and replies read" if reads_replies(row) else ", states read"
        kind += "; the last two states" if at_the_last(row) else ""
        usual = percent(max(row["success"], 1 - row["success"]))
        rows.append((kind, [usual, *cells, threshold, f"{row.get('tasks', 0):,}"]))
    columns = [
        "task type, process reward model",
        "always the same",
        "accuracy",
        "precision",
        "recall",
        "threshold",
        "tasks",
    ]
    return page.table(
        "Table 1. Self-regulation: the base actor stops where the most of 1 − p(s) before its last "
        "step is above a threshold, set on validation tasks. Success is the positive class. "
        "The last two states: their mean, looked at once, before the step that ends the task. "
        "Always the same: the accuracy of never stopping or always stopping, if that is more.",
        [Column(one) for one in columns],
        rows,
    )


def table_4(results: Row) -> Safe:
    """Training tasks whose best path is known to its end, and the others; then test tasks."""
    rows: list[tuple[str, Sequence[str]] | str] = []
    here = dict(task_type="s_obj", intervention="stronger")
    known = in_table(results, "4", **here, split="train")
    tested = of(results["conditions"], **here, split="test_unseen")

    def row_of(method: str, setting: str) -> tuple[str, Sequence[str]]:
        at = dict(method=method, setting=setting)
        found = {row.get("part"): row for row in of(known, **at)}
        test = next(iter(of(tested, **at)), None)
        cells = [*_or_dash(found.get("unseen"), success, usage)]
        cells += [*_or_dash(found.get("seen"), success, usage), *_or_dash(test, expected)]
        cells += [*_or_dash(found.get("all"), success), *_or_dash(test, success)]
        return setting if method == "helper" else METHODS[method], cells

    for method in ("never", "always"):
        rows += [row_of(method, one) for one in names(of(known, method=method), "setting")]
    helped = of(known, method="helper")
    for series in names(helped, "series"):
        rows.append(series)
        rows += [row_of("helper", one) for one in names(of(helped, series=series), "setting")]
    columns = [
        Column("trained on, setting"),
        Column("SR", "tasks with unseen states"),
        Column("U", "tasks with unseen states"),
        Column("SR", "tasks without"),
        Column("U", "tasks without"),
        Column("E[U]"),
        Column("SR", "train"),
        Column("SR", "test"),
    ]
    parts = {row["part"]: row["tasks"] for row in known if row.get("part")}
    numbers = [f"{parts.get(part, 0):,}" for part in ("unseen", "seen")]
    return page.table(
        "Table 4. Helpers trained on all states against those on the best trajectories alone, on "
        f"training tasks. Tasks with unseen states, {numbers[0]}: the best path of a table comes "
        f"to a decision that was never tried; the others are {numbers[1]}. That table has a prior, "
        "for without one only what was tried is ever best; the helpers' own has none.",
        columns,
        rows,
    )


def at_equal_usage(caption: str, rows: Sequence[Row]) -> Safe:
    """Paired differences of success and calls between helpers and what asks as often."""
    lines: list[tuple[str, Sequence[str]] | str] = []
    for heading, some in by_place(rows):
        lines.append(heading)
        for row in some:
            judged = "–" if row["ci"] is None else "yes" if _is_apart(row["ci"]) else "no"
            other = METHODS.get(row["b"]["method"], row["b"]["method"])
            other += "".join(one for one in (RISING, REPLIES) if one in row["b"]["setting"])
            other = shorter(other)
            cells = [_points(row), judged, _calls_apart(row)]
            lines.append((f"{name(row['a'])} − {other}", cells))
    columns = ["helper − other", "success, points", "beyond chance", "calls"]
    return page.table(caption, [Column(one) for one in columns], lines)


def _calls_apart(row: Row) -> Safe:
    """How many more calls the helper made; in bold where it is more than chance."""
    parts = []
    ends = row.get("usage_ci") or [None] * len(row["usage_difference"])
    for more, low_high in zip(row["usage_difference"], ends, strict=True):
        between = None if low_high is None else "{:+.2f} to {:+.2f}".format(*low_high)
        text = page.interval(f"{more:+.2f}", between)
        apart = low_high is not None and _is_apart(low_high)
        parts.append(Safe(f"<strong>{text}</strong>") if apart else text)
    return Safe(" / ".join(parts))


def _is_apart(low_high: Sequence[float]) -> bool:
    return low_high[0] > 0 or low_high[1] < 0


def causes(results: Row, rows: Sequence[Row], caption: str) -> Safe:
    """How failures ended."""
    lines = []
    for row in rows:
        total = sum(row["causes"].values())
        shares = [f"{row['causes'].get(one, 0) / total:.0%}" if total else "–" for one in CAUSES]
        where = TASK_TYPES.get(row["task_type"], row["task_type"])
        lines.append((f"{where}: {name(row)}", [percent(1 - row["success"]), *shares]))
    columns = [Column("method, setting"), Column("failures")]
    columns += [Column(one, "share of the failures") for one in CAUSES]
    return page.table(caption, columns, lines)


def forecasts(results: Row) -> Safe:
    """What was said before against what came."""
    rows = []
    for row in results["forecasts"]:
        same = {field: row[field] for field in ("task_type", "intervention", "setting")}
        found = of(results["conditions"], **same, method="helper", split="test_unseen")
        met = found[0] if found else None
        where = TASK_TYPES.get(row["task_type"], row["task_type"])
        where += f", {INTERVENTIONS.get(row['intervention'], row['intervention'])}"
        rows.append((f"{where}: helper {row['setting']}", _forecast(row, met)))
    columns = [
        Column("setting"),
        Column("SR", "forecast"),
        Column("U", "forecast"),
        Column("SR", "test tasks"),
        Column("U", "test tasks"),
        Column("SR", "ceiling (hindsight)"),
        Column("U", "ceiling (hindsight)"),
    ]
    return page.table(
        "Forecast, test and ceiling. Forecast: the helper's own decisions evaluated on the table "
        "of validation tasks' rollouts, with nothing played; where it asks and nobody asked "
        "there, the PRM says what follows, as if help played to the end, which ends episodes too "
        "soon: so calls fall short where many are made. Ceiling: the optimum on the same table, "
        "in hindsight.",
        columns,
        rows,
    )


def _forecast(row: Row, met: Row | None) -> list[str]:
    ceiling = row.get("ceiling")
    return [
        success(row),
        usage(row),
        *_or_dash(met, success, usage),
        *_or_dash(ceiling, success, usage),
    ]


def turns(results: Row) -> Safe:
    """How often who plays changes."""
    rows = []
    for row in results["turns"]:
        where = TASK_TYPES.get(row["task_type"], row["task_type"])
        numbers = [f"{row[field]:.2f}" for field in ("calls", "changes", "turns")]
        rows.append((f"{where}: {name(row)}", numbers))
    columns = [Column("method, setting"), *map(Column, ("calls", "changes", "turns"))]
    return page.table(
        "Toggling: how often who plays changes in a task, of the first seed; means.", columns, rows
    )


def models(results: Row) -> Safe:
    """How good the trained models are on training tasks held out."""
    rows = []
    for row in results["models"]:
        quality = row["quality"].get("validation", {"": row["quality"]})
        for output, found in quality.items():
            told = [
                f"{field} {value:.3f}" if isinstance(value, float) else f"{field} {value:,}"
                for field, value in found.items()
                if isinstance(value, int | float)
            ]
            where = f"{row['task_type']}, {row['intervention']}: {row['name']}"
            rows.append((f"{where} {output}".strip(), [", ".join(told)]))
    columns = [Column("model, output"), Column("quality", text=True)]
    return page.table(
        "The trained models, on states of training tasks held out. Of helpers: asked, the share of "
        "states where they would ask at threshold 0; labelled, where the best decision of the "
        "table is to ask; captured, the part of what asking gains there that they gain, below 0 "
        "if they lose by it; accuracy, of their decisions; r2, of the gains.",
        columns,
        rows,
    )


def timing(results: Row) -> Safe:
    """Seconds of each stage."""
    rows = [(stage, [f"{seconds:,.1f}"]) for stage, seconds in results["timing"].items()]
    rows.append(("all stages, one after another", [f"{sum(results['timing'].values()):,.1f}"]))
    columns = [Column("stage"), Column("seconds")]
    return page.table("Seconds of each stage, of the run that finished it.", columns, rows)


def _or_dash(row: Row | None, *show: Callable[[Row], str]) -> list[str]:
    return ["–" if row is None else one(row) for one in show]
