"""A dispersion as it builds: which mode belongs to the branch, and the branch's one number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["DispersionFit", "Form", "branch_shape", "fit_dispersion"]

Array = npt.NDArray[np.float64]
Form = Literal["linear", "sine"]

_ROUNDS = 6
_LEAST = 2
_FAR = 6.0
"""Sigmas, or so many times the usual distance, from which a mode is not the branch's."""


@dataclass(frozen=True, slots=True, eq=False)
class DispersionFit:
    """``E(q) = scale * shape(q)``.

    Attributes
    ----------
    scale, sigma : float
        Slope (energy per unit of q) of the linear form; energy at the zone boundary of the sine. Its standard
        deviation is multiplied by the root of the reduced chi-square where that is above 1.
    chi2_reduced : float
        NaN with fewer than two points more than parameters.
    chosen : ndarray of int, shape (n,)
        Which mode of each point belongs to the branch; -1: none.
    """

    scale: float
    sigma: float
    chi2_reduced: float
    chosen: npt.NDArray[np.int64]


def branch_shape(q: npt.ArrayLike, form: Form, zone_boundary: float) -> Array:
    """Return the acoustic branch over its scale: |q|, or |sin(pi q / 2 q_zb)|.

    Parameters
    ----------
    q : array_like
        Momentum, or a motor that stands for it, from the zone centre.
    form : {'linear', 'sine'}
        Which.
    zone_boundary : float
        q of the zone boundary (sine only).
    """
    q = np.abs(np.asarray(q, float))
    return q if form == "linear" else np.abs(np.sin(np.pi * q / (2 * zone_boundary)))


def fit_dispersion(
    q: npt.ArrayLike, energy: npt.ArrayLike, sigma: npt.ArrayLike, form: Form, zone_boundary: float = 1.0
) -> DispersionFit | None:
    """Fit the acoustic branch through modes of which others may be optical or spurious.

    Parameters
    ----------
    q : array_like, shape (n,)
        Momentum of each point.
    energy, sigma : array_like, shape (n, m)
        Modes and their standard deviations; NaN: no mode.
    form : {'linear', 'sine'}
        Form of the branch.
    zone_boundary : float
        q of the zone boundary (sine only).

    Returns
    -------
    DispersionFit or None
        None with fewer than two usable points.
    """
    e, s = np.atleast_2d(np.asarray(energy, float)), np.atleast_2d(np.asarray(sigma, float))
    shape = branch_shape(q, form, zone_boundary)
    known, count = np.isfinite(e) & np.isfinite(s) & (s > 0), len(e)
    usable = np.flatnonzero(known.any(1) & np.isfinite(shape) & (shape > 0))
    if usable.size < _LEAST:
        return None
    e, s, known, shape = e[usable], s[usable], known[usable], shape[usable]
    rows, picked = np.arange(usable.size), np.argmax(known, 1)  # the lowest mode to begin with
    for _ in range(_ROUNDS):
        scale = float(np.median(e[rows, picked] / shape))
        again = np.argmin(np.where(known, np.abs(e - scale * shape[:, None]), np.inf), 1)
        if (again == picked).all():
            break
        picked = again
    pull = np.abs(e[rows, picked] - scale * shape) / s[rows, picked]
    # where the branch's own mode was not found, the nearest one is far off
    near = pull <= _FAR * max(1.0, 1.4826 * float(np.median(pull)))
    chosen = np.full(count, -1)
    chosen[usable[near]] = picked[near]
    return _weighted(e[rows, picked][near], s[rows, picked][near], shape[near], chosen)


def _weighted(energy: Array, sigma: Array, shape: Array, chosen: npt.NDArray[np.int64]) -> DispersionFit:
    weight = 1 / sigma**2
    information = float((weight * shape**2).sum())
    scale = float((weight * shape * energy).sum() / information)
    rest, freedom = energy - scale * shape, energy.size - 1
    chi2 = float((weight * rest**2).sum() / freedom) if freedom > 1 else float("nan")
    wider = float(np.sqrt(max(1.0, np.nan_to_num(chi2, nan=1.0))))
    return DispersionFit(scale, information**-0.5 * wider, chi2, chosen)
