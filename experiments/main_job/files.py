"""Whether the files that a stage made are still what it made."""

import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Sequence

_HASHED = 1 << 26  # bytes; of larger files from outside, size and time are enough


def fingerprints(out: pathlib.Path, outputs: Sequence[str]) -> dict[str, list]:
    """Size, time and digest of every file, by its path below `out`."""
    found = {}
    for output in outputs:
        for path in _files(out / output):
            stat = path.stat()
            name = path.relative_to(out).as_posix()
            found[name] = [stat.st_size, stat.st_mtime_ns, _digest(path)]
    return found


def damage(out: pathlib.Path, outputs: dict[str, list]) -> str | None:
    """What is no longer as it was made, in words; None if all is."""
    gone = [name for name in outputs if not (out / name).is_file()]
    if gone:
        return f"{len(gone)} of its {len(outputs)} files are gone, {out / gone[0]} first"
    for name, (size, time_ns, digest) in outputs.items():
        stat = (out / name).stat()
        # A copied file has another time and is the same; only then it is read.
        if stat.st_size != size or (stat.st_mtime_ns != time_ns and _digest(out / name) != digest):
            return f"{out / name} was changed"
    return None


def put_aside(out: pathlib.Path, outputs: Sequence[str], stale: pathlib.Path) -> None:
    """Moves what there is of the outputs to `stale`, in place of what is there."""
    there = [output for output in outputs if (out / output).exists()]
    if not there:
        return
    shutil.rmtree(stale, ignore_errors=True)
    for output in there:
        (stale / output).parent.mkdir(parents=True, exist_ok=True)
        os.replace(out / output, stale / output)


def outside(path: pathlib.Path) -> str:
    """A digest of the file or folder."""
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    found = hashlib.sha256()
    for one in _files(path):
        stat = one.stat()
        content = _digest(one) if stat.st_size <= _HASHED else str(stat.st_mtime_ns)
        name = one.relative_to(path).as_posix()
        found.update(json.dumps([name, stat.st_size, content]).encode())
    return found.hexdigest()


def _files(path: pathlib.Path) -> list[pathlib.Path]:
    """The file, or all in the folder; those whose names begin with a dot are nobody's business."""
    if not path.is_dir():
        return [path]
    return sorted(
        one
        for one in path.rglob("*")
        if one.is_file() and not any(p.startswith(".") for p in one.relative_to(path).parts)
    )


def _digest(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]
