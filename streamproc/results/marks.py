"""What marks a shadow's runs, an interrupted replay's stop, and the messages of a replay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["INTERRUPTED", "REPLAYED", "is_interrupted", "is_shadow"]

INTERRUPTED = "interrupted"
"""Key of a stop that ends an interrupted replay; the whole run may come after it, from its start on."""
REPLAYED = "replayed"
"""Header of the messages of a replay: the same document may be in the topic already."""


def is_shadow(start: Mapping[str, Any]) -> bool:
    """Tell whether a start document is that of a shadow model's result run: not to be acted upon."""
    about = start.get("streamproc")
    return isinstance(about, Mapping) and about.get("shadow") is True


def is_interrupted(stop: Mapping[str, Any]) -> bool:
    """Tell whether a stop is an interrupted replay's; the run's own stop, where there is one, counts."""
    return stop.get(INTERRUPTED) is True
