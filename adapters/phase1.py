"""Phase 1: which episodes explore what help does (Section 5.3 of https://arxiv.org/abs/2502.04576).

For each task, three seeded repetitions with help triggered at random, in every state alike, with
probability 0.0, 0.1, 0.3, 0.5, 0.7, 0.9 or 1.0. With several interventions each is collected alone,
the others at 0, and every two of them together with 0.1/0.1, 0.3/0.3, 0.1/0.3 and 0.3/0.1.

Where nothing is left to chance there is one repetition: with probability 0 and a deterministic base
actor, or 1 and a deterministic intervention, the repetitions would be one and the same episode, and
counting it three times would feign evidence. In between every repetition is a draw of its own, also
where it happens to make the same decisions as another: those are counted, as chance has it.
"""

import itertools
from collections.abc import Iterator, Sequence

from adapters.episodes import Episode
from adapters.helpers import Random
from adapters.protocols import Actor, Intervention
from adapters.seeds import derive

PROBABILITIES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
PAIRS = ((0.1, 0.1), (0.3, 0.3), (0.1, 0.3), (0.3, 0.1))
REPETITIONS = 3


def settings(
    num_helps: int,
    probabilities: Sequence[float] = PROBABILITIES,
    pairs: Sequence[tuple[float, float]] = PAIRS,
) -> list[tuple[float, ...]]:
    """The settings of the probabilities, [K] each, none twice.

    Args:
      num_helps: K, at least 1.
      probabilities: of each help alone.
      pairs: of every two helps, the first and the second in their order.

    Raises:
      ValueError: there is no help; a setting is no probabilities.
    """
    if num_helps < 1:
        raise ValueError(f"num_helps is {num_helps}, expected at least 1")

    def setting(chosen: dict[int, float]) -> tuple[float, ...]:
        return tuple(float(chosen.get(i, 0.0)) for i in range(num_helps))

    alone = [setting({i: p}) for i in range(num_helps) for p in probabilities]
    both = [
        setting({i: p, j: q})
        for i, j in itertools.combinations(range(num_helps), 2)
        for p, q in pairs
    ]
    found = list(dict.fromkeys(alone + both))
    for one in found:
        Random(one)  # raises if they are no probabilities
    return found


def repetitions_of(
    setting: Sequence[float],
    actor: Actor,
    interventions: Sequence[Intervention],
    repetitions: int = REPETITIONS,
) -> int:
    """How often a setting is played: once where its episodes would all be the same."""
    if not any(setting):
        return 1 if actor.temperature == 0 else repetitions
    if 1.0 in setting:
        return 1 if interventions[list(setting).index(1.0)].deterministic else repetitions
    return repetitions


def episodes(
    tasks: Sequence[str],
    all_settings: Sequence[tuple[float, ...]],
    actor: Actor,
    interventions: Sequence[Intervention],
    *,
    repetitions: int = REPETITIONS,
    seed: int = 0,
) -> Iterator[Episode]:
    """The episodes of phase 1: first repetition of all tasks and settings, then the second, ...

    A collection that is ended early thus has seen every task at every probability. More tasks,
    settings or repetitions leave the names and seeds of the others as they are.

    Raises:
      ValueError: `repetitions` is below 1; a task or a setting stands there twice.
    """
    if repetitions < 1:
        raise ValueError(f"repetitions is {repetitions}, expected at least 1")
    for name, given in (("tasks", tasks), ("settings", all_settings)):
        if len(set(given)) < len(given):
            raise ValueError(f"{name} hold one twice, expected each once")
    helpers = {setting: Random(setting) for setting in all_settings}
    times = {one: repetitions_of(one, actor, interventions, repetitions) for one in all_settings}
    for repetition in range(repetitions):
        for task in tasks:
            for setting in all_settings:
                if repetition < times[setting]:
                    name = f"{task} p={format_setting(setting)} run={repetition}"
                    yield Episode(name, task, helpers[setting], setting, derive(seed, name))


def format_setting(setting: Sequence[float]) -> str:
    """The probabilities as they stand in names: "0.1,0"."""
    return ",".join(str(p).removesuffix(".0") for p in setting)
