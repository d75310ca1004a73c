"""What was to be reached, and whether it was, in words."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from experiments.main_job.results import calls, in_table, names, of
from experiments.main_job.tables import REPLIES, TASK_TYPES, at_the_last, name, reads_replies

_CALLS = 1.0  # a task
_SHARE = 0.95  # of the success with help always
_GAP = 0.15  # calls between U and E[U]
_UNSEEN = 0.90  # of the success on the other tasks
_ACCURACY = 0.90

HELPER = "helper"  # the series of the method itself, among those of its variants

Verdict = Literal["reached", "missed", "not measured"]


class Finding(NamedTuple):
    """One target.

    Attributes:
      target: what it is about.
      paper: what the paper reports.
      wanted: to reach.
      found: in words; "" if not measured.
      verdict: how it went.
    """

    target: str
    paper: str
    wanted: str
    found: str
    verdict: Verdict


def findings(results: Mapping[str, Any]) -> list[Finding]:
    """Every target; of S_obj, a stronger model and unseen test tasks where not said otherwise."""
    place = dict(task_type="s_obj", intervention="stronger")
    here = place | dict(split="test_unseen")
    helper = in_table(results, "2", **here, method="helper")
    always = of(results["conditions"], **here, method="always")
    curve = of(results["conditions"], **here, method="helper", series="helper")
    return [
        _about_one_call(curve, always),
        _expected_gap(helper),
        _forecast_gap(of(results["forecasts"], **place), helper),
        _against(results, here, "random", "+15 points, 40 tasks"),
        _against(results, here, "prm", "better"),
        _against(results, here, "prm", "–", REPLIES),
        _unseen(results),
        _self_regulation(results),
    ]


def sentence(results: Mapping[str, Any], task_type: str) -> str:
    """The main result of a task type: what about one call a task does."""
    here = dict(task_type=task_type, intervention="stronger", split="test_unseen")
    helper = in_table(results, "2", **here, method="helper")
    never, always = (of(results["conditions"], **here, method=m) for m in ("never", "always"))
    if not (helper and never and always):
        return ""
    best = min(helper, key=lambda row: abs(calls(row["usage"]) - _CALLS))
    text = (
        f"{TASK_TYPES.get(task_type, task_type)}: with {calls(best['usage']):.2f} calls a task the "
        f"helper succeeds in {_with_interval(best)} of {best['tasks']} unseen tasks. Without help "
        f"it is {_with_interval(never[0])}, with help at every turn {_with_interval(always[0])} "
        f"at {calls(always[0]['usage']):.1f} calls"
    )
    matched = _matched(results, here, "random", best["setting"])
    if matched is None:
        return f"{text}."
    return (
        f"{text}; asking at random as often, {_with_interval(matched)} "
        f"at {calls(matched['usage']):.2f}."
    )


def _about_one_call(curve: Sequence, always: Sequence) -> Finding:
    target = "success at about one call a task, as a share of success with help always"
    paper, wanted = "62.5/67.5 = 93% at U 1.0 of 7.8", f"{_SHARE:.0%} at U ≤ {_CALLS:.1f}"
    within = [row for row in curve if round(calls(row["usage"]), 2) <= _CALLS]
    if not always or not curve:
        return Finding(target, paper, wanted, "", "not measured")
    if not within:
        least = min(calls(row["usage"]) for row in curve)
        found = f"no setting uses so few calls; the least is {least:.2f}"
        return Finding(target, paper, wanted, found, "missed")
    best = max(within, key=lambda row: row["success"])
    share = best["success"] / always[0]["success"] if always[0]["success"] else 0.0
    found = (
        f"{share:.0%}: {name(best)} {_with_interval(best)} at U {calls(best['usage']):.2f}, always "
        f"{_with_interval(always[0])} at {calls(always[0]['usage']):.1f}"
    )
    return Finding(target, paper, wanted, found, "reached" if share >= _SHARE else "missed")


def _expected_gap(helper: Sequence) -> Finding:
    target = "gap between U on test tasks and E[U], the calls on validation tasks"
    known = {row["setting"]: (row["usage"], row["expected_usage"]) for row in helper}
    return _gap(target, "0 to 1.1", known)


def _forecast_gap(forecasts: Sequence, helper: Sequence) -> Finding:
    target = "the same for the forecast on validation tasks' tables, nothing played"
    used = {row["setting"]: row["usage"] for row in helper}
    known = {row["setting"]: (used.get(row["setting"]), row["usage"]) for row in forecasts}
    return _gap(target, "–", known)


def _gap(target: str, paper: str, known: Mapping[str, tuple]) -> Finding:
    """Of (U, E[U]) by setting; some may be None."""
    wanted = f"at most {_GAP} at every setting"
    gaps = {
        setting: max(abs(u - e) for u, e in zip(used, expected, strict=True))
        for setting, (used, expected) in known.items()
        if used is not None and expected is not None
    }
    if not gaps:
        return Finding(target, paper, wanted, "", "not measured")
    told = ", ".join(f"{setting} {gap:.2f}" for setting, gap in gaps.items())
    return Finding(target, paper, wanted, told, _verdict(max(gaps.values()) <= _GAP))


def _against(results: Mapping, here: Mapping, method: str, paper: str, added: str = "") -> Finding:
    called = {"random": "random", "prm": "PRM thresholds"}[method] + added
    target = f"against {called} at equal usage"
    wanted = "positive beyond the 95% interval at every setting"
    rows = [
        row
        for row in of(results["comparisons"], **here)
        if row["a"]["method"] == "helper"
        and row["b"]["method"] == method
        and row["b"]["setting"] == matched_to(row["a"]["setting"]) + added
    ]
    known = [row for row in rows if row["ci"] is not None]
    if not known:
        return Finding(target, paper, wanted, "", "not measured")
    told = [
        f"{row['a']['setting']} {100 * row['difference']:+.1f} "
        f"({100 * row['ci'][0]:+.1f} to {100 * row['ci'][1]:+.1f})"
        for row in known
    ]
    good = all(row["ci"][0] > 0 for row in known)
    return Finding(target, paper, wanted, ", ".join(told), _verdict(good))


def _unseen(results: Mapping) -> Finding:
    target = "tasks whose optimal path meets unseen states, as a share of the success on the others"
    paper, wanted = "49/63 = 78%", f"{_UNSEEN:.0%}"
    rows = in_table(results, "4", split="train", method="helper", series=HELPER)
    told, shares = [], []
    for setting in names(rows, "setting"):
        parts = {row.get("part"): row for row in of(rows, setting=setting)}
        if {"seen", "unseen"} <= parts.keys() and parts["seen"]["success"]:
            share = parts["unseen"]["success"] / parts["seen"]["success"]
            shares.append(share)
            told.append(f"{setting} {share:.0%} ({parts['unseen']['tasks']} tasks)")
    if not shares:
        return Finding(target, paper, wanted, "", "not measured")
    always = of(in_table(results, "4", split="train", method="always"), part="unseen")
    told += [f"of these tasks help at every turn solves {row['success']:.0%}" for row in always]
    return Finding(target, paper, wanted, ", ".join(told), _verdict(min(shares) >= _UNSEEN))


def _self_regulation(results: Mapping) -> Finding:
    target, paper, wanted = "accuracy of self-regulation", "88–90%", f"{_ACCURACY:.0%}, both types"
    rows = [row for row in results["self_regulation"] if row["accuracy"] is not None]
    rows = [row for row in rows if row["task_type"] in ("s_obj", "pnp")]
    if not rows:
        return Finding(target, paper, wanted, "", "not measured")
    told = [
        f"{TASK_TYPES[row['task_type']]} {row['accuracy']:.1%}"
        + ("" if reads_replies(row) else " from the state alone")
        + (" by the last two states" if at_the_last(row) else "")
        for row in rows
    ]
    best = [
        max(row["accuracy"] for row in of(rows, task_type=kind) if not at_the_last(row))
        for kind in names(rows, "task_type")
    ]
    enough = len(best) == 2 and min(best) >= _ACCURACY
    return Finding(target, paper, wanted, ", ".join(told), _verdict(enough))


def matched_to(setting: str) -> str:
    """The setting of a baseline that calls as often as a helper at its setting."""
    return f"as often as {setting}"


def _matched(results: Mapping, here: Mapping, method: str, setting: str) -> Mapping | None:
    found = of(results["conditions"], **here, method=method, setting=matched_to(setting))
    return found[0] if found else None


def _with_interval(row: Mapping[str, Any]) -> str:
    text = f"{100 * row['success']:.1f}%"
    if row["success_ci"] is None:
        return text
    low, high = row["success_ci"]
    return f"{text} ({100 * low:.0f}–{100 * high:.0f})"


def _verdict(good: bool) -> Verdict:
    return "reached" if good else "missed"
