"""FrameReader: from an image to its :class:`Reading`, keeping nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.errors import FrameFailed
from streamproc.reduction.azimuthal import AzimuthalPlan
from streamproc.reduction.flags.against import strain_slope
from streamproc.reduction.flags.cleared import FINE, Cleared, Clearer, Look
from streamproc.reduction.flags.dark import DarkJudge
from streamproc.reduction.flags.kinds import KINDS
from streamproc.reduction.flags.lines import ice_places
from streamproc.reduction.flags.outliers import OutlierFinder
from streamproc.reduction.flags.parts import PartedPlan
from streamproc.reduction.flags.pieces import DEAD, HIGH, HOT
from streamproc.reduction.flags.reading import Evidence, Reading, TileView
from streamproc.reduction.flags.said import axis_said, boxes_said, pixels_said, rows_said, tiles_said
from streamproc.reduction.flags.scan import CountingScan, Scanner
from streamproc.reduction.flags.settings import FlagSettings
from streamproc.reduction.flags.sight import Sight, see
from streamproc.reduction.flags.tiles import Tiles
from streamproc.reduction.profile import AXIS_KINDS, Profile

__all__ = ["FrameReader"]

_NAN = float("nan")

_SHOWN = ("saturated", "dead", "hot", "ice_rings", "spikes", "spotty", "shadow", "missing_rows")
"""Kinds that concern some pixels, rows or rings of a frame."""


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
        self._said = {name: limits[name].falls_below for name in _SHOWN}
        kind = AXIS_KINDS[plan.options.unit]
        self._ice = ice_places(kind, plan.geometry.wavelength_A)
        self._slope = strain_slope(plan.axis, kind)
        spotty = limits["spotty"].threshold
        self._clearer = Clearer(self.parted, self._tiles, self._outliers, self._ice, spotty)

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
        profile, look = self._look(frame, dark)
        sight, seen = look.sight, self._clearer.clear(look)
        numbers = self._numbers(look, seen)
        evidence = {
            name: self._evidence(name, profile, sight, seen)
            for name, least in self._said.items()
            if numbers[name] >= least
        }
        shades, measured = seen.shades, sight.measured
        reading = Reading(
            numbers,
            evidence,
            look.scan.checksum,
            sight.level,
            seen.curve,
            self._slope if measured is None else self._slope[measured],
            constant=sight.highest == 0.0,
            quadrants=sight.quadrants if measured is None else sight.quadrants[measured],
            parts=look.parts,
            measured=measured,
            tiles=TileView(
                shades.ratio, seen.promise.expected, self._tiles.used, shades.smooth, seen.spotty < FINE
            ),
            high=seen.high if numbers["spikes"] == numbers["spikes"] else seen.high[:0],
            used=self._used,
            lost_rows=sight.faults.lost_rows,
            columns=self.plan.shape[1],
            ice_places=self._ice,
        )
        return reading, profile

    def _numbers(self, look: Look, seen: Cleared) -> dict[str, float]:
        """Number of each kind; NaN where another kind says that it cannot be judged."""
        faults, high = look.sight.faults, seen.high
        numbers = {
            "saturated": faults.saturated / self._used,
            "dead": (faults.dead + seen.dead.size) / self._used,
            "hot": faults.hot / self._used,
            "ice_rings": seen.ice,
            "spikes": float(high.size),
            "spotty": seen.spotty,
            "shadow": _NAN if faults.hot else seen.shades.share,
            "over_exposed_dark": max(
                self._dark.ring_share(look.cells, look.sight.rings), look.sight.negative
            ),
            "missing_rows": float(faults.missing_rows),
        }
        if faults.missing_rows:  # rings that miss part of themselves promise too little
            numbers |= dict.fromkeys(("dead", "hot", "spikes", "shadow", "over_exposed_dark"), _NAN)
        elif self._over("over_exposed_dark", numbers):  # and rings that the dark holds, nothing
            numbers |= dict.fromkeys(("dead", "hot", "spikes", "shadow"), _NAN)
        elif self._over("spotty", numbers):  # a grain is as bright as a hit, its absence as dark as a shadow
            numbers |= dict.fromkeys(("spikes", "shadow"), _NAN)
        if self._over("dead", numbers):  # what is dead is dark
            numbers["shadow"] = _NAN
        return numbers

    def _evidence(self, name: str, profile: Profile, sight: Sight, seen: Cleared) -> Evidence:
        """Pixels, rows or rings that a kind concerns."""
        columns, marks = self.plan.shape[1], sight.faults.marks
        match name:
            case "saturated":
                return boxes_said(marks & HIGH, columns)
            case "dead":
                return boxes_said(marks & DEAD, columns) | pixels_said(seen.dead, columns)
            case "hot":
                return boxes_said(marks & HOT, columns)
            case "ice_rings":
                return axis_said(seen.curve.axis, seen.tops)
            case "spikes":
                return pixels_said(seen.high, columns)
            case "spotty":
                return {"axis": [[float(profile.axis[i]) for i in seen.ring]]}
            case "shadow":
                return tiles_said(seen.shades.shaded, self.plan.shape)
            case _:
                return rows_said(marks)

    def _over(self, name: str, numbers: dict[str, float]) -> bool:
        """Whether a kind that is judged reaches its limit by itself."""
        return numbers[name] >= self._raised[name]

    def _look(self, frame: npt.NDArray[Any], dark: npt.NDArray[Any] | None) -> tuple[Profile, Look]:
        frame = np.asarray(frame)
        images = len(frame) if frame.ndim == 3 else 1
        counting = None
        if images == 1 and frame.dtype.kind in "ui":
            counting = CountingScan(self._scanner, self._limit(frame.dtype))
        profile, parts, cells = self.parted.integrate(frame, dark, counting)
        if counting is not None and counting.image is not None and counting.scan is not None:
            image, scan = counting.image, counting.scan
        else:  # a stack is looked at as its sum, and real numbers are not counted
            image = self._image(frame)
            scan = self._scanner.scan(image, self._limit(frame.dtype) * images)
        dark_pixels = None if cells.dark is None else cells.dark.mean
        if dark_pixels is not None and images > 1:
            dark_pixels = dark_pixels * images
        sight = see(profile, parts, cells, scan, self._tiles, self._outliers, dark_pixels, self._ice, FINE)
        if sight is None:
            raise FrameFailed("hardly any ring has a usable pixel: the frame is saturated, masked or empty")
        return profile, Look(image, images, parts, cells, scan, dark_pixels, sight)

    def _limit(self, dtype: np.dtype[Any]) -> float:
        limit = self._limits.get(dtype)
        if limit is None:
            own = self._settings.saturation
            limit = self._limits[dtype] = self.plan.correction.limits(dtype)[1] if own is None else own
        return limit

    def _image(self, frame: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return what is scanned: the image itself, or the sum of a stack."""
        if frame.ndim == 3 and len(frame) > 1:
            frame = frame.sum(axis=0, dtype=np.float64 if frame.dtype.kind == "f" else np.int64)
        if frame.dtype.kind == "b" or frame.dtype == np.float16 or frame.dtype.itemsize > 8:
            frame = frame.astype(np.float64)
        return np.ascontiguousarray(frame, frame.dtype.newbyteorder("=")).reshape(-1)
