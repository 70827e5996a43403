"""Profile and Cake: what azimuthal integration gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["AXIS_KINDS", "Cake", "Profile"]

Float = npt.NDArray[np.float64]

AXIS_KINDS: dict[str, Literal["two_theta_deg", "q_invA"]] = {"2th_deg": "two_theta_deg", "q_A^-1": "q_invA"}
"""Name of each radial unit (pyFAI's spelling) as model cards and pattern files spell it."""


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """A powder pattern with its uncertainty.

    Attributes
    ----------
    axis : ndarray of float64, shape (n,)
        Bin centres in ``unit``, ascending.
    unit : {"2th_deg", "q_A^-1"}
        Unit of ``axis``.
    intensity : ndarray of float64, shape (n,)
        Counts per pixel of unit sensitivity and solid angle; NaN in a bin without a usable pixel.
    variance : ndarray of float64, shape (n,)
        Variance of ``intensity``; NaN where it is.
    signal : ndarray of float64, shape (n,)
        Raw counts minus dark, summed over the bin.
    signal_variance : ndarray of float64, shape (n,)
        Variance of ``signal`` (counts squared).
    normalisation : ndarray of float64, shape (n,)
        Sum of flat * solid angle * polarisation over the same pixels (times frames of a stack).
    counts : ndarray of float64, shape (n,)
        Pixels in the bin (whole numbers without pixel splitting; times frames of a stack).
    n_masked : int
        Binned pixels that this frame's own values excluded (saturated, negative, dead, not finite).
    n_frames : int
        Frames of the stack, 1 for an image.
    wavelength_A : float or None
        Wavelength of the geometry (angstrom).
    """

    axis: Float
    unit: str
    intensity: Float
    variance: Float
    signal: Float
    signal_variance: Float
    normalisation: Float
    counts: Float
    n_masked: int
    n_frames: int = 1
    wavelength_A: float | None = None

    @property
    def sigma(self) -> Float:
        """Standard uncertainty of ``intensity``, shape (n,)."""
        return np.sqrt(self.variance)

    @property
    def axis_kind(self) -> Literal["two_theta_deg", "q_invA"]:
        """The axis as model cards name it."""
        return AXIS_KINDS[self.unit]


@dataclass(frozen=True, slots=True, eq=False)
class Cake:
    """Intensity over radius and azimuth, with the profile of the same frame.

    Attributes
    ----------
    radial : ndarray of float64, shape (n_radial,)
        Bin centres in ``unit``.
    azimuthal : ndarray of float64, shape (n_azimuthal,)
        Bin centres in degrees, -180 to 180, pyFAI's chi.
    intensity, variance, signal, signal_variance, normalisation, counts : ndarray of float64
        As in :class:`Profile`, shape (n_radial, n_azimuthal).
    profile : Profile
        The 1-D pattern of the same frame; without pixel splitting its signal, signal variance, normalisation
        and counts are the exact row sums of this cake.
    """

    radial: Float
    azimuthal: Float
    unit: str
    intensity: Float
    variance: Float
    signal: Float
    signal_variance: Float
    normalisation: Float
    counts: Float
    profile: Profile

    @property
    def sigma(self) -> Float:
        """Standard uncertainty of ``intensity``, shape (n_radial, n_azimuthal)."""
        return np.sqrt(self.variance)
