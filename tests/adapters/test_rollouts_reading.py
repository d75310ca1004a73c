"""What is written reads back; what is damaged is found, named, and never counted twice."""

import dataclasses
import json
import random
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.protocols import OUTCOMES
from adapters.rollouts import (
    Problems,
    RolloutWriter,
    read_config,
    read_episodes,
    read_errors,
    read_sorted_episodes,
    read_steps,
)
from adapters.step import Step
from tests.adapters.rollout_episodes import CONFIG, by_name, episode

TEXTS = st.lists(st.text(max_size=8), min_size=1, max_size=6)
NUMBERS = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=6)


@st.composite
def episodes(draw):
    """Some episodes with rubbish in every field that is free."""
    texts, numbers, chance = draw(TEXTS), draw(NUMBERS), random.Random(draw(st.integers(0, 999)))
    text, number = (lambda: chance.choice(texts)), (lambda: chance.choice(numbers))
    found = []
    for name in range(draw(st.integers(1, 6))):
        keys = [text() for _ in range(chance.randint(2, 4))]
        same = dict(
            task=text(),
            episode=f"{text()} {name}",
            probabilities=(chance.random(), 1),
            seed=chance.randint(-(2**70), 2**70),
        )
        found.append(
            [
                Step(
                    **same,
                    turn=turn,
                    state_key=keys[turn],
                    state_text=text(),
                    decision=chance.randint(0, 2),
                    actor=text(),
                    raw=text(),
                    action=chance.choice([None, text()]),
                    next_state_key=keys[turn + 1],
                    outcome=chance.choice(OUTCOMES) if turn == len(keys) - 2 else None,
                    invalid=chance.random() < 0.5,
                    truncated=chance.random() < 0.5,
                    error=chance.choice([None, text()]),
                    measures={text(): number()},
                    seconds=number(),
                    input_tokens=chance.randint(0, 2**40),
                    output_tokens=chance.randint(0, 2**40),
                    retries=chance.randint(0, 9),
                    cost=number(),
                    cached=chance.random() < 0.5,
                )
                for turn in range(len(keys) - 1)
            ]
        )
    return found


@settings(max_examples=60)
@given(data=st.data())
def test_any_interleaving_of_episodes_over_shards_reads_back_the_same(data, tmp_path_factory):
    wanted = data.draw(episodes())
    folder = tmp_path_factory.mktemp("rollouts")
    left = data.draw(st.permutations(wanted))
    while left:
        with RolloutWriter(folder, CONFIG, max_bytes=data.draw(st.integers(1, 3000))) as writer:
            for _ in range(data.draw(st.integers(1, len(left)))):
                writer.write(left.pop())
    assert by_name(read_episodes(folder)) == by_name(wanted)
    in_order = sorted(wanted, key=lambda steps: steps[0].episode)
    assert list(read_sorted_episodes(folder)) == in_order
    with RolloutWriter(folder, CONFIG) as writer:
        assert writer.finished == by_name(wanted).keys()
        assert not writer.problems.number
    assert read_config(folder) == CONFIG


@pytest.fixture
def folder(tmp_path):
    """Three episodes, of more than one turn each, in one shard."""
    with RolloutWriter(tmp_path / "rollouts", CONFIG) as writer:
        for steps in EPISODES:
            writer.write(steps)
    return tmp_path / "rollouts"


EPISODES = [steps for steps in map(episode, range(20)) if len(steps) > 2][:3]


def lines_of(folder):
    return (folder / "shard-000001.jsonl").read_bytes().splitlines(keepends=True)


def rewrite(folder, lines):
    (folder / "shard-000001.jsonl").write_bytes(b"".join(lines))


def read(folder, strict=True):
    """The episodes, and what was wrong; both ways to read them agree."""
    problems, likewise = Problems(), Problems()
    found = list(read_episodes(folder, strict=strict, problems=problems))
    by_names = sorted(found, key=lambda steps: steps[0].episode)
    assert list(read_sorted_episodes(folder, strict=strict, problems=likewise)) == by_names
    assert likewise.found == problems.found
    return found, problems


def test_the_file_is_a_header_and_one_object_a_step(folder):
    header, *steps = map(json.loads, lines_of(folder))
    assert header == {"format": "selfreg-rollouts", "version": 1, "config": CONFIG}
    expected = [dataclasses.asdict(step) for steps in EPISODES for step in steps]
    assert steps == json.loads(json.dumps(expected))


def test_steps_stream_in_the_order_of_the_episodes(folder):
    assert list(read_steps(folder)) == [step for steps in EPISODES for step in steps]


def test_cut_anywhere_the_complete_episodes_remain(folder):
    lines = lines_of(folder)
    whole = b"".join(lines)
    ends, at = [], len(lines[0])
    for steps in EPISODES:
        at += sum(map(len, lines[1:][: len(steps)]))
        del lines[1 : 1 + len(steps)]
        ends.append(at)
    assert ends[-1] == len(whole)
    last_line = whole.rindex(b"\n", 0, -1) + 1
    near_ends = {end + i for end in ends for i in (-2, -1, 0, 1) if end + i < len(whole)}
    for cut in sorted({*range(0, last_line, 7), *range(last_line, len(whole)), *near_ends}):
        (folder / "shard-000001.jsonl").write_bytes(whole[:cut])
        found, problems = read(folder)
        assert found == EPISODES[: sum(end <= cut for end in ends)]
        clean = cut in ends or cut == whole.index(b"\n") + 1
        assert set(problems.number) <= {"torn", "unfinished"}
        assert bool(problems.number) != clean


def test_torn_at_any_byte_of_the_last_line_the_next_run_completes_it(folder):
    whole = b"".join(lines_of(folder))
    start = len(whole) - len(lines_of(folder)[-1])
    for cut in range(start, len(whole), 9):
        for path in folder.glob("shard-*"):
            path.unlink()
        (folder / "shard-000001.jsonl").write_bytes(whole[:cut])
        with RolloutWriter(folder, CONFIG) as writer:
            missing = [steps for steps in EPISODES if steps[0].episode not in writer.finished]
            assert missing == EPISODES[-1:]
            assert set(writer.problems.number) <= {"torn", "unfinished"}
            writer.write(missing[0])
        assert (folder / "shard-000001.jsonl").read_bytes() == whole[:cut]
        assert read(folder)[0] == EPISODES


FOREIGN = [
    b"not JSON\n",
    b"\n",
    b"[1, 2]\n",
    b"\xff\xfe\n",
    b"\x00" * 50 + b"\n",
    b'{"task": "t"}\n',
    b'{"task": "\xff"}\n',
    b'{"format": "selfreg-rollouts", "version": 1, "config": {}}\n',
]


@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_foreign_line_anywhere_is_named_and_can_be_passed_over(folder, foreign):
    lines = lines_of(folder)
    for at in range(1, len(lines) + 1):
        rewrite(folder, [*lines[:at], foreign, *lines[at:]])
        with pytest.raises(ValueError, match=rf"shard-000001\.jsonl:{at + 1}: foreign line: "):
            read(folder)
        with pytest.raises(ValueError, match=rf"shard-000001\.jsonl:{at + 1}: foreign line: "):
            RolloutWriter(folder, CONFIG)
        found, problems = read(folder, strict=False)
        assert found == EPISODES
        assert dict(problems.number) == {"foreign": 1}
        assert problems.found[0].line == at + 1


def test_a_damaged_line_costs_its_episode_alone(folder):
    lines = lines_of(folder)
    first = len(EPISODES[0])
    for at in range(1, len(EPISODES[1]) + 1):
        damaged = [*lines]
        damaged[first + at] = b"damaged\n"
        rewrite(folder, damaged)
        found, problems = read(folder, strict=False)
        assert found == [EPISODES[0], EPISODES[2]]
        assert problems.number == {"foreign": 1, "broken": 1}
        with RolloutWriter(folder, CONFIG, strict=False) as writer:
            assert EPISODES[1][0].episode not in writer.finished


def test_a_missing_line_breaks_its_episode_alone(folder):
    lines = lines_of(folder)
    first = len(EPISODES[0])
    for at in range(1, len(EPISODES[1]) + 1):
        rewrite(folder, lines[: first + at] + lines[first + at + 1 :])
        with pytest.raises(ValueError, match=r"shard-000001\.jsonl:\d+: episode .* is broken: "):
            read(folder)
        found, problems = read(folder, strict=False)
        assert found == [EPISODES[0], EPISODES[2]]
        assert problems.number == {"broken": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"turn": 3}, "turn is 3, expected 1"),
        ({"decision": 2}, "decision is 2, expected 0 to 1"),
        ({"decision": -1}, "decision is -1, expected 0 to 1"),
        ({"state_key": "elsewhere"}, "state_key is 'elsewhere', expected 'task"),
        ({"episode": "other"}, "episode is 'other', expected 'task"),
        ({"task": "other"}, "task is 'other', expected 'task"),
        ({"seed": -7}, "seed is -7, expected"),
        ({"probabilities": [0.5]}, r"probabilities is \(0.5,\), expected \(0.3,\)"),
    ],
)
def test_a_turn_that_does_not_continue_its_episode_is_named(folder, change, message):
    lines = lines_of(folder)
    lines[2] = json.dumps({**json.loads(lines[2]), **change}).encode() + b"\n"
    rewrite(folder, lines)
    with pytest.raises(ValueError, match=rf"shard-000001\.jsonl:3: episode .*{message}"):
        read(folder)
    assert read(folder, strict=False)[0] == EPISODES[1:]


def test_a_probability_out_of_range_is_named(folder):
    lines = lines_of(folder)
    lines[1] = lines[1].replace(b'"probabilities":[0.3]', b'"probabilities":[1.5]')
    rewrite(folder, lines)
    with pytest.raises(ValueError, match=r":2: .*probabilities\[0\] is 1.5, expected a number in"):
        read(folder)


WRONG = {str: 5, int: "5", float: "5", bool: 1, tuple: ["a"], dict: {"a": "b"}}
FIELDS = [field.name for field in dataclasses.fields(Step)]


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_of_another_type_is_named_with_file_and_line(folder, field):
    lines = lines_of(folder)
    step = json.loads(lines[2])
    kinds = {"action": str, "error": str, "outcome": str}
    step[field] = WRONG[kinds.get(field) or type(getattr(EPISODES[0][1], field))]
    lines[2] = json.dumps(step).encode() + b"\n"
    rewrite(folder, lines)
    with pytest.raises(ValueError, match=rf"shard-000001\.jsonl:3: .* at `\$\.{field}[`\[]"):
        read(folder)


@pytest.mark.parametrize("field", FIELDS[:12])
def test_a_missing_field_is_named_with_file_and_line(folder, field):
    lines = lines_of(folder)
    step = json.loads(lines[2])
    del step[field]
    lines[2] = json.dumps(step).encode() + b"\n"
    rewrite(folder, lines)
    with pytest.raises(ValueError, match=rf"shard-000001\.jsonl:3: .*required field `{field}`"):
        read(folder)


def test_episodes_that_come_twice_count_once(folder):
    shutil.copy(folder / "shard-000001.jsonl", folder / "shard-copy.jsonl")
    found, problems = read(folder)
    assert found == EPISODES
    assert problems.number == {"duplicate": 3}
    assert [problem.line for problem in problems.found] == [
        2,
        2 + len(EPISODES[0]),
        2 + len(EPISODES[0]) + len(EPISODES[1]),
    ]
    assert all(problem.file.name == "shard-copy.jsonl" for problem in problems.found)
    assert f"episode {EPISODES[0][0].episode!r} once more" in problems.format()


def test_of_two_episodes_with_one_name_the_first_counts(folder, tmp_path):
    other = [dataclasses.replace(step, raw="otherwise") for step in EPISODES[1]]
    with RolloutWriter(tmp_path / "other", CONFIG) as writer:
        writer.write(other)
    shutil.copy(tmp_path / "other" / "shard-000001.jsonl", folder / "shard-000002.jsonl")
    assert read(folder)[0] == EPISODES
    for before, after in ((1, 3), (2, 1), (3, 2)):
        (folder / f"shard-00000{before}.jsonl").rename(folder / f"shard-00000{after}.jsonl")
    assert read(folder)[0] == [other, EPISODES[0], EPISODES[2]]


@pytest.mark.parametrize("gone", [(1,), (2,), (1, 2), (2, 3)])
def test_missing_shards_are_named_until_a_writer_has_filled_them(tmp_path, gone):
    with RolloutWriter(tmp_path, CONFIG, max_bytes=1) as writer:  # a shard each
        for steps in map(episode, range(4)):
            writer.write(steps)
    wanted = by_name(read(tmp_path)[0])
    for number in gone:
        (tmp_path / f"shard-00000{number}.jsonl").unlink()
    message = (
        f"{tmp_path}/shard-00000{gone[0]}.jsonl: missing, though later shards are there; put the "
        "file back as it was, or run again what wrote it, such as collect"
    )
    with pytest.raises(ValueError, match=f"^{message}$"):
        read(tmp_path)
    found, problems = read(tmp_path, strict=False)
    assert len(found) == 4 - len(gone)
    assert problems.number == {"missing": len(gone)}
    with RolloutWriter(tmp_path, CONFIG) as writer:
        for name in wanted.keys() - writer.finished:
            writer.write(wanted[name])
    assert by_name(read(tmp_path)[0]) == wanted


def test_mixed_configurations_are_refused_whatever_strict_says(folder, tmp_path):
    config = {"world": {"kind": "corridor", "seed": 2}, "temperature": 0}
    with RolloutWriter(tmp_path / "other", config) as writer:
        writer.write(episode(50))
    shutil.copy(tmp_path / "other" / "shard-000001.jsonl", folder / "shard-000002.jsonl")
    for strict in (True, False):
        with pytest.raises(ValueError, match="another configuration than .*shard-000001") as caught:
            read(folder, strict)
        assert str(caught.value).startswith(str(folder / "shard-000002.jsonl"))
        assert (
            "config.split is missing, expected 'train'; config.temperature is 0, expected none; "
            "config.world.seed is 2, expected 1"
        ) in str(caught.value)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"version": 2}, "version 2, expected a header of 'selfreg-rollouts', version 1"),
        ({"format": "other"}, "format is 'other'"),
        ({"config": 3}, r"Expected `object`, got `int` - at `\$.config`"),
    ],
)
def test_another_format_is_refused_whatever_strict_says(folder, header, message):
    lines = lines_of(folder)
    lines[0] = json.dumps({**json.loads(lines[0]), **header}).encode() + b"\n"
    rewrite(folder, lines)
    for strict in (True, False):
        with pytest.raises(ValueError, match=rf"shard-000001\.jsonl:1: .*{message}"):
            read(folder, strict)
    with pytest.raises(ValueError, match=message):
        RolloutWriter(folder, CONFIG)


def test_a_file_without_header_is_refused(folder):
    rewrite(folder, lines_of(folder)[1:])
    with pytest.raises(ValueError, match=r"shard-000001\.jsonl:1: .*expected a header"):
        read(folder, strict=False)


def test_another_number_of_helps_is_refused(folder, tmp_path):
    with RolloutWriter(tmp_path / "other", CONFIG) as writer:
        writer.write(episode(50, probabilities=(0.1, 0.3)))
    shutil.copy(tmp_path / "other" / "shard-000001.jsonl", folder / "shard-000002.jsonl")
    message = r"shard-000002\.jsonl:2: probabilities has 2 numbers, expected 1"
    with pytest.raises(ValueError, match=message):
        read(folder, strict=False)


def test_other_files_are_named_and_not_read(folder):
    shutil.copy(folder / "shard-000001.jsonl", folder / "more.jsonl")
    found, problems = read(folder)
    assert found == EPISODES
    assert problems.format().splitlines()[0] == "unread: 1"
    assert "more.jsonl" in problems.format()


def test_a_folder_without_shards_is_no_store(tmp_path):
    for reader in (read_config, read_episodes, read_steps):
        with pytest.raises(FileNotFoundError, match=str(tmp_path)):
            list(reader(tmp_path))


def test_errors_read_back_and_a_torn_one_is_a_note(tmp_path):
    with RolloutWriter(tmp_path, CONFIG) as writer:
        for reason in ("server gone", "server gone", "refused"):
            writer.note_error("task", "episode", reason, EPISODES[0])
    path = tmp_path / "errors-000001.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    problems = Problems()
    found = list(read_errors(tmp_path, problems=problems))
    assert [error.error for error in found] == ["server gone"] * 2
    assert problems.number == {"torn": 1}
    turns = len(EPISODES[0])
    assert (found[0].turns, found[0].cost, found[0].input_tokens, found[0].output_tokens) == (
        turns,
        0.5 * turns,
        100 * turns,
        5 * turns,
    )


def test_no_more_than_a_thousand_problems_of_a_kind_are_kept(folder):
    rewrite(folder, lines_of(folder) + [b"foreign\n"] * 1500)
    _, problems = read(folder, strict=False)
    assert problems.number == {"foreign": 1500}
    assert len(problems.found) == 1000
