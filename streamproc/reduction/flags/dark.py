"""Is the dark image dark? One that saw the beam holds the rings that it is subtracted from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.parts import COMBS, PARTS
from streamproc.reduction.passes import Constants

__all__ = ["DarkJudge"]

Float = npt.NDArray[np.float64]

_SIGMAS = 8.0
_LAGS = (1, 2, 4, 8)
"""Distances in rings: from sharp lines to broad ones."""


class DarkJudge:
    """Compares dark and frame ring by ring.

    Parameters
    ----------
    n : int
        Rings.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._known: tuple[Constants, Float, int] | None = None

    def ring_share(self, cells: Constants, rings: Float) -> float:
        """Return which share of the rings of the frame before subtraction the dark holds.

        Both are taken by their second differences, which a pedestal or a slope does not reach. The dark has
        rings where its two combs agree on them: noise and unequal pixels differ. 0 without a dark.

        Parameters
        ----------
        cells : Constants
            With the dark.
        rings : ndarray, shape (n,)
            Intensity of the rings, dark subtracted; 0 where unknown.
        """
        if cells.dark is None:
            return 0.0
        if self._known is None or self._known[0] is not cells:
            self._known = (cells, *self._reduced(cells))
        _, dark, lag = self._known
        if not lag:
            return 0.0
        both = _bent(rings, lag) + dark
        return max(float(dark @ both) / max(float(both @ both), 1e-300), 0.0)

    def _reduced(self, cells: Constants) -> tuple[Float, int]:
        """The dark's second differences at the distance at which rings are clearest; distance 0: no rings."""
        shape = (self._n, PARTS // COMBS, COMBS)
        sums, norms = (v.reshape(shape).sum(axis=1) for v in (cells.dark_sum, cells.norm_sum))
        full = (norms > 0.2 * np.median(norms)).all(axis=1)
        combs = np.where(full[:, None], sums / np.where(full[:, None], norms, 1.0), 0.0)
        best, found, at = _SIGMAS, np.zeros(0), 0
        for lag in _LAGS:
            if self._n <= 4 * lag:
                break
            inside = full[: -2 * lag] & full[lag:-lag] & full[2 * lag :]
            one, other = (_bent(combs[:, c], lag) * inside for c in (0, 1))
            chance = float(np.sqrt((one @ one) * (other @ other) / max(np.count_nonzero(inside), 1)))
            clear = float(one @ other) / chance if chance > 0 else 0.0
            if clear > best:
                best, found, at = clear, 0.5 * (one + other), lag
        return found, at


def _bent(y: Float, lag: int) -> Float:
    bent: Float = y[: -2 * lag] - 2 * y[lag:-lag] + y[2 * lag :]
    return bent
