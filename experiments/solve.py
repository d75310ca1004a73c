"""What a budget of calls buys, from a file of transition counts.

    python -m experiments.solve --counts=counts.npz --start=0 --budget=1.0 --out=DIR
    python -m experiments.solve --synthetic=1000 --budget=1.0 --out=DIR

prints the plan for each budget and writes to DIR: frontier.csv (every vertex), plan_<budget>.npz
(policies and their weights) and, where matplotlib is installed, frontier.png. `--synthetic` makes a
table shaped like agent rollouts in place of counts. One help; `core.dp.plan` takes several.
"""

import csv
import io
import pathlib
import sys

from absl import app, flags, logging

from core import archive, dp
from core.transitions import TransitionCounts, TransitionTable
from experiments import instances
from models.atomic_file import write_bytes

_COUNTS = flags.DEFINE_string("counts", None, "File that TransitionCounts.save wrote.")
_START = flags.DEFINE_list("start", ["0"], "Start states of the episodes in --counts.")
_SYNTHETIC = flags.DEFINE_integer("synthetic", None, "States of a synthetic table instead.")
_BUDGET = flags.DEFINE_list("budget", ["1.0"], "Expected calls an episode; several by commas.")
_DISCOUNT = flags.DEFINE_float("discount", 1.0, "gamma in (0, 1].")
_OUT = flags.DEFINE_string("out", None, "Folder for the results.", required=True)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        sys.exit(f"solve: unexpected argument {argv[1]!r}.")
    logging.set_verbosity(logging.WARNING)
    try:
        table, budgets = _table(), [_number("budget", text, float) for text in _BUDGET.value]
        out = pathlib.Path(_OUT.value)
        out.mkdir(parents=True, exist_ok=True)
        curve = dp.frontier(table, discount=_DISCOUNT.value, gap=1e-6)
        plans = [dp.plan(table, budget, discount=_DISCOUNT.value) for budget in budgets]
    except (ValueError, OSError) as error:
        sys.exit(f"solve: {error}")

    print(
        f"{table.num_states} states, {curve.usage.size} policies on the frontier: from "
        f"{curve.usage[0]:.3f} calls and {curve.success[0]:.1%} success to {curve.usage[-1]:.3f} "
        f"calls and {curve.success[-1]:.1%}."
    )
    print(f"{'budget':>8} {'usage':>8} {'success':>8} {'95% interval':>16} {'cost r':>9}")
    for plan in plans:
        low_high = "one task only"
        if table.start.size > 1:
            found = dp.bootstrap(table, plan, discount=_DISCOUNT.value)
            low_high = "{:.1%} - {:.1%}".format(*found.success_interval)
        print(
            f"{plan.budget[0]:8.3f} {plan.expected_usage[0]:8.3f} {plan.expected_success:8.1%} "
            f"{low_high:>16} {plan.cost[0]:9.4f}"
        )
        arrays = dict(policy=plan.policy, weight=plan.weight, cost=plan.cost)
        archive.write(out / f"plan_{plan.budget[0]:g}.npz", "plan", 1, arrays)
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["cost", "usage", "success"])
    rows.writerows(zip(curve.cost, curve.usage, curve.success, strict=True))
    write_bytes(out / "frontier.csv", text.getvalue().encode())
    _draw(out / "frontier.png", curve, plans)


def _table() -> TransitionTable:
    if (_COUNTS.value is None) == (_SYNTHETIC.value is None):
        raise ValueError("give either --counts or --synthetic.")
    if _SYNTHETIC.value is not None:
        instance = instances.layered(_SYNTHETIC.value)
        return TransitionTable.from_arrays(**instance.table_arguments())
    start = [_number("start", text, int) for text in _START.value]
    return TransitionCounts.load(_COUNTS.value).table(start)


def _number(flag: str, text: str, kind: type):
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"--{flag}: {text!r} is no {kind.__name__}.") from None


def _draw(path: pathlib.Path, curve: dp.Frontier, plans: list[dp.Plan]) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("No picture: matplotlib is not installed (extra `plot`).")
        return
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(curve.usage, curve.success, lw=1.5, label="frontier, every budget")
    for plan in plans:
        axes.plot(plan.expected_usage[0], plan.expected_success, "o", color="C1")
        axes.annotate(
            f"{plan.budget[0]:g} calls: {plan.expected_success:.0%}",
            (plan.expected_usage[0], plan.expected_success),
            xytext=(8, -12),
            textcoords="offset points",
        )
    axes.set(xlabel="expected calls an episode", ylabel="expected success", xlim=(0, None))
    source = "synthetic table" if _SYNTHETIC.value is not None else _COUNTS.value
    axes.set_title(f"What calls buy ({source}; optimum on the table)")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150)
    write_bytes(path, content.getvalue())


if __name__ == "__main__":
    app.run(main)
