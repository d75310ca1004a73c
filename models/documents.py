"""Texts as models are trained and scored on them: tokens, and the places where they are read.

A document is one text of T tokens and R reads. A head, or the logits of the next token, is
evaluated at the reads alone, and the loss is summed over them:

    SFT              a read before every token of the reply; its target is that token
    heads            a read at the last token of each state; its targets are what the head learns

Transcripts only grow: the text of each state is a prefix of the text of the next. Since attention
is causal, the hidden state at the end of a prefix does not depend on what follows, and one document
serves all states of a trajectory.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Document(NamedTuple):
    """One text. `models.packing` checks what its arrays hold.

    Attributes:
      name: what errors call it.
      tokens: int32 [T], T > 0.
      reads: int32 [R], R > 0, places in `tokens`, ascending; a place may occur several times.
      targets: [R, ...]; their shape and meaning are the loss's (`models.losses`).
      weights: float32 [R] or the shape of `targets`, each >= 0.
      features: float32 [R, F], numbers that a head reads beside the text; F may be 0.
    """

    name: str
    tokens: np.ndarray
    reads: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    features: np.ndarray


@dataclasses.dataclass
class Limit:
    """How long a text may be, what is done about longer ones, and how often it was.

    Attributes:
      max_length: in tokens.
      too_long: "refuse" raises; "truncate" keeps the last `max_length` tokens.
      truncated: texts truncated so far.
    """

    max_length: int
    too_long: Literal["refuse", "truncate"] = "refuse"
    truncated: int = 0

    def __post_init__(self):
        if self.max_length < 1:
            raise ValueError(f"max_length is {self.max_length}, expected 1 or more")
        if self.too_long not in ("refuse", "truncate"):
            raise ValueError(f"too_long is {self.too_long!r}, expected 'refuse' or 'truncate'")

    def excess(self, name: str, length: int) -> int:
        """How many tokens of a text of this length are cut off on the left; counts it.

        Raises:
          ValueError: it is too long, and such texts are refused.
        """
        if length <= self.max_length:
            return 0
        if self.too_long == "refuse":
            raise ValueError(
                f"{name}: {length} tokens, expected at most {self.max_length}; "
                "too_long='truncate' would cut them on the left"
            )
        self.truncated += 1
        return length - self.max_length


def reply_document(
    name: str, prompt: ArrayLike, reply: ArrayLike, *, limit: Limit, weight: float = 1.0
) -> Document:
    """A prompt and its reply, with the loss on the reply alone.

    Args:
      name: what errors call it.
      prompt: int [P], P > 0. Truncation cuts it; at least one token is kept.
      reply: int [Q], Q > 0, with the token that ends it.
      limit: of P + Q.
      weight: of each token of the reply.

    Raises:
      ValueError: one is empty, or they are too long and may not be, or cannot be truncated.
    """
    prompt, reply = _tokens(f"{name}: prompt", prompt), _tokens(f"{name}: reply", reply)
    excess = limit.excess(name, len(prompt) + len(reply))
    if excess >= len(prompt):
        raise ValueError(
            f"{name}: the reply has {len(reply)} tokens, expected fewer than {limit.max_length}: "
            "only the prompt is truncated"
        )
    tokens = np.concatenate([prompt[excess:], reply])
    learn = np.arange(len(tokens)) >= len(prompt) - excess
    return masked_document(name, tokens, learn, weight=weight)


def masked_document(
    name: str, tokens: ArrayLike, learn: ArrayLike, *, weight: float = 1.0
) -> Document:
    """A text with the loss on some of its tokens: conversations, question-answer pairs, plain text.

    Args:
      name: what errors call it.
      tokens: int [T].
      learn: bool [T]; which are learnt. The first token has none before it: its mark is ignored.
      weight: of each token learnt.

    Raises:
      ValueError: nothing is learnt, or the shapes differ.
    """
    tokens, learn = _tokens(name, tokens), np.asarray(learn, bool)
    if learn.shape != tokens.shape:
        raise ValueError(f"{name}: learn has shape {learn.shape}, expected {tokens.shape}")
    reads = np.flatnonzero(learn[1:]).astype(np.int32)
    if not len(reads):
        raise ValueError(f"{name}: no token is learnt, expected one or more after the first")
    return Document(
        name,
        # What follows the last read is seen by no loss.
        tokens[: reads[-1] + 1],
        reads,
        tokens[reads + 1],
        np.full(len(reads), weight, np.float32),
        np.zeros((len(reads), 0), np.float32),
    )


def state_documents(
    name: str,
    states: Sequence[ArrayLike],
    *,
    limit: Limit,
    targets: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    features: ArrayLike | None = None,
    of_state: ArrayLike | None = None,
    select: ArrayLike | None = None,
) -> list[Document]:
    """A trajectory whose texts only grow, as one document that is read at the end of every state.

    A state that is longer than the limit and truncated starts at another token than the states
    before it, so that it needs a pass of its own: such states are documents of their own.

    Args:
      name: of the trajectory, for errors.
      states: int [T_i], each a prefix of the next or equal to it.
      limit: of a state's length.
      targets: int or float [N, ...], what is learnt at each read; None where nothing is.
      weights: float [N] or as targets; None is 1.
      features: float [N, F]; None is none.
      of_state: int [N], ascending: which state a read belongs to. None is one read a state. With
        it a state is read several times, for instance once for every cost.
      select: bool [N], reads to keep: states on the optimal trajectory, say. None keeps all.

    Returns:
      Documents whose reads are, in order, the reads kept. None if none is.

    Raises:
      ValueError: a state is no prefix of the next, is empty or is too long; or shapes differ.
        Names the trajectory and the state.
    """
    states = [_tokens(f"{name}: state {i}", tokens) for i, tokens in enumerate(states)]
    for i, (one, two) in enumerate(zip(states, states[1:], strict=False)):
        if len(one) > len(two) or not np.array_equal(one, two[: len(one)]):
            raise ValueError(
                f"{name}: the {len(one)} tokens of state {i} are no prefix of the {len(two)} of "
                f"state {i + 1}; expected a transcript that only grows"
            )
    of_state = np.arange(len(states)) if of_state is None else np.asarray(of_state)
    count = len(of_state)
    if count and not (0 <= of_state[0] and of_state[-1] < len(states)):
        raise ValueError(f"{name}: of_state reaches {of_state[-1]}, expected 0..{len(states) - 1}")
    if np.any(np.diff(of_state) < 0):
        raise ValueError(f"{name}: of_state is {of_state.tolist()}, expected ascending")
    targets = _rows(name, "targets", targets, count, np.zeros(count, np.float32))
    weights = _rows(name, "weights", weights, count, np.ones(count)).astype(np.float32)
    features = _rows(name, "features", features, count, np.zeros((count, 0))).astype(np.float32)
    kind = np.int32 if targets.dtype.kind in "iu" else np.float32
    targets = targets.astype(kind)
    select = _rows(name, "select", select, count, np.ones(count, bool)).astype(bool)

    lengths = np.array([len(tokens) for tokens in states], int)
    used = np.unique(of_state[select]).tolist()
    cut = {i: limit.excess(f"{name}: state {i}", int(lengths[i])) for i in used}
    longest_whole = max((i for i in used if not cut[i]), default=None)
    groups: dict[int, list[int]] = {}  # state whose text is passed over -> its reads
    for read in np.flatnonzero(select).tolist():
        state = int(of_state[read])
        groups.setdefault(state if cut[state] else longest_whole, []).append(read)
    return [
        Document(
            name,
            states[last][cut[last] :],
            (lengths[of_state[reads]] - 1 - cut[last]).astype(np.int32),
            targets[reads],
            weights[reads],
            features[reads],
        )
        for last, reads in groups.items()
    ]


def _tokens(name: str, tokens: ArrayLike) -> np.ndarray:
    array = np.asarray(tokens)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{name}: tokens of shape {array.shape}, expected one or more in a row")
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name}: tokens are {array.dtype}, expected whole numbers")
    if array.min() < 0 or array.max() >= 2**31:
        raise ValueError(f"{name}: tokens {array.min()}..{array.max()}, expected 0 to 2**31 - 1")
    return array.astype(np.int32)


def _rows(name: str, field: str, values, count: int, default: np.ndarray) -> np.ndarray:
    array = default if values is None else np.asarray(values)
    if array.ndim < 1 or len(array) != count:
        raise ValueError(f"{name}: {field} has shape {array.shape}, expected ({count}, ...)")
    return array
