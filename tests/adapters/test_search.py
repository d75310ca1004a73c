"""Depth-1 search: UCT by hand, how counts grow, what is dropped, ties, one call for all."""

import math

import pytest

from adapters.episodes import Episode, play
from adapters.helpers import Always
from adapters.protocols import Reply
from adapters.search import Search
from tests.adapters import doors
from tests.adapters.doors import ByRule, Doors, Script

STATE = Doors().reset("doors/train/0")


class Proposer:
    """Proposes what it is told to, in this order."""

    name, temperature = "small", 1.0

    def __init__(self, *replies):
        self.replies, self.batches = list(replies), []

    def act(self, states, seeds):
        self.batches.append((len(states), len(set(seeds))))
        found = [self.replies.pop(0) for _ in states]
        return [one if isinstance(one, Reply) else Reply(one, raw=f"raw {one}") for one in found]


def scorer(q):
    return lambda states, actions: [q[action] for action in actions]


def turn(search, memory, seed=0):
    (reply,) = search.act([STATE], [memory], [seed])
    return reply


def test_on_a_first_visit_the_best_q_is_played():
    search = Search(Proposer("a", "b", "a", "c", "a"), scorer({"a": 0.5, "b": 0.6, "c": 0.1}))
    memory = search.start()
    reply = turn(search, memory)
    assert (reply.action, reply.error, reply.truncated) == ("b", None, False)
    assert memory.state == {STATE.key: 1}
    assert memory.pair == {(STATE.key, "a"): 3, (STATE.key, "b"): 1, (STATE.key, "c"): 1}
    assert reply.raw.splitlines() == [
        "Proposed: a (Q 0.5000, UCT 0.5000, x3); b (Q 0.6000, UCT 0.6000, x1); "
        "c (Q 0.1000, UCT 0.1000, x1)",
        "raw b",
    ]


@pytest.mark.parametrize("root", [True, False])
def test_uct_by_hand_on_a_second_visit(root):
    # N(s) = 2, N(a) = 3 + 4 = 7, N(b) = 2 + 1 = 3.
    q = {"a": 0.5, "b": 0.5}
    proposals = ["a", "a", "a", "b", "b"] + ["a", "a", "a", "a", "b"]
    search = Search(Proposer(*proposals), scorer(q), root=root)
    memory = search.start()
    turn(search, memory)
    reply = turn(search, memory)

    def uct(n):
        bonus = math.log(2) / n
        return 0.5 + 0.25 * (math.sqrt(bonus) if root else bonus)

    assert reply.action == "b"
    line = f"Proposed: a (Q 0.5000, UCT {uct(7):.4f}, x4); b (Q 0.5000, UCT {uct(3):.4f}, x1)"
    assert reply.raw.splitlines()[0] == line


def test_c_weighs_the_visits():
    def second(c):
        proposer = Proposer(*["a"] * 5, *["a"] * 4, "b")
        search = Search(proposer, scorer({"a": 0.6, "b": 0.5}), c=c)
        memory = search.start()
        turn(search, memory)
        return turn(search, memory).action

    # a: 0.6 + c sqrt(ln 2 / 9), b: 0.5 + c sqrt(ln 2); equal at c = 0.18.
    assert (second(0.0), second(0.17), second(0.19)) == ("a", "a", "b")


def test_a_turn_of_others_counts_as_five():
    search = Search(Proposer(*["a"] * 4, "b"), scorer({"a": 0.5, "b": 0.5}))
    memory = search.start()
    search.watch(memory, STATE, "a")
    assert memory.state == {STATE.key: 5}
    assert memory.pair == {(STATE.key, "a"): 5}
    assert turn(search, memory).action == "b"  # N(s) = 6, N(a) = 9, N(b) = 1
    assert memory.state == {STATE.key: 6}


def test_what_was_cut_off_or_failed_is_dropped():
    lost = [Reply("c", truncated=True), Reply(None, error="gone"), Reply(None, truncated=True)]
    search = Search(Proposer(*lost, "a", "b"), scorer({"a": 0.1, "b": 0.2}))
    memory = search.start()
    reply = turn(search, memory)
    assert (reply.action, reply.error, reply.truncated) == ("b", None, False)
    assert memory.pair == {(STATE.key, "a"): 1, (STATE.key, "b"): 1}


def test_where_nothing_is_left_there_is_no_action():
    cut, gone = Reply(None, truncated=True), Reply(None, error="gone")
    search = Search(Proposer(*[cut] * 5, *[cut, gone, cut, cut, cut]), scorer({}))
    memory = search.start()
    all_cut, some_failed = turn(search, memory), turn(search, memory)
    assert (all_cut.action, all_cut.truncated, all_cut.error) == (None, True, None)
    assert (some_failed.action, some_failed.truncated, some_failed.error) == (None, False, "gone")


def test_ties_go_to_q_then_to_proposals_then_to_the_first():
    def chosen(*proposals, q=0.5, c=0.25):
        search = Search(Proposer(*proposals), scorer(dict.fromkeys("abc", q)), c=c)
        return turn(search, search.start()).action

    assert chosen("a", "b", "b", "c", "c") == "b"
    assert chosen("c", "b", "a", "a", "b") == "b"
    assert chosen("b", "a", "a", "a", "b") == "a"
    search = Search(Proposer(*"abcab"), scorer({"a": 0.2, "b": 0.3, "c": 0.3}), c=0.0)
    assert turn(search, search.start()).action == "b"


def test_one_call_of_actor_and_scorer_for_all_states():
    asked = []

    def score(states, actions):
        asked.append([(state.task[-1], action) for state, action in zip(states, actions)])  # noqa: B905
        return [0.1, 0.2, 0.9, 0.3]

    world = Doors()
    states = [world.reset(f"doors/train/{i}") for i in range(2)]
    proposer = Proposer(*"aabbb", *"cddcc")
    search = Search(proposer, score)
    replies = search.act(states, [search.start(), search.start()], [11, 12])
    assert [reply.action for reply in replies] == ["b", "c"]
    assert proposer.batches == [(10, 10)]
    assert asked == [[("0", "a"), ("0", "b"), ("1", "c"), ("1", "d")]]


def test_the_bill_is_that_of_all_proposals():
    paid = Reply("a", "", False, None, False, 10, 2, 1.0, 1, 0.5, False)
    free = Reply("b", "", False, None, False, 0, 0, 0.1, 0, 0.0, True)
    search = Search(Proposer(paid, free, paid), scorer({"a": 0.5, "b": 0.4}), candidates=3)
    reply = turn(search, search.start())
    assert (reply.input_tokens, reply.output_tokens, reply.retries) == (20, 4, 2)
    assert (reply.cost, reply.cached) == (1.0, False)
    assert 1.0 <= reply.seconds < 1.5  # proposals come side by side


def test_the_key_says_what_the_same_state_is():
    proposer = doors.guesser()
    q = {"door 0": 0.1, "door 1": 0.2, "door 2": 0.3}
    search = Search(proposer, scorer(q), key=lambda state: f"{state.task} {state.room}")
    memory = search.start()
    for calls in range(3):
        state = Doors().reset("doors/train/0").__class__("doors/train/0", 3, 6, calls=calls)
        search.act([state], [memory], [calls])
    assert memory.state == {"doors/train/0 0": 3}


def test_within_episodes_it_is_told_of_turns_that_others_played():
    memories = []
    search = Search(doors.guesser(), lambda states, actions: [0.5] * len(states))
    start = search.start
    search.start = lambda: memories.append(start()) or memories[-1]
    episode = Episode("e", "doors/train/0", Script(0, 1, 0, 1, 0, 0), (0.5,))
    wrong = ByRule("wrong", lambda state, seed: "door 0")
    (played,) = play(Doors(rooms=6), wrong, [search], [episode])
    visits = [memories[0].state[step.state_key] for step in played.steps]
    assert visits == [5, 1, 5, 1, 5, 5]
    assert sum(memories[0].pair.values()) == 30


def test_the_same_seeds_give_the_same_search():
    def run(seed):
        search = Search(doors.guesser(), lambda states, actions: [0.5] * len(states))
        episodes = [Episode(f"e{i}", f"doors/train/{i}", Always(1), (1.0,), seed) for i in range(4)]
        return [
            [step.action for step in played.steps]
            for played in play(Doors(), doors.greedy(), [search], episodes)
        ]

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert not Search(doors.guesser(), scorer({})).deterministic


def test_once_a_state_is_drawn_whatever_the_seed_and_costs_once():
    proposer = Proposer(*(Reply(a, f"raw {a}", input_tokens=9) for a in "abaca"))
    search = Search(proposer, scorer({"a": 0.5, "b": 0.6, "c": 0.1}), once=True, c=0.0)
    assert search.deterministic
    memories = [search.start() for _ in range(3)]
    first, second = search.act([STATE] * 2, memories[:2], [1, 2])
    third = turn(search, memories[2], seed=3)
    assert first.action == second.action == third.action == "b"
    assert [one.input_tokens for one in (first, second, third)] == [45, 0, 0]
    assert third.cached and third.seconds == 0.0
    assert proposer.batches == [(5, 5)]
    assert memories[0].state == memories[2].state == {STATE.key: 1}  # each counts its own visits


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Search(doors.greedy(), scorer({})), "'greedy' has temperature 0.0"),
        (lambda: Search(doors.guesser(), scorer({}), candidates=0), "candidates is 0"),
        (lambda: Search(doors.guesser(), scorer({}), c=float("nan")), "c is nan"),
    ],
)
def test_impossible_searches_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (lambda states, actions: [0.5], "gave 1 scores, expected 2"),
        (lambda states, actions: [0.5, 1.5], "gave 1.5 for action 'b'"),
        (lambda states, actions: [float("nan"), 0.5], "gave nan for action 'a'"),
    ],
)
def test_a_scorer_that_gives_no_probabilities_is_named(score, message):
    search = Search(Proposer(*"aabbb"), score)
    with pytest.raises(ValueError, match=message):
        turn(search, search.start())
