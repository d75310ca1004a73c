"""Pairs for training an actor on the simulated SIF: what a teacher does, and what a text tells.

A pair is the compact text of a state and a reply: a short thought, lines of the text that are
looked up until the action follows, and then the action of a scripted teacher:

    cup 3 bed ?           where the map has the object
    here 5 look 2         this room
    hear cup eating       what was heard of the object,
    fridge 4 all          and the first rooms with what is typical of where one does that
    table none
    couch 1
    Action: Go to Room 3

Nearly every token of a thought so follows one that it follows in the text, in the same place of a
line: small models learn to copy long before they learn to translate.

The text ends with the goal, so that the same house serves for several goals: after the reply come
others, each with what the teacher would do. And the look-ups are asked for one by one, about
anything in the text: many small targets a text, without which a small model does not learn to look
things up. Rooms are renumbered task by task, so that a number says nothing about a room.
"""

import dataclasses
import random
from collections.abc import Iterator, Sequence

from adapters.protocols import Actor
from adapters.sif.generator import SifConfig, generate_task
from adapters.sif.houses import ACTIVITIES, FURNITURE, NO_PUT, RECEPTACLES, SMALL_OBJECTS
from adapters.sif.layout import DONE, Layout
from adapters.sif.state import SifState
from adapters.sif.tasks import Goal, Placed, Sentence, Task
from adapters.sif.text import (
    compact,
    here_line,
    human_line,
    object_lines,
    receptacle_line,
    task_text,
    ways,
)
from adapters.sif.view import View
from adapters.sif.world import SifWorld
from experiments.actor_pairs import Pair

_EXCERPT = 6  # lines
_CUES = (*FURNITURE, *RECEPTACLES, *ACTIVITIES)


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
    stray: float = 0.2
    seed: int = 0
    world_seed: int = 0

    def __post_init__(self):
        if self.tasks < 1:
            raise ValueError(f"tasks is {self.tasks}, expected 1 or more")
        for name in ("goals", "questions", "excerpts"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
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
            view, others = state.view(), [supposed(state, rng) for _ in range(lessons.goals)]
            replies = teacher.act(others, [0] * len(others))
            asked = [
                (task_text(other.view()), "\n" + _said(other.view(), answer.action))
                for other, answer in zip(others, replies, strict=True)
            ]
            asked += some_questions(view, lessons.questions, rng)
            name = f"{task.name} turn {view.calls}"
            found.append(Pair(name, state.text("compact"), _said(view, reply.action), asked))
            for nth in range(lessons.excerpts):
                found.append(excerpt(f"{name} excerpt {nth}", view, rng))
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


def thought(view: View, action: str) -> str:
    """The lines that are looked up before an action, until it follows."""
    return "\n".join(_looked_up(view, action))


def supposed(state: SifState, rng: random.Random) -> SifState:
    """The same state with another goal, other sentences, and perhaps the goal's object in hand.

    What the text tells of the house stays the same, so that one text serves for several replies.
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
    layout = Layout(dataclasses.replace(task, goal=goal, sentences=heard))
    if state.held is None and rng.random() < 0.3:
        now = now._replace(held=layout.goal)
    return SifState(layout, now)


def some_questions(view: View, count: int, rng: random.Random) -> list[tuple[str, str]]:
    """Up to `count` questions about the text of a view, each with its answer: how lines go on that
    begin so, and what a sentence or a room as goal has one look up."""
    asked = list(_beginnings(view).items())
    asked += [(f"in {name}", _below(_places(view, name))) for name in FURNITURE]
    for cue in rng.sample(_CUES, 4):
        asked.append((f"hear {rng.choice(SMALL_OBJECTS)} {cue}", _below(_places(view, cue))))
    return rng.sample(asked, min(count, len(asked)))


def excerpt(name: str, view: View, rng: random.Random) -> Pair:
    """Some lines of the text of a view, and a question about each. A look-up is found sooner in
    few lines, and then serves in many."""
    asked, lines = _beginnings(view), {}
    for line in compact(view).splitlines():
        lines.setdefault(line.split()[0], line)
    keys = [key for key in lines if key in asked]
    kept = set(rng.sample(keys, min(_EXCERPT, len(keys))))
    text = "\n".join(lines[key] for key in keys if key in kept)
    return Pair(
        name, text, None, [(key, asked[key]) for key in rng.sample(sorted(kept), len(kept))]
    )


def _any(state: SifState, rng: random.Random) -> str:
    return rng.choice([action for action in state.actions if action != DONE])


def _said(view: View, action: str) -> str:
    return f"{thought(view, action)}\nAction: {action}"


def _beginnings(view: View) -> dict[str, str]:
    """How lines of the text go on, by their first word."""
    known = {entry.object for entry in view.entries} | {view.goal.object}
    lines = [object_lines(view, name)[0] for name in SMALL_OBJECTS if name in known]
    lines += [receptacle_line(view, name, 1) for name in RECEPTACLES]
    lines += [_short_here(view), _next(view)]
    return {key: f" {rest}" for key, _, rest in (line.partition(" ") for line in lines)}


def _below(lines: Sequence[str]) -> str:
    return "".join(f"\n{line}" for line in lines)


def _looked_up(view: View, action: str) -> Iterator[str]:
    goal, known = view.goal, [entry for entry in view.entries if entry.object == view.goal.object]
    if view.asking:
        yield from _heard(view, "")
        yield human_line(view)
        return
    if view.held is None:
        yield from object_lines(view, goal.object)
        seen = [entry for entry in known if entry.mark == "seen"]
        if goal.kind == "room" and any(entry.room == view.here for entry in seen):
            yield from _goal(view)
        if any(entry.room == view.here for entry in known) or (action == DONE and seen):
            return
        yield _short_here(view)
        heard, there = (
            _heard(view, goal.object),
            [str(view.rooms[entry.room].number) for entry in known],
        )
        looking = view.here is not None and not view.rooms[view.here].complete
        if action == DONE or (action.split()[-1] in there and not (heard and looking)):
            return
        yield from heard
        told = " ".join([*there, *heard]).split()
        if action.startswith("Go ") and action.split()[-1] not in told:
            yield _next(view)
        return
    if view.held == goal.object:
        places = _heard(view, "") if goal.kind == "human" else _goal(view)
        yield from places
        if goal.kind == "human":
            yield human_line(view)
        if action.startswith("Give ") or (action.startswith("Put ") and goal.kind == "recep"):
            return
        if action.startswith("Go ") and any(action.split()[-1] in p.split() for p in places):
            return
    if action.startswith("Put "):
        yield here_line(view)
        return
    yield _short_here(view)
    if action.startswith("Go "):
        yield _next(view)


def _goal(view: View) -> list[str]:
    """Where the goal's receptacle or room may be."""
    if view.goal.kind == "recep":
        return [receptacle_line(view, view.goal.target, 1)]
    return [f"in {view.goal.target}", *_places(view, view.goal.target)]


def _heard(view: View, about: str) -> list[str]:
    """What was said of an object, or of the human (""), and where there is any of it."""
    lines = []
    for sentence in view.sentences:
        if sentence.about == about and sentence.cue:
            lines += [f"hear {about or 'human'} {sentence.cue}", *_places(view, sentence.cue)]
    return lines


def _places(view: View, cue: str) -> list[str]:
    """The first room with a receptacle, or with what is typical of a function or an activity."""
    if cue in RECEPTACLES:
        return [receptacle_line(view, cue, 1)]
    meanings = ACTIVITIES.get(cue, (cue,))
    always = FURNITURE[meanings[0]][0]
    known = {name for room in view.rooms for name in room.receptacles}
    # Of the first meaning what there is; of the others what is most typical.
    first = next((i for i, piece in enumerate(always) if piece in known), len(always) - 1)
    pieces = dict.fromkeys([*always[: first + 1], *(FURNITURE[m][0][0] for m in meanings[1:])])
    return [receptacle_line(view, piece, 1) for piece in pieces]


def _short_here(view: View) -> str:
    """The line about this room without what stands in it."""
    return " ".join(here_line(view).split()[:4])


def _next(view: View) -> str:
    others = ways(view)
    return f"go {view.rooms[others[0]].number if others else 'none'}"
