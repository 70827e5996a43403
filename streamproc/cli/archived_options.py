"""Options of the commands that compute archived runs anew: where frames lie, and whose settings count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = ["archived_run_options"]

_OPTIONS = (
    click.option(
        "--frames", "roots", multiple=True, type=click.Path(path_type=Path, file_okay=False),
        help="A folder that frames may be read from, beside frames.roots of the settings.",
    ),
    click.option(
        "--map", "mapped", multiple=True, metavar="OLD=NEW",
        help="Path prefixes as documents have them -> here.",
    ),
    click.option("--config", "-c", type=click.Path(path_type=Path), help="Settings file (TOML)."),
    click.option("--bootstrap", metavar="HOST:PORT", help="Broker; overrides the file."),
    click.option(
        "--beamline", metavar="NAME", help="Short name that begins every topic; overrides the file."
    ),
)  # fmt: skip


def archived_run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--frames``, ``--map``, ``--config``, ``--bootstrap`` and ``--beamline`` to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
