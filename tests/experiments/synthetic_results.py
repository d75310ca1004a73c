"""Results of a main job that never ran: made up, for tests of what reads results.json."""

import math
from typing import Any

SETTINGS = {"r high": 0.5, "r mid": 1.0, "r low": 2.0}


def condition(
    method: str,
    setting: str,
    usage: float,
    success: float,
    *,
    task_type: str = "s_obj",
    intervention: str = "stronger",
    tables: tuple[str, ...] = ("2",),
    **fields: Any,
) -> dict[str, Any]:
    """One condition, on 200 tasks that are made up."""
    error = 1.96 * math.sqrt(success * (1 - success) / 200)
    calls = [usage, usage / 2] if intervention == "both" else [usage]
    row = dict(
        task_type=task_type,
        intervention=intervention,
        split="test_unseen",
        method=method,
        setting=setting,
        tables=list(tables),
        series={"helper": "helper", "random": "random", "prm": "PRM threshold"}.get(method),
        tasks=200,
        seeds=3,
        success=success,
        success_ci=[max(success - error, 0.0), min(success + error, 1.0)],
        spl=0.85 * success,
        length=12.0 - usage / 2,
        usage=calls,
        usage_ci=[[u * 0.9, u * 1.1] for u in calls],
        expected_usage=None,
        invalid=0.02,
        causes={"invalid action": 8, "limit": 30, "wrong Done": 22, "other": 0},
    )
    return row | fields


def results() -> dict[str, Any]:
    """All that a page can show, every number of it made up."""
    conditions, comparisons, frontier, coverage, forecasts = [], [], [], [], []
    for kind, low, high in [("s_obj", 0.30, 0.675), ("pnp", 0.35, 0.60), ("s_hum", 0.2, 0.55)]:
        for intervention in ("stronger", "search", "both") if kind == "s_obj" else ("stronger",):
            where = dict(task_type=kind, intervention=intervention)

            def at(usage, lift, low=low, high=high):
                return low + (high - low) * (1 - math.exp(-usage * lift))

            both = ("2", "3", "5") if kind == "s_obj" else ("2",)
            conditions += [
                condition("never", "0%", 0.0, low, tables=both, **where),
                condition("always", "100%", 7.8, high, tables=both, **where),
                condition("random", "10%", 1.1, at(1.1, 0.35), tables=both, **where),
                condition("random", "30%", 2.9, at(2.9, 0.35), tables=both, **where),
                condition("prm", "10%", 1.0, at(1.0, 0.3), tables=both, **where),
                condition("prm", "30%", 1.8, at(1.8, 0.3), tables=both, **where),
            ]
            for setting, usage in SETTINGS.items():
                a = condition(
                    "helper",
                    setting,
                    usage + 0.05,
                    at(usage, 1.5),
                    expected_usage=[usage, usage / 2] if intervention == "both" else [usage],
                    tables=("2", "3") if kind == "s_obj" else ("2",),
                    **where,
                )
                conditions.append(a)
                others = (("random", "", 0.35), ("prm", "", 0.3), ("prm", ", replies read", 1.45))
                others += (("prm", ", rising threshold, replies read", 1.45),)
                for method, added, lift in others:
                    b = condition(
                        method,
                        f"as often as {setting}{added}",
                        usage,
                        at(usage, lift),
                        tables=("matched",),
                        **where,
                    )
                    conditions.append(b)
                    difference = a["success"] - b["success"]
                    comparisons.append(
                        where
                        | dict(
                            split="test_unseen",
                            a=dict(method="helper", setting=setting),
                            b=dict(method=method, setting=b["setting"]),
                            difference=difference,
                            ci=[difference - 0.07, difference + 0.07],
                            usage_difference=[
                                u - v for u, v in zip(a["usage"], b["usage"], strict=True)
                            ],
                            usage_ci=None,
                        )
                    )
                forecasts.append(
                    where
                    | dict(
                        setting=setting,
                        success=at(usage, 1.6),
                        success_ci=[at(usage, 1.4), at(usage, 1.9)],
                        usage=a["expected_usage"],
                        usage_ci=None,
                        ceiling=dict(
                            success=0.9, success_ci=None, usage=a["expected_usage"], usage_ci=None
                        ),
                    )
                )
            frontier.append(
                where
                | dict(
                    usage=[0.0, 0.3, 0.8, 1.5, 2.5],
                    success=[low, low + 0.2, high, high + 0.15, high + 0.2],
                )
            )
            if kind != "s_obj" or intervention == "search":
                continue
            helps = ["reasoner", "search"] if intervention == "both" else ["reasoner"]
            coverage.append(
                where
                | dict(
                    helps=helps,
                    states=72_000,
                    tasks=1000,
                    times=["0", "1", "2-3", "4+"],
                    state_share=[[0.1, 0.5, 0.2, 0.2]] + [[0.6, 0.2, 0.1, 0.1]] * len(helps),
                    visit_share=[[0.02, 0.2, 0.2, 0.58]] + [[0.2, 0.2, 0.2, 0.4]] * len(helps),
                )
            )
    for method, setting, usage in (("never", "0%", 0.0), ("always", "100%", 7.8)):
        for part, success in (("seen", 0.7), ("unseen", 0.25), ("all", 0.6)):
            conditions.append(
                condition(
                    method,
                    setting,
                    usage,
                    success if usage else success / 2,
                    split="train",
                    part=part,
                    tables=("4",),
                    series=None,
                )
            )
    for suffix, series in (("", "helper"), (", trajectory only", "helper, trajectory only")):
        for setting, usage in SETTINGS.items():
            for part, success in (("seen", 0.6), ("unseen", 0.5), ("all", 0.56)):
                conditions.append(
                    condition(
                        "helper",
                        setting + suffix,
                        usage,
                        success - (0.2 if suffix and part != "seen" else 0.0),
                        split="train",
                        part=part,
                        tables=("4",),
                        series=series,
                        expected_usage=[usage],
                    )
                )
    conditions += [
        condition("random", "10%, whole tasks", 0.7, 0.38, tables=("5",), series=None),
        condition("prm", "10%, whole tasks", 1.5, 0.35, tables=("5",), series=None),
        condition(
            "helper",
            "r mid, labels copied",
            0.01,
            0.3,
            tables=("learns",),
            series="helper, labels copied",
        ),
        condition("helper", "at most 2 calls", 1.4, 0.5, tables=("cap",), series=None),
    ]
    turns = [
        dict(help=t % 3 == 1, actor="reasoner" if t % 3 == 1 else "greedy", p=0.3 + 0.05 * (t % 3))
        | dict(action=f"go to room {t}", reason="gain 0.12 above 0.03" if t % 3 == 1 else "")
        for t in range(9)
    ]
    runs = [
        dict(method="prm", setting="30%", outcome="failure", turns=turns),
        dict(method="random", setting="30%", outcome="success", turns=turns[:5]),
    ]
    where = dict(task_type="s_obj", intervention="stronger", task="s_obj/test_unseen/7")
    return dict(
        version=1,
        config=dict(
            scale="synthetic: nothing ran",
            actors="nobody",
            seed=0,
            players={"s_obj": {"base": "nobody", "stronger": "somebody"}},
        ),
        environment=dict(python="3", note="synthetic: no machine"),
        conditions=conditions,
        comparisons=comparisons,
        self_regulation=[
            dict(
                task_type=kind,
                intervention="stronger",
                reads="compact+reply",
                states="all",
                tasks=200,
                success=0.3,
                threshold=0.61,
                accuracy=accuracy,
                accuracy_ci=[accuracy - 0.04, accuracy + 0.04],
                precision=0.8,
                recall=0.9,
            )
            for kind, accuracy in (("s_obj", 0.91), ("pnp", 0.87))
        ],
        frontier=frontier,
        coverage=coverage,
        forecasts=forecasts,
        examples=[
            where | dict(kind="toggling", runs=runs, chosen="Made up."),
            where | dict(kind="trajectory", runs=runs, chosen="Made up."),
        ],
        turns=[where | dict(method="prm", setting="30%", calls=2.0, changes=3.5, turns=11.0)],
        models=[where | dict(name="prm", quality={"validation": {"nohelp": {"auroc": 0.7}}})],
        timing={"collect-s_obj": 61.5, "prm-s_obj": 33.25},
        peak_memory_mb=812.5,
    )
