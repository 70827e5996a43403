"""The command line of a training as a card keeps it: one that anybody can give again, anywhere."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from streamproc.errors import ConfigurationError

__all__ = ["only_for_calibration", "published_command"]

_NOT_KEPT = ("--resume",)
"""Says how this training went on, not how the model is made."""


def published_command(analysis: str, arguments: Sequence[str]) -> str:
    """Return the command line without what only this machine has.

    Parameters
    ----------
    analysis : str
        What was trained, as in ``streamproc train ANALYSIS``.
    arguments : sequence of str
        What was given after it.

    Returns
    -------
    str
        Absolute paths are shortened: the version folder to ``models/NAME/VERSION``, files to their name.
        Relative paths stay. ``--resume`` is left out.
    """
    words = ["streamproc", "train", analysis]
    for before, word in zip(("", *arguments), arguments, strict=False):
        if word in _NOT_KEPT:
            continue
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        words.append(f"{option}{equals}{_published(value, option or before)}" if value else word)
    return shlex.join(words)


def _published(value: str, option: str) -> str:
    path = Path(value)
    if not path.is_absolute():
        return value
    if option == "--out":
        return str(Path("models", *path.parts[1:][-2:]))
    return path.name


def only_for_calibration(given: Iterable[str], taken: Sequence[str]) -> None:
    """Refuse settings of a training where a model is only calibrated.

    Parameters
    ----------
    given : iterable of str
        Names of the settings on the command line.
    taken : sequence of str
        Those that a calibration has.

    Raises
    ------
    ConfigurationError
        Others were given; names them.
    """
    others = [f"--{name.replace('_', '-')}" for name in given if name not in taken]
    if others:
        kept = ", ".join(f"--{name.replace('_', '-')}" for name in taken)
        raise ConfigurationError(
            f"--calibrate keeps the trained graph: {', '.join(others)} would have no effect; it takes {kept}"
        )
