"""Text environments with Gymnasium's interface, as a world."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Dict, Discrete, Text
from gymnasium.wrappers import TimeLimit

from adapters.gymnasium_world import GymnasiumWorld, seed_of

COMMANDS = ["north", "south", "wait"]


class Corridor(gymnasium.Env):
    """North to the exit; how far that is comes from the seed. One step south is the pit."""

    observation_space = Text(60)
    action_space = Text(20)

    def __init__(self, *, as_dict=False, discrete=False, commands=True, win=1.0, info=None):
        self.as_dict, self.discrete, self.commands = as_dict, discrete, commands
        self.win, self.info, self.closed = win, info or {}, False
        if as_dict:
            self.observation_space = Dict({"text": Text(60), "place": Discrete(10)})

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(2, 6))
        return self._observe("A corridor."), self._inform()

    def step(self, action):
        if self.discrete:
            action = COMMANDS[action]
        self.left += {"north": -1, "south": 100}.get(action, 0)
        out, pit = self.left == 0, self.left >= 100
        text = "Out!" if out else "A pit." if pit else f"You {action}."
        reward = np.float32(self.win) if out else 0
        return self._observe(text), reward, out or pit, False, self._inform(out)

    def close(self):
        self.closed = True

    def _observe(self, text):
        return {"text": text, "place": self.left} if self.as_dict else text

    def _inform(self, out=False):
        commands = {"admissible_commands": COMMANDS} if self.commands else {}
        return commands | {"won": out} | self.info


def world(make=Corridor, **options):
    return GymnasiumWorld(
        lambda task: make(), {"train": ["a", "b", "c", "d"]}, name="corridor", **options
    )


def play(world, actions, task="a"):
    state = world.reset(task)
    for action in actions:
        state = world.step(state, action)
    return state


def north(world, task="a"):
    """Plays north to the end."""
    state = world.reset(task)
    while state.outcome is None:
        state = world.step(state, "north")
    return state


def test_an_episode_to_the_exit():
    state = play(world(), ["wait", "north"])
    assert state.text() == "A corridor.\n> wait\nYou wait.\n> north\nYou north."
    assert state.actions == ("north", "south", "wait")
    assert (state.outcome, state.measures) == (None, {"reward": 0.0})
    state = north(world())
    assert (state.outcome, state.actions, state.measures) == ("success", (), {"reward": 1.0})
    assert state.text("compact") == "Out!"


def test_rewards_add_up():
    given = world(lambda: gymnasium.wrappers.TransformReward(Corridor(), lambda reward: reward + 2))
    assert play(given, ["wait", "wait", "wait"]).measures == {"reward": 6.0}


def test_a_task_has_one_seed_and_tasks_differ():
    lengths = {task: len(north(world(), task).taken) for task in "abcd"}
    assert lengths == {task: len(north(world(), task).taken) for task in "abcd"}
    assert len(set(lengths.values())) > 1
    longest = {task: len(north(world(seed=lambda task: 3), task).taken) for task in "abcd"}
    assert len(set(longest.values())) == 1


def test_seeds_are_the_same_on_every_machine_and_fit_any_generator():
    assert seed_of("train-0") == 2024020694
    assert all(0 <= seed_of(f"task {i}") < 2**31 for i in range(1000))
    assert len({seed_of(f"task {i}") for i in range(1000)}) == 1000


def test_a_step_from_an_older_state_plays_the_episode_again():
    corridor = world()
    start = corridor.reset("a")
    assert corridor.step(start, "south").outcome == "failure"
    assert corridor.step(start, "north").outcome is None


def test_terminated_without_the_reward_is_failure_and_a_limit_is_truncated():
    assert play(world(), ["south"]).outcome == "failure"
    limited = world(lambda: TimeLimit(Corridor(), max_episode_steps=2))
    assert play(limited, ["wait", "wait"]).outcome == "truncated"
    assert play(limited, ["wait", "south"]).outcome == "failure"


def test_success_at_the_limit_is_success():
    steps = len(north(world()).taken)
    limited = world(lambda: TimeLimit(Corridor(), max_episode_steps=steps))
    assert north(limited).outcome == "success"


def test_the_least_reward_of_a_success_is_configured():
    def half():
        return Corridor(win=0.5)

    assert north(world(half)).outcome == "failure"
    assert north(world(half, success_reward=0.5)).outcome == "success"


def test_an_entry_of_info_decides_whatever_the_reward():
    assert north(world(lambda: Corridor(win=0), success_info="won")).outcome == "success"
    assert play(world(success_info="won", success_reward=0), ["south"]).outcome == "failure"


def test_an_outcome_of_ones_own_may_end_an_episode_early():
    def bored(seen):
        return "failure" if seen.turn == 1 else None

    state = play(world(outcome=bored), ["wait"])
    assert (state.outcome, state.actions) == ("failure", ())


def test_a_dict_observation_is_read_by_its_text_or_rendered():
    assert play(world(lambda: Corridor(as_dict=True)), ["wait"]).text("compact") == "You wait."
    rendered = world(
        lambda: Corridor(as_dict=True),
        text=lambda seen: f"{seen.observation['text']} {seen.observation['place']} to go.",
    )
    left = len(north(world()).taken)
    assert rendered.reset("a").text() == f"A corridor. {left} to go."


def test_a_key_of_ones_own_makes_two_ways_one_state():
    def key(seen):
        return str(seen.env.unwrapped.left)

    keyed = world(key=key)
    one, two = play(keyed, ["wait", "north"]), play(keyed, ["north", "wait"])
    assert one.key == two.key
    assert one.key != play(keyed, ["north", "north"]).key
    plain = world()
    assert play(plain, ["wait", "north"]).key != play(plain, ["north", "wait"]).key


def test_actions_may_be_listed_and_encoded():
    indexed = world(
        lambda: Corridor(discrete=True, commands=False),
        actions=lambda seen: COMMANDS,
        encode=lambda seen, action: COMMANDS.index(action),
    )
    assert indexed.reset("a").actions == tuple(COMMANDS)
    assert north(indexed).outcome == "success"


def test_an_inadmissible_action_is_given_on_and_marked():
    state = play(world(), ["dance"])
    assert (state.invalid, state.outcome, state.text("compact")) == (True, None, "You dance.")
    assert not play(world(), ["dance", "north"]).invalid


def test_an_inadmissible_action_may_end_the_episode():
    ending = world(inadmissible="end")
    state = play(ending, ["wait", "dance"])
    assert (state.invalid, state.outcome, state.actions) == (True, "failure", ())
    assert not play(ending, ["wait", "north"]).invalid


def test_without_admissible_actions_nothing_is_invalid():
    state = play(world(lambda: Corridor(commands=False), inadmissible="end"), ["dance"])
    assert (state.actions, state.invalid, state.outcome) == ((), False, None)


def test_environments_are_closed_at_the_end_of_an_episode_and_with_the_world():
    made = []

    def make():
        made.append(Corridor())
        return made[-1]

    with world(make) as corridor:
        play(corridor, ["south"])
        play(corridor, ["north"])
        assert [env.closed for env in made] == [True, False]
    assert [env.closed for env in made] == [True, True]


def test_the_configuration_tells_worlds_apart():
    configs = [
        world(**options).config
        for options in (
            {},
            dict(success_reward=0.5),
            dict(success_info="won"),
            dict(outcome=lambda seen: None),
            dict(key=lambda seen: ""),
            dict(inadmissible="end"),
            dict(config={"length": 5}),
        )
    ]
    assert all(config["world"] == "corridor" for config in configs)
    assert len({repr(config) for config in configs}) == len(configs)


@pytest.mark.parametrize(
    ("make", "options", "error", "message"),
    [
        (
            lambda: Corridor(win=float("nan")),
            {},
            ValueError,
            "reward is .*nan.*, expected a finite",
        ),
        (Corridor, dict(success_info="solved"), ValueError, "expected 'solved' at the end"),
        (Corridor, dict(outcome=lambda seen: None), ValueError, "outcome is None, expected one"),
        (Corridor, dict(text=lambda seen: None), TypeError, "text is NoneType, expected str"),
        (Corridor, dict(actions=lambda seen: "north"), TypeError, "actions is 'north', expected"),
        (
            lambda: gymnasium.wrappers.TransformObservation(Corridor(), lambda _: 7, None),
            {},
            TypeError,
            "observation is int, expected str or a mapping with 'text'",
        ),
        (
            lambda: gymnasium.wrappers.TransformObservation(Corridor(), lambda _: {"x": ""}, None),
            {},
            TypeError,
            r"observation has the entries \['x'\], expected 'text' among them",
        ),
    ],
)
def test_what_an_environment_gives_and_should_not_is_named_with_its_task(
    make, options, error, message
):
    with pytest.raises(error, match=message) as caught:
        north(world(make, **options))
    assert "task 'a'" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(inadmissible="ignore"), "inadmissible is 'ignore', expected 'step' or 'end'"),
        (dict(success_reward=float("inf")), "success_reward is inf, expected a finite number"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        world(**options)
