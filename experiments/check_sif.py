"""Tells which real SIF episodes can be played, and why the others cannot.

    python -m experiments.check_sif --data=data/datasets/sif_release

prints a row for each file of episodes, what is worth knowing of them, and everything that could not
be used with the reason. `adapters.sif.real` says what the files have to hold and which rules fill
the gaps. L* is the scripted oracle's length under our rules: no result on SIF. Exits with 1 if
something could not be used.
"""

import pathlib
import sys
from collections.abc import Iterable, Sequence

from absl import app, flags

from adapters.sif import real
from adapters.sif.floor import read_floor

_DATA = flags.DEFINE_string("data", None, "Folder that holds jsons/.", required=True)
_RELOC = flags.DEFINE_enum(
    "reloc",
    "before",
    ["before", "after"],
    "Whether objects_reloc_start_loc tells where objects were before they were moved, or after.",
)

_SHOWN = 5  # episodes named for one reason


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        sys.exit(f"check_sif: unexpected argument {argv[1]!r}.")
    try:
        names = real.splits(_DATA.value)
    except ValueError as error:
        sys.exit(f"check_sif: {error}.")
    print(
        f"{'file':24} {'episodes':>8} {'usable':>7} {'rooms':>6} {'receptacles':>11} "
        f"{'objects':>8} {'moved':>6} {'L* actions':>10} {'L* steps':>9}"
    )
    parts = []
    for name in names:
        parts.append(real.read_split(_DATA.value, name, reloc=_RELOC.value))
        print(_row(parts[-1]), flush=True)
    episodes, usable = sum(part.episodes for part in parts), sum(len(part.tasks) for part in parts)
    print(f"{'all':24} {episodes:8} {usable:7}")
    for part in parts:
        for what, count in sorted(part.counts.items()):
            print(f"{part.name}: {count} of {len(part.tasks)} {what}")
    problems = [(why, those) for part in parts for why, those in part.problems.items()]
    problems += [(why, ()) for why in _bad_annotations() if why not in dict(problems)]
    if problems:
        print(f"\nNot used, for {len(problems)} reasons:")
    for why, those in problems:
        print(f"  {why}{_named(those)}")
    sys.exit(1 if problems else 0)


def _row(part: real.Split) -> str:
    tasks = part.tasks

    def moved(task):
        return sum(a != b for a, b in zip(task.premap, task.objects, strict=True))

    solved = [task for task in tasks if task.oracle_steps is not None]
    return (
        f"{part.name:24} {part.episodes:8} {len(tasks):7} "
        f"{_mean(len(task.house.rooms) for task in tasks):>6} "
        f"{_mean(sum(len(r.receptacles) for r in task.house.rooms) for task in tasks):>11} "
        f"{_mean(len(task.objects) for task in tasks):>8} {_mean(map(moved, tasks)):>6} "
        f"{_mean(task.oracle_actions for task in solved):>10} "
        f"{_mean(task.oracle_steps for task in solved):>9}"
    )


def _bad_annotations() -> list[str]:
    """Why scenes cannot be read, those that no episode is in among them."""
    bad = []
    for path in sorted(pathlib.Path(_DATA.value).glob("room_annotations/*")):
        try:
            read_floor(real.annotation_of(_DATA.value, path.name))
        except (OSError, ValueError) as error:
            bad.append(str(error))
    return bad


def _mean(numbers: Iterable[float]) -> str:
    numbers = list(numbers)
    return f"{sum(numbers) / len(numbers):.1f}" if numbers else "-"


def _named(episodes: Sequence[str]) -> str:
    if len(episodes) < 2:
        return ""
    more = f" and {len(episodes) - _SHOWN} more" if len(episodes) > _SHOWN else ""
    return f" ({len(episodes)} episodes: {', '.join(episodes[:_SHOWN])}{more})"


if __name__ == "__main__":
    app.run(main)
