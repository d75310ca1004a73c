"""What a teacher's pairs hold, and that renumbered rooms are the same house."""

import random

import pytest

from adapters.sif.generator import SPLITS, SifConfig, generate_task
from adapters.sif.scripted import ScriptedGreedy, ScriptedReasoner
from adapters.sif.situation import Entry
from adapters.sif.tasks import Goal, Sentence
from adapters.sif.text import compact
from adapters.sif.view import HumanView, RoomView, View
from adapters.sif.world import SifWorld
from experiments import sif_pairs
from experiments.sif_pairs import Lessons

VIEW = View(
    type="s_obj",
    goal=Goal("recep", "cup", "table"),
    sentences=(Sentence("I had it for eating.", "cup", "eating"), Sentence("", "hat", "kitchen")),
    command="Put the cup on a table.",
    calls=3,
    asking=False,
    here=1,
    held=None,
    rooms=(
        RoomView(1, ("bed", "chair"), 0, False),
        RoomView(2, ("table", "chair"), 1, False),
        RoomView(3, ("toilet", "bathtub"), 3, True),
        RoomView(4, ("fridge", "table"), 2, True),
    ),
    entries=(
        Entry("book", 1, "table", "gone"),
        Entry("cup", 0, "bed", "premap"),
        Entry("cup", 1, "chair", "seen"),
        Entry("hat", 3, "table", "premap"),
    ),
    premap=(),
    human=None,
    given=False,
)


def lessons(**rest):
    return Lessons(**(dict(split="s_obj/train", tasks=5, houses=20, excerpts=0) | rest))


def test_a_thought_looks_up_what_the_next_action_depends_on():
    assert sif_pairs.thought(VIEW).splitlines() == [
        "cup here chair",
        "cup 1 bed ?",
        *("eating fridge", "4 all", "eating table", "here", "eating couch", "none"),
        "here 2 look 1",
        "3 next",
        "count 2 2 2",
    ]
    assert sif_pairs.thought(VIEW._replace(held="cup")).splitlines() == [
        *("table table", "here"),
        "here 2 look 1",
        "3 next",
        "count 2 2 2",
    ]
    free = sif_pairs.thought(VIEW._replace(here=None, goal=Goal("room", "bowl", "bathroom")))
    assert free.splitlines() == ["bowl none", "here none", "1 next", "count 2 0 2"]


def test_a_thought_of_where_the_human_goes():
    human = dict(type="s_hum", goal=Goal("human", "cup"), asking=True, human=HumanView(0, 1))
    heard = (Sentence("", "", "bedroom"), Sentence("", "cup", "eating"))
    assert sif_pairs.thought(VIEW._replace(**human, sentences=heard)) == "bedroom bed\n1"
    assert sif_pairs.thought(VIEW._replace(**human, sentences=())) == "heard nothing"


def test_questions_have_their_answers_in_the_text():
    asked = dict(sif_pairs.some_questions(VIEW, 1000, random.Random(0)))
    assert asked["hat map"] == "hat 4 table ?" and asked["shoe map"] == "shoe none"
    assert asked["where fridge"] == "4 all" and asked["where car"] == "none"
    assert asked["where chair"] == "here" and asked["3 room"] == "3 toilet bathtub"
    assert asked["places washing"] == "washing toilet\n3 all\nwashing fridge\n4 all"
    assert asked["here"] == "here 2 look 1" and asked["next"] == "3 next"
    lines = [line.split() for line in compact(VIEW).splitlines()]
    assert ["3", "look", "all", "toilet", "bathtub"] in lines  # what was asked of Room 3


def test_questions_are_different_and_as_many_as_wanted():
    rng = random.Random(0)
    for count in (0, 1, 7):
        asked = sif_pairs.some_questions(VIEW, count, rng)
        assert len({question for question, _ in asked}) == len(asked) == count


def test_excerpts_are_lines_of_the_text_and_keep_their_answers():
    rng, whole = random.Random(0), compact(VIEW).splitlines()
    for _ in range(50):
        part = sif_pairs.excerpt(VIEW, rng)
        assert set(compact(part).splitlines()) <= set(whole)
        assert 1 <= len(part.rooms) <= 3 and len(part.entries) <= 3
        assert part.rooms[part.here].number == 2
        asked = dict(sif_pairs.some_questions(part, 1000, rng))
        for room in part.rooms:
            here = "here" if room.number == 2 else str(room.number)
            assert asked[f"{here} room"] == " ".join([here, *room.receptacles])
    free = sif_pairs.excerpt(VIEW._replace(here=None), rng)
    assert free.here is None and 1 <= len(free.rooms) <= 2


def test_excerpts_have_questions_and_no_reply():
    pairs = [p for task in sif_pairs.by_task(ScriptedGreedy(), lessons(excerpts=2)) for p in task]
    whole = [pair for task in sif_pairs.by_task(ScriptedGreedy(), lessons()) for pair in task]
    assert len(pairs) == 3 * sum(pair.reply is not None for pair in pairs)
    assert all(len(pair.questions) == 8 for pair in pairs) and whole[0] == pairs[0]


def test_without_strays_the_pairs_are_the_teachers_own_episodes():
    teacher = ScriptedReasoner()
    for number, pairs in enumerate(sif_pairs.by_task(teacher, lessons(stray=0.0))):
        task = generate_task(SifConfig(train_houses=20), f"s_obj/train/{number}")
        order = random.Random(f"0 {number}").sample(
            range(len(task.house.rooms)), len(task.house.rooms)
        )
        world = SifWorld(None, {task.name: sif_pairs.renumbered(task, order)})
        state = world.reset(task.name)
        for pair in pairs:
            (reply,) = teacher.act([state], [0])
            assert pair.text == state.text("compact")
            assert pair.reply.splitlines()[-1] == f"Action: {reply.action}"
            assert len(pair.questions) == 8
            state = world.step(state, reply.action)
        assert state.outcome is not None


def test_pairs_follow_from_the_seed_and_strays_lead_elsewhere():
    def made(**rest):
        return list(sif_pairs.by_task(ScriptedGreedy(), lessons(**rest)))

    assert made() == made()
    texts = [{pair.text for task in made(**rest) for pair in task} for rest in ({}, dict(stray=0))]
    assert texts[0] != texts[1]
    assert made(seed=1) != made()


@pytest.mark.parametrize("split", [split for split in SPLITS if split.endswith("/train")])
def test_renumbered_rooms_are_the_same_house(split):
    """Random actions, their room numbers changed, lead to the same costs, offers and outcomes."""
    rng, config = random.Random(split), SifConfig(train_houses=50)
    for number in range(25):
        task = generate_task(config, f"{split}/{number}")
        order = rng.sample(range(len(task.house.rooms)), len(task.house.rooms))
        other = sif_pairs.renumbered(task, order)
        assert [room.number for room in other.house.rooms] == [
            room.number for room in task.house.rooms
        ]
        new = {task.house.rooms[old].number: at + 1 for at, old in enumerate(order)}
        worlds = [SifWorld(None, {task.name: one}) for one in (task, other)]
        one, two = (world.reset(task.name) for world in worlds)
        while one.outcome is None:
            offered = {translated(action, new): action for action in one.actions}
            assert set(offered) == set(two.actions)
            action = rng.choice(sorted(set(offered) - {"Done!"}))
            one, two = worlds[0].step(one, offered[action]), worlds[1].step(two, action)
            assert (one.outcome, one.invalid) == (two.outcome, two.invalid)
            assert one.measures == two.measures
    assert sif_pairs.renumbered(task, range(len(order))) == task


def translated(action, new):
    """An action with the new number of its room."""
    words = action.split()
    if "Room" in words:
        words[-1] = str(new[int(words[-1])])
    return " ".join(words)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (dict(tasks=0), "tasks is 0"),
        (dict(questions=-1), "questions is -1"),
        (dict(excerpts=-1), "excerpts is -1"),
        (dict(excerpts=1, questions=0), "questions is 0"),
        (dict(stray=1.5), "stray is 1.5"),
        (dict(split="s_obj/nowhere"), "split is 's_obj/nowhere'"),
    ],
)
def test_lessons_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        next(sif_pairs.by_task(ScriptedGreedy(), lessons(**wrong)))
