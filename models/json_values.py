"""Values as JSON files hold them."""

from collections.abc import Iterator
from typing import Any


def differences(value: Any, before: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Name, value and value before of all that differs, by the keys of the objects in one another.
    What is missing is as good as null."""
    if isinstance(value, dict) and isinstance(before, dict):
        for key in sorted(value.keys() | before.keys()):
            inner = f"{name}.{key}" if name else key
            yield from differences(value.get(key), before.get(key), inner)
    elif value != before:
        yield name, value, before
