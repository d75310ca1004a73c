"""Tables for the tests: seeded generators and hypothesis strategies. All return the arguments of
`from_arrays`.

The states are 0 .. n - 1, then success n, then failure n + 1. Unless `unavailable` says otherwise
every state offers every action. No state ever forces help for ever: where nohelp is missing, every
help row ends with mass 0.1 or more.
"""

import itertools

import numpy as np
from hypothesis import strategies as st

KINDS = {
    "acyclic": {},
    "self_loops": {"self_loop": 0.5},
    "back_edges": {"self_loop": 0.3, "back": 0.4},
    "closed_nohelp": {"self_loop": 0.3, "back": 0.3, "closed": 0.3},
    "help_loops": {"self_loop": 0.3, "back": 0.3, "help_loop": 0.4},
    "unavailable": {"self_loop": 0.3, "back": 0.3, "unavailable": 0.3},
    "everything": {
        "self_loop": 0.3,
        "back": 0.3,
        "closed": 0.2,
        "help_loop": 0.2,
        "unavailable": 0.3,
    },
}


def collect(entries, **rest) -> dict:
    """Entries (s, a, t, p), in any order; duplicates are added up."""
    total = {}
    for s, a, t, p in entries:
        total[int(s), int(a), int(t)] = total.get((int(s), int(a), int(t)), 0.0) + float(p)
    state, action, next_state = np.array(sorted(total), np.int64).T
    prob = np.array([total[key] for key in sorted(total)])
    return {
        "state": state,
        "action": action,
        "next_state": next_state,
        "prob": prob,
        **rest,
    }


def random_table(
    seed: int,
    *,
    num_states: int = 40,
    num_helps: int = 1,
    degree: int = 3,
    self_loop: float = 0.0,
    back: float = 0.0,
    closed: float = 0.0,
    help_loop: float = 0.0,
    unavailable: float = 0.0,
    num_starts: int = 2,
) -> dict:
    """Rollout-like: most edges go a few states on, helps end in success more often than nohelp
    does.

    self_loop, back: chance of such an edge in a row. closed: chance that nohelp at a state joins a
    closed nohelp cycle (two states, or one). help_loop: chance that a help row stays where it is,
    for ever in a third of the cases.
    """
    rng = np.random.default_rng(seed)
    n, actions = num_states, num_helps + 1
    width = max(3, n // 8)
    offered = rng.random((n, actions)) >= unavailable
    offered[np.arange(n)[~offered.any(axis=1)], 0] = True
    in_cycle = np.flatnonzero(rng.random(n) < closed)
    offered[in_cycle, 0] = True
    entries = []
    for s in range(n):
        skill = rng.random()
        for a in range(actions):
            if not offered[s, a]:
                continue
            if a == 0 and s in in_cycle:
                continue
            if a > 0 and offered[s, 0] and rng.random() < help_loop:
                stay = rng.choice([1.0, 0.5, 0.75])
                entries.append((s, a, s, stay))
                entries.append((s, a, n + (rng.random() < 0.5), 1.0 - stay))
                continue
            targets = s + 1 + rng.integers(0, width, size=degree)
            targets = np.where(targets >= n, n + (rng.random(degree) < 0.5), targets)
            weight = rng.dirichlet(np.ones(degree))
            ends = rng.choice([0.0, 0.1, 0.3]) if offered[s, 0] else rng.choice([0.1, 0.3])
            good = skill * (0.3 if a == 0 else 0.6 + 0.4 * rng.random())
            rest = 1.0 - ends
            if rng.random() < self_loop:
                stay = rng.choice([0.25, 0.5, 0.8]) * rest
                entries.append((s, a, s, stay))
                rest -= stay
            if rng.random() < back and s > 0:
                share = rng.choice([0.25, 0.5, 0.9]) * rest
                entries.append((s, a, rng.integers(0, s), share))
                rest -= share
            entries += [(s, a, n, ends * good), (s, a, n + 1, ends * (1.0 - good))]
            entries += [(s, a, t, rest * w) for t, w in zip(targets, weight, strict=True)]
    for first, second in zip(in_cycle[::2], np.append(in_cycle[1::2], in_cycle[-1:]), strict=False):
        entries += [(first, 0, second, 1.0)] + (
            [(second, 0, first, 1.0)] if second != first else []
        )
    entries = [e for e in entries if e[3] > 0]
    starts = np.sort(
        rng.choice(max(1, n // 4), size=min(num_starts, max(1, n // 4)), replace=False)
    )
    weight = rng.integers(1, 4, size=starts.size).astype(float)
    return collect(
        entries,
        num_states=n + 2,
        num_actions=actions,
        success=n,
        failure=n + 1,
        start=starts,
        start_weight=weight,
    )


def random_kind(kind: str, seed: int, **rest) -> dict:
    return random_table(seed, **{**KINDS[kind], **rest})


def permuted(table: dict, order: np.ndarray) -> dict:
    """The same table with state s called order[s], entries shuffled."""
    shuffle = np.random.default_rng(0).permutation(len(table["state"]))
    return {
        **table,
        "state": order[table["state"]][shuffle],
        "action": np.asarray(table["action"])[shuffle],
        "next_state": order[table["next_state"]][shuffle],
        "prob": np.asarray(table["prob"])[shuffle],
        "success": order[np.atleast_1d(table["success"])],
        "failure": order[np.atleast_1d(table["failure"])],
        "start": order[np.atleast_1d(table["start"])],
    }


THIN_STATES = 24
WIN, FAIL = -1, -2


def thin(entries, num_states: int, num_helps: int = 1, **rest) -> dict:
    """A table by hand: entries (s, a, t, p), t a state, WIN or FAIL. Success has id num_states,
    failure the next.
    """
    n = num_states
    entries = [(s, a, {WIN: n, FAIL: n + 1}.get(t, t), p) for s, a, t, p in entries]
    return collect(
        entries,
        num_states=n + 2,
        num_actions=num_helps + 1,
        success=n,
        failure=n + 1,
        **{"start": [0], **rest},
    )


def padded(table: dict) -> dict:
    """A thin table with idle states, so that its packed form always has the same shapes and all
    share one compilation.

    In a thin table each row has at most one successor besides the terminals and the state itself
    (with three helps, rows of help 3 have none). The idle states are appended, up to THIN_STATES in
    all; nothing reaches them.
    """
    size, actions = table["num_states"], table["num_actions"]
    ends = np.concatenate([np.atleast_1d(table["success"]), np.atleast_1d(table["failure"])])
    onward = (table["prob"] > 0) & (table["next_state"] != table["state"])
    onward &= ~np.isin(table["next_state"], ends)
    row = table["state"][onward] * actions + table["action"][onward]
    assert np.unique(row).size == row.size, "a row with two successors"
    idle = np.arange(size, THIN_STATES)
    shapes = list(itertools.product((0, 1), repeat=min(actions, 3)))
    assert idle.size >= len(shapes), "too many states"
    entries = []
    for i, s in enumerate(idle):
        shape = shapes[i] if i < len(shapes) else shapes[0]
        for a in range(actions):
            goes = a < len(shape) and shape[a] == 1
            entries.append((s, a, idle[0] if goes else ends[-1], 1.0))
    more = collect(entries)
    joined = {name: np.concatenate([table[name], more[name]]) for name in more}
    return {**table, **joined, "num_states": THIN_STATES}


@st.composite
def thin_tables(draw, num_states: int = 5, num_helps: int = 1, unavailable: bool = True) -> dict:
    """Any shape of cycles, one successor a row: half or all of a row goes there, or stays, the rest
    ends.

    Shrinks towards rows that fail at once.
    """
    n = num_states
    entries = []
    for s in range(n):
        missing = None
        if unavailable:
            missing = draw(st.sampled_from((None, None, None, *range(num_helps + 1))))
        for a in range(num_helps + 1):
            if a == missing:
                continue
            share = draw(st.sampled_from((0.0, 0.5, 1.0)))
            end = draw(st.sampled_from((FAIL, WIN)))
            onward = draw(st.integers(0, n - 1)) if a < 3 else s
            stay = draw(st.sampled_from((0.0, 0.0, 0.25)))
            if missing == 0:
                share = min(share, 0.5)  # no nohelp: every help must end sometimes
            entries += [(s, a, onward, share * (1 - stay)), (s, a, s, share * stay)]
            entries.append((s, a, end, 1.0 - share))
    return thin([e for e in entries if e[3] > 0], n, num_helps)


def random_thin(rng: np.random.Generator, num_states: int, num_helps: int) -> dict:
    """As `thin_tables`, from a numpy generator; every action offered, probabilities of any size."""
    n = num_states
    entries = []
    for s in range(n):
        for a in range(num_helps + 1):
            share = rng.choice([0.3, 0.7, 0.95])
            stay = rng.choice([0.0, 0.3, 0.6])
            onward = rng.integers(0, n) if a < 3 else s
            good = rng.random() * (0.5 if a == 0 else 1.0)
            entries += [(s, a, onward, share * (1 - stay)), (s, a, s, share * stay)]
            entries += [(s, a, WIN, (1 - share) * good), (s, a, FAIL, (1 - share) * (1 - good))]
    return thin(entries, n, num_helps)


def quarter_table(rng: np.random.Generator, num_states: int, num_helps: int) -> dict:
    """As `small_tables`, from a numpy generator: any shape at all, probabilities in quarters, ties
    frequent.
    """
    n = num_states
    entries = []
    for s in range(n):
        missing = rng.choice([-1, -1, -1, *range(num_helps + 1)])
        # A bias towards few targets: closed loops and sure things are rare otherwise.
        favourite = rng.integers(0, n + 2, size=2)
        for a in range(num_helps + 1):
            if a == missing:
                continue
            codes = rng.integers(0, n + 2, size=4)
            codes[rng.random(4) < rng.choice([0.0, 0.5, 1.0])] = rng.choice(favourite)
            if missing == 0:
                codes[0] = min(codes[0], 1)
            for code in codes:
                entries.append((s, a, (n + 1, n)[code] if code < 2 else code - 2, 0.25))
    return collect(
        entries, num_states=n + 2, num_actions=num_helps + 1, success=n, failure=n + 1, start=[0]
    )


def union(parts: list[dict], start: list[int] | None = None) -> dict:
    """The parts side by side in one table: state s of part i is i * n + s, for parts of n states
    and two terminals.

    Starts in state 0 of every part, or of those named.
    """
    n = parts[0]["num_states"] - 2
    total = n * len(parts)

    def place(ids, i):
        return np.where(ids < n, ids + i * n, ids - n + total)

    return {
        "state": np.concatenate([place(p["state"], i) for i, p in enumerate(parts)]),
        "action": np.concatenate([p["action"] for p in parts]),
        "next_state": np.concatenate([place(p["next_state"], i) for i, p in enumerate(parts)]),
        "prob": np.concatenate([p["prob"] for p in parts]),
        "num_states": total + 2,
        "num_actions": parts[0]["num_actions"],
        "success": total,
        "failure": total + 1,
        "start": n * np.asarray(range(len(parts)) if start is None else start),
    }
