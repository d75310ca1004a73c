"""Whether two runs of the main job found the same."""

from collections.abc import Mapping
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
      success: how much rates of success may differ, from 0 to 1.
      calls: how much calls a task may differ. If both are 0 all that was found must be equal, to
        the last digit.
    """
    if not success and not calls:
        return [
            f"{name} differs"
            for name in sorted(found.keys() | golden.keys())
            if name not in _OF_THE_RUN and found.get(name) != golden.get(name)
        ]
    ours, theirs = _by_key(found), _by_key(golden)
    words = [f"{' '.join(key)} is missing" for key in theirs if key not in ours]
    words += [f"{' '.join(key)} is new" for key in ours if key not in theirs]
    for key, row in ours.items():
        if key not in theirs:
            continue
        other = theirs[key]
        if abs(row["success"] - other["success"]) > success:
            words.append(
                f"{' '.join(key)}: success {row['success']:.3f}, expected "
                f"{other['success']:.3f} within {success:g}"
            )
        for u, expected in zip(row["usage"], other["usage"], strict=True):
            if abs(u - expected) > calls:
                words.append(
                    f"{' '.join(key)}: {u:.2f} calls, expected {expected:.2f} within {calls:g}"
                )
    return words


def _by_key(results: Mapping[str, Any]) -> dict[tuple[str, ...], Mapping[str, Any]]:
    return {tuple(str(row.get(name, "all")) for name in _KEY): row for row in results["conditions"]}
