"""Where the entries of a transition table lie in memory, so that a sweep over it is fast.

A sweep computes, for every state s and action a, sum_k weight[s, a, k] * v[successor[s, a, k]], for
many costs at once. XLA turns that into one loop without temporaries when the sum over k is
unrolled, which asks for rows of equal width; the out-degrees of real tables are anything but equal.
Hence:

* States are put in an order in which successors mostly come before their predecessors (a
  Gauss-Seidel sweep then carries a value all the way) and lie close together in memory: that of a
  reversed breadth-first search from the start states, or that of falling ids, whichever leaves less
  probability going the other way. Ids often tell the order in which states were first seen.
* The order is cut into windows. Inside a window the states are grouped by class, the tuple of the
  widths of their A rows, and each group is cut into tiles of B states, padded at its end.
  A few classes are chosen so that the padding they cost is least.
* Tables of at most SMALL nodes have one class and a power of two of tiles: a program compiled for
  one of them serves others, which is worth more there than the padding.
* A row of more than MAX_WIDTH successors becomes a tree: auxiliary rows each sum up to MAX_WIDTH of
  them, and the row refers to those. No out-degree, however skewed, costs padding or compile time.
* With three helps and more, the widths of a state's rows come in too many combinations for a few
  classes. Where their padding would be too much, rows of more than NARROW successors become trees,
  too: what is left of the states is nearly alike, and auxiliary nodes have one row each. On tables
  shaped like an agent's rollouts there are then at most 1.5 slots an entry for up to seven helps.

Self-loops are taken out of the rows: the sweep eliminates them exactly.
"""

import dataclasses

import jax
import numpy as np
import scipy.sparse

WIDTHS = np.array([0, 1, 2, 3, 4, 6, 8])  # neighbours at most 1.5 apart
MAX_WIDTH = int(WIDTHS[-1])
NARROW = 3  # 2 makes a quarter more nodes, 4 more combinations: sweeps take longer with either
MAX_CLASSES = 6  # each is compiled apart, so there are as few as keep the padding low
PADDING = 1.46  # slots an entry up to which classes are merged; tiles that are not full add to it
MAX_SIGNATURES = 128  # more are first folded together, to keep the choice of classes fast
TILE = 2, 128  # B at least and at most: small tiles keep the order, large ones save overhead
TILES = 1024, 96  # roughly: where the order helps, and where it does not
MUCH = 1 / 4  # of the probability: if more goes against the order, it does not help
TILES_IN_WINDOW = 32  # fewer keep the order better, which saves sweeps, and cost padding
MOST = 1 / 2  # of the nodes: where more are feedback nodes, all are taken for such
SMALL = 512  # nodes; tables up to this size share compiled programs rather than save padding


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TileClass:
    """All tiles whose rows have the same widths. T tiles of B states, A actions, W = sum(widths).

    Attributes:
      widths: [A] slots of each action's row; action a owns the next widths[a] of the W slots.
      node: [T, W, B] int32, the node that a slot refers to; 0 where it is padding.
      prob: [T, W, B] float64, P(node | state, action); 0 where it is padding.
      self_prob: [T, A, B] float64, P(s | s, a).
      exit_success: [T, A, B] float64, the mass that ends in success at once.
      available: [T, A, B] bool. Padding states have no action.
      auxiliary: [T, B] bool, a node that stands for a part of a wide row.
      offset: [T] int32, the node of the tile's first state.
    """

    widths: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    node: np.ndarray
    prob: np.ndarray
    self_prob: np.ndarray
    exit_success: np.ndarray
    available: np.ndarray
    auxiliary: np.ndarray
    offset: np.ndarray


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Layout:
    """A packed table. Values live in arrays of N nodes, one per state, auxiliary row or padding.

    Attributes:
      num_nodes: N.
      tile_size: B.
      position: [S] int32, the node of each state.
      feedback: [F] int32, ascending, F >= 1: the nodes that some node of the same tile or of one
        before it refers to, or all nodes. A sweep reads no other node before it has written it, so
        the values of these alone decide what it comes to.
      first_tile: [windows + 1, C] int32; window w owns tiles first_tile[w] to first_tile[w + 1]
        of each of the C classes. Windows, then classes, then tiles: the order of a sweep.
      classes: the C tile classes.
    """

    num_nodes: int = dataclasses.field(metadata={"static": True})
    tile_size: int = dataclasses.field(metadata={"static": True})
    position: np.ndarray
    feedback: np.ndarray
    first_tile: np.ndarray
    classes: tuple[TileClass, ...]

    @property
    def num_slots(self) -> int:
        """Slots of all rows, padding included; compare with the table's entries."""
        return sum(tiles.prob.size for tiles in self.classes)


@dataclasses.dataclass(frozen=True)
class _Nodes:
    """Entries (node, action) -> successor of states and auxiliary rows; rank orders the nodes."""

    node: np.ndarray
    action: np.ndarray
    successor: np.ndarray
    prob: np.ndarray
    rank: np.ndarray


def pack(
    *,
    num_actions: int,
    indptr: np.ndarray,
    successor: np.ndarray,
    prob: np.ndarray,
    exit_success: np.ndarray,
    available: np.ndarray,
    start: np.ndarray,
) -> Layout:
    """Packs rows in compressed form (see `core.table.TransitionTable`) into tiles."""
    num_states = exit_success.shape[0]
    row = np.repeat(np.arange(num_states * num_actions), np.diff(indptr))
    state, action = row // num_actions, row % num_actions
    loop = state == successor
    self_prob = np.zeros((num_states, num_actions))
    self_prob[state[loop], action[loop]] = prob[loop]
    entries = (state[~loop], action[~loop], successor[~loop], prob[~loop])
    rank, against = _rank(num_states, entries[0], entries[2], entries[3], start)
    unsplit = _Nodes(*entries, rank.astype(np.float64))
    nodes = _split_wide_rows(unsplit, num_actions, MAX_WIDTH)
    signature = _signature(nodes, num_actions)
    is_small = nodes.rank.size <= SMALL
    if is_small:
        widest = np.array([2, 4, MAX_WIDTH])[np.searchsorted([2, 4], signature.max(initial=0))]
        widths, node_class = [np.full(num_actions, widest)], np.zeros(len(signature), np.int64)
    else:
        most_slots = PADDING * prob.size
        widths, node_class = _choose_classes(signature, most_slots)
        if _num_slots(widths, node_class) > most_slots:
            nodes = _split_wide_rows(unsplit, num_actions, NARROW)
            widths, node_class = _choose_classes_apart(nodes, num_actions, num_states, most_slots)

    tiles = TILES[bool(against > MUCH) and not is_small]
    tile_size = int(np.clip(2 ** int(np.log2(max(nodes.rank.size / tiles, 1))), *TILE))
    order = np.argsort(nodes.rank, kind="stable")
    window = np.empty(order.size, np.int64)
    window[order] = np.arange(order.size) // (tile_size * TILES_IN_WINDOW)
    num_windows, num_classes = int(window.max()) + 1, len(widths)
    group = window * num_classes + node_class  # sorted by group, then by rank
    order = order[np.argsort(group[order], kind="stable")]
    group_size = np.bincount(group, minlength=num_windows * num_classes)
    tiles_of_group = -(-group_size // tile_size)
    if is_small:
        tiles_of_group = 2 ** np.ceil(np.log2(tiles_of_group)).astype(np.int64)
    first_node = np.concatenate([[0], np.cumsum(tiles_of_group)]) * tile_size
    within = np.arange(order.size) - np.repeat(np.cumsum(group_size) - group_size, group_size)
    position = np.empty(order.size, np.int64)
    position[order] = first_node[group[order]] + within

    first_tile = np.zeros((num_windows + 1, num_classes), np.int32)
    np.cumsum(tiles_of_group.reshape(num_windows, num_classes), axis=0, out=first_tile[1:])
    owner = np.full(int(first_node[-1]), -1)  # the node number before packing, -1 for padding
    owner[position] = np.arange(order.size)
    class_of_tile = np.repeat(np.tile(np.arange(num_classes), num_windows), tiles_of_group)

    degree_slot = _slot_in_row(nodes.node * num_actions + nodes.action)
    entry_position = position[nodes.node]
    entry_target = position[nodes.successor]
    feedback = np.unique(entry_target[entry_target // tile_size >= entry_position // tile_size])
    if is_small or feedback.size > MOST * owner.size:
        feedback = np.arange(owner.size)
    elif feedback.size == 0:
        feedback = np.arange(1)
    entry_class = node_class[nodes.node]
    tile_in_class = np.empty(class_of_tile.size, np.int64)
    classes = []
    for c, width in enumerate(widths):
        tiles = np.flatnonzero(class_of_tile == c)
        tile_in_class[tiles] = np.arange(tiles.size)
        mine = entry_class == c
        slot = (np.cumsum(width) - width)[nodes.action[mine]] + degree_slot[mine]
        where = (
            tile_in_class[entry_position[mine] // tile_size],
            slot,
            entry_position[mine] % tile_size,
        )
        node_table = np.zeros((tiles.size, int(width.sum()), tile_size), np.int32)
        prob_table = np.zeros(node_table.shape)
        node_table[where] = entry_target[mine]
        prob_table[where] = nodes.prob[mine]
        member = owner.reshape(-1, tile_size)[tiles]  # [T, B]
        is_state = (member >= 0) & (member < num_states)
        auxiliary = member >= num_states
        of_state = np.where(is_state, member, 0)

        def per_row(values, fill=0):
            rows = np.where(is_state[..., None], values[of_state], fill)  # noqa: B023
            return np.ascontiguousarray(np.swapaxes(rows, 1, 2))

        offered = per_row(available, False)
        offered[:, 0] |= auxiliary
        classes.append(
            TileClass(
                widths=tuple(int(w) for w in width),
                node=node_table,
                prob=prob_table,
                self_prob=per_row(self_prob),
                exit_success=per_row(exit_success),
                available=offered,
                auxiliary=auxiliary,
                offset=(tiles * tile_size).astype(np.int32),
            )
        )
    return Layout(
        num_nodes=owner.size,
        tile_size=tile_size,
        position=position[:num_states].astype(np.int32),
        feedback=feedback.astype(np.int32),
        first_tile=first_tile,
        classes=tuple(classes),
    )


def _rank(
    num_states: int, state: np.ndarray, successor: np.ndarray, prob: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, float]:
    """[S] the better of two orders: that in which less probability goes to states not yet swept;
    and which share of all that is."""
    orders = [
        _reversed_breadth_first_rank(num_states, state, successor, start),
        np.arange(num_states)[::-1],
    ]
    against = [prob[rank[successor] >= rank[state]].sum() for rank in orders]
    best = int(np.argmin(against))
    return orders[best], against[best] / max(prob.sum(), 1.0)


def _reversed_breadth_first_rank(
    num_states: int, state: np.ndarray, successor: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """[S] the place of each state in a reversed breadth-first search; unreachable states first."""
    root = num_states
    source = np.concatenate([state, np.full(start.size, root)])
    target = np.concatenate([successor, start])
    graph = scipy.sparse.csr_matrix(
        (np.ones(source.size, np.int8), (source, target)), shape=(root + 1, root + 1)
    )
    reached = scipy.sparse.csgraph.breadth_first_order(graph, root, return_predecessors=False)
    rank = np.full(root + 1, -1)
    rank[reached] = np.arange(reached.size)
    unreached = np.flatnonzero(rank < 0)
    rank[unreached] = reached.size + np.arange(unreached.size)
    return root - rank[:root]


def _slot_in_row(row: np.ndarray) -> np.ndarray:
    """[E] the place of each entry in its row, for entries in any order."""
    order = np.argsort(row, kind="stable")
    ordered = row[order]
    is_first = np.diff(ordered, prepend=-1) != 0
    first = np.maximum.accumulate(np.where(is_first, np.arange(row.size), 0))
    slot = np.empty(row.size, np.int64)
    slot[order] = np.arange(row.size) - first
    return slot


def _signature(nodes: _Nodes, num_actions: int) -> np.ndarray:
    """[N, A] the slots that each row of each node needs, one of WIDTHS."""
    degree = np.zeros((nodes.rank.size, num_actions), np.int64)
    np.add.at(degree, (nodes.node, nodes.action), 1)
    return WIDTHS[np.searchsorted(WIDTHS, degree)]


def _split_wide_rows(nodes: _Nodes, num_actions: int, most: int) -> _Nodes:
    """Replaces the nodes' rows of more than `most` entries by trees of auxiliary nodes, whose rows
    have up to MAX_WIDTH."""
    num_states = nodes.rank.size
    step = 0.5  # auxiliary nodes come just before the state, those of deeper levels first
    while True:
        row = nodes.node * num_actions + nodes.action
        width = np.bincount(row)[row]
        wide = width > np.where(nodes.node < num_states, most, MAX_WIDTH)
        if not wide.any():
            return nodes
        piece = (
            row[wide] * (int(width.max()) // MAX_WIDTH + 1) + _slot_in_row(row)[wide] // MAX_WIDTH
        )
        _, first, child = np.unique(piece, return_index=True, return_inverse=True)
        mass = np.bincount(child, nodes.prob[wide])
        new = nodes.rank.size + np.arange(first.size)
        parent = nodes.node[wide][first]
        nodes = _Nodes(
            node=np.concatenate([nodes.node[~wide], parent, new[child]]),
            action=np.concatenate(
                [nodes.action[~wide], nodes.action[wide][first], np.zeros(child.size, np.int64)]
            ),
            successor=np.concatenate([nodes.successor[~wide], new, nodes.successor[wide]]),
            prob=np.concatenate(
                [nodes.prob[~wide], mass, nodes.prob[wide] / np.where(mass > 0, mass, 1)[child]]
            ),
            rank=np.concatenate([nodes.rank, nodes.rank[parent] - step]),
        )
        step *= 0.5


def _choose_classes(
    signature: np.ndarray, most_slots: float
) -> tuple[list[np.ndarray], np.ndarray]:
    """A few width tuples that cover all signatures [N, A], and each node's class [N].

    Greedy: the two classes whose union costs the fewest extra slots are merged, as long as all
    slots stay within `most_slots`, or there are more than MAX_CLASSES.
    """
    distinct, class_of, count = np.unique(
        signature, axis=0, return_inverse=True, return_counts=True
    )
    class_of = class_of.reshape(-1)
    if len(distinct) > MAX_SIGNATURES:  # the rarest become one
        place = np.empty(len(distinct), np.int64)
        place[np.argsort(-count, kind="stable")] = np.arange(len(distinct))
        place = np.minimum(place, MAX_SIGNATURES - 1)
        class_of, count = place[class_of], np.bincount(place, count)
        folded = np.zeros((MAX_SIGNATURES, signature.shape[1]), np.int64)
        np.maximum.at(folded, place, distinct)
        distinct = folded
    widths, count = distinct.astype(np.int64), count.astype(np.int64)
    while len(widths) > 1:
        union = np.maximum(widths[:, None], widths[None])  # [C, C, A]
        slots = count * widths.sum(axis=1)
        extra = (count[:, None] + count) * union.sum(axis=-1) - slots[:, None] - slots
        np.fill_diagonal(extra, np.iinfo(np.int64).max)
        keep, gone = sorted(np.unravel_index(np.argmin(extra), extra.shape))
        enough = len(widths) <= MAX_CLASSES
        if enough and slots.sum() + extra[keep, gone] > most_slots:
            break
        widths[keep] = union[keep, gone]
        count[keep] += count[gone]
        class_of = np.where(class_of == gone, keep, class_of)
        class_of -= class_of > gone
        widths, count = np.delete(widths, gone, axis=0), np.delete(count, gone)
    return list(widths), class_of


def _choose_classes_apart(
    nodes: _Nodes, num_actions: int, num_states: int, most_slots: float
) -> tuple[list[np.ndarray], np.ndarray]:
    """As `_choose_classes`, no class holding both states and auxiliary nodes.

    Auxiliary nodes come first: in a window they are then swept before the states they belong to.
    """
    signature = _signature(nodes, num_actions)
    of_parts = PADDING * (nodes.node >= num_states).sum()
    parts, part_class = _choose_classes(signature[num_states:], of_parts)
    left = most_slots - _num_slots(parts, part_class)
    states, state_class = _choose_classes(signature[:num_states], left)
    return parts + states, np.concatenate([state_class + len(parts), part_class])


def _num_slots(widths: list[np.ndarray], node_class: np.ndarray) -> int:
    """Slots of all nodes, before tiles are filled up."""
    return int(sum(w.sum() * (node_class == c).sum() for c, w in enumerate(widths)))
