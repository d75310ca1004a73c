"""Files that a script was to make before."""

import os
from pathlib import Path


def check_made(path: str | os.PathLike, expected: str) -> None:
    """Raises FileNotFoundError where there is no such file; `expected` says what makes it."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path.parent}: no {path.name} there, expected {expected}")
