"""What a detector does to the counts, and how it is undone: one frozen object, no document knowledge.

The model of a pixel is ``raw = dark + flat * solid_angle * polarisation * intensity``; a bin's intensity is
``sum(raw - dark) / sum(flat * solid_angle * polarisation)`` over its pixels, as in pyFAI's ``integrate1d_ng``
(pyFAI: Ashiotis et al., J. Appl. Cryst. 48 (2015) 510).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.errors import ConfigurationError, FrameFailed

__all__ = ["LARGEST_VALUE", "Correction", "DarkImage"]

LARGEST_VALUE = 1e30
"""Real numbers beyond it, in whatever unit, are markers or garbage; sums of smaller ones fit everywhere."""

Shape = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class DarkImage:
    """A dark frame ready for use: mean (counts), variance of that mean (counts squared), unusable pixels.

    All three are flat arrays of n_pixels.
    """

    mean: npt.NDArray[np.float64]
    variance: npt.NDArray[np.float64]
    bad: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """Detector correction: constant images and limits. The default corrects the solid angle only.

    Attributes
    ----------
    mask : ndarray of bool, shape (rows, columns), or None
        True where a pixel must not be used.
    dark : ndarray, shape (rows, columns), or None
        Counts without beam, subtracted from each frame. Taken as exact: it adds no variance.
    flat : ndarray, shape (rows, columns), or None
        Relative sensitivity of each pixel. Pixels whose flat is not a positive number are masked.
    hot_pixels : ndarray of int, shape (n, 2), or None
        Row and column of pixels to mask.
    hot_dark_above : float or None
        Pixels whose dark (file or run) exceeds this many counts are masked.
    saturation : float or None
        Values at or above it are masked in the frame they occur in.
    mask_negative : bool
        Mask negative values of signed integer frames in the frame they occur in (Pilatus: -1 gap, -2 dead).
    dead_time_s, exposure_s : float or None
        Dead time of a pixel's counter and exposure of one frame (s); None for no correction.
    polarization_factor : float or None
        -1 (vertical) to 1 (horizontal), pyFAI's convention; None for no correction.
    solid_angle : bool
        Correct for the solid angle of each pixel (relative to one at the point of normal incidence).
    """

    mask: npt.NDArray[np.bool_] | None = None
    dark: npt.NDArray[Any] | None = None
    flat: npt.NDArray[Any] | None = None
    hot_pixels: npt.NDArray[np.int64] | None = None
    hot_dark_above: float | None = None
    saturation: float | None = None
    mask_negative: bool = True
    dead_time_s: float | None = None
    exposure_s: float | None = None
    polarization_factor: float | None = None
    solid_angle: bool = True

    @property
    def tau(self) -> float:
        """Dead time over exposure time (1/counts); 0 where there is no dead-time correction."""
        if self.dead_time_s is None:
            return 0.0
        if not self.exposure_s:
            raise ConfigurationError(
                "dead_time_s is set but exposure_s is not: the correction needs the exposure of one frame"
            )
        return self.dead_time_s / self.exposure_s

    def shape(self) -> Shape | None:
        """Return the (rows, columns) of the images, None when there are none.

        Raises
        ------
        ConfigurationError
            When two of mask, dark and flat differ in shape.
        """
        shapes = {n: a.shape for n in ("mask", "dark", "flat") if (a := getattr(self, n)) is not None}
        if len(set(shapes.values())) > 1 or any(len(s) != 2 for s in shapes.values()):
            listed = ", ".join(f"{n} {s}" for n, s in shapes.items())
            raise ConfigurationError(f"mask, dark and flat must be images of one shape, got {listed}")
        rows_columns = next(iter(shapes.values()), None)
        return None if rows_columns is None else (rows_columns[0], rows_columns[1])

    def masked(self, shape: Shape) -> npt.NDArray[np.bool_]:
        """Return which pixels no frame may use, shape ``shape``: mask, hot pixels, unusable flat or dark.

        Raises
        ------
        ConfigurationError
            When an image differs from ``shape`` or a hot pixel lies outside it.
        """
        if (own := self.shape()) is not None and own != shape:
            raise ConfigurationError(
                f"mask, dark and flat are {own[0]} x {own[1]} pixels but the detector geometry has "
                f"{shape[0]} x {shape[1]}: use files that belong to this geometry (nothing is cropped)"
            )
        masked = np.zeros(shape, bool) if self.mask is None else self.mask.astype(bool)
        if self.flat is not None:
            masked |= ~(np.isfinite(self.flat) & (self.flat > 0))
        if self.dark is not None:
            masked |= ~np.isfinite(self.dark) | self._hot(self.dark)
        if self.hot_pixels is not None and self.hot_pixels.size:
            rows, columns = self.hot_pixels.T
            if self.hot_pixels.min() < 0 or rows.max() >= shape[0] or columns.max() >= shape[1]:
                raise ConfigurationError(
                    f"hot_pixels names a pixel outside the detector of {shape[0]} rows x {shape[1]} columns "
                    f"(largest row {rows.max()}, column {columns.max()}; counted from 0)"
                )
            masked[rows, columns] = True
        return masked

    def limits(self, dtype: np.dtype[Any]) -> tuple[float, float]:
        """Return (low, high): a raw value v of a frame of ``dtype`` counts when low <= v < high.

        The largest value of unsigned types of 16 bits and more marks a dead pixel (DECTRIS Eiger: 2^16-1,
        2^32-1). Real values beyond 1e30 (markers such as 3.4e38, or garbage) and non-finite ones never count.
        """
        if dtype.kind == "f":
            low, high = -LARGEST_VALUE, LARGEST_VALUE
        else:
            info = np.iinfo(np.uint8 if dtype.kind == "b" else dtype)
            low = 0.0 if dtype.kind == "u" or self.mask_negative else float(info.min)
            dead_marker = dtype.kind == "u" and dtype.itemsize > 1
            high = float(info.max) if dead_marker else float(info.max) + 1
        if self.saturation is not None:
            high = min(high, self.saturation)
        return low, min(high, 1 / self.tau) if self.tau else high

    def run_dark(self, dark: npt.NDArray[Any], shape: Shape) -> DarkImage:
        """Make a dark that came with the run usable: (rows, columns), or a stack (n, rows, columns) averaged.

        Its counts are Poisson counts, each with a variance of max(count, 1): the mean of n readings has the
        sum of these over n squared.

        Raises
        ------
        FrameFailed
            When its shape is not the detector's, or it holds no numbers.
        """
        stack = dark[np.newaxis] if dark.ndim == 2 else dark
        if stack.ndim != 3 or stack.shape[1:] != shape or not len(stack) or dark.dtype.kind not in "uif":
            raise FrameFailed(
                f"dark frame has shape {dark.shape} and type {dark.dtype}, expected numbers of shape {shape} "
                f"or (n, {shape[0]}, {shape[1]}): the run's dark stream does not belong to this detector"
            )
        low, high = self.limits(dark.dtype)
        bad = ~np.all((stack >= low) & (stack < high), axis=0)
        values = np.where(bad, 0.0, stack.astype(np.float64))
        mean = values.mean(axis=0)
        variance = np.maximum(values, 1.0).sum(axis=0) / len(values) ** 2
        return DarkImage(mean.ravel(), variance.ravel(), (bad | self._hot(mean)).ravel())

    def _hot(self, dark: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        if self.hot_dark_above is None:
            return np.zeros(dark.shape, bool)
        return np.asarray(dark > self.hot_dark_above)
