"""Inelastic neutron scattering: from angles and energy transfers to momentum transfers, and rebinning."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["HBAR2_2M_MEV_A2", "momentum_transfer_invA", "powder_bins", "wave_number_invA"]

Float = npt.NDArray[np.float64]

HBAR2_2M_MEV_A2 = 2.0721247
"""hbar^2 / (2 m) of the neutron in meV square angstrom (CODATA 2018)."""


def wave_number_invA(energy_meV: npt.ArrayLike) -> Float:
    """Return the wave number of neutrons (1/angstrom); NaN below zero."""
    energy = np.asarray(energy_meV, float)
    return np.asarray(np.sqrt(np.where(energy >= 0, energy, np.nan) / HBAR2_2M_MEV_A2))


def momentum_transfer_invA(
    two_theta_deg: npt.ArrayLike, transfer_meV: npt.ArrayLike, incident_meV: float
) -> Float:
    """Return the modulus of Q (1/angstrom) of all pairs of angle and transfer, (n, m); NaN: out of reach.

    Q^2 = ki^2 + kf^2 - 2 ki kf cos(2theta) (direct geometry).
    """
    incoming = float(wave_number_invA(incident_meV))
    outgoing = wave_number_invA(incident_meV - np.atleast_1d(np.asarray(transfer_meV, float)))
    cosine = np.cos(np.deg2rad(np.atleast_1d(np.asarray(two_theta_deg, float))))
    return np.asarray(np.sqrt(incoming**2 + outgoing**2 - 2 * incoming * outgoing * cosine[:, None]))


def powder_bins(
    q_invA: Float, intensity: Float, sigma: Float, measured: npt.NDArray[np.bool_], q_edges_invA: Float
) -> tuple[Float, Float, npt.NDArray[np.bool_], Float]:
    """Average detectors into bins of the modulus of Q, every energy for itself.

    Every detector counts alike (weights of 1 / sigma^2 would favour bins that counted few by chance).

    Parameters
    ----------
    q_invA, intensity, sigma : ndarray, shape (n, m)
        Momentum transfer, intensity and its standard deviation of n detectors at m energies.
    measured : ndarray of bool, shape (n, m)
        What counts.
    q_edges_invA : ndarray, shape (k + 1,)
        Edges of the bins, rising.

    Returns
    -------
    intensity, sigma : ndarray, shape (k, m)
        Mean and its standard deviation; 0 and inf where nothing was measured.
    measured : ndarray of bool, shape (k, m)
        Where something was.
    q_invA : ndarray, shape (k, m)
        Mean modulus of what fell into each bin; the bin's centre where nothing did.
    """
    bins, energies = len(q_edges_invA) - 1, q_invA.shape[1]
    row = np.searchsorted(q_edges_invA, np.nan_to_num(q_invA, nan=-1.0), "right") - 1
    keep = measured & (row >= 0) & (row < bins)
    flat = (row * energies + np.arange(energies))[keep]

    def total(values: Float) -> Float:
        return np.asarray(np.bincount(flat, values[keep], bins * energies).reshape(bins, energies), float)

    count = total(np.ones_like(intensity))
    there = count > 0
    safe = np.maximum(count, 1.0)
    mean = total(intensity) / safe
    spread = np.where(there, np.sqrt(total(np.where(keep, sigma, 0.0) ** 2)) / safe, np.inf)
    centres = np.broadcast_to(((q_edges_invA[1:] + q_edges_invA[:-1]) / 2)[:, None], mean.shape)
    q_mean = np.where(there, total(q_invA) / safe, centres)
    return np.asarray(mean), np.asarray(spread), np.asarray(there), np.asarray(q_mean)
