"""A `model.toml`, read with errors that name the file and the line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from streamproc.errors import ConfigurationError

__all__ = ["read_toml"]


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a file.

    Raises
    ------
    ConfigurationError
        File missing, no text, or not TOML (with the line).
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not a TOML file: {error}") from error
