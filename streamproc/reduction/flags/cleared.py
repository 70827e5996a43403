"""A frame without its hits: a hit is no line and no grain, and promises a tile nothing."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.curve import Curve, describe_curve
from streamproc.reduction.flags.hits import MANY_HITS, WithoutHits, scattered, spotty_without, without_hits
from streamproc.reduction.flags.lines import ice_rings
from streamproc.reduction.flags.outliers import OutlierFinder
from streamproc.reduction.flags.parts import PartedPlan, Parts
from streamproc.reduction.flags.rings import near_lines
from streamproc.reduction.flags.scan import PIECE, TILE_ROWS, Scan
from streamproc.reduction.flags.shades import Shades, shaded_tiles
from streamproc.reduction.flags.sight import Sight
from streamproc.reduction.flags.tiles import Promise, Tiles
from streamproc.reduction.passes import Constants

__all__ = ["FINE", "Cleared", "Clearer", "Look"]

Float = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.int64]

FINE = 0.03
"""Spottiness below which no single grain stands out of a ring."""


class Look(NamedTuple):
    """One image (or the sum of ``times`` images), its integration and scan, and what they show."""

    image: npt.NDArray[Any]
    times: int
    parts: Parts
    cells: Constants
    scan: Scan
    dark: Float | None
    sight: Sight


class Cleared(NamedTuple):
    """What a frame shows without its hits.

    Attributes
    ----------
    high, dead : ndarray of int64
        Flat indices of isolated high pixels that are no grains, and of pixels without counts.
    spotty, ring, ice, tops, curve, promise, shades
        As in :class:`~streamproc.reduction.flags.sight.Sight`.
    """

    high: Pixels
    dead: Pixels
    spotty: float
    ring: tuple[int, int]
    ice: float
    tops: list[int]
    curve: Curve
    promise: Promise
    shades: Shades


class Clearer:
    """Takes hits out of one plan's frames.

    Parameters
    ----------
    parted, tiles, finder
        Of the plan.
    ice_places : ndarray
        As :func:`~streamproc.reduction.flags.lines.ice_places` gives them.
    limit : float
        Spottiness from which a frame is spotty.
    """

    def __init__(
        self, parted: PartedPlan, tiles: Tiles, finder: OutlierFinder, ice_places: Float, limit: float
    ) -> None:
        self._parted, self._tiles, self._finder, self._ice = parted, tiles, finder, ice_places
        self._limit = limit
        self._no_lines = np.zeros(parted.plan.axis.size, bool)

    def clear(self, look: Look) -> Cleared:
        """Say what a frame shows without its hits. Of a stack they are told, but stay where they are."""
        sight = look.sight
        spotty, ring, ice, tops, curve = sight.spotty, sight.ring, sight.ice, sight.tops, sight.curve
        promise, shades = sight.promise, sight.shades
        if not len(sight.asked) and (spotty < self._limit or look.times > 1):  # as mostly
            return Cleared(*self._finder.nothing, spotty, ring, ice, tops, curve, promise, shades)
        every, dead = self._finder.nothing
        if len(sight.asked):
            rings = sight.rings if look.times == 1 else sight.rings * look.times
            every, dead = self._finder.find(look.image, sight.asked, rings, sight.spread, look.dark)
        high = self._off_lines(every, self._lines(sight, sight.rings, spotty))
        if look.times == 1:
            if not spotty < self._limit or high.size >= MANY_HITS:
                without, hits = self._without(look, every), scattered(self._parted, look.parts, every)
                again = spotty_without(
                    look.parts, without, sight.rings, sight.floor, spotty, self._limit, hits
                )
                if again is not None:
                    spotty, ring = again
                    lines = self._lines(sight, without.rings if hits else sight.rings, spotty)
                    high = self._off_lines(every, lines)
            if high.size:
                # hits or grains: in a frame that is not spotty the pattern is better without those on lines
                gone = every if FINE <= spotty < self._limit else high
                rings = self._without(look, gone).rings
                curve = self._curve(sight, rings)
                ice, tops = ice_rings(curve, self._ice)
                promise = self._tiles.promise(look.scan, rings, sight.low, sight.floor, look.cells)
                self._take_out(look, rings, gone, promise.observed)
            if promise is not sight.promise or spotty is not sight.spotty:
                shades = shaded_tiles(promise, self._tiles.used, spotty < FINE)
        return Cleared(high, dead, spotty, ring, ice, tops, curve, promise, shades)

    def _off_lines(self, high: Pixels, lines: npt.NDArray[np.bool_]) -> Pixels:
        return high[~lines[self._parted.bins[high]]] if high.size else high

    def _lines(self, sight: Sight, rings: Float, spotty: float) -> npt.NDArray[np.bool_]:
        """Rings on which a high pixel may be a grain: none where the rings have many grains."""
        if not len(sight.asked) or spotty < FINE:
            return self._no_lines
        near, variance = np.zeros(rings.size, bool), np.zeros(rings.size)
        variance[slice(None) if sight.measured is None else sight.measured] = sight.curve.variance
        near_lines(rings, sight.floor, variance, sight.curve.width, near)
        return near

    def _without(self, look: Look, high: Pixels) -> WithoutHits:
        return without_hits(self._parted, look.parts, look.cells, look.image, high, look.sight.rings)

    def _curve(self, sight: Sight, rings: Float) -> Curve:
        """The pattern of other rings."""
        measured = rings if sight.measured is None else rings[sight.measured]
        return describe_curve(sight.curve.axis, measured, sight.curve.variance)

    def _take_out(self, look: Look, rings: Float, high: Pixels, observed: Float) -> None:
        """Leave of high pixels what their rings promise: a tile with hits is as bright as one without."""
        excess = look.image[high] - rings[self._parted.bins[high]] * look.cells.norm[high]
        if look.dark is not None:
            excess -= look.dark[high]
        columns = self._parted.plan.shape[1]
        np.subtract.at(observed, (high // columns // TILE_ROWS, high % columns // PIECE), excess)
