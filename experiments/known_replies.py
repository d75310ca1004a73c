"""What models replied in earlier runs, so that they are not asked for it again.

A folder of rollouts has the replies in its steps. `experiments.evaluate` plays many conditions and
keeps no turns; with --keep it leaves the replies in a file for each model, replies-0.jsonl of the
base actor, replies-1.jsonl of the first help, ...: a line that describes the model, then one a
state. Only a model at temperature 0 can be known, and only by replies of the same description.
"""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from adapters.interventions import ByActor
from adapters.memo import Memoised
from adapters.protocols import Actor, Intervention, Reply
from adapters.rollouts import read_config, read_steps
from models.atomic_file import write_bytes

_FILES = "replies-*.jsonl"


class Model(NamedTuple):
    """A model that remembers what it replied.

    Attributes:
      actor: the model.
      description: of it, as `experiments.players.Players.config` has it.
    """

    actor: Memoised
    description: Mapping[str, Any]


class _Kept(msgspec.Struct):
    """A line of the file."""

    key: str
    action: str | None
    raw: str
    truncated: bool = False


def models(
    actor: Actor, helps: Sequence[Intervention], descriptions: Sequence[Mapping[str, Any]]
) -> list[Model]:
    """Those of the base actor and the helps, described in this order, that can be known."""
    actors = [actor, *(one.actor if isinstance(one, ByActor) else None for one in helps)]
    pairs = zip(actors, descriptions, strict=True)
    return [Model(one, described) for one, described in pairs if isinstance(one, Memoised)]


def recall(known: Sequence[Model], folder: str | pathlib.Path) -> int:
    """Lets the models know their replies in a folder, of rollouts or of an evaluation.

    Args:
      known: what they know already stays.
      folder: see the module.

    Returns:
      How many states they did not know before.

    Raises:
      OSError: there is no such folder, or no replies in it.
      ValueError: they are of others alone, or a line is damaged; names it.
    """
    folder = pathlib.Path(folder)
    files = sorted(folder.glob(_FILES))
    players = [_header(path) for path in files] if files else _players(folder)
    wanted = [json.loads(json.dumps(one.description)) for one in known]
    own = [number for number, player in enumerate(players) if player in wanted]
    if not own:
        raise ValueError(f"{folder}: there are replies of {players}, expected of one of {wanted}")
    found = _of_evaluation(files, own) if files else _of_rollouts(folder, own)
    return sum(
        one.actor.learn(
            reply for number in own if players[number] == who for reply in found[number]
        )
        for one, who in zip(known, wanted, strict=True)
    )


def recall_all(
    actor: Actor,
    helps: Sequence[Intervention],
    descriptions: Sequence[Mapping[str, Any]],
    folders: Sequence[str | pathlib.Path],
) -> list[Model]:
    """Lets all `models` among them know what is in the folders, and returns them; see `recall`."""
    found = models(actor, helps, descriptions)
    for folder in folders:
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"{folder}: there is no such folder, expected replies in it")
        if found:
            recall(found, folder)
    return found


def keep(known: Sequence[Model], folder: pathlib.Path) -> None:
    """Writes all that the models remember into a folder, each file in one step.

    Raises:
      OSError: a file cannot be written.
    """
    encode = msgspec.json.Encoder().encode
    for number, one in enumerate(known):
        lines = [encode({"actor": one.description})]
        for key, reply in one.actor.known.items():
            lines.append(encode(_Kept(key, reply.action, reply.raw, reply.truncated)))
        path = folder / _FILES.replace("*", str(number))
        write_bytes(path, b"\n".join(lines) + b"\n")


def kept_in(folder: str | pathlib.Path) -> list[pathlib.Path]:
    """The folder, if `keep` wrote into it, for `recall_all`; else none."""
    folder = pathlib.Path(folder)
    return [folder] if any(folder.glob(_FILES)) else []


def _header(path: pathlib.Path) -> Any:
    with path.open("rb") as file:
        try:
            return msgspec.json.decode(file.readline())["actor"]
        except (ValueError, LookupError, TypeError) as error:
            raise ValueError(f"{path}:1: {error!r}, expected what describes the actor") from error


def _players(rollouts: pathlib.Path) -> list[Any]:
    """What describes the players of rollouts, by decision."""
    config = read_config(rollouts)
    return [config.get("actor"), *config.get("interventions", [])]


def _of_evaluation(
    files: Sequence[pathlib.Path], numbers: Sequence[int]
) -> dict[int, list[tuple[str, Reply]]]:
    """Replies by the number of the file."""
    decode = msgspec.json.Decoder(_Kept).decode
    found: dict[int, list[tuple[str, Reply]]] = {number: [] for number in numbers}
    for number, replies in found.items():
        with files[number].open("rb") as file:
            next(file)
            for line, text in enumerate(file, 2):
                try:
                    one = decode(text)
                except ValueError as error:
                    raise ValueError(f"{files[number]}:{line}: no reply: {error}") from error
                replies.append((one.key, Reply(one.action, one.raw, one.truncated)))
    return found


def _of_rollouts(
    folder: pathlib.Path, decisions: Sequence[int]
) -> dict[int, list[tuple[str, Reply]]]:
    """Replies by decision."""
    found: dict[int, list[tuple[str, Reply]]] = {decision: [] for decision in decisions}
    for step in read_steps(folder):
        if step.decision in found and step.error is None:
            reply = Reply(step.action, step.raw, step.truncated)
            found[step.decision].append((step.state_key, reply))
    return found
