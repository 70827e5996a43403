"""quiet: threads take turns quickly and the garbage collector finds little to look at."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet"]

_SWITCH_S = 0.0005
"""How long a working thread may keep the interpreter (s) when another is due."""


@contextmanager
def quiet(paced: bool) -> Iterator[None]:
    """Make ready for a replay, and undo it.

    Everything that is loaded is left out of garbage collections: a full one costs some 100 ms, in which
    nothing is given out. Where documents have their times, threads take turns more often.

    Parameters
    ----------
    paced : bool
        Whether documents have their times.
    """
    interval_s, frozen = sys.getswitchinterval(), gc.get_freeze_count()
    if paced:
        sys.setswitchinterval(_SWITCH_S)
    if not frozen:
        gc.freeze()
    try:
        yield
    finally:
        sys.setswitchinterval(interval_s)
        if not frozen:
            gc.unfreeze()
