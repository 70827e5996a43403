"""Line shapes of a measured map: damping, Bose factor, and the resolution in energy and Q."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import voigt_profile

from streamproc.compiling import machine_code

__all__ = [
    "FWHM_TO_SIGMA",
    "NUDGE",
    "Widths",
    "bose",
    "channel_width",
    "direct_geometry",
    "directions_of",
    "kernel",
    "kernel_slope",
    "sub_points",
]

Array = npt.NDArray[np.float64]

NUDGE = 1e-5
"""A small step of a width (meV, r.l.u. or 1/angstrom)."""

FWHM_TO_SIGMA = 1 / np.sqrt(8 * np.log(2))
_SHARP = 1e-3
"""A Lorentzian below this share of the resolution is not seen."""

_GONE = 9.0
"""Standard deviations at which less than 1e-17 of a Gaussian is left."""

_KEPT = 8
"""Sets of points that are kept: a fit scales the same ones at every step."""

_LEAST_SHARE = 0.15
"""Beyond the window the resolution is not let fall below this share of its smaller end."""


@dataclass(frozen=True, slots=True)
class Widths:
    """What broadens a map.

    Attributes
    ----------
    energy_fwhm : float
        Gaussian resolution at zero energy transfer (meV).
    end_fwhm : float
        The same at ``end_meV``; linear between (a direct-geometry spectrometer is sharper at high transfer).
    end_meV : float
        End of the energy window.
    damping_fwhm : float
        FWHM Gamma of the damped harmonic oscillators (meV).
    q_fwhm : float
        Full width of the box of Q along the path of the columns, or along the model's only q axis (r.l.u., or
        1/angstrom for a powder).
    kT : float
        Temperature in energy (meV); 0: no Bose factor.
    q_across : float
        The same across the path. It trades against the couplings, so it is not fitted: whoever made the cut
        knows it.
    """

    energy_fwhm: float
    end_fwhm: float
    end_meV: float
    damping_fwhm: float = 0.0
    q_fwhm: float = 0.0
    kT: float = 0.0
    q_across: float = 0.0

    def sigma(self, energy_meV: Array) -> Array:
        """Return the Gaussian standard deviation at some energy transfers."""
        share = np.asarray(energy_meV) / self.end_meV
        fwhm = self.energy_fwhm + (self.end_fwhm - self.energy_fwhm) * share
        least = _LEAST_SHARE * min(self.energy_fwhm, self.end_fwhm)
        return np.asarray(np.maximum(fwhm, least) * FWHM_TO_SIGMA)

    def sigma_at(self, energy_meV: float) -> float:
        """Return the same at one energy transfer, a few times faster."""
        fwhm = self.energy_fwhm + (self.end_fwhm - self.energy_fwhm) * (energy_meV / self.end_meV)
        return float(max(fwhm, _LEAST_SHARE * min(self.energy_fwhm, self.end_fwhm)) * FWHM_TO_SIGMA)


def direct_geometry(energy_fwhm: float, energy_meV: float, ei_meV: float) -> float:
    """Return the resolution at an energy transfer, from the elastic one.

    It falls as (1 - E/Ei)^1.5, as a time at the detector is worth Ef^1.5 of energy (the moderator's share
    falls more slowly: fit the width where that matters).
    """
    return energy_fwhm * max(1 - energy_meV / ei_meV, 0.05) ** 1.5


def bose(energy_meV: Array, kT: float) -> Array:
    """Return 1 / (1 - exp(-E / kT)), which makes S(E) of chi''(E); 1 for kT = 0."""
    if kT <= 0:
        return np.ones_like(energy_meV)
    x = np.maximum(np.asarray(energy_meV) / kT, 1e-6)
    return np.asarray(1 / -np.expm1(-x))


def kernel(line_meV: Array, energy_meV: Array, widths: Widths, laid: float = 0.0) -> Array:
    """Return what a magnon of unit intensity adds to every channel.

    A damped harmonic oscillator is exactly the difference of two Lorentzians, at W' and -W' with
    W'^2 = W^2 - Gamma^2 / 4; convolved with the resolution each is a Voigt profile. The Bose factor, slow
    within a resolution width but at E = 0, is multiplied afterwards. Overdamped lines (Gamma > 2 W) are
    drawn critically damped. A channel counts what falls into its width: that widens lines as a box does, in
    quadrature.

    Parameters
    ----------
    line_meV : ndarray, shape (f,)
        Energies W of undamped magnons.
    energy_meV : ndarray, shape (m,)
        Channels.
    widths : Widths
        Resolution, damping, temperature.
    laid : float
        Variance that lines have from being laid on a grid (its step squared over 6, on average): taken off.

    Returns
    -------
    ndarray, shape (f, m)
        Per meV: each row sums to 1 over a wide enough axis of 1 meV steps.
    """
    half = widths.damping_fwhm / 2
    centre = np.sqrt(np.maximum(line_meV**2 - half**2, 0.0))
    channel = channel_width(energy_meV) / np.sqrt(12)
    variance = np.maximum(widths.sigma(line_meV), 1e-9) ** 2 + channel**2
    sigma = np.sqrt(np.maximum(variance - laid, 0.5 * variance))
    factor = bose(energy_meV, widths.kT)
    if half <= _SHARP * float(sigma.min(initial=np.inf)):
        return np.asarray(_gaussians(centre, np.asarray(energy_meV, float), sigma, factor))
    away, wide = centre[:, None], sigma[:, None]
    shape = voigt_profile(energy_meV - away, wide, half) - voigt_profile(energy_meV + away, wide, half)
    return np.asarray(shape * factor)


def kernel_slope(line_meV: Array, energy_meV: Array, widths: Widths, spread: Array, name: str) -> Array:
    """Return how a :func:`kernel` of lines laid on a grid changes with a field of widths, on the same grid.

    Parameters
    ----------
    line_meV, energy_meV, widths
        See there; lines are an even grid from 0.
    spread : ndarray, shape (f, m)
        The kernel.
    name : str
        The field.
    """
    wider = replace(widths, **{name: getattr(widths, name) + NUDGE})
    return (kernel(line_meV, energy_meV, wider, line_meV[1] ** 2 / 6) - spread) / NUDGE


def channel_width(energy_meV: Array) -> float:
    """Return the usual distance of neighbouring channels (the median)."""
    return float(_median_step(np.asarray(energy_meV, float)))


@machine_code()
def _median_step(rising: Array) -> float:
    steps = np.sort(rising[1:] - rising[:-1])
    return 0.5 * (steps[(steps.size - 1) // 2] + steps[steps.size // 2])


@machine_code(error_model="numpy")
def _gaussians(centre: Array, energy: Array, sigma: Array, factor: Array) -> Array:
    """Normal densities about centres, less those about their mirror images, times a factor, (f, m).

    Energies rise; where 1e-17 of a top is left there is nothing.
    """
    found = np.zeros((centre.size, energy.size))
    for k in range(centre.size):
        top, per, reach = 1 / (np.sqrt(2 * np.pi) * sigma[k]), 1 / sigma[k], _GONE * sigma[k]
        for side in (1.0, -1.0):
            middle = side * centre[k]
            for j in range(np.searchsorted(energy, middle - reach), energy.size):
                away = (energy[j] - middle) * per
                if away > _GONE:
                    break
                found[k, j] += side * top * np.exp(-0.5 * away * away)
        for j in range(energy.size):
            found[k, j] *= factor[j]
    return found


def directions_of(q_rlu: Array, axes: Array, reciprocal: Array) -> Array:
    """Return along and across the path at every column, shape (n, d, 3), each of length 1 in r.l.u.

    Along is towards the nearer neighbour in the order of the columns; across lies in the span of the axes,
    at right angles to it. With one axis there is only that.

    Parameters
    ----------
    q_rlu : ndarray, shape (n, 3)
        Columns.
    axes : ndarray, shape (a, 3)
        Directions in which Q is smeared.
    reciprocal : ndarray, shape (3, 3)
        a*, b*, c* as rows: right angles are those of space.
    """
    n = len(q_rlu)
    if len(axes) < 2:
        return np.repeat(axes[None], n, 0)
    step = np.diff(q_rlu, axis=0)
    length = np.linalg.norm(step @ reciprocal, axis=1)
    length = np.where(length > 1e-9, length, np.inf)
    after, before = np.append(length, np.inf), np.insert(length, 0, np.inf)
    steps = np.concatenate([step, np.zeros((1, 3))]), np.concatenate([np.zeros((1, 3)), step])
    along = np.where((after <= before)[:, None], *steps)
    lone = ~np.isfinite(np.minimum(after, before))
    along[lone] = axes[0]
    unit = along @ reciprocal
    unit /= np.linalg.norm(unit, axis=1)[:, None]
    rest = axes @ reciprocal - (unit @ (axes @ reciprocal).T)[:, :, None] * unit[:, None, :]
    most = np.linalg.norm(rest, axis=2).argmax(1)
    across = rest[np.arange(n), most] @ np.linalg.inv(reciprocal)
    found = np.stack([along, across], 1)
    return np.asarray(found / np.linalg.norm(found, axis=2)[:, :, None])


def sub_points(directions: Array, full_widths: Array, points: int) -> Array:
    """Return offsets of wave vectors that stand for the width in Q, other ones in every column.

    A box: a cut through a volume of data averages over a box of Q, which is as a rule wider than the
    resolution. Offsets are a quasi-random sequence (Roberts' R_d, of the root of x^(d+1) = x + 1), in pairs
    +-x so that the mean is right: neighbouring columns complete each other, which a fixed quadrature does
    not where a band is steep. They scale with the width, so that a fit sees no noise.

    Parameters
    ----------
    directions : ndarray, shape (n, d, 3)
        Of each column.
    full_widths : ndarray, shape (d,)
        Along them.
    points : int
        Points k of each column, even.

    Returns
    -------
    ndarray, shape (n, k, 3)
        One point for no width.
    """
    columns, d, _ = directions.shape
    if not (full_widths > 0).any():
        return np.zeros((columns, 1, 3))
    return np.asarray((_boxes(columns, points, d) * full_widths) @ directions)


@lru_cache(_KEPT)
def _boxes(columns: int, points: int, d: int) -> Array:
    """Points in boxes of width 1 about zero, shape (columns, points, d); see :func:`sub_points`."""
    root = 2.0
    for _ in range(40):
        root = (1 + root) ** (1 / (d + 1))
    number = np.arange(columns * points // 2) + 0.5
    unit = np.mod(number[:, None] * root ** -np.arange(1, d + 1), 1.0)
    half = (unit - 0.5).reshape(columns, points // 2, d)
    return np.concatenate([half, -half], 1)
