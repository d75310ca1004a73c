"""Results of episodes in a file of JSON lines, one an episode, that survives a kill at any moment.

A line counts once its newline is there; what a killed writer leaves of another is dropped. Beside
the file stands what the results were made from, and a run with another configuration is refused.
"""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any, Self

import msgspec

from experiments.contest import Result
from models.atomic_file import write_bytes

EPISODES, CONFIG = "episodes.jsonl", "config.json"


class EpisodeLog:
    """The results there are, by condition, task and seed; new ones are appended."""

    def __init__(self, directory: str | os.PathLike, config: Mapping[str, Any]):
        """Reads what is there and opens the file.

        Args:
          directory: made if it is missing.
          config: what the results are made from, JSON values.

        Raises:
          OSError: it cannot be read or written.
          ValueError: there are results of another configuration, or a line is no result.
        """
        folder = pathlib.Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / EPISODES
        _check(folder / CONFIG, json.loads(json.dumps(config)), self._path)
        self.found: dict[tuple[str, str, int], Result] = {}
        whole = self._read() if self._path.exists() else 0
        self._file = open(self._path, "ab")
        self._file.truncate(whole)

    def add(self, result: Result) -> None:
        """Appends a result; once this returns, a kill cannot undo it."""
        self._file.write(msgspec.json.encode(result) + b"\n")
        self._file.flush()
        self.found[result.condition, result.task, result.seed] = result

    def close(self) -> None:
        """Forces all to disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _read(self) -> int:
        """Takes in the whole lines, and returns where they end."""
        whole = 0
        with open(self._path, "rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    result = msgspec.json.decode(line, type=Result)
                except ValueError as error:
                    raise ValueError(f"{self._path}:{number}: no result: {error}") from error
                self.found[result.condition, result.task, result.seed] = result
                whole += len(line)
        return whole


def _check(path: pathlib.Path, config: Any, episodes: pathlib.Path) -> None:
    """Raises unless the configuration is the one there; writes it if there is none."""
    if path.exists():
        try:
            found = json.loads(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path}: no JSON: {error}") from error
        other = sorted(name for name in {*found, *config} if found.get(name) != config.get(name))
        if other:
            raise ValueError(
                f"{path}: the results there were made with another {', '.join(other)}; expected "
                "the same, or a new folder"
            )
    elif episodes.exists():
        raise ValueError(f"{episodes}: there are results, but no {CONFIG} that says of what")
    else:
        write_bytes(path, (json.dumps(config, indent=1, sort_keys=True) + "\n").encode())
