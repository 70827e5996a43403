"""What a reading shows within its run: all that reads arrays, in one compiled call."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.against import AGREES
from streamproc.reduction.flags.beam import beam_of, quadrant_shifts
from streamproc.reduction.flags.fit import fitted, gaps_of, slope_reach, warp, weights_of
from streamproc.reduction.flags.grains import few_grains
from streamproc.reduction.flags.lines import ICE_LINES_A
from streamproc.reduction.flags.newice import new_ice
from streamproc.reduction.flags.newlines import new_line
from streamproc.reduction.flags.parts import PARTS, QUADRANTS, Parts, read_only
from streamproc.reduction.flags.reading import Reading, TileView
from streamproc.reduction.flags.shades import darker_tiles
from streamproc.reduction.kernels import compiled

__all__ = ["FAR", "Fit", "Known", "Within", "look_within", "taken_in"]

Float = npt.NDArray[np.float64]

FAR = 0.98
"""Agreement below which the beam may have moved by more than part of a line's width."""

_NO_PART = read_only(np.empty((0, PARTS)))
_NO_PARTS = Parts(np.empty((0, PARTS)), np.empty((0, PARTS)), _NO_PART, _NO_PART, 0)
_NO_QUADRANTS, _ALL = np.empty((0, QUADRANTS)), np.empty(0, np.bool_)
_NO_TILES, _NO_ICE = np.empty((0, 0)), np.empty((0, 3))
_NO_VIEW = TileView(_NO_TILES, _NO_TILES, _NO_TILES, np.empty((0, 0), np.bool_), False)


class Fit(NamedTuple):
    """As :class:`~streamproc.reduction.flags.against.Comparison` has it."""

    scale: float
    offset: float
    zero: float
    zero_sigma: float
    strain: float
    agreement: float


class Known(NamedTuple):
    """What the run knows when a reading comes; patterns on the reading's axis.

    Attributes
    ----------
    first, recent : ndarray of float64, shape (n,)
        The reference, and the mean of the newest readings.
    quadrants, tiles : ndarray of float64
        Of the reference, (n, 4), and observed over promised counts, of the mean; empty where unknown, or
        of another shape than the reading's.
    zero, strain : float
        Of the reading before.
    noise : float
        Variance of ``recent`` over that of one reading.
    width : float
        Width of a line (channels).
    line_at : int
        Channel of a new line in the reading before; -1: none.
    ice : bool
        Whether ice is asked for, and ``iced``, whether it was in the reading before.
    """

    first: Float
    recent: Float
    quadrants: Float
    tiles: Float
    zero: float
    strain: float
    noise: float
    width: float
    line_at: int
    ice: bool
    iced: bool


class Within(NamedTuple):
    """What is found.

    Attributes
    ----------
    found : Fit
        The reference, fitted to the reading.
    spotty, grains
        As :func:`~streamproc.reduction.flags.grains.few_grains` says it.
    beam : tuple of float
        As :func:`~streamproc.reduction.flags.beam.beam_of` says it; sigma infinite where the reading is far
        from its reference.
    ice, tops
        As :func:`~streamproc.reduction.flags.newice.new_ice` says it, and the channels.
    line : (float, int, int)
        As :func:`~streamproc.reduction.flags.newlines.new_line` says it.
    moved : ndarray, shape (n,)
        Pattern of the readings before, moved to where the lines of this one are.
    darker : ndarray of bool, or None
        Tiles that have become darker; None: there are none.
    """

    found: Fit
    spotty: float
    grains: list[int]
    beam: tuple[float, float, float]
    ice: float
    tops: list[int]
    line: tuple[float, int, int]
    moved: Float
    darker: npt.NDArray[np.bool_] | None


def look_within(reading: Reading, known: Known) -> Within:
    """Compare a reading with its run."""
    curve, parts, view = reading.curve, reading.parts or _NO_PARTS, reading.tiles or _NO_VIEW
    quadrants = known.quadrants if reading.quadrants is None else reading.quadrants
    places = reading.ice_places if known.ice and reading.ice_places is not None else _NO_ICE
    moved, found, tops = np.empty(curve.y.size), np.empty(6), np.empty(len(ICE_LINES_A), np.int64)
    darker = np.empty(known.tiles.shape, np.bool_)
    spotty, first, last, right, up, sigma, ice, n_tops, share, a, b, some = _look_within(
        curve.axis, reading.slope, curve.y, curve.variance, curve.floor, curve.width, known.first,
        known.recent, known.zero, known.strain, known.noise, known.width, parts.signal, parts.variance,
        parts.norm, parts.counts, _ALL if reading.measured is None else reading.measured, known.quadrants,
        quadrants, places, known.iced, known.line_at, known.tiles, view.promised, view.ratio, view.smooth,
        view.fine, moved, found, tops, darker,
    )  # fmt: skip
    return Within(
        Fit(*found.tolist()), spotty, [first, last] if spotty == spotty else [], (right, up, sigma), ice,
        tops[:n_tops].tolist(), (share, a, b), moved, darker if some else None,
    )  # fmt: skip


@compiled
def _look_within(
    axis: Any, slope: Any, y: Any, variance: Any, floor: Any, own_width: float, first: Any, recent: Any,
    zero: float, strain: float, noise: float, width: float, signal: Any, part_variance: Any, norm: Any,
    counts: Any, there: Any, run_quadrants: Any, quadrants: Any, places: Any, iced: bool, line_at: int,
    before: Any, promised: Any, ratio: Any, smooth: Any, fine: bool, moved: Any, found: Any, tops: Any,
    darker: Any,
) -> Any:  # fmt: skip
    """Write fit, moved pattern, ice and darker tiles; return the rest of a :class:`Within` in its order."""
    half = slope_reach(width)
    lag = max(half, 1)
    weights, gaps, shifts = weights_of(variance), gaps_of(axis, lag), np.zeros((4, 2))
    fitted(axis, slope, first, y, weights, gaps, zero, strain, 1.0, half, moved, found)
    spotty, grain, last_grain = np.nan, 0, 0
    if signal.shape[0] > 0:
        spotty, grain, last_grain = few_grains(signal, part_variance, norm, counts, there, y, floor, recent)
    if run_quadrants.shape[0] > 0 and not found[5] < FAR:
        quadrant_shifts(axis, slope, run_quadrants, quadrants, weights, gaps, found[2], found[4], lag, shifts)
    right, up, sigma = beam_of(shifts, False)
    jump, stretch = 0.0, 0.0  # of all lines since the reading before
    if found[5] >= AGREES:
        jump, stretch = found[2] - zero, found[4] - strain
    followed = np.empty(6)
    fitted(axis, slope, recent, y, weights, gaps, jump, stretch, noise, half, moved, followed)
    warp(axis, slope, recent, followed[2], followed[4], moved)
    ice, n_tops = np.nan, 0
    if places.shape[0] > 0:
        ice, n_tops = new_ice(
            axis, y, variance, moved, followed[0], followed[1], own_width, places, iced, tops
        )
    share, a, b = new_line(y, variance, moved, floor, width, line_at)
    some = darker_tiles(before, promised, ratio, smooth, fine, darker)
    return spotty, grain, last_grain, right, up, sigma, ice, n_tops, share, a, b, some


@compiled
def taken_in(old: Any, new: Any, rate: float, tiles: Any, new_tiles: Any, tile_rate: float) -> None:
    """Move a pattern of the run by ``rate`` towards a new one, in place, rounded as it is stored; and its
    tiles, where either may be unknown (not finite)."""
    for i in range(old.size):
        old[i] = np.float64(np.float32(old[i] + rate * (new[i] - old[i])))
    for i in range(tiles.shape[0]):
        for p in range(tiles.shape[1]):
            before, now = tiles[i, p], new_tiles[i, p]
            mixed = before + tile_rate * (now - before) if np.isfinite(before) else now
            if np.isfinite(mixed):
                tiles[i, p] = np.float64(np.float32(mixed))
