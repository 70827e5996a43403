"""Nested lists made arrays again, of the kind that a descriptor declares."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["as_declared"]


def as_declared(array: npt.NDArray[Any], declared: Any) -> npt.NDArray[Any]:
    """Return a list's values in the declared dtype (``dtype_numpy``) where that changes none of them."""
    if not isinstance(declared, str):
        return array
    try:
        dtype = np.dtype(declared)
        if dtype.kind not in "biufc":
            return array
        with np.errstate(all="ignore"):
            same = array.astype(dtype)
            kept = np.array_equal(same, array, equal_nan=array.dtype.kind in "fc")
    except (TypeError, ValueError, OverflowError):
        return array
    rounded = dtype.kind in "fc" and array.dtype.kind in "fc"
    return same if kept or rounded else array
