"""Answers of a language model kept on disk, so that no call is paid for twice.

One SQLite file in WAL mode: any number of threads and processes may use it at once, and what was
put is there after a SIGKILL at any moment (after a loss of power the last ones may be missing). It
must lie on a local disk: WAL does not work over a network file system.

An answer is found by a digest of all that it depends on: model, base_url, messages and sampling.
"""

import contextlib
import hashlib
import json
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from adapters.completions import Answer

_APPLICATION_ID = 0x53524C59  # "SRLY", so that a database of something else is refused
_VERSION = 1
_SECONDS_TO_WAIT = 60.0  # for another process that is writing
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_ADVICE = "remove it to begin a new one"


def digest(request: Mapping[str, Any]) -> bytes:
    """32 bytes that differ for different requests; the order of names does not matter.

    Raises:
      TypeError: `request` holds what is no JSON value.
      ValueError: it holds NaN or an infinity.
    """
    text = json.dumps(request, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).digest()


class ReplyCache:
    """Answers by the digest of their request. Close it when done, or use it in a `with` statement.

    The first answer put under a digest stays.
    """

    def __init__(self, path: str | os.PathLike):
        """Opens the file, or makes it.

        Raises:
          OSError: it can not be opened or made.
          ValueError: it is damaged, or something else than a cache of this version.
        """
        self._path = Path(path)
        self._lock = threading.Lock()
        self._owner = os.getpid()
        with self._errors():
            self._connection = _connect(self._path)

    def get(self, key: bytes) -> Answer | None:
        """The answer to the request with this digest, None if there is none.

        Raises:
          OSError: the file can not be read.
          ValueError: it is damaged.
        """
        with self._use() as connection:
            row = connection.execute(
                "SELECT answer, checksum FROM answers WHERE key = ?", (key,)
            ).fetchone()
        if row is None:
            return None
        answer, checksum = row
        # SQLite does not notice damage within a value.
        if not isinstance(answer, bytes) or zlib.crc32(key + answer) != checksum:
            raise ValueError(f"{self._path}: the answer to {key.hex()} is damaged; {_ADVICE}")
        return Answer(*json.loads(answer))

    def put(self, key: bytes, answer: Answer) -> None:
        """Keeps the answer to the request with this digest.

        Raises:
          OSError: the file can not be written.
          ValueError: it is damaged.
        """
        data = json.dumps(answer, ensure_ascii=True).encode()
        with self._use() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO answers VALUES (?, ?, ?)",
                (key, data, zlib.crc32(key + data)),
            )

    def __len__(self) -> int:
        with self._use() as connection:
            return connection.execute("SELECT count(*) FROM answers").fetchone()[0]

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @contextlib.contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        if os.getpid() != self._owner:
            # SQLite can lose data where a connection is used on both sides of a fork.
            raise RuntimeError(f"{self._path}: opened in another process; open it in this one")
        with self._lock, self._errors():
            yield self._connection

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
                raise ValueError(
                    f"{self._path}: no reply cache, or damaged: {error}; {_ADVICE}"
                ) from error
            raise OSError(f"{self._path}: {error}") from error


def _connect(path: Path) -> sqlite3.Connection:
    """Opens the file; lays out a new one, checks what an old one is."""
    connection = sqlite3.connect(
        path, timeout=_SECONDS_TO_WAIT, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("BEGIN IMMEDIATE")
        if _pragma(connection, "schema_version") == 0:
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {_VERSION}")
            connection.execute(
                "CREATE TABLE answers (key BLOB PRIMARY KEY, answer BLOB, checksum INTEGER) "
                "WITHOUT ROWID"
            )
        connection.execute("COMMIT")
        for name, expected in (("application_id", _APPLICATION_ID), ("user_version", _VERSION)):
            if (found := _pragma(connection, name)) != expected:
                raise ValueError(
                    f"{path}: no reply cache of this version: {name} is {found}, "
                    f"expected {expected}"
                )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]
