"""Peak profiles integrated over bins (numba): Thompson-Cox-Hastings pseudo-Voigt with split widths."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from streamproc.compiling import machine_code

__all__ = ["add_peaks", "tch"]

Array = npt.NDArray[np.float64]

_REACH = 40.0
"""Peaks are drawn to this many FWHM on either side; 0.8 % of a Lorentzian lies beyond."""


def tch(gauss: Array, lorentz: Array) -> tuple[Array, Array]:
    """Return FWHM and Lorentzian share of the pseudo-Voigt that stands for a Voigt profile.

    Parameters
    ----------
    gauss, lorentz : ndarray
        FWHM of the two components, same unit.

    Returns
    -------
    fwhm, eta : ndarray
        Thompson, Cox & Hastings 1987, J. Appl. Cryst. 20, 79, equations 6 and 7.
    """
    g, x = gauss, lorentz
    fifth = (
        g**5 + 2.69269 * g**4 * x + 2.42843 * g**3 * x**2 + 4.47163 * g**2 * x**3 + 0.07842 * g * x**4 + x**5
    )
    fwhm = fifth**0.2
    ratio = x / fwhm
    return fwhm, 1.36603 * ratio - 0.47719 * ratio**2 + 0.11116 * ratio**3


@machine_code()
def _kernel(
    out: Array, edges: Array, centres: Array, areas: Array, fwhm: Array, eta: Array, skew: Array
) -> None:  # pragma: no cover - compiled
    """Loop over peaks and bins; differences of the cumulative profile are the bins' integrals."""
    n = len(out)
    root = 2.0 * math.sqrt(math.log(2.0))
    for p in range(len(centres)):
        reach = _REACH * fwhm[p]
        first = np.searchsorted(edges, centres[p] - reach) - 1
        last = np.searchsorted(edges, centres[p] + reach)
        s = min(max(skew[p] / fwhm[p], -0.6), 0.6)
        left, right = fwhm[p] * (1.0 + s), fwhm[p] * (1.0 - s)
        share_left, share_right = 0.5 * (1.0 + s), 0.5 * (1.0 - s)
        first, last = max(first, 0), min(last, n)
        before = 0.0
        for i in range(first, last + 1):
            x = edges[i] - centres[p]
            width, share = (left, share_left) if x < 0.0 else (right, share_right)
            u = 2.0 * x / width
            value = eta[p] * 2.0 / math.pi * math.atan(u)
            if u < 6.0 and u > -6.0:
                value += (1.0 - eta[p]) * math.erf(u * root / 2.0)
            else:
                value += (1.0 - eta[p]) * (1.0 if u > 0.0 else -1.0)
            cumulative = share_left + share * value
            if i > first:
                out[i - 1] += areas[p] * (cumulative - before)
            before = cumulative


def add_peaks(
    out: Array,
    edges_deg: Array,
    centres_deg: Array,
    areas: Array,
    gauss_deg: Array,
    lorentz_deg: Array,
    skew_deg: Array,
) -> None:
    """Add the integrals of peaks over bins to ``out``, in place.

    Parameters
    ----------
    out : ndarray, shape (n,)
        Integrals per bin, added to.
    edges_deg : ndarray, shape (n + 1,)
        Rising bin edges (degrees).
    centres_deg, areas : ndarray, shape (p,)
        Positions of the maxima (degrees) and areas of the peaks.
    gauss_deg, lorentz_deg : ndarray, shape (p,)
        FWHM of the two components (degrees).
    skew_deg : ndarray, shape (p,)
        Widening of the low-angle and narrowing of the high-angle half (degrees), at most 60 % of the FWHM.
    """
    fwhm, eta = tch(gauss_deg, lorentz_deg)
    _kernel(out, edges_deg, centres_deg, areas, fwhm, eta, skew_deg)
