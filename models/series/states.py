"""Gradual transitions of a path: from one state, in which it hardly moves, to the next.

A transition that is spread over many points (two phases side by side, a distribution of transition
temperatures) neither jumps nor need it have a kink. It is known by its speed: the path is slow, fast, and
slow again. An even drift, one that speeds up, and one that turns round are none of that.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from streamproc.models.series.curves import Curves
from streamproc.models.series.scan import Change
from streamproc.models.series.segments import draw_divisions

__all__ = ["find_gradual"]

Array = npt.NDArray[np.float64]

_SLOW = 0.5
"""A state is where the path has less than this share of the top speed of a transition (as at half height)."""

_DRAWS = 400


@dataclass(frozen=True, slots=True)
class _Passage:
    value: float
    sigma: float
    begin: float
    end: float


def find_gradual(curves: Curves, *, least_log10: float = 1.5) -> list[Change]:
    """Find the gradual transitions of a path.

    Parameters
    ----------
    curves : Curves
        Coordinates of the path; the columns have one unit, so that lengths mean something.
    least_log10 : float
        Least log10 of the odds.

    Returns
    -------
    list of Change
        Rising in ``value``, which is where the path is half-way between the means of the two states (as like
        the one as the other); ``span`` is from the end of the one to the beginning of the other. One that
        is not over, or whose first state was not seen, is none yet.
    """
    random = np.random.default_rng(curves.x.size)
    divisions = draw_divisions(curves.x, curves.y, curves.sigma, random, _DRAWS)
    drawn: list[_Passage] = []
    which: list[int] = []
    known: dict[tuple[int, ...], list[_Passage]] = {}
    for number, cuts in enumerate(divisions):
        if cuts not in known:
            known[cuts] = list(_passages(curves, cuts))
        drawn += known[cuts]
        which += [number] * len(known[cuts])
    found = [_summed([drawn[i] for i in group], {which[i] for i in group}) for group in _groups(drawn)]
    return [g for g in found if g.log10_bayes_factor >= least_log10]


def _groups(drawn: Sequence[_Passage]) -> Iterator[list[int]]:
    """Passages of different draws that are one: each lies within the span of the one before."""
    order = sorted(range(len(drawn)), key=lambda i: drawn[i].value)
    group: list[int] = []
    for i in order:
        if group and drawn[i].value > drawn[group[-1]].end:
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def _summed(group: Sequence[_Passage], draws: set[int]) -> Change:
    at, sigma = np.array([p.value for p in group]), np.array([p.sigma for p in group])
    value, spread = float(at.mean()), float(np.sqrt(np.var(at) + np.mean(sigma**2)))
    # each draw is a normal distribution: their sum, by nine points of each
    points = np.sort((at[:, None] + sigma[:, None] * _NORMAL).ravel())
    low, high = np.quantile(points, (0.05, 0.95))
    begin, end = np.median([p.begin for p in group]), np.median([p.end for p in group])
    odds = (len(draws) + 0.5) / (_DRAWS - len(draws) + 0.5)
    interval, span = (float(low), float(high)), (float(begin), float(end))
    return Change(value, spread, interval, float(np.log10(odds)), "gradual", 0, span)


_NORMAL = np.array([-1.593, -0.967, -0.589, -0.282, 0.0, 0.282, 0.589, 0.967, 1.593])
"""Quantiles 1/18, 3/18, ... of the normal distribution."""


def _passages(curves: Curves, cuts: tuple[int, ...]) -> Iterator[_Passage]:
    """Transitions of one division into pieces."""
    pieces = list(itertools.pairwise(cuts))
    least, most = np.array([_speed(curves, a, b) for a, b in pieces]).T
    top = 0
    while (peak := _next_peak(least, most, top)) is not None:
        before, at, after = peak
        low, high = _state(most, least[at], before, -1), _state(most, least[at], after, 1)
        cuts_of = pieces[low][0], pieces[before][1], pieces[after][0], pieces[high][1]
        if (passage := _passage(curves, *cuts_of)) is not None:
            yield passage
        top = after


def _next_peak(least: Array, most: Array, start: int) -> tuple[int, int, int] | None:
    """Return the next (last piece of a state, fastest piece, first piece of a state) from ``start`` on."""
    slow: int | None = None
    fast: int | None = None
    for i in range(start, len(least)):
        if fast is not None and slow is not None and most[i] < _SLOW * least[fast]:
            return _last_slow(most, least[fast], slow, fast), fast, i
        if slow is not None and most[slow] < _SLOW * least[i] and (fast is None or least[i] > least[fast]):
            fast = i
        if fast is None and (slow is None or most[i] <= most[slow]):
            slow = i
    return None


def _last_slow(most: Array, top: float, slow: int, fast: int) -> int:
    return max(i for i in range(slow, fast) if most[i] < _SLOW * top)


def _state(most: Array, top: float, first: int, step: int) -> int:
    """How far a state reaches from its piece ``first``: as long as pieces are slow."""
    at = first
    while 0 <= at + step < len(most) and most[at + step] < _SLOW * top:
        at += step
    return at


def _speed(curves: Curves, first: int, end: int) -> tuple[float, float]:
    """Speed of a piece less and more its uncertainty; what noise alone would give is taken off."""
    x, y, noise = curves.x[first:end], curves.y[first:end], curves.sigma[first:end] ** 2
    weight = (x - x.mean()) / ((x - x.mean()) @ (x - x.mean()))
    slope, variance = weight @ y, weight**2 @ noise
    square = float(slope @ slope - variance.sum())
    deviation = float(np.sqrt(2 * variance @ variance + 4 * slope**2 @ variance))
    return float(np.sqrt(max(square - deviation, 0.0))), float(np.sqrt(max(square, 0.0) + deviation))


def _passage(curves: Curves, low: int, begin: int, end: int, high: int) -> _Passage | None:
    """Half-way between the means of the states [low, begin) and [end, high); None where it leads nowhere."""
    x, y = curves.x, curves.y
    one, other = y[low:begin].mean(axis=0), y[end:high].mean(axis=0)
    way = other - one
    square = float(way @ way)
    inside = slice(begin - 1, end + 1)
    progress = (y[inside] - one) @ way / square
    noise = np.sqrt((curves.sigma[inside] ** 2) @ way**2) / square
    rising = _monotone(progress)
    if rising[-1] - rising[0] < _SLOW:
        return None
    value = float(np.interp(0.5, rising + np.arange(rising.size) * 1e-9, x[inside]))
    slope = float((rising[-1] - rising[0]) / (x[inside][-1] - x[inside][0]))
    width = float(np.median(np.diff(x[inside])))
    sigma = np.hypot(float(np.median(noise)) / slope, width / np.sqrt(12))
    return _Passage(value, float(sigma), float(x[begin - 1] + x[begin]) / 2, float(x[end - 1] + x[end]) / 2)


def _monotone(values: Array) -> Array:
    """Isotonic regression: pool adjacent violators."""
    blocks: list[tuple[float, int]] = []
    for value in values.tolist():
        mean, count = value, 1
        while blocks and blocks[-1][0] >= mean:
            before, many = blocks.pop()
            mean, count = (mean * count + before * many) / (count + many), count + many
        blocks.append((mean, count))
    return np.repeat([mean for mean, _ in blocks], [count for _, count in blocks])
