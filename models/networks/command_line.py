"""The command line of a training as a card keeps it: one that anybody can give again, anywhere."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

__all__ = ["published_command"]

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
