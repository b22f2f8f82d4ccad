"""Libraries that a trace is handed to, imported when asked for: nothing else needs them."""

from __future__ import annotations

import importlib
from typing import Any


def import_optional(name: str, purpose: str) -> Any:
    """The module `name`. Where it is not installed, an ImportError that says how to install it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # it is there, and lacks something of its own
            raise
        raise ImportError(
            f"{purpose} needs {name}: pip install 'retnet-viz[frames]'", name=name
        ) from error
