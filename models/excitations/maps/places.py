"""Where columns lie: random paths and points for training, and what tells a network where a column is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.spinmodel.case import SpinCase

__all__ = ["phase_names", "phases_of", "random_columns"]

Array = npt.NDArray[np.float64]

_SCATTERED = 0.25
"""Share of maps whose columns lie anywhere, as a triple-axis scan may choose them."""

_STEP = 1 / 8
"""Corners of random paths lie on multiples of this, as those of real paths do."""


def phase_names(case: SpinCase) -> tuple[str, ...]:
    """Return the names of what :func:`phases_of` gives."""
    if case.powder:
        return tuple(f"sin({k} pi x)" for k in range(1, 7))
    names = [c.name for c in case.model.couplings]
    return (*(f"cos {n}" for n in names), *(f"sin {n}" for n in names), *(f"cos 2 {n}" for n in names))


def phases_of(case: SpinCase, q_rlu: Array) -> Array:
    """Return what the dispersion of this model depends on at columns, shape (n, f), within -1 and 1.

    For each coupling the mean over its bonds of cos(2 pi q.d), the root mean square of their sines, and the mean
    cosine of the doubled angle; for a powder sines of |Q| over the range trained for.

    Parameters
    ----------
    case : SpinCase
        Model.
    q_rlu : ndarray, shape (n, 3)
        Columns (a powder's |Q| in the first component).
    """
    q = np.atleast_2d(np.asarray(q_rlu, dtype=float))
    if case.file.q.powder is not None:
        low, high = case.file.q.powder
        x = (q[:, :1] - low) / (high - low)
        return np.asarray(np.sin(np.arange(1, 7) * np.pi * x / 2))
    found: list[list[Array]] = [[], [], []]
    for away in case.model.displacements:
        angle = 2 * np.pi * (q @ away.T)
        found[0].append(np.cos(angle).mean(1))
        found[1].append(np.sqrt((np.sin(angle) ** 2).mean(1)))
        found[2].append(np.cos(2 * angle).mean(1))
    return np.stack([v for group in found for v in group], 1)


def random_columns(case: SpinCase, rng: np.random.Generator) -> Array:
    """Draw the columns of a training map, shape (columns, 3), in the order in which a scan takes them."""
    table = case.file.q
    n = table.columns
    if table.powder is not None:
        low, high = table.powder
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


def _along(corners: Array, n: int, rng: np.random.Generator) -> Array:
    """Place n columns at equal steps along a path, jittered by half a step."""
    length = np.linalg.norm(np.diff(corners, axis=0), axis=1)
    total = np.concatenate([[0.0], np.cumsum(length + 1e-9)])
    s = np.clip((np.arange(n) + rng.uniform(0, 1)) / n, 0, 1) * total[-1]
    return np.stack([np.interp(s, total, corners[:, k]) for k in range(3)], 1)
