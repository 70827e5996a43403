"""The ridge of a map: where its peaks lie, and a fit of the dispersion to them; the classical way by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from streamproc.models.excitations.lswt.errors import NotAMinimum
from streamproc.models.excitations.lswt.waves import SpinWaves
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.spinmodel.case import SpinCase

from streamproc.errors import FrameFailed

__all__ = ["Ridge", "RidgeFit", "fit_ridge", "ridge_of"]

Array = npt.NDArray[np.float64]

_STEEP = 1.0
"""At constant Q where the band moves by less than so many widths per column, else at constant E."""

_LEAST_SNR, _REACH = 3.5, 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    """Peaks.

    Attributes
    ----------
    q_rlu : ndarray, shape (k, 3)
        Where.
    energy, sigma : ndarray, shape (k,)
        Centres, and their uncertainties in energy.
    """

    q_rlu: Array = field(repr=False)
    energy: Array = field(repr=False)
    sigma: Array = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class RidgeFit:
    """A dispersion through a ridge.

    Attributes
    ----------
    values : dict of str to float
        Free couplings.
    covariance : ndarray, shape (p, p)
        Times max(1, reduced chi-square).
    chi2_reduced : float
        Of the peaks, those far off counted less.
    residual : float
        Median distance of a peak from the band (energy).
    peaks : int
        How many.
    """

    values: dict[str, float]
    covariance: Array = field(repr=False)
    chi2_reduced: float
    residual: float
    peaks: int


def ridge_of(case: SpinCase, measured: SqeMap, values: Mapping[str, float], width: float) -> Ridge:
    """Find peaks near a band: at constant Q where it is flat, at constant E where it is steep.

    A Gaussian of the given width with a straight background is solved linearly at every place within three
    widths of the band; the best place, refined by a parabola of its chi-square, is the peak.

    Parameters
    ----------
    case : SpinCase
        Model.
    measured : SqeMap
        A map whose columns follow a path, energies in the model's unit.
    values : mapping
        Couplings near the truth.
    width : float
        FWHM of a peak (energy).
    """
    band = SpinWaves(case.model, measured.q_rlu).energies(values)[:, -1]
    slope = np.abs(np.gradient(band))
    places, energies, sigmas = [], [], []
    for n in np.flatnonzero(slope < _STEEP * width):
        found = _peak(
            measured.energy_meV,
            measured.intensity[n],
            measured.sigma[n],
            measured.measured[n],
            band[n],
            width,
        )
        if found is not None:
            places.append(measured.q_rlu[n])
            energies.append(found[0])
            sigmas.append(np.hypot(found[1], 0.3 * slope[n]))
    number = np.arange(len(band), dtype=float)
    for m, energy in enumerate(measured.energy_meV):
        for n in _crossings(band, float(energy), slope, width):
            local = max(width / max(slope[int(n)], 1e-9), 1.5)
            row = (measured.intensity[:, m], measured.sigma[:, m], measured.measured[:, m])
            found = _peak(number, *row, n, local)
            if found is not None:
                at = np.clip(found[0], 0, len(band) - 1)
                places.append([np.interp(at, number, measured.q_rlu[:, k]) for k in range(3)])
                energies.append(float(energy))
                sigmas.append(float(found[1] * slope[round(float(at))] + 0.02 * width))
    if len(energies) < 3:
        raise FrameFailed(f"the map has {len(energies)} peaks near the band; at least 3 are needed")
    return Ridge(np.array(places), np.array(energies), np.array(sigmas))


def _crossings(band: Array, energy: float, slope: Array, width: float) -> list[float]:
    """Columns, as fractions, at which a steep part of the band passes an energy."""
    below = band < energy
    found = []
    for n in np.flatnonzero(below[1:] != below[:-1]):
        if slope[n] >= _STEEP * width:
            found.append(float(n + (energy - band[n]) / (band[n + 1] - band[n])))
    return found


def _peak(
    axis: Array, y: Array, sigma: Array, seen: npt.NDArray[np.bool_], centre: float, fwhm: float
) -> tuple[float, float] | None:
    """Return a peak's place and uncertainty; None where there is none that counts."""
    near = seen & (np.abs(axis - centre) < _REACH * fwhm)
    if int(near.sum()) < 6:
        return None
    x, weight = axis[near], 1 / sigma[near]
    tries = np.linspace(centre - 1.5 * fwhm, centre + 1.5 * fwhm, 31)
    gain, height = np.zeros(len(tries)), np.zeros(len(tries))
    straight = np.stack([np.ones_like(x), x - centre]) * weight
    orthonormal = np.linalg.qr(straight.T)[0]
    rest = y[near] * weight - orthonormal @ (orthonormal.T @ (y[near] * weight))
    for k, place in enumerate(tries):
        shape = np.exp(-4 * np.log(2) * ((x - place) / fwhm) ** 2) * weight
        shape = shape - orthonormal @ (orthonormal.T @ shape)
        size = float(shape @ shape)
        height[k] = float(shape @ rest) / max(size, 1e-300)
        gain[k] = height[k] * float(shape @ rest) if height[k] > 0 else 0.0
    best = int(np.argmax(gain))
    if gain[best] < _LEAST_SNR**2 or best in (0, len(tries) - 1):
        return None
    curve = (2 * gain[best] - gain[best - 1] - gain[best + 1]) / (tries[1] - tries[0]) ** 2
    if curve <= 0:
        return None
    shift = 0.5 * (gain[best + 1] - gain[best - 1]) / (2 * gain[best] - gain[best - 1] - gain[best + 1])
    return float(tries[best] + shift * (tries[1] - tries[0])), float(np.sqrt(2 / curve))


def fit_ridge(case: SpinCase, ridge: Ridge, start: Array, moving: Sequence[bool] | None = None) -> RidgeFit:
    """Fit the dispersion to a ridge by bounded least squares; peaks far off count less.

    Parameters
    ----------
    case : SpinCase
        Model.
    ridge : Ridge
        Peaks.
    start : ndarray, shape (p,)
        Free couplings to begin with.
    moving : sequence of bool, optional
        Which of them may change; default all. Their variance is zero.
    """
    move = np.ones(len(start), bool) if moving is None else np.asarray(moving, bool)
    waves = SpinWaves(case.model, ridge.q_rlu)
    low, high = case.parameters.bounds()
    margin = 0.25 * (high - low)
    scale = high - low

    fixed = np.asarray(start, dtype=float)

    def whole(x: Array) -> Array:
        full = fixed.copy()
        full[move] = x * scale[move]
        return full

    def off(x: Array) -> Array:
        try:
            energy = waves.energies(case.parameters.values(whole(x)))
        except NotAMinimum:
            return np.full(len(ridge.energy), 30.0)
        apart = energy - ridge.energy[:, None]
        nearest = np.take_along_axis(apart, np.abs(apart).argmin(1)[:, None], 1)[:, 0]
        return np.asarray(nearest / ridge.sigma)

    ends = (((low - margin) / scale)[move], ((high + margin) / scale)[move])
    first = np.clip((fixed / scale)[move], ends[0] + 1e-6, ends[1] - 1e-6)
    found = least_squares(off, first, bounds=ends, loss="soft_l1", f_scale=2.0, diff_step=1e-4)
    residual = off(found.x)
    freedom = max(1, len(residual) - len(first))
    reduced = float(2 * found.cost / freedom)
    covariance = np.zeros((len(fixed), len(fixed)))
    spread = np.outer(scale[move], scale[move]) * max(1.0, reduced)
    covariance[np.ix_(move, move)] = np.linalg.pinv(found.jac.T @ found.jac) * spread
    values = dict(zip(case.parameters.free, map(float, whole(found.x)), strict=True))
    return RidgeFit(
        values, covariance, reduced, float(np.median(np.abs(residual * ridge.sigma))), len(residual)
    )
