"""Replies of earlier runs: from rollouts, from an evaluation's file, and from the wrong ones."""

import pytest

from adapters.episodes import Episode, play
from adapters.helpers import Random
from adapters.interventions import ByActor
from adapters.memo import Memoised
from adapters.protocols import Reply
from adapters.rollouts import RolloutWriter
from experiments import known_replies
from tests.adapters import doors
from tests.adapters.doors import Doors

WHO = {"name": "greedy", "temperature": 0.0, "sha256": ("made", "up")}


@pytest.fixture
def rollouts(tmp_path):
    """Some rollouts of the greedy actor; and what it replied in them."""
    episode = Episode("one", "doors/train/0", Random((0.5,)), (0.5,), seed=1)
    (played,) = play(Doors(rooms=6), doors.greedy(), [ByActor(doors.oracle())], [episode])
    with RolloutWriter(tmp_path / "rollouts", {"actor": WHO}) as writer:
        writer.write(played.steps)
    said = {step.state_key: step.action for step in played.steps if step.decision == 0}
    assert 0 < len(said) < len(played.steps)
    return tmp_path / "rollouts", said


def actor():
    return Memoised(doors.greedy())


def test_replies_of_rollouts_are_those_of_the_base_actor_alone(rollouts):
    folder, said = rollouts
    memory = actor()
    assert known_replies.recall(memory, folder, WHO) == len(said)
    assert {key: reply.action for key, reply in memory.known.items()} == said


def test_what_is_kept_is_known_again(tmp_path):
    first, second = actor(), actor()
    replies = {"a": Reply("left", "I go left"), "b": Reply(None, "I thi", truncated=True)}
    first.learn(replies.items())
    known_replies.keep(first, tmp_path, WHO)
    assert known_replies.recall(second, tmp_path, WHO) == 2
    assert dict(second.known) == dict(first.known)


def test_replies_of_another_actor_are_refused(rollouts, tmp_path):
    folder, _ = rollouts
    other = WHO | {"sha256": ("other",)}
    known_replies.keep(actor(), tmp_path, WHO)
    for path in (folder, tmp_path):
        memory = actor()
        with pytest.raises(ValueError, match="there are replies of .*made.* expected of .*other"):
            known_replies.recall(memory, path, other)
        assert not memory.known


@pytest.mark.parametrize("line, message", [(1, r":1: .*describes the actor"), (3, ":3: no reply")])
def test_a_damaged_line_is_named(tmp_path, line, message):
    memory = actor()
    memory.learn([("a", Reply("left")), ("b", Reply("right"))])
    known_replies.keep(memory, tmp_path, WHO)
    path = tmp_path / known_replies.NAME
    lines = path.read_bytes().split(b"\n")
    lines[line - 1] = b'{"key": 1}'
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(ValueError, match=message):
        known_replies.recall(actor(), tmp_path, WHO)
