"""When a row is finished: at an end token, or as soon as its text contains a stop string.

A stop string may begin and end in the middle of tokens, and one text has many ways into tokens. So
it is looked for in the bytes that tokens stand for, by the automaton of Aho and Corasick (1975):
the state is the longest beginning of a stop string that the text ends in. Followed through the
bytes of each token beforehand, that is a table

    next state = table[state, token]

which the compiled loop of `models.generation` reads. Nothing is decoded while it runs.
"""

import collections
import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

Finish = Literal["end", "stop", "length"]
AT_END, AT_STOP = -1, -2  # states of finished rows
_MAX_STATES = 2**15  # of int16


@dataclasses.dataclass(frozen=True, eq=False)
class StopTable:
    """What finishes a row.

    Attributes:
      table: int16 [states, V]; the state after a token. A row begins in state 0. AT_END and AT_STOP
        finish it.
    """

    table: np.ndarray

    @classmethod
    def build(
        cls,
        vocab_size: int,
        end_tokens: Iterable[int] = (),
        strings: Sequence[str] = (),
        token_bytes: Sequence[bytes] | None = None,
    ) -> "StopTable":
        """The table of some end tokens and stop strings.

        Args:
          vocab_size: V, rows of the embedding.
          end_tokens: ids; each finishes a row.
          strings: a text that contains one of them is finished.
          token_bytes: for each id the UTF-8 that it stands for, which may be a part of a character;
            up to V entries. Needed where there are strings.

        Raises:
          ValueError: an id is out of range; a string is empty; token_bytes are missing or too many;
            the strings are too long together.
        """
        end_tokens = sorted(set(end_tokens))
        if wrong := [token for token in end_tokens if not 0 <= token < vocab_size]:
            raise ValueError(f"end_tokens holds {wrong}, expected 0 <= id < {vocab_size}")
        if isinstance(strings, str):
            raise ValueError(f"strings is {strings!r}, expected a sequence of strings")
        if "" in strings:
            raise ValueError(f"strings is {list(strings)}, expected none to be empty")
        if not strings:
            table = np.zeros((1, vocab_size), np.int16)
        elif token_bytes is None or len(token_bytes) > vocab_size:
            given = "missing" if token_bytes is None else f"{len(token_bytes)} entries"
            raise ValueError(f"token_bytes: {given}, expected up to {vocab_size} entries")
        else:
            table = _through_tokens(_automaton(strings), token_bytes, vocab_size)
        table[:, end_tokens] = AT_END
        return cls(table)

    @functools.cached_property
    def padded(self) -> np.ndarray:
        """The table with more rows, so that few sizes occur: a power of two of them."""
        rows = 1 << (len(self.table) - 1).bit_length()
        return np.pad(self.table, ((0, rows - len(self.table)), (0, 0)))


def finish(state: int) -> Finish:
    """Why a row with this last state ended; "length" if it is in no finished state."""
    return {AT_END: "end", AT_STOP: "stop"}.get(int(state), "length")


def text_before(data: bytes, strings: Sequence[str]) -> str:
    """The text before the first stop string in it; all of it if there is none. What is no UTF-8
    becomes U+FFFD."""
    found = [data.find(string.encode()) for string in strings]
    end = min((place for place in found if place >= 0), default=len(data))
    return data[:end].decode("utf-8", errors="replace")


def _automaton(strings: Sequence[str]) -> np.ndarray:
    """int16 [states, 256]: the state after a byte; AT_STOP where a string is complete."""
    children: list[dict[int, int]] = [{}]
    complete = [False]
    for string in strings:
        node = 0
        for byte in string.encode():
            if byte not in children[node]:
                children[node][byte] = len(children)
                children.append({})
                complete.append(False)
            node = children[node][byte]
        complete[node] = True
    if len(children) > _MAX_STATES:
        raise ValueError(f"strings have {len(children)} bytes, expected below {_MAX_STATES}")
    after = np.zeros((len(children), 256), np.int16)
    fallback = [0] * len(children)  # the longest proper suffix that is a state
    queue = collections.deque([0])
    while queue:
        node = queue.popleft()
        complete[node] |= complete[fallback[node]]
        if node:
            after[node] = after[fallback[node]]
        for byte, child in children[node].items():
            fallback[child] = int(after[node, byte])
            after[node, byte] = child
            queue.append(child)
    return np.where(np.asarray(complete)[after], np.int16(AT_STOP), after)


def _through_tokens(
    automaton: np.ndarray, token_bytes: Sequence[bytes], vocab_size: int
) -> np.ndarray:
    """int16 [states, V]: `automaton` followed through all bytes of each token."""
    lengths = np.array([len(data) for data in token_bytes], np.int64)
    order = np.argsort(-lengths, kind="stable")  # at each place those with a byte there come first
    state = np.repeat(np.arange(len(automaton), dtype=np.int16)[:, None], vocab_size, axis=1)
    for place in range(lengths.max(initial=0)):
        tokens = order[: np.count_nonzero(lengths > place)]
        byte = np.array([token_bytes[token][place] for token in tokens])
        before = state[:, tokens]
        after = automaton[before, byte]  # of a finished row it is of no meaning
        state[:, tokens] = np.where(before < 0, before, after)
    return state
