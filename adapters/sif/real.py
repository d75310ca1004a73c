"""Tasks from SIF's real episode files. The files themselves could not be obtained: this follows a
description of what their public readers read, and is tested on files of that form that our tests
write. `python -m experiments.check_sif --data=DIR` tells how far a download is as described.

    DIR/jsons/<split>.json.gz                              {"episodes": [...]}
    DIR/jsons/oracle_pddl/<split>/<episode_id>.p           the oracle's plan; may be missing
    DIR/room_annotations/<scene>/room_annotation_dict.p    see `adapters.sif.floor`
    DIR/categories.json                                    ours: {handle: category}; optional

The type of a split is the one of pnp, s_obj, s_hum in its name. Besides the fields of SIF, an
episode has those that Habitat's rearrangement episodes have: `rigid_objs`, the objects with their
poses, and `name_to_receptacle`, {object: "receptacle handle|surface"}.

Rules where the files say nothing, or where what they say is not described; all chosen here:

* Categories. Handles name them ("cup_3", "table_12"), or `categories.json` does. An object has to
  have one; a receptacle without is "unidentified".
* Moved objects. When the task begins, every object is where `rigid_objs` has it;
  `objects_reloc_start_loc` is where some were in phase 1. With reloc="after" it is the other way
  round. On what an object stands there is not said: it is the nearest receptacle of that room,
  within a metre, else an "unidentified" one.
* Furniture. A receptacle stands where an object stands on it, in any episode of the same scene in
  the same file; there may be more in the house, but the files do not tell. If the goal's is not
  among them, one is put into the last room that the oracle's plan goes to. What is nearest to the
  entrance comes first; two together are a spot, in no more than four spots a room.
* The human walks straight on, at 25 cm a low-level step. If it starts in free space, it is taken to
  start in the nearest room.
* L* is the scripted oracle's in this world, None if it fails: the files give no length in steps.
"""

import collections
import dataclasses
import functools
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from adapters.sif import oracle
from adapters.sif.draws import Draws
from adapters.sif.episode import (
    Episode,
    Site,
    id_of,
    read_episode,
    read_plan,
    scene_of,
)
from adapters.sif.fields import Field, read_json_gz
from adapters.sif.floor import read_floor
from adapters.sif.furniture import UNIDENTIFIED, Furnishing, Piece, furniture_of
from adapters.sif.tasks import TASK_TYPES, Placed, Task, TaskType

Reloc = Literal["before", "after"]


@dataclasses.dataclass(frozen=True)
class Split:
    """What came of one file of episodes.

    Attributes:
      name: of the file, without .json.gz.
      episodes: how many there are in it; 0 if it cannot be used at all.
      tasks: those that could be made.
      problems: why others could not, each with the episodes that it concerns, as "episodes[3]";
        with none where it is the whole file.
      counts: of episodes, by what is worth knowing of them.
    """

    name: str
    episodes: int
    tasks: tuple[Task, ...]
    problems: Mapping[str, tuple[str, ...]]
    counts: Mapping[str, int]


def splits(data: str | os.PathLike) -> tuple[str, ...]:
    """The names of the files of episodes. Raises ValueError if there are none."""
    names = sorted(path.name for path in Path(data, "jsons").glob("*.json.gz"))
    if not names:
        raise ValueError(f"{data} holds no jsons/*.json.gz, expected the folder of a SIF release")
    return tuple(name.removesuffix(".json.gz") for name in names)


def annotation_of(data: str | os.PathLike, scene: str) -> Path:
    """The file that tells the rooms of a scene."""
    return Path(data, "room_annotations", scene, "room_annotation_dict.p")


def read_tasks(
    data: str | os.PathLike, names: Iterable[str] | None = None, *, reloc: Reloc = "before"
) -> dict[str, Task]:
    """The tasks of some splits, or of all, for `SifWorld(config=None, tasks=...)`.

    Raises:
      ValueError: there is something that cannot be used; names the first. `read_split` goes on
        without it.
    """
    tasks: dict[str, Task] = {}
    for name in splits(data) if names is None else names:
        split = read_split(data, name, reloc=reloc)
        for why in split.problems:
            raise ValueError(why)
        tasks.update((task.name, task) for task in split.tasks)
    return tasks


def read_split(data: str | os.PathLike, name: str, *, reloc: Reloc = "before") -> Split:
    """Reads one file of episodes, and makes a task of each that can be used.

    Args:
      data: folder of the release.
      name: of the file, without .json.gz; see `splits`.
      reloc: what `objects_reloc_start_loc` tells: where objects were before they were moved, or
        after.

    Raises:
      ValueError: `reloc` is neither.
    """
    if reloc not in ("before", "after"):
        raise ValueError(f"reloc is {reloc!r}, expected 'before' or 'after'")
    file = Path(data, "jsons", f"{name}.json.gz")
    problems: dict[str, list[str]] = {}
    try:
        kind = _type_of(file)
        categories = _categories(Path(data, "categories.json"))
        entries = read_json_gz(file).get("episodes").items()
    except (OSError, ValueError) as error:
        return Split(name, 0, (), {str(error): ()}, {})
    episodes = _read_episodes(Path(data), name, kind, entries, categories, problems)
    scenes: dict[str, list[Episode]] = {}
    for episode in episodes:
        scenes.setdefault(episode.scene, []).append(episode)
    pieces = {scene: furniture_of(those, categories) for scene, those in scenes.items()}
    tasks, counts = [], collections.Counter()
    for episode in episodes:
        try:
            task = _task(name, kind, episode, pieces[episode.scene], reloc)
        except ValueError as error:
            problems.setdefault(f"{file}: {episode.path}: {error}", []).append(episode.path)
            continue
        tasks.append(task)
        counts.update(_remarks(task, episode, pieces[episode.scene], reloc))
    return Split(
        name=name,
        episodes=len(entries),
        tasks=tuple(tasks),
        problems={why: tuple(those) for why, those in problems.items()},
        counts=dict(counts),
    )


def _type_of(file: Path) -> TaskType:
    found = [kind for kind in TASK_TYPES if re.search(rf"(?<![a-z]){kind}(?![a-z])", file.name)]
    if len(found) != 1:
        raise ValueError(f"{file}: its name tells no type, expected one of {TASK_TYPES} in it")
    return found[0]


def _categories(path: Path) -> Mapping[str, str]:
    """Our own table of handles; empty if there is none."""
    if not path.exists():
        return {}
    try:
        table = Field(str(path), "", json.loads(path.read_bytes()))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    return {handle: category.text() for handle, category in table.entries().items()}


def _read_episodes(
    data: Path,
    name: str,
    kind: TaskType,
    entries: Iterable[Field],
    categories: Mapping[str, str],
    problems: dict[str, list[str]],
) -> list[Episode]:
    """The episodes that can be read; why others cannot goes into `problems`."""
    episodes: dict[str, Episode] = {}
    floor_of = functools.cache(lambda scene: read_floor(annotation_of(data, scene)))
    for entry in entries:
        try:
            floor = floor_of(scene_of(entry))
            path = data / "jsons" / "oracle_pddl" / name / f"{id_of(entry)}.p"
            plan = read_plan(path, floor) if path.exists() else None
            episode = read_episode(entry, kind, floor, plan, categories)
            if episode.id in episodes:
                first = episodes[episode.id].path
                raise entry.get("episode_id").error(f"one of its own; {first} has the same")
            episodes[episode.id] = episode
        except (OSError, ValueError) as error:
            problems.setdefault(str(error), []).append(entry.path)
    return list(episodes.values())


def _task(name: str, kind: TaskType, episode: Episode, pieces: list[Piece], reloc: Reloc) -> Task:
    """The task of an episode. Raises ValueError if its parts make none."""
    floor, goal = episode.floor, episode.goal
    furnishing = Furnishing(floor, pieces)
    before, now = _sites(episode, reloc)
    under_before = [furnishing.under(site) for site in before]
    under_now = [furnishing.under(site) for site in now]
    _furnish_for_goal(furnishing, episode)
    house, places = furnishing.house(episode.scene)
    own = f"{name}/{episode.id}"

    def placed(pieces):
        things = zip(episode.things, pieces, strict=True)
        return tuple(Placed(thing.category, *places[piece]) for thing, piece in things)

    task = Task(
        name=own,
        split=name,
        type=kind,
        house=house,
        premap=placed(under_before),
        objects=placed(under_now),
        start=episode.start_room,
        looks=tuple(
            tuple(Draws("sif-real", own, room.number).shuffled(range(len(room.spots))))
            for room in house.rooms
        ),
        sentences=episode.sentences,
        command=episode.command,
        goal=goal,
        ambiguous=episode.ambiguous,
        walk=episode.walk,
        start_steps=floor.steps_from(episode.start) if episode.start_room is None else None,
    )
    end = oracle.play(task)
    if end.outcome != "success":
        return task
    length = {name: int(value) for name, value in end.measures.items()}
    return dataclasses.replace(
        task, oracle_actions=length["actions"], oracle_steps=length["low_level_steps"]
    )


def _furnish_for_goal(furnishing: Furnishing, episode: Episode) -> None:
    """Sees to it that there is a receptacle that meets the goal."""
    goal, plan, floor = episode.goal, episode.plan, episode.floor
    if goal.kind == "room" and not furnishing.takes_things(goal.target):
        raise ValueError(
            f"nothing stands in a room with the function {goal.target!r} in any episode of "
            f"{episode.scene}, expected a receptacle there that something can be put on"
        )
    if goal.kind == "recep" and not furnishing.has(goal.target):
        if plan is None or plan.last_room is None:
            raise ValueError(
                f"nothing stands on a {goal.target} in any episode of {episode.scene}, and no "
                "oracle's plan tells where one is, expected one of these"
            )
        furnishing.add(goal.target, plan.last_room, floor.centres[plan.last_room])


def _sites(episode: Episode, reloc: Reloc) -> tuple[list[Site], list[Site]]:
    """Where the objects are in phase 1, and where when the task begins."""
    loaded = [thing.loaded for thing in episode.things]
    moved = [thing.relocated or thing.loaded for thing in episode.things]
    return (moved, loaded) if reloc == "before" else (loaded, moved)


def _remarks(task: Task, episode: Episode, pieces: list[Piece], reloc: Reloc) -> Iterator[str]:
    """What is worth knowing of an episode that can be used."""
    if task.oracle_actions is None:
        yield "not solved by the scripted oracle"
    if any(piece.category == UNIDENTIFIED for piece in pieces):
        yield "in a scene with receptacles of no known category"
    if task.goal.kind == "recep" and not any(p.category == task.goal.target for p in pieces):
        yield "with the goal's receptacle placed by the oracle's plan"
    if episode.plan is None:
        yield "without an oracle's plan"
    elif episode.plan.pick_room is not None:
        before, now = (
            {
                site.room
                for thing, site in zip(episode.things, sites, strict=True)
                if thing.category == task.goal.object
            }
            for sites in _sites(episode, reloc)
        )
        if episode.plan.pick_room not in before | now:
            yield "whose plan picks something up where no object of the goal has been"
        elif before != now:
            when = "when the task begins" if episode.plan.pick_room in now else "in phase 1 alone"
            yield f"whose plan picks something up where an object of the goal is {when}"
