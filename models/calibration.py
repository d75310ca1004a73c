"""How good probabilities are, and how to make them better on held-out tasks.

Fit on tasks that the model was not trained on, judge on others: states of one task are alike, so
data are split by task, never by state (`split_tasks`, `task_folds`).

    ECE    sum_b (n_b / N) |mean outcome - mean probability| in bin b
    Brier  mean (p - y)^2
    AUROC  P(p of a success > p of a failure), ties count half

Outcomes y may be soft: a known or estimated p(s) in 0..1 gives the ECE and AUROC against the truth.
"""

import dataclasses
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special


class Reliability(NamedTuple):
    """What a reliability plot shows: one entry a bin that is not empty.

    Attributes:
      probability: mean predicted, float [B], ascending.
      outcome: mean observed, float [B].
      count: int [B].
    """

    probability: np.ndarray
    outcome: np.ndarray
    count: np.ndarray


class Quality(NamedTuple):
    """See the module."""

    auroc: float
    ece: float
    brier: float
    nll: float


@dataclasses.dataclass(frozen=True)
class Temperature:
    """p = sigmoid(logit / temperature).

    Attributes:
      temperature: above 0; above 1 makes predictions less sure.
    """

    temperature: float

    def __post_init__(self):
        if not 0 < self.temperature < np.inf:
            raise ValueError(f"temperature is {self.temperature}, expected a number above 0")

    @classmethod
    def fit(cls, logits: ArrayLike, outcomes: ArrayLike) -> "Temperature":
        """The temperature, 0.01 to 100, of the least cross-entropy.

        Args:
          logits: float [N].
          outcomes: float [N] in 0..1.

        Raises:
          ValueError: there are none, the shapes differ, or one is out of range.
        """
        logits, outcomes = _checked(logits, outcomes, "logits", -np.inf, np.inf)

        def cross_entropy(log_temperature: float) -> float:
            scaled = logits / np.exp(log_temperature)
            return np.mean(np.logaddexp(0, scaled) - outcomes * scaled)

        bounds = np.log(0.01), np.log(100)
        found = optimize.minimize_scalar(cross_entropy, bounds=bounds, method="bounded")
        return cls(float(np.exp(found.x)))

    def __call__(self, logits: ArrayLike) -> np.ndarray:
        """Probabilities."""
        return special.expit(np.asarray(logits, float) / self.temperature)


@dataclasses.dataclass(frozen=True)
class Isotonic:
    """The non-decreasing function of least squared error, linear between the points fitted.

    Attributes:
      scores: ascending, without repeats.
      probabilities: at the scores, ascending; constant beyond the first and the last.
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self):
        scores, p = np.asarray(self.scores, float), np.asarray(self.probabilities, float)
        if scores.ndim != 1 or not scores.size or scores.shape != p.shape:
            raise ValueError(
                f"scores {scores.shape} and probabilities {p.shape}, expected as many, one or more"
            )
        if not (np.all(np.isfinite(scores)) and np.all(np.diff(scores) > 0)):
            raise ValueError(f"scores are {self.scores}, expected finite and ascending numbers")
        # A mean of outcomes may leave 0..1 by its last bit.
        if not (np.all(np.diff(p) >= 0) and np.all((p >= -1e-9) & (p <= 1 + 1e-9))):
            raise ValueError(f"probabilities are {self.probabilities}, expected ascending in 0..1")

    @classmethod
    def fit(cls, scores: ArrayLike, outcomes: ArrayLike) -> "Isotonic":
        """By pooling adjacent violators. Needs more data than a temperature.

        Args:
          scores: float [N], logits or probabilities.
          outcomes: float [N] in 0..1.

        Raises:
          ValueError: there are none, the shapes differ, or one is out of range.
        """
        scores, outcomes = _checked(scores, outcomes, "scores", -np.inf, np.inf)
        points, where, counts = np.unique(scores, return_inverse=True, return_counts=True)
        means = np.bincount(where, weights=outcomes) / counts
        pooled = optimize.isotonic_regression(means, weights=counts).x
        # Inside a run of equal values only its two ends are needed.
        inner = np.zeros(len(points), bool)
        inner[1:-1] = (pooled[1:-1] == pooled[:-2]) & (pooled[1:-1] == pooled[2:])
        return cls(tuple(points[~inner].tolist()), tuple(pooled[~inner].tolist()))

    def __call__(self, scores: ArrayLike) -> np.ndarray:
        """Probabilities."""
        return np.interp(np.asarray(scores, float), self.scores, self.probabilities)


def quality(probabilities: ArrayLike, outcomes: ArrayLike, *, bins: int = 15) -> Quality:
    """AUROC, ECE, Brier score and mean cross-entropy; see `auroc` and `ece`.

    Args:
      probabilities: float [N] in 0..1.
      outcomes: float [N] in 0..1.
      bins: of the ECE.
    """
    p, y = _checked(probabilities, outcomes, "probabilities", 0, 1)
    nll = -np.mean(special.xlogy(y, p) + special.xlog1py(1 - y, -p))
    return Quality(auroc(p, y), ece(p, y, bins=bins), float(np.mean((p - y) ** 2)), float(nll))


def auroc(scores: ArrayLike, outcomes: ArrayLike) -> float:
    """Area under the ROC curve; nan where all outcomes are the same.

    A soft outcome y counts as y successes and 1 - y failures with the same score.
    """
    scores, y = _checked(scores, outcomes, "scores", -np.inf, np.inf)
    points, where = np.unique(scores, return_inverse=True)
    successes = np.bincount(where, weights=y, minlength=len(points))
    failures = np.bincount(where, weights=1 - y, minlength=len(points))
    below = np.cumsum(failures) - failures
    pairs = successes.sum() * failures.sum()
    return float(successes @ (below + failures / 2) / pairs) if pairs else float("nan")


def ece(probabilities: ArrayLike, outcomes: ArrayLike, *, bins: int = 15) -> float:
    """Expected calibration error over bins of equal counts."""
    found = reliability(probabilities, outcomes, bins=bins)
    gaps = np.abs(found.outcome - found.probability)
    return float(found.count @ gaps / found.count.sum())


def reliability(
    probabilities: ArrayLike, outcomes: ArrayLike, *, bins: int = 15, equal_width: bool = False
) -> Reliability:
    """Predicted against observed means in bins.

    Args:
      probabilities: float [N] in 0..1.
      outcomes: float [N] in 0..1.
      bins: at most this many.
      equal_width: bins of equal width in 0..1, in place of equal counts. Equal probabilities are
        always in one bin.
    """
    p, y = _checked(probabilities, outcomes, "probabilities", 0, 1)
    if bins < 1:
        raise ValueError(f"bins is {bins}, expected 1 or more")
    if equal_width:
        place = np.minimum((p * bins).astype(int), bins - 1)
    else:
        place = np.searchsorted(np.sort(p), p) * bins // len(p)
    count = np.bincount(place, minlength=bins)
    used = count > 0
    count = count[used]
    return Reliability(
        np.bincount(place, weights=p, minlength=bins)[used] / count,
        np.bincount(place, weights=y, minlength=bins)[used] / count,
        count,
    )


def split_tasks(tasks: Sequence[Hashable], share: float, *, seed: int = 0) -> np.ndarray:
    """Which states are held out, bool [N]: all those of a share of the tasks.

    Args:
      tasks: the task of each state, [N].
      share: of the tasks, rounded; both sides get one at least.
      seed: which tasks they are.

    Raises:
      ValueError: there are fewer than two tasks, or share is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ValueError(f"share is {share}, expected a number between 0 and 1")
    order, of_state = _shuffled_tasks(tasks, 2, seed)
    held = min(max(round(share * len(order)), 1), len(order) - 1)
    return np.isin(of_state, order[:held])


def task_folds(tasks: Sequence[Hashable], folds: int, *, seed: int = 0) -> np.ndarray:
    """The fold of each state, int [N] in 0..folds-1: all states of a task have the same one.

    Raises:
      ValueError: there are fewer tasks than folds, or fewer than two folds.
    """
    if folds < 2:
        raise ValueError(f"folds is {folds}, expected 2 or more")
    order, of_state = _shuffled_tasks(tasks, folds, seed)
    fold_of_task = np.empty(len(order), int)
    fold_of_task[order] = np.arange(len(order)) % folds
    return fold_of_task[of_state]


def _shuffled_tasks(tasks, least: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A random order of the tasks, [tasks], and each state's task, [N], as numbers.

    Tasks are numbered as they first occur.
    """
    numbers: dict[Hashable, int] = {}
    of_state = np.array([numbers.setdefault(task, len(numbers)) for task in tasks], int)
    if len(numbers) < least:
        raise ValueError(f"{len(numbers)} tasks, expected {least} or more")
    return np.random.default_rng(seed).permutation(len(numbers)), of_state


def _checked(values, outcomes, name: str, low: float, high: float):
    values, outcomes = np.asarray(values, float), np.asarray(outcomes, float)
    if values.ndim != 1 or values.shape != outcomes.shape:
        raise ValueError(f"{name} {values.shape} and outcomes {outcomes.shape}, expected both [N]")
    if not values.size:
        raise ValueError(f"no {name}, expected one or more")
    for what, array, least, most in (
        (name, values, low, high),
        ("outcomes", outcomes, 0, 1),
    ):
        wrong = np.flatnonzero(~(np.isfinite(array) & (array >= least) & (array <= most)))
        if wrong.size:
            expected = "a finite number" if np.isinf(least) else f"{least}..{most}"
            raise ValueError(f"{what}[{wrong[0]}] is {array[wrong[0]]}, expected {expected}")
    return values, outcomes
