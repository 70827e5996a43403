"""Peaks of a powder pattern: positions with uncertainties, areas, widths, and how sure each one is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from streamproc.models.powder.detect import Candidate, Detector
from streamproc.models.powder.floor import estimate_noise, noise_level, smooth_floor, without_spikes
from streamproc.models.powder.peakfit import Doublet
from streamproc.models.powder.peakgroups import Peak, fit_all

from streamproc.errors import FrameFailed

__all__ = ["Doublet", "Peak", "PeakList", "detect_peaks", "find_peaks"]

Array = npt.NDArray[np.float64]

_FLOOR_LENGTH_DEG = 9.0
_MODEL_ERROR = 0.04
"""Relative error of a fitted profile: what axial divergence leaves beside a strong peak is no peak."""

_ROUNDS = 4
_NEAR_FWHM = 0.7
_BROAD = 5.0
"""Peaks wider than this many times the others (by area) are humps."""


@dataclass(frozen=True, slots=True)
class PeakList:
    """The peaks of a pattern by rising angle.

    Attributes
    ----------
    peaks : tuple of Peak
        What was found.
    first_deg, last_deg : float
        Ends of the measured axis (degrees 2theta).
    threshold : float
        Significance a peak needed.
    chi2_reduced : float
        Mean square of what floor and peaks leave over, in units of the variance.
    """

    peaks: tuple[Peak, ...]
    first_deg: float
    last_deg: float
    threshold: float
    chi2_reduced: float


def find_peaks(
    two_theta_deg: npt.ArrayLike,
    intensity: npt.ArrayLike,
    beam: Doublet,
    variance: npt.ArrayLike | None = None,
    *,
    false_alarms: float = 0.05,
    max_peaks: int = 80,
) -> PeakList:
    """Find the peaks of a pattern.

    Matched filters of all plausible widths, blind to a straight background, look for peaks; their threshold
    is set so that ``false_alarms`` peaks are expected in a pattern that has none, with the skewness of counts
    taken into account and the filters' own noise measured. What is found is fitted jointly, and what the fit
    leaves over is searched again.

    Parameters
    ----------
    two_theta_deg : array_like, shape (n,)
        Rising axis (degrees); steps may differ.
    intensity : array_like, shape (n,)
        Counts, or anything proportional to them; points that are not finite are left out.
    beam : Doublet
        Wavelengths.
    variance : array_like, shape (n,), optional
        Of the intensities; estimated from the pattern where it is not given.
    false_alarms : float
        Expected number of peaks in a pattern without peaks.
    max_peaks : int
        The strongest that many are kept.

    Returns
    -------
    PeakList
        By rising angle.

    Raises
    ------
    FrameFailed
        When the arrays are no pattern.
    """
    ready = _prepared(two_theta_deg, intensity, variance, false_alarms)
    peaks, model = _search(ready, beam, max_peaks)
    left = ready.y - model
    chi2 = float(np.mean(left**2 / (ready.noise + ready.gain * model)))
    return PeakList(tuple(peaks), float(ready.x[0]), float(ready.x[-1]), ready.detector.threshold, chi2)


def detect_peaks(
    two_theta_deg: npt.ArrayLike,
    intensity: npt.ArrayLike,
    beam: Doublet,
    variance: npt.ArrayLike | None = None,
    *,
    false_alarms: float = 0.05,
) -> list[Candidate]:
    """Say only where peaks stand out, without fitting them: the quick half of :func:`find_peaks`.

    Parameters and errors are those of :func:`find_peaks`.

    Returns
    -------
    list of Candidate
        The most significant first.
    """
    ready = _prepared(two_theta_deg, intensity, variance, false_alarms)
    return ready.detector.candidates(ready.x, ready.y, ready.noise, ready.gain, beam)


@dataclass(frozen=True, slots=True)
class _Ready:
    """A pattern without its floor, the variance of what is no peak, variance per intensity, filters."""

    x: Array
    y: Array
    noise: Array
    gain: float
    detector: Detector


def _prepared(
    two_theta_deg: npt.ArrayLike,
    intensity: npt.ArrayLike,
    variance: npt.ArrayLike | None,
    false_alarms: float,
) -> _Ready:
    x, y, noise = _checked(two_theta_deg, intensity, variance)
    step = float(np.median(np.diff(x)))
    length = _FLOOR_LENGTH_DEG / step
    if noise is None:
        constant, gain = estimate_noise(y)
        rough = np.maximum(uniform_filter1d(y, 15), gain)
        floor = smooth_floor(y, constant + gain * rough, length)
        noise = constant + gain * noise_level(y, floor, constant, gain)
    else:
        # a variance taken from the counts themselves is low where they are: that must not make peaks
        noise = uniform_filter1d(noise, 15, mode="nearest")
        level = float(np.median(y))
        gain = float(np.median(noise)) / level if level > 0 else 0.0
        floor = smooth_floor(y, noise, length)
    lines = without_spikes(y - floor, noise)
    return _Ready(x, lines, noise, gain, Detector(step, float(x[-1] - x[0]), false_alarms))


def _checked(
    axis: npt.ArrayLike, intensity: npt.ArrayLike, variance: npt.ArrayLike | None
) -> tuple[Array, Array, Array | None]:
    """Check, drop what is not finite, bring uneven steps to even ones."""
    x, y = np.asarray(axis, float), np.asarray(intensity, float)
    v = None if variance is None else np.asarray(variance, float)
    if x.ndim != 1 or x.shape != y.shape or (v is not None and v.shape != x.shape):
        shapes = f"{x.shape}, {y.shape}" + ("" if v is None else f", {v.shape}")
        raise FrameFailed(f"a pattern needs axis, intensity and variance of one length, got {shapes}")
    good = np.isfinite(x) & np.isfinite(y)
    if v is not None:
        good &= np.isfinite(v) & (v >= 0)
    x, y, v = x[good], y[good], None if v is None else v[good]
    if x.size < 30:
        raise FrameFailed(f"{x.size} usable points, expected at least 30 to look for peaks")
    if not (np.diff(x) > 0).all():
        raise FrameFailed("the axis of the pattern is not strictly rising")
    if x[0] < 0 or x[-1] > 180:
        raise FrameFailed(f"2theta from {x[0]:g} to {x[-1]:g} degrees, expected 0 to 180")
    if v is not None:
        positive = v[v > 0]
        if not positive.size:
            raise FrameFailed("the variance is zero everywhere")
        v = np.maximum(v, 1e-3 * float(np.median(positive)))
    return _even(x, y, v)


def _even(x: Array, y: Array, v: Array | None) -> tuple[Array, Array, Array | None]:
    """Interpolate onto even steps where steps differ by more than a tenth (holes become straight lines)."""
    steps = np.diff(x)
    step = float(np.median(steps))
    if float(np.abs(steps - step).max()) < 0.1 * step:
        return x, y, v
    n = int(np.clip(round((x[-1] - x[0]) / step) + 1, 30, 50_000))
    even = np.linspace(x[0], x[-1], n)
    return even, np.interp(even, x, y), None if v is None else np.interp(even, x, v)


def _search(ready: _Ready, beam: Doublet, most: int) -> tuple[list[Peak], Array]:
    """Detect, fit, and look again at what is left."""
    x, y, noise, gain, detector = ready.x, ready.y, ready.noise, ready.gain, ready.detector
    counting = noise + gain * np.maximum(uniform_filter1d(y, 3), 0.0)
    found: list[Candidate] = []
    model = np.zeros_like(y)
    peaks: list[Peak] = []
    for turn in range(_ROUNDS):
        doubt = noise + gain * model + (_MODEL_ERROR * _spread(model, detector)) ** 2
        fresh = detector.candidates(x, y - model, doubt, gain, beam if turn == 0 else None)
        fresh = [c for c in fresh if _is_new(c, peaks)]
        if not fresh:
            break
        found = sorted([*found, *fresh], key=lambda c: -c.significance)[:most]
        peaks, model, found = fit_all(x, y, counting, found, beam, detector)
    return _without_humps(peaks), model


def _without_humps(peaks: list[Peak]) -> list[Peak]:
    """Leave out what is far wider than the rest."""
    if len(peaks) < 3:
        return peaks
    order = sorted(peaks, key=lambda p: p.fwhm_deg)
    area = np.cumsum([p.area for p in order])
    typical = order[int(np.searchsorted(area, 0.5 * area[-1]))].fwhm_deg
    return [p for p in peaks if p.fwhm_deg < _BROAD * typical]


def _spread(model: Array, detector: Detector) -> Array:
    """Largest value of the model within half a width, so that its flanks are doubted as much as its top."""
    return np.asarray(maximum_filter1d(model, detector.narrow_points, mode="nearest"))


def _is_new(candidate: Candidate, peaks: list[Peak]) -> bool:
    return all(
        abs(candidate.position_deg - p.position_deg) > _NEAR_FWHM * max(p.fwhm_deg, candidate.fwhm_deg)
        for p in peaks
    )
