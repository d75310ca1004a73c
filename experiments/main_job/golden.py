"""Whether two runs of the main job found the same."""

from collections.abc import Mapping, Sequence
from typing import Any

_KEY = ("task_type", "intervention", "split", "part", "method", "setting")
# What says how a run went, and not what it found.
_OF_THE_RUN = ("environment", "timing", "peak_memory_mb")


def differences(
    found: Mapping[str, Any], golden: Mapping[str, Any], *, success: float, calls: float
) -> list[str]:
    """What differs, in words; empty if nothing does.

    Args:
      found, golden: results.
      success: how much rates may differ, of success or of being right, from 0 to 1.
      calls: how much calls a task may differ. If both are 0 all that was found must be equal, to
        the last digit.
    """
    if not success and not calls:
        return [
            f"{name} differs"
            for name in sorted(found.keys() | golden.keys())
            if name not in _OF_THE_RUN and found.get(name) != golden.get(name)
        ]
    ours, theirs = _measured(found), _measured(golden)
    words = [f"{name} is missing" for name in theirs if name not in ours]
    words += [f"{name} is new" for name in ours if name not in theirs]
    for name, (rate, usage) in ours.items():
        if name not in theirs:
            continue
        expected, expected_usage = theirs[name]
        if abs(rate - expected) > success:
            words.append(f"{name}: {rate:.3f}, expected {expected:.3f} within {success:g}")
        for u, other in zip(usage, expected_usage, strict=True):
            if abs(u - other) > calls:
                words.append(f"{name}: {u:.2f} calls, expected {other:.2f} within {calls:g}")
    return words


def _measured(results: Mapping[str, Any]) -> dict[str, tuple[float, Sequence[float]]]:
    """A rate, and calls a task of each help, of all that was measured: success under conditions and
    at the upper end of the plans' frontiers; how often stopping was right."""
    found = {
        " ".join(str(row.get(name, "all")) for name in _KEY): (row["success"], row["usage"])
        for row in results["conditions"]
    }
    for row in results["self_regulation"]:
        name = " ".join(row[part] for part in ("task_type", "intervention", "reads", "states"))
        found[f"stopping {name}"] = row["accuracy"], ()
    for row in results["frontier"]:
        name = f"frontier {row['task_type']} {row['intervention']}"
        found[name] = row["success"][-1], row["usage"][-1:]
    return found
