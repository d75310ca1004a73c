"""Trains a process reward model from rollouts: what `experiments.train_prm` does.

A state's target is the share of its samples that succeeded, its weight their number, at most 4; for
each output by itself (`adapters.prm_data`). A share of the tasks is held out, never single states.
Calibration is fitted on these; they are judged in two halves, each by what was fitted on the other.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from scipy import special

from adapters.encoder import Encoder, members
from adapters.head_folder import BACKBONE, HEAD, HIDDEN
from adapters.json_file import VERSION
from adapters.prm import NAME, Calibration, calibration_json
from adapters.prm_data import Outcomes, Reading, read_outcomes
from adapters.proposals import REPLY
from adapters.rollouts import read_config
from experiments import reliability_plot, tuning
from experiments.run_files import check_settings, compare_settings, or_none, write_json
from experiments.tuning import Tuning
from models.calibration import Isotonic, Temperature, quality, reliability, split_tasks, task_folds
from models.heads import HeadConfig, averaged
from models.lookup import StoredHead
from models.losses import Success
from models.prefixes import Reads
from models.thresholds import difficulty, self_regulation

MOST_SAMPLES = 4  # of one state and output that count
_FIT = {"temperature": Temperature.fit, "isotonic": Isotonic.fit}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a PRM is made from.

    Attributes:
      rollouts: their folders, written with texts; one may hold tasks that the base actor played
        alone.
      backbone: folder of the language model.
      reads: states or actions.
      reply: with states, the base actor's replies in them.
      calibration: its kind.
      held_out: share of the tasks.
      members: decoders of an ensemble, each trained by chance of its own; p is from the mean of
        their logits.
      tuning: how it is trained.
    """

    rollouts: tuple[str, ...]
    backbone: str
    reads: Reading = "state"
    reply: bool = False
    calibration: Literal["temperature", "isotonic"] = "temperature"
    held_out: float = 0.2
    members: int = 1
    tuning: Tuning = dataclasses.field(default_factory=Tuning)


def train_prm(recipe: Recipe, out: pathlib.Path) -> dict[str, Any]:
    """Makes the folder `out`, or goes on with it.

    Returns:
      What prm.json says.

    Raises:
      OSError, ValueError: the rollouts or the language model are not as expected, or `out` was
        begun with another recipe.
      DivergedError: as `models.training.train`.
    """
    if recipe.reply and recipe.reads != "state":
        raise ValueError("--action and --reply are both given, expected one of them")
    outcomes = read_outcomes(*recipe.rollouts, reads=recipe.reads, reply=recipe.reply)
    held = _held_out(outcomes, recipe)
    style, helps = _style_and_helps(recipe.rollouts, outcomes)
    style += REPLY if recipe.reply else ""
    backbones = [tuning.load_backbone(one, recipe.tuning) for one in _backbones(recipe)]
    texts, learnt = ([outcomes.text[i] for i in np.flatnonzero(chosen)] for chosen in (held, ~held))
    settings = out / "settings.json", dataclasses.asdict(recipe)
    compare_settings(*settings)
    for backbone in backbones:
        tuning.check_lengths(backbone, texts, "held out")
    heads, by_decoder = [], []
    for member, backbone in enumerate(backbones):
        run = out / "run"
        if recipe.members > 1:
            print(f"decoder {member + 1} of {recipe.members}", flush=True)
            run /= str(member)
        how = dataclasses.replace(recipe.tuning, seed=recipe.tuning.seed * recipe.members + member)
        head = tuning.tune(
            backbone,
            HeadConfig("success", len(helps), inner_size=how.inner_size(backbone)),
            learnt,
            _reads(outcomes, ~held),
            Success(),
            how,
            run,
            bias=_base_rates(outcomes, ~held),
            begin=functools.partial(check_settings, *settings),
        )
        heads.append(head)
        by_decoder.append(tuning.hidden_states(backbone, texts, how, run))
    head = averaged(heads, [one.shape[1] for one in by_decoder])
    hidden = np.concatenate(by_decoder, axis=1)
    judged = _judge(outcomes, held, StoredHead(head)(hidden), recipe)
    tuning.save_backbones(backbones, out / BACKBONE, recipe.tuning)
    if recipe.tuning.tune != "head":  # else they are kept already
        encoder = Encoder.load(out / BACKBONE, too_long=recipe.tuning.too_long)
        encoder.learn(texts, hidden)
        encoder.save(out / HIDDEN)
    head.save(out / HEAD)
    names = ["nohelp", *helps]
    reliability_plot.draw(
        out / "reliability.png",
        {name: reliability(*pair) for name, pair in zip(names, judged.pairs, strict=True)},
        title="Held-out tasks",
    )
    values = {
        "version": VERSION,
        "style": style,
        "too_long": recipe.tuning.too_long,
        "helps": helps,
        "reads": recipe.reads,
        "calibration": [calibration_json(one) for one in judged.calibration],
        "quality": {"validation": dict(zip(names, judged.quality, strict=True))},
        "self_regulation": judged.self_regulation,
    }
    write_json(out / NAME, values)
    return values


@dataclasses.dataclass(frozen=True)
class _Judged:
    """What held-out tasks say.

    Attributes:
      calibration: of each output, fitted on all of them.
      quality: of each output; see the module.
      pairs: of each output, the probabilities and outcomes behind it.
      self_regulation: at its best threshold on them; None where actions are read.
    """

    calibration: list[Calibration]
    quality: list[dict[str, Any]]
    pairs: list[tuple[np.ndarray, np.ndarray]]
    self_regulation: dict[str, float | None] | None


def _backbones(recipe: Recipe) -> list[pathlib.Path]:
    """Folders of the decoders that training begins with.

    Raises:
      ValueError: an ensemble cannot be made so.
    """
    folder = pathlib.Path(recipe.backbone)
    if recipe.tuning.tune == "head":
        if recipe.members > 1:
            raise ValueError(
                f"--members is {recipe.members} with --tune=head, expected 1: the decoders are "
                "not trained"
            )
        return [folder]
    given = members(folder)
    return [given[i % len(given)] for i in range(recipe.members)]


def _held_out(outcomes: Outcomes, recipe: Recipe) -> np.ndarray:
    """Which states are held out, bool [S]."""
    number = len(set(outcomes.task))
    if number < 4:
        raise ValueError(f"{_named(recipe)}: {number} tasks, expected 4 or more to hold some out")
    share = max(recipe.held_out, 2 / number)
    return split_tasks(outcomes.task, share, seed=recipe.tuning.seed)


def _named(recipe: Recipe) -> str:
    return ", ".join(recipe.rollouts)


def _style_and_helps(rollouts: Sequence[str], outcomes: Outcomes) -> tuple[str, list[str]]:
    """The style of the texts, and the names of the helps that the outputs are of.

    Raises:
      ValueError: the folders were played by others, or have texts of another style.
    """
    first, *others = [read_config(one) for one in rollouts]
    for name, config in zip(rollouts[1:], others, strict=True):
        for key in ("actor", "interventions", "style"):
            if config.get(key) != first.get(key):
                raise ValueError(
                    f"{name}: {key} is {config.get(key)!r}, expected {first.get(key)!r} as in "
                    f"{rollouts[0]}"
                )
    number = outcomes.tried.shape[1] - 1
    helps = [one.get("name") for one in first.get("interventions", [])][:number]
    return first.get("style", "full"), helps or [f"help {i + 1}" for i in range(number)]


def _reads(outcomes: Outcomes, chosen: np.ndarray) -> Reads:
    return Reads(
        np.arange(np.count_nonzero(chosen)),
        outcomes.share[chosen].astype(np.float32),
        outcomes.weight(MOST_SAMPLES)[chosen].astype(np.float32),
    )


def _base_rates(outcomes: Outcomes, chosen: np.ndarray) -> np.ndarray:
    """Logits of the mean outcomes, [O]: where training begins."""
    weight = outcomes.weight(MOST_SAMPLES)[chosen]
    mean = (weight * outcomes.share[chosen]).sum(0) / np.maximum(weight.sum(0), 1)
    return special.logit(np.clip(mean, 0.01, 0.99))


def _judge(outcomes: Outcomes, held: np.ndarray, logits: np.ndarray, recipe: Recipe) -> _Judged:
    fit = _FIT[recipe.calibration]
    tasks = [outcomes.task[i] for i in np.flatnonzero(held)]
    fold = task_folds(tasks, 2, seed=recipe.tuning.seed)
    found = _Judged([], [], [], None)
    for output, column in enumerate(logits.T):
        times = outcomes.weight(MOST_SAMPLES)[held, output]
        where = np.repeat(np.arange(len(column)), times)
        x, y, half = column[where], outcomes.share[held, output][where], fold[where]
        if set(half.tolist()) != {0, 1}:
            raise ValueError(
                f"{_named(recipe)}: output {output} was tried in too few of the {len(set(tasks))} "
                "tasks that are held out, expected more tasks"
            )
        p = np.empty(len(x))
        for i in (0, 1):
            p[half == i] = fit(x[half != i], y[half != i])(x[half == i])
        p = np.clip(p, 0, 1)
        judged = quality(p, y)
        found.calibration.append(fit(x, y))
        found.pairs.append((p, y))
        found.quality.append(
            or_none(dict(auroc=judged.auroc, ece=judged.ece, brier=judged.brier))
            | dict(states=int(np.count_nonzero(times)), tasks=len(set(np.array(tasks)[where])))
        )
    if recipe.reads == "action":
        return found
    return dataclasses.replace(
        found, self_regulation=_self_regulation(outcomes, held, found.calibration[0](logits[:, 0]))
    )


def _self_regulation(
    outcomes: Outcomes, held: np.ndarray, probabilities: np.ndarray
) -> dict[str, float | None] | None:
    """Of the base actor alone in the tasks held out; None where it never played so."""
    episodes = [one for one in outcomes.alone if held[one.states[0]]]
    if not episodes:
        return None
    p = np.full(len(held), np.nan)
    p[held] = probabilities
    # What follows the last turn, the state that has ended, is left out in any case.
    scores: Sequence[np.ndarray] = [np.append(p[one.states], np.nan) for one in episodes]
    found = self_regulation(difficulty(scores), [one.success for one in episodes])
    return or_none(found._asdict()) | {"episodes": len(episodes)}
