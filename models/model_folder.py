"""Folders with a model: made whole or not at all, with the tokenizer's files beside the weights."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

# Copied beside a model, where they are.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")


def check_tokenizer(folder: str | os.PathLike, vocab_size: int) -> None:
    """Refuses a tokenizer with token ids that the embedding does not have.

    Reads tokenizer.json, or vocab.json with added_tokens.json; a folder without them passes.

    Raises:
      ValueError: an id is `vocab_size` or more, or the file is not a tokenizer's.
    """
    for name in ("tokenizer.json", "vocab.json", "added_tokens.json"):
        path = Path(folder) / name
        if not path.exists():
            continue
        try:
            largest = _largest_id(json.loads(path.read_text(encoding="utf-8")), name)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: not a tokenizer's file: {error!r}") from error
        if largest >= vocab_size:
            raise ValueError(
                f"{path}: token ids go up to {largest}, expected below the embedding's rows, "
                f"{vocab_size}"
            )


def _largest_id(values: dict, name: str) -> int:
    ids = [*_ids(values, name)]
    if wrong := [i for i in ids if isinstance(i, bool) or not isinstance(i, int)]:
        raise TypeError(f"token id {wrong[0]!r}, expected a whole number")
    return max(ids, default=-1)


def _ids(values: dict, name: str) -> Iterator[int]:
    if name != "tokenizer.json":
        yield from values.values()
        return
    vocabulary = values["model"]["vocab"]  # token -> id; of unigram models a list
    ids = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
    yield from ids
    yield from (token["id"] for token in values.get("added_tokens") or ())


def tokenizer_files(folder: str | os.PathLike, vocab_size: int) -> list[Path]:
    """The files of the tokenizer in `folder`, once `check_tokenizer` has passed.

    Raises:
      FileNotFoundError: there are none.
      ValueError: as in `check_tokenizer`.
    """
    if not has_tokenizer(folder):
        raise FileNotFoundError(f"{folder}: holds no tokenizer, expected one of {_TOKENIZERS}")
    check_tokenizer(folder, vocab_size)
    paths = [Path(folder) / name for name in TOKENIZER_FILES]
    return [path for path in paths if path.exists()]


def has_tokenizer(folder: str | os.PathLike) -> bool:
    """Whether there is a file with a vocabulary."""
    return any((Path(folder) / name).exists() for name in _TOKENIZERS)


def check_absent(folder: str | os.PathLike) -> None:
    """Refuses a folder that holds something.

    Raises:
      FileExistsError: it does.
    """
    path = Path(folder)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"{folder}: exists; expected a new or an empty folder")


@contextlib.contextmanager
def atomic_folder(folder: str | os.PathLike) -> Iterator[Path]:
    """A folder to write into that becomes `folder` when the `with` statement is left without error.

    Raises:
      FileExistsError: `folder` is there and not empty.
    """
    check_absent(folder)
    target = Path(folder).resolve()
    partial = target.with_name(f".{target.name}.partial")
    if partial.exists():  # of a run that was killed
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    try:
        yield partial
        for path in [*partial.rglob("*"), partial]:
            _sync(path)
        os.replace(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fingerprint(folder: str | os.PathLike) -> str:
    """SHA-256 of the names and contents of a model's files, in the order of the names: what the
    model answers follows from these.

    Raises:
      OSError: a file cannot be read.
    """
    whole = hashlib.sha256()
    for path in sorted(Path(folder).iterdir()):
        if path.name in ("config.json", *TOKENIZER_FILES) or path.suffix == ".safetensors":
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            whole.update(f"{path.name} {digest}\n".encode())
    return whole.hexdigest()
