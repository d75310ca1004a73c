"""Pairs for training an actor on the simulated SIF: what a teacher does, and what a text tells.

A pair is the compact text of a state and a reply: a short thought, which is looked up in the text
line by line, and then the action of a scripted teacher:

    cup 3 bed ?       where the map has the object
    eating fridge     what was heard, what there is where one does that,
    5                   and the first room that has it
    eating table
    here
    here 2 look 1     the room it is in
    3 next            the room that follows by number
    count 0 1 2       rooms looked through, objects here, old entries
    Action: Go to Room 3

Room numbers and objects stand where they stand in the text, at the start of a line or after a
space, and so are the same tokens there and here: copying is easier to learn than translating.

The same look-ups are asked for one by one too, about anything in the text: many small targets a
text, without which a small model does not learn to look things up. Rooms are renumbered task by
task, so that a number says nothing about a room.
"""

import dataclasses
import random
from collections.abc import Iterator, Sequence

from adapters.protocols import Actor
from adapters.sif.generator import SifConfig, generate_task
from adapters.sif.houses import ACTIVITIES, FURNITURE, RECEPTACLES, SMALL_OBJECTS
from adapters.sif.layout import DONE
from adapters.sif.state import SifState
from adapters.sif.tasks import Placed, Task
from adapters.sif.text import compact
from adapters.sif.view import View
from adapters.sif.world import SifWorld
from experiments.actor_pairs import Pair

_MARKS = {"seen": "", "premap": " ?", "gone": " x"}


@dataclasses.dataclass(frozen=True)
class Lessons:
    """Which pairs are made.

    Attributes:
      split: of the simulated tasks, for example "s_obj/train".
      tasks: how many, from the first; each is played once, its rooms renumbered.
      houses: that training tasks take place in, see `SifConfig.train_houses`.
      questions: asked about each state, and about each excerpt.
      excerpts: of each state, with questions only.
      stray: in [0, 1]; with this probability a turn is not the teacher's: any action offered but
        `Done!`. The teacher says all the same what it would have done, and so learns to go on from
        states that it does not come to by itself.
      seed: of the renumbering, the strays and the questions; houses and tasks have their own.
      world_seed: of houses and tasks.
    """

    split: str
    tasks: int
    houses: int
    questions: int = 8
    excerpts: int = 1
    stray: float = 0.2
    seed: int = 0
    world_seed: int = 0

    def __post_init__(self):
        if self.tasks < 1:
            raise ValueError(f"tasks is {self.tasks}, expected 1 or more")
        for name in ("questions", "excerpts"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        if self.excerpts and not self.questions:
            raise ValueError("questions is 0, expected some where there are excerpts")
        if not 0 <= self.stray <= 1:
            raise ValueError(f"stray is {self.stray}, expected 0..1")


def by_task(teacher: Actor, lessons: Lessons) -> Iterator[list[Pair]]:
    """The pairs of each task, turn by turn; a function of the arguments alone.

    Args:
      teacher: answers each state from what the agent sees.
      lessons: which pairs.
    """
    sizes = dict(train_tasks=lessons.tasks, val_tasks=lessons.tasks, test_tasks=lessons.tasks)
    config = SifConfig(lessons.world_seed, train_houses=lessons.houses, **sizes)
    for number in range(lessons.tasks):
        rng = random.Random(f"{lessons.seed} {number}")
        task = generate_task(config, f"{lessons.split}/{number}")
        rooms = range(len(task.house.rooms))
        task = renumbered(task, rng.sample(rooms, len(rooms)))
        world = SifWorld(None, {task.name: task})
        state, found = world.reset(task.name), []
        while state.outcome is None:
            (reply,) = teacher.act([state], [0])
            view = state.view()
            found.append(
                Pair(
                    f"{task.name} turn {view.calls}",
                    state.text("compact"),
                    f"{thought(view)}\nAction: {reply.action}",
                    some_questions(view, lessons.questions, rng),
                )
            )
            for nth in range(lessons.excerpts):
                part = excerpt(view, rng)
                found.append(
                    Pair(
                        f"{found[-1].name} excerpt {nth}",
                        compact(part),
                        None,
                        some_questions(part, lessons.questions, rng),
                    )
                )
            stray = rng.random() < lessons.stray
            state = world.step(state, _any(state, rng) if stray else reply.action)
        yield found


def renumbered(task: Task, order: Sequence[int]) -> Task:
    """The same task in a house whose rooms have changed numbers and places.

    Args:
      task: any.
      order: a permutation; room order[i] becomes room i, and gets the i-th lowest number.
    """
    house, place = task.house, {old: new for new, old in enumerate(order)}
    numbers = sorted(room.number for room in house.rooms)
    rooms = tuple(
        dataclasses.replace(house.rooms[old], number=number)
        for old, number in zip(order, numbers, strict=True)
    )
    doors = tuple(sorted(tuple(sorted((place[a], place[b]))) for a, b in house.doors))
    steps = tuple(tuple(house.steps[a][b] for b in order) for a in order)

    def moved(objects: Sequence[Placed]) -> tuple[Placed, ...]:
        return tuple(placed._replace(room=place[placed.room]) for placed in objects)

    walk, mapped, far = task.walk, task.mapped, task.start_steps
    return dataclasses.replace(
        task,
        house=dataclasses.replace(house, rooms=rooms, doors=doors, steps=steps),
        premap=moved(task.premap),
        objects=moved(task.objects),
        start=None if task.start is None else place[task.start],
        looks=tuple(task.looks[old] for old in order),
        walk=walk and dataclasses.replace(walk, rooms=tuple(place[room] for room in walk.rooms)),
        mapped=None if mapped is None else frozenset((place[room], at) for room, at in mapped),
        start_steps=None if far is None else tuple(far[old] for old in order),
    )


def thought(view: View) -> str:
    """What is looked up before the action, a line each."""
    goal, lines = view.goal, []
    if view.asking:
        return _heard(view, "") or "heard nothing"
    if view.held != goal.object:
        lines.append(_on_map(view, goal.object))
    if view.held is None:
        lines.append(_heard(view, goal.object))
    else:
        lines.append(_places(view, goal.target) if goal.target else _heard(view, ""))
    lines += [_here(view), _next(view), _counts(view)]
    return "\n".join(line for line in lines if line)


def some_questions(view: View, count: int, rng: random.Random) -> list[tuple[str, str]]:
    """Up to `count` different questions about the text of a view, each with its answer."""
    asked = [(f"{name} map", _on_map(view, name)) for name in SMALL_OBJECTS]
    asked += [(f"where {name}", _where(view, name)) for name in RECEPTACLES]
    asked += [(f"places {cue}", _places(view, cue)) for cue in (*FURNITURE, *ACTIVITIES)]
    asked += [("here", _here(view)), ("next", _next(view)), ("count", _counts(view))]
    asked += [(f"{_name(view, at)} room", _room(view, at)) for at, room in enumerate(view.rooms)]
    return rng.sample(asked, min(count, len(asked)))


def excerpt(view: View, rng: random.Random) -> View:
    """The view with one to three of its rooms, that of the agent among them, and up to three of
    the objects in them. A look-up is found sooner in few lines, and then serves in many."""
    others = [room for room in range(len(view.rooms)) if room != view.here]
    some = rng.sample(others, rng.randint(view.here is None, min(2, len(others))))
    kept = sorted([*some, *([] if view.here is None else [view.here])])
    place = {room: at for at, room in enumerate(kept)}
    entries = [entry for entry in view.entries if entry.room in place]
    chosen = sorted(rng.sample(range(len(entries)), min(3, len(entries))))
    return view._replace(
        here=None if view.here is None else place[view.here],
        rooms=tuple(view.rooms[room] for room in kept),
        entries=tuple(entries[i]._replace(room=place[entries[i].room]) for i in chosen),
        human=None,
    )


def _any(state: SifState, rng: random.Random) -> str:
    return rng.choice([action for action in state.actions if action != DONE])


def _on_map(view: View, name: str) -> str:
    """The lines of the map about an object, those of this room first."""
    found = [entry for entry in view.entries if entry.object == name]
    found.sort(key=lambda entry: entry.room != view.here)
    lines = [
        f"{name} {_name(view, entry.room)} {entry.receptacle}{_MARKS[entry.mark]}"
        for entry in found
    ]
    return "\n".join(lines) or f"{name} none"


def _heard(view: View, about: str) -> str:
    """What was said of an object, or of the human (""), and where there is any of it."""
    cues = [s.cue for s in view.sentences if s.about == about and s.cue]
    return "\n".join(_places(view, cue) for cue in cues)


def _places(view: View, cue: str) -> str:
    """For a receptacle where it is; for a function or an activity, where its furniture is."""
    meanings = ACTIVITIES.get(cue, (cue,))
    pieces = dict.fromkeys(FURNITURE[m][0][0] if m in FURNITURE else m for m in meanings)
    return "\n".join(f"{cue} {piece}\n{_where(view, piece)}" for piece in pieces)


def _where(view: View, receptacle: str) -> str:
    """The first room with a receptacle, this one before the others."""
    ordered = sorted(range(len(view.rooms)), key=lambda room: room != view.here)
    having = [room for room in ordered if receptacle in view.rooms[room].receptacles]
    if not having:
        return "none"
    return _name(view, having[0]) + " all" * view.rooms[having[0]].complete


def _room(view: View, at: int) -> str:
    room = view.rooms[at]
    return " ".join([_name(view, at), *room.receptacles])


def _here(view: View) -> str:
    if view.here is None:
        return "here none"
    room = view.rooms[view.here]
    return f"here {room.number} look {'all' if room.complete else room.looks}"


def _next(view: View) -> str:
    """The room that follows by number, round and round."""
    at = 0 if view.here is None else (view.here + 1) % len(view.rooms)
    return f"{view.rooms[at].number} next"


def _counts(view: View) -> str:
    """Rooms looked through, objects believed here, old entries of the map."""
    complete = sum(room.complete for room in view.rooms)
    here = sum(entry.room == view.here for entry in view.entries)
    old = sum(entry.mark == "premap" for entry in view.entries)
    return f"count {complete} {here} {old}"


def _name(view: View, room: int) -> str:
    return "here" if room == view.here else str(view.rooms[room].number)
