"""Strain of restrictedly random dislocations: the Wilkens function and its Fourier coefficients.

M. Wilkens 1970, in Fundamental Aspects of Dislocation Theory, NBS Spec. Publ. 317, vol. II, 1195; in the
form of
Ribarik, Ungar & Gubicza 2001, J. Appl. Cryst. 34, 669, equations 11 to 14.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["strain_coefficients", "wilkens"]

Array = npt.NDArray[np.float64]

_NODES = 20


def _arcsine_integral(eta: Array) -> Array:
    """Integral of arcsin(v) / v from 0 to eta <= 1: with v = sin(t) that of t cot(t), smooth up to pi / 2."""
    u, weight = np.polynomial.legendre.leggauss(_NODES)
    top = np.arcsin(eta)
    t = np.multiply.outer(top, (u + 1) / 2)
    return np.asarray(top * ((t / np.tan(t)) @ weight) / 2)


def wilkens(eta: npt.ArrayLike) -> Array:
    """Return the Wilkens function f(eta).

    Parameters
    ----------
    eta : array_like
        exp(-1/4) / 2 * L / Re > 0, with the effective outer cut-off radius Re of the dislocations.

    Returns
    -------
    ndarray
        ln(Re / L) + 2 for small eta; falls as 256 / (45 pi eta) for large eta.
    """
    x = np.asarray(eta, float)
    near = np.clip(x, 1e-12, 1.0)
    below = (
        -np.log(near) + 7 / 4 - np.log(2) + near**2 / 6
        + 256 / (45 * np.pi * near) + 2 / np.pi * (1 - 1 / (4 * near**2)) * _arcsine_integral(near)
        - np.sqrt(1 - near**2) / np.pi * (769 / (180 * near) + 41 * near / 90 + near**3 / 45)
        - np.arcsin(near) / np.pi * (11 / (12 * near**2) + 7 / 2 + near**2 / 3)
    )  # fmt: skip
    # below, terms of 1 / eta cancel: where that costs digits their sum's limit is used
    below = np.where(near < 1e-4, 7 / 4 - np.log(2) - np.log(near), below)
    far = np.maximum(x, 1.0)
    above = 256 / (45 * np.pi * far) - (11 / 24 + np.log(2 * far) / 4) / far**2
    return np.asarray(np.where(x <= 1, below, above))


def strain_coefficients(
    length_nm: Array,
    s_per_nm: float,
    density_per_nm2: float,
    cutoff_nm: float,
    burgers_nm: float,
    contrast: float,
) -> Array:
    """Return the Fourier coefficients exp(-2 pi^2 s^2 L^2 <strain^2>) of a line for L > 0.

    Parameters
    ----------
    length_nm : ndarray, shape (n,)
        L >= 0 (nm).
    s_per_nm : float
        1/d of the line (1/nm).
    density_per_nm2 : float
        Dislocation density rho (1/nm^2); 1e15 per square metre are 1e-3.
    cutoff_nm : float
        Effective outer cut-off radius Re (nm); M = Re sqrt(rho) is the arrangement parameter.
    burgers_nm : float
        Length of the Burgers vector (nm).
    contrast : float
        Mean contrast factor C of the line.
    """
    length = np.maximum(length_nm, 1e-6)
    value = wilkens(0.5 * np.exp(-0.25) * length / cutoff_nm)
    return np.asarray(
        np.exp(-0.5 * np.pi * density_per_nm2 * contrast * (burgers_nm * s_per_nm * length) ** 2 * value)
    )
