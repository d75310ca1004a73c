"""What a Chat Completions server answers, read with care.

Servers that call themselves OpenAI-compatible differ, and a body may be cut off or be a proxy's
HTML. Only what a reply needs is asked for, and that is checked:

  {"choices": [{"message": {"content": str | null}, "finish_reason": str | null}],
   "usage": {"prompt_tokens": int, "completion_tokens": int}}        (usage may be missing)
"""

import json
from typing import Any, NamedTuple


class BrokenAnswer(ValueError):
    """A body that is no chat completion; the same call may well succeed the next time."""


class Answer(NamedTuple):
    """A chat completion. Tokens are None where the server does not tell them."""

    text: str
    finish_reason: str | None
    input_tokens: int | None
    output_tokens: int | None

    @property
    def cut(self) -> bool:
        """The server stopped at the largest number of tokens, not where the model ended."""
        return self.finish_reason in ("length", "max_tokens")

    @property
    def withheld(self) -> bool:
        """A content filter kept the reply back, or its end."""
        return self.finish_reason == "content_filter"


def read_completion(body: bytes) -> Answer:
    """Reads the body of an answer with status 200.

    Thoughts that come in a field of their own (`reasoning_content`, `reasoning`) are put before the
    text as <think>...</think>.

    Raises:
      BrokenAnswer: the body is not JSON, or lacks what is needed.
    """
    try:
        completion = json.loads(body)
    except ValueError as error:  # not JSON, or not UTF-8
        raise BrokenAnswer(f"body is not JSON: {error}: {_short(body)}") from error
    try:
        choice = completion["choices"][0]
        message = choice["message"]
        thought = message.get("reasoning_content") or message.get("reasoning")
        # Some servers leave out what is null, but a message says something.
        text = message.get("content") or message.get("refusal")
        if text is None and thought is None:
            text = message["content"] or ""
        finish_reason = choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise BrokenAnswer(f"body has no choices[0].message: {_short(body)}") from error
    if not isinstance(text, str | None) or not isinstance(finish_reason, str | None):
        raise BrokenAnswer(f"content or finish_reason is no string: {_short(body)}")
    if isinstance(thought, str):
        text = f"<think>{thought}</think>{text or ''}"
    return Answer(text or "", finish_reason, *_tokens(completion.get("usage"), body))


def _tokens(usage: Any, body: bytes) -> tuple[int | None, int | None]:
    if usage is None:
        return None, None
    try:
        counts = usage["prompt_tokens"], usage["completion_tokens"]
    except (KeyError, TypeError) as error:
        raise BrokenAnswer(
            f"usage has no prompt_tokens, completion_tokens: {_short(body)}"
        ) from error
    if any(type(count) is not int or count < 0 for count in counts):
        raise BrokenAnswer(f"usage holds {counts}, expected two integers from 0: {_short(body)}")
    return counts


def _short(body: bytes) -> str:
    return repr(body[:200]) + ("..." if len(body) > 200 else "")
