"""The rollout store: steps of episodes in a folder of JSON lines, that survives anything.

`RolloutWriter` appends whole episodes, `read_episodes` and `read_steps` stream them back,
`read_sorted_episodes` in an order that does not depend on who was killed in between, and
`adapters.rollouts.counts.read_counts` makes transition counts of them (it takes jax, the rest does
not). `adapters.rollouts.shards` says what a file looks like and which problems a reader may find.
"""

from adapters.rollouts.reader import (
    EpisodeError,
    read_config,
    read_episodes,
    read_errors,
    read_sorted_episodes,
    read_steps,
)
from adapters.rollouts.shards import Problem, Problems
from adapters.rollouts.writer import RolloutWriter

__all__ = [
    "EpisodeError",
    "Problem",
    "Problems",
    "RolloutWriter",
    "read_config",
    "read_episodes",
    "read_errors",
    "read_sorted_episodes",
    "read_steps",
]
