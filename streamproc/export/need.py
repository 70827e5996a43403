"""Packages of the extra ``results``, imported when they are used."""

from __future__ import annotations

import importlib
from typing import Any

from streamproc.errors import ConfigurationError

__all__ = ["needed"]


def needed(module: str, form: str) -> Any:
    """Import a package, or say how to get it.

    Raises
    ------
    ConfigurationError
        It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigurationError(
            f"--to {form} needs {module}, not installed here: pip install 'streamproc[results]'"
        ) from error
