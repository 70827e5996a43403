"""RunReference: the run's own level, pattern, quadrants and tiles, and how a reading differs from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.against import AGREES, Comparison, compare
from streamproc.reduction.flags.beam import beam_shift
from streamproc.reduction.flags.curve import Curve
from streamproc.reduction.flags.grains import few_grains
from streamproc.reduction.flags.newice import new_ice
from streamproc.reduction.flags.newlines import new_line, shaded_share
from streamproc.reduction.flags.reading import Evidence, Reading, TileView
from streamproc.reduction.flags.said import axis_said, boxes_said
from streamproc.reduction.flags.shades import darker_tiles
from streamproc.reduction.flags.tiles import TILE_ROWS

__all__ = ["RunReference"]

Float = npt.NDArray[np.float64]

_RATE = 0.2
"""Weight of the newest reading in the recent level and pattern: what changes over 5 readings is followed."""

_FOLLOWING = _RATE / (2 - _RATE)
"""Variance of a mean that follows, over that of one reading, after many readings."""

_SLOW_RATE = 0.01
_DRIFT_RATE = 0.3
_STARTS = 3
_REBASE_AFTER, _REBASE_DOUBTFUL = 5, 60
_FAR, _ALIKE = 0.98, 0.95
_SURE = 0.01
"""Sigma of the zero over a line's width, up to which a new reference carries no error along."""

_NAN = float("nan")

_COMPARED = ("i0_drift", "zero_drift", "parasitic_rings", "shadow", "ice_rings", "spotty")
"""Kinds that the comparison with the run tells, or tells as well."""


class RunReference:
    """The run so far, from its readings that were not bad. Arrays are float32, in memory as stored."""

    def __init__(self) -> None:
        self._level = self._monitor = self._monitor_start = self._monitor_now = _NAN
        self._scale, self._first_level = 1.0, _NAN
        self._zero = self._strain = 0.0
        self._base = (1.0, 0.0)  # scale and zero of the reference against the first one of the run
        self._n = self._strange = 0
        self._arrays: dict[str, npt.NDArray[np.float32]] = {}
        self._found: Comparison | None = None
        self._width = self._line_at = _NAN
        self._iced = False  # ice was in the reading before
        self._known = False  # the quadrants say what has happened to the pattern

    # -- levels -------------------------------------------------------------------------------------------

    def beam_lost(self, reading: Reading, monitor: float) -> tuple[float, Evidence]:
        """Return which share of the run's level is missing: its monitor's, its patterns' without one."""
        now, usual, by = reading.level, self._level, "pattern"
        if monitor == monitor:
            now, usual, by = monitor, self._monitor, "monitor"
        if not usual > 0:
            return _NAN, {}
        return max(1.0 - now / usual, 0.0), {"by": by, "level": now, "usual": usual}

    def monitor_drift(self) -> tuple[float, Evidence]:
        """Return the change of the monitor, a mean over some readings, since the start of the run."""
        start, now = self._monitor_start, self._monitor_now
        if not start > 0 or self._n < _STARTS:
            return _NAN, {}
        return abs(now / start - 1.0), {"by": "monitor", "level": now, "start": start}

    # -- comparing ----------------------------------------------------------------------------------------

    def compare(self, reading: Reading) -> tuple[dict[str, float], dict[str, Evidence]]:
        """Return numbers and evidence of the kinds that compare patterns; NaN where they cannot be judged."""
        numbers = dict.fromkeys(_COMPARED, _NAN)
        told: dict[str, Evidence] = {}
        if not self._n:
            return numbers, told
        self._known = False
        curve, slope = reading.curve, reading.slope
        first, recent = self._on(curve.axis, "first"), self._on(curve.axis, "recent")
        start = (self._zero, self._strain)
        width = self._line_width(curve)
        found = compare(curve.axis, slope, first, curve.y, curve.variance, start, 1.0, width)
        self._found = found
        if found.agreement >= AGREES and found.scale > 0:
            scale = self._base[0] * self._drifted(found, reading)
            numbers["i0_drift"] = abs(scale - 1.0) if self._n >= _STARTS else _NAN
            told["i0_drift"] = {"by": "pattern", "scale": scale}
        if reading.parts is not None:
            numbers["spotty"], lines = few_grains(reading.parts, reading.measured, curve, recent)
            if lines:
                told["spotty"] = {"axis": [[float(curve.axis[i]) for i in lines]], "by": "run"}
        numbers["zero_drift"], told["zero_drift"] = self._zero_drift(reading, found)
        noise = _FOLLOWING + (1 - _FOLLOWING) * (1 - _RATE) ** (2 * self._n - 2)
        jump = (0.0, 0.0)  # of all lines since the reading before
        if found.agreement >= AGREES:
            jump = (found.zero - self._zero, found.strain - self._strain)
        followed = compare(curve.axis, slope, recent, curve.y, curve.variance, jump, noise, width)
        recent = followed.moved
        numbers["ice_rings"], told["ice_rings"] = self._ice(reading, followed)
        known = int(np.searchsorted(curve.axis, self._line_at)) if self._line_at == self._line_at else -1
        share, a, b = new_line(curve.y, curve.variance, recent, curve.floor, width, known)
        self._line_at = float(curve.axis[(a + b) // 2]) if share > 0 else _NAN
        numbers["parasitic_rings"] = share
        told["parasitic_rings"] = axis_said(curve.axis, list(range(a, b + 1))) if share > 0 else {}
        numbers["shadow"], told["shadow"] = self._shadow(reading, recent)
        return numbers, told

    def _ice(self, reading: Reading, followed: Comparison) -> tuple[float, Evidence]:
        if reading.ice_places is None or self._n < _STARTS:
            return _NAN, {}
        share, tops = new_ice(reading.curve, followed, reading.ice_places, self._iced)
        self._iced = share >= 0.5
        return share, axis_said(reading.curve.axis, tops) if tops else {}

    def _line_width(self, curve: Curve) -> float:
        """Width of a line over the run (channels): one weak reading alone may say three times as much."""
        return self._width if self._width == self._width else curve.width

    def _drifted(self, found: Comparison, reading: Reading) -> float:
        """Return by how much lines and mean have changed, whichever is less, a mean over some readings.

        A line more moves the mean, a line that broadens its height; the beam moves both.
        """
        mean = reading.level / self._first_level if self._first_level > 0 else found.scale
        now = min(found.scale, mean, key=lambda v: abs(v - 1.0))
        return self._scale + _DRIFT_RATE * (now - self._scale)

    def _zero_drift(self, reading: Reading, found: Comparison) -> tuple[float, Evidence]:
        curve = reading.curve
        width = self._line_width(curve) * curve.step
        if not width > 0:
            return _NAN, {}
        zero, agrees = self._base[1] + found.zero, found.agreement >= AGREES
        along = max(abs(zero) - 3 * found.zero_sigma, 0.0)
        told: dict[str, Any] = {"shift": zero, "sigma": found.zero_sigma, "strain": found.strain}
        if reading.quadrants is None or self._arrays["quadrants"].shape != reading.quadrants.shape:
            return (along / width if agrees else _NAN), told
        far = found.agreement < _FAR
        right, up, sigma = beam_shift(
            curve.axis, reading.slope,
            self._arrays["quadrants"].astype(np.float64), reading.quadrants, curve.variance,
            (self._zero, self._strain) if far else (found.zero, found.strain), far,
            self._line_width(curve),
        )  # fmt: skip
        told["beam"] = [right, up]
        if not sigma < np.inf:
            return (along / width if agrees else _NAN), told
        self._known = True
        beam = max(float(np.hypot(right, up)) - 3 * sigma, 0.0)
        return max(along if agrees else 0.0, beam) / width, told

    def _shadow(self, reading: Reading, recent: Float) -> tuple[float, Evidence]:
        """Tiles (or blocks of the axis) that have become darker than the rest."""
        if reading.tiles is None:
            curve = reading.curve
            share, starts = shaded_share(curve.y, curve.variance, recent, self._line_width(curve))
            block = max(curve.y.size // 16, 1)
            return share, axis_said(
                curve.axis, [i for s in starts for i in range(s, min(s + block, curve.y.size))]
            )
        before, tiles = self._arrays["tiles"].astype(np.float64), reading.tiles
        if before.shape != tiles.ratio.shape:
            return _NAN, {}
        dark = darker_tiles(before, tiles)
        if not dark.any():
            return 0.0, {}
        rows = np.repeat(dark, TILE_ROWS, axis=0)
        share = float(tiles.used[dark].sum()) / max(float(tiles.used.sum()), 1.0)
        return share, boxes_said(rows, reading.columns)

    # -- what the run is ----------------------------------------------------------------------------------

    def accept(self, reading: Reading, monitor: float, doubtful: bool, spotty: bool = False) -> None:
        """Take a reading that is not bad into the reference.

        Parameters
        ----------
        reading, monitor
            As :meth:`FlagWatch.take` has them.
        doubtful : bool
            New lines are in it, or lines are missing: it is taken slowly.
        spotty : bool
            Its tiles are as bright as their grains: they say nothing of the detector.
        """
        self._take_levels(reading, monitor)
        found, curve, self._found = self._found, reading.curve, None
        if not self._n:
            self._begin(reading, spotty)
        elif found is not None and found.agreement >= AGREES and found.scale > 0:
            if found.agreement >= _FAR or reading.quadrants is None:
                self._zero, self._strain = found.zero, found.strain
            self._strange = 0
            self._scale = self._drifted(found, reading)
        elif not self._known:
            self._strange += 1
        self._n += 1
        self._blend("recent", curve.axis, curve.y, _SLOW_RATE if doubtful else _RATE)
        if reading.tiles is not None and not spotty:
            self._blend_tiles(reading.tiles)
        if self._strange >= (_REBASE_DOUBTFUL if doubtful else _REBASE_AFTER):
            self._begin(reading, spotty)
        elif self._slowly(found, reading) and not doubtful:  # go on from here before it is strange
            kept = self._arrays["recent"]
            self._begin(reading, spotty)
            self._arrays["recent"] = kept if kept.size == curve.y.size else self._arrays["recent"]

    def _slowly(self, found: Comparison | None, reading: Reading) -> bool:
        """Whether a pattern of many counts has slowly become less like its reference: lines that broaden."""
        if found is None or reading.quadrants is not None or not AGREES <= found.agreement < _ALIKE:
            return False
        return found.zero_sigma < _SURE * self._line_width(reading.curve) * reading.curve.step

    def _begin(self, reading: Reading, spotty: bool) -> None:
        """Begin, or begin anew where the pattern has become another one."""
        curve = reading.curve
        self._base = (self._base[0] * self._scale, self._base[1] + self._zero)
        self._zero = self._strain = 0.0
        self._scale, self._strange, self._first_level = 1.0, 0, reading.level
        new: dict[str, Float] = {"axis": curve.axis, "first": curve.y, "recent": curve.y}
        new["quadrants"] = np.empty((0, 4)) if reading.quadrants is None else reading.quadrants
        new["tiles"] = np.empty((0, 0)) if reading.tiles is None or spotty else reading.tiles.ratio
        self._arrays = {name: value.astype(np.float32) for name, value in new.items()}

    def _take_levels(self, reading: Reading, monitor: float) -> None:
        self._level = _followed(self._level, reading.level, _RATE)
        if reading.curve.width > 0:  # the mean of the logarithm: errors are large upwards
            old, new = np.log([self._width, reading.curve.width])
            self._width = float(np.exp(_followed(float(old), float(new), max(_RATE, 1.0 / (self._n + 1)))))
        if monitor == monitor:
            self._monitor = _followed(self._monitor, monitor, _RATE)
            self._monitor_now = _followed(self._monitor_now, monitor, _DRIFT_RATE)
            if self._n < _STARTS:
                self._monitor_start = _followed(self._monitor_start, monitor, 1.0 / (self._n + 1))

    def _blend(self, name: str, axis: Float, y: Float, rate: float) -> None:
        old = self._arrays[name].astype(np.float64)
        if old.size != y.size:
            y = np.interp(self._arrays["axis"], axis, y)
        self._arrays[name] = (old + rate * (y - old)).astype(np.float32)

    def _blend_tiles(self, tiles: TileView) -> None:
        old = self._arrays["tiles"].astype(np.float64)
        if old.shape == tiles.ratio.shape:
            mixed = np.where(np.isfinite(old), old + _RATE * (tiles.ratio - old), tiles.ratio)
            self._arrays["tiles"] = np.where(np.isfinite(mixed), mixed, old).astype(np.float32)
        elif not old.size:  # the readings before were spotty
            self._arrays["tiles"] = tiles.ratio.astype(np.float32)

    def _on(self, axis: Float, name: str) -> Float:
        """Return a stored pattern on the axis of a reading."""
        stored = self._arrays[name].astype(np.float64)
        if stored.size == axis.size and abs(float(self._arrays["axis"][0]) - axis[0]) < 1e-5 * abs(axis[-1]):
            return stored
        return np.interp(axis, self._arrays["axis"].astype(np.float64), stored)

    # -- stored state -------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return the state."""
        return {
            "numbers": [
                self._level, self._monitor, self._monitor_start, self._monitor_now, self._scale, self._zero,
                self._strain, self._first_level, *self._base, self._width,
                self._line_at,
            ],
            "counts": [self._n, self._strange, int(self._iced)],
            "arrays": {k: [list(v.shape), v.astype("<f4").tobytes()] for k, v in self._arrays.items()},
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`snapshot` gave."""
        (
            self._level, self._monitor, self._monitor_start, self._monitor_now, self._scale, self._zero,
            self._strain, self._first_level, *rest,
        ) = (float(v) for v in state["numbers"])  # fmt: skip
        self._base, self._width, self._line_at = (rest[0], rest[1]), rest[2], rest[3]
        self._n, self._strange, iced = (int(v) for v in state["counts"])
        self._iced = bool(iced)
        self._arrays = {
            k: np.frombuffer(data, "<f4").reshape(shape).astype(np.float32)
            for k, (shape, data) in state["arrays"].items()
        }


def _followed(old: float, new: float, rate: float) -> float:
    return new if old != old else old + rate * (new - old)
