"""Density of phonon states, what it makes of the atoms' displacements, and its van Hove features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lattice.born_karman import Dynamics
from streamproc.models.excitations.lattice.crystal import Crystal

from streamproc.compiling import machine_code

__all__ = [
    "HBAR2_2U_MEV_A2",
    "KELVIN_MEV",
    "Density",
    "density_of_states",
    "laid_out",
    "mean_square_A2",
    "mesh",
    "peaks_of",
    "smeared",
    "smoothed",
    "zone_of",
]

Array = npt.NDArray[np.float64]

KELVIN_MEV = 0.08617333262
"""Boltzmann's constant (meV/K)."""

HBAR2_2U_MEV_A2 = 2.0900786
"""hbar^2 / (2 u) in meV square angstrom (CODATA 2018)."""


@dataclass(frozen=True, slots=True, eq=False)
class Density:
    """A density of states.

    Attributes
    ----------
    energy_meV : ndarray, shape (k,)
        Even axis from 0.
    states : ndarray, shape (k,)
        Density (1/meV), integral 1.
    """

    energy_meV: Array
    states: Array


def mesh(crystal: Crystal, divisions: int) -> Array:
    """Return wave vectors that sample the Brillouin zone evenly, one of each pair q and -q, shape (q, 3).

    Shifted off the zone's centre and planes, so that no point is special (Monkhorst & Pack 1976).

    Parameters
    ----------
    crystal : Crystal
        The crystal.
    divisions : int
        Points along each reciprocal vector; even.
    """
    at = (np.arange(divisions) + 0.5) / divisions - 0.5
    half = at[at > 0]
    grid = np.stack(np.meshgrid(half, at, at, indexing="ij"), -1).reshape(-1, 3)
    return np.asarray(grid @ crystal.reciprocal_invA)


def zone_of(edge_A: float, divisions: int) -> tuple[Array, Array]:
    """Return wave vectors of the 48th part of a cubic crystal's zone, and how many each stands for.

    Any centring: a simple cubic mesh, shifted by half a step, over the octant that mirrors and reciprocal
    lattice vectors leave; its points sorted x >= y >= z.

    Parameters
    ----------
    edge_A : float
        Edge of its cubic cell (angstrom).
    divisions : int
        Points along the octant's edge of 2 pi / a.

    Returns
    -------
    q : ndarray, shape (n, 3)
        Wave vectors (1/angstrom).
    weights : ndarray, shape (n,)
        They sum to 1.
    """
    at = np.arange(divisions)
    x, y, z = (v.ravel() for v in np.meshgrid(at, at, at, indexing="ij"))
    keep = (x >= y) & (y >= z)
    points = np.stack([x, y, z], 1)[keep]
    alike = (points[:, 0] == points[:, 1]).astype(int) + (points[:, 1] == points[:, 2])
    weights = np.array([6.0, 3.0, 1.0])[alike]
    q = 2 * np.pi / edge_A * (points + 0.5) / divisions
    return q, weights / weights.sum()


def density_of_states(
    dynamics: Dynamics,
    forces_N_m: Sequence[float] | Array,
    energy_meV: Array,
    fwhm_meV: float | Array,
) -> Density:
    """Return the density of states of a mesh of wave vectors, convolved with a Gaussian.

    Parameters
    ----------
    dynamics : Dynamics
        At the points of :func:`mesh`.
    forces_N_m : sequence of float
        Force constants (N/m).
    energy_meV : ndarray, shape (k,)
        Even axis (meV).
    fwhm_meV : float or ndarray, shape (k,)
        Full width of the Gaussian at half maximum, at each energy of a mode.
    """
    return smeared(dynamics.energies_meV(forces_N_m), energy_meV, fwhm_meV)


def smeared(
    energies: Array, energy_meV: Array, fwhm_meV: float | Array, weights: Array | None = None
) -> Density:
    """Return the density of given modes (meV, shape (q, m)), weighted by q; see :func:`density_of_states`."""
    step = energy_meV[1] - energy_meV[0]
    amount = np.ones(len(energies)) if weights is None else weights
    shares = np.repeat(amount[:, None], energies.shape[1], 1)
    counts = laid_out(energies, shares, float(energy_meV[0]), float(step), energy_meV.size)
    if np.ndim(fwhm_meV) == 0:
        sigma = float(fwhm_meV) / 2.3548200450309493
        smooth = smoothed(counts, sigma / step)
    else:
        wide = np.asarray(fwhm_meV, float) / 2.3548200450309493
        kernel = np.exp(-0.5 * ((energy_meV[:, None] - energy_meV[None, :]) / wide[None, :]) ** 2)
        smooth = kernel @ (counts / kernel.sum(0))
    return Density(energy_meV, smooth / (smooth.sum() * step))


@machine_code(error_model="numpy")
def laid_out(energies: Array, amounts: Array, first: float, step: float, points: int) -> Array:
    """Return amounts laid on an even axis, each shared between two neighbours; what lies beyond is left out.

    Shared, so that the curve changes smoothly with the energies.

    Parameters
    ----------
    energies, amounts : ndarray, shape (q, m)
        Modes (meV) and what each counts.
    first, step : float
        The axis (meV).
    points : int
        Points f of it.

    Returns
    -------
    ndarray, shape (f,)
    """
    found = np.zeros(points)
    for k in range(energies.shape[0]):
        for i in range(energies.shape[1]):
            at = (energies[k, i] - first) / step
            if at < 0.0 or at >= points - 1:
                continue
            left = int(at)
            found[left] += amounts[k, i] * (1.0 - (at - left))
            found[left + 1] += amounts[k, i] * (at - left)
    return found


@machine_code(error_model="numpy", fastmath={"contract"})
def smoothed(counts: Array, sigma: float) -> Array:
    """Convolve with a Gaussian of so many steps, cut at six of them; beyond the ends there is nothing."""
    points, reach = counts.size, int(6.0 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    found = np.zeros(points + 2 * reach)
    for k in range(points):
        if counts[k] != 0.0:
            found[k : k + 2 * reach + 1] += counts[k] * weights
    return found[reach : reach + points]


def mean_square_A2(
    energy_meV: Array, mass_u: float, temperature_K: float, weights: Array | None = None
) -> float:
    """Return the mean square displacement along one direction (square angstrom) of a cubic element.

    <u^2> = hbar^2 / (2 M) times the mean over all modes of coth(E / 2kT) / E (Squires 1978, eq. 4.9).

    Parameters
    ----------
    energy_meV : ndarray
        Energies of modes that sample the zone evenly; those that are not positive are left out.
    mass_u : float
        Atomic mass (u).
    temperature_K : float
        Temperature.
    weights : ndarray, optional
        Of the modes, of the energies' shape; default all alike.
    """
    energy = np.ascontiguousarray(energy_meV, float).ravel()
    share = np.ones_like(energy) if weights is None else np.ascontiguousarray(weights, float).ravel()
    mean = _mean_coth(energy, share, 2 * KELVIN_MEV * max(temperature_K, 1e-3))
    return float(HBAR2_2U_MEV_A2 / mass_u * mean)


@machine_code(error_model="numpy")
def _mean_coth(energy: Array, share: Array, twice_kT: float) -> float:
    """Mean of coth(E / 2kT) / E over positive energies."""
    total, whole = 0.0, 0.0
    for k in range(energy.size):
        if energy[k] > 0.0:
            u = energy[k] / twice_kT
            coth = 1.0 if u > 20.0 else 1.0 / np.tanh(u)  # from there on it is 1 to all digits
            total += share[k] * coth / energy[k]
            whole += share[k]
    return total / whole


def peaks_of(energy_meV: Array, states: Array, least: float = 0.02) -> Array:
    """Return the energies (meV) of the maxima of a smooth curve, by parabolas through three points.

    Parameters
    ----------
    energy_meV, states : ndarray, shape (k,)
        The curve on an even axis.
    least : float
        Least prominence of a maximum, as a share of the highest.
    """
    from scipy.signal import find_peaks

    found = find_peaks(states, prominence=least * states.max())[0]
    low, middle, high = states[found - 1], states[found], states[found + 1]
    shift = 0.5 * (low - high) / (low - 2 * middle + high)
    return np.asarray(energy_meV[found] + shift * (energy_meV[1] - energy_meV[0]))
