"""Times `core.states` and `core.counts` beside plain dicts, on one core, against what they promise.

    python -m experiments.bench_states
    python -m experiments.bench_states --num_keys=2000000 --key_length=2000

Speeds are per second of processor time, so other work on the machine counts little. Keys are new
strings for every measurement, as a dict profits from hashes that a str has cached. Exits with 1 if
a promise is broken.
"""

import collections
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from absl import app, flags

from core.counts import SUCCESS, TransitionCounts
from core.states import StateIndex

_NUM_KEYS = flags.DEFINE_integer("num_keys", 500_000, "States to intern.", lower_bound=1)
_KEY_LENGTH = flags.DEFINE_integer("key_length", 500, "Characters of a key.", lower_bound=10)
_KEY_BATCH = flags.DEFINE_integer("key_batch", 10_000, "Keys of a call.", lower_bound=1)
_NUM_STEPS = flags.DEFINE_integer("num_steps", 10_000_000, "Steps to count.", lower_bound=1)
_STEP_BATCH = flags.DEFINE_integer("step_batch", 100_000, "Steps of a call.", lower_bound=1)
_NUM_STATES = flags.DEFINE_integer("num_states", 20_000, "States of the steps.", lower_bound=1)

_NUM_ACTIONS = 2
_COUNTER_STEPS = 500_000  # a Counter is too slow for more


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
    kept = [*_bench_states(), *_bench_counts()]
    sys.exit(0 if all(kept) else 1)


def _bench_states() -> list[bool]:
    print(f"{_NUM_KEYS.value:,} keys of {_KEY_LENGTH.value} characters")
    index, plain = StateIndex(), {}
    keys = _new_keys()
    dict_rate = _rate(lambda: [plain.setdefault(key, len(plain)) for key in keys], len(keys))
    keys = _new_keys()
    first_rate = _rate(lambda: index.intern(keys), len(keys))
    again_rate = _rate(lambda: index.lookup(keys), len(keys))
    batched = StateIndex()
    batches = list(_batches(len(keys), _KEY_BATCH.value))
    batched_rate = _rate(lambda: [batched.intern(keys[part]) for part in batches], len(keys))
    merge_rate = _rate(lambda: StateIndex().merge(index), len(keys))
    bytes_held = max(index.nbytes, batched.nbytes) / len(keys)
    dict_bytes = (sys.getsizeof(plain) + sum(map(sys.getsizeof, plain))) / len(keys)
    kept = [
        _row("intern, first sight, one call", first_rate, "keys/s", at_least=500_000),
        _row(f"intern, first sight, {_KEY_BATCH.value:,} a call", batched_rate, "keys/s", 500_000),
        _row("lookup", again_rate, "keys/s"),
        _row("merge into an empty index", merge_rate, "states/s"),
        _row("dict of str, first sight", dict_rate, "keys/s"),
        _row("intern / dict", first_rate / dict_rate, "x"),
        _row("index, without texts", bytes_held, "bytes/state", at_most=64),
        _row("dict of str", dict_bytes, "bytes/state"),
    ]
    return kept


def _bench_counts() -> list[bool]:
    print(f"{_NUM_STEPS.value:,} steps among {_NUM_STATES.value:,} states")
    rng = np.random.default_rng(0)
    size = _NUM_STEPS.value
    state = (_NUM_STATES.value * rng.random(size) ** 2).astype(np.int32)  # some far more often
    action = rng.integers(0, _NUM_ACTIONS, size, dtype=np.int32)
    next_state = (state + rng.integers(0, 4, size, dtype=np.int32)) % _NUM_STATES.value
    next_state[rng.random(size) < 0.05] = SUCCESS
    counts = TransitionCounts(_NUM_ACTIONS)
    peak = 0

    def add_all():
        nonlocal peak
        for part in _batches(size, _STEP_BATCH.value):
            counts.add(state[part], action[part], next_state[part])
            peak = max(peak, counts.nbytes)
        counts.entries()

    rate = _rate(add_all, size)
    some = slice(0, _COUNTER_STEPS)
    steps = zip(state[some].tolist(), action[some].tolist(), next_state[some].tolist(), strict=True)
    counter = collections.Counter()
    counter_rate = _rate(lambda: counter.update(steps), len(state[some]))
    distinct = len(counts.entries().n)
    # The last batch, the buffer, and the counts twice; 16 bytes each.
    bound = 16 * (_STEP_BATCH.value + 2**20 + 2 * distinct) / 2**20
    return [
        _row("add", rate, "steps/s", at_least=5_000_000),
        _row("Counter of tuples", counter_rate, "steps/s"),
        _row("add / Counter", rate / counter_rate, "x"),
        _row("peak", peak / 2**20, "MiB", at_most=bound),
        _row("at the end", counts.nbytes / 2**20, "MiB"),
        _row("distinct entries", distinct, ""),
    ]


def _new_keys() -> list[str]:
    rest = "x" * (_KEY_LENGTH.value - 10)
    return [f"{i:010d}{rest}" for i in range(_NUM_KEYS.value)]


def _batches(size: int, batch: int) -> list[slice]:
    return [slice(i, i + batch) for i in range(0, size, batch)]


def _rate(work: Callable[[], object], size: int) -> float:
    """Returns size / processor seconds of `work`."""
    begin = time.process_time()
    work()
    return size / (time.process_time() - begin)


def _row(
    name: str, value: float, unit: str, at_least: float = -np.inf, at_most: float = np.inf
) -> bool:
    """Prints a measurement; returns whether it keeps its promise."""
    kept = at_least <= value <= at_most
    promise = f"promised at least {at_least:,.0f}" if at_least > -np.inf else ""
    promise += f"promised at most {at_most:,.0f}" if at_most < np.inf else ""
    broken = "" if kept else "  BROKEN"
    print(f"  {name:36} {value:14,.1f} {unit:12} {promise}{broken}".rstrip())
    return kept


if __name__ == "__main__":
    app.run(main)
