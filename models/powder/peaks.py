"""Peaks of a powder pattern: positions with uncertainties, areas, widths, and how sure each one is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from streamproc.models.powder.detect import Candidate, Detector
from streamproc.models.powder.floor import estimate_noise, noise_level, smooth_floor, without_spikes
from streamproc.models.powder.peakfit import Doublet, GroupFit, fit_group

from streamproc.errors import FrameFailed

__all__ = ["Doublet", "Peak", "PeakList", "detect_peaks", "find_peaks"]

Array = npt.NDArray[np.float64]

_FLOOR_LENGTH_DEG = 9.0
_MODEL_ERROR = 0.04
"""Relative error of a fitted profile: what axial divergence leaves beside a strong peak is no peak."""

_ROUNDS = 4
_GROUP_FWHM = 3.0
_LARGEST_GROUP = 8
_NEAR_FWHM = 0.7
_SATELLITE_FWHM = 3.5
_SATELLITE_SHARE = 0.03
"""A peak this weak this near to another is what the profile does not describe."""

_RESOLVED_FWHM = 1.0
_RESOLVED_SHARE = 0.35
"""Nearer ones are told from an asymmetric profile only where they are not much weaker."""

_SPLIT_FROM = 2.0
_SPLIT_GAIN = 0.7
_SPLIT_FWHM = 0.75
"""A peak becomes two where its fit is worse than the first, and that of two lowers chi-square to this share;
nearer than that share of their width, two are an asymmetric one."""

_BROAD = 5.0
"""Peaks wider than this many times the others (by area) are humps."""


@dataclass(frozen=True, slots=True)
class Peak:
    """One peak (K-alpha1 and K-alpha2 are one).

    Attributes
    ----------
    position_deg, sigma_deg : float
        Position of the first line's maximum and its standard uncertainty (degrees 2theta), statistical only.
    d_A : float
        Spacing (angstrom) by Bragg's law.
    fwhm_deg : float
        Width of the line (degrees 2theta).
    area, area_sigma : float
        Area above the floor (intensity times degrees), both lines, and its standard uncertainty.
    significance : float
        Area over its uncertainty.
    """

    position_deg: float
    sigma_deg: float
    d_A: float
    fwhm_deg: float
    area: float
    area_sigma: float
    significance: float


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
        peaks, model, found = _fit_all(x, y, counting, found, beam, detector)
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


def _fit_all(
    x: Array, y: Array, noise: Array, found: list[Candidate], beam: Doublet, detector: Detector
) -> tuple[list[Peak], Array, list[Candidate]]:
    """Fit all groups; what the fit finds insignificant or a strong peak's shadow is dropped."""
    model = np.zeros_like(y)
    kept: list[tuple[Peak, Candidate]] = []
    for group in _groups(found):
        survivors = group
        for _ in range(3):
            span, fit = _fit(x, y, noise, survivors, beam, detector)
            good = _sound(fit, detector.threshold)
            if good.all():
                break
            survivors = [c for c, keep in zip(survivors, good, strict=True) if keep]
            if not survivors:
                break
        if not survivors:
            continue
        survivors, span, fit = _split(x, y, noise, survivors, span, fit, beam, detector)
        model[span] += fit.model
        for i, candidate in enumerate(survivors):
            kept.append((_peak(fit, i, candidate, beam), candidate))
    kept.sort(key=lambda pair: pair[0].position_deg)
    moved = [Candidate(p.position_deg, p.fwhm_deg, c.significance) for p, c in kept]
    return [p for p, _ in kept], model, moved


def _split(
    x: Array, y: Array, noise: Array, group: list[Candidate], span: slice, fit: GroupFit, beam: Doublet,
    detector: Detector,
) -> tuple[list[Candidate], slice, GroupFit]:  # fmt: skip
    """Put two peaks in the place of the widest where that explains the pattern much better."""
    while len(group) < _LARGEST_GROUP and fit.chi2_reduced > _SPLIT_FROM:
        i = int(np.argmax(fit.fwhm_deg))
        centre, width = float(fit.centre_deg[i]), float(fit.fwhm_deg[i])
        halves = [
            Candidate(centre + side * 0.35 * width, 0.6 * width, group[i].significance) for side in (-1, 1)
        ]
        rest = [
            Candidate(float(c), float(w), g.significance)
            for j, (c, w, g) in enumerate(zip(fit.centre_deg, fit.fwhm_deg, group, strict=True))
            if j != i
        ]
        trial = sorted([*rest, *halves], key=lambda c: c.position_deg)
        new_span, new = _fit(x, y, noise, trial, beam, detector)
        mean_width = (new.fwhm_deg[1:] + new.fwhm_deg[:-1]) / 2
        ordered = bool(np.all(np.diff(new.centre_deg) > _SPLIT_FWHM * mean_width))
        better = new.chi2_reduced < _SPLIT_GAIN * fit.chi2_reduced
        if not (ordered and better and _sound(new, detector.threshold).all()):
            break
        group, span, fit = trial, new_span, new
    return group, span, fit


def _groups(found: list[Candidate]) -> list[list[Candidate]]:
    """Peaks that overlap, at most eight together (cut at the widest gap)."""
    groups: list[list[Candidate]] = []
    for candidate in sorted(found, key=lambda c: c.position_deg):
        last = groups[-1][-1] if groups else None
        near = last is not None and candidate.position_deg - last.position_deg < _GROUP_FWHM * (
            last.fwhm_deg + candidate.fwhm_deg
        )
        if near and len(groups[-1]) < _LARGEST_GROUP:
            groups[-1].append(candidate)
        else:
            groups.append([candidate])
    return groups


def _fit(
    x: Array, y: Array, noise: Array, group: list[Candidate], beam: Doublet, detector: Detector
) -> tuple[slice, GroupFit]:
    centres = np.array([c.position_deg for c in group])
    widths = np.array([c.fwhm_deg for c in group])
    reach = 3.5 * float(widths.max())
    last = float(beam.second(centres[-1:])[0][0])
    low = int(np.searchsorted(x, centres[0] - reach))
    high = int(np.searchsorted(x, last + reach))
    low, high = max(0, min(low, x.size - 8)), min(x.size, max(high, low + 8))
    span = slice(low, high)
    return span, fit_group(
        x[span],
        y[span],
        noise[span],
        centres,
        widths,
        (detector.narrowest_deg * 0.6, detector.widest_deg * 1.5),
        beam,
    )


def _sound(fit: GroupFit, threshold: float) -> npt.NDArray[np.bool_]:
    """Which peaks are there, and are no residue of a much stronger neighbour's profile."""
    good = np.asarray(fit.area > 0.8 * threshold * fit.area_sigma)
    for i in range(good.size):
        apart = np.abs(fit.centre_deg - fit.centre_deg[i]) / np.maximum(fit.fwhm_deg, fit.fwhm_deg[i])
        share = fit.area[i] / np.maximum(fit.area, 1e-300)
        shadow = (apart < _SATELLITE_FWHM) & (share < _SATELLITE_SHARE) | (apart < _RESOLVED_FWHM) & (
            share < _RESOLVED_SHARE
        )
        shadow[i] = False
        good[i] &= not shadow.any()
    return good


def _peak(fit: GroupFit, i: int, candidate: Candidate, beam: Doublet) -> Peak:
    centre = float(fit.centre_deg[i])
    return Peak(
        position_deg=centre,
        sigma_deg=float(fit.sigma_deg[i]),
        d_A=float(beam.wavelength_A / (2 * np.sin(np.deg2rad(centre) / 2))),
        fwhm_deg=float(fit.fwhm_deg[i]),
        area=float(fit.area[i]),
        area_sigma=float(fit.area_sigma[i]),
        significance=float(fit.area[i] / max(fit.area_sigma[i], 1e-300)),
    )
