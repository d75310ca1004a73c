"""Dials that are set on validation tasks: searches side by side, what is kept, read ahead."""

import pytest

from adapters.interventions import ByActor
from experiments import conditions as conditions_lib
from experiments.contest import Contest
from experiments.deciders import Deciders
from experiments.matching import Matcher, match_all
from tests.adapters import doors
from tests.experiments import fake_models

BY_TEXT = {"method": "helper", "folder": "tests.experiments.fake_models:by_text"}
READING = {"method": "helper", "folder": "tests.experiments.fake_models:reading"}
PRM = {"method": "prm", "prm": "tests.experiments.fake_models:prm"}
CONDITIONS = [
    {**BY_TEXT, "setting": "one", "match": 1.0},
    {**BY_TEXT, "setting": "two", "match": 2.0},
    {**PRM, "setting": "as one", "match": "helper one"},
    {"method": "random", "setting": "as that", "match": "prm as one"},
    {"method": "never", "setting": "0%"},
]


class Counted(Contest):
    """Counts the jobs of each time that it plays."""

    def __init__(self):
        world, actor = fake_models.world(), doors.greedy()
        super().__init__(world, actor, [ByActor(doors.oracle())], Deciders(1, actor))
        self.played = []

    def play(self, jobs):
        jobs = list(jobs)
        self.played.append(len(jobs))
        yield from super().play(jobs)


def matched(folder, conditions, contest=None):
    tasks = fake_models.world().tasks("val")
    contest = contest or Counted()
    matcher = Matcher(contest, tasks, seeds=2, path=folder / "tries.json")
    parsed = conditions_lib.parse(conditions, 1)
    return match_all(matcher, parsed, folder / "matches.json"), contest.played


def test_side_by_side_each_finds_what_it_finds_alone(tmp_path):
    together, _ = matched(tmp_path, CONDITIONS)
    for i, one in enumerate(CONDITIONS):
        folder = tmp_path / str(i)
        folder.mkdir()
        alone, _ = matched(folder, CONDITIONS[: i + 1])  # with those that it may be to match
        name = f"{one['method']} {one['setting']}"
        assert alone[name] == together[name]
    assert together["helper one"].calls == pytest.approx(1.0, abs=0.1)
    assert together["prm as one"].calls == pytest.approx(together["helper one"].calls, abs=0.1)


def test_what_was_tried_is_not_played_again(tmp_path):
    expected, rounds = matched(tmp_path, CONDITIONS)
    (tmp_path / "matches.json").unlink()  # as if it had been stopped before
    again, played = matched(tmp_path, CONDITIONS)
    assert again == expected and sum(rounds) > 0
    assert played == []


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "tries.json").write_text('[["helper one", {"dial"')
    with pytest.raises(ValueError, match=r"tries.json: no matches: "):
        matched(tmp_path, CONDITIONS)


def test_a_model_reads_what_several_helpers_ask_at_one_time(tmp_path):
    reader = fake_models.READER
    reader.calls.clear()
    conditions = [{**READING, "setting": str(i), "threshold": 0.1 * i} for i in range(4)]
    contest = Counted()
    matched(tmp_path, conditions, contest)
    assert contest.played == [4 * 20]
    texts = [text for call in reader.calls for text in call]
    assert len(texts) == len(set(texts)) > 20
    # One call a turn at most, and the helpers' own find all texts known.
    assert len(reader.calls) <= 6 and reader.unread == 0
