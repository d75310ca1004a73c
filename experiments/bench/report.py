"""The tables of `bench_dp` as markdown, from its saved results."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.bench.cell import FRONTIER, SWEEP
from experiments.bench.tables import table

_ITEM_BYTES = {"float32": 4, "float64": 8}
_INDEX_BYTES = 4


def bytes_per_sweep(instance: Mapping[str, Any], num_costs: int, dtype: str) -> int:
    """What one sweep must move at least.

    E * (index + probability) + S * A rewards of the table, and V [S, R] once in and once out.
    """
    item = _ITEM_BYTES[dtype]
    table = instance["transitions"] * (_INDEX_BYTES + item) + instance["rows"] * item
    return table + 2 * instance["states"] * num_costs * item


def markdown(results: Mapping[str, Any], clock: str) -> str:
    """All tables; `clock` is cpu or wall."""
    cells = list(results["cells"].values())
    parts = [_header(results, clock)]
    groups = dict.fromkeys((c["instance"], c["num_costs"]) for c in cells if c["num_costs"])
    for name, num_costs in groups:
        instance = results["instances"][name]
        group = [c for c in cells if (c["instance"], c["num_costs"]) == (name, num_costs)]
        plural = "cost" if num_costs == 1 else "costs"
        parts.append(
            f"## {name}, {num_costs} {plural}\n\n"
            f"{instance['states']:,} states, {instance['transitions']:,} transitions between "
            f"them, discount {instance['discount']}.\n\n"
            + _solver_table(group, instance, num_costs, results["triad"], clock)
        )
    parts += _section("Compilation", _compile_table(cells, clock))
    parts += _section("Frontier", _frontier_table(cells, clock))
    failures = [
        f"* {c['instance']}, R={c['num_costs']}, {c['solver']} {c['dtype']}: {c['reason']}"
        for c in cells
        if c["status"] == "failed"
    ]
    parts += _section("Failures", "\n".join(failures))
    return "\n\n".join(parts) + "\n"


def _header(results: Mapping[str, Any], clock: str) -> str:
    meaning = {"cpu": "processor seconds", "wall": "seconds by the wall clock"}[clock]
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"# core.dp beside other solvers\n\n{machine['processor']}, one core, "
        f"{results['triad'] / 1e9:.1f} GB/s on a triad, load {machine['load']:.1f}; "
        f"Python {machine['python']}, {versions}. Times are {meaning}; "
        f"{results['reference']} is the reference."
    )


def _solver_table(
    cells: Sequence[Mapping[str, Any]],
    instance: Mapping[str, Any],
    num_costs: int,
    triad: float,
    clock: str,
) -> str:
    titles = ["solver", "dtype", "build", "cold", "warm", "peak MB", "sweeps", "ns", "floor"]
    titles += ["dV0", "dV"]
    rows = []
    for cell in cells:
        row = [cell["solver"], cell["dtype"]]
        if cell["status"] != "ok":
            rows.append([*row, "", "", cell["status"], *[""] * 6])
            continue
        warm = cell["warm"][clock]
        partial = cell.get("costs_solved", num_costs) < num_costs
        row += [_seconds(cell["build"][clock]), _seconds(cell.get("cold", {}).get(clock))]
        row += [("~" if partial else "") + _seconds(warm), f"{cell['peak_bytes'] / 1e6:.0f}"]
        if "iterations_max" in cell:
            floor = (
                cell["iterations_max"] * bytes_per_sweep(instance, num_costs, cell["dtype"]) / triad
            )
            work = instance["transitions"] * cell["iterations_sum"]
            row += [
                f"{cell['iterations_max']}{'' if cell['converged'] else ' (not converged)'}",
                f"{warm / work * 1e9:.3g}",
                f"{warm / floor:.2g}",
            ]
        else:
            row += ["", "", ""]
        row += [_difference(cell.get(key)) for key in ("start_difference", "value_difference")]
        rows.append(row)
    return table(titles, rows)


def _compile_table(cells: Iterable[Mapping[str, Any]], clock: str) -> str:
    """The first call in a fresh process less a warm one."""
    rows = [
        [
            cell["instance"],
            str(cell["num_costs"]),
            cell["dtype"],
            _seconds(cell["cold"][clock] - cell["warm"][clock]),
        ]
        for cell in cells
        if cell["solver"] == SWEEP and cell["status"] == "ok"
    ]
    return table(["instance", "costs", "dtype", "cold - warm"], rows)


def _frontier_table(cells: Iterable[Mapping[str, Any]], clock: str) -> str:
    titles = ["instance", "gap asked", "vertices", "gap left", "cold", "warm", "peak MB"]
    rows = []
    for cell in cells:
        if cell["solver"] != FRONTIER:
            continue
        row = [cell["instance"], f"{cell['gap']:g}"]
        if cell["status"] != "ok":
            rows.append([*row, cell["status"], *[""] * 4])
            continue
        row += [f"{cell['vertices']}", f"{cell['gap_left']:.1g}"]
        row += [_seconds(cell["cold"][clock]), _seconds(cell["warm"][clock])]
        rows.append([*row, f"{cell['peak_bytes'] / 1e6:.0f}"])
    return table(titles, rows)


def _section(title: str, content: str) -> list[str]:
    return [f"## {title}\n\n{content}"] if content else []


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2g}" if seconds < 10 else f"{seconds:.0f}"


def _difference(value: float | None) -> str:
    return "" if value is None else f"{value:.0e}"
