"""One turn of one episode, as the rollout store keeps it."""

import dataclasses

from adapters.protocols import Outcome


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One turn: who was asked in which state, what they did, and what followed.

    Attributes:
      task: name of the task.
      episode: name of the episode, unique in a store: task, who helps, with which probabilities,
        and the seed.
      probabilities: [K] with which each help was triggered in this episode.
      seed: of the episode.
      turn: 0, 1, ... without gaps.
      state_key: of the state the turn began in.
      state_text: what the base actor read there; may be empty.
      decision: 0 nohelp, i help i.
      actor: name of who acted.
      raw: the whole reply.
      action: what was given to the world; None if there was none.
      next_state_key: of the state that followed.
      outcome: of the episode if this turn ended it, else None.
      invalid: the action was not admissible.
      truncated: the reply was cut off.
      error: why there was no reply.
      measures: the world's figures after the turn.
      seconds, input_tokens, output_tokens, retries, cost, cached: as `adapters.protocols.Reply`.
    """

    task: str
    episode: str
    probabilities: tuple[float, ...]
    seed: int
    turn: int
    state_key: str
    state_text: str
    decision: int
    actor: str
    raw: str
    action: str | None
    next_state_key: str
    outcome: Outcome | None = None
    invalid: bool = False
    truncated: bool = False
    error: str | None = None
    measures: dict[str, float] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    retries: int = 0
    cost: float = 0.0
    cached: bool = False
