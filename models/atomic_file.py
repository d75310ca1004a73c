"""Files that are written whole or not at all."""

import os
import secrets
from pathlib import Path


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Writes `content` to `path` in one step; on any failure, a kill too, the old file stays.

    Raises:
      OSError: the folder is missing, not writable or full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
