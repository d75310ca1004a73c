"""Which failed calls to try again, and how long to wait first.

Tried again is what may pass: too many requests (429), a server's own errors (5xx), conflicts and
timeouts (408, 409), no answer in time, a connection that drops, a body that is cut off or is no
chat completion. Not tried again is what would fail again: a request or a key that the server
refuses (400, 401, 403, 404, 422), and a quota that is used up, which comes as 429 too.
"""

import asyncio
import dataclasses
import email.utils
import math
import random
import time
from collections.abc import Callable, Mapping

import openai

from adapters.completions import BrokenAnswer

_PASSING_STATUSES = (408, 409, 429)
_USED_UP = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
# The client hides what went wrong in the cause; under these nothing was sent.
_NEVER_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout")
_MAX_TEXT = 300  # characters of a server's own words to keep


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """Why a call failed.

    Attributes:
      kind: for counting: "429", "timeout", "connection", "broken answer".
      text: one line for people.
      retryable: the same call may succeed later.
      maybe_billed: the server may have done the work, so that the call may have cost money.
      retry_after: seconds the server asks to wait, None if it does not say.
    """

    kind: str
    text: str
    retryable: bool
    maybe_billed: bool
    retry_after: float | None = None


def failure_of(error: Exception, now: Callable[[], float] = time.time) -> Failure | None:
    """What the exception of a call means; None if it is none of a call's.

    Args:
      error: from the openai client, a timeout of the whole call, or a BrokenAnswer.
      now: seconds since 1970; read where the server names a date to wait for.
    """
    match error:
        case openai.APIStatusError():
            return _of_status(error, now)
        case openai.APITimeoutError() | TimeoutError():
            return Failure("timeout", "no answer in time", True, _was_sent(error))
        case openai.APIConnectionError():
            cause = error.__cause__ or error
            text = f"connection: {type(cause).__name__} {cause}".strip()
            return Failure("connection", text, True, _was_sent(error))
        case BrokenAnswer():
            return Failure("broken answer", str(error), True, True)
        case _:
            return None


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that `Retry-After` (seconds, or an HTTP date) or `retry-after-ms` asks to wait.

    Args:
      headers: of the answer, names in any case.
      now: seconds since 1970.

    Returns:
      At least 0; None if there is neither, or nothing can be made of it.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is None and text is not None:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return None if seconds is None else max(0.0, seconds)


@dataclasses.dataclass(frozen=True)
class Backoff:
    """How long to wait between the calls of one request.

    Before retry k = 0, 1, ... the wait is drawn from [0, min(longest, first 2^k)] ("full jitter":
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter). Where the server asks
    for a wait, at least that is waited, and a draw from [0, first] more, so that not all come back
    at once.

    Attributes:
      first: seconds.
      longest: seconds.
      longest_asked: a server that asks for more seconds than this is not called again.
      sleep: awaits a number of seconds.
      uniform: draws from [low, high].
      now: seconds since 1970.
    """

    first: float = 0.5
    longest: float = 30.0
    longest_asked: float = 300.0
    sleep: Callable = asyncio.sleep
    uniform: Callable[[float, float], float] = random.uniform
    now: Callable[[], float] = time.time

    def __post_init__(self):
        for name in ("first", "longest", "longest_asked"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value}, expected seconds from 0")

    def seconds(self, retry: int, asked: float | None) -> float | None:
        """Seconds to wait before retry 0, 1, ...; None if the server asks for too long a wait."""
        if asked is None:
            return self.uniform(0.0, min(self.longest, self.first * 2.0 ** min(retry, 60)))
        if asked > self.longest_asked:
            return None
        return asked + self.uniform(0.0, self.first)


def _of_status(error: openai.APIStatusError, now: Callable[[], float]) -> Failure:
    status = error.status_code
    used_up = status == 429 and bool({error.code, error.type} & set(_USED_UP))
    body = error.body
    words = body.get("message") if isinstance(body, dict) else None
    text = " ".join(str(words or error.response.text).split())[:_MAX_TEXT]
    return Failure(
        kind="quota" if used_up else str(status),
        text=f"{status} {text}".strip(),
        retryable=not used_up and (status in _PASSING_STATUSES or status >= 500),
        maybe_billed=False,
        retry_after=retry_after(error.response.headers, now()),
    )


def _was_sent(error: BaseException) -> bool:
    return type(error.__cause__).__name__ not in _NEVER_SENT


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
