"""From parameters to the spectrum that is to be seen, with all derivatives."""

from __future__ import annotations

import copy

import numpy as np
import numpy.typing as npt
from scipy.ndimage import spline_filter1d
from streamproc.models.excitations.oscillators.expected import Optics, expected
from streamproc.models.excitations.oscillators.parameters import Composition
from streamproc.models.excitations.oscillators.resolution import Resolution

from streamproc.errors import ConfigurationError

__all__ = ["Forward"]

Array = npt.NDArray[np.float64]

_EDGE = 12
"""Grid steps beyond the reach of the resolution, where the splines settle."""

_UNSEEN = 1e-12
"""Share of the largest weight below which a point does not see a node."""

_NARROW = 0.25
"""Share of the grid up to which points are seen node by node; beyond, a whole matrix product is faster."""

_LANES = 8
"""A band is as wide as a whole number of these, so that no numbers are left over for compiled loops."""

_MOST_STEPS = 20000
_TAIL = 1e-5
"""Share of an elastic line's height from which on an axis sees its tail."""


class Forward:
    """The spectrum of oscillators, elastic line and background on one axis, through one resolution.

    Parameters
    ----------
    energy : array_like, shape (n,)
        Energy loss of each point; rising, not necessarily evenly spaced.
    resolution : Resolution
        Line shape, in the unit of the axis.
    kT : float
        Thermal energy, in the unit of the axis.

    Attributes
    ----------
    optics : Optics
        Grid and convolution, for compiled code.
    elastic_height : float
        Largest value on the axis of an elastic line of unit area (of its tail, on an axis beside it).
    sees_elastic : bool
        That is enough to be seen: an elastic line may be a hundred thousand times as high as what is looked
        for, and on an axis that begins beside it, or far from it behind a Lorentzian resolution, its tail
        is no mode.

    Raises
    ------
    ConfigurationError
        The axis does not rise, or the resolution is far too sharp for it.
    """

    def __init__(self, energy: npt.ArrayLike, resolution: Resolution, kT: float) -> None:
        self.energy = np.ascontiguousarray(energy, float)
        self.resolution, self.kT = resolution, float(kT)
        e = self.energy
        if e.ndim != 1 or e.size < 2 or not np.isfinite(e).all() or not (np.diff(e) > 0).all():
            raise ConfigurationError("energies of a spectrum must be finite and rise strictly")
        self.span = float(e[-1] - e[0])
        step = float(resolution.fwhm / resolution.steps)
        margin = resolution.reach + _EDGE * step
        self.elastic_height = float(resolution(e).max())
        self.sees_elastic = self.elastic_height * resolution.fwhm > _TAIL
        first, last = float(e[0]) - margin, float(e[-1]) + margin
        if self.sees_elastic:
            beside = resolution.fwhm + _EDGE * step
            first, last = min(first, -beside), max(last, beside)
        n = int(np.ceil((last - first) / step)) + 1
        if n > _MOST_STEPS:
            raise ConfigurationError(
                f"the axis spans {self.span / resolution.fwhm:.0f} resolution widths "
                f"({n} grid steps, at most {_MOST_STEPS}); check the units of resolution "
                f"({resolution.fwhm:g}) and axis ({self.span:g})"
            )
        # a long line's samples need settled splines at both ends: mirrored there by the filter
        grid = first + step * np.arange(n)
        seen = spline_filter1d(resolution(e[:, None] - grid[None, :]), order=5, axis=1, mode="mirror")
        ramp = (e - e.mean()) / max(self.span / 2, 1e-300)
        self.optics = Optics(np.ascontiguousarray(seen.T), *_band(seen), ramp, first, step)
        self._smoothers: dict[float, Array] = {}

    @property
    def points(self) -> int:
        """Number of points."""
        return self.energy.size

    def at(self, kT: float) -> Forward:
        """Return the same at another thermal energy; the convolution is shared."""
        if kT == self.kT:
            return self
        other = copy.copy(self)
        other.kT = float(kT)
        return other

    def smoother(self, widths: float) -> Array:
        """Return the matrix that averages residuals over a peak of so many resolution widths, shape (n, n).

        Rows have unit length, so that independent residuals of variance 1 stay so.
        """
        found = self._smoothers.get(widths)
        if found is None:
            sigma = np.hypot(widths, 0.5) * self.resolution.fwhm / 2.355
            found = np.exp(-0.5 * ((self.energy[:, None] - self.energy[None, :]) / sigma) ** 2)
            found /= np.sqrt((found * found).sum(1))[:, None]
            self._smoothers[widths] = found
        return found

    def __call__(self, composition: Composition, vector: Array) -> tuple[Array, Array]:
        """Return the spectrum and its derivatives.

        Parameters
        ----------
        composition : Composition
            What there is.
        vector : ndarray, shape (p,)
            Parameters in its order; widths and energies above 0.

        Returns
        -------
        spectrum : ndarray, shape (n,)
            Expected intensity at each point.
        derivatives : ndarray, shape (p, n)
            By each parameter.
        """
        vector = np.ascontiguousarray(vector, float)
        spectrum, derivatives = np.empty(self.points), np.empty((len(composition), self.points))
        expected(vector, composition.layout, self.optics, self.kT, spectrum, derivatives)
        return spectrum, derivatives


def _band(seen: Array) -> tuple[npt.NDArray[np.int64], Array]:
    """Return which nodes each point sees: the first, and the weights from there on; see :class:`Optics`."""
    n = seen.shape[1]
    there = np.abs(seen) > _UNSEEN * np.abs(seen).max()
    first, last = there.argmax(1), n - 1 - there[:, ::-1].argmax(1)
    width = -(-int((last - first).max() + 1) // _LANES) * _LANES
    if width > _NARROW * n:
        return np.zeros(len(seen), np.int64), np.empty((len(seen), 0))
    first = np.minimum(first, n - width)
    return first.astype(np.int64), np.take_along_axis(seen, first[:, None] + np.arange(width), axis=1)
