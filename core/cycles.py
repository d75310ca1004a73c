"""Tables at discount 1: going round for ever.

At discount 1 a policy may never end. Going round by nohelp alone is free and fails; going round
with help costs without end. Two steps make the problem a stochastic shortest path problem, whose
Bellman equation has one solution (Bertsekas and Tsitsiklis 1991):

* The states of a class that nohelp never leaves are as good as each other: nohelp reaches any of
  them for free. `break_free_cycles` turns each class into a chain: whoever enters the class enters
  at its head, nohelp moves one state on, and at the last state ends in failure. What is left cannot
  go round without calling help.
* `check_can_end` refuses tables with a state from which every policy may call help for ever.
"""

import dataclasses

import numpy as np
import scipy.sparse
from scipy.sparse import csgraph

from core.bellman import NO_MASS
from core.table import TransitionTable, build_table


@dataclasses.dataclass(frozen=True)
class FreeCycles:
    """The classes of states that nohelp never leaves, as chains.

    Attributes:
      head: [S] the head of each state's chain; a state of no class is its own head.
      chains: the members of each class, in the order of its chain.
    """

    head: np.ndarray
    chains: tuple[np.ndarray, ...]

    def lift_policy(self, policy: np.ndarray) -> np.ndarray:
        """[S, R] for the original table from [S, R] for the one with chains.

        The first help along the chain is the one that is called; every other state of the class
        waits with nohelp until it comes to that state.
        """
        policy = np.array(policy)
        columns = np.arange(policy.shape[1])
        for members in self.chains:
            along = policy[members]
            first = np.argmax(along > 0, axis=0)
            lifted = np.zeros_like(along)
            lifted[first, columns] = along[first, columns]
            policy[members] = lifted
        return policy


def break_free_cycles(table: TransitionTable) -> tuple[TransitionTable, FreeCycles]:
    """The table with each class that nohelp never leaves made a chain."""
    num_states, num_actions = table.num_states, table.num_actions
    row = table.entry_row
    state, action = row // num_actions, row % num_actions
    free = (action == 0) & (table.prob > 0)
    graph = _graph(state[free], table.successor[free], num_states)
    num_classes, label = csgraph.connected_components(graph, connection="strong")
    leaves = ~table.available[:, 0] | (_exit_mass(table)[:, 0] > NO_MASS)
    is_open = np.zeros(num_classes, bool)
    is_open[label[leaves]] = True
    crossing = free & (label[state] != label[table.successor])
    is_open[label[state[crossing]]] = True
    closed = np.flatnonzero(~is_open[label])
    if closed.size == 0:
        return table, FreeCycles(np.arange(num_states), ())

    closed = closed[np.argsort(label[closed], kind="stable")]
    chains = np.split(closed, np.flatnonzero(np.diff(label[closed])) + 1)
    head = np.arange(num_states)
    following = []
    for members in chains:
        head[members] = members[0]
        following.append(np.stack([members[:-1], members[1:]]))
    here, there = np.concatenate(following, axis=1)
    in_class = np.zeros(num_states, bool)
    in_class[closed] = True
    kept = ~(in_class[state] & (action == 0))
    key = row[kept] * num_states + head[table.successor[kept]]
    key, entry = np.unique(key, return_inverse=True)
    mass = np.bincount(entry, table.prob[kept])
    chained = build_table(
        num_states=num_states,
        num_actions=num_actions,
        state=np.concatenate([key // num_states // num_actions, here]),
        action=np.concatenate([key // num_states % num_actions, np.zeros_like(here)]),
        successor=np.concatenate([key % num_states, there]),
        prob=np.concatenate([mass, np.ones(here.size)]),
        exit_success=table.exit_success,
        available=table.available,
        count=table.count,
        start=table.start,
        start_weight=table.start_weight,
        terminal=table.terminal,
    )
    return chained, FreeCycles(head, tuple(chains))


def end_components(table: TransitionTable) -> tuple[np.ndarray, np.ndarray]:
    """The sets of states in which some policy can go round for ever, and the actions it does so by.

    Actions that end or leave their strongly connected component are struck out until none is left
    to strike; what remains are the maximal end components.

    Returns:
      label: [S], the component of each state; -1 for states of none.
      inside: [S, A] bool, the actions that never leave the component.
    """
    num_states, num_actions = table.num_states, table.num_actions
    some_mass = table.prob > 0
    row, successor = table.entry_row[some_mass], table.successor[some_mass]
    kept = (table.available & (_exit_mass(table) <= NO_MASS)).reshape(-1)
    label = np.arange(num_states)
    while kept.any():
        use = kept[row]
        graph = _graph(row[use] // num_actions, successor[use], num_states)
        _, label = csgraph.connected_components(graph, connection="strong")
        leaves = use & (label[row // num_actions] != label[successor])
        if not leaves.any():
            break
        kept[row[leaves]] = False
    inside = kept.reshape(num_states, num_actions)
    return np.where(inside.any(axis=1), label, -1), inside


def merge_end_components(table: TransitionTable) -> tuple[TransitionTable, np.ndarray]:
    """A table with the same success at cost 0, in which every policy ends.

    At cost 0 the states of an end component are as good as each other: any can be reached from any
    for free. Each component becomes a chain of new states, one for each member: action 0 moves on,
    at the last in failure; action 1 enters the member, which keeps only the actions that leave.

    Returns:
      merged: the table, of S states and a new one for each member.
      head: [S] the state of `merged` that stands for each state.
    """
    label, inside = end_components(table)
    num_states, num_actions = table.num_states, table.num_actions
    members = np.flatnonzero(label >= 0)
    members = members[np.argsort(label[members], kind="stable")]
    new = num_states + np.arange(members.size)
    is_first = np.diff(label[members], prepend=-1) != 0
    head_of_label = np.zeros(num_states, np.int64)
    head_of_label[label[members[is_first]]] = new[is_first]
    head = np.arange(num_states)
    head[members] = head_of_label[label[members]]

    row = table.entry_row
    kept = ~inside.reshape(-1)[row]
    total = num_states + members.size
    key, entry = np.unique(row[kept] * total + head[table.successor[kept]], return_inverse=True)
    moves = ~np.append(is_first[1:], True)
    grow = ((0, members.size), (0, 0))
    available = np.pad(table.available & ~inside, grow)
    available[new, 0] = True
    available[new, 1] = True
    merged = build_table(
        num_states=total,
        num_actions=num_actions,
        state=np.concatenate([key // total // num_actions, new[moves], new]),
        action=np.concatenate(
            [key // total % num_actions, np.zeros(moves.sum(), int), np.ones(new.size, int)]
        ),
        successor=np.concatenate([key % total, new[1:][moves[:-1]], members]),
        prob=np.concatenate(
            [np.bincount(entry, table.prob[kept], key.size), np.ones(moves.sum() + new.size)]
        ),
        exit_success=np.pad(np.where(inside, 0.0, table.exit_success), grow),
        available=available,
        count=np.pad(table.count, grow),
        start=table.start,
        start_weight=table.start_weight,
        terminal=np.pad(table.terminal, grow[0]),
    )
    return merged, head


def check_can_end(table: TransitionTable) -> None:
    """Raises ValueError if from some state every policy may go round for ever.

    The states from which some policy ends with certainty: the greatest set in which the end can be
    reached by actions that never leave the set.
    """
    num_states, num_actions = table.num_states, table.num_actions
    row = table.entry_row
    some_mass = table.prob > 0
    row, successor = row[some_mass], table.successor[some_mass]
    ends = _exit_mass(table).reshape(-1) > NO_MASS
    no_action = ~table.available.any(axis=1)
    good = np.ones(num_states, bool)
    while True:
        safe = np.ones(num_states * num_actions, bool)
        safe[row[~good[successor]]] = False
        safe &= table.available.reshape(-1)
        use = safe[row]
        last = np.flatnonzero(no_action | (safe & ends).reshape(-1, num_actions).any(axis=1))
        source = np.concatenate([successor[use], np.full(last.size, num_states)])
        target = np.concatenate([row[use] // num_actions, last])
        graph = _graph(source, target, num_states + 1)
        reached = csgraph.breadth_first_order(graph, num_states, return_predecessors=False)
        now_good = np.zeros(num_states + 1, bool)
        now_good[reached] = True
        if (now_good[:num_states] == good).all():
            break
        good = now_good[:num_states]
    if not good.all():
        raise ValueError(
            f"discount = 1: from state {np.flatnonzero(~good)[0]} every policy may call help for "
            "ever, so its usage is infinite. Use a discount below 1, or add what ends the episode."
        )


def endless_usage(table: TransitionTable, mixture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a policy goes round for ever, and where it then calls help without end.

    Args:
      table: S states, K helps.
      mixture: [S, A] the policy's weights.

    Returns:
      recurrent [S]: the policy goes round for ever once it is here.
      endless [S, K]: the expected number of calls from here is infinite.
    """
    num_states, num_actions = table.num_states, table.num_actions
    row = table.entry_row
    loops = row // num_actions == table.successor
    only_loops = np.bincount(row[loops], table.prob[loops], mixture.size) >= 1.0 - NO_MASS
    taken = (mixture.reshape(-1)[row] > 0) & (table.prob > 0) & (loops | ~only_loops[row])
    state, successor = row[taken] // num_actions, table.successor[taken]
    forward = _graph(state, successor, num_states)
    idle = (mixture * table.available).sum(axis=1) == 0
    last = np.flatnonzero(idle | ((mixture > 0) & (_exit_mass(table) > NO_MASS)).any(axis=1))
    can_end = _can_reach(forward, last)
    num_classes, label = csgraph.connected_components(forward, connection="strong")
    is_open = np.zeros(num_classes, bool)
    is_open[label[can_end]] = True
    is_open[label[state[label[state] != label[successor]]]] = True
    endless = np.zeros((num_states, table.num_helps), bool)
    for k in range(table.num_helps):
        calls = np.zeros(num_classes, bool)
        calls[label[mixture[:, k + 1] > 0]] = True
        endless[:, k] = _can_reach(forward, np.flatnonzero((calls & ~is_open)[label]))
    return ~is_open[label], endless


def _can_reach(forward: scipy.sparse.csr_matrix, targets: np.ndarray) -> np.ndarray:
    """[S] bool, the states with a path to one of the targets."""
    num_states = forward.shape[0]
    edges = forward.tocoo()
    backward = _graph(
        np.concatenate([edges.col, np.full(targets.size, num_states)]),
        np.concatenate([edges.row, targets]),
        num_states + 1,
    )
    reached = np.zeros(num_states + 1, bool)
    reached[csgraph.breadth_first_order(backward, num_states, return_predecessors=False)] = True
    return reached[:num_states]


def _exit_mass(table: TransitionTable) -> np.ndarray:
    """[S, A] the mass that leaves the table at once."""
    stays = np.bincount(table.entry_row, table.prob, table.available.size)
    return np.where(table.available, 1.0 - stays.reshape(table.available.shape), 0.0)


def _graph(source: np.ndarray, target: np.ndarray, size: int) -> scipy.sparse.csr_matrix:
    return scipy.sparse.csr_matrix(
        (np.ones(source.size, np.int8), (source, target)), shape=(size, size)
    )
