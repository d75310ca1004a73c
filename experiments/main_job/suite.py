"""Which conditions are compared: those of the paper's tables, and what they lack.

Written for `experiments.evaluate`, as `experiments.conditions` says.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.main_job.findings import matched_to
from experiments.main_job.tables import CONSTANT, REPLIES, RISING

SETTINGS = ("r high", "r mid", "r low")  # the first budgets of a plan
PAIRS = ("r1 high, r2 high", "r1 high, r2 mid", "r1 mid, r2 high")
MAIN = "gains"  # the variant that is the method
STATE_ALONE = "state_alone"  # a variant that reads no replies, as the paper's
# Variants of the helper: what is added to the setting, and the table they stand in.
VARIANTS = {
    "labels": (", labels copied", "learns"),
    "balanced": (", labels balanced", "learns"),
    "trajectory": (", trajectory only", "learns"),
    "advantage": (", advantage regressed", "learns"),
    "one_cost": (", trained for its cost alone", "cost"),
    "paper_rule": (", labels of the paper's rule", "rule"),
    STATE_ALONE: (", state alone read", "reads"),
    "prior_0.05": (", prior of strength 0.05", "prior"),
    "prior_1": (", prior of strength 1", "prior"),
    "prior_5": (", prior of strength 5", "prior"),
}
CAPS = (1, 2, 3)
COST = 0.25  # of a call, that a helper is told: of what was tried on validation tasks the best
# Of the threshold with each call, likewise; under a cap that leaves room for all calls that pay.
_RISING = {"rise": 0.1, "cap": 10}
_PERHAPS_RISING = _RISING | {"rise": [0.0, 0.1]}  # as validation tasks say

Plan = Mapping[str, Any]
Conditions = list[dict[str, Any]]


def for_test(
    plan: Plan,
    prm: str | None,
    helpers: Mapping[str, str],
    *,
    prm_reply: str | None = None,
    curve: bool = False,
    all_settings: bool = False,
    whole_tasks: bool = False,
) -> Conditions:
    """The conditions for test tasks.

    Args:
      plan: plan.json.
      prm: folder of a process reward model of states; None for no thresholds on it.
      helpers: folders, by variant; without `MAIN` there are baselines alone, for Table 5.
      prm_reply: folder of one that reads the base actor's replies too.
      curve: more points of each curve.
      all_settings: variants at each setting, not at r mid alone.
      whole_tasks: help for whole tasks too.
    """
    several = len(plan["helps"]) > 1
    tables = ["3"] if several else ["2", "3", "5"] if MAIN in helpers else ["5"]
    found = _ends(plan, tables)
    random = [_random(p, plan, tables) for p in (0.1, 0.3)]
    random += [_random(p, plan, []) for p in (0.05, 0.2, 0.5)] if curve and not several else []
    found += random
    if prm is not None:
        found += [
            dict(
                method="prm",
                setting=one["setting"],
                prm=prm,
                match=f"random {one['setting']}",
                tables=one["tables"],
                series="PRM threshold",
                against=[],
                **_drawn(several),
            )
            for one in random[:2]
        ]
    if MAIN in helpers:
        found += _helper(plan, prm, prm_reply, helpers[MAIN], several)
        if not several:
            found += _variants(plan, helpers, SETTINGS if all_settings else SETTINGS[1:2])
            found += _capped(plan, helpers[MAIN])
    if whole_tasks and not several:
        found += _whole_tasks(prm)
    return found


def for_train(
    plan: Plan,
    helpers: Mapping[str, str],
    matches: Mapping[str, Any],
    prm_reply: str | None = None,
) -> Conditions:
    """Helpers on training tasks, each with the dial that validation tasks have set, and the ends.

    Args:
      plan: plan.json.
      helpers: folders, by variant.
      matches: matches.json of the conditions for test tasks.
      prm_reply: as for these.
    """
    found = _ends(plan, ["4"])
    for variant, folder in helpers.items():
        if variant not in (MAIN, "labels", "trajectory"):
            continue
        added = "" if variant == MAIN else VARIANTS[variant][0]
        for i, setting in enumerate(SETTINGS):
            dial = matches.get(f"helper {setting}{added}", {}).get("dial")
            if dial is None:
                continue
            one = dict(
                method="helper",
                setting=setting + added,
                folder=folder,
                cost=_cost(plan, i),
                threshold=dial["values"],
                tables=["4"],
                series="helper" + added,
                against=[],
                **(_RISING | {"rise": dial["rise"]} if variant == MAIN else {}),
            )
            if dial.get("either"):
                one["either"] = prm_reply
            if len(dial["values"]) == 2:
                one["share"] = dial["share"]
            found.append(one)
    return found


def _ends(plan: Plan, tables: Sequence[str]) -> Conditions:
    found = [dict(method="never", setting="0%", tables=list(tables))]
    if len(plan["helps"]) == 1:
        return [*found, dict(method="always", setting="100%", tables=list(tables))]
    return found + [
        dict(method="always", setting=f"100% {name}", help=i, tables=list(tables))
        for i, name in enumerate(plan["helps"], 1)
    ]


def _random(p: float, plan: Plan, tables: Sequence[str]) -> dict[str, Any]:
    number = len(plan["helps"])
    setting = ", ".join([f"{100 * p:g}%"] * number)
    return dict(
        method="random",
        setting=setting,
        p=p if number == 1 else [p] * number,
        tables=list(tables),
        series="random",
    )


def _helper(
    plan: Plan, prm: str | None, prm_reply: str | None, folder: str, several: bool
) -> Conditions:
    """The method at each budget of the plan, and baselines that call as often."""
    names = PAIRS if several else SETTINGS
    main_how = {} if several else _PERHAPS_RISING | ({"either": prm_reply} if prm_reply else {})
    found = []
    for i, one in enumerate(plan["plans"]):
        main = i < len(names)
        calls = sum(one["budget"])
        setting = names[i] if main else f"{calls:g} calls"
        found.append(
            dict(
                method="helper",
                setting=setting,
                folder=folder,
                cost=_cost(plan, i),
                match=calls,
                tables=(["3"] if several else ["2", "3"]) if main else [],
                series="helper",
                against=_against(setting, prm, prm_reply, several) if main else [],
                **main_how,
            )
        )
        if not main:
            continue
        if not several:
            found.append(_constant(found[-1]))
        equal = dict(match=f"helper {setting}", tables=["matched"], against=[])
        random = dict(method="random", setting=matched_to(setting), series="random", **equal)
        if several:
            random["p"] = [u / 2 / max(sum(one["budget"]), 1e-9) for u in one["budget"]]
        found.append(random)
        judges = ((prm, "", _drawn(several)),)
        if not several:
            judges += ((prm_reply, REPLIES, {}), (prm_reply, RISING + REPLIES, _RISING))
        for judge, added, how in judges:
            if judge is not None:
                series = dict(series="PRM threshold" + added)
                name = matched_to(setting) + added
                found.append(dict(method="prm", setting=name, prm=judge) | equal | series | how)
    return found


def _drawn(several: bool) -> dict[str, Any]:
    """Which of several helps a threshold on p(s) asks: the paper's draws one."""
    return {"help": "any"} if several else {}


def _constant(helper: Mapping[str, Any]) -> dict[str, Any]:
    """The same helper alone, with a threshold that does not rise in any case."""
    found = {name: value for name, value in helper.items() if name not in (*_RISING, "either")}
    setting = helper["setting"] + CONSTANT
    against = [f"helper {helper['setting']}"]
    return found | dict(setting=setting, tables=["rise"], series=None, against=against)


def _against(setting: str, prm: str | None, prm_reply: str | None, several: bool) -> list[str]:
    found = ["never 0%", f"random {matched_to(setting)}"]
    judges = ((prm, ""),)
    if not several:
        found.append("always 100%")
        judges += ((prm_reply, REPLIES), (prm_reply, RISING + REPLIES))
    return found + [f"prm {matched_to(setting)}{added}" for judge, added in judges if judge]


def _variants(plan: Plan, helpers: Mapping[str, str], settings: Sequence[str]) -> Conditions:
    """Other helpers, each compared at the same usage with the method's, all thresholds constant."""
    found = []
    for variant, folder in helpers.items():
        if variant == MAIN:
            continue
        added, table = VARIANTS[variant]
        for i in map(SETTINGS.index, settings):
            setting = SETTINGS[i]
            at = dict(method="helper", folder=folder, series="helper" + added)
            # One that was trained for a cost alone is not told it.
            at |= dict(cost=_cost(plan, i)) if variant != "one_cost" else {}
            found.append(
                at
                | dict(
                    setting=setting + added,
                    match=sum(plan["plans"][i]["budget"]),
                    tables=[table],
                    against=[f"helper {setting}{CONSTANT}"],
                )
            )
            if variant in ("labels", "balanced", "trajectory") and setting == "r mid":
                as_trained = dict(setting=f"{setting}{added}, as trained", threshold=0.0)
                found.append(at | as_trained | dict(tables=[table], series=None, against=[]))
    return found


def _capped(plan: Plan, folder: str) -> Conditions:
    return [
        dict(
            method="helper",
            setting=f"at most {cap} call{'s' if cap > 1 else ''}",
            folder=folder,
            cost=_cost(plan, 0),
            match=cap / 2,
            cap=cap,
            tables=["cap"],
            against=[],
        )
        for cap in CAPS
    ]


def _whole_tasks(prm: str | None) -> Conditions:
    """The paper's Table 5."""
    found = [
        dict(
            method="random",
            setting=f"{100 * p:g}% of the tasks, all of it",
            p=p,
            task_wise="now",
            tables=["5"],
        )
        for p in (0.1, 0.3, 0.7)
    ]
    if prm is None:
        return found
    for way, words in (("all", "again from the start"), (5, "first five steps, to the end")):
        found += [
            dict(
                method="prm",
                setting=f"{setting}, {words}",
                prm=prm,
                match=f"random {setting}",
                task_wise=way,
                tables=["5"],
                against=[],
            )
            for setting in ("10%", "30%")
        ]
    return found


def _cost(plan: Plan, i: int) -> list[float]:
    """Of a plan of several helps; `COST` for one. Within what a helper has learnt, which is from
    the labels whose costs are all above 0.

    The table sees ahead: it pays much for one of few calls, and nothing once it has as many as it
    needs. To a helper, who does not, calls are worth about as much at every budget; how many there
    are is left to its threshold.
    """
    wanted = [COST] if len(plan["helps"]) == 1 else plan["plans"][i]["cost"]
    learnt = [cost for row in plan["costs"] if min(row) > 0 for cost in row]
    low, high = min(learnt, default=0.0), max(learnt, default=math.inf)
    return [min(max(cost, low), high) for cost in wanted]
