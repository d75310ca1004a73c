"""A language model behind any server that speaks OpenAI's Chat Completions, as an actor.

`adapters.chat_client` does the calling: side by side, with retries, cache and spending limit;
`adapters.replies` reads the action out of an answer.
"""

import collections
import logging
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from adapters.chat_client import Batch, ChatClient, Request, Result
from adapters.loop_thread import LoopThread
from adapters.protocols import Reply, State
from adapters.replies import ReplyParser, parse_action
from adapters.reply_cache import ReplyCache
from adapters.retries import Backoff
from adapters.spending import Spending, SpendingLimit

_OPENAI = "https://api.openai.com/v1"
_BYTES_PER_TOKEN = 4  # of English text, roughly; for the estimate only
_SEED_RANGE = 2**31  # what every server takes
_OWN_FIELDS = ("model", "messages", "temperature", "seed", "n", "stream")
_MAX_TOKENS_FIELDS = ("max_tokens", "max_completion_tokens")

_logger = logging.getLogger(__name__)


class OpenAIActor:
    """An `adapters.protocols.Actor` over the official `openai` client.

    Example (a server on this machine, no key, no costs):
      >>> with OpenAIActor(
      ...     "my-model", base_url="http://localhost:8000/v1", api_key_env=None
      ... ) as actor:
      ...     actor.act([], [])
      []
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key_env: str | None = "OPENAI_API_KEY",
        name: str | None = None,
        temperature: float = 0.0,
        max_tokens: int = 300,
        style: str = "full",
        system: str | None = None,
        concurrency: int = 16,
        timeout: float = 60.0,
        max_retries: int = 6,
        cache: ReplyCache | None = None,
        spending: Spending | None = None,
        expected_calls: int | None = None,
        announce: Callable[[str], None] = _logger.info,
        parse: ReplyParser = parse_action,
        send_seed: bool = False,
        max_tokens_field: str = "max_tokens",
        extra: Mapping[str, Any] | None = None,
        backoff: Backoff | None = None,
    ):
        """Makes an actor; nothing is sent yet.

        Args:
          model: as the server calls it.
          base_url: up to and with `/v1`. If None what the environment variable OPENAI_BASE_URL
            says, else OpenAI's own.
          api_key_env: the environment variable that holds the key; None where none is needed.
          name: stands in the rollouts; the model's if None.
          temperature: from 0.
          max_tokens: of a reply.
          style: of the states' text; that text is the user's message.
          system: a system message to send before it.
          concurrency: calls under way at once, over all threads that use this actor; to 1000.
          timeout: seconds for one call, from its start to its last byte.
          max_retries: calls of one request beyond the first.
          cache: answers to be used and kept; open as long as the actor is used.
          spending: counts calls and money, and limits them; without one there is no limit.
          expected_calls: for the estimate; unknown if None.
          announce: is given one line with the estimate before the first call.
          parse: reads the action out of a reply.
          send_seed: send the state's seed where temperature is above 0; not all servers take it.
            The cache tells seeds apart in any case.
          max_tokens_field: "max_completion_tokens" for models that refuse "max_tokens".
          extra: further fields of every request, such as {"top_p": 0.9}.
          backoff: waits between retries; `Backoff()` if None.

        Raises:
          ValueError: an argument is out of range, or the environment variable is not set.
        """
        if not temperature >= 0:
            raise ValueError(f"temperature is {temperature}, expected 0 or more")
        if max_tokens < 1:
            raise ValueError(f"max_tokens is {max_tokens}, expected 1 or more")
        if max_tokens_field not in _MAX_TOKENS_FIELDS:
            raise ValueError(
                f"max_tokens_field is {max_tokens_field!r}, expected one of {_MAX_TOKENS_FIELDS}"
            )
        if taken := {*_OWN_FIELDS, *_MAX_TOKENS_FIELDS} & set(extra or {}):
            raise ValueError(f"extra has {sorted(taken)}, which the actor itself sets")
        base_url = base_url or os.environ.get("OPENAI_BASE_URL") or _OPENAI
        self._base_url = base_url.rstrip("/")
        self._name = name or model
        self._fields = {
            "model": model,
            "temperature": float(temperature),
            max_tokens_field: max_tokens,
        }
        self._max_tokens, self._extra, self._send_seed = max_tokens, dict(extra or {}), send_seed
        self._style, self._system, self._parse = style, system, parse
        self._spending = Spending() if spending is None else spending
        self._client = ChatClient(
            base_url=self._base_url,
            key=_api_key(api_key_env),
            concurrency=concurrency,
            timeout=float(timeout),
            max_retries=max_retries,
            cache=cache,
            spending=self._spending,
            backoff=backoff or Backoff(),
            before_first_call=_announcer(self._name, self._spending, expected_calls, announce),
        )
        self._loop = LoopThread(f"OpenAIActor {self._name}")
        self._close = weakref.finalize(self, self._loop.close, self._client.close)

    @property
    def name(self) -> str:
        return self._name

    @property
    def temperature(self) -> float:
        return self._fields["temperature"]

    @property
    def base_url(self) -> str:
        """Of the server that is called."""
        return self._base_url

    @property
    def spending(self) -> Spending:
        """What the calls are counted by."""
        return self._spending

    @property
    def retried(self) -> collections.Counter[str]:
        """How many calls were tried again, by the kind of failure: {"429": 3, "timeout": 1}."""
        return self._client.retried.copy()

    def act(self, states: Sequence[State], seeds: Sequence[int]) -> list[Reply]:
        """One reply for each state, in their order, as `Actor.act`. From any thread, also one whose
        event loop is running.

        A call that fails for good gives a Reply with `error` and no action. A reply that was cut
        off by `max_tokens` before its action was complete is `truncated`.

        Raises:
          ValueError: there are more or fewer seeds than states; or the cache is damaged.
          SpendingLimit: the limit is reached. No call is begun after that, those under way are
            waited for, and what was answered is in the exception's `replies`, and in the cache.
          OSError: the cache cannot be read or written; the calls under way are waited for.
        """
        if len(seeds) != len(states):
            raise ValueError(f"seeds has {len(seeds)} entries, expected {len(states)}, as states")
        if not states:
            return []
        batch = Batch([self._request(*pair) for pair in zip(states, seeds, strict=True)])
        results = self._loop.run(self._client.ask(batch))
        replies = [
            None if result is None else self._reply(state, result)
            for state, result in zip(states, results, strict=True)
        ]
        if isinstance(batch.stopped, SpendingLimit):
            raise SpendingLimit(str(batch.stopped), batch.stopped.spent, replies)
        if batch.stopped is not None:
            raise batch.stopped
        return replies

    def close(self) -> None:
        """Cancels the calls under way and closes the connections. The cache stays open."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _request(self, state: State, seed: int) -> Request:
        messages = [{"role": "user", "content": state.text(self._style)}]
        if self._system is not None:
            messages.insert(0, {"role": "system", "content": self._system})
        fields: dict[str, Any] = {**self._fields, "messages": messages}
        sample = None
        if self.temperature > 0:
            sample = int(seed)
            if self._send_seed:
                fields["seed"] = sample % _SEED_RANGE
        return Request(fields, self._extra, sample, self._max_tokens)

    def _reply(self, state: State, result: Result) -> Reply:
        answer, action, error = result.answer, None, result.error
        if answer is not None and answer.withheld:
            error = "content filter: the server kept the reply back"
        elif answer is not None:
            action = self._parse(answer.text, state.actions, cut=answer.cut)
        billed = answer if not result.free else None
        return Reply(
            action,
            raw=answer.text if answer else "",
            truncated=action is None and error is None,
            error=error,
            input_tokens=billed.input_tokens or 0 if billed else 0,
            output_tokens=billed.output_tokens or 0 if billed else 0,
            seconds=result.seconds,
            retries=result.retries,
            cost=result.cost,
            cached=result.free and error is None,
        )


def _announcer(
    name: str, spending: Spending, expected_calls: int | None, announce: Callable[[str], None]
) -> Callable[[Batch], None]:
    """Tells what the calls will cost, judging by the first of them."""

    def tell(batch: Batch) -> None:
        num_bytes = sum(request.num_bytes for request in batch.requests)
        tokens = num_bytes / len(batch.requests) / _BYTES_PER_TOKEN
        max_tokens = batch.requests[0].max_tokens
        estimate = spending.estimate(expected_calls or 1000, tokens, max_tokens)
        known = "expected" if expected_calls else "for every"
        announce(f"{name}: {known} {estimate}; {spending.limits()}")

    return tell


def _api_key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise ValueError(
            f"the environment variable {variable} is not set, expected the server's key in it; "
            "api_key_env=None, --api_key_env=none, is for servers that need none"
        )
    return key
