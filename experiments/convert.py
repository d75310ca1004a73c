"""A Hugging Face folder to a folder of this project's checkpoints, and back.

    python -m experiments.convert --from=Llama-3.2-3B --to=llama
    python -m experiments.convert --from=llama --to=exported

The first holds config.json, safetensors and a tokenizer; the second the same, with the weights in
Orbax's format under nnx/ (see `models.nnx_folder`). What --from holds decides the direction, unless
--format says what to write. --to must not exist, or be empty; it is made whole or not at all. A
Hugging Face folder loads in `transformers`.
"""

import math
import sys
import time
from pathlib import Path

import jax
from absl import app, flags, logging
from flax import nnx

from experiments.progress import Progress
from models import convert, model_folder, nnx_folder
from models.config import DTYPES

_FROM = flags.DEFINE_string("from", None, "Folder to read.", required=True)
_TO = flags.DEFINE_string("to", None, "Folder to write.", required=True)
_FORMAT = flags.DEFINE_enum("format", None, ["hf", "nnx"], "Of --to; default: not that of --from.")
_DTYPE = flags.DEFINE_enum("dtype", None, DTYPES, "Cast the weights to; default: keep them.")
_SHARD = flags.DEFINE_float("max_shard_gib", 1.0, "Largest safetensors file, in GiB.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        sys.exit(f"convert: unexpected argument {argv[1]!r}.")
    logging.set_verbosity(logging.WARNING)
    begin = time.monotonic()
    try:
        if not 0 < _SHARD.value < math.inf:
            raise ValueError(f"--max_shard_gib is {_SHARD.value}, expected a number above 0")
        if not Path(_FROM.value).is_dir():
            raise FileNotFoundError(f"{_FROM.value}: no such folder")
        model_folder.check_absent(_TO.value)
        ours = (Path(_FROM.value) / nnx_folder.WEIGHTS).is_dir()
        model = _load_ours() if ours else _load_hf()
        to = _FORMAT.value or ("hf" if ours else "nnx")
        tokenizer = model_folder.has_tokenizer(_FROM.value)
        source = _FROM.value if tokenizer else None
        if to == "hf":
            size = int(_SHARD.value * 2**30)
            convert.save(model, _TO.value, tokenizer_from=source, max_shard_bytes=size)
        else:
            nnx_folder.save(model, _TO.value, tokenizer_from=source)
    except (ValueError, OSError) as error:
        sys.exit(f"convert: {error}")
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(model)))
    print(
        f"{_TO.value}: {model.config.family}, {count:,} parameters in {model.config.dtype}, "
        f"{'with' if tokenizer else 'without a'} tokenizer, in {time.monotonic() - begin:.1f} s"
    )


def _load_hf():
    shown: list[Progress] = []

    def show(done: int, total: int) -> None:
        if not shown:
            shown.append(Progress("tensors", total))
        shown[0].add()
        if done == total:
            shown[0].end()

    return convert.load(_FROM.value, dtype=_DTYPE.value, progress=show)


def _load_ours():
    return nnx_folder.load(_FROM.value, dtype=_DTYPE.value)


if __name__ == "__main__":
    app.run(main)
