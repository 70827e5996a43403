"""From pixels to energy loss: from lines of known energy, or from a slope and the elastic line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamproc.errors import ConfigurationError

__all__ = ["EnergyScale", "calibrate_energy"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class EnergyScale:
    """``energy = slope (pixel - zero)``.

    Attributes
    ----------
    slope : float
        Energy per pixel, with its sign.
    zero : float
        Pixel of energy loss 0.
    covariance : ndarray, shape (2, 2)
        Of slope and zero.
    """

    slope: float
    zero: float
    covariance: Array

    @classmethod
    def from_slope(
        cls, slope: float, zero: float, zero_sigma: float = 0.0, slope_sigma: float = 0.0
    ) -> EnergyScale:
        """Return the scale of a known slope and an elastic line at pixel ``zero``."""
        if not (np.isfinite(slope) and slope != 0):
            raise ConfigurationError(f"energy per pixel is {slope}, must not be 0")
        return cls(slope, zero, np.diag([slope_sigma**2, zero_sigma**2]))

    def energy(self, pixel: npt.ArrayLike) -> Array:
        """Return the energy loss at these pixels."""
        return np.asarray(self.slope * (np.asarray(pixel, float) - self.zero))

    def sigma(self, pixel: npt.ArrayLike) -> Array:
        """Return the standard deviation of :meth:`energy` that comes from the scale."""
        by = np.stack([np.asarray(pixel, float) - self.zero, np.full(np.shape(pixel), -self.slope)], -1)
        return np.asarray(np.sqrt(np.einsum("...i,ij,...j->...", by, self.covariance, by)))


def calibrate_energy(
    pixel: npt.ArrayLike, energy: npt.ArrayLike, pixel_sigma: npt.ArrayLike | None = None
) -> EnergyScale:
    """Fit the scale through lines of known energy loss.

    Parameters
    ----------
    pixel, energy : array_like, shape (n,)
        Place and energy loss of each line, at least two of different energies.
    pixel_sigma : array_like, shape (n,), optional
        Standard deviation of each place; default: one unknown value, from the scatter (three lines or more).

    Raises
    ------
    ConfigurationError
        Too few lines, or lines of one energy.
    """
    x, e = np.asarray(pixel, float), np.asarray(energy, float)
    if x.ndim != 1 or x.shape != e.shape or np.unique(e).size < 2 or np.unique(x).size < 2:
        raise ConfigurationError(
            f"an energy calibration needs two lines or more at different pixels; "
            f"got {x.size} pixels and {e.size} energies"
        )
    s = np.ones_like(x) if pixel_sigma is None else np.asarray(pixel_sigma, float)
    # pixel = zero + energy / slope: the noise is in the pixels
    design = np.stack([np.ones_like(e), e], 1) / s[:, None]
    information = design.T @ design
    zero, inverse = np.linalg.solve(information, design.T @ (x / s))
    covariance = np.linalg.inv(information)
    if pixel_sigma is None:
        rest = x - zero - inverse * e
        covariance = covariance * (float(rest @ rest) / (x.size - 2) if x.size > 2 else np.nan)
    slope = 1 / inverse
    jacobian = np.array([[0.0, -(slope**2)], [1.0, 0.0]])
    return EnergyScale(float(slope), float(zero), jacobian @ covariance @ jacobian.T)
