"""Calls of a Chat Completions server, many at once, each paid for once.

  request -> cache -> the same one under way? -> a free slot -> reserve -> call -> settle
                                                                  ^__ wait ___|

A failed call is tried again where that can help (`adapters.retries`); every answer goes into the
cache (`adapters.reply_cache`); the limit on spending holds at every moment (`adapters.spending`).
"""

import asyncio
import collections
import dataclasses
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import openai

from adapters.completions import Answer, read_completion
from adapters.reply_cache import ReplyCache, digest
from adapters.retries import Backoff, Failure, failure_of
from adapters.spending import Reservation, Spending

# A token is at least one byte; chat templates add some that the messages do not show.
_MAX_TEMPLATE_TOKENS = 64
_MAX_CONNECTIONS = 1000  # of the openai client
_CONNECT_SECONDS = 10.0
_POLL_SECONDS = 0.02

_logger = logging.getLogger(__name__)


class Request(NamedTuple):
    """One question to the server.

    Attributes:
      fields: of `chat.completions.create`.
      extra: fields beside them, for this server.
      sample: which of several samples of the same question, None if there is only one; not sent.
      max_tokens: of the answer.
    """

    fields: Mapping[str, Any]
    extra: Mapping[str, Any]
    sample: int | None
    max_tokens: int

    @property
    def num_bytes(self) -> int:
        """Of the messages' text, in UTF-8."""
        return sum(len(message["content"].encode()) for message in self.fields["messages"])


class Result(NamedTuple):
    """An answer, or the error of the last call.

    Attributes:
      free: from the cache, or from another call of the same request.
    """

    answer: Answer | None
    error: str | None = None
    seconds: float = 0.0
    retries: int = 0
    cost: float = 0.0
    free: bool = False


@dataclasses.dataclass
class Batch:
    """Requests made together, and why no more of them are to be sent."""

    requests: Sequence[Request]
    stopped: Exception | None = None


class ChatClient:
    """The client of one server. All coroutines run in one event loop.

    Attributes:
      retried: how many calls were tried again, by the kind of failure.
    """

    def __init__(
        self,
        *,
        base_url: str,
        key: str | None,
        concurrency: int,
        timeout: float,
        max_retries: int,
        cache: ReplyCache | None,
        spending: Spending,
        backoff: Backoff,
        before_first_call: Callable[[Batch], None],
    ):
        """Makes a client; nothing is sent yet. The arguments are those of `OpenAIActor`.

        Raises:
          ValueError: an argument is out of range.
        """
        if not 1 <= concurrency <= _MAX_CONNECTIONS:
            raise ValueError(f"concurrency is {concurrency}, expected 1 to {_MAX_CONNECTIONS}")
        if not timeout > 0:
            raise ValueError(f"timeout is {timeout}, expected seconds above 0")
        if max_retries < 0:
            raise ValueError(f"max_retries is {max_retries}, expected 0 or more")
        self._base_url, self._key = base_url, key
        self._timeout, self._max_retries = timeout, max_retries
        self._cache, self._spending, self._backoff = cache, spending, backoff
        self._before_first_call: Callable[[Batch], None] | None = before_first_call
        self._slots = asyncio.Semaphore(concurrency)
        self._under_way: dict[bytes, asyncio.Future[Result]] = {}
        self.retried: collections.Counter[str] = collections.Counter()
        self._client = openai.AsyncOpenAI(
            api_key=key or "none",
            base_url=base_url,
            timeout=openai.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS)),
            max_retries=0,  # they are counted and paced here
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()

    async def ask(self, batch: Batch) -> list[Result | None]:
        """The results of the batch's requests, in their order.

        When the spending limit is reached or the cache fails, no call is begun any more and those
        under way are waited for, since they may cost money; then `batch.stopped` says why, and the
        result is None where there was none.
        """
        return await asyncio.gather(*(self._one(request, batch) for request in batch.requests))

    async def _one(self, request: Request, batch: Batch) -> Result | None:
        try:
            return await self._once(request, batch)
        except Exception as error:
            batch.stopped = batch.stopped or error
            return None

    async def _once(self, request: Request, batch: Batch) -> Result | None:
        """Takes the answer from the cache or from the same request under way, else calls."""
        key = digest({**request._asdict(), "base_url": self._base_url})
        if self._cache is not None and (answer := self._cache.get(key)) is not None:
            return Result(answer, free=True)
        while (other := self._under_way.get(key)) is not None:
            await asyncio.wait([other])
            if not other.cancelled():
                result = other.result()
                return Result(result.answer, result.error, free=True)
        own = self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            async with self._slots:
                result = await self._call(key, request, batch)
            if result is not None:
                own.set_result(result)
            return result
        finally:
            del self._under_way[key]
            own.cancel()  # no result: whoever waits for it asks for itself

    async def _call(self, key: bytes, request: Request, batch: Batch) -> Result | None:
        """Calls until the server answers, nothing more can be tried or the batch is stopped."""
        if self._before_first_call is not None and not batch.stopped:
            self._before_first_call, before = None, self._before_first_call
            before(batch)
        begin = time.monotonic()
        for retry in range(self._max_retries + 1):
            if batch.stopped:
                return None
            with await self._reserve(request) as reservation:
                answer, failure = await self._send(request, reservation)
                if answer is not None:
                    cost = _settle(answer, reservation)
                    if self._cache is not None and not answer.withheld:
                        self._cache.put(key, answer)
                    return Result(answer, None, time.monotonic() - begin, retry, cost)
            if not failure.retryable or retry == self._max_retries:
                break
            if batch.stopped:
                return None  # without the wait
            seconds = self._backoff.seconds(retry, failure.retry_after)
            if seconds is None:
                text = (
                    f"{failure.text}: asked to wait {failure.retry_after:.0f} s, which is too long"
                )
                failure = dataclasses.replace(failure, text=text)
                break
            self.retried[failure.kind] += 1
            _logger.info("retry %d in %.2f s: %s", retry + 1, seconds, failure.text)
            await self._backoff.sleep(seconds)
        text = f"{failure.text} (after {retry} retries)" if retry else failure.text
        _logger.warning("call failed: %s", text)
        return Result(None, text, time.monotonic() - begin, retry)

    async def _send(
        self, request: Request, reservation: Reservation
    ) -> tuple[Answer | None, Failure | None]:
        """Calls once. Returns the answer, or why there is none."""
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._client.chat.completions.with_raw_response.create(
                    **request.fields, extra_body=dict(request.extra)
                )
            return read_completion(response.content), None
        except Exception as error:
            failure = failure_of(error, self._backoff.now)
            if failure is None:
                raise
            if not failure.maybe_billed:
                reservation.refund()
            return None, dataclasses.replace(failure, text=self._without_key(failure.text))

    async def _reserve(self, request: Request) -> Reservation:
        bound = request.num_bytes + _MAX_TEMPLATE_TOKENS
        while (reservation := self._spending.reserve(bound, request.max_tokens)) is None:
            await asyncio.sleep(_POLL_SECONDS)
        return reservation

    def _without_key(self, text: str) -> str:
        """Servers quote the key they refuse, and errors go into the rollouts."""
        return text.replace(self._key, "[key]") if self._key else text


def _settle(answer: Answer, reservation: Reservation) -> float:
    """The money for an answer; where the server does not tell its tokens, all that was reserved."""
    if answer.input_tokens is None or answer.output_tokens is None:
        return reservation.money
    return reservation.settle(answer.input_tokens, answer.output_tokens)
