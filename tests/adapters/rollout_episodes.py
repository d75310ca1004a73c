"""Episodes for the tests of the rollout store."""

import random

from adapters.step import Step

CONFIG = {"world": {"kind": "corridor", "seed": 1}, "split": "train"}


def episode(number: int, *, text_size: int = 0, probabilities=(0.3,)) -> list[Step]:
    """A corridor of 1 to 5 rooms: the same number gives the same episode."""
    chance = random.Random(number)
    length = chance.randint(1, 5)
    task = f"task {number % 7}"
    return [
        Step(
            task=task,
            episode=f"{task} p=0.3 seed={number}",
            probabilities=probabilities,
            seed=number,
            turn=turn,
            state_key=f"{task}/room {turn}",
            state_text="word " * text_size,
            decision=chance.randint(0, len(probabilities)),
            actor="base",
            raw='Reasoning: "on"\nAction: go',
            action="go",
            next_state_key=f"{task}/room {turn + 1}",
            outcome=None if turn < length - 1 else chance.choice(["success", "failure"]),
            measures={"low_level_steps": 10.0 * turn},
            seconds=0.25,
            input_tokens=100,
            output_tokens=5,
            cost=0.5,
        )
        for turn in range(length)
    ]


def by_name(episodes) -> dict[str, list[Step]]:
    """Episodes by their names, none twice."""
    episodes = list(episodes)
    named = {steps[0].episode: steps for steps in episodes}
    assert len(named) == len(episodes)
    return named
