"""Matched filters that find peaks in noise at a chosen rate of false alarms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri
from streamproc.models.powder.peakfit import Doublet

__all__ = ["Candidate", "Detector"]

Array = npt.NDArray[np.float64]

_NARROWEST_STEPS = 2.5
_WIDEST_DEG = 1.6
_RATIO = 1.6
_REACH_FWHM = 2.4
_KA2_REST = 0.75
"""A peak where K-alpha2 of another lies counts as such up to this share of that one's significance."""

_BEYOND_DOUBT = 10.0
"""Where the tail of the noise is no matter any more."""

_LOBE_FWHM = 3.0
_LOBE_SHARE = 0.35
"""How far and how high a filter answers beside a peak; weak peaks there are found once it is taken off."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Where a filter answers: position and filter width (degrees), height over noise."""

    position_deg: float
    fwhm_deg: float
    significance: float


class Detector:
    """Filters of all plausible widths for patterns of one step and length.

    Parameters
    ----------
    step_deg, length_deg : float
        Step and length of the axis (degrees).
    false_alarms : float
        Expected number of answers in a pattern without peaks.
    """

    def __init__(self, step_deg: float, length_deg: float, false_alarms: float) -> None:
        self.narrowest_deg = _NARROWEST_STEPS * step_deg
        self.widest_deg = max(self.narrowest_deg, min(_WIDEST_DEG, length_deg / 12))
        count = 1 + int(np.ceil(np.log(self.widest_deg / self.narrowest_deg) / np.log(_RATIO)))
        self.widths_deg = self.narrowest_deg * _RATIO ** np.arange(count)
        self._kernels = [_kernel(width / step_deg) for width in self.widths_deg]
        self._kernels = [k for k in self._kernels if k.size < 0.5 * length_deg / step_deg] or self._kernels[
            :1
        ]
        # independent places: measured on patterns without peaks, some three per FWHM and width
        trials = 3.0 * sum(length_deg / width for width in self.widths_deg)
        self.threshold = float(-ndtri(min(0.5, false_alarms / max(trials, 1.0))))

    @property
    def narrow_points(self) -> int:
        """Points in the narrowest FWHM, odd."""
        return 2 * int(_NARROWEST_STEPS) + 1

    def candidates(
        self, x: Array, y: Array, variance: Array, gain: float, beam: Doublet | None
    ) -> list[Candidate]:
        """Return the maxima over position and width that stand out, strongest first.

        Parameters
        ----------
        x, y, variance : ndarray, shape (n,)
            Axis, pattern without floor, variance.
        gain : float
            Variance per intensity (1 for counts); gives the skewness of the noise.
        beam : Doublet or None
            Leaves out what K-alpha2 of a stronger candidate explains.
        """
        best = np.full(y.size, -np.inf)
        which = np.zeros(y.size, int)
        for i, kernel in enumerate(self._kernels):
            z = _filtered(y, variance, gain, kernel)
            better = z > best
            best[better], which[better] = z[better], i
        peak = np.flatnonzero(
            (best > self.threshold) & (best >= np.roll(best, 1)) & (best > np.roll(best, -1))
        )
        chosen: list[Candidate] = []
        for at in peak[np.argsort(-best[peak], kind="stable")]:
            kernel = self._kernels[which[at]]
            candidate = Candidate(float(x[at]), float(self.widths_deg[which[at]]), float(best[at]))
            if _is_spike(y, variance, gain, kernel, int(at), self.threshold):
                continue
            if not any(_same(candidate, c, beam) for c in chosen):
                chosen.append(candidate)
        return chosen


def _kernel(fwhm_points: float) -> Array:
    """Gaussian of that FWHM, blind to a parabola (floors and the humps of glass are smooth, not straight)."""
    half = max(4, int(np.ceil(_REACH_FWHM * fwhm_points)))
    t = np.arange(-half, half + 1) / half
    shape = np.exp(-4 * np.log(2) * (t * half / fwhm_points) ** 2)
    smooth = np.stack([np.ones_like(t), t * t])
    return np.asarray(shape - np.linalg.solve(smooth @ smooth.T, smooth @ shape) @ smooth)


def _filtered(y: Array, variance: Array, gain: float, kernel: Array) -> Array:
    """Answer of a filter in standard deviations of its noise, skewness of counts taken out."""
    half = kernel.size // 2

    def through(values: Array, weights: Array) -> Array:
        padded = np.pad(values, half, mode="reflect" if values.size > half else "edge")
        from scipy.signal import oaconvolve  # brings scipy.stats, half a second of a service's start

        return np.asarray(oaconvolve(padded, weights, mode="valid"))

    power = np.maximum(through(variance, kernel**2), 1e-300)
    z = through(y, kernel[::-1]) / np.sqrt(power)
    # the third cumulant of scaled counts is gain * variance
    z = _normalised(z, gain * through(variance, kernel**3) / power**1.5)
    ends = np.zeros(z.size, bool)
    edge = max(2, half // 4)
    ends[:edge] = ends[-edge:] = True
    z[ends] = -np.inf
    inside = z[~ends]
    low, middle = np.percentile(inside, [15.8655, 50.0])
    # where neighbours share their noise, or the variance is too small, the filter's own noise says so;
    # only its lower side is looked at, since peaks are on the upper
    return np.asarray((z - max(0.0, min(float(middle), 1.0))) / max(1.0, float(middle - low)))


def _normalised(z: Array, skew: Array) -> Array:
    """Normal deviate of the same tail probability, for a skewed (Pearson III) variable.

    Wilson & Hilferty 1931, Proc. Natl Acad. Sci. 17, 684.
    """
    g = np.clip(skew, 1e-4, 8.0)
    near = np.minimum(z, _BEYOND_DOUBT)
    return np.asarray(6 / g * (np.cbrt(np.maximum(1 + g * near / 2, 0.0)) - 1) + g / 6 + (z - near))


def _is_spike(y: Array, variance: Array, gain: float, kernel: Array, at: int, threshold: float) -> bool:
    """Whether one single point makes the peak: without it, nothing would be seen."""
    half = kernel.size // 2
    low, high = max(0, at - half), min(y.size, at + half + 1)
    part = kernel[low - at + half : high - at + half]
    values, noise = y[low:high].copy(), variance[low:high]
    top = int(np.argmax(np.where(part > 0, values, -np.inf)))
    beside = [values[j] for j in (top - 1, top + 1) if 0 <= j < values.size]
    values[top] = min(values[top], float(np.mean(beside)))
    rest = float(values @ part) / np.sqrt(max(float(noise @ part**2), 1e-300))
    return rest < 0.5 * threshold


def _same(candidate: Candidate, stronger: Candidate, beam: Doublet | None) -> bool:
    """Whether a stronger peak, its K-alpha2, or a filter's side lobe beside it is all there is."""
    width = max(candidate.fwhm_deg, stronger.fwhm_deg)
    apart = abs(candidate.position_deg - stronger.position_deg)
    if apart < 0.5 * width:
        return True
    if apart < _LOBE_FWHM * width and candidate.significance < _LOBE_SHARE * stronger.significance:
        return True
    if beam is None or beam.wavelength2_A is None:
        return False
    second = float(beam.second(np.array([stronger.position_deg]))[0][0])
    near = abs(candidate.position_deg - second) < 0.5 * width
    return near and candidate.significance < _KA2_REST * stronger.significance
