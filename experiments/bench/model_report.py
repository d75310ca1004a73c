"""The tables of `bench_models`: rows from the answers of all measurements, and as markdown."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.bench.model_cases import Case
from experiments.bench.roofline import Device
from experiments.bench.tables import table

NOT_INSTALLED = "is not installed"  # status of a side
AGREEING = 0.99  # share of the numbers of `check` that both sides must find, to 0.1%
EXTRAPOLATED = 1_000_000  # tokens
WANTED_SECONDS = 120  # for them, on two cores
_TITLES = (
    *("what", "model", "each", "ours, CPU s", "other, CPU s", "ratio"),
    *("ours, s", "other, s", "ratio", "promised", "other is"),
)
_NUMBERS = (3, 4, 5, 6, 7, 8, 9)  # columns
_DEVICE_TITLES = ("what", "tokens a second", "reached", "of the peak")


def make_rows(
    cases: Sequence[Case], answers: Mapping[tuple[str, str], Mapping[str, Sequence[Mapping]]]
) -> list[dict[str, Any]]:
    """A row for each case and each thing counted in it.

    Args:
      cases: in the order of the rows.
      answers: by group and name of a case, of "ours" and "other": what
        `experiments.bench.measure.ask` gave, at least one each.
    """
    return [row for case in cases for row in _rows(case, answers[case.group, case.name])]


def markdown(results: Mapping[str, Any]) -> str:
    """The tables, and what they depend on."""
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    times = "once" if results["repeats"] == 1 else f"{results['repeats']} times, medians"
    parts = [
        "# Models",
        f"{machine['processor']}, {results['threads']} threads, load {machine['load']:.1f}; Python "
        f"{machine['python']}, {versions}. Measured {times}, {results['seconds']:g} s each; "
        "tokens without padding.",
        table(_TITLES, [_texts(row) for row in results["rows"]], right=_NUMBERS),
        *_notes(results["rows"]),
        extrapolation(results["rows"]),
        _device_part(results.get("accelerator")),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def extrapolation(rows: Sequence[Mapping[str, Any]]) -> str:
    """How long a million tokens of training would take at the rate of the first training row."""
    rates = [r["ours"]["each_second"] for r in rows if r["group"] == "training" and r.get("ours")]
    if not rates:
        return ""
    return (
        f"Extrapolated, not measured: training on {EXTRAPOLATED:,} tokens at the first rate takes "
        f"{EXTRAPOLATED / rates[0]:.0f} s, without compilation; {WANTED_SECONDS} s on two cores "
        "are wanted."
    )


def device_row(
    name: str, answers: Sequence[Mapping[str, Any]], device: Device | None
) -> dict[str, Any]:
    """What was reached on an accelerator: model FLOP/s or bytes a second, and of which peak."""
    last = answers[-1]
    if last["status"] != "ok":
        return {"name": name, "status": last["status"], "note": last.get("reason", "")}
    kind = "flops" if "flops" in last else "bytes"
    reached = statistics.median(answer[kind] / answer["wall"] for answer in answers)
    row = {
        "name": name,
        "status": "ok",
        "each_second": statistics.median(answer["count"] / answer["wall"] for answer in answers),
        kind: reached,
        "answers": list(answers),
    }
    if device is not None:
        peak = device.tflops * 1e12 if kind == "flops" else device.gb_a_second * 1e9
        row["share"] = reached / peak
    return row


def _rows(case: Case, answers: Mapping[str, Sequence[Mapping]]) -> list[dict[str, Any]]:
    row = {
        "group": case.group,
        "name": case.name,
        "beside": case.beside,
        "promised": case.promised,
        "kept": True,
        "status": "ok",
        "note": "",
    }
    ours, other = answers["ours"], answers["other"]
    if ours[-1]["status"] != "ok":
        return [row | _failure(ours[-1])]
    found = [row | {"unit": unit, "ours": _rates(ours, unit)} for unit in ours[-1]["counts"]]
    for one in found:
        one["note"] = ours[-1]["note"]
        one["answers"] = {"ours": _kept(ours), "other": _kept(other)}
        if other[-1]["status"] != "ok":
            missing = other[-1]["status"] == NOT_INSTALLED
            one |= {"beside": f"{case.beside} {NOT_INSTALLED}"} if missing else _failure(other[-1])
            continue
        agreeing = _agreement(ours[-1]["check"], other[-1]["check"])
        one["agreeing"] = agreeing
        if agreeing < AGREEING:
            reason = f"only {agreeing:.1%} of the numbers are the same"
            one |= {"status": "failed", "note": reason}
            continue
        one["other"] = _rates(other, one["unit"])
        for rate, ratio in (("each_cpu_second", "cpu_ratio"), ("each_second", "ratio")):
            one[ratio] = one["ours"][rate] / one["other"][rate]
        if case.promised is not None:
            one["kept"] = min(one["ratio"], one["cpu_ratio"]) >= case.promised
    return found


def _failure(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {"status": answer["status"], "note": answer.get("reason", "")}


def _rates(answers: Sequence[Mapping[str, Any]], unit: str) -> dict[str, float]:
    return {
        name: statistics.median(answer["counts"][unit] / answer[clock] for answer in answers)
        for name, clock in (("each_cpu_second", "cpu"), ("each_second", "wall"))
    }


def _kept(answers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What is saved of them: all but the numbers that were compared."""
    return [{k: v for k, v in answer.items() if k != "check"} for answer in answers]


def _agreement(ours: Sequence[float], other: Sequence[float]) -> float:
    if len(ours) != len(other):
        return 0.0
    return float(np.isclose(ours, other, rtol=1e-3, atol=1e-3).mean())


def _texts(row: Mapping[str, Any]) -> list[str]:
    first = [row["group"], row["name"], row.get("unit", "")]
    if row["status"] != "ok":
        return [*first, row["status"], *[""] * 6, row["note"]]
    promised = "" if row["promised"] is None else f"{row['promised']:g}"
    rates = [f"{row['ours'][clock]:,.0f}" for clock in ("each_cpu_second", "each_second")]
    if "other" not in row:
        return [*first, rates[0], "", "", rates[1], "", "", promised, row["beside"]]
    others = [f"{row['other'][clock]:,.0f}" for clock in ("each_cpu_second", "each_second")]
    return [
        *first,
        *(rates[0], others[0], f"{row['cpu_ratio']:.2f}"),
        *(rates[1], others[1], f"{row['ratio']:.2f}"),
        promised if row["kept"] else f"{promised} BROKEN",
        row["beside"],
    ]


def _notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    notes = dict.fromkeys(
        f"{row['group']} {row['name']}: {row['note']}"
        for row in rows
        if row["status"] == "ok" and row["note"]
    )
    return [". ".join(notes) + "."] if notes else []


def _device_part(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    texts = []
    for row in found["rows"]:
        if row["status"] != "ok":
            texts.append([row["name"], row["status"], row["note"], ""])
            continue
        reached = f"{row['flops'] / 1e12:,.1f} TFLOP/s" if "flops" in row else ""
        reached = reached or f"{row['bytes'] / 1e9:,.1f} GB/s"
        share = f"{row['share']:.1%}" if "share" in row else "peak unknown"
        texts.append([row["name"], f"{row['each_second']:,.0f}", reached, share])
    return (
        f"## {found['kind']}\n\nA model of random weights, {found['model']}, bfloat16. Model FLOPs "
        "as `experiments.bench.roofline` counts them; for generation the bytes that decoding reads "
        f"at least, in a time with prefill.\n\n{table(_DEVICE_TITLES, texts, right=(1, 2, 3))}"
    )
