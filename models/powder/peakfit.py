"""Least-squares fits of groups of overlapping peaks: pseudo-Voigt profiles, K-alpha1 and K-alpha2 as one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Doublet", "GroupFit", "fit_group", "profile"]

Array = npt.NDArray[np.float64]

_STEPS = 30
_LN2 = float(np.log(2))
_ETA_PRIOR = (0.5, 0.3)
_WIDTH_PRIOR = 0.5
"""Width of the prior of ln(FWHM) about the start value; keeps peaks hidden in others from running away."""


@dataclass(frozen=True, slots=True)
class Doublet:
    """The wavelengths of the beam.

    Attributes
    ----------
    wavelength_A : float
        Of the line positions are given for (angstrom).
    wavelength2_A : float or None
        Of the second line; None for one line.
    ratio : float
        Intensity of the second line over the first.
    """

    wavelength_A: float
    wavelength2_A: float | None = None
    ratio: float = 0.5

    @property
    def share2(self) -> float:
        """Share of the second line in the total."""
        return 0.0 if self.wavelength2_A is None else self.ratio / (1 + self.ratio)

    def second(self, centre_deg: Array) -> tuple[Array, Array]:
        """Return where the second line of peaks lies, and its derivative to the position of the first."""
        if self.wavelength2_A is None:
            return centre_deg, np.ones_like(centre_deg)
        stretch = self.wavelength2_A / self.wavelength_A
        half = np.deg2rad(centre_deg) / 2
        sine = np.minimum(stretch * np.sin(half), 0.999999)
        other = np.arcsin(sine)
        return np.rad2deg(2 * other), stretch * np.cos(half) / np.cos(other)


@dataclass(frozen=True, slots=True)
class GroupFit:
    """Fitted peaks of one group; arrays of shape (k,) in the order of the start values."""

    centre_deg: Array
    sigma_deg: Array
    fwhm_deg: Array
    area: Array
    area_sigma: Array
    model: Array
    chi2_reduced: float


def profile(x: Array, centre: Array, fwhm: Array, eta: float) -> tuple[Array, Array, Array, Array]:
    """Return pseudo-Voigt profiles of unit area (k, n) and their derivatives to centre, ln FWHM and eta."""
    t = (x[None] - centre[:, None]) / fwhm[:, None]
    lorentz_shape = 1 / (1 + 4 * t * t)
    gauss = np.exp(-4 * _LN2 * t * t) * (2 * np.sqrt(_LN2 / np.pi))
    lorentz = lorentz_shape * (2 / np.pi)
    width = fwhm[:, None]
    value = (eta * lorentz + (1 - eta) * gauss) / width
    slope = (eta * lorentz * lorentz_shape * 8 * t + (1 - eta) * gauss * 8 * _LN2 * t) / width
    return value, slope / width, -value + slope * t, (lorentz - gauss) / width


def _draw(
    x: Array, centre: Array, width: Array, eta: float, beam: Doublet
) -> tuple[Array, Array, Array, Array]:
    """Profiles of K-alpha1 and K-alpha2 together and their derivatives."""
    share = beam.share2
    first = profile(x, centre, width, eta)
    if share == 0:
        return first
    other, slope = beam.second(centre)
    second = profile(x, other, width, eta)
    value, by_centre, by_width, by_eta = (
        (1 - share) * a + share * b for a, b in zip(first, second, strict=True)
    )
    by_centre = (1 - share) * first[1] + share * second[1] * slope[:, None]
    return value, by_centre, by_width, by_eta


def fit_group(
    x: Array,
    y: Array,
    variance: Array,
    start: Array,
    widths: Array,
    limits: tuple[float, float],
    beam: Doublet,
) -> GroupFit:
    """Fit peaks and a straight rest of the floor to a stretch of a pattern.

    Areas and rest are solved linearly, positions, widths and the common Lorentzian share by damped
    Gauss-Newton steps (Marquardt 1963).

    Parameters
    ----------
    x, y, variance : ndarray, shape (n,)
        Axis (degrees 2theta), pattern without its floor, variance.
    start, widths : ndarray, shape (k,)
        Positions and FWHM to start from (degrees).
    limits : (float, float)
        Bounds of the FWHM (degrees).
    beam : Doublet
        Wavelengths.
    """
    k = start.size
    root = 1 / np.sqrt(variance)
    middle = (x - x.mean()) / max(float(np.ptp(x)), 1e-9)
    rest = np.stack([np.ones_like(x), middle]) * root
    at = np.concatenate([start, np.log(widths), [_ETA_PRIOR[0]]])
    prior_at = at.copy()
    prior = np.concatenate(
        [1 / np.maximum(widths, 1e-6) ** 2, np.full(k, _WIDTH_PRIOR**-2), [_ETA_PRIOR[1] ** -2]]
    )

    def solve(at: Array) -> tuple[float, Array, Array, Array, Array]:
        value, by_centre, by_width, by_eta = _draw(x, at[:k], np.exp(at[k : 2 * k]), at[2 * k], beam)
        design = np.concatenate([value * root, rest])
        gram = design @ design.T
        scale = np.sqrt(np.maximum(np.diag(gram), 1e-300))
        gram = gram / np.outer(scale, scale) + 1e-10 * np.eye(k + 2)
        linear = np.linalg.solve(gram, design @ (y * root) / scale) / scale
        linear[:k] = np.maximum(linear[:k], 0.0)
        left = y * root - linear @ design
        jacobian = (
            np.concatenate(
                [linear[:k, None] * by_centre, linear[:k, None] * by_width, (linear[:k] @ by_eta)[None]]
            )
            * root
        )
        cost = float(left @ left + prior @ (at - prior_at) ** 2)
        return cost, linear, left, jacobian, design

    cost, linear, left, jacobian, design = solve(at)
    damping = 1e-2
    for _ in range(_STEPS):
        normal = jacobian @ jacobian.T + np.diag(prior)
        gradient = jacobian @ left - prior * (at - prior_at)
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), gradient)
        trial = at + step
        trial[:k] = np.clip(trial[:k], start - 1.5 * widths, start + 1.5 * widths)
        trial[k : 2 * k] = np.clip(trial[k : 2 * k], *np.log(limits))
        trial[2 * k] = np.clip(trial[2 * k], 0.0, 1.0)
        found = solve(trial)
        if found[0] < cost:
            done = cost - found[0] < 1e-4 * (cost + 1)
            at, (cost, linear, left, jacobian, design) = trial, found
            damping = max(damping * 0.2, 1e-6)
            if done:
                break
        else:
            damping *= 10
            if damping > 1e6:
                break
    chi2 = float(left @ left) / max(1, x.size - 3 * k - 3)
    full = np.concatenate([jacobian, design])
    normal = full @ full.T + np.diag(np.concatenate([prior, np.full(k + 2, 1e-300)]))
    scale = np.sqrt(np.maximum(np.diag(normal), 1e-300))
    covariance = np.linalg.pinv(normal / np.outer(scale, scale), hermitian=True) / np.outer(scale, scale)
    sigma = np.sqrt(np.maximum(np.diag(covariance), 0.0) * max(1.0, chi2))
    return GroupFit(
        centre_deg=at[:k],
        sigma_deg=sigma[:k],
        fwhm_deg=np.exp(at[k : 2 * k]),
        area=linear[:k],
        area_sigma=sigma[2 * k + 1 : 3 * k + 1],
        model=np.asarray(linear[:k] @ design[:k] / root),
        chi2_reduced=chi2,
    )
