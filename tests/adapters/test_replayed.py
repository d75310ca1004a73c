"""A world made of forward-only environments steps from any state as the environments would."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.keys import check_keys
from adapters.replayed import Observation, Replayed


class Counter:
    """Adds up digits from its task's number; ends at 9 or more: 9 is a success.

    With `key` the sum is the key. `drift` makes every environment begin one higher than the last.
    """

    def __init__(self, log, task, *, key=False, drift=False):
        self.log, self.task, self.key = log, task, key
        self.sum = int(task) + (log["made"] if drift else 0)
        self.closed = False
        log["made"] += 1
        log["open"].append(self)

    def reset(self):
        return self._show()

    def step(self, action):
        assert not self.closed
        self.log["steps"] += 1
        if action == "boom":
            raise ConnectionError("gone")
        self.sum += int(action)
        return self._show()

    def close(self):
        self.closed = True
        self.log["open"].remove(self)

    def _show(self):
        ended = self.sum >= 9
        return Observation(
            text=f"sum {self.sum}",
            actions=() if ended else ("1", "2", "3"),
            outcome=("success" if self.sum == 9 else "failure") if ended else None,
            measures={"sum": float(self.sum)},
            key=f"sum {self.sum}" if self.key else None,
        )


def world_and_log(live=64, **options):
    log = {"made": 0, "steps": 0, "open": []}
    world = Replayed(
        lambda task: Counter(log, task, **options),
        {"train": ["0", "1"], "test": ["5"]},
        config={"world": "counter"},
        live=live,
    )
    return world, log


def played(world, task, actions):
    state = world.reset(task)
    for action in actions:
        state = world.step(state, action)
    return state


def test_an_episode_is_played_in_one_environment_which_is_closed_at_its_end():
    world, log = world_and_log()
    state = played(world, "1", ["3", "3"])
    assert (state.text(), state.outcome) == ("sum 1\n> 3\nsum 4\n> 3\nsum 7", None)
    assert (state.actions, state.measures, state.invalid) == (("1", "2", "3"), {"sum": 7.0}, False)
    state = world.step(state, "2")
    assert (state.outcome, state.actions, state.text("compact")) == ("success", (), "sum 9")
    assert log == {"made": 1, "steps": 3, "open": []}


@given(st.data())
def test_any_order_of_steps_from_any_states_shows_what_playing_straight_on_shows(data):
    live = data.draw(st.integers(1, 4))
    world, log = world_and_log(live)
    states = {(task,): world.reset(task) for task in ("0", "1", "5")}
    for _ in range(data.draw(st.integers(0, 25))):
        way = data.draw(st.sampled_from([w for w, s in states.items() if s.outcome is None]))
        action = data.draw(st.sampled_from(states[way].actions))
        states[*way, action] = world.step(states[way], action)
        assert len(log["open"]) <= live
    for way, state in states.items():
        straight, _ = world_and_log()
        expected = played(straight, way[0], way[1:])
        assert (state, state.key, state.text()) == (expected, expected.key, expected.text())
    world.close()
    assert log["open"] == []


def test_episodes_of_one_task_side_by_side_replay_nothing():
    world, log = world_and_log()
    states = [world.reset("0") for _ in range(5)]
    for _ in range(4):
        states = [world.step(state, "2") for state in states]
    assert log["made"] == 5
    assert log["steps"] == 5 * 4


def test_the_environment_longest_unused_is_closed_first():
    world, log = world_and_log(live=2)
    zero, one = world.reset("0"), world.reset("1")
    zero = world.step(zero, "1")
    world.reset("5")
    assert [env.task for env in log["open"]] == ["0", "5"]
    steps = log["steps"]
    world.step(world.step(zero, "1"), "1")
    assert log["steps"] == steps + 2
    assert world.step(one, "1").text("compact") == "sum 2"


def test_keys_are_the_history_and_tell_tasks_and_ways_apart():
    world, _ = world_and_log()
    ways = [("0", "1", "2"), ("0", "2", "1"), ("0", "3"), ("1", "2"), ("5",)]
    keys = {played(world, task, actions).key for task, *actions in ways}
    assert len(keys) == len(ways)
    again, _ = world_and_log()
    assert keys == {played(again, task, actions).key for task, *actions in ways}
    assert check_keys(world, ["0", "1"], walks=30) == 0


def test_with_a_key_of_its_own_two_ways_meet_and_the_text_is_what_is_seen_now():
    world, _ = world_and_log(key=True)
    one, two = played(world, "0", ["1", "2"]), played(world, "0", ["2", "1"])
    assert one.key == two.key != played(world, "1", ["2"]).key
    assert one.text("full") == two.text("full") == "sum 3"
    assert check_keys(world, ["0", "1"], walks=30) > 50


class Hidden(Counter):
    """Its key leaves out what `hidden` says."""

    def __init__(self, hidden, *arguments):
        super().__init__(*arguments)
        self.hidden, self.last = hidden, ""

    def step(self, action):
        self.last = action
        return super().step(action)

    def _show(self):
        shown = super()._show()
        if self.hidden == "sum":
            return Observation("?", shown.actions, shown.outcome, key=f"{self.sum % 3}")
        text = shown.text + self.last if self.hidden == "text" else "?"
        actions = shown.actions[: 1 + (self.last == "1")] if self.hidden == "actions" else ("1",)
        return Observation(text, actions, key="the same")


@pytest.mark.parametrize(
    ("hidden", "message"),
    [
        ("text", r"key '0\|the same': text\('full'\) is 'sum 0' after \['0'\], expected the same"),
        ("actions", r"actions is \('1',\) after \['0'\], .* but it is \('1', '2'\)"),
        ("sum", r"key '0\|.*is"),
    ],
)
def test_a_key_that_leaves_something_out_is_found(hidden, message):
    log = {"made": 0, "steps": 0, "open": []}
    world = Replayed(lambda task: Hidden(hidden, log, task), {"train": ["0"]}, config={})
    with pytest.raises(ValueError, match=message):
        check_keys(world, ["0"])


def test_checking_keys_needs_actions_to_choose_from():
    free = Replayed(lambda task: Free(), {"train": ["0"]}, config={})
    with pytest.raises(ValueError, match=r"actions is empty after \['0'\]"):
        check_keys(free, ["0"])


class Free:
    """Any text is an action; shows its own random numbers, or breaks its promises."""

    def __init__(self, *, first=None, later=None, chance=False):
        self.first, self.later, self.chance, self.closed = first, later, chance, False

    def reset(self):
        return self.first or Observation("begin")

    def step(self, action):
        if self.chance:
            return Observation(str(random.random()))
        return self.later or Observation(f"did {action}")

    def close(self):
        assert not self.closed
        self.closed = True


def test_an_environment_that_is_not_deterministic_is_found_at_the_turn_that_differs():
    made = []

    def make(task):
        made.append(Free(chance=True))
        return made[-1]

    world = Replayed(make, {"train": ["0"]}, config={})
    state = world.step(world.reset("0"), "look")
    after = world.step(state, "wait")
    assert after.taken == ("look", "wait")
    with pytest.raises(RuntimeError, match="task '0', turn 1, after 'look': .*not deterministic"):
        world.step(state, "wait")
    assert [env.closed for env in made] == [False, True]
    world.close()
    assert all(env.closed for env in made)


def test_environments_that_begin_differently_are_found():
    world, log = world_and_log(drift=True)
    state = world.reset("0")
    world.step(state, "1")
    expected = "turn 0, at the start: .*text is 'sum 1', expected 'sum 0' as the first time"
    with pytest.raises(RuntimeError, match=expected):
        world.step(state, "1")
    assert len(log["open"]) == 1


def test_what_an_environment_raises_comes_through_with_the_place_and_it_is_closed():
    world, log = world_and_log()
    state = played(world, "0", ["1", "1"])
    with pytest.raises(ConnectionError, match="gone") as caught:
        world.step(state, "boom")
    assert caught.value.__notes__ == ["task '0', turn 2, 'boom'"]
    assert log["open"] == []
    assert world.step(state, "3").text("compact") == "sum 5"


@pytest.mark.parametrize(
    ("environment", "error", "message"),
    [
        (Free(first="begin"), TypeError, "gave 'begin', expected an Observation"),
        (Free(first=Observation("", outcome="failure")), ValueError, "ended in failure, expected"),
        (Free(later=7), TypeError, "gave 7, expected an Observation"),
    ],
)
def test_an_environment_that_breaks_its_contract_is_closed_and_named(environment, error, message):
    world = Replayed(lambda task: environment, {"train": ["0"]}, config={})
    with pytest.raises(error, match=message) as caught:
        world.step(world.reset("0"), "look")
    assert "task '0'" in caught.value.__notes__[0]
    assert environment.closed


def test_an_environment_without_admissible_actions_takes_any_text():
    world = Replayed(lambda task: Free(), {"train": ["0"]}, config={})
    state = world.step(world.reset("0"), "sing a song")
    assert (state.actions, state.text("compact")) == ((), "did sing a song")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda world: world.tasks("dev"), ValueError, r"'dev', expected one of \['test', 'train'"),
        (lambda world: world.reset("7"), ValueError, "task is '7', expected one of the 3 task"),
        (lambda world: world.step("0", "1"), TypeError, "state is str, expected a state"),
        (lambda world: world.step(world.reset("0"), None), TypeError, "action is None, expected s"),
        (
            lambda world: world.step(played(world, "5", ["3", "3"]), "1"),
            ValueError,
            "task '5' has ended in failure",
        ),
        (lambda world: world.reset("0").text("rhymed"), ValueError, "'rhymed', expected one of"),
    ],
)
def test_wrong_calls_are_named(call, error, message):
    world, _ = world_and_log()
    with pytest.raises(error, match=message):
        call(world)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(live=0), ValueError, "live is 0, expected at least 1"),
        (dict(config={"made by": Free}), TypeError, "expected JSON values"),
        (dict(tasks={"train": "0"}), TypeError, r"tasks\['train'\] is '0', expected names"),
        (dict(tasks={"train": [0]}), TypeError, r"tasks\['train'\] is \[0\], expected names"),
    ],
)
def test_wrong_arguments_are_named(options, error, message):
    with pytest.raises(error, match=message):
        Replayed(**(dict(make=Free, tasks={"train": ["0"]}, config={}) | options))


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        (dict(text=None), TypeError, "text is NoneType, expected str"),
        (dict(text="", key=7), TypeError, "key is int, expected str or None"),
        (dict(text="", actions="go"), TypeError, "actions is 'go', expected a tuple of str"),
        (dict(text="", actions=(1,)), TypeError, r"actions is \(1,\), expected a tuple of str"),
        (dict(text="", outcome="won"), ValueError, "outcome is 'won', expected None or one of"),
    ],
)
def test_wrong_observations_are_named(fields, error, message):
    with pytest.raises(error, match=message):
        Observation(**fields)


def test_config_and_tasks_are_what_was_given():
    world, _ = world_and_log()
    assert world.config == {"world": "counter"}
    assert (world.tasks("train"), world.tasks("test")) == (("0", "1"), ("5",))
