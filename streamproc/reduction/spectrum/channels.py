"""Counts laid on channels: straightening, shifting, alignment, normalisation. No count is lost or made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamproc.errors import FrameFailed

__all__ = ["Channels", "align", "lay", "normalise", "shifted", "straighten"]

Array = npt.NDArray[np.float64]

_STEPS = 20
_SETTLED = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Channels:
    """Counts on channels of one pixel.

    Attributes
    ----------
    first : int
        Pixel of the first channel; channels before the image's first row have negative ones.
    counts : ndarray, shape (n,)
        Sum of what fell on each.
    variance : ndarray, shape (n,)
        Its variance; what neighbours share of one pixel is not counted as correlated.
    """

    first: int
    counts: Array
    variance: Array

    @property
    def pixel(self) -> Array:
        """Pixel of each channel."""
        return self.first + np.arange(self.counts.size, dtype=float)


def lay(place: npt.ArrayLike, counts: npt.ArrayLike, variance: npt.ArrayLike | None = None) -> Channels:
    """Split counts at places between pixels linearly among the two channels beside them.

    Parameters
    ----------
    place : array_like, shape (n,)
        Where (pixels).
    counts : array_like, shape (n,)
        How many.
    variance : array_like, shape (n,), optional
        Of each; default: the counts.
    """
    x, y = np.asarray(place, float).ravel(), np.asarray(counts, float).ravel()
    v = np.maximum(y, 0.0) if variance is None else np.asarray(variance, float).ravel()
    if x.size == 0:
        raise FrameFailed("no counts to lay on channels")
    left = np.floor(x).astype(np.int64)
    part = x - left
    first = int(left.min())
    n = int(left.max()) - first + 2
    low = left - first
    total = np.bincount(low, (1 - part) * y, n) + np.bincount(low + 1, part * y, n)
    spread = np.bincount(low, (1 - part) ** 2 * v, n) + np.bincount(low + 1, part**2 * v, n)
    return Channels(first, np.asarray(total, np.float64), np.asarray(spread, np.float64))


def straighten(image: npt.ArrayLike, shift: npt.ArrayLike, variance: npt.ArrayLike | None = None) -> Channels:
    """Sum the columns of an image after moving each by its shift.

    Parameters
    ----------
    image : array_like, shape (rows, columns)
        Counts; energy runs along the rows. Not finite: not counted.
    shift : array_like, shape (columns,)
        Rows that each column is to move up (pixels).
    variance : array_like, shape (rows, columns), optional
        Of each pixel; default: its counts.

    Returns
    -------
    Channels
        As many counts as the image holds.
    """
    counts, moved = np.asarray(image, float), np.asarray(shift, float).ravel()
    if counts.ndim != 2 or moved.size != counts.shape[1]:
        raise FrameFailed(f"an image of shape {counts.shape} with {moved.size} shifts of columns")
    usable = np.isfinite(counts)
    place = np.arange(counts.shape[0], dtype=float)[:, None] - moved[None, :]
    known = None if variance is None else np.asarray(variance, float)[usable]
    return lay(place[usable], counts[usable], known)


def shifted(channels: Channels, shift: float) -> Channels:
    """Move a spectrum by a part of a channel, towards higher pixels; its sum stays."""
    return lay(channels.pixel + shift, channels.counts, channels.variance)


def align(channels: Channels, reference: Channels) -> tuple[float, float]:
    """Return how far a spectrum lies beyond a reference (pixels), and its standard deviation.

    Weighted least squares of the reference's shape, scaled and moved; both spectra's noise counts.

    Parameters
    ----------
    channels : Channels
        The spectrum, within a few pixels of the reference.
    reference : Channels
        What it is compared with; the more counts the better.

    Raises
    ------
    FrameFailed
        Nothing in common, or no line that could be aligned.
    """
    start = max(channels.first, reference.first)
    stop = min(channels.first + channels.counts.size, reference.first + reference.counts.size)
    if stop - start < 8 or reference.counts.max() <= 0 or channels.counts.max() <= 0:
        raise FrameFailed("spectra have fewer than 8 channels in common, or no counts: nothing to align")
    pixel = np.arange(start, stop, dtype=float)
    y, v = _part(channels, start, stop)
    r, w = _part(reference, start, stop)
    scale = float(y.sum() / max(r.sum(), 1e-300))
    shift = float(np.argmax(y) - np.argmax(r))
    for _ in range(_STEPS):
        model = np.interp(pixel - shift, pixel, r)
        slope = -np.gradient(model)
        variance = np.maximum(v, 0) + scale**2 * np.maximum(w, 0) + scale
        columns = np.stack([scale * slope, model]) / np.sqrt(variance)
        fisher = columns @ columns.T
        if not np.isfinite(fisher).all() or np.linalg.cond(fisher) > 1e14:
            raise FrameFailed("no line that could be aligned: the spectra are flat")
        step = np.linalg.solve(fisher, columns @ ((y - scale * model) / np.sqrt(variance)))
        shift, scale = shift + float(np.clip(step[0], -2, 2)), max(scale + float(step[1]), 1e-12)
        if abs(step[0]) < _SETTLED:
            break
    return shift, float(np.sqrt(np.linalg.inv(fisher)[0, 0]))


def _part(channels: Channels, start: int, stop: int) -> tuple[Array, Array]:
    cut = slice(start - channels.first, stop - channels.first)
    return channels.counts[cut], channels.variance[cut]


def normalise(
    counts: npt.ArrayLike, variance: npt.ArrayLike, monitor: float, monitor_variance: float | None = None
) -> tuple[Array, Array]:
    """Divide by the incident intensity; its own noise is propagated.

    Parameters
    ----------
    counts, variance : array_like, shape (n,)
        The spectrum.
    monitor : float
        Incident counts, above 0.
    monitor_variance : float, optional
        Default: the monitor itself (Poisson); 0 where it is not a count.

    Raises
    ------
    FrameFailed
        The monitor is not above 0.
    """
    y, v = np.asarray(counts, float), np.asarray(variance, float)
    if not (np.isfinite(monitor) and monitor > 0):
        raise FrameFailed(f"the monitor is {monitor}, must be above 0")
    relative = (monitor if monitor_variance is None else monitor_variance) / monitor**2
    return y / monitor, v / monitor**2 + (y / monitor) ** 2 * relative
