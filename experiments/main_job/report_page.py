"""The report: results as a page that can be read, and pictures of it."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.main_job import drawing, figures, page, results, tables
from experiments.main_job.findings import findings, matched_to, sentence
from experiments.main_job.page import Column, Safe
from experiments.main_job.results import in_table, names, of
from experiments.main_job.tables import INTERVENTIONS, REPLIES, RISING, TASK_TYPES
from experiments.main_job.unlike import unlike_the_paper
from models.atomic_file import write_bytes

TITLE = "When is help worth its cost?"
SIMULATOR = (
    "All numbers on this page come from a simulator of situated instruction following: houses, "
    "tasks and people are made up. None is a result on the benchmark SIF, and none of the paper's."
)
_ABOUT = Safe(
    "An actor does household tasks in words and may ask for help, turn by turn; a helper decides "
    "when. The method, and the numbers of tables and figures, are those of "
    '<a href="https://arxiv.org/abs/2502.04576">Self-Regulation and Requesting Interventions</a>. '
    "S_obj: an object is to be put somewhere, and is not where the map has it. PnP: pick and "
    "place, with hints alone. S_hum: the human who wants it walks about. A task fails by an "
    "invalid action, by the limit of turns, or by a wrong “Done!”. PRM: a process reward model, "
    "p(s) its probability that the task succeeds from state s."
)
_CURVE = (
    "What calls buy. Each point is a method at a setting, on unseen test tasks, with 95% intervals "
    "over tasks; up and to the left is better. The dashed line is a ceiling: the frontier on the "
    "training tasks' table, in hindsight."
)
_MEASURED = {
    "SR": "share of the tasks that end in success.",
    "SPL": "success weighted by the oracle's length over the length needed.",
    "L": "actions a task, of all tasks.",
    "U": "calls of help a task on the tasks played; with two helps one number each.",
    "E[U]": "the calls expected of a helper before a test task was played: those that it makes on "
    "validation tasks with the threshold set there to meet the budget, so it is close to that; "
    "what tables alone forecast is under Forecast and test.",
    "r high, mid, low": "a helper for the first, second and third budget of calls a task: the "
    "fewer calls there are, the higher their price r.",
    "95% interval": "percentiles of 2,000 resamples of the tasks, all seeds of a task together. "
    "Differences are resampled in pairs: both methods on the same tasks.",
    "as often as": "the probability, or the threshold, was set on validation tasks so that the "
    "baseline calls as often as the helper does at that setting.",
    "helper": "a language model with a head that reads the state's text, and below it what the "
    "base actor is about to reply, and predicts what a call adds to success and to the calls to "
    "come. With one help it is told at every setting that a call costs 0.25 of a success, and asks "
    "where what it gains is more than that by a threshold, which was set on validation tasks so "
    "that its calls meet the budget, and may be below 0. Rising: it rises by 0.1 of success with "
    "each call that was made. "
    "With the PRM: p(s) of help less p(s) of the base actor counts where it is larger. Both only "
    "where validation tasks succeeded more so at that number of calls.",
    "replies read": "the base actor is asked in every turn what it would do, in those too that "
    "help then plays; that is no call of help.",
    "ceiling": "the optimum on the table of the training tasks' rollouts, in hindsight: it knows "
    "which of a task's rollouts was lucky. No helper can know that; it is no forecast. It knows "
    "only what was tried, a few times a task: what helpers reach on other tasks can be above it.",
    "unseen test tasks": "in houses that no training task takes place in; this run played them "
    "once, in the end. Nothing was chosen by them, though runs of earlier versions were looked at.",
}
_FURTHER = {
    "learns": "What the helper learns: the gains of asking regressed, or the best decisions copied "
    "(all states; all states, each decision weighing the same; the best trajectories alone).",
    "rise": "The helper alone, its threshold never rising with the calls that a task has had.",
    "cap": "Helpers at a hard cap: never more than so many calls a task.",
    "cost": "One helper that has learnt all costs, and is told 0.25, against one that has learnt "
    "this cost alone.",
    "rule": "Labels of the exact rule against labels of the paper's rule.",
    "reads": "A helper that also reads what the base actor is about to reply, against one that "
    "reads the state alone, as the paper's.",
    "prior": "Strength of the PRM's estimates in the table, in observations: none against others.",
}


def write(found: Mapping[str, Any], out: pathlib.Path) -> list[pathlib.Path]:
    """Writes report.html and the pictures into a folder; returns their paths.

    Raises:
      OSError: the folder cannot be written.
      ValueError: as `results.check`.
    """
    results.check(found)
    out.mkdir(parents=True, exist_ok=True)
    written = [out / "report.html"]
    write_bytes(written[0], html(found).encode())
    if drawing.installed():
        for name, content in _pictures(found).items():
            written.append(out / f"{name}.png")
            write_bytes(written[-1], content)
    return written


def html(found: Mapping[str, Any]) -> str:
    """The page."""
    tested = dict(split="test_unseen")
    kinds = names(found["conditions"], "task_type")
    kinds.sort(key=lambda kind: list(TASK_TYPES).index(kind) if kind in TASK_TYPES else 9)
    parts = [
        page.paragraph(SIMULATOR, "note"),
        page.paragraph(_ABOUT),
        page.paragraph(_who(found["config"]), "muted"),
        page.paragraph(_learnt_from(found["config"]), "muted"),
        _frontier(found, kinds),
        *(page.paragraph(text, "lead") for kind in kinds if (text := sentence(found, kind))),
        page.paragraph("In brackets, and in small in the tables: 95% intervals.", "muted"),
        tables.usual(
            "Table 2. Success and calls by task type, helped by a stronger model, on unseen test "
            "tasks.",
            tables.by(found, "2", "task_type", TASK_TYPES, intervention="stronger", **tested),
        ),
        _measured(),
        _targets(found),
        _unlike(found),
        _equal_usage(found),
        _interventions(found),
        _states(found),
        _whole_tasks(found),
        _stopping(found),
        _further(found),
        _causes(found),
        _forecast(found),
        _run(found),
    ]
    config = found["config"]
    scale, seed = config.get("scale", "unknown"), config.get("seed", "unknown")
    footer = f"{SIMULATOR} Scale {scale}, seed {seed}; written by selfreg."
    return page.page(f"{TITLE} Scale {scale}, simulated", [part for part in parts if part], footer)


def _who(config: Mapping[str, Any]) -> str:
    """Who plays each type of task."""
    told = [
        f"{TASK_TYPES.get(kind, kind)}: {one['base']}, helped by {one['stronger']}"
        for kind, one in config.get("players", {}).items()
    ]
    return f"Who plays. {'; '.join(told)}. Names as experiments.players has them." if told else ""


def _learnt_from(config: Mapping[str, Any]) -> str:
    """How many tasks each type is learnt from, and on how many it is tested."""
    alone, tested = config.get("alone", {}), config.get("test_tasks", {})
    told = []
    for kind, by_help in config.get("tasks", {}).items():
        if "stronger" not in by_help:
            continue
        words = f"{TASK_TYPES.get(kind, kind)}: {by_help['stronger']:,} tasks with help at random"
        if alone.get(kind):
            words += f", and {alone[kind]:,} that the base actor played alone, for the PRM"
        told.append(words + (f"; tested on {tested[kind]:,}" if kind in tested else ""))
    return f"What was learnt from. {'. '.join(told)}." if told else ""


def _unlike(found: Mapping[str, Any]) -> Safe | None:
    parts = [page.paragraph(text) for text in unlike_the_paper(found)]
    return page.section("unlike", "What is not as in the paper", parts) if parts else None


def _frontier(found: Mapping[str, Any], kinds: Sequence[str]) -> Safe:
    shown = []
    for kind in kinds:
        if of(found["conditions"], task_type=kind, intervention="stronger", split="test_unseen"):
            draw = figures.curve(found, kind, "stronger")
            label = f"{TASK_TYPES.get(kind, kind)}: success against calls a task"
            caption = "" if not shown else f"The same for {TASK_TYPES.get(kind, kind)}."
            shown.append(_figure(draw, f"curve-{kind}", label, caption or _CURVE, first=not shown))
    return page.panels(shown)


def _measured() -> Safe:
    terms = "".join(
        f"<dt>{page.escape(term)}</dt><dd>{page.escape(text)}</dd>"
        for term, text in _MEASURED.items()
    )
    return page.section("measured", "How each was measured", [Safe(f"<dl>{terms}</dl>")])


def _targets(found: Mapping[str, Any]) -> Safe:
    rows = []
    for one in findings(found):
        kind = {"reached": "good", "missed": "bad", "not measured": "muted"}[one.verdict]
        verdict = Safe(f'<span class="{kind}">{one.verdict}</span>')
        rows.append((one.target, [one.paper, one.wanted, one.found or "–", verdict]))
    columns = [
        Column("target", text=True),
        Column("paper", text=True),
        Column("wanted", text=True),
        Column("found", text=True),
        Column("verdict"),
    ]
    caption = "S_obj, a stronger model, unseen test tasks, where not said otherwise."
    table = page.table(caption, columns, rows)
    return page.section("targets", "What was to be reached", [table])


def _equal_usage(found: Mapping[str, Any]) -> Safe | None:
    where = dict(split="test_unseen")
    rows = [
        row
        for row in of(found["comparisons"], **where)
        if row["a"]["method"] == "helper"
        and row["b"]["setting"].removesuffix(REPLIES).removesuffix(RISING)
        == matched_to(row["a"]["setting"])
    ]
    parts = []
    if groups := tables.by_place(in_table(found, "matched", **where)):
        parts.append(tables.usual("Baselines that call as often as the helper.", groups))
    if rows:
        caption = (
            "Differences at equal usage, paired over tasks. Both were set on validation tasks to "
            "call as often; bold: on test tasks their calls differ by more than chance."
        )
        parts.append(tables.at_equal_usage(caption, rows))
    return page.section("equal", "At equal usage", parts) if parts else None


def _interventions(found: Mapping[str, Any]) -> Safe | None:
    here = dict(task_type="s_obj", split="test_unseen")
    groups = tables.by(found, "3", "intervention", INTERVENTIONS, **here)
    if not groups:
        return None
    caption = "Table 3. S_obj by intervention, on unseen test tasks."
    return page.section("interventions", "Interventions", [tables.usual(caption, groups)])


def _states(found: Mapping[str, Any]) -> Safe | None:
    parts = [tables.table_4(found)] if in_table(found, "4") else []
    shown = [
        _figure(
            figures.coverage(row),
            f"coverage-{i}",
            "How often each decision was tried in the states of the rollouts",
            f"Figure 6. {row.get('states', 0):,} states of {row.get('tasks', 0):,} training tasks: "
            "how often each decision was tried in them.",
        )
        for i, row in enumerate(found["coverage"])
    ]
    if shown:
        parts.append(page.panels(shown))
    return page.section("states", "States seen and unseen", parts) if parts else None


def _whole_tasks(found: Mapping[str, Any]) -> Safe | None:
    parts = []
    here = dict(task_type="s_obj", split="test_unseen")
    groups = tables.by(found, "5", "intervention", INTERVENTIONS, **here)
    if groups:
        caption = "Table 5. Help for whole tasks against help in single states, S_obj."
        parts.append(tables.usual(caption, groups))
    if found["turns"]:
        parts.append(tables.turns(found))
    for i, example in enumerate(of(found["examples"], kind="toggling")):
        caption = (
            f"Figure 3. Task {example['task']}: p(s) of the PRM turn by turn; stars are calls, the "
            f"last turn is a circle for success, a cross for failure. {example.get('chosen', '')}"
        )
        label = "p(s) by turn under two methods"
        parts.append(_figure(figures.toggling(example), f"toggling-{i}", label, caption))
    parts += [_trajectory(example) for example in of(found["examples"], kind="trajectory")]
    return page.section("whole", "Whole tasks and single states", parts) if parts else None


def _trajectory(example: Mapping[str, Any]) -> Safe:
    shown = []
    for run in example["runs"]:
        rows = []
        for t, turn in enumerate(run["turns"], 1):
            who = turn.get("actor") or ("help" if turn["help"] else "base")
            p = "–" if turn["p"] is None else f"{turn['p']:.2f}"
            who = Safe(f"<strong>{page.escape(who)}</strong>") if turn["help"] else who
            rows.append((str(t), [who, turn["action"] or "–", p, turn.get("reason", "")]))
        columns = [
            Column("turn"),
            Column("who acted"),
            Column("action", text=True),
            Column("p(s)"),
            Column("why", text=True),
        ]
        caption = f"Figure 5. Task {example['task']}, {tables.name(run)}: {run['outcome']}."
        shown.append(page.table(caption, columns, rows))
    note = page.paragraph(example.get("chosen", ""), "muted")
    return Safe("\n".join([*shown, note]))


def _stopping(found: Mapping[str, Any]) -> Safe | None:
    if not found["self_regulation"]:
        return None
    return page.section("stopping", "Stopping oneself", [tables.table_1(found)])


def _further(found: Mapping[str, Any]) -> Safe | None:
    parts = []
    series = [row["series"] for row in in_table(found, "learns", intervention="stronger")]
    if any(series):
        draw = figures.curve(found, "s_obj", "stronger", variants=True)
        label = "S_obj: success against calls, by what the helper learnt"
        parts.append(_figure(draw, "variants", label, label + "."))
    for number, caption in _FURTHER.items():
        if (table := tables.compared(found, number, caption)) is not None:
            parts.append(table)
    return page.section("further", "Beyond the paper", parts) if parts else None


def _causes(found: Mapping[str, Any]) -> Safe | None:
    parts = []
    rows = in_table(found, "2", split="test_unseen", intervention="stronger")
    for kind in names(rows, "task_type"):
        some = of(rows, task_type=kind)
        called = TASK_TYPES.get(kind, kind)
        label = f"{called}: how failures ended"
        parts.append(_figure(figures.causes(some), f"causes-{kind}", label, label + "."))
    if not parts:
        return None
    table = tables.causes(found, rows, "How failures ended.")
    return page.section("causes", "Why tasks fail", [page.panels(parts), table])


def _forecast(found: Mapping[str, Any]) -> Safe | None:
    rows = _with_forecast(found)
    parts = []
    if rows:
        caption = "Calls on test tasks, with 95% intervals, against the calls that were expected."
        parts.append(_figure(figures.gaps(rows), "gaps", caption, caption))
    if found["forecasts"]:
        parts.append(tables.forecasts(found))
    return page.section("forecast", "Forecast and test", parts) if parts else None


def _with_forecast(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows = in_table(found, "2", split="test_unseen", method="helper", intervention="stronger")
    return [row for row in rows if row["expected_usage"] is not None]


def _run(found: Mapping[str, Any]) -> Safe:
    rows = [
        (name, [value if isinstance(value, str) else json.dumps(value)])
        for group in ("environment", "config")
        for name, value in found[group].items()
    ]
    rows.append(("peak memory of one stage", [f"{found['peak_memory_mb']:,.0f} MiB"]))
    columns = [Column(""), Column("", text=True)]
    config = page.table("What ran, and where.", [Column("field"), columns[1]], rows)
    parts = [config, tables.timing(found)]
    parts += [tables.models(found)] if found["models"] else []
    return page.section("run", "The run", parts)


def _figure(draw: drawing.Draw, key: str, label: str, caption: str, *, first: bool = False) -> Safe:
    picture = None
    if drawing.installed():
        picture = drawing.svg(draw, key, f"{label}; {drawing.SIMULATED}")
    return page.figure(picture, caption, first=first)


def _pictures(found: Mapping[str, Any]) -> dict[str, bytes]:
    """PNGs by name."""
    rows = of(found["conditions"], intervention="stronger", split="test_unseen")
    kinds = sorted(names(rows, "task_type"), key=lambda kind: kind != "s_obj")
    shown = {}
    if kinds:
        draws = [figures.curve(found, kind, "stronger") for kind in kinds]
        shown["frontier"] = drawing.together(draws)
    for kind in kinds:
        some = in_table(found, "2", task_type=kind, split="test_unseen", intervention="stronger")
        if some:
            shown[f"causes_{kind}"] = drawing.png(figures.causes(some))
    if rows := _with_forecast(found):
        shown["expected_usage"] = drawing.png(figures.gaps(rows))
    for i, example in enumerate(of(found["examples"], kind="toggling")):
        shown["toggling" if i == 0 else f"toggling_{i}"] = drawing.png(figures.toggling(example))
    for row in found["coverage"]:
        name = f"coverage_{row['task_type']}_{row['intervention']}"
        shown[name] = drawing.png(figures.coverage(row))
    return shown
