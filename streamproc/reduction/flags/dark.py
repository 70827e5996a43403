"""Is the dark image dark? One that saw the beam holds the rings that it is subtracted from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.parts import PARTS
from streamproc.reduction.passes import Constants

__all__ = ["DarkJudge"]

Float = npt.NDArray[np.float64]


class DarkJudge:
    """Compares dark and frame ring by ring.

    Parameters
    ----------
    n : int
        Rings.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._known: tuple[Constants, Float, float] | None = None

    def ring_share(self, cells: Constants, rings: Float) -> float:
        """Return which share of the rings of the frame before subtraction the dark holds.

        Both are taken by their second differences, which a pedestal or a slope does not reach: the dark's
        regressed on the sum of both, two sigma of its noise taken off. 0 without a dark.

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
        _, dark, noise = self._known
        both = _bent(rings) + dark
        square = float(both @ both)
        if square <= 0:
            return 0.0
        return max(float(dark @ both) / square - 2.0 * noise / float(np.sqrt(square)), 0.0)

    def _reduced(self, cells: Constants) -> tuple[Float, float]:
        norm = cells.norm_sum.reshape(self._n, PARTS).sum(axis=1)
        safe = np.where(norm > 0, norm, 1.0)
        dark = np.where(norm > 0, cells.dark_sum.reshape(self._n, PARTS).sum(axis=1) / safe, 0.0)
        bent = _bent(dark)
        return bent, 1.4826 * float(np.median(np.abs(bent)))


def _bent(y: Float) -> Float:
    bent: Float = y[:-2] - 2 * y[1:-1] + y[2:]
    return bent
