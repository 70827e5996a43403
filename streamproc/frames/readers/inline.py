"""Arrays that came in the event itself: as they are, or as (nested) lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.errors import FrameFailed
from streamproc.runs.arrays import as_declared

__all__ = ["read_inline"]


def read_inline(value: Any, data_key: Mapping[str, Any]) -> npt.NDArray[Any]:
    """Return an inline value as an array.

    An array keeps its own dtype, whatever the descriptor says. A list gets the descriptor's ``dtype_numpy``
    if every value survives that, else numpy's choice. One number is an array of one where the data key
    says that one number is meant (shape ``[]``), as a point detector's counts are.

    Raises
    ------
    FrameFailed
        One number where an array was declared, text, a mapping, or lists of unequal length.
    """
    if isinstance(value, np.ndarray):
        return value
    if _one_number(value, data_key):
        return np.asarray([value])
    if not isinstance(value, list | tuple):
        raise FrameFailed(
            f"the reading is no array but {type(value).__name__} {value!r:.80}: "
            "choose the data key that holds the detector's array"
        )
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise FrameFailed(f"the reading's lists are not a regular array: {error}") from error
    if array.dtype.kind not in "biufc":
        raise FrameFailed(f"the reading's lists hold {array.dtype}, not numbers of one kind and equal length")
    return as_declared(array, data_key.get("dtype_numpy"))


def _one_number(value: Any, data_key: Mapping[str, Any]) -> bool:
    """Whether it is the number that the data key promised; a truth value is none."""
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return number and data_key.get("dtype") in ("number", "integer") and data_key.get("shape") in ([], ())
