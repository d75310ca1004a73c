"""Rollouts as transition counts: every step once, ends and starts where they belong."""

import collections
import dataclasses
import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.gaps import CLOSE
from adapters.rollouts import Problems, RolloutWriter
from adapters.rollouts.counts import EpisodeCounter, read_counts
from adapters.rollouts.shards import Turn
from core.transitions import FAILURE, SUCCESS, TRUNCATED
from tests.adapters.rollout_episodes import CONFIG, episode

ENDS = {"success": SUCCESS, "failure": FAILURE, "truncated": TRUNCATED}


def turns(name, task, keys, decisions, outcome, num_helps=1):
    """An episode by hand: the state after the last one is "end"."""
    return [
        Turn(
            task=task,
            episode=name,
            probabilities=(0.5,) * num_helps,
            seed=0,
            turn=turn,
            state_key=key,
            decision=decision,
            next_state_key=after,
            outcome=outcome if after == "end" else None,
        )
        for turn, (key, decision, after) in enumerate(
            zip(keys, decisions, [*keys[1:], "end"], strict=True)
        )
    ]


def count(*episodes, **options):
    counter = EpisodeCounter(**options)
    for one in episodes:
        counter.add(one)
    return counter.result()


def as_dict(found):
    """What was counted, by state, action and next state."""
    entries = found.counts.entries()
    return dict(
        zip(zip(*(a.tolist() for a in entries[:3]), strict=True), entries.n.tolist(), strict=True)
    )


def test_an_example_by_hand():
    found = count(
        turns("1", "t", ["a", "b"], [0, 1], "success"),
        turns("2", "t", ["a", "c", "c"], [0, 0, 1], "failure"),
        turns("3", "u", ["b"], [1], "truncated"),
        turns("4", "t", ["a", "b"], [0, 0], "success"),
    )
    a, b, c = found.index.lookup(["a", "b", "c"])
    assert found.index.lookup(["end"]) == [-1]
    assert as_dict(found) == {
        (a, 0, b): 2,
        (a, 0, c): 1,
        (b, 1, SUCCESS): 1,
        (b, 1, TRUNCATED): 1,
        (b, 0, SUCCESS): 1,
        (c, 0, c): 1,
        (c, 1, FAILURE): 1,
    }
    assert found.counts.outcomes() == (2, 1, 1)
    assert found.tasks == ("t", "u")
    starts = zip(found.start, found.start_task, found.start_episodes, strict=True)
    assert set(starts) == {(a, 0, 3), (b, 1, 1)}


def test_a_turn_without_action_is_a_step_to_where_it_led():
    steps = [*turns("1", "t", ["a", "a"], [1, 0], "truncated")]
    assert as_dict(count(steps)) == {(0, 1, 0): 1, (0, 0, TRUNCATED): 1}


def test_every_task_weighs_the_same_and_its_starts_by_their_episodes():
    found = count(
        turns("1", "t", ["a"], [0], "success"),
        turns("2", "t", ["a"], [0], "success"),
        turns("3", "t", ["b"], [0], "success"),
        turns("4", "u", ["c"], [1], "failure"),
        turns(f"{CLOSE}v", "v", ["d"], [0], "success"),
    )
    assert found.tasks == ("t", "u", "v")
    weight = dict(zip(found.start.tolist(), found.start_weight.tolist(), strict=True))
    assert weight == pytest.approx({0: 1 / 3, 1: 1 / 6, 2: 1 / 2})
    table = found.table()
    np.testing.assert_allclose(table.start_weight @ table.exit_success[table.start, 0], 1 / 2)


def test_an_episode_from_the_middle_of_a_task_counts_but_is_no_start():
    found = count(
        turns("1", "t", ["a", "b"], [1, 1], "success"),
        turns(f"{CLOSE}t at=b", "t", ["b"], [0], "failure"),
    )
    assert as_dict(found)[1, 0, FAILURE] == 1
    assert found.start.tolist() == [0]


def test_repeats_of_a_deterministic_episode_count_once_on_demand():
    episodes = [
        turns("1", "t", ["a", "b"], [0, 1], "success"),
        turns("2", "t", ["a", "b"], [0, 1], "success"),  # the same again
        turns("3", "t", ["a", "b"], [1, 1], "success"),
        turns("4", "t", ["a", "b"], [0, 1], "failure"),
        turns("5", "u", ["a", "b"], [0, 1], "success"),
    ]
    assert count(*episodes).counts.num_steps == 10
    found = count(*episodes, ignore_repeats=True)
    assert found.counts.num_steps == 8
    assert found.start_episodes.sum() == 4
    counter = EpisodeCounter(ignore_repeats=True)
    assert [counter.add(one) for one in episodes] == [True, False, True, True, True]


def test_several_helps_are_several_actions():
    found = count(turns("1", "t", ["a", "b"], [2, 3], "success", num_helps=3))
    assert found.counts.num_actions == 4
    assert as_dict(found) == {(0, 2, 1): 1, (1, 3, SUCCESS): 1}


def test_without_helps_there_is_a_table_all_the_same():
    found = count(turns("1", "t", ["a"], [0], "success", num_helps=0))
    assert found.table().num_actions == 2


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 1)), min_size=1, max_size=6),
            st.sampled_from(sorted(ENDS)),
            st.sampled_from("tu"),
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 20),
)
def test_any_batch_size_counts_what_a_dictionary_counts(drawn, batch):
    expected, starts = collections.Counter(), collections.Counter()
    counter = EpisodeCounter(batch=batch)
    for number, (path, end, task) in enumerate(drawn):
        keys, decisions = zip(*path, strict=True)
        counter.add(turns(str(number), task, keys, decisions, end))
        starts[task, keys[0]] += 1
        for (key, decision), after in zip(path, [*keys[1:], ENDS[end]], strict=True):
            expected[key, decision, after] += 1
    found = counter.result()
    key = {int(found.index.lookup([k])[0]): k for k, _ in itertools.chain(*(d[0] for d in drawn))}
    named = {(key[s], a, key.get(after, after)): n for (s, a, after), n in as_dict(found).items()}
    assert named == expected
    columns = (found.start_task, found.start, found.start_episodes)
    named = {(found.tasks[t], key[s]): n for t, s, n in zip(*columns, strict=True)}
    assert named == starts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rollouts")
    with RolloutWriter(folder, CONFIG, max_bytes=5000) as writer:
        for number in range(40):
            writer.write(episode(number))
    return folder


def test_a_folder_is_counted_like_its_episodes(folder):
    found, wanted = read_counts(folder), count(*map(episode, range(40)))
    assert as_dict(found) == as_dict(wanted)
    assert (found.tasks, found.start.tolist()) == (wanted.tasks, wanted.start.tolist())


def test_some_tasks_alone(folder):
    found = read_counts(folder, tasks={"task 2", "task 5", "unknown"})
    wanted = count(*(episode(number) for number in range(40) if number % 7 in (2, 5)))
    assert sorted(found.tasks) == ["task 2", "task 5"]
    assert as_dict(found) == as_dict(wanted)
    with pytest.raises(ValueError, match=f"{folder}: there is no complete episode to count"):
        read_counts(folder, tasks=["unknown"])


def test_what_is_wrong_is_told(folder, tmp_path):
    text = (folder / "shard-000001.jsonl").read_bytes()
    (tmp_path / "shard-000001.jsonl").write_bytes(text + b"foreign\n")
    with pytest.raises(ValueError, match=r"shard-000001.jsonl:\d+: foreign line"):
        read_counts(tmp_path)
    problems = Problems()
    read_counts(tmp_path, strict=False, problems=problems)
    assert problems.number == {"foreign": 1}


def test_memory_does_not_grow_with_the_steps(tmp_path):
    """Beyond the names of the episodes, which tell duplicates."""

    def peak(repeats):
        folder = tmp_path / str(repeats)
        with RolloutWriter(folder, CONFIG, max_bytes=1 << 20) as writer:
            for number, run in itertools.product(range(20), range(repeats)):
                name = f"{number} run={run}"
                steps = episode(number, text_size=50)
                writer.write([dataclasses.replace(step, episode=name) for step in steps])
        tracemalloc.start()
        try:
            found = read_counts(folder, batch=500)
            return tracemalloc.get_traced_memory()[1], found
        finally:
            tracemalloc.stop()

    (little, few), (much, many) = peak(40), peak(160)
    assert many.counts.num_steps == 4 * few.counts.num_steps
    assert many.counts.entries().n.tolist() == (4 * few.counts.entries().n).tolist()
    # 2400 more names, and the buffer of TransitionCounts, 16 bytes for a step of the 6 kB or so.
    grown = many.counts.num_steps - few.counts.num_steps
    assert much - little < 2400 * 160 + 16 * grown
