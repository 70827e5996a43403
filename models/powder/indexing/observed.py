"""The lines to be explained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Observed"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Observed:
    """Lines to be explained, by rising angle.

    Attributes
    ----------
    x_deg, sigma_deg : ndarray, shape (n,)
        Positions (degrees 2theta) and statistical uncertainties.
    strength : ndarray, shape (n,)
        Areas relative to the strongest.
    wavelength_A : float
        Wavelength of the positions.
    first_deg : float
        Where the measured range begins.
    width_deg : float
        Typical FWHM: the scale of systematic errors.
    resolution_deg : float
        Lines closer than this are seen as one.
    """

    x_deg: Array
    sigma_deg: Array
    strength: Array
    wavelength_A: float
    first_deg: float
    width_deg: float
    resolution_deg: float

    @property
    def q(self) -> Array:
        """1/d^2 (1/square angstrom)."""
        return np.asarray((2 * np.sin(np.deg2rad(self.x_deg) / 2) / self.wavelength_A) ** 2)

    @property
    def slope(self) -> Array:
        """Derivative of 1/d^2 to the position (1/(square angstrom degree))."""
        return np.asarray(2 / self.wavelength_A**2 * np.sin(np.deg2rad(self.x_deg)) * np.pi / 180)

    @property
    def range_deg(self) -> float:
        """Length of the range the lines lie in."""
        return float(self.x_deg[-1] - self.first_deg) + self.resolution_deg

    def shifted(self, zero_deg: float) -> Observed:
        """Return the lines with a zero shift taken off."""
        return Observed(
            self.x_deg - zero_deg, self.sigma_deg, self.strength, self.wavelength_A, self.first_deg,
            self.width_deg, self.resolution_deg,
        )  # fmt: skip
