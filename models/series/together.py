"""Changes of the pattern and of where it lies, put together: what is one event is said once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from streamproc.models.series.curves import Curves
from streamproc.models.series.scan import Change

__all__ = ["put_together", "without_jumps"]

Array = npt.NDArray[np.float64]

_SIDE = 5
_KNOWN = 2.0
"""A jump is taken out only where its place is known to so many steps of the series."""


def put_together(
    common: Sequence[tuple[str, Change]], sharp: Sequence[Change], gradual: Sequence[Change], step: float
) -> list[tuple[str, Change]]:
    """Join what belongs together.

    Parameters
    ----------
    common : sequence of (str, Change)
        Changes that all lines share, and what changes (``shift``, ``scale``).
    sharp, gradual : sequence of Change
        Those of the pattern without that.
    step : float
        Typical step of the series.

    Returns
    -------
    list of (str, Change)
        Rising. A kink or an unclear jump in the course of a gradual transition, or at its ends, is part of
        it, and so is a change of the position of all lines in its course.
    """
    alone = [change for change in sharp if not any(_part(change, g, step) for g in gradual)]
    events = [("pattern", event) for event in (*alone, *gradual)]  # what is sharp is at home with it first
    for what, change in common:
        for i, (name, event) in enumerate(events):
            if _same(change, event, step):
                events[i] = (name if what in name else f"{what} and {name}", event)
                break
        else:
            events.append((what, change))
    return sorted(events, key=lambda e: e[1].value)


def _inside(value: float, span: tuple[float, float], step: float) -> bool:
    return span[0] + step < value < span[1] - step


def _part(change: Change, gradual: Change, step: float) -> bool:
    """Whether a sharp change of the pattern is part of a gradual one."""
    if gradual.span is None:
        return False
    if _located(change, step):
        return _inside(change.value, gradual.span, step)
    low, high = change.interval90
    return low <= gradual.span[1] and high >= gradual.span[0]


def _same(change: Change, event: Change, step: float) -> bool:
    """Whether a change of position or strength goes with one of the pattern."""
    if event.span is not None:
        return _inside(change.value, event.span, step)
    return abs(change.value - event.value) <= 2 * np.hypot(change.sigma, event.sigma)


def _located(change: Change, step: float) -> bool:
    low, high = change.interval90
    return change.kind == "jump" and high - low <= _KNOWN * step


def without_jumps(curves: Curves, changes: Sequence[Change]) -> Curves:
    """Take out the jumps whose place is known: what else happens is seen better without.

    What a line through the nearest points on either side foretells for the middle of the gap differs by the
    jump.
    """
    x, y = curves.x, curves.y.copy()
    step = float(np.median(np.diff(x)))
    gaps = [int(np.searchsorted(x, c.value)) for c in changes if _located(c, step)]
    for gap in gaps:
        low = max([0, *(g for g in gaps if g < gap)])
        high = min([x.size, *(g for g in gaps if g > gap)])
        middle = (x[gap - 1] + x[gap]) / 2
        before = _foretold(x[max(low, gap - _SIDE) : gap] - middle, y[max(low, gap - _SIDE) : gap])
        after = _foretold(x[gap : min(high, gap + _SIDE)] - middle, y[gap : min(high, gap + _SIDE)])
        y[gap:] -= after - before
    return replace(curves, y=y)


def _foretold(x: Array, y: Array) -> Array:
    """Value at zero of the straight lines through the points."""
    if x.size < 2:
        return y.mean(axis=0)
    return np.asarray(np.polynomial.polynomial.polyfit(x, y, 1)[0])
