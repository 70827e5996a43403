"""What diffractometer and grains do to a pattern: their parameters, shifts, and absorption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

__all__ = [
    "CU_KA1_A",
    "CU_KA2_A",
    "Geometry",
    "Grain",
    "Instrument",
    "brindley_tau",
    "cylinder_transmission",
    "measured",
    "shift_deg",
]

Array = npt.NDArray[np.float64]

CU_KA1_A = 1.5405929
"""Cu K-alpha1 wavelength (angstrom): Hoelzer et al. 1997, Phys. Rev. A 56, 4554."""

CU_KA2_A = 1.5444274
"""Cu K-alpha2 wavelength (angstrom), same source."""

Geometry = Literal["bragg-brentano", "debye-scherrer"]

_RADIAL, _AROUND, _ANGLES = 40, 64, 46
"""Nodes of the absorption integrals; :func:`cylinder_transmission` is then right to 0.1 % up to mu R = 5."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """What the diffractometer does to a pattern.

    Attributes
    ----------
    wavelength_A, wavelength2_A : float
        Wavelength, and that of a second line (K-alpha2) where there is one (angstrom).
    ka2_ratio : float
        Intensity of the second line over the first; 0 for a single wavelength.
    u_deg2, v_deg2, w_deg2 : float
        Gaussian FWHM^2 = U tan^2 + V tan + W (square degrees 2theta; Caglioti et al. 1958).
    lorentz_x_deg, lorentz_y_deg : float
        Instrumental Lorentzian FWHM = X / cos(theta) + Y tan(theta) (degrees 2theta).
    asymmetry_deg : float
        Axial divergence: the low-angle half is wider by ``asymmetry_deg * cot(2theta)`` (degrees), and the
        high-angle half narrower; the sign turns at 90 degrees.
    zero_deg : float
        Shift of the whole axis (degrees 2theta).
    displacement_mm, radius_mm : float
        Specimen displacement s and radius R of the diffractometer (distance of the detector). Bragg-Brentano:
        shift -2 s cos(theta) / R (Wilson 1963). Debye-Scherrer: s across the beam, shift -s cos(2theta) / R.
    displacement_along_mm : float
        Debye-Scherrer only: displacement along the beam, towards the source, shift -s sin(2theta) / R.
    polarisation : float
        k of the polarisation term 1 + k cos^2(2theta): 1 for an unpolarised beam without monochromator,
        cos^2(2theta_m) with one; 0 where the data are corrected for polarisation, and for a synchrotron beam
        polarised across the plane of diffraction.
    geometry : {'bragg-brentano', 'debye-scherrer'}
        Flat thick specimen in reflection, or a cylinder (capillary) in transmission.
    mu_r : float
        Debye-Scherrer: absorption coefficient times radius of the cylinder.
    missing_deg : tuple of (float, float)
        Stretches of 2theta (degrees) no detector covers.
    """

    wavelength_A: float = CU_KA1_A
    wavelength2_A: float = CU_KA2_A
    ka2_ratio: float = 0.5
    u_deg2: float = 0.004
    v_deg2: float = -0.004
    w_deg2: float = 0.005
    lorentz_x_deg: float = 0.02
    asymmetry_deg: float = 0.01
    zero_deg: float = 0.0
    displacement_mm: float = 0.0
    radius_mm: float = 173.0
    polarisation: float = 0.8
    lorentz_y_deg: float = 0.0
    displacement_along_mm: float = 0.0
    geometry: Geometry = "bragg-brentano"
    mu_r: float = 0.0
    missing_deg: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if self.geometry not in get_args(Geometry):
            raise ValueError(
                f"geometry must be one of {', '.join(get_args(Geometry))}, got {self.geometry!r}"
            )


@dataclass(frozen=True, slots=True)
class Grain:
    """What the grains of one phase do to its pattern.

    Attributes
    ----------
    size_nm : float
        Volume-weighted crystallite size; Lorentzian FWHM = 0.9 lambda / (D cos(theta)) (Scherrer).
    strain : float
        Microstrain e; Lorentzian FWHM = 4 e tan(theta) (Stokes & Wilson 1944).
    cell_scale : tuple of float
        Factors on a, b, c (the caller keeps to the crystal system).
    march_r : float
        March-Dollase parameter along the phase's texture axis (Dollase 1986); 1 without texture.
    delta_b_A2 : float
        Added to the displacement parameter B.
    graininess : float
        Relative standard deviation of each family's intensity (needs a generator).
    tau : float
        Absorption contrast: factor on all intensities of the phase (:func:`brindley_tau`).
    """

    size_nm: float = 150.0
    strain: float = 0.0002
    cell_scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    march_r: float = 1.0
    delta_b_A2: float = 0.0
    graininess: float = 0.0
    tau: float = 1.0


def shift_deg(instrument: Instrument, theta: Array) -> Array:
    """Return by how much lines at ``theta`` (radians) are shifted (degrees 2theta)."""
    if instrument.geometry == "bragg-brentano":
        moved = 2 * instrument.displacement_mm * np.cos(theta)
    else:
        across, along = instrument.displacement_mm, instrument.displacement_along_mm
        moved = across * np.cos(2 * theta) + along * np.sin(2 * theta)
    return np.asarray(instrument.zero_deg - np.rad2deg(moved / instrument.radius_mm))


def measured(two_theta_deg: npt.ArrayLike, instrument: Instrument) -> npt.NDArray[np.bool_]:
    """Return which bin centres (degrees) the detector covers."""
    centres = np.asarray(two_theta_deg, float)
    covered = np.ones(centres.shape, bool)
    for low, high in instrument.missing_deg:
        covered &= (centres < low) | (centres > high)
    return covered


def cylinder_transmission(mu_r: float, theta: npt.ArrayLike) -> Array:
    """Return the mean of exp(-mu path) over a cylinder bathed in the beam (Dwiggins 1975, A31, 146).

    Parameters
    ----------
    mu_r : float
        Absorption coefficient times radius.
    theta : array_like
        Bragg angles (radians); the plane of diffraction is across the cylinder.

    Returns
    -------
    ndarray
        Between 0 and 1, by quadrature over the cross-section, interpolated between 46 angles.
    """
    u, weight = np.polynomial.legendre.leggauss(_RADIAL)
    r = np.sin((u + 1) * np.pi / 4)  # crowds the nodes at the surface, where r dr = sin cos
    weight = weight * r * np.cos((u + 1) * np.pi / 4)
    around = (np.arange(_AROUND) + 0.5) * 2 * np.pi / _AROUND
    nodes = np.linspace(0, np.pi / 2, _ANGLES)

    def path(angle: Array) -> Array:
        """From a point (r, phi) to the surface along a direction, in radii; shape (..., r, phi)."""
        along = r[:, None] * np.cos(around - angle[..., None, None])
        return np.asarray(np.sqrt(1 - r[:, None] ** 2 + along**2) - along)

    both = path(np.full(1, np.pi)) + path(2 * nodes)
    mean = np.exp(-mu_r * both).mean(axis=2) @ weight / weight.sum()
    return np.asarray(np.interp(np.asarray(theta, float), nodes, mean))


def brindley_tau(contrast: float) -> float:
    """Return the absorption factor of a sphere in a powder, tau (Brindley 1945, Phil. Mag. 36, 347).

    Parameters
    ----------
    contrast : float
        (mu of the phase - mean mu of the powder) times the particle's radius.

    Returns
    -------
    float
        Mean of exp(-contrast * path) over the particle for scattering through 90 degrees; above 1 for phases
        that absorb less than their surroundings. Apparent weight fractions are too large by it.
    """
    u, weight = np.polynomial.legendre.leggauss(24)
    r, weight = (u + 1) / 2, weight * ((u + 1) / 2) ** 2
    along, along_weight = np.polynomial.legendre.leggauss(24)
    around = (np.arange(32) + 0.5) * 2 * np.pi / 32
    cosine = along[:, None] + 0 * around
    other = np.sqrt(1 - along**2)[:, None] * np.cos(around)
    paths = []
    for direction in (cosine, other):
        x = r[:, None, None] * direction
        paths.append(np.sqrt(1 - r[:, None, None] ** 2 + x**2) - x)
    mean = np.exp(-contrast * (paths[0] + paths[1])).mean(axis=2) @ along_weight / 2
    return float(mean @ weight / weight.sum())
