"""FrameReader: from an image to its :class:`Reading`, keeping nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.errors import FrameFailed
from streamproc.reduction.azimuthal import AzimuthalPlan
from streamproc.reduction.flags.against import strain_slope
from streamproc.reduction.flags.curve import Curve, describe_curve
from streamproc.reduction.flags.dark import DarkJudge
from streamproc.reduction.flags.hits import MANY_HITS, WithoutHits, scattered, spotty_without, without_hits
from streamproc.reduction.flags.kinds import KINDS
from streamproc.reduction.flags.lines import ice_places, ice_rings
from streamproc.reduction.flags.outliers import OutlierFinder, Outliers
from streamproc.reduction.flags.parts import PartedPlan, Parts
from streamproc.reduction.flags.pieces import DEAD, HIGH, HOT
from streamproc.reduction.flags.reading import Evidence, Reading, TileView
from streamproc.reduction.flags.rings import near_lines
from streamproc.reduction.flags.said import axis_said, boxes_said, pixels_said, rows_said, tiles_said
from streamproc.reduction.flags.scan import PIECE, TILE_ROWS, CountingScan, Scan, Scanner
from streamproc.reduction.flags.settings import FlagSettings
from streamproc.reduction.flags.shades import shaded_tiles
from streamproc.reduction.flags.sight import Sight, see
from streamproc.reduction.flags.tiles import Tiles
from streamproc.reduction.kernels import count_pixels
from streamproc.reduction.passes import Constants
from streamproc.reduction.profile import AXIS_KINDS, Profile

__all__ = ["FrameReader"]

Float = npt.NDArray[np.float64]

_FINE = 0.03
"""Spottiness below which no single grain stands out of a ring."""

_NAN = float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """One image, its integration and scan, and what they show."""

    image: npt.NDArray[Any]
    profile: Profile
    parts: Parts
    cells: Constants
    scan: Scan
    dark: Float | None
    sight: Sight


class FrameReader:
    """Reads the images of one plan. Safe among threads.

    Parameters
    ----------
    plan : AzimuthalPlan
        How images become patterns.
    settings : FlagSettings, optional
        Limit of the counter (default: that of the plan's correction, else the largest value of the type), and
        the thresholds from which evidence is worth its time.
    """

    def __init__(self, plan: AzimuthalPlan, settings: FlagSettings | None = None) -> None:
        self.plan, self._settings = plan, settings or FlagSettings()
        self.parted = PartedPlan.of(plan)
        self._scanner = Scanner(self.parted.used)
        pixels = self._scanner.used_pixels
        self._tiles, self._outliers = Tiles(self.parted, pixels), OutlierFinder(self.parted, pixels)
        self._dark = DarkJudge(plan.axis.size)
        self._used = max(int(pixels.sum()), 1)
        self._limits: dict[np.dtype[Any], float] = {}
        limits = {name: self._settings.limit(name) for name in KINDS}
        self._raised = {n: v.threshold if n not in self._settings.off else np.inf for n, v in limits.items()}
        self._said = {name: limit.falls_below for name, limit in limits.items()}
        kind = AXIS_KINDS[plan.options.unit]
        self._ice = ice_places(kind, plan.geometry.wavelength_A)
        self._slope = strain_slope(plan.axis, kind)

    def warm_up(self) -> None:
        """Compile for the usual types, so that no live frame waits."""
        for dtype in ("u2", "u4", "i4", "f8"):
            frame = np.ones(self.plan.shape, dtype)
            frame.flat[self.parted.used.ravel().argmax()] = 1000  # single pixels are looked at as well
            self.read(frame)

    def read(self, frame: npt.NDArray[Any], dark: npt.NDArray[Any] | None = None) -> tuple[Reading, Profile]:
        """Read an image or a stack.

        Parameters
        ----------
        frame : ndarray, shape (rows, columns) or (n, rows, columns)
            Raw values. A stack is judged by the sum of its images.
        dark : ndarray, optional
            Dark of the same run.

        Returns
        -------
        reading : Reading
        profile : Profile
            As ``plan.integrate`` gives it; no second pass is needed.

        Raises
        ------
        FrameFailed
            As :meth:`AzimuthalPlan.integrate`, and where hardly any ring has a usable pixel.
        """
        look = self._look(frame, dark)
        sight, columns = look.sight, self.plan.shape[1]
        spotty, ring, faults = sight.spotty, sight.ring, sight.faults
        out = self._find(look, self._lines(sight, sight.rings, spotty))
        curve, promise, shades, ice, tops = sight.curve, sight.promise, sight.shades, sight.ice, sight.tops
        if look.profile.n_frames == 1:
            limit = self._settings.limit("spotty").threshold
            if not spotty < limit or out.high.size >= MANY_HITS:
                every = self._find(look, None).high
                without, hits = self._hits(look, every), scattered(self.parted, look.parts, every)
                again = spotty_without(look.parts, without, sight.rings, sight.floor, spotty, limit, hits)
                if again is not None:
                    spotty, ring = again
                    out = self._find(look, self._lines(sight, without.rings if hits else sight.rings, spotty))
            if out.high.size:  # a hit is no line, and promises a tile nothing
                high = self._all_high(look, out, spotty)
                rings = self._hits(look, high).rings
                curve = self._curve(sight, rings)
                ice, tops = ice_rings(curve, self._ice)
                promise = self._tiles.promise(look.scan, rings, sight.low, sight.floor, look.cells)
                self._take_out(look, rings, high, promise.observed)
            if promise is not sight.promise or spotty is not sight.spotty:
                shades = shaded_tiles(promise, self._tiles.used, spotty < _FINE)
        whole = faults.missing_rows == 0
        numbers = {
            "saturated": faults.saturated / self._used,
            "dead": (faults.dead + out.dead.size) / self._used,
            "hot": faults.hot / self._used,
            "ice_rings": ice,
            "spikes": float(out.high.size),
            "spotty": spotty,
            "shadow": _NAN if faults.hot else shades.share,
            "over_exposed_dark": max(self._dark.ring_share(look.cells, sight.rings), sight.negative),
            "missing_rows": float(faults.missing_rows),
        }
        if not whole:  # rings that miss part of themselves promise too little
            numbers |= dict.fromkeys(("dead", "hot", "spikes", "shadow", "over_exposed_dark"), _NAN)
        elif self._over("over_exposed_dark", numbers):  # and rings that the dark holds, nothing
            numbers |= dict.fromkeys(("dead", "hot", "spikes", "shadow"), _NAN)
        elif self._over(
            "spotty", numbers
        ):  # a grain is as bright as a hit, and its absence as dark as a shadow
            numbers |= dict.fromkeys(("spikes", "shadow"), _NAN)
        if self._over("dead", numbers):  # what is dead is dark
            numbers["shadow"] = _NAN
        high = out.high if numbers["spikes"] == numbers["spikes"] else out.high[:0]
        said: dict[str, Callable[[], Evidence]] = {
            "saturated": lambda: boxes_said(faults.marks & HIGH, columns),
            "dead": lambda: boxes_said(faults.marks & DEAD, columns) | pixels_said(out.dead, columns),
            "hot": lambda: boxes_said(faults.marks & HOT, columns),
            "ice_rings": lambda: axis_said(curve.axis, tops),
            "spikes": lambda: pixels_said(out.high, columns),
            "spotty": lambda: {"axis": [[float(look.profile.axis[i]) for i in ring]]},
            "shadow": lambda: tiles_said(shades.shaded, self.plan.shape),
            "missing_rows": lambda: rows_said(faults.marks),
        }
        reading = Reading(
            numbers,
            {n: say() for n, say in said.items() if numbers[n] >= self._said[n]},
            look.scan.checksum,
            sight.level,
            curve,
            self._slope if sight.measured is None else self._slope[sight.measured],
            constant=sight.highest == 0.0,
            quadrants=sight.quadrants if sight.measured is None else sight.quadrants[sight.measured],
            tiles=TileView(shades.ratio, promise.expected, self._tiles.used, shades.smooth, spotty < _FINE),
            high=high,
            used=self._used,
            lost_rows=faults.lost_rows,
            columns=columns,
            ice_places=self._ice,
        )
        return reading, look.profile

    def _find(self, look: _Look, lines: npt.NDArray[np.bool_] | None) -> Outliers:
        """Single pixels that the rings do not explain; no high ones on ``lines`` (rings; None: those too)."""
        sight, times = look.sight, look.profile.n_frames
        rings = sight.rings if times == 1 else sight.rings * times
        lines = np.zeros(rings.size, bool) if lines is None else lines
        return self._outliers.find(look.image, sight.asked, rings, lines, sight.spread, look.dark)

    def _all_high(self, look: _Look, out: Outliers, spotty: float) -> npt.NDArray[np.int64]:
        """Isolated high pixels, in a frame that is not spotty those on lines as well.

        They may be hits or grains, but the pattern is better without them.
        """
        if _FINE <= spotty < self._settings.limit("spotty").threshold:
            return self._find(look, None).high
        return out.high

    def _lines(self, sight: Sight, rings: Float, spotty: float) -> npt.NDArray[np.bool_]:
        """Rings on which a high pixel may be a grain: none where the rings have many grains."""
        near = np.zeros(rings.size, bool)
        if len(sight.asked) and not spotty < _FINE:
            variance = np.zeros(rings.size)
            variance[slice(None) if sight.measured is None else sight.measured] = sight.curve.variance
            near_lines(rings, sight.floor, variance, sight.curve.width, near)
        return near

    def _take_out(self, look: _Look, rings: Float, high: npt.NDArray[np.int64], observed: Float) -> None:
        """Leave of high pixels what their rings promise: a tile with hits is as bright as one without."""
        excess = look.image[high] - rings[self.parted.bins[high]] * look.cells.norm[high]
        if look.dark is not None:
            excess -= look.dark[high]
        columns = self.plan.shape[1]
        np.subtract.at(observed, (high // columns // TILE_ROWS, high % columns // PIECE), excess)

    def _hits(self, look: _Look, high: npt.NDArray[np.int64]) -> WithoutHits:
        return without_hits(self.parted, look.parts, look.cells, look.image, high, look.sight.rings)

    def _curve(self, sight: Sight, rings: Float) -> Curve:
        """The pattern of other rings: a hit is no line."""
        return describe_curve(
            sight.curve.axis, rings if sight.measured is None else rings[sight.measured], sight.curve.variance
        )

    def _over(self, name: str, numbers: dict[str, float]) -> bool:
        """Whether a kind that is judged reaches its limit by itself."""
        return numbers[name] >= self._raised[name]

    def _look(self, frame: npt.NDArray[Any], dark: npt.NDArray[Any] | None) -> _Look:
        frame = np.asarray(frame)
        images = len(frame) if frame.ndim == 3 else 1
        counting = None
        if images == 1 and frame.dtype.kind in "ui":
            counting = CountingScan(self._scanner, self._limit(frame.dtype))
        profile, parts, cells = self.parted.integrate(frame, dark, counting or count_pixels)
        if counting is not None and counting.image is not None and counting.scan is not None:
            image, scan = counting.image, counting.scan
        else:  # a stack is looked at as its sum, and real numbers are not counted
            image = self._image(frame)
            scan = self._scanner.scan(image, self._limit(frame.dtype) * images)
        dark_pixels = None if cells.dark is None else cells.dark.mean
        if dark_pixels is not None and images > 1:
            dark_pixels = dark_pixels * images
        sight = see(profile, parts, cells, scan, self._tiles, self._outliers, dark_pixels, self._ice, _FINE)
        if sight is None:
            raise FrameFailed("hardly any ring has a usable pixel: the frame is saturated, masked or empty")
        return _Look(image, profile, parts, cells, scan, dark_pixels, sight)

    def _limit(self, dtype: np.dtype[Any]) -> float:
        if dtype not in self._limits:
            own = self._settings.saturation
            self._limits[dtype] = self.plan.correction.limits(dtype)[1] if own is None else own
        return self._limits[dtype]

    def _image(self, frame: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return what is scanned: the image itself, or the sum of a stack."""
        if frame.ndim == 3 and len(frame) > 1:
            frame = frame.sum(axis=0, dtype=np.float64 if frame.dtype.kind == "f" else np.int64)
        if frame.dtype.kind == "b" or frame.dtype == np.float16 or frame.dtype.itemsize > 8:
            frame = frame.astype(np.float64)
        return np.ascontiguousarray(frame, frame.dtype.newbyteorder("=")).reshape(-1)
