"""What changes slowly in a run: drifts of level, scale, zero and beam, and what is taken from a reading."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamproc.reduction.flags import record
from streamproc.reduction.flags.against import AGREES
from streamproc.reduction.kernels import compiled

__all__ = [
    "BEGIN", "FAR", "GO_ON", "RATE", "STARTS", "i0_drift", "line_width", "step_of", "take_in",
    "take_pattern", "take_tiles", "zero_drift",
]  # fmt: skip

FAR = 0.98
"""Agreement below which the beam may have moved by more than part of a line's width."""

RATE = 0.2
"""Weight of the newest reading in the recent level and pattern: what changes over 5 readings is followed."""

STARTS = 3
"""Readings after which a run is one."""

_SLOW_RATE = 0.01
_DRIFT_RATE = 0.3
_REBASE_AFTER, _REBASE_DOUBTFUL = 5, 60
_ALIKE = 0.95
_SURE = 0.01
"""Sigma of the zero over a line's width, up to which a new reference carries no error along."""

BEGIN, GO_ON = 1, 2
"""What becomes of the reference: it begins anew, and the mean of the newest readings too, or is kept."""


@compiled
def step_of(axis: Any) -> float:
    """Return the mean width of a channel."""
    return float((axis[-1] - axis[0]) / max(axis.size - 1, 1))


@compiled
def line_width(run: Any, own: float) -> float:
    """Return the width of a line over the run (channels), a reading's own where there is none yet."""
    return float(run[record.WIDTH] if run[record.WIDTH] == run[record.WIDTH] else own)


@compiled
def i0_drift(run: Any, seen: Any, level: float) -> None:
    """Write the change of the intensity since the start of the run, where the fit tells it."""
    if seen[record.AGREEMENT] >= AGREES and seen[record.SEEN_SCALE] > 0.0 and run[record.READINGS] >= STARTS:
        seen[record.TOTAL_SCALE] = run[record.BASE_SCALE] * _drifted(run, seen, level)
        seen[record.I0_DRIFT] = abs(seen[record.TOTAL_SCALE] - 1.0)


@compiled
def _drifted(run: Any, seen: Any, level: float) -> float:
    """Return by how much lines and mean have changed, whichever is less, a mean over some readings.

    A line more moves the mean, a line that broadens its height; the beam moves both.
    """
    now = seen[record.SEEN_SCALE]
    if run[record.FIRST_LEVEL] > 0.0:
        mean = level / run[record.FIRST_LEVEL]
        now = mean if abs(mean - 1.0) < abs(now - 1.0) else now
    return float(_followed(run[record.SCALE], now, _DRIFT_RATE))


@compiled
def zero_drift(run: Any, seen: Any, width: float, quadrants: bool) -> None:
    """Write the shift of all lines, or of the beam, over a line's width (in the axis's unit), and whether the
    beam is known; there may be no quadrants that tell it."""
    seen[record.BEAM_KNOWN] = 0.0
    if not width > 0.0:
        return
    agrees = seen[record.AGREEMENT] >= AGREES
    along = abs(run[record.BASE_ZERO] + seen[record.SEEN_ZERO]) - 3.0 * seen[record.ZERO_SIGMA]
    along = 0.0 if along < 0.0 else along
    if not (quadrants and seen[record.UP_SIGMA] < np.inf):
        seen[record.ZERO_DRIFT] = along / width if agrees else np.nan
        return
    seen[record.BEAM_KNOWN] = 1.0
    beam = max(np.hypot(seen[record.RIGHT], seen[record.UP]) - 3.0 * seen[record.UP_SIGMA], 0.0)
    seen[record.ZERO_DRIFT] = max(along if agrees else 0.0, beam) / width


@compiled
def take_in(
    run: Any, seen: Any, level: float, width: float, monitor: float, doubtful: bool, axis: Any,
    quadrants: bool, recent: Any, y: Any, tiles: Any, ratio: Any, spotty: bool,
) -> int:  # fmt: skip
    """Take a reading into the run.

    Parameters
    ----------
    run, seen : ndarray of float64
        The run, which is changed, and the reading in it, as :mod:`~streamproc.reduction.flags.record` says.
    level, width, monitor : float
        Of the reading; width of a line (channels).
    doubtful, spotty : bool
        As :meth:`~streamproc.reduction.flags.reference.RunReference.accept` has them.
    axis : ndarray of float64
        Of the reading.
    quadrants : bool
        The reading has some.
    recent, tiles : ndarray of float64
        Mean of the newest readings, and of their tiles: changed.
    y, ratio : ndarray of float64
        The reading's, on the same axis; tiles of another shape tell nothing.

    Returns
    -------
    then : int
        0, ``BEGIN`` or ``GO_ON``.
    """
    n = run[record.READINGS]
    _take_levels(run, level, width, monitor)
    if n > 0:
        if seen[record.AGREEMENT] >= AGREES and seen[record.SEEN_SCALE] > 0.0:
            if seen[record.AGREEMENT] >= FAR or not quadrants:
                run[record.ZERO], run[record.STRAIN] = seen[record.SEEN_ZERO], seen[record.SEEN_STRAIN]
            run[record.STRANGE] = 0.0
            run[record.SCALE] = _drifted(run, seen, level)
        elif seen[record.BEAM_KNOWN] == 0.0:  # else the quadrants say what has happened to the pattern
            run[record.STRANGE] += 1.0
    run[record.READINGS] = n + 1.0
    take_pattern(recent, y, _SLOW_RATE if doubtful else RATE)
    if not spotty and tiles.shape == ratio.shape:
        take_tiles(tiles, ratio)
    if run[record.STRANGE] >= (_REBASE_DOUBTFUL if doubtful else _REBASE_AFTER):
        return BEGIN
    # A pattern of many counts has slowly become less like its reference, as of lines that broaden: on from
    # here, before it is strange.
    slowly = n > 0 and not quadrants and AGREES <= seen[record.AGREEMENT] < _ALIKE
    sure = seen[record.ZERO_SIGMA] < _SURE * line_width(run, width) * step_of(axis)
    if slowly and sure and not doubtful:
        return GO_ON
    return 0


@compiled
def _take_levels(run: Any, level: float, width: float, monitor: float) -> None:
    first = 1.0 / (run[record.READINGS] + 1.0)
    run[record.LEVEL] = _followed(run[record.LEVEL], level, RATE)
    if width > 0.0:  # the mean of the logarithm: errors are large upwards
        run[record.WIDTH] = np.exp(_followed(np.log(run[record.WIDTH]), np.log(width), max(RATE, first)))
    if monitor == monitor:
        run[record.MONITOR] = _followed(run[record.MONITOR], monitor, RATE)
        run[record.MONITOR_NOW] = _followed(run[record.MONITOR_NOW], monitor, _DRIFT_RATE)
        if run[record.READINGS] < STARTS:
            run[record.MONITOR_START] = _followed(run[record.MONITOR_START], monitor, first)


@compiled
def _followed(old: float, new: float, rate: float) -> float:
    return new if old != old else old + rate * (new - old)


@compiled
def take_pattern(old: Any, new: Any, rate: float) -> None:
    """Move a pattern by ``rate`` towards a new one, in place, rounded as it is stored."""
    for i in range(old.size):
        old[i] = np.float64(np.float32(old[i] + rate * (new[i] - old[i])))


@compiled
def take_tiles(old: Any, new: Any) -> None:
    """The same of tiles, where either may be unknown (not finite)."""
    for i in range(old.shape[0]):
        for p in range(old.shape[1]):
            mixed = old[i, p] + RATE * (new[i, p] - old[i, p]) if np.isfinite(old[i, p]) else new[i, p]
            if np.isfinite(mixed):
                old[i, p] = np.float64(np.float32(mixed))
