"""Text from a decoder: batched, with a KV cache, in programs that compile once for each bucket.

    prompts -> blocks of rows of like length -> prefill -> a loop that draws one token for every row
    until all rows are finished -> tokens and their log-probabilities

A block's prompts are padded on the left to a bucket of their length, its rows to a bucket of their
number. One program holds prefill and loop; there is one for each combination of buckets. How long
prompts and replies really are decides how long it runs, and compiles nothing.

What a row draws depends on its prompt and its seed, not on the rows beside it. Logits may be
rounded otherwise in another bucket; a tie within that rounding can fall otherwise, too.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from models import decoding, sampling
from models.config import LlamaConfig
from models.documents import Limit
from models.llama import Llama
from models.sharding import BATCH, batch_sharding
from models.stopping import Finish, StopTable, finish

_STEP = 16  # between the first buckets of lengths
# Between buckets of rows. With 4 in place of 8, CPUs answer two to four prompts in about 0.6 of the
# time, but compile three programs in place of two for each length, seconds each.
_ROWS_STEP = 8
_ACCELERATOR_ROWS = 256
_CPU_ROWS, _CPU_SLOTS = (8, 32), 256  # at least and at most; tokens of a row they are counted for


@dataclasses.dataclass(frozen=True, eq=False)
class Generation:
    """What was drawn for one row.

    Attributes:
      tokens: int32 [n], n >= 1; all that was drawn, the end token too.
      logprobs: float32 [n]; natural logarithms of the probabilities that the model itself gave to
        them, at temperature 1 and without top-p, whichever way they were drawn.
      finish: "end" by an end token, "stop" by a stop string, "length" by the largest number.
      dropped: tokens cut from the left of the prompt.
    """

    tokens: np.ndarray
    logprobs: np.ndarray
    finish: Finish
    dropped: int = 0


class Generator:
    """Generates with a model, with the weights that it has at each call.

    Attributes:
      model: the decoder.
      max_rows: rows of a block.
      too_long: what becomes of prompts that leave too little room.
    """

    def __init__(
        self,
        model: Llama,
        *,
        max_rows: int | None = None,
        too_long: Literal["refuse", "truncate"] = "refuse",
        fixed: bool = False,
    ):
        """Compiles nothing yet.

        Args:
          model: on one device, or spread over `model.execution.mesh`.
          max_rows: None is 256 on accelerators, where memory sets the limit. On CPUs it is the
            number whose keys and values are as large as the weights, but 8 to 32: a step reads
            both; more rows share the weights, but leave no room for them in a core's cache.
          too_long: "refuse" a prompt that would be longer than `max_position_embeddings` together
            with its reply, or "truncate" it from the left, which its `Generation` counts.
          fixed: whether no part of the model will be added or replaced: it is then not searched
            for weights anew at each call, which takes milliseconds.

        Raises:
          ValueError: an argument is out of range.
        """
        if max_rows is None:
            max_rows = _cpu_rows(model) if jax.default_backend() == "cpu" else _ACCELERATOR_ROWS
        if max_rows < 1:
            raise ValueError(f"max_rows is {max_rows}, expected 1 or more")
        if too_long not in ("refuse", "truncate"):
            raise ValueError(f"too_long is {too_long!r}, expected 'refuse' or 'truncate'")
        self.model, self.max_rows, self.too_long = model, max_rows, too_long
        self._fixed = nnx.split(model) if fixed else None

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        stop: StopTable | None = None,
    ) -> list[list[Generation]]:
        """A reply for each seed of each prompt; the replies to a prompt share its prefill.

        Args:
          prompts: token ids, at least one each.
          seeds: for each prompt those of its replies, 0 <= seed < 2**64. At temperature 0 all
            replies to a prompt are one, computed once.
          max_new_tokens: of a reply, from 1.
          temperature: 0 is greedy.
          top_p: in (0, 1].
          stop: what finishes a reply; None is the end tokens of the model's config.

        Returns:
          For each prompt its replies, in the order of its seeds.

        Raises:
          ValueError: an argument is out of range, or a prompt too long; names the prompt.
          FloatingPointError: a row's logits are not finite; names the prompt.
        """
        method = sampling.method(temperature, top_p)
        config = self.model.config
        kept = self._kept(prompts, max_new_tokens)
        if len(seeds) != len(prompts):
            raise ValueError(f"seeds has {len(seeds)} entries, expected {len(prompts)}, as prompts")
        if stop is None:
            stop = StopTable.build(config.vocab_size, _end_tokens(config))
        elif stop.table.shape[1] != config.vocab_size:
            raise ValueError(
                f"stop is for {stop.table.shape[1]} tokens, expected {config.vocab_size}"
            )
        graphdef, weights = self._fixed or nnx.split(self.model)
        table = jnp.asarray(stop.padded)
        drawn: dict[_Row, Generation] = {}
        for rows in _blocks(kept, seeds, self.max_rows, one_each=method == "greedy"):
            found = decoding.run(
                graphdef,
                weights,
                self._block(kept, rows),
                table,
                np.int32(max_new_tokens),
                np.float32(temperature),
                np.float32(top_p),
                method=method,
                new_size=_length_bucket(max_new_tokens),
            )
            drawn |= zip(rows, _read(found, rows, prompts, kept), strict=True)
        return [
            [drawn[_Row(i, seeds[i][0] if method == "greedy" else seed)] for seed in some]
            for i, some in enumerate(seeds)
        ]

    def _kept(self, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[np.ndarray]:
        """The prompts, checked, without what is cut from their left."""
        config = self.model.config
        if not 1 <= max_new_tokens < config.max_position_embeddings:
            raise ValueError(
                f"max_new_tokens is {max_new_tokens}, expected 1 or more, and below the model's "
                f"max_position_embeddings, {config.max_position_embeddings}"
            )
        limit = Limit(config.max_position_embeddings - max_new_tokens, self.too_long)
        kept = []
        for i, prompt in enumerate(prompts):
            tokens = np.asarray(prompt)
            if tokens.ndim != 1 or not tokens.size or not np.issubdtype(tokens.dtype, np.integer):
                raise ValueError(f"prompts[{i}] is {prompt!r}, expected one token id or more")
            if tokens.min() < 0 or tokens.max() >= config.vocab_size:
                wrong = tokens[(tokens < 0) | (tokens >= config.vocab_size)][0]
                raise ValueError(
                    f"prompts[{i}] holds token {wrong}, expected 0 <= id < {config.vocab_size}"
                )
            kept.append(tokens[limit.excess(f"prompts[{i}]", tokens.size) :])
        return kept

    def _block(self, prompts: Sequence[np.ndarray], rows: Sequence["_Row"]) -> "decoding.Block":
        """Prompts and rows, padded to buckets."""
        places = {i: place for place, i in enumerate(dict.fromkeys(row.prompt for row in rows))}
        mesh = self.model.execution.mesh
        unit = 1 if mesh is None else math.prod(mesh.shape[axis] for axis in BATCH)
        length = _length_bucket(max(prompts[i].size for i in places))
        shape = (_row_bucket(len(places), self.max_rows, unit), length)
        tokens, segments = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        for i, place in places.items():
            tokens[place, length - prompts[i].size :] = prompts[i]
            segments[place, length - prompts[i].size :] = 1
        num_rows = _row_bucket(len(rows), self.max_rows, unit)
        keys = np.zeros((num_rows, 2), np.uint32)
        keys[: len(rows)] = sampling.row_keys([row.seed for row in rows])
        prompt_of = None
        if len(places) < len(rows):
            prompt_of = np.zeros(num_rows, np.int32)
            prompt_of[: len(rows)] = [places[row.prompt] for row in rows]
        block = decoding.Block(tokens, segments, prompt_of, keys, np.arange(num_rows) < len(rows))
        return block if mesh is None else jax.device_put(block, batch_sharding(mesh))


class _Row(NamedTuple):
    prompt: int
    seed: int


def _blocks(
    prompts: Sequence[np.ndarray],
    seeds: Sequence[Sequence[int]],
    max_rows: int,
    *,
    one_each: bool,
) -> list[list[_Row]]:
    """Rows in blocks of up to `max_rows`, the longest prompts first. The rows of a prompt stay
    together unless they are more than a block."""
    blocks: list[list[_Row]] = []
    for i in sorted(range(len(prompts)), key=lambda i: -prompts[i].size):
        some = seeds[i][:1] if one_each else dict.fromkeys(seeds[i])
        if not blocks or len(blocks[-1]) + len(some) > max_rows:
            blocks.append([])
        for seed in some:
            if len(blocks[-1]) == max_rows:
                blocks.append([])
            blocks[-1].append(_Row(i, seed))
    return [block for block in blocks if block]


def _read(found, rows: Sequence[_Row], prompts, kept: Sequence[np.ndarray]) -> list[Generation]:
    """What the block's rows are to be given."""
    tokens, logprobs, lengths, states = map(np.asarray, found)
    replies = []
    for row, *arrays, length, state in zip(rows, tokens, logprobs, lengths, states, strict=False):
        one, logs = (array[:length].copy() for array in arrays)
        if not np.isfinite(logs).all():
            place = int(np.argmin(np.isfinite(logs)))
            raise FloatingPointError(
                f"prompts[{row.prompt}]: the logits of new token {place} are not finite"
            )
        dropped = len(prompts[row.prompt]) - len(kept[row.prompt])
        replies.append(Generation(one, logs, finish(state), dropped))
    return replies


def _end_tokens(config: LlamaConfig) -> tuple[int, ...]:
    found = config.eos_token_id
    if found is None:
        return ()
    return (found,) if isinstance(found, int) else found


def _cpu_rows(model: Llama) -> int:
    config = model.config
    slot = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
    weights = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    return int(np.clip(weights // (slot * _CPU_SLOTS), *_CPU_ROWS))


def _row_bucket(number: int, most: int, unit: int) -> int:
    """The first of 1, 8, 64, ... and `most` that is `number` or more, in multiples of `unit`."""
    size = 1
    while size < number:
        size = min(_ROWS_STEP * size, most)
    return math.ceil(size / unit) * unit


def _length_bucket(length: int) -> int:
    """The first of 16, 32, ..., 128, 160, ..., 256, 320, ... that is `length` or more: four or more
    to an octave."""
    step = max(_STEP, (1 << (length - 1).bit_length()) // 8)
    return math.ceil(length / step) * step
