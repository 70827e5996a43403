"""The median without branches: chance decides those of a usual selection, which costs more than all sums."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamproc.reduction.kernels import compiled

__all__ = ["median_of", "ranked"]

_HIGHEST_BIT = 62
"""Of a number that is not negative."""

_ABOVE_ALL = 0x7FFFFFFFFFFFFFFF


@compiled
def ranked(values: Any, rank: int) -> float:
    """Return the value that stands at a place when all are sorted.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        Contiguous, none negative (nor -0.0), none NaN.
    rank : int
        The place: 0 is the lowest, n - 1 the highest.

    Notes
    -----
    The bits of numbers that are not negative, read as whole numbers, have the same order. So the answer is
    found bit by bit, from the highest on: a bit is set if no more than ``rank`` values lie below the number
    with it, until only one value begins like this. Each step counts over all values, in vector code.
    """
    return _number(_ranked(values.view(np.int64), rank))


@compiled
def median_of(values: Any) -> float:
    """Return the median; ``values`` as :func:`ranked` takes them, n > 0."""
    bits, n = values.view(np.int64), values.size
    high = _ranked(bits, n // 2)
    if n % 2 == 1:
        return _number(high)
    low, below = np.int64(0), 0
    for i in range(n):  # of an even number the two in the middle count
        low = max(low, bits[i] if bits[i] < high else np.int64(0))
        below += bits[i] < high
    return 0.5 * (_number(low if below == n // 2 else high) + _number(high))


@compiled
def _ranked(bits: Any, rank: int) -> Any:
    """Bits of the value at that place, as a whole number."""
    found, least, most = np.int64(0), 0, bits.size
    for bit in range(_HIGHEST_BIT, -1, -1):
        with_it, below = found | (np.int64(1) << np.int64(bit)), 0
        for i in range(bits.size):
            below += bits[i] < with_it
        if below <= rank:
            found, least = with_it, below
        else:
            most = below
        if most - least == 1:
            break
    lowest = np.int64(_ABOVE_ALL)
    for i in range(bits.size):
        lowest = min(lowest, bits[i] if bits[i] >= found else np.int64(_ABOVE_ALL))
    return lowest


@compiled
def _number(bits: Any) -> float:
    """Number of which these are the bits."""
    one = np.empty(1, np.int64)
    one[0] = bits
    return float(one.view(np.float64)[0])
