"""The linear part of the fit: non-negative scales, background, and the covariance of everything."""

from __future__ import annotations

from math import comb

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.fit.nonnegative import non_negative

__all__ = ["background_rows", "covariance_of", "solve_linear", "solve_normal"]

Array = npt.NDArray[np.float64]

_RIDGE = 1e-9
_AIR = 0.06
_HUMPS_INVA = ((1.521, 0.63), (1.973, 0.83))
"""Centre and FWHM in Q of the first maxima of silica and borosilicate glass."""


def background_rows(
    two_theta_deg: Array, degree: int, wavelength_A: float, air: bool = True, humps: bool = True
) -> Array:
    """Return background components, all non-negative, shape (m, n): Bernstein polynomials, air scatter,
    humps."""
    t = (two_theta_deg - two_theta_deg[0]) / (two_theta_deg[-1] - two_theta_deg[0])
    rows = [comb(degree, k) * t**k * (1 - t) ** (degree - k) for k in range(degree + 1)]
    if air:
        rows.append(np.exp(-t / _AIR))
    if humps:
        q = 4 * np.pi * np.sin(np.deg2rad(two_theta_deg) / 2) / wavelength_A
        shapes = [np.exp(-4 * np.log(2) * ((q - c) / w) ** 2) for c, w in _HUMPS_INVA]
        rows += [shape for shape in shapes if shape.max() > 0.5]
    return np.array(rows)


def solve_linear(design: Array, weight: Array, y: Array, free: int = 0) -> Array:
    """Return the coefficients of the rows that fit ``y`` best, all but the last ``free`` non-negative.

    The Cholesky factor of the normal equations has the same minimiser and far fewer rows (Lawson & Hanson
    1974); coefficients without a bound are eliminated first.

    Parameters
    ----------
    design : ndarray, shape (m, n)
        Components.
    weight, y : ndarray, shape (n,)
        Square roots of the weights, and data.
    free : int
        Coefficients at the end that may be negative.
    """
    weighted = design * weight
    return solve_normal(weighted @ weighted.T, weighted @ (weight * y), free)


def solve_normal(gram: Array, right: Array, free: int = 0) -> Array:
    """As :func:`solve_linear`, from the normal equations.

    Parameters
    ----------
    gram : ndarray, shape (m, m)
        Products of the weighted components with each other.
    right : ndarray, shape (m,)
        Their products with the weighted data.
    free : int
        Coefficients at the end that may be negative.
    """
    norm = np.sqrt(np.diag(gram))
    norm = np.where(norm > 0, norm, 1.0)
    gram = gram / np.outer(norm, norm)
    gram[np.diag_indices_from(gram)] += _RIDGE
    right = right / norm
    m = len(gram) - free
    if free:
        inner = np.linalg.solve(gram[m:, m:], np.column_stack([gram[m:, :m], right[m:]]))
        bounded = non_negative(
            gram[:m, :m] - gram[:m, m:] @ inner[:, :m], right[:m] - gram[:m, m:] @ inner[:, m]
        )
        solution = np.concatenate([bounded, inner[:, m] - inner[:, :m] @ bounded])
    else:
        solution = non_negative(gram, right)
    return np.asarray(solution / norm)


def covariance_of(weighted: Array, prior: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Return the inverse of the normal matrix of weighted rows plus a diagonal of prior weights.

    Rows are scaled so that small ones keep their digits. The second result says which parameters data or
    prior say anything about; rows and columns of the others are zero.

    Parameters
    ----------
    weighted : ndarray, shape (m, n)
        Derivatives times the square roots of the weights.
    prior : ndarray, shape (m,)
        1 / sigma^2 of each parameter.
    """
    normal = weighted @ weighted.T
    normal[np.diag_indices_from(normal)] += prior
    norm = np.sqrt(np.diag(normal))
    known = norm > 0
    scale = np.where(known, norm, 1.0)
    scaled = normal / np.outer(scale, scale)
    scaled[np.diag_indices_from(scaled)] += 1e-12
    covariance = np.linalg.pinv(scaled, rcond=1e-13, hermitian=True) / np.outer(scale, scale)
    covariance[~known, :] = covariance[:, ~known] = 0.0
    return np.asarray(covariance), known
