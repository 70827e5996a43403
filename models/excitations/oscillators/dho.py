"""The damped harmonic oscillator in closed form.

Energies, widths and ``kT`` share one unit (meV, say). Source: Fak & Dorner, Physica B 234-236, 1107 (1997);
Lovesey, Theory of Neutron Scattering from Condensed Matter (1984).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "BOLTZMANN",
    "bose_weight",
    "overdamped",
    "pole",
    "structure_factor",
    "susceptibility",
    "thermal_energy",
]

Array = npt.NDArray[np.float64]

BOLTZMANN = {
    "meV": 0.08617333262,
    "eV": 8.617333262e-5,
    "ueV": 86.17333262,
    "cm-1": 0.6950348004,
    "THz": 0.02083661912,
}
"""Boltzmann's constant per kelvin in each unit of energy (CODATA 2018)."""


def thermal_energy(temperature_K: float, units: str = "meV") -> float:
    """Return kT in ``units``."""
    return BOLTZMANN[units] * temperature_K


def bose_weight(energy: npt.ArrayLike, kT: float) -> Array:
    """Return ``w / (1 - exp(-w/kT))``: smooth, kT at w = 0, and max(w, 0) at T = 0.

    Parameters
    ----------
    energy : array_like
        Energy loss w.
    kT : float
        Thermal energy, same unit; 0 is allowed.
    """
    w = np.asarray(energy, float)
    if kT <= 0:
        return np.maximum(w, 0.0)
    u = w / kT
    small = np.abs(u) < 1e-5
    safe = np.where(small, 1.0, u)
    with np.errstate(over="ignore"):
        full = np.where(u > 0, safe / -np.expm1(-np.abs(safe)), np.abs(safe) / np.expm1(np.abs(safe)))
    return np.asarray(kT * np.where(small, 1 + u / 2 + u * u / 12, full))


def susceptibility(energy: npt.ArrayLike, centre: float, width: float, amplitude: float = 1.0) -> Array:
    """Return chi''(w), odd in w.

    Parameters
    ----------
    energy : array_like
        Energy loss w.
    centre, width : float
        Energy W and full width at half maximum G of the oscillator.
    amplitude : float
        Z: area on the loss side at T = 0 of a sharp oscillator. The integral of chi''/w over all w is
        ``2 Z / W`` (sum rule).
    """
    w = np.asarray(energy, float)
    return np.asarray(amplitude * w * _lorentzians(w, centre, width))


def structure_factor(
    energy: npt.ArrayLike, centre: float, width: float, amplitude: float = 1.0, kT: float = 0.0
) -> Array:
    """Return S(w) = chi''(w) / (1 - exp(-w/kT)); S(-w) = exp(-w/kT) S(w) (detailed balance).

    Parameters
    ----------
    energy : array_like
        Energy loss w.
    centre, width, amplitude : float
        As for :func:`susceptibility`.
    kT : float
        Thermal energy.
    """
    w = np.asarray(energy, float)
    return np.asarray(amplitude * bose_weight(w, kT) * _lorentzians(w, centre, width))


def pole(centre: float, width: float) -> float:
    """Return the real part of the pole, sqrt(W^2 - G^2/4): where a sharp line stands; 0 if overdamped."""
    return float(np.sqrt(max(0.0, centre**2 - width**2 / 4)))


def overdamped(centre: Any, width: Any) -> Any:
    """Return whether there is no oscillation any more: G > 2 W."""
    return np.asarray(width) > 2 * np.asarray(centre)


def _lorentzians(w: Array, centre: float, width: float) -> Array:
    """chi''/w for unit amplitude."""
    away = (w - centre) * (w + centre)
    return np.asarray((2 * centre * width / np.pi) / (away * away + (width * w) ** 2))
