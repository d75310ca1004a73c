"""The driver: who plays, who is told, what is written, and that batching changes nothing."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.episodes import Episode, TaskWise, play
from adapters.helpers import Always, Never, Random
from adapters.interventions import ByActor
from adapters.protocols import Decision, Reply
from tests.adapters import doors
from tests.adapters.doors import ByRule, Doors, Noting, Script


def one(helper, interventions=(), actor=None, world=None, how=None, **fields):
    """Plays one episode of the first task."""
    episode = Episode("e", "doors/train/0", helper, (0.5,) * len(interventions), 7, **fields)
    actor = actor or doors.greedy()
    (played,) = play(world or Doors(), actor, interventions, [episode], **(how or {}))
    return played


def wrong(state, seed):
    return next(door for door in doors.DOORS if door != state.right_door)


WRONG = ByRule("wrong", wrong)
ORACLE = ByActor(doors.oracle())


def decisions(played):
    return [step.decision for step in played.steps]


def test_an_episode_is_one_step_a_turn():
    played = one(Script(0, 1, 1, 1), [ORACLE], actor=WRONG)
    assert (played.error, played.stopped) == (None, False)
    assert [step.turn for step in played.steps] == [0, 1, 2, 3]
    assert [step.actor for step in played.steps] == ["wrong", "oracle", "oracle", "oracle"]
    assert [step.outcome for step in played.steps] == [None, None, None, "success"]
    for step, following in zip(played.steps, played.steps[1:], strict=False):
        assert step.next_state_key == following.state_key
    first = played.steps[0]
    assert (first.task, first.episode, first.seed) == ("doors/train/0", "e", 7)
    assert (first.probabilities, first.measures) == ((0.5,), {"calls": 1.0})
    assert first.state_key == "doors/train/0 room=0 calls=0"
    assert first.state_text == "full: doors/train/0 room=0 calls=0"
    assert first.raw == f"I say {first.action}"


def test_what_a_reply_took_is_written():
    reply = Reply("door 0", "raw", False, None, False, 5, 6, 0.5, 2, 0.25, True)
    actor = ByRule("billed", lambda state, seed: reply)
    step = one(Never(), actor=actor, how={"style": "compact"}).steps[0]
    assert (step.input_tokens, step.output_tokens, step.seconds) == (5, 6, 0.5)
    assert (step.retries, step.cost, step.cached) == (2, 0.25, True)
    assert step.state_text.startswith("compact: ")
    assert one(Never(), actor=actor, how={"style": None}).steps[0].state_text == ""


def test_an_inadmissible_action_is_the_worlds_to_refuse():
    played = one(Never(), actor=ByRule("rude", lambda state, seed: "kick"))
    (step,) = played.steps
    assert (step.action, step.invalid, step.outcome) == ("kick", True, "failure")
    assert not step.truncated


def test_a_reply_that_was_cut_off_is_no_wrong_action():
    played = one(Never(), actor=ByRule("long", lambda state, seed: Reply(None, truncated=True)))
    (step,) = played.steps
    assert (step.truncated, step.action, step.invalid) == (True, None, False)
    assert (step.outcome, step.next_state_key) == ("truncated", step.state_key)
    assert played.error is None


def test_a_failed_reply_gives_up_its_episode_only():
    def rule(state, seed):
        if state.task.endswith("/1") and state.calls == 1:
            return Reply(None, error="server gone")
        return wrong(state, seed)

    episodes = [Episode(f"e{i}", f"doors/train/{i}", Never()) for i in range(3)]
    played = {p.episode.name: p for p in play(Doors(), ByRule("flaky", rule), [], episodes)}
    assert [played[name].error for name in ("e0", "e1", "e2")] == [None, "server gone", None]
    last = played["e1"].steps[-1]
    assert (last.turn, last.error, last.outcome) == (1, "server gone", None)
    assert (last.action, last.next_state_key) == (None, last.state_key)


def test_stop_gives_up_the_episode_and_says_so():
    played = one(Never(), actor=ByRule("tired", lambda state, seed: Reply(None, stop=True)))
    assert played.stopped
    assert played.error == "tired stopped the episode"


def test_max_turns_ends_an_episode_as_truncated():
    played = one(Never(), actor=WRONG, how={"max_turns": 2})
    assert [step.outcome for step in played.steps] == [None, "truncated"]
    assert played.steps[-1].next_state_key == "doors/train/0 room=0 calls=2"


def test_interventions_are_told_of_the_turns_of_others():
    notes, other = Noting(), Noting("other")
    memories = []
    notes.start = lambda: memories.append([]) or memories[-1]
    other.start = notes.start
    one(Script(1, 0, 2, 1, 1, 1), [notes, other], actor=WRONG)
    first, second = memories
    key = "doors/train/0 room={} calls={}".format
    assert [note[:2] for note in first] == [
        ("act", key(0, 0)),
        ("watch", key(1, 1)),
        ("watch", key(1, 2)),
        ("act", key(2, 3)),
    ]
    assert [note[0] for note in second] == ["watch", "watch", "act", "watch"]


def test_a_prefix_is_replayed_told_and_not_written():
    notes = Noting()
    memory = []
    notes.start = lambda: memory
    world = Doors()
    state = world.reset("doors/train/0")
    following = world.step(state, state.right_door)
    played = one(Always(1), [notes], prefix=(state.right_door,), begins=following.key)
    assert [step.turn for step in played.steps] == [0, 1]
    assert played.steps[0].state_key == following.key
    assert memory[0] == ("watch", state.key, state.right_door)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(prefix=("door 0",), begins="elsewhere"), "expected 'elsewhere'"),
        (dict(prefix=("kick", "door 0")), r"has ended before prefix\[1\]"),
        (dict(prefix=("kick",)), "ended in 'failure' before the first turn"),
        (dict(cap=(1, 2)), r"cap is \(1, 2\), expected 1 numbers"),
        (dict(cap=(-1,)), "expected none below 0"),
        (dict(first=2), "first is 2, expected 0..1"),
    ],
)
def test_an_episode_that_cannot_begin_is_refused(fields, message):
    with pytest.raises(ValueError, match=f"episode 'e': .*{message}"):
        one(Never(), [ORACLE], **fields)


def test_the_first_decision_can_be_given():
    helper = Script(9, 0, 0, 0, 0, 0)
    assert decisions(one(helper, [ORACLE], actor=WRONG, first=1)) == [1, 0, 0, 0, 0, 0]


def test_no_call_beyond_the_cap():
    helper = Script(1, 0, 1, 1, 1, 1)
    played = one(helper, [ORACLE], actor=WRONG, world=Doors(rooms=6), cap=(2,))
    assert decisions(played) == [1, 0, 1, 0, 0, 0]
    assert [left for _, left in helper.asked] == [[(2,)], [(1,)], [(1,)], [(0,)], [(0,)], [(0,)]]
    assert one(Always(1), [ORACLE], actor=WRONG, cap=(0,)).steps[-1].outcome == "truncated"


def test_helpers_know_no_cap_where_there_is_none():
    helper = Script(0, 0, 0, 0, 0, 0)
    one(helper, [ORACLE], actor=WRONG)
    assert {left for _, left in helper.asked} == {None}


def test_task_wise_help_stays_to_the_end():
    helper = Script(0, 1, 0, 0, 0, 0)
    assert decisions(one(helper, [ORACLE], actor=WRONG)) == [0, 1, 0, 0, 0, 0]
    assert decisions(one(helper, [ORACLE], actor=WRONG, task_wise=TaskWise())) == [0, 1, 1, 1]


def test_task_wise_help_can_wait_until_the_asking_is_over():
    helper = Script(0, 1, 9, 9, 9, 9)
    played = one(helper, [ORACLE], actor=WRONG, task_wise=TaskWise(ask_turns=3))
    assert decisions(played) == [0, 0, 0, 1, 1, 1]
    assert len(helper.asked) == 2
    late = Script(0, 0, 1, 9, 9, 9)  # asked in vain: never again
    assert decisions(one(late, [ORACLE], actor=WRONG, task_wise=TaskWise(2))) == [0] * 6


def test_task_wise_help_ends_with_its_calls():
    played = one(Always(1), [ORACLE], actor=WRONG, task_wise=TaskWise(), cap=(2,))
    assert decisions(played) == [1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("actor", "interventions", "helper", "message"),
    [
        (ByRule("mute", lambda *_: Reply(None)), [], Never(), "mute gave neither action nor error"),
        (WRONG, [], Always(1), r"Always decided for help 1 .* expected 0..0"),
        (WRONG, [], type("Bad", (), {"decide": lambda *_: []})(), "Bad gave 0 decisions"),
        (
            type("Bad", (), {"name": "bad", "act": lambda *_: []})(),
            [],
            Never(),
            "bad gave 0 replies",
        ),
    ],
)
def test_broken_contracts_are_named(actor, interventions, helper, message):
    with pytest.raises(ValueError, match=message):
        one(helper, interventions, actor=actor)


@pytest.mark.parametrize("how", [{"batch": 0}, {"max_turns": 0}])
def test_arguments_out_of_range_are_named(how):
    with pytest.raises(ValueError, match=f"{next(iter(how))} is 0, expected at least 1"):
        one(Never(), how=how)


def test_one_call_a_wave_for_each_player():
    actor, strong = ByRule("wrong", wrong), doors.oracle()
    episodes = [Episode(f"a{i}", f"doors/train/{i}", Never(), (0.0,)) for i in range(3)]
    episodes += [Episode(f"b{i}", f"doors/train/{i}", Always(1), (1.0,)) for i in range(2)]
    list(play(Doors(), actor, [ByActor(strong)], episodes, batch=5))
    assert actor.batches == [3] * 6
    assert strong.batches == [2] * 3


def test_at_most_a_batch_of_episodes_is_taken():
    taken = []

    def episodes():
        for i in range(100):
            taken.append(i)
            yield Episode(f"e{i}", "doors/train/0", Always(1), (1.0,))

    playing = play(Doors(), WRONG, [ORACLE], episodes(), batch=4)
    next(playing)
    assert len(taken) == 4


@given(
    batch=st.integers(1, 12),
    order=st.permutations(range(12)),
    probabilities=st.sampled_from([(0.0, 0.0), (0.5, 0.0), (0.4, 0.6)]),
)
def test_batches_and_order_change_nothing(batch, order, probabilities):
    class Draw:
        def decide(self, states, calls_left, seeds):
            return [Decision(seed % 3) for seed in seeds]

    helpers = [Random(probabilities), Draw()]
    interventions = [ORACLE, ByActor(doors.guesser())]
    episodes = [
        Episode(f"e{i}", f"doors/train/{i % 4}", helpers[i % 2], probabilities, seed=i // 2)
        for i in range(12)
    ]

    def steps(episodes, batch):
        found = play(Doors(), doors.guesser(), interventions, episodes, batch=batch)
        return sorted(
            (dataclasses.astuple(step) for one in found for step in one.steps), key=lambda s: s[1:5]
        )

    key = steps(episodes, 1)
    assert steps([episodes[i] for i in order], batch) == key
