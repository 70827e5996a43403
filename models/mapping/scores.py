"""How well two divisions of the same points agree."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["adjusted_rand_index"]


def adjusted_rand_index(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Return the adjusted Rand index of two labellings (Hubert & Arabie 1985, J. Classif. 2, 193).

    Parameters
    ----------
    a, b : array_like, shape (m,)
        Labels of the same points.

    Returns
    -------
    float
        1 for the same division whatever its names, about 0 for chance, negative below.
    """
    first = np.unique(np.asarray(a), return_inverse=True)[1]
    second = np.unique(np.asarray(b), return_inverse=True)[1]
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1.0)
    both, rows, columns = (_pairs(v) for v in (table.ravel(), table.sum(axis=1), table.sum(axis=0)))
    chance = rows * columns / _pairs(np.array([float(first.size)]))
    most = (rows + columns) / 2
    return 1.0 if most == chance else float((both - chance) / (most - chance))


def _pairs(counts: npt.NDArray[np.float64]) -> float:
    return float((counts * (counts - 1) / 2).sum())
