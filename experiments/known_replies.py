"""What a base actor replied in earlier runs, so that a model is not asked for it again.

A folder of rollouts has the replies in its steps. `experiments.evaluate` plays many conditions and
keeps no turns; it leaves the replies in a file, NAME: a line that describes the actor, then one a
state. Only an actor at temperature 0 can be known, and only by replies of the same description.
"""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from adapters.memo import Memoised
from adapters.protocols import Reply
from adapters.rollouts import read_config, read_steps
from models.atomic_file import write_bytes

NAME = "replies.jsonl"


class _Kept(msgspec.Struct):
    """A line of the file."""

    key: str
    action: str | None
    raw: str
    truncated: bool = False


def recall(actor: Memoised, folder: str, description: Mapping[str, Any]) -> int:
    """Lets the actor know the replies in a folder, of rollouts or of an evaluation.

    Args:
      actor: what it knows already stays.
      folder: see the module.
      description: of the actor, as `experiments.players.Players.config` has it.

    Returns:
      How many states it did not know before.

    Raises:
      OSError: there is no such folder, or no replies in it.
      ValueError: they are another actor's, or a line is damaged; names it.
    """
    path, wanted = pathlib.Path(folder), json.loads(json.dumps(description))
    kept = path / NAME
    found = _header(kept) if kept.exists() else read_config(path).get("actor")
    if found != wanted:
        raise ValueError(f"{path}: there are replies of {found!r}, expected of {wanted!r}")
    return actor.learn(_of_evaluation(kept) if kept.exists() else _of_rollouts(path))


def keep(actor: Memoised, folder: pathlib.Path, description: Mapping[str, Any]) -> None:
    """Writes all that the actor remembers into a folder, in one step.

    Raises:
      OSError: the file cannot be written.
    """
    encode = msgspec.json.Encoder().encode
    lines = [encode({"actor": description})]
    for key, reply in actor.known.items():
        lines.append(encode(_Kept(key, reply.action, reply.raw, reply.truncated)))
    write_bytes(folder / NAME, b"\n".join(lines) + b"\n")


def _header(path: pathlib.Path) -> Any:
    with path.open("rb") as file:
        try:
            return msgspec.json.decode(file.readline())["actor"]
        except (ValueError, LookupError, TypeError) as error:
            raise ValueError(f"{path}:1: {error!r}, expected what describes the actor") from error


def _of_evaluation(path: pathlib.Path) -> Iterator[tuple[str, Reply]]:
    decode = msgspec.json.Decoder(_Kept).decode
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number == 1:
                continue
            try:
                one = decode(line)
            except ValueError as error:
                raise ValueError(f"{path}:{number}: no reply: {error}") from error
            yield one.key, Reply(one.action, one.raw, one.truncated)


def _of_rollouts(path: pathlib.Path) -> Iterator[tuple[str, Reply]]:
    for step in read_steps(path):
        if step.decision == 0 and step.error is None:
            yield step.state_key, Reply(step.action, step.raw, step.truncated)
