"""A camera image becomes a spectrum: straightened, on an energy axis, with its variance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamproc.errors import ConfigurationError, FrameFailed
from streamproc.reduction.spectrum.channels import Channels, lay, straighten
from streamproc.reduction.spectrum.curvature import centroids, measure_curvature
from streamproc.reduction.spectrum.energy import EnergyScale
from streamproc.reduction.spectrum.photons import find_photons
from streamproc.reduction.spectrum.settings import CameraSettings

__all__ = ["CameraReducer", "ReducedSpectrum"]

Array = npt.NDArray[np.float64]

_HALF_A_PHOTON = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class ReducedSpectrum:
    """A spectrum of an image.

    Attributes
    ----------
    energy : ndarray, shape (n,)
        Energy loss, rising.
    counts, variance : ndarray, shape (n,)
        Channels that every column reaches; what neighbours share of one pixel is not counted as correlated.
    elastic_pixel, elastic_sigma : float
        Where the elastic line was taken to be.
    """

    energy: Array
    counts: Array
    variance: Array
    elastic_pixel: float
    elastic_sigma: float


class CameraReducer:
    """Reduces images alike.

    Parameters
    ----------
    settings : CameraSettings
        How.

    Raises
    ------
    ConfigurationError
        ``energy_per_pixel`` is missing or 0, or photons are wanted without their value.
    """

    def __init__(self, settings: CameraSettings) -> None:
        if not settings.energy_per_pixel:
            raise ConfigurationError(
                "camera.energy_per_pixel: the energy loss per pixel along the dispersive axis is needed for "
                "camera images (with its sign); for spectra set axis_key instead"
            )
        if settings.photon == "threshold" and settings.photon_value is None:
            raise ConfigurationError(
                "camera.photon = 'threshold' needs camera.photon_value (units of a photon)"
            )
        self._settings, self._slope = settings, settings.energy_per_pixel

    def spectrum(self, image: npt.ArrayLike) -> ReducedSpectrum:
        """Return the spectrum of an image.

        Raises
        ------
        FrameFailed
            It is no image, holds no counts, or its elastic line is not seen where it is needed.
        """
        counts = self._checked(image)
        scale = 1.0
        if self._settings.photon == "none" and self._settings.photon_value is not None:
            scale = self._settings.photon_value
        shift = self._shift(counts)
        channels = _reached(self._channels(counts / scale, shift), shift, counts.shape[0])
        zero, sigma = self._elastic(channels)
        energy = EnergyScale.from_slope(self._slope, zero, sigma).energy(channels.pixel)
        order = slice(None) if self._slope > 0 else slice(None, None, -1)
        return ReducedSpectrum(energy[order], channels.counts[order], channels.variance[order], zero, sigma)

    def _checked(self, image: npt.ArrayLike) -> Array:
        try:
            counts = np.squeeze(np.asarray(image, float))
        except (TypeError, ValueError) as error:
            raise FrameFailed(f"the camera image is not numeric: {error}") from error
        if counts.ndim != 2 or min(counts.shape) < 2:
            raise FrameFailed(f"a camera image of shape {np.shape(image)}; expected rows and columns")
        if not np.isfinite(counts).any() or not 0 < np.nanmax(counts) < 1e15:
            raise FrameFailed("the camera image is empty or saturated")
        return counts if self._settings.dispersive_axis == 0 else counts.T

    def _shift(self, counts: Array) -> Array:
        """Rows that each column is to move up; none at the middle column."""
        s, columns = self._settings, counts.shape[1]
        if s.curvature:
            scaled = 2 * np.arange(columns) / max(columns - 1, 1) - 1
            row = np.polynomial.polynomial.polyval(scaled, np.array(s.curvature))
            return np.asarray(row - np.polynomial.polynomial.polyval(0.0, np.array(s.curvature)))
        found = measure_curvature(counts, s.curvature_degree)
        return np.asarray(found.row(np.arange(columns)) - found.row((columns - 1) / 2)[0])

    def _channels(self, counts: Array, shift: Array) -> Channels:
        if self._settings.photon == "none":
            return straighten(counts, shift)
        value = float(self._settings.photon_value or 1.0)
        photons = find_photons(counts, _HALF_A_PHOTON * value, value)
        if not photons.row.size:
            raise FrameFailed("no photon in the camera image (camera.photon_value)")
        moved = np.interp(photons.column, np.arange(shift.size), shift)
        return lay(photons.row - moved, photons.number.astype(float))

    def _elastic(self, channels: Channels) -> tuple[float, float]:
        if self._settings.elastic_pixel is not None:
            return self._settings.elastic_pixel, 0.0
        _, row, sigma = centroids(channels.counts[:, None])
        if not row.size:
            raise FrameFailed("no elastic line in the camera image; set camera.elastic_pixel")
        return channels.first + float(row[0]), float(sigma[0])


def _reached(channels: Channels, shift: Array, rows: int) -> Channels:
    """Leave out channels beside the image that only some columns reach: they would look too weak."""
    low, high = int(np.ceil(-shift.min())), int(np.floor(rows - 1 - shift.max()))
    if high - low < 2:
        raise FrameFailed(f"the curvature ({np.ptp(shift):.0f} pixels) leaves nothing of {rows} rows")
    counts, variance = np.zeros(high - low + 1), np.zeros(high - low + 1)
    start, stop = max(channels.first, low), min(channels.first + channels.counts.size, high + 1)
    if stop > start:
        there, here = slice(start - channels.first, stop - channels.first), slice(start - low, stop - low)
        counts[here], variance[here] = channels.counts[there], channels.variance[there]
    return Channels(low, counts, variance)
