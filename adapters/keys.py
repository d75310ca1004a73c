"""Whether the keys of a world are what they have to be: equal keys have equal futures."""

import random
from collections.abc import Sequence

from adapters.protocols import State, World


def check_keys(
    world: World,
    tasks: Sequence[str],
    *,
    walks: int = 20,
    turns: int = 50,
    style: str | None = "full",
    seed: int = 0,
) -> int:
    """Walks at random through tasks, and compares states of one key that were reached in two ways.

    They must have the same outcome; while the episode runs they must also have the same text, offer
    the same actions in the same order, and each action must lead from both to the same key. By
    induction over the states seen, their futures are then equal. Only what the walks come by is
    checked: it finds faults, and proves nothing where it finds none.

    Args:
      world: one that offers actions in every state.
      tasks: names of tasks.
      walks: walks a task.
      turns: the longest walk.
      style: of the text that is compared; None compares no text.
      seed: of the walks.

    Returns:
      How often a state was met again in another way. At 0 nothing was compared: the keys tell every
      history from every other, or the walks were too few.

    Raises:
      ValueError: two states of one key differ; names the key, both ways there and the difference.
        Or a state offers no actions.
    """
    rng = random.Random(seed)
    first: dict[str, tuple[State, tuple[str, ...]]] = {}
    met = 0
    for task in tasks:
        for _ in range(walks):
            state, way = world.reset(task), (task,)
            for _ in range(turns):
                if state.key not in first:
                    first[state.key] = state, way
                elif first[state.key][1] != way:
                    met += 1
                    _compare(world, *first[state.key], state, way, style)
                if state.outcome is not None:
                    break
                action = rng.choice(_actions(state, way))
                state, way = world.step(state, action), (*way, action)
    return met


def _compare(world: World, one: State, one_way, two: State, two_way, style: str | None) -> None:
    def differ(what: str, first, second):
        if first != second:
            raise ValueError(
                f"key {one.key!r}: {what} is {first!r} after {list(one_way)}, expected the same "
                f"after {list(two_way)} but it is {second!r}"
            )

    differ("outcome", one.outcome, two.outcome)
    if one.outcome is not None:
        return
    differ("actions", tuple(one.actions), tuple(two.actions))
    if style is not None:
        differ(f"text({style!r})", one.text(style), two.text(style))
    for action in _actions(one, one_way):
        after = world.step(one, action).key, world.step(two, action).key
        differ(f"the key that {action!r} leads to", *after)


def _actions(state: State, way: Sequence[str]) -> Sequence[str]:
    if not state.actions:
        raise ValueError(f"actions is empty after {list(way)}, expected a world that offers some")
    return state.actions
