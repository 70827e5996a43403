"""How densities of states, and mean square displacements, change with what moves the modes' energies."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lattice.density import (
    HBAR2_2U_MEV_A2,
    KELVIN_MEV,
    Density,
    laid_out,
    smoothed,
)

from streamproc.compiling import machine_code

__all__ = ["laid_out_slopes", "mean_square_slopes_A2", "smeared_slopes"]

Array = npt.NDArray[np.float64]


@machine_code(error_model="numpy")
def laid_out_slopes(
    energies: Array, amounts: Array, moved: Array, changed: Array, step: float, points: int
) -> Array:
    """Return how amounts laid on an even axis from 0 (:func:`~...density.laid_out`) change with p numbers.

    Parameters
    ----------
    energies, amounts : ndarray, shape (q, m)
        Modes (meV), and what each counts.
    moved : ndarray, shape (p, q, m)
        Slopes of the energies.
    changed : ndarray, shape (q, m)
        Slope of each amount with its own energy (per meV).
    step, points
        The axis.

    Returns
    -------
    ndarray, shape (p, f)
    """
    found = np.zeros((len(moved), points))
    for k in range(energies.shape[0]):
        for i in range(energies.shape[1]):
            at = energies[k, i] / step
            if at < 0.0 or at >= points - 1:
                continue
            left, lost = int(at), amounts[k, i] / step
            low = changed[k, i] * (1.0 - (at - left)) - lost
            high = changed[k, i] * (at - left) + lost
            for p in range(len(moved)):
                found[p, left] += low * moved[p, k, i]
                found[p, left + 1] += high * moved[p, k, i]
    return found


def smeared_slopes(energies: Array, moved: Array, density: Density, fwhm_meV: float, weights: Array) -> Array:
    """Return how a density of states of :func:`~...density.smeared` changes with p numbers, shape (p, k).

    Parameters
    ----------
    energies, moved : ndarray, shapes (q, m) and (p, q, m)
        Modes (meV), and their slopes.
    density : Density
        Of them, on an axis from 0.
    fwhm_meV : float
        Smearing.
    weights : ndarray, shape (q,)
        Of the wave vectors.
    """
    step, shares = float(density.energy_meV[1]), np.repeat(weights[:, None], energies.shape[1], 1)
    none = np.zeros_like(shares)
    rows = laid_out_slopes(energies, shares, moved, none, step, density.energy_meV.size)
    sigma = fwhm_meV / 2.3548200450309493 / step
    change = np.stack([smoothed(row, sigma) for row in rows])
    # the sum of what a smearing keeps on the axis, which the density was divided by
    whole = smoothed(laid_out(energies, shares, 0.0, step, density.energy_meV.size), sigma).sum() * step
    return np.asarray((change - change.sum(1)[:, None] * step * density.states) / whole)


def mean_square_slopes_A2(
    energy_meV: Array, moved: Array, mass_u: float, temperature_K: float, weights: Array
) -> Array:
    """Return how the mean square displacement changes with p numbers, shape (p,).

    Parameters
    ----------
    energy_meV, weights : ndarray, shape (q, m)
        Modes, all positive, and their weights; see :func:`~...density.mean_square_A2`.
    moved : ndarray, shape (p, q, m)
        Slopes of the energies.
    mass_u, temperature_K : float
        See there.
    """
    twice_kT = 2 * KELVIN_MEV * max(temperature_K, 1e-3)
    coth = 1 / np.tanh(np.minimum(energy_meV / twice_kT, 20.0))
    slope = -(coth / energy_meV + (coth**2 - 1) / twice_kT) / energy_meV * weights
    return np.asarray(HBAR2_2U_MEV_A2 / mass_u * np.tensordot(moved, slope, 2) / weights.sum())
