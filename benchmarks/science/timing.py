"""Times one call many times: wall and processor time, the first call left out."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

__all__ = ["timed"]


def timed(what: str, call: Callable[[], object], rounds: int) -> float:
    """Print medians and the best; return the median processor time (ms)."""
    call()
    took, worked = [], []
    for _ in range(rounds):
        began, began_work = time.perf_counter(), time.process_time()
        call()
        took.append(1e3 * (time.perf_counter() - began))
        worked.append(1e3 * (time.process_time() - began_work))
    print(
        f"{what:62s} wall median {np.median(took):7.2f} best {min(took):7.2f} ms; "
        f"processor time median {np.median(worked):7.2f} ms"
    )
    return float(np.median(worked))
