"""What a teacher's pairs hold, and that renumbered rooms are the same house."""

import random

import pytest

from adapters.sif.generator import SPLITS, SifConfig, generate_task
from adapters.sif.oracle import ScriptedOracle
from adapters.sif.scripted import ScriptedGreedy, ScriptedReasoner
from adapters.sif.situation import Entry
from adapters.sif.text import compact, house_text
from adapters.sif.world import SifWorld
from experiments import sif_pairs
from experiments.sif_pairs import Lessons
from tests.experiments.sif_view import VIEW


def lessons(**rest):
    return Lessons(**(dict(split="s_obj/train", tasks=5, houses=20, goals=0, excerpts=0) | rest))


def test_questions_are_how_lines_of_the_text_go_on():
    asked = dict(sif_pairs.some_questions(VIEW, 1000, random.Random(0)))
    assert asked["hat"] == " 4 table ?" and "shoe" not in asked
    assert asked["fridge"] == " 4 all" and asked["car"] == " none" and asked["chair"] == " here"
    assert asked["here"] == " 2 look 1" and asked["go"] == " 3"
    assert asked["in kitchen"] == "\nfridge 4 all" and asked["in garage"] == "\ncar none"
    assert not any(" on " in question for question in asked)
    text = compact(VIEW)
    for question, answer in asked.items():
        if not question.startswith(("hear", "in ")) and answer != " none":
            assert f"{question}{answer}" in text


def test_questions_are_different_and_as_many_as_wanted():
    rng = random.Random(0)
    for count in (0, 1, 7):
        asked = sif_pairs.some_questions(VIEW, count, rng)
        assert len({question for question, _ in asked}) == len(asked) == count


def test_excerpts_are_lines_of_the_text_with_a_question_about_each():
    rng, whole = random.Random(0), compact(VIEW).splitlines()
    for _ in range(20):
        part = sif_pairs.excerpt("part", VIEW, rng)
        lines = part.text.splitlines()
        assert part.reply is None and len(lines) == len(part.questions) == 6
        assert set(lines) <= set(whole)
        for question, answer in part.questions:
            assert any(line.startswith(question + answer) for line in lines)


def test_other_goals_change_no_line_about_the_house_and_are_answered_by_the_teacher():
    teacher, rng, kinds = ScriptedGreedy(0), random.Random(0), set()
    for split in ("s_obj/train", "pnp/train", "s_hum/train"):
        for number in range(4):
            state = SifWorld().reset(f"{split}/{number}")
            while state.outcome is None:
                other = sif_pairs.supposed(state, rng)
                assert house_text(other.view()) == house_text(state.view())
                assert teacher.act([other], [0])[0].action in other.actions
                kinds.add((split, other.task.goal.kind, other.held == other.task.goal.object))
                state = SifWorld().step(state, teacher.act([state], [0])[0].action)
    assert len(kinds) == 10
    (pairs,) = sif_pairs.by_task(teacher, lessons(tasks=1, goals=3, questions=0))
    for pair in pairs:
        assert [answer.count("\nAction: ") for _, answer in pair.questions] == [1, 1, 1]
        assert all(" put " in question for question, _ in pair.questions)


def test_goals_that_are_perhaps_met_ask_for_done_or_to_pick_up():
    teacher, rng, actions, world = ScriptedGreedy(0), random.Random(0), [], SifWorld()
    state = world.reset("s_obj/train/0")
    while state.outcome is None:
        for _ in range(20):
            other = sif_pairs.supposed(state, rng, met=1.0)
            if other.held is None and any(e.mark == "seen" for e in other.view().entries):
                assert house_text(other.view()) == house_text(state.view())
                actions.append(teacher.act([other], [0])[0].action.split()[0])
        state = world.step(state, teacher.act([state], [0])[0].action)
    shares = {action: actions.count(action) / len(actions) for action in actions}
    assert shares["Done!"] > 0.3 and shares["Pick"] > 0.1


def test_checked_excerpts_ask_where_the_objects_in_them_were_seen():
    """Of the cup there are two lines, of which an excerpt has one: nothing is asked of it."""
    view = VIEW._replace(entries=(*VIEW.entries[:3], Entry("hat", 1, "table", "seen")))
    rng, found, holding = random.Random(0), set(), 0
    for _ in range(50):
        part = sif_pairs.excerpt("part", view, rng, checked=True)
        about = [one for one in part.questions if " on " in one[0]]
        assert len(about) == ("hat here table" in part.text.splitlines())
        found |= set(about)
        holding += len(about)
    assert 0 < holding < 50 and ("hat on table", " here") in found
    assert {answer for ask, answer in found if ask != "hat on table"} == {" none"}
    assert all(ask.startswith("hat on ") for ask, _ in found)


def test_where_something_was_seen_is_asked_for_with_and_without_its_receptacle():
    rng, found = random.Random(0), {}
    for _ in range(40):
        asked = sif_pairs.some_questions(VIEW, 1000, rng, careful=True)
        found |= {question: answer for question, answer in asked if " on " in question}
    assert found.pop("cup on chair") == " here"
    assert len(found) > 3 and set(found.values()) == {" none"}
    assert all(question.startswith("cup on ") for question in found)


def test_excerpts_and_goals_come_beside_the_replies():
    pairs = [p for task in sif_pairs.by_task(ScriptedGreedy(), lessons(excerpts=2)) for p in task]
    whole = [pair for task in sif_pairs.by_task(ScriptedGreedy(), lessons()) for pair in task]
    assert len(pairs) == 3 * sum(pair.reply is not None for pair in pairs)
    assert whole[0] == pairs[0] and len(whole[0].questions) == 4


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
            assert len(pair.questions) == 4
            state = world.step(state, reply.action)
        assert state.outcome is not None


def test_pairs_follow_from_the_seed_and_strays_lead_elsewhere():
    def made(**rest):
        return list(sif_pairs.by_task(ScriptedGreedy(), lessons(**rest)))

    assert made() == made()
    texts = [{pair.text for task in made(**rest) for pair in task} for rest in ({}, dict(stray=0))]
    assert texts[0] != texts[1]
    assert made(seed=1) != made()
    assert made(goals=2, met=1.0) != made(goals=2)
    with pytest.raises(ValueError, match=r"met is 2, expected 0\.\.1"):
        lessons(met=2)
    with pytest.raises(ValueError, match="careful thoughts of 'oracle', expected a scripted"):
        next(sif_pairs.by_task(ScriptedOracle(), lessons(careful=True)))


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
        (dict(goals=-1), "goals is -1"),
        (dict(stray=1.5), "stray is 1.5"),
        (dict(split="s_obj/nowhere"), "split is 's_obj/nowhere'"),
    ],
)
def test_lessons_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        next(sif_pairs.by_task(ScriptedGreedy(), lessons(**wrong)))
