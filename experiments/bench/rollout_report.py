"""The table of `bench_rollouts`: its rows from the answers of all measurements, and as markdown."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.bench.rollout_cases import Case
from experiments.bench.tables import table

_TITLES = ("group", "what", "each CPU s", "each s", "peak MB", "added MB", "promised", "")
_NUMBERS = (2, 3, 4, 5)  # columns


def make_rows(
    cases: Sequence[Case], answers: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """One row a case: medians of the rates, the largest memory, and whether the promise is kept.

    Args:
      cases: in the order of the rows.
      answers: of `experiments.bench.measure.ask`, at least one for the name of each case.
    """
    rows = {case.name: _row(case, answers[case.name]) for case in cases}
    for case in cases:
        row = rows[case.name]
        if case.promised is not None and row["status"] == "ok":
            limit = rows.get(case.limited_by or "", {}).get("each_cpu_second", case.promised)
            row["promised"] = min(case.promised, limit)
            row["kept"] = row["each_cpu_second"] >= row["promised"]
    return list(rows.values())


def markdown(results: Mapping[str, Any]) -> str:
    """The table, and what it depends on."""
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    sizes = ", ".join(f"{name} {size:,}" for name, size in results["sizes"].items())
    times = "once" if results["repeats"] == 1 else f"{results['repeats']} times, medians"
    return (
        f"# Worlds, episodes, calls, rollouts\n\n{machine['processor']}, load "
        f"{machine['load']:.1f}; Python {machine['python']}, {versions}. Measured {times}; "
        f"{sizes}.\n\n{table(_TITLES, [_texts(row) for row in results['rows']], right=_NUMBERS)}\n"
    )


def _row(case: Case, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    last = answers[-1]
    row = {"group": case.group, "name": case.name, "status": last["status"], "kept": True}
    if last["status"] != "ok":
        return row | {"note": last.get("reason", "")}
    return row | {
        "each_cpu_second": statistics.median(a["count"] / a["cpu"] for a in answers),
        "each_second": statistics.median(a["count"] / a["wall"] for a in answers),
        "peak_bytes": max(a["peak_bytes"] for a in answers),
        "added_bytes": max(a["added_bytes"] for a in answers),
        "promised": None,
        "note": last["note"],
        "answers": list(answers),
    }


def _texts(row: Mapping[str, Any]) -> list[str]:
    if row["status"] != "ok":
        return [row["group"], row["name"], row["status"], "", "", "", "", row["note"]]
    promised = "" if row["promised"] is None else f"{row['promised']:,.0f}"
    return [
        row["group"],
        row["name"],
        f"{row['each_cpu_second']:,.0f}",
        f"{row['each_second']:,.0f}",
        f"{row['peak_bytes'] / 1e6:,.0f}",
        f"{row['added_bytes'] / 1e6:,.0f}",
        promised if row["kept"] else f"{promised} BROKEN",
        row["note"],
    ]
