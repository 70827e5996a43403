"""Size broadening of spheres whose diameters are log-normally distributed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import erfc

from streamproc.errors import ConfigurationError

__all__ = ["column_mean_nm", "size_coefficients", "volume_mean_nm"]

Array = npt.NDArray[np.float64]


def size_coefficients(length_nm: Array, median_nm: float, sigma: float) -> Array:
    """Return the Fourier coefficients of a line for L >= 0.

    Parameters
    ----------
    length_nm : ndarray, shape (n,)
        L (nm).
    median_nm : float
        Median diameter (nm) of the number distribution.
    sigma : float
        Standard deviation of ln(diameter); 0 is a single size.

    Returns
    -------
    ndarray
        The mean of 1 - 3 L / (2 D) + (L / D)^3 / 2 over the spheres, weighted by volume (Langford, Louer &
        Scardi
        2000, J. Appl. Cryst. 33, 964; Ungar et al. 2001, J. Appl. Cryst. 34, 298).
    """
    if not (median_nm > 0 and sigma >= 0):
        raise ConfigurationError(
            f"sizes need a median > 0 and sigma >= 0, got {median_nm:g} nm and {sigma:g}"
        )
    x = np.asarray(length_nm, float) / median_nm
    if sigma < 1e-4:
        return np.asarray(np.where(x < 1, 1 - 1.5 * x + 0.5 * x**3, 0.0))
    root = np.sqrt(2) * sigma
    place = np.log(np.maximum(x, 1e-300)) / root
    terms = (
        erfc(place - 1.5 * root)
        - 1.5 * x * np.exp(-2.5 * sigma**2) * erfc(place - root)
        + 0.5 * x**3 * np.exp(-4.5 * sigma**2) * erfc(place)
    )
    return np.asarray(terms / 2)


def volume_mean_nm(median_nm: float, sigma: float) -> float:
    """Return the volume-weighted mean column length 3/4 <D^4>/<D^3> (nm): what an integral breadth gives."""
    return float(0.75 * median_nm * np.exp(3.5 * sigma**2))


def column_mean_nm(median_nm: float, sigma: float) -> float:
    """Return the area-weighted mean column length 2/3 <D^3>/<D^2> (nm): what the initial slope gives."""
    return float(2 / 3 * median_nm * np.exp(2.5 * sigma**2))
