"""Replies of earlier runs: from rollouts, from an evaluation's file, and from the wrong ones."""

import pytest

from adapters.episodes import Episode, play
from adapters.helpers import Random
from adapters.interventions import ByActor
from adapters.memo import Memoised
from adapters.protocols import Reply
from adapters.rollouts import RolloutWriter
from experiments import known_replies
from experiments.known_replies import Model
from tests.adapters import doors
from tests.adapters.doors import Doors

WHO = {"name": "greedy", "temperature": 0.0, "sha256": ("made", "up")}
HELP = {"name": "oracle", "temperature": 0.0}


@pytest.fixture
def rollouts(tmp_path):
    """Some rollouts of the greedy actor and the oracle; and what each replied in them."""
    episode = Episode("one", "doors/train/0", Random((0.5,)), (0.5,), seed=1)
    (played,) = play(Doors(rooms=6), doors.greedy(), [ByActor(doors.oracle())], [episode])
    with RolloutWriter(tmp_path / "rollouts", {"actor": WHO, "interventions": [HELP]}) as writer:
        writer.write(played.steps)
    said = [
        {step.state_key: step.action for step in played.steps if step.decision == decision}
        for decision in (0, 1)
    ]
    assert all(said)
    return tmp_path / "rollouts", said


def model(description=WHO):
    return Model(Memoised(doors.greedy()), description)


def test_replies_of_rollouts_are_those_of_each_player_alone(rollouts):
    folder, said = rollouts
    base, help, another = model(), model(HELP), model({"name": "another"})
    assert known_replies.recall([base, help, another], folder) == sum(map(len, said))
    for one, own in zip((base, help, another), [*said, {}], strict=True):
        assert {key: reply.action for key, reply in one.actor.known.items()} == own


def test_what_is_kept_is_known_again(tmp_path):
    first = [model(), model(HELP)]
    replies = {"a": Reply("left", "I go left"), "b": Reply(None, "I thi", truncated=True)}
    first[0].actor.learn(replies.items())
    first[1].actor.learn([("a", Reply("right"))])
    assert known_replies.kept_in(tmp_path) == []
    known_replies.keep(first, tmp_path)
    assert known_replies.kept_in(tmp_path) == [tmp_path]
    second = [model(HELP), model()]
    assert known_replies.recall(second, tmp_path) == 3
    for one, other in zip(first, reversed(second), strict=True):
        assert dict(other.actor.known) == dict(one.actor.known)


def test_replies_of_another_actor_are_refused(rollouts, tmp_path):
    folder, _ = rollouts
    known_replies.keep([model()], tmp_path)
    for path in (folder, tmp_path):
        other = model(WHO | {"sha256": ("other",)})
        with pytest.raises(ValueError, match="there are replies of .*made.* expected of .*other"):
            known_replies.recall([other], path)
        assert not other.actor.known


@pytest.mark.parametrize("line, message", [(1, r":1: .*describes the actor"), (3, ":3: no reply")])
def test_a_damaged_line_is_named(tmp_path, line, message):
    kept = model()
    kept.actor.learn([("a", Reply("left")), ("b", Reply("right"))])
    known_replies.keep([kept], tmp_path)
    path = tmp_path / "replies-0.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[line - 1] = b'{"key": 1}'
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(ValueError, match=message):
        known_replies.recall([model()], tmp_path)


def test_only_models_that_remember_can_be_known():
    base, oracle = Memoised(doors.greedy()), doors.oracle()
    helps = [ByActor(oracle), ByActor(Memoised(oracle))]
    found = known_replies.models(base, helps, [WHO, HELP, {"name": "the same"}])
    assert [one.description["name"] for one in found] == ["greedy", "the same"]
    assert found[1].actor is helps[1].actor
