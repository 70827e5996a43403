"""Resolution functions: Gaussian, Voigt, or a line that was measured. All have unit area."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import voigt_profile

from streamproc.errors import ConfigurationError

__all__ = ["Gaussian", "MeasuredLine", "Resolution", "Voigt"]

Array = npt.NDArray[np.float64]

_SIGMAS = 2.0 * np.sqrt(2.0 * np.log(2.0))
_LEAST_POINTS = 5


class Resolution(Protocol):
    """What a spectrum was seen through."""

    @property
    def fwhm(self) -> float:
        """Full width at half maximum."""

    @property
    def lorentzian(self) -> float:
        """Lorentzian share of the width, 0 to 1."""

    @property
    def reach(self) -> float:
        """Distance from which on sources outside the window do not matter."""

    @property
    def steps(self) -> int:
        """Grid steps per full width that hold the shape."""

    def __call__(self, energy: Array) -> Array:
        """Return the line, unit area, at these energies."""


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Gaussian of a full width at half maximum."""

    fwhm: float

    def __post_init__(self) -> None:
        _positive("fwhm", self.fwhm)

    @property
    def lorentzian(self) -> float:
        """None."""
        return 0.0

    @property
    def reach(self) -> float:
        """Where the line is below 1e-8 of its maximum."""
        return 2.6 * self.fwhm

    @property
    def steps(self) -> int:
        """A Gaussian is smooth: with quintic splines 5 are right to 1e-5."""
        return 5

    def __call__(self, energy: Array) -> Array:
        """Return the line at these energies."""
        sigma = self.fwhm / _SIGMAS
        x = np.asarray(energy, float) / sigma
        return np.asarray(np.exp(-0.5 * x * x) / (sigma * np.sqrt(2 * np.pi)))


@dataclass(frozen=True, slots=True)
class Voigt:
    """Convolution of a Gaussian and a Lorentzian, each given by its full width at half maximum."""

    gaussian_fwhm: float
    lorentzian_fwhm: float

    def __post_init__(self) -> None:
        _positive("gaussian_fwhm", self.gaussian_fwhm)
        if not self.lorentzian_fwhm >= 0:
            raise ConfigurationError(f"lorentzian_fwhm is {self.lorentzian_fwhm}, must not be negative")

    @property
    def fwhm(self) -> float:
        """Full width at half maximum (Olivero & Longbothum 1977, to 2e-4)."""
        half = 0.5346 * self.lorentzian_fwhm
        return float(half + np.sqrt(0.2166 * self.lorentzian_fwhm**2 + self.gaussian_fwhm**2))

    @property
    def lorentzian(self) -> float:
        """Share of the Lorentzian in the sum of both widths."""
        return self.lorentzian_fwhm / (self.lorentzian_fwhm + self.gaussian_fwhm)

    @property
    def reach(self) -> float:
        """The tails are long: sources within 40 widths outside the window count."""
        return max(2.6 * self.gaussian_fwhm, 40.0 * self.lorentzian_fwhm)

    @property
    def steps(self) -> int:
        """The Gaussian part has to be resolved."""
        return int(np.ceil(5 * max(1.0, self.fwhm / self.gaussian_fwhm)))

    def __call__(self, energy: Array) -> Array:
        """Return the line at these energies."""
        return np.asarray(voigt_profile(energy, self.gaussian_fwhm / _SIGMAS, self.lorentzian_fwhm / 2))


class MeasuredLine:
    """An elastic line that was measured: linear between its points, zero outside, centred on its centroid.

    Parameters
    ----------
    energy : array_like
        Strictly rising.
    intensity : array_like
        Not negative; a background is to be taken off before.

    Raises
    ------
    ConfigurationError
        It is no line.
    """

    def __init__(self, energy: npt.ArrayLike, intensity: npt.ArrayLike) -> None:
        e, y = np.asarray(energy, float), np.asarray(intensity, float)
        if e.ndim != 1 or e.shape != y.shape or e.size < _LEAST_POINTS:
            raise ConfigurationError(
                f"resolution line: energies of shape {e.shape}, intensities {y.shape}; "
                f"expected two lists of one length, at least {_LEAST_POINTS}"
            )
        if not (np.isfinite(e).all() and np.isfinite(y).all() and (np.diff(e) > 0).all()):
            raise ConfigurationError("resolution line: energies must rise strictly and all numbers be finite")
        if (y < 0).any() or y.max() <= 0:
            raise ConfigurationError("resolution line: intensities must not be negative, nor all zero")
        edges = np.concatenate([[2 * e[0] - e[1]], e, [2 * e[-1] - e[-2]]])
        height = np.concatenate([[0.0], y, [0.0]])
        step, mean = np.diff(edges), (height[1:] + height[:-1]) / 2
        area = float((step * mean).sum())
        # first moment of a line between two points, exactly
        low, high = edges[:-1], edges[1:]
        moment = step * (low * (2 * height[:-1] + height[1:]) + high * (height[:-1] + 2 * height[1:])) / 6
        self._energy, self._height = edges - float(moment.sum()) / area, height / area
        self._fwhm = _half_maximum_width(self._energy, self._height)

    @property
    def fwhm(self) -> float:
        """Full width at half maximum, between the outermost crossings."""
        return self._fwhm

    @property
    def lorentzian(self) -> float:
        """Equivalent share: from how much of the area lies beyond one width on either side."""
        inside = np.abs(self._energy) < self._fwhm
        area = np.trapezoid(np.where(inside, self._height, 0.0), self._energy)
        # a Gaussian has 1.9 % there, a Lorentzian 29.5 %
        return float(np.clip((1 - area - 0.019) / 0.276, 0.0, 1.0))

    @property
    def reach(self) -> float:
        """The longer side of the line."""
        return float(max(-self._energy[0], self._energy[-1]))

    @property
    def steps(self) -> int:
        """It has corners."""
        return 16

    def __call__(self, energy: Array) -> Array:
        """Return the line at these energies."""
        return np.interp(energy, self._energy, self._height, left=0.0, right=0.0)


def _half_maximum_width(e: Array, y: Array) -> float:
    half = y.max() / 2
    above = np.flatnonzero(y >= half)
    i, k = above[0], above[-1]
    left = e[i - 1] + (half - y[i - 1]) / (y[i] - y[i - 1]) * (e[i] - e[i - 1])
    right = e[k] + (y[k] - half) / (y[k] - y[k + 1]) * (e[k + 1] - e[k])
    return float(right - left)


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise ConfigurationError(f"resolution {name} is {value}, must be above 0")
