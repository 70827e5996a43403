"""How far a fit would move if its model averaged over other wave vectors: the average's own error."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["shift_of"]

Array = npt.NDArray[np.float64]


def shift_of(residual: Array, other: Array, slope: Array, known: Array) -> Array:
    """Return the change of a fit's numbers when the model's residuals become others, to the first order.

    Parameters
    ----------
    residual, other : ndarray, shape (cells,)
        Weighted residuals at the same numbers of the model that was fitted, and of the other one.
    slope : ndarray, shape (numbers, cells)
        How residuals change with the numbers.
    known : ndarray, shape (numbers, numbers)
        (J^T W J)^-1.
    """
    moved: Any = known @ (slope @ (residual - other))
    return np.asarray(moved)
