"""From what a language model wrote to an action.

The action is what stands behind the last `Action:` of a reply. Models wrap it in much: they reason
first, set it in bold, in backticks, in quotes or in JSON, number it, change its case, end it with a
full stop. All that is taken off and the rest compared with the admissible actions; it must be equal
to one of them. Nothing is guessed: what is not equal to exactly one is passed on as written, and
the world refuses it.
"""

import re
from collections.abc import Callable, Sequence
from typing import Protocol

# A label may be `Action:`, `**Final action**:`, `"action":`, `Action 3:`, or a line of its own
# without a colon: `## Action`.
_LABEL = re.compile(
    r"""
    (?<! [^\W_] ) action (?: \s* [\[(\#]? \d+ [\])]? )? [*_`"'“”]* \s* [:：]
    | ^ (?: [^\w\n] | _ )* action [*_`\s]* $
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_THOUGHT_START = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
_THOUGHT_END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_FENCE = re.compile(r"\s*(`{3,}|~{3,})[^\n`]*\n")
_NUMBER = re.compile(r"\d+\s*[.):\]]\s*")

# A value of a JSON object, with what follows it on the line.
_JSON_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?:\}|,$|,\s*"[^"]*"\s*:)')

_MARKS = ("**", "__", "`", "*", "_")
_MARKUP = " \t\r\n*_`#"
# What may stand around an action and is no part of it.
_WRAPPING = " \t\r\n*_`\"'“”‘’.,;:!?()[]{}<>-–—•#"


class ReplyParser(Protocol):
    """Reads the action out of a reply."""

    def __call__(self, raw: str, actions: Sequence[str], *, cut: bool = False) -> str | None:
        """The action to give to the world; None if the reply was cut off before its action.

        Args:
          raw: the whole reply.
          actions: the admissible ones; empty where any text is an action.
          cut: the reply was cut off, so its end is missing.
        """
        ...


def parse_action(raw: str, actions: Sequence[str], *, cut: bool = False) -> str | None:
    """The action that a reply ends in, in the words of `actions` if it is one of them.

    - Thoughts, `<think>...</think>`, are left out.
    - The last `Action:` that has text behind it counts: the rest of its line, else the next line
      that is not empty, or the first line of a code block. Without any `Action:` the whole reply is
      the action.
    - It is one of `actions` if equal to it letter by letter; else if equal to just one of them
      apart from case and space; else apart from punctuation, quotes and markdown around either;
      else apart from a number before it, as in `3. Look`.
    - If it is none of `actions` it is returned as written, without markdown around it.
    - Where `actions` is empty a code block is returned whole.
    - A reply that was cut off has an action only if the line of its last `Action:` is complete: a
      line break follows, so that `Room 1` was not going to be `Room 12`.

    Args and result as `ReplyParser`.
    """
    said, thinking = _without_thoughts(raw)
    if cut and thinking:
        return None
    take = _line if actions else _line_or_block
    value, complete = _labelled(said, take)
    if cut and not complete:
        return None
    if value is None:
        value = said.strip()
    elif json_string := _JSON_STRING.match(value):
        value = json_string[1]
    found = _match(value, actions)
    return _unmarked(value) if found is None else found


def _without_thoughts(raw: str) -> tuple[str, bool]:
    """What was said aloud, and whether the reply ends within a thought.

    A server may leave out the `<think>` that its template wrote for the model, so everything up to
    the last `</think>` is a thought.
    """
    ends = list(_THOUGHT_END.finditer(raw))
    said = raw[ends[-1].end() :] if ends else raw
    start = _THOUGHT_START.search(said)
    return (said[: start.start()], True) if start else (said, False)


def _labelled(said: str, take: Callable[[str], tuple[str, bool]]) -> tuple[str | None, bool]:
    """The text behind the last label that has any, None if there is none; and whether the text of
    the last label is complete."""
    complete = None
    for label in reversed(list(_LABEL.finditer(said))):
        text, whole = take(said[label.end() :])
        complete = whole if complete is None else complete
        if text.strip(_MARKUP):
            return text, complete
    return None, bool(complete)


def _line(rest: str) -> tuple[str, bool]:
    """The first line that is not empty and no code fence, and whether a line break ends it."""
    for line in rest.splitlines(keepends=True):
        if line.strip(_MARKUP) and not _FENCE.fullmatch(line):
            text = line.splitlines()[0]
            return text.strip(), text != line
    return "", False


def _line_or_block(rest: str) -> tuple[str, bool]:
    """The inside of a code block if `rest` begins with one, else as `_line`."""
    fence = _FENCE.match(rest)
    if not fence:
        return _line(rest)
    inside, end, _ = rest[fence.end() :].partition(fence[1])
    return inside.strip("\n"), bool(end)


def _match(value: str, actions: Sequence[str]) -> str | None:
    """The admissible action that `value` is, None if it is none or could be several."""
    if value in actions:
        return value
    views: list[tuple[str, Callable[[str], str]]] = [
        (value, _folded),
        (value, _bare),
        (_NUMBER.sub("", _bare(value), count=1), _bare),
    ]
    for text, view in views:
        wanted = view(text)
        found = {action for action in actions if view(action) == wanted} if wanted else set()
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _bare(text: str) -> str:
    return _folded(text.strip(_WRAPPING))


def _unmarked(value: str) -> str:
    """`value` without the markdown around it: pairs, and halves whose other half stood before the
    label."""
    before = None
    while value != before:
        before = value = value.strip()
        for mark in _MARKS:
            if value.startswith(mark) and value[len(mark) : len(mark) + 1].isspace():
                value = value[len(mark) :]
            elif value.endswith(mark) and value.count(mark) == 1:
                value = value[: -len(mark)]
            elif value.startswith(mark) and value.endswith(mark) and value.count(mark) == 2:
                value = value[len(mark) : -len(mark)]
    return value
