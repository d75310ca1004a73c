"""What the scripts that train heads on a language model share: how they train, and what they write.

--tune says what is trained:

    full    the decoder and the head
    lora    low-rank adapters of the decoder, merged into it in the end, and the head; the adapters
            alone, as they were added to --backbone, are in run/adapters.safetensors
            (`models.lora.load`)
    head    the head alone. The hidden states are computed once, and training takes seconds; with
            --stored=FILE they are kept for other trainings on the same decoder.

The amount of training is a budget of tokens, which the decoder passes over. With full and lora they
are the tokens of all updates; texts are drawn at random as far as the budget goes, and come again
if it goes further. With head they are those of the texts that are passed over once. A text that
another one begins with costs nothing.

On several frozen decoders, an ensemble (`adapters.encoder`), a head is trained on each with its
share of the updates' texts, and what is made of them says the mean.
"""

import dataclasses
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from absl import flags
from flax import nnx

from adapters.encoder import Encoder, members
from experiments import stored_states
from experiments.shown_training import check_decay, check_rate, train_shown
from models import convert, lora
from models.documents import Limit
from models.heads import Head, HeadConfig, HeadedLlama, averaged
from models.llama import Llama
from models.lookup import Lookup, lookup_documents
from models.losses import Loss
from models.model_folder import TOKENIZER_FILES, atomic_folder
from models.packing import Packing
from models.prefixes import Reads, broken, chains, prefix_documents
from models.tokenizer import Tokenizer
from models.training_config import TrainingConfig

_TOKENS = {"full": 400_000, "lora": 400_000, "head": 2_000_000}
_RATES = {"full": 1e-3, "lora": 1e-3, "head": 3e-3}
# With --tune=head: updates, how often each text is read in them, and reads at most in all.
_HEAD_STEPS, _HEAD_TIMES, _HEAD_READS = 300, 40, 10_000_000
_WARMUP = 0.05  # share of the steps
_AT_ONCE = 4096  # texts that are tokenised together


@dataclasses.dataclass(frozen=True)
class Tuning:
    """How a head, and perhaps its decoder, is trained.

    Attributes:
      tune: see the module.
      tokens: the budget; None is 400,000, and 2,000,000 for head.
      batch: tokens of an update, for full and lora.
      rate: learning rate at its peak; None is 1e-3, and 3e-3 for head.
      decay: weight decay.
      inner: width of the head's inner layer; None is none, and the decoder's for head.
      rank: of the adapters.
      alpha: of the adapters, whose output is scaled by alpha / rank; None is twice the rank.
      targets: of the decoder's matrices, those with an adapter; None is those of its attention.
      too_long: "refuse" texts that are longer than the model is meant for, or "truncate" them on
        the left.
      stored: file of hidden states, for head; None is one in the run's folder.
      save_every: steps between checkpoints.
      seed: of weights and order.
    """

    tune: Literal["full", "lora", "head"] = "full"
    tokens: int | None = None
    batch: int = 4096
    rate: float | None = None
    decay: float = 0.01
    inner: int | None = None
    rank: int = 16
    alpha: float | None = None
    targets: tuple[str, ...] | None = None
    too_long: Literal["refuse", "truncate"] = "refuse"
    stored: str | None = None
    save_every: int = 100
    seed: int = 0

    def __post_init__(self):
        if self.rate is not None:
            check_rate(self.rate)
        check_decay(self.decay)
        self.lora_config()

    def lora_config(self) -> lora.LoraConfig:
        """Of the adapters."""
        alpha = 2.0 * self.rank if self.alpha is None else self.alpha
        targets = {} if self.targets is None else {"targets": tuple(self.targets)}
        return lora.LoraConfig(self.rank, alpha, **targets)

    @property
    def budget(self) -> int:
        """Tokens."""
        return self.tokens or _TOKENS[self.tune]

    def inner_size(self, backbone: "Backbone", *, needed: bool = False) -> int | None:
        """Of the head; `needed` is whether it is to have an inner layer in any case."""
        if self.inner is None and (needed or self.tune == "head"):
            return backbone.model.config.hidden_size
        return self.inner


def define_flags(tune: str) -> None:
    """Defines the flags of a `Tuning`, as the caller's own; `tune` is the default of --tune."""
    flags.disclaim_key_flags()
    default = Tuning()
    flags.DEFINE_enum("tune", tune, ["full", "lora", "head"], "What is trained.")
    flags.DEFINE_integer(
        "tokens", None, "Budget of tokens. [400,000; 2,000,000 with --tune=head]", lower_bound=1
    )
    flags.DEFINE_integer("batch", default.batch, "Tokens of an update.", lower_bound=1)
    flags.DEFINE_float("rate", None, "Learning rate at its peak. [1e-3; 3e-3 for head]")
    flags.DEFINE_float("decay", default.decay, "Weight decay.")
    flags.DEFINE_integer(
        "inner", None, "Width of the head's inner layer. [none; the decoder's for head]", 1
    )
    flags.DEFINE_integer("rank", default.rank, "Of the adapters, with --tune=lora.", lower_bound=1)
    flags.DEFINE_float("alpha", None, "Scales the adapters by alpha / rank. [twice the rank]")
    flags.DEFINE_list("targets", None, "Matrices with an adapter. [q_proj,k_proj,v_proj,o_proj]")
    flags.DEFINE_enum(
        "too_long", default.too_long, ["refuse", "truncate"], "What becomes of longer texts."
    )
    flags.DEFINE_string("stored", None, "File of hidden states, for --tune=head. [OUT/run/...]")
    flags.DEFINE_integer("save_every", default.save_every, "Steps between checkpoints.", 1)
    flags.DEFINE_integer("seed", default.seed, "Of weights, order and tasks.", lower_bound=0)


def from_flags() -> Tuning:
    """The `Tuning` that the flags say.

    Raises:
      ValueError: a rate is out of range; names the flag.
    """
    values = flags.FLAGS
    return Tuning(**{field.name: values[field.name].value for field in dataclasses.fields(Tuning)})


class Backbone(NamedTuple):
    """A decoder from a folder, or several where none is trained.

    Attributes:
      folder: where it is.
      model: in float32 where it is trained; the first where there are several.
      tokenizer: its.
      limit: of texts.
      frozen: its hidden states, where it is not trained.
    """

    folder: pathlib.Path
    model: Llama
    tokenizer: Tokenizer
    limit: Limit
    frozen: Encoder | None


def load_backbone(folder: str | pathlib.Path, tuning: Tuning) -> Backbone:
    """The decoder in a Hugging Face folder; with --tune=head also several, see `adapters.encoder`.

    Raises:
      OSError, ValueError: as `models.convert.load` and `models.tokenizer.Tokenizer.load`; also
        where there are several, and one is to be trained.
    """
    folder = pathlib.Path(folder)
    found = members(folder)
    if not (found[0] / "config.json").exists():
        raise ValueError(f"{folder}: no config.json there, expected a model's folder")
    if tuning.tune == "head":
        encoder = Encoder.load(folder, too_long=tuning.too_long)
        return Backbone(folder, encoder.backbones[0], encoder.tokenizer, encoder.limit, encoder)
    if found != [folder]:
        raise ValueError(f"{folder}: {len(found)} decoders, expected one of them, or --tune=head")
    model = convert.load(folder, dtype="float32" if tuning.tune == "full" else None)
    tokenizer = Tokenizer.load(folder, vocab_size=model.config.vocab_size)
    limit = Limit(model.config.max_position_embeddings, tuning.too_long)
    return Backbone(folder, model, tokenizer, limit, None)


def hidden_states(
    backbone: Backbone, texts: Sequence[str], tuning: Tuning, folder: pathlib.Path
) -> np.ndarray:
    """[N, D] of the texts; those of a frozen decoder are kept in a file.

    Args:
      backbone: as it is now.
      texts: N.
      tuning: may name the file.
      folder: of the run.

    Raises:
      OSError, ValueError: the file is not as expected, or a text is too long and is refused.
    """
    encoder = backbone.frozen
    if encoder is None:
        return Encoder([backbone.model], backbone.tokenizer, backbone.limit)(texts)
    return stored_states.hidden_states(
        encoder, texts, tuning.stored or folder / "hidden.safetensors"
    )


def tune(
    backbone: Backbone,
    config: HeadConfig,
    texts: Sequence[str],
    reads: Reads,
    loss: Loss,
    tuning: Tuning,
    folder: pathlib.Path,
    *,
    bias: Sequence[float] | None = None,
    begin: Callable[[], None] = lambda: None,
) -> Head:
    """Trains a head, and the decoder in place; goes on where a run in `folder` was stopped.

    Args:
      backbone: the decoder.
      config: of the head.
      texts: of which the budget takes as many as it can, drawn at random.
      reads: what is learnt of them.
      loss: what is minimised.
      tuning: how.
      folder: of the run.
      bias: of the head's outputs to begin with, [num_outputs]; None is 0.
      begin: called once all is checked, before anything is written.

    Raises:
      ValueError: a text is too long and is refused; or as `models.training.train`.
      DivergedError: as there.
    """
    tokens = _tokenised(texts, backbone)
    chosen = _within(tokens, tuning)
    texts, tokens = [texts[i] for i in chosen], [tokens[i] for i in chosen]
    reads = _of_texts(reads, chosen)
    _check_lengths(backbone, texts, tokens, "to learn from")
    if tuning.tune == "head":
        return _tune_head(backbone, config, texts, reads, loss, tuning, folder, bias, begin)
    rngs = nnx.Rngs(tuning.seed)
    head = _new_head(config, backbone.model.config.hidden_size, bias, rngs)
    names = [f"text {text[:60]!r}..." for text in texts]
    documents, _ = prefix_documents(tokens, reads, limit=backbone.limit, names=names)
    packing = Packing(documents, batch_tokens=tuning.batch, seed=tuning.seed)
    if tuning.tune == "lora":
        lora.add(backbone.model, tuning.lora_config(), rngs=rngs)
    begin()
    _train(HeadedLlama(backbone.model, head), packing, loss, tuning, tuning.budget, folder)
    if tuning.tune == "lora":
        lora.save(backbone.model, folder / "adapters.safetensors")
        lora.merge(backbone.model)
    return head


def _tune_head(
    backbone: Backbone,
    config: HeadConfig,
    texts: Sequence[str],
    reads: Reads,
    loss: Loss,
    tuning: Tuning,
    folder: pathlib.Path,
    bias: Sequence[float] | None,
    begin: Callable[[], None],
) -> Head:
    """A head on each of the frozen decoders, and the average of them."""
    hidden = hidden_states(backbone, texts, tuning, folder)
    configs = [one.config for one in backbone.frozen.backbones]
    ends = np.cumsum([one.hidden_size for one in configs])
    documents = lookup_documents(reads, len(texts), seed=tuning.seed)
    times = min(_HEAD_TIMES, _HEAD_READS / len(reads.text)) / len(configs)
    amount = round(times * len(texts))
    packing = Packing(documents, batch_tokens=amount // _HEAD_STEPS or 1, seed=tuning.seed)
    begin()
    heads = []
    for member, (one, end) in enumerate(zip(configs, ends, strict=True)):
        rngs = nnx.Rngs(tuning.seed * len(configs) + member)
        head = _new_head(config, one.hidden_size, bias, rngs)
        model = HeadedLlama(Lookup(one, hidden[:, end - one.hidden_size : end]), head)
        run = folder / str(member) if len(configs) > 1 else folder
        _train(model, packing, loss, tuning, amount, run)
        heads.append(head)
    return averaged(heads, [one.hidden_size for one in configs])


def _new_head(
    config: HeadConfig, hidden_size: int, bias: Sequence[float] | None, rngs: nnx.Rngs
) -> Head:
    head = Head(config, hidden_size, rngs=rngs)
    if bias is not None:
        head.outer.bias[...] = np.asarray(bias, np.float32)
    return head


def save_backbones(backbones: Sequence[Backbone], folder: pathlib.Path, tuning: Tuning) -> None:
    """Writes the decoders, where they are not there yet; as they were, byte for byte, if they were
    frozen."""
    if folder.exists():
        return
    if tuning.tune != "head" and len(backbones) == 1:
        convert.save(backbones[0].model, folder, tokenizer_from=backbones[0].folder)
        return
    with atomic_folder(folder) as partial:
        if tuning.tune != "head":
            for i, one in enumerate(backbones):
                convert.save(one.model, partial / str(i), tokenizer_from=one.folder)
            return
        for path in sorted(backbones[0].folder.rglob("*")):
            name = path.relative_to(backbones[0].folder)
            suffixes = (".safetensors", ".safetensors.index.json")
            if path.name in ("config.json", *TOKENIZER_FILES) or path.name.endswith(suffixes):
                (partial / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(path, partial / name)


def check_lengths(backbone: Backbone, texts: Sequence[str], what: str) -> None:
    """Says how many of the texts are truncated, where they may be, and how many are the beginning
    of another one, but not in tokens (`models.prefixes.broken`), if any are.

    Args:
      backbone: that reads them.
      texts: N.
      what: they are for.

    Raises:
      ValueError: one is too long and is refused; names it.
    """
    _check_lengths(backbone, texts, _tokenised(texts, backbone), what)


def _check_lengths(
    backbone: Backbone, texts: Sequence[str], tokens: Sequence[Sequence[int]], what: str
) -> None:
    limit = dataclasses.replace(backbone.limit, truncated=0)  # the decoder's own counts its passes
    for text, own in zip(texts, tokens, strict=True):
        limit.excess(f"text {text[:60]!r}...", len(own))
    if limit.too_long == "truncate":
        print(f"{limit.truncated:,} of {len(texts):,} texts {what} are truncated", flush=True)
    if count := broken(texts, tokens):
        print(
            f"{count:,} of {len(texts):,} texts {what} begin another one, but their tokens do not: "
            "each costs a pass of its own",
            flush=True,
        )


def _tokenised(texts: Sequence[str], backbone: Backbone) -> list[list[int]]:
    parts = (texts[i : i + _AT_ONCE] for i in range(0, len(texts), _AT_ONCE))
    return [tokens for part in parts for tokens in backbone.tokenizer.encode(part)]


def _within(tokens: Sequence[Sequence[int]], tuning: Tuning) -> np.ndarray:
    """Places of the texts that are trained on, ascending; with a text all of its prefixes."""
    groups = chains(tokens)
    order = np.random.default_rng([tuning.seed, 2]).permutation(len(groups))
    total = np.cumsum([len(tokens[groups[i][-1]]) for i in order])
    number = max(np.searchsorted(total, tuning.budget, "right"), 1)
    return np.sort(np.concatenate([groups[i] for i in order[:number]]))


def _of_texts(reads: Reads, chosen: np.ndarray) -> Reads:
    """The reads of some of the texts."""
    place = np.searchsorted(chosen, reads.text)
    kept = chosen[np.minimum(place, len(chosen) - 1)] == reads.text
    rest = (None if values is None else np.asarray(values)[kept] for values in reads[1:])
    return Reads(place[kept], *rest)


def _train(
    model: HeadedLlama,
    packing: Packing,
    loss: Loss,
    tuning: Tuning,
    amount: int,
    folder: pathlib.Path,
) -> None:
    """Trains on so many tokens, and shows how it goes."""
    tokens = sum(len(document.tokens) for document in packing.documents)
    steps = max(round(amount / tokens * packing.batches_per_epoch), 1)
    config = TrainingConfig(
        steps,
        _RATES[tuning.tune] if tuning.rate is None else tuning.rate,
        warmup_steps=round(_WARMUP * steps),
        final_share=0.05,
        weight_decay=tuning.decay,
        checkpoint_every=tuning.save_every,
    )
    what = "stored texts" if tuning.tune == "head" else "tokens"
    times = steps / packing.batches_per_epoch
    print(f"{tokens:,} {what}, each {times:.2f} times, in {steps:,} steps", flush=True)
    train_shown(model, packing, loss, config, folder, unit=what)
