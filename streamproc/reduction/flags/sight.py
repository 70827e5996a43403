"""What is looked at in every frame, in two compiled calls: rings with their curve; tiles and pieces."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.curve import Curve, blocks_of, described
from streamproc.reduction.flags.lines import FIRST_LINES, SIGMAS, count_negative, ice_seen
from streamproc.reduction.flags.outliers import OutlierFinder
from streamproc.reduction.flags.parts import QUADRANTS, Parts
from streamproc.reduction.flags.pieces import PieceFaults, judge_pieces
from streamproc.reduction.flags.reading import LEAST_CHANNELS
from streamproc.reduction.flags.rings import every_of, spots, spread_of, view
from streamproc.reduction.flags.scan import Scan
from streamproc.reduction.flags.shades import Shades, shade
from streamproc.reduction.flags.suspects import suspects
from streamproc.reduction.flags.tiles import (
    DARK,
    DARKER,
    DIMMEST,
    EXPECTED,
    FLOOR,
    OBSERVED,
    PER_PIXEL,
    RATIO,
    THERE,
    Promise,
    Tiles,
    promise_tiles,
)
from streamproc.reduction.kernels import compiled
from streamproc.reduction.passes import Constants
from streamproc.reduction.profile import Profile

__all__ = ["Sight", "see"]

Float = npt.NDArray[np.float64]


class Sight(NamedTuple):
    """What a frame shows; arrays by ring unless said otherwise, of one image of a stack.

    Attributes
    ----------
    curve : Curve
        The pattern of the rings that are measured.
    quadrants : ndarray, shape (bins, QUADRANTS)
    rings, low, floor : ndarray, shape (bins,)
        Sturdy intensity, that of the darker quadrants, smooth part; 0 where not measured.
    measured : ndarray of bool, or None
        Which are; None: all of them.
    spread, level : float
        As in :class:`~streamproc.reduction.flags.rings.RingView`.
    spotty : float
        Spottiness, NaN without lines, and ``ring``, first and last ring of the line that tells most.
    ice, negative : float
        As :func:`~streamproc.reduction.flags.lines.ice_rings` and ``negative_share`` say, and ``tops``, the
        channels of the ice lines.
    promise, faults, shades
        Tiles, pieces and shadows, as their modules find them.
    highest : float
        Highest value below the limit.
    asked : ndarray, shape (n, 5)
        Where single pixels must be looked at: see :func:`~streamproc.reduction.flags.suspects.suspects`.
    """

    curve: Curve
    quadrants: Float
    rings: Float
    low: Float
    floor: Float
    measured: npt.NDArray[np.bool_] | None
    spread: float
    level: float
    spotty: float
    ring: tuple[int, int]
    ice: float
    tops: list[int]
    negative: float
    promise: Promise
    faults: PieceFaults
    shades: Shades
    highest: float
    asked: Float


def see(
    profile: Profile, parts: Parts, cells: Constants, scan: Scan, tiles: Tiles, finder: OutlierFinder,
    dark: Float | None, ice_places: Float, fine: float,
) -> Sight | None:  # fmt: skip
    """Look at a frame; None where hardly any ring has a usable pixel.

    Parameters
    ----------
    profile, parts, cells
        What the integration of the frame gave.
    scan : Scan
        Figures of the image.
    tiles, finder
        Of the plan.
    dark : ndarray, shape (n_pixels,), or None
        Dark counts of each pixel of the image.
    ice_places : ndarray
        As :func:`~streamproc.reduction.flags.lines.ice_places` gives them.
    fine : float
        Spottiness below which no single grain stands out of a ring.
    """
    n = parts.signal.shape[0]
    quadrants, rows = np.empty((n, QUADRANTS)), np.empty((9, n))
    there, tops = np.empty(n, np.bool_), np.empty(len(ice_places), np.int64)
    m, spread, level, per_count, width, spotty, first, last, ice, n_tops, negative = _see_rings(
        profile.axis, parts.signal, parts.variance, parts.norm, parts.counts, profile.intensity,
        profile.variance, ice_places, quadrants, rows, there, tops,
    )  # fmt: skip
    if m < LEAST_CHANNELS:
        return None
    promised, shades = np.empty((RATIO + 1, *tiles.shape)), np.empty((2, *tiles.shape), np.bool_)
    marks = np.empty(scan.of_pieces.shape[1:], np.uint8)
    asked = np.empty((marks.size, 5))  # an array that is returned costs more than one that is written to
    arguments: tuple[Any, ...] = (
        rows, float(profile.n_frames), spotty < fine, spread, *scan.figures, *tiles.constants,
        tiles.dark_of(cells), *finder.constants, finder.dark_of(dark)[1], promised, marks, shades, asked,
    )  # fmt: skip
    share, highest, n_asked, *faults = _see_tiles(*arguments)
    sturdy, low, smooth, y, noise, floor, axis, _, _ = rows
    if m < n:
        y, noise, floor, axis = y[:m], noise[:m], floor[:m], axis[:m]
    return Sight(
        Curve(axis, y, noise, floor, per_count, width), quadrants, sturdy, low, smooth,
        there if m < n else None, spread, level, spotty, (first, last),
        ice, tops[:n_tops].tolist(), negative, Promise(promised), PieceFaults(marks, *faults),
        Shades(share, shades[0], shades[1], promised[RATIO]), highest, asked[:n_asked],
    )  # fmt: skip


@compiled
def _see_rings(
    all_axis: Any, signal: Any, variance: Any, norm: Any, counts: Any, intensity: Any, noise: Any,
    ice_places: Any, quadrants: Any, rows: Any, there: Any, tops: Any,
) -> Any:  # fmt: skip
    """Write the quadrants, the rows of a :class:`Sight`'s rings, and which rings are measured.

    Rows: sturdy, low and floor of all rings; the curve's intensity, variance, floor and axis; two to work in.
    """
    n, every = signal.shape[0], every_of(signal.shape[0])
    ratios = np.empty((n // every + 1) * quadrants.shape[1])
    all_signal, all_norm, n_ratios = view(signal, variance, norm, counts, every, quadrants, rows[7:9], ratios)
    spread, m, axis = spread_of(ratios, n_ratios), 0, rows[6]
    for b in range(n):
        v = rows[7, b]
        there[b] = np.isfinite(v) and np.isfinite(intensity[b])
        if there[b]:  # of four quadrants the middle two are used: the noise is up to twice that of all
            axis[m], rows[3, m], rows[4, m] = all_axis[b], v, 2.0 * spread * noise[b]
            m += 1
    level = all_signal / all_norm if all_norm > 0 else np.nan
    if m < LEAST_CHANNELS:
        return m, spread, level, 0.0, 0.0, 0.0, 0, 0, 0.0, 0, 0.0
    x, y, v2, floor = axis[:m], rows[3, :m], rows[4, :m], rows[5, :m]
    per_count, width = described(y, v2, blocks_of(m), floor)
    k = 0
    for b in range(n):
        if there[b]:
            rows[0, b], rows[1, b], rows[2, b] = rows[7, b], rows[8, b], min(floor[k], rows[7, b])
            k += 1
        else:
            rows[0, b] = rows[1, b] = rows[2, b] = 0.0
    spotty, first, last = spots(signal, variance, norm, counts, rows[0], rows[2])
    # as np.int64 it is no constant to the compiler, for which it would compile once more
    ice, n_tops = ice_seen(x, y, v2, floor, width, ice_places, tops, np.int64(FIRST_LINES), SIGMAS)
    return (
        m, spread, level, per_count, width, spotty, first, last, ice, n_tops, count_negative(y, v2) / m
    )  # fmt: skip


@compiled
def _see_tiles(
    rows: Any, times: float, fine: bool, spread: float, of_pieces: Any, counts: Any, varied: Any, plain: Any,
    of_blocks: Any, of_tiles: Any, crossed: Any, lowest: Any, weights: Any, used_pixels: Any, used: Any,
    tile_dark: Any, ranges: Any, block_ranges: Any, levels: int, tile_norm: Any, least_norm: float,
    most_norm: float, least_dark: float, promised: Any, marks: Any, shades: Any, asked: Any,
) -> Any:  # fmt: skip
    """Write promises (the last of them observed over promised counts), marks, shades and where to look at
    single pixels; return the share of the shade, the highest value, at how many places to look, and the
    counts of a :class:`PieceFaults`."""
    sums, tops, zeros, lows, highs = of_pieces[0], of_pieces[1], counts[0], counts[1], counts[2]
    block_sums, block_tops, tile_sums, tile_tops = of_blocks[0], of_blocks[1], of_tiles[0], of_tiles[1]
    marks[:], found = 0, np.zeros(5, np.int64)
    rings, low, floor = rows[0], rows[1], rows[2]
    if times != 1.0:
        rings, low, floor = rings * times, low * times, floor * times
    promise_tiles(
        crossed, lowest, weights, rings, low, floor, sums, counts, plain, tile_sums, used_pixels, used,
        tile_dark, promised,
    )  # fmt: skip
    per_pixel, dimmest = promised[PER_PIXEL], promised[DIMMEST]
    judge_pieces(
        sums, tops, zeros, lows, highs, varied, plain, block_sums, tile_sums, used_pixels, used, per_pixel,
        promised[DARKER], dimmest, promised[DARK], marks, found,
    )  # fmt: skip
    n_asked = suspects(
        sums, tops, zeros, plain, block_tops, tile_tops, marks, per_pixel, dimmest, used_pixels, ranges,
        block_ranges, levels, tile_norm, least_norm, most_norm, rings, spread, least_dark, asked,
    )  # fmt: skip
    share = shade(
        promised[EXPECTED], promised[FLOOR], promised[OBSERVED], promised[THERE], used, fine, shades[0],
        shades[1], promised[RATIO],
    )  # fmt: skip
    return share, tile_tops.max(), n_asked, found[0], found[1], found[2], found[3], found[4]
