"""Whether a map shows a dispersion at all: one spectrum, the same at every wave vector, against the fit."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.maps.fitted import MapFit

__all__ = ["LEAST", "Alike", "alike"]

_FEWEST_COLUMNS = 3
"""Of fewer, a spectrum for all says next to nothing."""

LEAST = 0.5
"""Share of what differs between the columns that a model has to explain."""


_MEDIAN = 0.4549
"""Of the square of a standard normal number."""


@dataclass(frozen=True, slots=True)
class Alike:
    """One spectrum for all wave vectors, beside the fit of a map, with the fit's weights.

    Attributes
    ----------
    chi2, numbers : float, int
        What the mean over the columns leaves over, and its free numbers: one for each energy.
    fit_chi2, fit_numbers : float, int
        The same of the fit.
    cells : int
        Compared.
    noise : float
        Chi-square of a cell that comes from noise: one, or more where errors are too small.
    """

    chi2: float
    numbers: int
    fit_chi2: float
    fit_numbers: int
    cells: int
    noise: float

    @property
    def explained(self) -> float:
        """Share of what differs between the columns, beyond noise, that the fit explains; negative: worse
        than one spectrum for all."""
        return (self.chi2 - self.fit_chi2) / max(self.chi2 - self.noise * self.cells, 1.0)

    @property
    def missed(self) -> bool:
        """Whether the fit explains less than half of that, by more than chance.

        By chance it may miss what the Bayesian information criterion (Schwarz 1978, Ann. Stat. 6, 461)
        charges for the numbers that one spectrum has more.
        """
        chance = self.noise * max(self.numbers - self.fit_numbers, 1) * log(self.cells)
        half_way = LEAST * self.noise * self.cells + (1 - LEAST) * self.chi2
        return self.fit_chi2 - half_way > chance


def alike(fit: MapFit, cells: npt.NDArray[np.bool_], counts: bool) -> Alike | None:
    """Return how one spectrum for all columns compares with a fit; None where there are hardly any columns.

    Parameters
    ----------
    fit : MapFit
        With the data and weights it was fitted to.
    cells : ndarray of bool, shape (n, m)
        Cells that were fitted: columns, energies.
    counts : bool
        Intensities are counts, whose noise is known; otherwise errors may be too small.
    """
    linear = fit.linear
    if linear is None or int(cells.any(1).sum()) < _FEWEST_COLUMNS:
        return None
    y, weight = np.zeros(cells.shape), np.zeros(cells.shape)
    y[cells], weight[cells] = linear.y, linear.root**2
    total = weight.sum(0)
    mean = (weight * y).sum(0) / np.where(total > 0, total, 1.0)
    left, left_by_fit = ((weight * (y - m) ** 2)[cells] for m in (mean, fit.model))
    # most cells of a map hold no ridge: what is usual there is noise, for the better of the two
    usual = 1.0 if counts else min(float(np.median(left)), float(np.median(left_by_fit))) / _MEDIAN
    own = len(fit.free) + 1 + len(linear.background)
    energies, compared = int((total > 0).sum()), int(cells.sum())
    return Alike(float(left.sum()), energies, float(left_by_fit.sum()), own, compared, max(1.0, usual))
