"""A catalog that a Python file or module makes: what no address leads to, such as `databroker.v2.temp()`."""

from __future__ import annotations

import contextlib
import importlib
import runpy
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streamproc.errors import ConfigurationError

__all__ = ["PREFIX", "catalog_of"]

PREFIX = "python:"

_USUAL = "catalog"


def catalog_of(text: str) -> Any:
    """Run a Python file, or import a module, and return the catalog in it.

    Parameters
    ----------
    text : str
        ``python:FILE.py[:NAME]`` or ``python:MODULE[:NAME]``; NAME (default ``catalog``) is the catalog, or a
        function without arguments that returns it.

    Raises
    ------
    ConfigurationError
        No such file, module or name; what is there fails (says where) or is no catalog.
    """
    place, _, name = text.removeprefix(PREFIX).partition(":")
    name = name or _USUAL
    try:
        with _aside():
            names = _names(place)
        if name not in names:
            raise ConfigurationError(f"{place} defines no {name!r}; name the catalog: {PREFIX}{place}:NAME")
        found = names[name]
        if callable(found) and not _is_catalog(found):
            with _aside():
                found = found()
    except (ConfigurationError, KeyboardInterrupt):
        raise
    except BaseException as error:  # whatever the file does, also SystemExit
        raise ConfigurationError(
            f"{place}: {type(error).__name__}: {' '.join(str(error).split())}{_line(error, place)}"
        ) from error
    if not _is_catalog(found):
        raise ConfigurationError(
            f"{place}: {name} is a {type(found).__name__}, no catalog of databroker or Tiled"
        )
    return found


@contextlib.contextmanager
def _aside() -> Iterator[None]:
    """Keep what it prints out of the command's own output."""
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings(action="ignore"):
        yield


def _names(place: str) -> dict[str, Any]:
    if not place.endswith(".py"):
        return vars(importlib.import_module(place))
    if not Path(place).is_file():
        raise ConfigurationError(f"{place}: no such file")
    return runpy.run_path(place)


def _is_catalog(found: Any) -> bool:
    found = getattr(found, "_catalog", found)
    return hasattr(found, "search") and hasattr(found, "values") and hasattr(found, "item")


def _line(error: BaseException, place: str) -> str:
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename.endswith(place)]
    return f" (line {lines[-1]})" if lines else ""
