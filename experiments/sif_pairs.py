"""Pairs for training an actor on the simulated SIF: what a teacher does, and what a text tells.

A pair is the compact text of a state and a reply: what is looked up (`experiments.sif_thoughts`),
and then the action of a scripted teacher.

The text ends with the goal, so that the same house serves for several goals: after the reply come
others, each with what the teacher would do. And the look-ups are asked for one by one, about
anything in the text: many small targets a text, without which a small model does not learn to look
things up. Rooms are renumbered task by task, so that a number says nothing about a room.
"""

import dataclasses
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from adapters.protocols import Actor
from adapters.sif.generator import SifConfig, generate_task
from adapters.sif.houses import ACTIVITIES, FURNITURE, NO_PUT, RECEPTACLES, SMALL_OBJECTS
from adapters.sif.layout import DONE, Layout
from adapters.sif.listener import moved_from
from adapters.sif.situation import Entry
from adapters.sif.state import SifState
from adapters.sif.tasks import Goal, Placed, Sentence, Task
from adapters.sif.text import compact, object_lines, receptacle_line, task_text
from adapters.sif.view import View
from adapters.sif.world import SifWorld
from experiments.actor_pairs import Pair
from experiments.sif_thoughts import (
    careful_thought,
    listed,
    next_line,
    old_line,
    places_of,
    short_here,
    thought,
    whether_on,
)

_EXCERPT = 6  # lines
_CUES = (*FURNITURE, *RECEPTACLES, *ACTIVITIES)


@runtime_checkable
class Teacher(Actor, Protocol):
    """An actor that tells what it reads, as scripted ones do."""

    def reads(self, view: View) -> View:
        """The view as it takes it."""


@dataclasses.dataclass(frozen=True)
class Lessons:
    """Which pairs are made.

    Attributes:
      split: of the simulated tasks, for example "s_obj/train".
      tasks: how many, from the first; each is played once, its rooms renumbered.
      houses: that training tasks take place in, see `SifConfig.train_houses`.
      goals: others that each state is answered for too.
      questions: asked about each state.
      excerpts: of each state, with questions only.
      met: in [0, 1]; with this probability another goal is about an object that was seen, which is
        where it should be or is not, evenly: what it takes to tell `Done!` from `Pick up`.
      checked: thoughts are checked ones, and questions are asked about whether objects were seen
        on receptacles.
      careful: thoughts are careful ones, and questions are asked about what makes them so.
      stray: in [0, 1]; with this probability a turn is not the teacher's: any action offered but
        `Done!`. The teacher says all the same what it would have done, and so learns to go on from
        states that it does not come to by itself.
      seed: of the renumbering, the strays and the questions; houses and tasks have their own.
      world_seed: of houses and tasks.
    """

    split: str
    tasks: int
    houses: int
    goals: int = 3
    questions: int = 4
    excerpts: int = 1
    met: float = 0.0
    checked: bool = False
    careful: bool = False
    stray: float = 0.2
    seed: int = 0
    world_seed: int = 0

    def __post_init__(self):
        if self.tasks < 1:
            raise ValueError(f"tasks is {self.tasks}, expected 1 or more")
        for name in ("goals", "questions", "excerpts"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        for name in ("met", "stray"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0..1")


def by_task(teacher: Actor, lessons: Lessons) -> Iterator[list[Pair]]:
    """The pairs of each task, turn by turn; a function of the arguments alone.

    Args:
      teacher: answers each state from what the agent sees; a `Teacher` for careful thoughts.
      lessons: which pairs.

    Raises:
      ValueError: careful thoughts are wanted of a teacher that does not tell what it reads.
    """
    if lessons.careful and not isinstance(teacher, Teacher):
        raise ValueError(f"careful thoughts of {teacher.name!r}, expected a scripted teacher")

    def say(view: View, action: str) -> str:
        if lessons.careful:
            found = careful_thought(view, action, teacher.reads(view))
        else:
            found = thought(view, action, checked=lessons.checked)
        return f"{found}\nAction: {action}"

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
            others = [supposed(state, rng, lessons.met) for _ in range(lessons.goals)]
            replies = teacher.act(others, [0] * len(others))
            asked = [
                (task_text(other.view()), "\n" + say(other.view(), answer.action))
                for other, answer in zip(others, replies, strict=True)
            ]
            asked += some_questions(
                view, lessons.questions, rng, checked=lessons.checked, careful=lessons.careful
            )
            name = f"{task.name} turn {view.calls}"
            said = say(view, reply.action)
            found.append(Pair(name, state.text("compact"), said, asked))
            for nth in range(lessons.excerpts):
                found.append(excerpt(f"{name} excerpt {nth}", view, rng, checked=lessons.checked))
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


def supposed(state: SifState, rng: random.Random, met: float = 0.0) -> SifState:
    """The same state with another goal, other sentences, and perhaps the goal's object in hand.

    What the text tells of the house stays the same, so that one text serves for several replies.
    With probability `met`, and an empty hand, the goal is one that is perhaps met.
    """
    task, now = state.task, state.now
    thing = state.held if state.held and rng.random() < 0.8 else rng.choice(state.layout.categories)
    heard = task.sentences
    if task.type == "s_hum":
        goal = Goal("human", thing)
    elif rng.random() < 0.3:
        goal = Goal("room", thing, rng.choice([f for r in task.house.rooms for f in r.functions]))
    else:
        there = {name for room in task.house.rooms for name in room.receptacles}
        goal = Goal("recep", thing, rng.choice(sorted(there - NO_PUT)))
    if task.type == "s_obj":
        about = [thing, *([rng.choice(SMALL_OBJECTS)] if rng.random() < 0.4 else [])]
        heard = tuple(Sentence("", name, rng.choice(_CUES)) for name in dict.fromkeys(about))
    taken = state.held is None
    if met and taken and task.type != "s_hum":
        view = state.view()
        seen = [e for e in view.entries if e.mark == "seen" and e.receptacle not in NO_PUT]
        if seen and rng.random() < met:
            here = [entry for entry in seen if entry.room == view.here]
            goal, taken = _perhaps_met(task, rng.choice(here or seen), rng), False
    layout = Layout(dataclasses.replace(task, goal=goal, sentences=heard))
    if taken and rng.random() < 0.3:
        now = now._replace(held=layout.goal)
    return SifState(layout, now)


def _perhaps_met(task: Task, entry: Entry, rng: random.Random) -> Goal:
    """A goal for an object that was seen; it is where it should be every other time."""
    house = task.house
    if rng.random() < 0.3:
        rooms = [entry.room] if rng.random() < 0.5 else range(len(house.rooms))
        function = rng.choice([f for room in rooms for f in house.rooms[room].functions])
        return Goal("room", entry.object, function)
    if rng.random() < 0.5:
        return Goal("recep", entry.object, entry.receptacle)
    there = {name for room in house.rooms for name in room.receptacles}
    return Goal("recep", entry.object, rng.choice(sorted(there - NO_PUT)))


def some_questions(
    view: View, count: int, rng: random.Random, *, checked: bool = False, careful: bool = False
) -> list[tuple[str, str]]:
    """Up to `count` questions about the text of a view, each with its answer: how lines go on that
    begin so, what a sentence or a room as goal has one look up, and, if thoughts are checked or
    careful ones, whether an object was seen on a receptacle."""
    asked = list(_beginnings(view).items())
    asked += [(f"in {name}", _below(places_of(view, name))) for name in FURNITURE]
    if not careful:
        for cue in rng.sample(_CUES, 4):
            thing = rng.choice(SMALL_OBJECTS)
            asked.append((f"hear {thing} {cue}", _below(places_of(view, cue))))
    if checked or careful:
        asked += _on_receptacles(view, rng)
    if not careful:
        return rng.sample(asked, min(count, len(asked)))
    listings = [_listing(view, rng) for _ in range(count // 3)]
    return [*dict.fromkeys(listings), *rng.sample(asked, min(count - len(listings), len(asked)))]


def _on_receptacles(view: View, rng: random.Random) -> list[tuple[str, str]]:
    """Whether each object that was seen is where it was seen, or somewhere else, evenly."""
    seen = [entry for entry in view.entries if entry.mark == "seen"]
    return [
        whether_on(
            view,
            entry.object,
            entry.receptacle if rng.random() < 0.5 else rng.choice(RECEPTACLES),
        )
        for entry in seen
    ]


def _listing(view: View, rng: random.Random) -> tuple[str, str]:
    """A question what a sentence has one look up; every other time about an object that was moved
    from a room to be named, if there is any."""
    moved = [entry.object for entry in view.entries if entry.mark != "seen"]
    thing = rng.choice(moved or SMALL_OBJECTS)
    old, cues = moved_from(view, thing), rng.sample(_CUES, len(_CUES))
    if rng.random() < 0.5:
        named = [cue for cue in cues if any(" old" in at for at in listed(view, cue, old)[0])]
        cues = named or cues
    lines = listed(view, cues[0], old)[0]
    return "\n".join([*old_line(view, thing), f"hear {thing} {cues[0]}"]), _below(lines)


def excerpt(name: str, view: View, rng: random.Random, *, checked: bool = False) -> Pair:
    """Some lines of the text of a view, and a question about each. A look-up is found sooner in
    few lines, and then serves in many."""
    asked, lines = _beginnings(view), {}
    for line in compact(view).splitlines():
        lines.setdefault(line.split()[0], line)
    keys = [key for key in lines if key in asked]
    kept = set(rng.sample(keys, min(_EXCERPT, len(keys))))
    text = "\n".join(lines[key] for key in keys if key in kept)
    questions = [(key, asked[key]) for key in rng.sample(sorted(kept), len(kept))]
    if checked:
        # Of an object that has two lines the excerpt shows one.
        times = Counter(entry.object for entry in view.entries)
        shown = [e for e in view.entries if e.object in kept and times[e.object] == 1]
        questions += _on_receptacles(view._replace(entries=tuple(shown)), rng)
    return Pair(name, text, None, questions)


def _any(state: SifState, rng: random.Random) -> str:
    return rng.choice([action for action in state.actions if action != DONE])


def _beginnings(view: View) -> dict[str, str]:
    """How lines of the text go on, by their first word."""
    known = {entry.object for entry in view.entries} | {view.goal.object}
    lines = [object_lines(view, name)[0] for name in SMALL_OBJECTS if name in known]
    lines += [receptacle_line(view, name, 1) for name in RECEPTACLES]
    lines += [short_here(view), next_line(view)]
    return {key: f" {rest}" for key, _, rest in (line.partition(" ") for line in lines)}


def _below(lines: Sequence[str]) -> str:
    return "".join(f"\n{line}" for line in lines)
