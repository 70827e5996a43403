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
    known = np.isfinite(e) & np.isfinite(s) & (s > 0)
    usable = known.any(1) & np.isfinite(shape) & (shape > 0)
    if usable.sum() < _LEAST:
        return None
    chosen = np.full(len(e), -1)
    chosen[usable] = np.argmax(known[usable], 1)  # the lowest mode to begin with
    scale = 0.0
    for _ in range(_ROUNDS):
        picked_e, picked_s = e[usable, chosen[usable]], s[usable, chosen[usable]]
        scale = float(np.median(picked_e / shape[usable]))
        off = np.where(known[usable], np.abs(e[usable] - scale * shape[usable, None]), np.inf)
        again = np.argmin(off, 1)
        if (again == chosen[usable]).all():
            break
        chosen[usable] = again
    weight = 1 / picked_s**2
    information = float((weight * shape[usable] ** 2).sum())
    scale = float((weight * shape[usable] * picked_e).sum() / information)
    rest, freedom = picked_e - scale * shape[usable], int(usable.sum()) - 1
    chi2 = float((weight * rest**2).sum() / freedom) if freedom > 1 else float("nan")
    return DispersionFit(
        scale, information**-0.5 * np.sqrt(max(1.0, np.nan_to_num(chi2, nan=1.0))), chi2, chosen
    )
