"""The scripted actors see what the agent sees, and are about as good as they are made to be."""

import collections
import dataclasses
import random

import pytest

from adapters.replies import parse_action
from adapters.sif import rules
from adapters.sif.generator import SifConfig
from adapters.sif.layout import Layout
from adapters.sif.real import read_tasks
from adapters.sif.scripted import ScriptedGreedy, ScriptedListener, ScriptedReasoner
from adapters.sif.tasks import Sentence
from adapters.sif.world import SifWorld
from tests.adapters.sif.real_files import write_release
from tests.adapters.sif.small import BED, PNP, S_HUM, S_OBJ, TASKS, place, play

WORLD = SifWorld(SifConfig(test_tasks=120))
SPLITS = [
    f"{kind}/{part}"
    for kind in ("pnp", "s_obj", "s_hum")
    for part in ("train", "test_seen", "test_unseen")
]
SLIPPING = (ScriptedReasoner, ScriptedGreedy)
ACTORS = (*SLIPPING, ScriptedListener)


def starts(split, count=120):
    return [WORLD.reset(name) for name in WORLD.tasks(split)[:count]]


def act(actor, state):
    (reply,) = actor.act([state], [0])
    return reply.action


def play_on(actor, state):
    """The states from this one to the end."""
    states = [state]
    while states[-1].outcome is None:
        states.append(rules.step(states[-1], act(actor, states[-1])))
    return states


def success(actor, split, count=120):
    ends = [play_on(actor, state)[-1] for state in starts(split, count)]
    return sum(end.outcome == "success" for end in ends) / len(ends)


class Seen:
    """A state of which nothing can be read but what the agent may know."""

    def __init__(self, state):
        self.outcome, self.actions, self.view = state.outcome, state.actions, state.view


@pytest.mark.parametrize("split", SPLITS)
def test_success_is_that_of_a_stronger_and_a_base_model(split):
    assert 0.60 <= success(ScriptedReasoner(), split) <= 0.75
    assert 0.25 <= success(ScriptedGreedy(), split) <= 0.45


@pytest.mark.parametrize("split", SPLITS)
def test_without_slips_the_reasoner_solves_nearly_all_and_nobody_errs(split):
    reasoned = [play_on(ScriptedReasoner(dial=0), state)[-1] for state in starts(split, 60)]
    greedy = [play_on(ScriptedGreedy(dial=0), state)[-1] for state in starts(split, 60)]
    listened = [play_on(ScriptedListener(), state)[-1] for state in starts(split, 60)]
    assert sum(end.outcome == "success" for end in reasoned) >= 0.93 * 60
    assert not any(end.invalid for end in reasoned + greedy + listened)


@pytest.mark.parametrize("actor", SLIPPING)
def test_the_higher_the_dial_the_less_success(actor):
    rates = [
        sum(success(actor(dial), f"{kind}/train", 60) for kind in ("pnp", "s_obj", "s_hum"))
        for dial in (0, 0.25, 0.5, 0.75, 1)
    ]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > rates[2] > rates[4]


def test_most_failures_of_the_greedy_actor_end_in_an_invalid_action():
    ends = [play_on(ScriptedGreedy(), s)[-1] for split in SPLITS for s in starts(split, 60)]
    lost = [end for end in ends if end.outcome != "success"]
    assert 0.4 <= sum(end.invalid for end in lost) / len(lost) <= 0.75
    # ... but nearly all of its actions are valid.
    actions = sum(end.measures["actions"] for end in ends)
    assert sum(end.invalid for end in lost) / actions <= 0.06


@pytest.mark.parametrize("dial", [0, None, 1])
@pytest.mark.parametrize("kind", ACTORS)
def test_nothing_is_used_but_view_and_actions(kind, dial):
    actor = kind() if dial is None else kind(dial)
    for split in SPLITS:
        for start in starts(split, 10):
            for state in play_on(actor, start)[:-1]:
                assert act(actor, Seen(state)) == act(actor, state)


@pytest.mark.parametrize(
    "actor", [ScriptedReasoner(), ScriptedReasoner(0), ScriptedGreedy(), ScriptedListener()]
)
@pytest.mark.parametrize("task", TASKS)
def test_tasks_that_look_the_same_get_the_same_action(task, actor):
    # Elsewhere than it seems: the things, what two rooms are for, and the way to them. Nothing of
    # it shows in the first spot of the kitchen, where the agent stands.
    moved = (place("cup", BED, "bench"), place("book", 2, "cabinet"))
    rooms = list(task.house.rooms)
    rooms[2] = dataclasses.replace(rooms[2], functions=("garage",))
    rooms[3] = dataclasses.replace(rooms[3], functions=("office",))
    house = dataclasses.replace(
        task.house, rooms=tuple(rooms), steps=((0, 75, 50, 25), *task.house.steps[1:]), doors=()
    )
    other = dataclasses.replace(task, house=house, objects=moved)
    here, there = rules.start(Layout(task)), rules.start(Layout(other))
    assert here.view() == there.view() and here.key == there.key
    assert act(actor, here) == act(actor, there)


@pytest.mark.parametrize(
    "actor", [ScriptedReasoner(), ScriptedGreedy(), ScriptedReasoner(0.6), ScriptedListener()]
)
def test_one_key_one_action_however_it_was_reached(actor):
    edge = [start for split in SPLITS for start in starts(split, 1)]
    met = collections.defaultdict(set)
    for _ in range(4):
        for state in edge:
            way = tuple(s.action for s in state.past()[1:])
            met[state.key].add((way, act(actor, state)))
        edge = [rules.step(state, action) for state in edge for action in state.actions[:-1]]
        edge = [state for state in edge if state.outcome is None]
    several = [answers for answers in met.values() if len(answers) > 1]
    assert len(several) > 300
    assert all(len({action for _, action in answers}) == 1 for answers in several)


@pytest.mark.parametrize("actor", [ScriptedReasoner(), ScriptedGreedy(), ScriptedListener()])
def test_the_compact_text_and_the_actions_decide(actor):
    # Whatever the text leaves out: the map of phase 1, and the wording.
    def hidden(view):
        said = tuple(dataclasses.replace(s, text="...") for s in view.sentences)
        return view._replace(premap=(), command="...", sentences=said)

    for split in SPLITS:
        for start in starts(split, 10):
            for state in play_on(actor, start)[:-1]:
                reads = Seen(state)
                view = hidden(state.view())
                reads.view = lambda view=view: view
                assert act(actor, reads) == act(actor, state)


@pytest.mark.parametrize("kind", ACTORS)
def test_from_wherever_others_left_it_only_offered_actions_follow(kind):
    draws, actor, ends = random.Random(1), kind(dial=0), []
    for start in [start for split in SPLITS for start in starts(split, 20)]:
        state = start
        for _ in range(draws.randint(1, 5)):
            state = rules.step(state, draws.choice(state.actions[:-1]))
        for before, after in zip(play_on(actor, state), play_on(actor, state)[1:], strict=False):
            assert not after.invalid, (before.text("compact"), after.action)
        ends.append(after)
    if kind is ScriptedReasoner:
        assert sum(end.outcome == "success" for end in ends) / len(ends) > 0.8


def test_the_reasoner_puts_down_what_is_not_wanted_and_fetches_what_is():
    both = dataclasses.replace(PNP, goal=dataclasses.replace(PNP.goal, object="book"))
    state = play(both, "Go to Room 2", "Pick up cup")
    assert play_on(ScriptedReasoner(0), state)[-1].outcome == "success"


def test_the_reasoner_goes_where_it_was_told_and_the_greedy_actor_where_the_map_says():
    # The map has the cup in the kitchen. "I had it with me for resting": not in a kitchen.
    start = rules.start(Layout(S_OBJ))
    assert act(ScriptedReasoner(0), start) in ("Go to Room 2", "Go to Room 4")
    assert act(ScriptedGreedy(0), start) == "Pick up cup"


def test_the_reasoner_follows_the_human_when_nothing_is_said_and_not_when_it_is():
    clear = rules.start(Layout(S_HUM))
    vague = dataclasses.replace(S_HUM, sentences=(Sentence("Come.", "", ""),), ambiguous=True)
    assert act(ScriptedReasoner(0), clear) == "Enough Evidence"
    states = play_on(ScriptedReasoner(0), rules.start(Layout(vague)))
    assert [s.action for s in states[1:5]] == ["Not Enough Evidence"] * 4
    assert states[-1].outcome == "success"


def test_hints_of_which_nobody_has_said_what_they_tell_are_read():
    # As in tasks from episode files: the sentence alone.
    for split in ("s_obj/train", "s_hum/train"):
        for start in starts(split, 30):
            plain = tuple(Sentence(s.text, s.about) for s in start.task.sentences)
            other = rules.start(Layout(dataclasses.replace(start.task, sentences=plain)))
            assert act(ScriptedReasoner(0), other) == act(ScriptedReasoner(0), start)


def test_a_function_that_nobody_knows_is_no_obstacle():
    rooms = [dataclasses.replace(room, functions=("tv room",)) for room in PNP.house.rooms]
    house = dataclasses.replace(PNP.house, rooms=tuple(rooms))
    goal = dataclasses.replace(PNP.goal, kind="room", target="tv room")
    start = rules.start(Layout(dataclasses.replace(PNP, house=house, goal=goal)))
    assert not any(play_on(kind(0), start)[-1].invalid for kind in ACTORS)


def test_tasks_from_episode_files_are_played(tmp_path):
    write_release(tmp_path)
    tasks = read_tasks(tmp_path).values()
    assert {task.type for task in tasks} == {"pnp", "s_obj", "s_hum"}
    ends = [play_on(ScriptedReasoner(0), rules.start(Layout(task)))[-1] for task in tasks]
    assert [end.outcome for end in ends] == ["success"] * len(tasks)
    ends = [play_on(ScriptedGreedy(0), rules.start(Layout(task)))[-1] for task in tasks]
    assert not any(end.invalid for end in ends)


@pytest.mark.parametrize("kind", ACTORS)
def test_replies_are_in_the_form_that_models_are_asked_for(kind):
    states = [state for split in SPLITS for state in play_on(kind(), starts(split, 1)[0])[:-1]]
    for state, reply in zip(states, kind().act(states, [0] * len(states)), strict=True):
        assert parse_action(reply.raw, state.actions) == reply.action
        assert reply.raw.startswith("Reasoning: ")


@pytest.mark.parametrize("kind", ACTORS)
def test_what_changes_the_answers_is_in_the_configuration(kind):
    assert kind(0.3, ["quit"]).config == {"dial": 0.3, "slips": ["quit"]}
    assert kind().temperature == 0


@pytest.mark.parametrize("kind", ACTORS)
def test_bad_arguments_and_ended_states_are_refused(kind):
    with pytest.raises(ValueError, match=r"dial is 1\.5, expected a number from 0 to 1"):
        kind(1.5)
    with pytest.raises(ValueError, match="kinds has 'nap', expected some of"):
        kind(0.5, ["nap"])
    with pytest.raises(ValueError, match="state has ended in failure"):
        kind().act([play(PNP, "Done!")], [0])
