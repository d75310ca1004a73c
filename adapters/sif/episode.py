"""One real episode, read and checked: what `adapters.sif.real` makes a task of.

Points are on the floor: x and z of Habitat's x, y, z. Rooms are positions in `Floor.numbers`.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from adapters.sif import pickles
from adapters.sif.fields import Field
from adapters.sif.floor import Floor, Point, walking_steps
from adapters.sif.houses import NO_PUT, RECEPTACLES, SMALL_OBJECTS
from adapters.sif.tasks import Goal, Sentence, TaskType, Walk


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """Where an object is: a point, its room, and the handle of the receptacle, if known."""

    point: Point
    room: int
    receptacle: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Thing:
    """An object.

    Attributes:
      category: for example "cup".
      loaded: where `rigid_objs` has it.
      relocated: where `objects_reloc_start_loc` has it; None if it is not listed there.
    """

    category: str
    loaded: Site
    relocated: Site | None


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """Where the oracle went.

    Attributes:
      pick_room: the first room it took something in; None if it took nothing.
      last_room: the last one it went to; None if it went nowhere.
    """

    pick_room: int | None
    last_room: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Episode:
    """All that a task needs, but the house.

    Attributes:
      path: where it stands in its file, "episodes[3]".
      id: its `episode_id`.
      scene: name of the scene.
      floor: of the scene.
      things: the objects.
      start: where the agent starts.
      start_room: None in free space.
      goal, command, sentences, ambiguous, walk: as `adapters.sif.tasks.Task` has them.
      plan: the oracle's; None if there is no file of it.
    """

    path: str
    id: str
    scene: str
    floor: Floor
    things: tuple[Thing, ...]
    start: Point
    start_room: int | None
    goal: Goal
    command: str
    sentences: tuple[Sentence, ...]
    ambiguous: bool
    walk: Walk | None
    plan: Plan | None


def scene_of(field: Field) -> str:
    """Name of an episode's scene: the file of `scene_id` without folder and ending."""
    scene = field.get("scene_id")
    name = re.split(r"[/\\]", scene.text())[-1].removesuffix(".scene_instance.json")
    if name in ("", ".", ".."):
        raise scene.error("a path that ends in NAME.scene_instance.json")
    return name


def id_of(field: Field) -> str:
    """An episode's `episode_id`; the name of a file is made of it."""
    found = field.get("episode_id")
    if not re.fullmatch(r"[\w-]+", found.text()):
        raise found.error("letters, digits, _ and -")
    return found.text()


def read_episode(
    field: Field, kind: TaskType, floor: Floor, plan: Plan | None, categories: Mapping[str, str]
) -> Episode:
    """Reads one entry of "episodes".

    Args:
      field: the entry.
      kind: the type of its split.
      floor: of its scene.
      plan: of the oracle, if there is one.
      categories: by handle, for those that do not name theirs.

    Raises:
      ValueError: something is missing or not as expected; names the file and the place in it.
    """
    params = field.get("sif_params")
    prompt = params.get("prompt")
    start, start_room = _place(params.get("agent_start_pose"), floor, pose=True)
    return Episode(
        path=field.path,
        id=id_of(field),
        scene=scene_of(field),
        floor=floor,
        things=_things(field, floor, categories),
        start=start,
        start_room=start_room,
        goal=_goal(prompt, categories),
        command=prompt.get("initial").get("prompt").text(),
        sentences=tuple(
            Sentence(item.get("prompt").get("sentences").text())
            for item in prompt.get("intermediate").items()
        ),
        ambiguous=params.get("ambiguous").truth(),
        walk=_walk(params, floor) if kind == "s_hum" else None,
        plan=plan,
    )


def read_plan(path: Path, floor: Floor) -> Plan:
    """Reads the oracle's plan: a list of {hl_tool, chosen_room_number, ll_argument}.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is damaged, or not such a list.
    """
    picks, goes = [], []
    for step in Field(str(path), "", pickles.load(path)).items():
        step.get("hl_tool").text()
        chosen, argument = step.get("chosen_room_number"), step.get("ll_argument")
        if not chosen.is_null():
            goes.append(_numbered(chosen, floor))
        room = None if argument.is_null() else argument.get("in_room")
        if room is not None and not room.is_null():
            picks.append(_numbered(room, floor))
    return Plan(picks[0] if picks else None, goes[-1] if goes else None)


def category_of(
    name: str, known: Sequence[str] | frozenset[str], categories: Mapping[str, str]
) -> str | None:
    """The category of a handle or of an instance of it; None if it has none of those known.

    `categories` decides where it has the handle. Else the handle has to name exactly one category
    as a whole word: "CUP_3" does, "cupboard" and "cup_on_plate" do not.
    """
    handle = re.sub(r"_:\d+$", "", name)
    if handle in categories:
        return categories[handle] if categories[handle] in known else None
    named = [
        category
        for category in known
        if re.search(rf"(?<![a-z]){category.replace('_', '[ _-]?')}(?![a-z])", handle.lower())
    ]
    return named[0] if len(named) == 1 else None


def _things(field: Field, floor: Floor, categories: Mapping[str, str]) -> tuple[Thing, ...]:
    receptacles = field.get("name_to_receptacle").entries()
    relocated = field.get("sif_params").get("objects_reloc_start_loc").entries()
    things, count = {}, {}
    for item in field.get("rigid_objs").items():
        handle, pose = item.items(2)
        short = re.split(r"[/\\]", handle.text())[-1].removesuffix(".object_config.json")
        name = f"{short}_:{count.get(short, 0):04d}"
        count[short] = count.get(short, 0) + 1
        category = category_of(short, SMALL_OBJECTS, categories)
        if category is None:
            raise handle.error(
                f"a name with one of {', '.join(SMALL_OBJECTS)}, or an entry in categories.json"
            )
        on = receptacles[name].text().split("|")[0] if name in receptacles else None
        moved = _site(relocated[name], floor) if name in relocated else None
        things[name] = Thing(category, _site(pose, floor, pose=True, on=on), moved)
    for table in (receptacles, relocated):
        for name, entry in table.items():
            if name not in things:
                raise ValueError(f"{entry.file}: {entry.path} is none of rigid_objs")
    return tuple(things.values())


def _goal(prompt: Field, categories: Mapping[str, str]) -> Goal:
    initial, kind = prompt.get("initial"), prompt.get("recep_type").text()
    evaluated = initial.get("obj_eval")
    thing = category_of(evaluated.text(), SMALL_OBJECTS, categories)
    if thing is None:
        raise evaluated.error(f"one of {', '.join(SMALL_OBJECTS)}")
    if kind == "human":
        return Goal("human", thing)
    for name in ("recep_eval_unique", "recep_eval_notunique"):
        receptacle = initial.get(name)
        if not receptacle.is_null():
            allowed = [category for category in RECEPTACLES if category not in NO_PUT]
            category = category_of(receptacle.text(), allowed, categories)
            if category is None:
                raise receptacle.error(f"null or one of {', '.join(allowed)}")
            return Goal("recep", thing, category)
    return Goal("room", thing, initial.get("room_function").text())


def _walk(params: Field, floor: Floor) -> Walk:
    """The human's way: straight on, the rooms by the low-level step at which it comes into them."""
    start, first = _place(params.get("human_start_pose"), floor, pose=True)
    goal = params.get("human_dest_pose")
    end = _site(goal, floor)
    told = params.get("prompt").get("initial").get("walking_to_room")
    if not told.is_null() and _numbered(told, floor) != end.room:
        raise told.error(
            f"the room of human_dest_pose, which lies in Room {floor.numbers[end.room]}"
        )
    rooms, times = [floor.nearest(start) if first is None else first], [0]
    steps = walking_steps(start, end.point)
    for step in range(1, steps + 1):
        x, z = (a + (b - a) * step / steps for a, b in zip(start, end.point, strict=True))
        room = end.room if step == steps else floor.find((x, z))
        if room is not None and room != rooms[-1]:
            rooms.append(room)
            times.append(step)
    if len(rooms) > 1:
        times[-1] = steps  # the walk ends where the human stops, not at the door
    return Walk(tuple(rooms), tuple(times))


def _site(field: Field, floor: Floor, *, pose: bool = False, on: str | None = None) -> Site:
    point, room = _place(field, floor, pose=pose)
    if room is None:
        raise field.error("a place in a room; it lies in free space")
    return Site(point, room, on)


def _place(field: Field, floor: Floor, *, pose: bool = False) -> tuple[Point, int | None]:
    """The point of a position [x, y, z] or of a 4 x 4 pose, and its room; None in free space."""
    if pose:
        rows = [row.numbers(4) for row in field.items(4)]
        if rows[3] != (0.0, 0.0, 0.0, 1.0):
            raise field.error("a 4 x 4 pose with the last row 0, 0, 0, 1")
        point = rows[0][3], rows[2][3]
    else:
        x, _, z = field.numbers(3)
        point = x, z
    try:
        return point, floor.room_at(point)
    except ValueError as error:
        raise field.error(f"a place in the house; it is {error}") from error


def _numbered(field: Field, floor: Floor) -> int:
    """The room of a number."""
    number = field.whole()
    if number not in floor.numbers:
        raise field.error(f"the number of a room, one of {floor.numbers}")
    return floor.numbers.index(number)
