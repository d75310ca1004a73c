"""What a user names as MODULE:FUNCTION."""

import importlib
from typing import Any


def imported(name: str) -> Any:
    """The function, or whatever the module has by that name.

    Raises:
      ValueError: there is no such module or name in it.
    """
    module, _, attribute = name.partition(":")
    if not (module and attribute):
        raise ValueError(f"{name!r}, expected MODULE:FUNCTION")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{name!r}: {error}") from error
