"""streamproc: an answer while the scan is still running, one that says how far to trust it.

``streamproc.open_results(source, run)`` reads the numbers of a run; see :mod:`streamproc.export.reading`.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["__version__"]

__version__ = "0.1.0"

_LAZY = {"open_results": "streamproc.export.reading"}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: ``import streamproc`` stays light."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'streamproc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
