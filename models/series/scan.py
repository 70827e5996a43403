"""The search: Bayes factors of a change at every place, against a smooth curve, and what follows from them.

For every gap between two neighbouring points and windows of several widths around it, the marginal
likelihood of a smooth curve is compared with that of two curves that jump, or meet in a kink, in this gap.
A Bayes factor has the mean 1 where there is no change; so has its mean over windows, and over gaps. The
strongest change is taken, windows end there from now on, and the search goes on between (after Killick,
Fearnhead & Eckley 2012, JASA 107, 1590; evidences instead of penalties; the mean of e-values: Vovk & Wang
2021, Ann. Stat. 49, 1736).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from streamproc.models.series.curves import Curves
from streamproc.models.series.evidence import log_evidence_kinks, log_evidence_smooth, log_evidences_jump

__all__ = ["Change", "Kind", "find_changes"]

Array = npt.NDArray[np.float64]
Kind = Literal["jump", "kink", "gradual"]

_WINDOWS = (6, 10, 16, 26, 42)
"""Points on either side of a gap that are looked at."""

_LEAST_SIDE = 3
_NU = 12.0
"""Degrees of freedom that the estimated noise counts for."""

_MOST_NOISE = 2.5
"""A pair of curves that leaves more than this many times the expected variance explains nothing,"""

_MUCH_BETTER = 0.25
"""unless it leaves less than this share of the variance that the smooth curve leaves."""

_SHOWN = 3.4
"""Log of the Bayes factor (30) from which on a window shows a change by itself."""

_STEPS = 6
"""Places per gap at which a kink is tried."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a series.

    Attributes
    ----------
    value, sigma : float
        Place and its standard uncertainty, in the unit of x.
    interval90 : (float, float)
        Central 90 % of the posterior.
    log10_bayes_factor : float
        For a change somewhere on this branch against none; 2 means 100 to 1.
    kind : {'jump', 'kink', 'gradual'}
        What explains it best.
    strongest : int
        Column in which it shows most.
    span : (float, float) or None
        Of a gradual change: where it begins and ends.
    """

    value: float
    sigma: float
    interval90: tuple[float, float]
    log10_bayes_factor: float
    kind: Kind
    strongest: int
    span: tuple[float, float] | None = None


def find_changes(curves: Curves, *, least_log10: float = 1.5, most: int = 8) -> list[Change]:
    """Find the changes of one branch, strongest first.

    Parameters
    ----------
    curves : Curves
        From :func:`streamproc.models.series.curves.prepare_curves`.
    least_log10 : float
        Least log10 of the Bayes factor.
    most : int
        At most so many.

    Returns
    -------
    list of Change
        Rising in ``value``; empty where nothing is significant.
    """
    cuts: list[int] = [0, curves.x.size]
    found: list[tuple[int, float]] = []
    scores = _Scores(curves)
    while len(found) < most:
        best, gap = scores.best(cuts)
        if best < least_log10 * np.log(10):
            break
        found.append((gap, best))
        cuts = sorted([*cuts, gap])
    changes = []
    for gap, score in found:
        place = cuts.index(gap)
        changes.append(_located(curves, cuts[place - 1], gap, cuts[place + 1], score))
    return sorted(changes, key=lambda c: c.value)


class _Scores:
    """Log Bayes factors of all gaps, kept as long as the windows do not change."""

    def __init__(self, curves: Curves) -> None:
        self._curves = curves
        self._known: dict[tuple[int, int, int], float] = {}

    def best(self, cuts: list[int]) -> tuple[float, int]:
        """Return the log Bayes factor for one more change, and the gap where it is most likely."""
        values: list[float] = []
        gaps: list[int] = []
        for low, high in itertools.pairwise(cuts):
            for gap in range(low + _LEAST_SIDE, high - _LEAST_SIDE + 1):
                values.append(self._gap(low, gap, high))
                gaps.append(gap)
        if not values:
            return -np.inf, 0
        scores = np.array(values)
        top = float(scores.max())
        if top == -np.inf:
            return top, 0
        return top + float(np.log(np.exp(scores - top).sum() / scores.size)), gaps[int(scores.argmax())]

    def _gap(self, low: int, gap: int, high: int) -> float:
        scores: list[float] = []
        for first, last in _windows(low, gap, high):
            key = (first, gap, last)
            if key not in self._known:
                self._known[key] = _compared(self._curves, first, gap, last)
            scores.append(self._known[key])
        top = max(scores)
        return top + float(np.log(np.exp(np.array(scores) - top).mean())) if top > -np.inf else top


def _compared(curves: Curves, first: int, gap: int, last: int) -> float:
    """Log Bayes factor of a change in a gap against none: any of the curves may have it or not."""
    total = np.log(1.0 / (1.0 - 0.5 ** curves.y.shape[1]))
    joint = 0.0
    for d in range(curves.y.shape[1]):
        joint += float(np.logaddexp(np.log(0.5), np.log(0.5) + _one(curves, d, first, gap, last)))
    # leave out the case in which no curve has it
    none = curves.y.shape[1] * np.log(0.5)
    return float(total + joint + np.log1p(-np.exp(min(none - joint, -1e-12))))


def _one(curves: Curves, d: int, first: int, gap: int, last: int) -> float:
    t, y, weight, wide = _window(curves, d, first, last)
    smooth, left_over = log_evidence_smooth(t, y, weight, wide, _NU)
    most = max(_MOST_NOISE, _MUCH_BETTER * left_over)
    at = np.array([(t[gap - first - 1] + t[gap - first]) / 2])
    jump, noise = log_evidences_jump(t, y, weight, at, wide, _NU)
    kink, noise_kink = log_evidence_kinks(t, y, weight, at, wide, _NU)
    parts = [float(value[0]) for value, left in ((jump, noise), (kink, noise_kink)) if left[0] <= most]
    return float(np.logaddexp.reduce(parts)) - np.log(2) - smooth if parts else -np.inf


def _window(curves: Curves, d: int, first: int, last: int) -> tuple[Array, Array, Array, float]:
    """Places in [-1, 1], values about their mean in units of the noise, weights, width of the prior."""
    x, y, sigma = curves.x[first:last], curves.y[first:last, d], curves.sigma[first:last, d]
    unit = float(np.median(sigma))
    weight = (unit / sigma) ** 2
    y = (y - np.average(y, weights=weight)) / unit
    t = 2 * (x - x[0]) / (x[-1] - x[0]) - 1
    return t, y, weight, max(float(np.average(y**2, weights=weight)), 1.0)


def _located(curves: Curves, low: int, gap: int, high: int, score: float) -> Change:
    """Return the posterior of the place: the mean of those of all windows that show the change.

    The windows differ where neither jump nor kink is quite what happens; so the width of their mean is
    honest.
    """
    at, width = _places(curves.x[low:high])
    density = np.zeros(at.size)
    logs = np.full((curves.y.shape[1], 2), -np.inf)
    near = np.ones(at.size, bool)
    shown = False
    for first, last in _windows(low, gap, high):
        inside = near & (at > curves.x[first + _LEAST_SIDE - 1]) & (at < curves.x[last - _LEAST_SIDE])
        if not inside.any():
            continue
        each = _each(curves, first, last, at[inside])
        joint = np.logaddexp(0.0, np.logaddexp.reduce(each, axis=1) - np.log(2)).sum(axis=0)
        joint += np.log(width[inside])
        weight = np.exp(joint - joint.max())
        odds = float(np.logaddexp.reduce(joint) - np.log(width[inside].sum()))
        # a window in which nothing is to be seen knows no place either
        density[inside] += weight / weight.sum() / (1.0 + np.exp(-min(odds, 50.0)))
        logs = np.logaddexp(logs, np.logaddexp.reduce(each + np.log(weight / weight.sum() + 1e-300), axis=2))
        if not shown and odds > _SHOWN:
            # what a wider window sees elsewhere is another change
            near, shown = inside, True
    density /= density.sum()
    value = float(density @ at)
    # within its own grid cell the place is not known any better
    sigma = float(np.sqrt(density @ (at - value) ** 2 + density @ width**2 / 12))
    strongest = int(np.logaddexp.reduce(logs, axis=1).argmax())
    edges = np.concatenate([[at[0] - width[0] / 2], at + width / 2])
    cumulated = np.concatenate([[0.0], np.cumsum(density)])
    interval = (float(np.interp(0.05, cumulated, edges)), float(np.interp(0.95, cumulated, edges)))
    kind: Kind = "jump" if logs[strongest, 0] >= logs[strongest, 1] else "kink"
    return Change(value, sigma, interval, float(score / np.log(10)), kind, strongest)


def _each(curves: Curves, first: int, last: int, at: Array) -> Array:
    """Log evidence of jump and kink over that of a smooth curve, shape (curves, 2, places)."""
    out = np.empty((curves.y.shape[1], 2, at.size))
    places = 2 * (at - curves.x[first]) / (curves.x[last - 1] - curves.x[first]) - 1
    for d in range(curves.y.shape[1]):
        t, y, weight, wide = _window(curves, d, first, last)
        smooth, left_over = log_evidence_smooth(t, y, weight, wide, _NU)
        most = max(_MOST_NOISE, _MUCH_BETTER * left_over)
        for k, search in enumerate((log_evidences_jump, log_evidence_kinks)):
            values, noise = search(t, y, weight, places, wide, _NU)
            out[d, k] = np.where(noise <= most, values - smooth, -1e9)
    return out


def _windows(low: int, gap: int, high: int) -> list[tuple[int, int]]:
    """First and last of the windows around a gap, cut at the next changes; none twice."""
    found: dict[tuple[int, int], None] = {}
    for width in _WINDOWS:
        found[max(low, gap - width), min(high, gap + width)] = None
    return list(found)


def _places(x: Array) -> tuple[Array, Array]:
    """Centres and widths of the cells in which a change may lie, three points from either end at least."""
    lows, highs = x[_LEAST_SIDE - 1 : -_LEAST_SIDE], x[_LEAST_SIDE : -_LEAST_SIDE + 1]
    step = (highs - lows) / _STEPS
    at = lows[:, None] + step[:, None] * (np.arange(_STEPS) + 0.5)
    return at.ravel(), np.repeat(step, _STEPS)
