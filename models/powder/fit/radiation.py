"""Emission lines: one wavelength, a K-alpha doublet, or the measured shape of the Cu K-alpha doublet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Radiation", "cu_k_alpha", "doublet", "single_line"]

Array = npt.NDArray[np.float64]

_HC_EV_A = 12398.41984
_SATELLITE_A, _SATELLITE_FWHM_A, _SATELLITE_SHARE = 1.534753, 3.6854e-3, 0.0161
"""Cu K-alpha3,4, all satellites as one line, share of the doublet (Berger 1986, X-Ray Spectrom. 15, 241)."""


@dataclass(frozen=True, slots=True)
class Radiation:
    """Lines of the beam.

    Attributes
    ----------
    wavelength_A : tuple of float
        Wavelengths; the first one converts between Q and 2theta.
    share : tuple of float
        Intensity of each line within its group (satellites come on top of one).
    fwhm_A : tuple of float
        Lorentzian width of each line; 0 for sharp lines.
    second : tuple of bool
        Whether the line belongs to the second group (K-alpha2), whose intensity is ``ka2_ratio`` times the
        first.
    ka2_ratio : float
        Start value of that ratio; 0 without a second group.
    """

    wavelength_A: tuple[float, ...]
    share: tuple[float, ...]
    fwhm_A: tuple[float, ...]
    second: tuple[bool, ...]
    ka2_ratio: float

    def __post_init__(self) -> None:
        """Check that the lines make sense."""
        lengths = {len(self.wavelength_A), len(self.share), len(self.fwhm_A), len(self.second)}
        if lengths != {len(self.wavelength_A)} or not self.wavelength_A:
            raise ValueError("radiation: each line needs wavelength, share, width and group")
        if not all(np.isfinite(w) and w > 0 for w in self.wavelength_A):
            raise ValueError(f"radiation: wavelengths must be positive, got {self.wavelength_A}")

    @property
    def has_second(self) -> bool:
        """Whether there is a second group."""
        return any(self.second)

    def arrays(self) -> tuple[Array, Array, Array, Array]:
        """Return wavelength, share, width and group (0 or 1) as arrays, shape (l,)."""
        columns = (self.wavelength_A, self.share, self.fwhm_A, self.second)
        wavelength, share, fwhm, second = (np.array(c, float) for c in columns)
        return wavelength, share, fwhm, second


def single_line(wavelength_A: float) -> Radiation:
    """Return one sharp line (synchrotron, or K-alpha1 only)."""
    return Radiation((wavelength_A,), (1.0,), (0.0,), (False,), 0.0)


def doublet(wavelength_A: float, wavelength2_A: float, ka2_ratio: float = 0.5) -> Radiation:
    """Return two sharp lines, K-alpha1 and K-alpha2."""
    return Radiation((wavelength_A, wavelength2_A), (1.0, 1.0), (0.0, 0.0), (False, True), ka2_ratio)


def cu_k_alpha() -> Radiation:
    """Return Cu K-alpha as four Lorentzians and the satellites (Hoelzer et al. 1997, Phys. Rev. A 56, 4554).

    The maximum of their sum is at 8047.823 eV, the 1.5405929 angstrom of K-alpha1.
    """
    energy = np.array([8047.837, 8045.367, 8027.993, 8026.504])
    width = np.array([2.285, 3.358, 2.666, 3.571])
    area = np.array([0.579, 0.080, 0.236, 0.105])
    wavelength = _HC_EV_A / energy
    group = np.array([area[:2].sum(), area[2:].sum()])
    share = area / np.repeat(group, 2)
    satellite = _SATELLITE_SHARE / group[0]
    return Radiation(
        (*map(float, wavelength), _SATELLITE_A),
        (*map(float, share), float(satellite)),
        (*map(float, wavelength * width / energy), _SATELLITE_FWHM_A),
        (False, False, True, True, False),
        float(group[1] / group[0]),
    )
