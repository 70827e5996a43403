"""Amorphous materials by their structure factor, in the same absolute units as crystals."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.optics import Instrument
from streamproc.models.powder.scattering import form_factor

__all__ = ["GLASS", "Glass", "amorphous_profile"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Glass:
    """An amorphous material by its structure factor S(Q): a rise from zero plus Gaussian maxima.

    Attributes
    ----------
    elements : tuple of (symbol, count)
        Formula unit.
    density_g_cm3, mass_u : float
        Density and mass of the formula unit.
    peaks : tuple of (position_invA, height, fwhm_invA)
        Maxima and minima of S(Q) about one.
    onset_invA : float
        Q where S reaches one half.
    """

    elements: tuple[tuple[str, int], ...]
    density_g_cm3: float
    mass_u: float
    peaks: tuple[tuple[float, float, float], ...] = field(repr=False)
    onset_invA: float = 1.1


GLASS = Glass(
    elements=(("Si", 1), ("O", 2)),
    density_g_cm3=2.20,
    mass_u=60.084,
    peaks=((1.52, 1.30, 0.55), (2.35, -0.45, 0.9), (2.9, 0.10, 0.6), (3.9, -0.15, 0.9), (5.25, 0.25, 1.0)),
)
"""Silica glass after Mozzi & Warren 1969, J. Appl. Cryst. 2, 164 (heights read off, about 15 %)."""


def amorphous_profile(two_theta_deg: Array, instrument: Instrument, glass: Glass = GLASS) -> Array:
    """Render an amorphous material per unit weight, in the units of :func:`render_phase`.

    The powder average of a crystal's scattering per volume is ``sum m |F|^2 / V^2 * lambda^3 / (16 pi sin^2
    cos) * delta(2theta - 2theta_B)``, that of a glass ``n sum f^2 S(Q)``; dividing both by density and by
    ``lambda^3 / (16 pi)``, and going from radians to degrees, puts them on one scale (Warren 1969, X-ray
    Diffraction, chapters 4 and 10).

    Parameters
    ----------
    two_theta_deg : ndarray, shape (n,)
        Bin centres (degrees).
    instrument : Instrument
        Wavelength and polarisation.
    glass : Glass
        The material; silica glass by default.

    Returns
    -------
    ndarray, shape (n,)
        Intensity per degree.
    """
    theta = np.deg2rad(np.asarray(two_theta_deg, float)) / 2
    q = 4 * np.pi * np.sin(theta) / instrument.wavelength_A
    structure_factor = 1 / (1 + np.exp(-(q - glass.onset_invA) / 0.15))
    for position, height, fwhm in glass.peaks:
        structure_factor = structure_factor + height * np.exp(-4 * np.log(2) * ((q - position) / fwhm) ** 2)
    f2 = sum(count * form_factor(symbol, q / (4 * np.pi)) ** 2 for symbol, count in glass.elements)
    number_A3 = glass.density_g_cm3 / (glass.mass_u * 1.66053906660)
    polarisation = (1 + instrument.polarisation * np.cos(2 * theta) ** 2) / (1 + instrument.polarisation)
    per_steradian = number_A3 * f2 * np.maximum(structure_factor, 0.02) * polarisation / glass.density_g_cm3
    return np.asarray(per_steradian * 16 * np.pi / instrument.wavelength_A**3 * np.pi / 180)
