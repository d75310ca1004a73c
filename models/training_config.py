"""How a model is trained: steps, learning rates, the optimizer, checkpoints."""

import dataclasses
import functools
import math
from typing import Literal

import jax
import optax


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """AdamW with warmup, clipping by the global norm, and checkpoints.

    Attributes:
      steps: updates.
      learning_rate: at its peak.
      warmup_steps: over which it grows linearly from 0.
      schedule: how it falls after that, to `final_share` of the peak at the last step.
      final_share: 0..1.
      weight_decay: of matrices; norms and biases have none.
      beta1, beta2, epsilon: of Adam.
      clip_norm: gradients with a larger norm are scaled down to it; None does not.
      part_tokens: a batch is computed in parts of at most so many tokens, padding included, one
        after the other, and their gradients are added up: it takes less memory, and on a CPU, whose
        caches a part fits, less time. A part has one row at least. None: 1,024 on a CPU, elsewhere
        the whole batch.
      checkpoint_every: steps between checkpoints; one is written at the end too.
      keep: latest checkpoints that are kept.
      explode_ratio: training stops where the mean loss of ten steps exceeds this many times that
        of the first ten, or where what was learnt is lost again, see `models.explosion`; None does
        not.
    """

    steps: int
    learning_rate: float
    warmup_steps: int = 0
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    final_share: float = 0.0
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    clip_norm: float | None = 1.0
    part_tokens: int | None = None
    checkpoint_every: int = 500
    keep: int = 2
    explode_ratio: float | None = 10.0

    def __post_init__(self):
        for name in ("steps", "warmup_steps", "checkpoint_every", "keep"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError(f"{name} is {value!r}, expected a whole number")
        for name, low in (("steps", 1), ("checkpoint_every", 1), ("keep", 1)):
            if getattr(self, name) < low:
                raise ValueError(f"{name} is {getattr(self, name)}, expected {low} or more")
        if self.part_tokens is not None and self.part_tokens < 1:
            raise ValueError(f"part_tokens is {self.part_tokens}, expected 1 or more, or None")
        if not 0 <= self.warmup_steps <= self.steps:
            raise ValueError(f"warmup_steps is {self.warmup_steps}, expected 0..{self.steps}")
        if self.schedule not in ("cosine", "linear", "constant"):
            raise ValueError(
                f"schedule is {self.schedule!r}, expected 'cosine', 'linear' or 'constant'"
            )
        for name in ("learning_rate", "epsilon"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a number above 0")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay is {self.weight_decay}, expected 0 or a number above 0")
        if not 0 <= self.final_share <= 1:
            raise ValueError(f"final_share is {self.final_share}, expected 0..1")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more, below 1")
        for name in ("clip_norm", "explode_ratio"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}, expected a number above 0 or None")

    def learning_rates(self) -> optax.Schedule:
        """Step, from 0, -> learning rate."""
        peak, final = self.learning_rate, self.learning_rate * self.final_share
        rest = max(self.steps - self.warmup_steps, 1)
        fall = {
            "cosine": optax.cosine_decay_schedule(peak, rest, self.final_share),
            "linear": optax.linear_schedule(peak, final, rest),
            "constant": optax.constant_schedule(peak),
        }[self.schedule]
        if not self.warmup_steps:
            return fall
        # The first step is not at 0: it would teach nothing.
        warmup = optax.linear_schedule(peak / self.warmup_steps, peak, self.warmup_steps - 1)
        return optax.join_schedules([warmup, fall], [self.warmup_steps])

    def optimizer(self) -> optax.GradientTransformation:
        """Its updates are for a learning rate of 1. Configs that differ in rates and steps alone
        have the same one, so that they share a compiled step."""
        return _optimizer(self.weight_decay, self.beta1, self.beta2, self.epsilon, self.clip_norm)


@functools.cache
def _optimizer(
    weight_decay: float, beta1: float, beta2: float, epsilon: float, clip: float | None
) -> optax.GradientTransformation:
    return optax.chain(
        optax.identity() if clip is None else optax.clip_by_global_norm(clip),
        optax.adamw(
            1.0,
            b1=beta1,
            b2=beta2,
            eps=epsilon,
            weight_decay=weight_decay,
            mask=functools.partial(jax.tree.map, lambda weight: weight.ndim >= 2),
        ),
    )
