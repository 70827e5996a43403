"""RunReference: the run's own level, pattern, quadrants and tiles, and how a reading differs from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags import record
from streamproc.reduction.flags.beam import beam_of, far_shifts
from streamproc.reduction.flags.changes import FAR, GO_ON, STARTS, line_width, take_in, zero_drift
from streamproc.reduction.flags.compared import Compared
from streamproc.reduction.flags.grains import few_grains
from streamproc.reduction.flags.lines import ICE_LINES_A
from streamproc.reduction.flags.newlines import shaded_share
from streamproc.reduction.flags.parts import PARTS, QUADRANTS, Parts, read_only
from streamproc.reduction.flags.reading import Evidence, Reading, TileView
from streamproc.reduction.flags.within import look

__all__ = ["RunReference"]

Float = npt.NDArray[np.float64]

_NAN = float("nan")

_NO_PART = read_only(np.empty((0, PARTS)))
_NO_PARTS = Parts(np.empty((0, PARTS)), np.empty((0, PARTS)), _NO_PART, _NO_PART, 0)
_NO_QUADRANTS, _ALL = np.empty((0, QUADRANTS)), np.empty(0, np.bool_)
_NO_TILES, _NO_ICE = np.empty((0, 0)), np.empty((0, 3))
_NO_VIEW = TileView(_NO_TILES, _NO_TILES, _NO_TILES, np.empty((0, 0), np.bool_), False)


class RunReference:
    """The run so far, from its readings that were not bad. Arrays are stored as float32, and in memory hold
    numbers that are rounded so."""

    def __init__(self) -> None:
        self._run, self._seen = record.no_readings(), np.empty(record.OF_READING)
        self._arrays: dict[str, Float] = {}
        self._starts_at = _NAN  # the axis
        # what is written anew of each reading
        self._moved, self._darker = np.empty(0), np.empty((0, 0), np.bool_)
        self._tops = np.empty(len(ICE_LINES_A), np.int64)

    # -- levels -------------------------------------------------------------------------------------------

    def beam_lost(self, reading: Reading, monitor: float) -> float:
        """Return which share of the run's level is missing: its monitor's, its patterns' without one."""
        now, usual = self._levels(reading, monitor)
        return max(1.0 - now / usual, 0.0) if usual > 0 else _NAN

    def beam_evidence(self, reading: Reading, monitor: float) -> Evidence:
        """Return the evidence of :meth:`beam_lost`."""
        now, usual = self._levels(reading, monitor)
        by = "monitor" if monitor == monitor else "pattern"
        return {"by": by, "level": now, "usual": usual} if usual > 0 else {}

    def _levels(self, reading: Reading, monitor: float) -> tuple[float, float]:
        """Level of a reading and of the run: the monitor's, the patterns' without one."""
        if monitor == monitor:
            return monitor, self._run.item(record.MONITOR)
        return reading.level, self._run.item(record.LEVEL)

    def monitor_drift(self) -> tuple[float, Evidence]:
        """Return the change of the monitor, a mean over some readings, since the start of the run."""
        run = self._run
        start, now = run.item(record.MONITOR_START), run.item(record.MONITOR_NOW)
        if not start > 0 or run.item(record.READINGS) < STARTS:
            return _NAN, {}
        return abs(now / start - 1.0), {"by": "monitor", "level": now, "start": start}

    # -- comparing ----------------------------------------------------------------------------------------

    def compare(self, reading: Reading) -> Compared:
        """Return what a reading shows against the run; to be used before the next one is compared."""
        run, seen, curve, arrays = self._run, self._seen, reading.curve, self._arrays
        if not arrays:
            return Compared(reading)
        parts, view = reading.parts or _NO_PARTS, reading.tiles or _NO_VIEW
        quadrants = _NO_QUADRANTS if reading.quadrants is None else reading.quadrants
        there = _ALL if reading.measured is None else reading.measured
        first, recent = self._on(curve.axis)
        if self._moved.size != curve.y.size or self._darker.shape != arrays["tiles"].shape:
            self._moved, self._darker = np.empty(curve.y.size), np.empty(arrays["tiles"].shape, np.bool_)
        look(
            curve.axis, reading.slope, curve.y, curve.variance, curve.floor, curve.width, reading.level,
            first, recent, arrays["quadrants"], quadrants, parts.signal, parts.norm, there,
            _NO_ICE if reading.ice_places is None else reading.ice_places, arrays["tiles"], view.promised,
            view.ratio, view.smooth, view.fine, run, seen, self._moved, self._darker, self._tops,
        )  # fmt: skip
        # what is mostly not asked
        found: list[float] = seen.tolist()
        if found[record.AGREEMENT] < FAR and found[record.RIGHT] == found[record.RIGHT]:
            found = self._far(reading)
        grains: list[int] = []
        if found[record.GONE] > 0:
            found[record.SPOTTY], *grains = few_grains(*parts[:4], there, curve.y, curve.floor, recent)
        if found[record.LOST_FLOOR] > 0:
            found[record.SHADOW], dark = self._shadow(reading)
            return Compared(
                reading, found, run.item(record.BASE_ZERO), self._tops, grains, self._darker, dark
            )
        return Compared(reading, found, run.item(record.BASE_ZERO), self._tops, grains)

    def _far(self, reading: Reading) -> list[float]:
        """See where the quadrants have gone if it may be further than a part of a line's width."""
        run, seen, curve = self._run, self._seen, reading.curve
        assert reading.quadrants is not None  # they have been compared
        width = line_width(run, curve.width)
        shifts = far_shifts(
            curve.axis, reading.slope, self._arrays["quadrants"], reading.quadrants, curve.variance,
            (run.item(record.ZERO), run.item(record.STRAIN)), width,
        )  # fmt: skip
        seen[record.RIGHT : record.BEAM_KNOWN] = beam_of(shifts, True)
        zero_drift(run, seen, width * curve.step, True)
        return list(seen.tolist())

    def _shadow(self, reading: Reading) -> tuple[float, tuple[int, ...]]:
        """Share of the tiles (or blocks of the axis) that have become darker than the rest; channels of these
        blocks."""
        tiles, curve = reading.tiles, reading.curve
        if tiles is not None:
            return float(tiles.used[self._darker].sum()) / max(float(tiles.used.sum()), 1.0), ()
        share, starts = shaded_share(curve.y, curve.variance, self._moved, line_width(self._run, curve.width))
        block = max(curve.y.size // 16, 1)
        return share, tuple(i for s in starts for i in range(s, min(s + block, curve.y.size)))

    # -- what the run is ----------------------------------------------------------------------------------

    def accept(self, reading: Reading, monitor: float, doubtful: bool, spotty: bool = False) -> None:
        """Take a reading that is not bad, and was compared, into the reference.

        Parameters
        ----------
        reading, monitor
            As :meth:`FlagWatch.take` has them.
        doubtful : bool
            New lines are in it, or lines are missing: it is taken slowly.
        spotty : bool
            Its tiles are as bright as their grains: they say nothing of the detector.
        """
        if not self._arrays:
            self._begin(reading, spotty)
        curve, recent, tiles = reading.curve, self._arrays["recent"], self._arrays["tiles"]
        y, ratio = curve.y, _NO_TILES if reading.tiles is None else reading.tiles.ratio
        if recent.size != y.size:
            y = np.interp(self._arrays["axis"], curve.axis, y)
        if ratio.size and not (tiles.size or spotty):  # the readings before were spotty
            self._arrays["tiles"] = _as_stored(ratio)
        then = take_in(
            self._run, self._seen, reading.level, curve.width, monitor, doubtful, curve.axis,
            reading.quadrants is not None, recent, y, tiles, ratio, spotty,
        )  # fmt: skip
        if then:
            self._begin(reading, spotty)
            if then == GO_ON and recent.size == curve.y.size:
                self._arrays["recent"] = recent

    def _begin(self, reading: Reading, spotty: bool) -> None:
        """Begin, or begin anew where the pattern has become another one."""
        run, curve = self._run, reading.curve
        run[record.BASE_SCALE] *= run[record.SCALE]
        run[record.BASE_ZERO] += run[record.ZERO]
        (
            run[record.SCALE],
            run[record.ZERO],
            run[record.STRAIN],
            run[record.STRANGE],
            run[record.FIRST_LEVEL],
        ) = 1.0, 0.0, 0.0, 0.0, reading.level
        new: dict[str, Float] = {"axis": curve.axis, "first": curve.y, "recent": curve.y}
        new["quadrants"] = _NO_QUADRANTS if reading.quadrants is None else reading.quadrants
        new["tiles"] = _NO_TILES if reading.tiles is None or spotty else reading.tiles.ratio
        self._arrays = {name: _as_stored(value) for name, value in new.items()}
        self._starts_at = self._arrays["axis"].item(0)

    def _on(self, axis: Float) -> tuple[Float, Float]:
        """Return reference and mean of the newest readings on the axis of a reading."""
        first, recent = self._arrays["first"], self._arrays["recent"]
        if first.size == axis.size and abs(self._starts_at - axis.item(0)) < 1e-5 * abs(axis.item(-1)):
            return first, recent
        own = self._arrays["axis"]
        return np.interp(axis, own, first), np.interp(axis, own, recent)

    # -- stored state -------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return the state."""
        return {
            "numbers": self._run[record.STORED_NUMBERS].tolist(),
            "counts": [int(v) for v in self._run[record.STORED_COUNTS]],
            "arrays": {k: [list(v.shape), v.astype("<f4").tobytes()] for k, v in self._arrays.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`snapshot` gave."""
        self._run[record.STORED_NUMBERS], self._run[record.STORED_COUNTS] = state["numbers"], state["counts"]
        self._arrays = {
            k: np.frombuffer(data, "<f4").reshape(shape).astype(np.float64)
            for k, (shape, data) in state["arrays"].items()
        }
        if self._arrays:
            self._starts_at = self._arrays["axis"].item(0)


def _as_stored(values: Float) -> Float:
    """Return a copy, rounded as it is stored."""
    return values.astype(np.float32).astype(np.float64)
