"""Groups of overlapping peaks: which are fitted together, which of them are real, and which are two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.detect import Candidate, Detector
from streamproc.models.powder.peakfit import Doublet, GroupFit, fit_group

__all__ = ["Peak", "fit_all"]

Array = npt.NDArray[np.float64]

_GROUP_FWHM = 3.0
_LARGEST_GROUP = 8
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


def fit_all(
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
