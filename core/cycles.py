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

from core.table import TransitionTable, build_table

_NO_MASS = 1e-9  # the tolerance of row sums: less mass than this cannot be told from rounding


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
    leaves = ~table.available[:, 0] | (_exit_mass(table)[:, 0] > _NO_MASS)
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


def some_policy_never_ends(table: TransitionTable) -> bool:
    """Whether the table has an end component: states, and actions that lead nowhere else.

    Actions that end or leave their strongly connected component are struck out until none is left
    to strike; what remains, if anything, can go round for ever.
    """
    num_states, num_actions = table.num_states, table.num_actions
    some_mass = table.prob > 0
    row, successor = table.entry_row[some_mass], table.successor[some_mass]
    kept = (table.available & (_exit_mass(table) <= _NO_MASS)).reshape(-1)
    while kept.any():
        use = kept[row]
        graph = _graph(row[use] // num_actions, successor[use], num_states)
        _, label = csgraph.connected_components(graph, connection="strong")
        leaves = use & (label[row // num_actions] != label[successor])
        if not leaves.any():
            return True
        kept[row[leaves]] = False
    return False


def check_can_end(table: TransitionTable) -> None:
    """Raises ValueError if from some state every policy may go round for ever.

    The states from which some policy ends with certainty: the greatest set in which the end can be
    reached by actions that never leave the set.
    """
    num_states, num_actions = table.num_states, table.num_actions
    row = table.entry_row
    some_mass = table.prob > 0
    row, successor = row[some_mass], table.successor[some_mass]
    ends = _exit_mass(table).reshape(-1) > _NO_MASS
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
      trapped [S]: the policy cannot reach the end from here.
      endless [S, K]: the expected number of calls is infinite.
    """
    num_states, num_actions = table.num_states, table.num_actions
    row = table.entry_row
    taken = (mixture.reshape(-1)[row] > 0) & (table.prob > 0)
    state, successor = row[taken] // num_actions, table.successor[taken]
    forward = _graph(state, successor, num_states)
    idle = (mixture * table.available).sum(axis=1) == 0
    last = np.flatnonzero(idle | ((mixture > 0) & (_exit_mass(table) > _NO_MASS)).any(axis=1))
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
    return ~can_end, endless


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
