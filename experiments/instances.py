"""Synthetic transition tables of any size, for timing and for tests.

Seeded families, none of them measured from an agent:

* `layered`: shaped like the rollouts of an agent. Sixteen turns deep, half of the rows
  deterministic, with self-loops (an action that changed nothing), a few edges back to earlier
  turns, and exits to success or failure at any turn.
* `scattered`: the same, states numbered at random, so that neighbours lie far apart in memory.
* `random`: eight uniform successors a row. Cyclic everywhere, no order of the states helps.
* `skewed`: out-degrees follow a power law, up to thousands. Hard on layouts that pad rows.

A row is a (state, action) pair. Action 0 is nohelp, actions 1..K are helps; a help succeeds more
often than nohelp, so what it costs decides whether it pays. The last two ids are the terminals:
success, then failure.
"""

import dataclasses
import pathlib
from typing import Any

import numpy as np

NUM_LAYERS = 16
MIN_STATES = 4 * NUM_LAYERS


@dataclasses.dataclass(frozen=True)
class Instance:
    """One table as plain arrays: E entries by (state, action, next_state), no duplicates.

    Attributes:
      state: [E] int64, never a terminal.
      action: [E] int64, 0 = nohelp, 1..K = helps.
      next_state: [E] int64, terminals included.
      prob: [E] float64, P(next_state | state, action); every row sums to one.
      num_states: S, the two terminals included.
      num_actions: A = K + 1.
      success: id of the success terminal.
      failure: id of the failure terminal.
      start: [G] int64, the states an episode may start in.
      start_weight: [G] float64, sums to one.
      discount: the discount the family is timed with.
      name: for example "layered-1000-0".
    """

    state: np.ndarray
    action: np.ndarray
    next_state: np.ndarray
    prob: np.ndarray
    num_states: int
    num_actions: int
    success: int
    failure: int
    start: np.ndarray
    start_weight: np.ndarray
    discount: float
    name: str

    @property
    def num_entries(self) -> int:
        """E, the transitions into terminals included."""
        return self.prob.size

    def save(self, path: pathlib.Path) -> None:
        """Writes an .npz file."""
        np.savez(path, **dataclasses.asdict(self))

    @classmethod
    def load(cls, path: pathlib.Path) -> "Instance":
        """Reads what `save` wrote."""
        with np.load(path) as arrays:
            fields = {key: arrays[key] for key in arrays.files}
        return cls(**{key: value if value.ndim else value.item() for key, value in fields.items()})

    def table_arguments(self) -> dict[str, Any]:
        """The keyword arguments of `TransitionTable.from_arrays`."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {key: value for key, value in fields.items() if key not in ("discount", "name")}


def layered(num_states: int, seed: int = 0, num_helps: int = 1) -> Instance:
    """A table shaped like agent rollouts, 4.9 transitions a state over two actions.

    A help draws more candidates for each successor and takes the one of best hidden quality, exits
    early with success more often, and fails less often in the last layer.
    """
    _check_size(num_states, num_helps)
    rng = np.random.default_rng(seed)
    num_inner, num_actions = num_states - 2, num_helps + 1
    first = np.arange(NUM_LAYERS + 1) * num_inner // NUM_LAYERS  # first state of each layer
    layer_of = np.repeat(np.arange(NUM_LAYERS), np.diff(first))
    quality = rng.random(num_inner)

    num_rows = num_inner * num_actions
    row_state = np.repeat(np.arange(num_inner), num_actions)
    row_action = np.tile(np.arange(num_actions), num_inner)
    row_layer = layer_of[row_state]
    is_last = row_layer == NUM_LAYERS - 1
    deterministic = ~is_last & (rng.random(num_rows) < 0.45)
    varied = ~is_last & ~deterministic

    degree = np.where(
        deterministic, 1, rng.choice(6, num_rows, p=[0.25, 0.27, 0.20, 0.14, 0.09, 0.05]) + 1
    )
    degree[is_last] = 0
    loop_mass = np.where(
        varied & (rng.random(num_rows) < 0.45), rng.uniform(0.05, 0.95, num_rows), 0.0
    )
    exit_mass = np.where(
        varied & (rng.random(num_rows) < 0.55), rng.uniform(0.02, 0.3, num_rows), 0.0
    )
    exit_mass *= 1.0 - loop_mass
    exit_mass[is_last] = 1.0
    odds = 1.0 - 0.7 * 0.5**row_action  # of success on an early exit: .3, .65, .825, ...
    success_share = np.where(
        is_last,
        1.0 - (1.0 - 0.8 * quality[row_state]) * 0.5**row_action,
        rng.random(num_rows) < odds,
    )

    entry_row = np.repeat(np.arange(num_rows), degree)
    step = 1 + (rng.random(entry_row.size) < 0.1)
    target_layer = np.minimum(row_layer[entry_row] + step, NUM_LAYERS - 1)
    is_first_entry = np.diff(entry_row, prepend=-1) > 0
    goes_back = is_first_entry & (rng.random(entry_row.size) < 0.04)
    target_layer = np.where(goes_back, rng.integers(0, row_layer[entry_row] + 1), target_layer)
    successor = rng.integers(first[target_layer], first[target_layer + 1])
    for candidate in range(1, num_actions):
        other = rng.integers(first[target_layer], first[target_layer + 1])
        better = (row_action[entry_row] >= candidate) & (quality[other] > quality[successor])
        successor = np.where(better, other, successor)

    weight = rng.exponential(size=entry_row.size) + 1e-3
    total = np.bincount(entry_row, weight, num_rows)
    prob = weight / total[entry_row] * (1.0 - loop_mass - exit_mass)[entry_row]
    start_weight = rng.exponential(size=first[1])
    return _assemble(
        parts=[
            (entry_row, successor, prob),
            (np.arange(num_rows), row_state, loop_mass),
            (np.arange(num_rows), np.full(num_rows, num_inner), exit_mass * success_share),
            (
                np.arange(num_rows),
                np.full(num_rows, num_inner + 1),
                exit_mass * (1.0 - success_share),
            ),
        ],
        num_states=num_states,
        num_actions=num_actions,
        start=np.arange(first[1]),
        start_weight=start_weight / start_weight.sum(),
        discount=0.99,
        name=f"layered-{num_states}-{seed}",
    )


def random(num_states: int, seed: int = 0, num_helps: int = 1) -> Instance:
    """A table of eight uniform successors a row and up to a tenth of its mass to the terminals."""
    _check_size(num_states, num_helps)
    rng = np.random.default_rng(seed)
    degree = np.full((num_states - 2) * (num_helps + 1), 8)
    return _uniform_successors(rng, degree, num_states, num_helps, f"random-{num_states}-{seed}")


def skewed(num_states: int, seed: int = 0, num_helps: int = 1) -> Instance:
    """A table whose out-degrees d follow P(d >= x) ~ x^-1.1, up to 5000 and half the states."""
    _check_size(num_states, num_helps)
    rng = np.random.default_rng(seed)
    num_rows = (num_states - 2) * (num_helps + 1)
    degree = np.floor((1.0 - rng.random(num_rows)) ** (-1.0 / 1.1))
    degree = np.minimum(degree, min(num_states // 2, 5000)).astype(np.int64)
    return _uniform_successors(rng, degree, num_states, num_helps, f"skewed-{num_states}-{seed}")


def scattered(num_states: int, seed: int = 0, num_helps: int = 1) -> Instance:
    """The problem of `layered` with its states numbered at random."""
    instance = shuffled(layered(num_states, seed, num_helps), seed)
    return dataclasses.replace(instance, name=f"scattered-{num_states}-{seed}")


FAMILIES = {"layered": layered, "scattered": scattered, "random": random, "skewed": skewed}


def shuffled(instance: Instance, seed: int = 0) -> Instance:
    """The same problem with its non-terminal states renumbered at random."""
    num_inner = instance.num_states - 2
    new_id = np.append(
        np.random.default_rng(seed).permutation(num_inner), [num_inner, num_inner + 1]
    )
    state, next_state = new_id[instance.state], new_id[instance.next_state]
    order = np.lexsort((next_state, instance.action, state))
    return dataclasses.replace(
        instance,
        state=state[order],
        action=instance.action[order],
        next_state=next_state[order],
        prob=instance.prob[order],
        start=new_id[instance.start],
        name=f"{instance.name}-shuffled",
    )


def _uniform_successors(
    rng: np.random.Generator, degree: np.ndarray, num_states: int, num_helps: int, name: str
) -> Instance:
    """A table with `degree` [rows] uniform successors a row and an exit of random mass."""
    num_inner, num_actions = num_states - 2, num_helps + 1
    num_rows = degree.size
    row_action = np.tile(np.arange(num_actions), num_inner)
    entry_row = np.repeat(np.arange(num_rows), degree)
    weight = rng.exponential(size=entry_row.size) + 1e-3
    total = np.bincount(entry_row, weight, num_rows)
    exit_mass = rng.uniform(0.0, 0.1, num_rows)
    success_share = 1.0 - rng.random(num_rows) * 0.6**row_action
    successor = rng.integers(0, num_inner, entry_row.size)
    prob = weight / total[entry_row] * (1.0 - exit_mass)[entry_row]
    start = np.arange(min(100, num_inner))
    return _assemble(
        parts=[
            (entry_row, successor, prob),
            (np.arange(num_rows), np.full(num_rows, num_inner), exit_mass * success_share),
            (
                np.arange(num_rows),
                np.full(num_rows, num_inner + 1),
                exit_mass * (1.0 - success_share),
            ),
        ],
        num_states=num_states,
        num_actions=num_actions,
        start=start,
        start_weight=np.full(start.size, 1.0 / start.size),
        discount=0.95,
        name=name,
    )


def _assemble(parts, *, num_states: int, num_actions: int, **fields) -> Instance:
    """An instance of (row, next_state, mass) parts.

    Entries without mass are dropped, duplicates added up, rows normalised.
    """
    row, next_state, mass = (np.concatenate(column) for column in zip(*parts, strict=True))
    present = mass > 0
    key, entry = np.unique(row[present] * num_states + next_state[present], return_inverse=True)
    mass = np.bincount(entry, mass[present])
    row = key // num_states
    mass /= np.bincount(row, mass)[row]
    return Instance(
        state=row // num_actions,
        action=row % num_actions,
        next_state=key % num_states,
        prob=mass,
        num_states=num_states,
        num_actions=num_actions,
        success=num_states - 2,
        failure=num_states - 1,
        **fields,
    )


def _check_size(num_states: int, num_helps: int) -> None:
    if num_states < MIN_STATES:
        raise ValueError(f"num_states must be at least {MIN_STATES}, got {num_states}.")
    if num_helps < 1:
        raise ValueError(f"num_helps must be at least 1, got {num_helps}.")
