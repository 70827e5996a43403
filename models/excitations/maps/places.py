"""Where columns lie: random paths and points for training."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.mapmodel.case import MapCase

__all__ = ["random_columns"]

Array = npt.NDArray[np.float64]

_SCATTERED = 0.25
"""Share of maps whose columns lie anywhere, as a triple-axis scan may choose them."""

_WHOLE, _LEAST_PART = 0.3, 0.4
"""Share of a powder's maps with all of its |Q|; the others have so much of it or more."""

_STEP = 1 / 8
"""Corners of random paths lie on multiples of this, as those of real paths do."""


def random_columns(case: MapCase, rng: np.random.Generator) -> Array:
    """Draw the columns of a training map, shape (columns, 3), in the order in which a scan takes them."""
    table = case.file.q
    n = table.columns
    if table.powder is not None:
        low, high = _part(*table.powder, rng)
        q = np.linspace(low, high, n) + rng.uniform(-0.5, 0.5, n) * (high - low) / n
        return np.stack([q, np.zeros(n), np.zeros(n)], 1)
    if table.path is not None:
        corners = np.asarray(table.path, dtype=float)
        if rng.random() < 0.5:
            first = int(rng.integers(len(corners) - 1))
            corners = corners[first : int(rng.integers(first + 2, len(corners) + 1))]
        return _along(corners, n, rng)
    low3, high3 = np.asarray(table.box, dtype=float).T
    if rng.random() < _SCATTERED:
        return np.asarray(rng.uniform(low3, high3, (n, 3)))
    count = int(rng.integers(2, 7))
    corners = np.clip(np.round(rng.uniform(low3, high3, (count, 3)) / _STEP) * _STEP, low3, high3)
    return _along(corners, n, rng)


def _part(low: float, high: float, rng: np.random.Generator) -> tuple[float, float]:
    """Return all of a range, or a part of it: an instrument reaches as far as its detectors do."""
    if rng.random() < _WHOLE:
        return low, high
    length = (high - low) * rng.uniform(_LEAST_PART, 1.0)
    start = low + (high - low - length) * rng.random()
    return start, start + length


def _along(corners: Array, n: int, rng: np.random.Generator) -> Array:
    """Place n columns at equal steps along a path, jittered by half a step."""
    length = np.linalg.norm(np.diff(corners, axis=0), axis=1)
    total = np.concatenate([[0.0], np.cumsum(length + 1e-9)])
    s = np.clip((np.arange(n) + rng.uniform(0, 1)) / n, 0, 1) * total[-1]
    return np.stack([np.interp(s, total, corners[:, k]) for k in range(3)], 1)
