"""RunReference: the run's own level, pattern, quadrants and tiles, and how a reading differs from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.against import AGREES
from streamproc.reduction.flags.beam import beam_of, far_shifts
from streamproc.reduction.flags.compared import COMPARED, Compared
from streamproc.reduction.flags.curve import Curve
from streamproc.reduction.flags.newlines import shaded_share
from streamproc.reduction.flags.reading import Evidence, Reading
from streamproc.reduction.flags.within import FAR, Fit, Known, Within, look_within, taken_in

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
_ALIKE = 0.95
_SURE = 0.01
"""Sigma of the zero over a line's width, up to which a new reference carries no error along."""

_NAN = float("nan")


class RunReference:
    """The run so far, from its readings that were not bad. Arrays are stored as float32, and in memory hold
    numbers that are rounded so."""

    def __init__(self) -> None:
        self._level = self._monitor = self._monitor_start = self._monitor_now = _NAN
        self._scale, self._first_level = 1.0, _NAN
        self._zero = self._strain = 0.0
        self._base = (1.0, 0.0)  # scale and zero of the reference against the first one of the run
        self._n = self._strange = 0
        self._arrays: dict[str, Float] = {}
        self._found: Fit | None = None
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

    def compare(self, reading: Reading) -> Compared:
        """Return what a reading shows against the run."""
        numbers = dict.fromkeys(COMPARED, _NAN)
        if not self._n:
            return Compared(numbers, reading)
        self._known, curve, scale = False, reading.curve, 1.0
        seen = look_within(reading, self._known_to(reading))
        found = self._found = seen.found
        if found.agreement >= AGREES and found.scale > 0 and self._n >= _STARTS:
            scale = self._base[0] * self._drifted(found, reading)
            numbers["i0_drift"] = abs(scale - 1.0)
        numbers["spotty"] = seen.spotty
        numbers["zero_drift"], beam = self._zero_drift(reading, seen)
        if self._asks_ice(reading):
            numbers["ice_rings"], self._iced = seen.ice, seen.ice >= 0.5
        share, a, b = seen.line
        self._line_at = float(curve.axis[(a + b) // 2]) if share > 0 else _NAN
        numbers["parasitic_rings"] = share
        numbers["shadow"], dark = self._shadow(reading, seen)
        return Compared(numbers, reading, seen, scale, self._base[1] + found.zero, beam, dark)

    def _known_to(self, reading: Reading) -> Known:
        """What the run knows, as far as this reading can be compared with it."""
        axis, quadrants, tiles = reading.curve.axis, self._arrays["quadrants"], self._arrays["tiles"]
        if reading.quadrants is None or quadrants.shape != reading.quadrants.shape:
            quadrants = quadrants[:0]
        if reading.tiles is None or tiles.shape != reading.tiles.ratio.shape:
            tiles = tiles[:0]
        first, recent = self._on(axis, self._arrays["first"], self._arrays["recent"])
        return Known(
            first, recent, quadrants, tiles, self._zero, self._strain,
            _FOLLOWING + (1 - _FOLLOWING) * (1 - _RATE) ** (2 * self._n - 2),
            self._line_width(reading.curve),
            int(np.searchsorted(axis, self._line_at)) if self._line_at == self._line_at else -1,
            self._asks_ice(reading), self._iced,
        )  # fmt: skip

    def _asks_ice(self, reading: Reading) -> bool:
        return reading.ice_places is not None and self._n >= _STARTS

    def _line_width(self, curve: Curve) -> float:
        """Width of a line over the run (channels): one weak reading alone may say three times as much."""
        return self._width if self._width == self._width else curve.width

    def _drifted(self, found: Fit, reading: Reading) -> float:
        """Return by how much lines and mean have changed, whichever is less, a mean over some readings.

        A line more moves the mean, a line that broadens its height; the beam moves both.
        """
        mean = reading.level / self._first_level if self._first_level > 0 else found.scale
        now = min(found.scale, mean, key=lambda v: abs(v - 1.0))
        return self._scale + _DRIFT_RATE * (now - self._scale)

    def _zero_drift(self, reading: Reading, seen: Within) -> tuple[float, tuple[float, ...]]:
        """Shift of all lines, or of the beam, over a line's width, and the beam's where it is known."""
        curve, found = reading.curve, seen.found
        width = self._line_width(curve) * curve.step
        if not width > 0:
            return _NAN, ()
        zero, agrees = self._base[1] + found.zero, found.agreement >= AGREES
        along = max(abs(zero) - 3 * found.zero_sigma, 0.0)
        before = self._arrays["quadrants"]
        if reading.quadrants is None or before.shape != reading.quadrants.shape:
            return (along / width if agrees else _NAN), ()
        right, up, sigma = seen.beam
        if found.agreement < FAR:
            shifts = far_shifts(
                curve.axis, reading.slope, before, reading.quadrants, curve.variance,
                (self._zero, self._strain), self._line_width(curve),
            )  # fmt: skip
            right, up, sigma = beam_of(shifts, True)
        if not sigma < math.inf:
            return (along / width if agrees else _NAN), (right, up)
        self._known = True
        beam = max(math.hypot(right, up) - 3 * sigma, 0.0)
        return max(along if agrees else 0.0, beam) / width, (right, up)

    def _shadow(self, reading: Reading, seen: Within) -> tuple[float, tuple[int, ...]]:
        """Share of the tiles (or blocks of the axis) that have become darker than the rest; channels of these
        blocks."""
        tiles = reading.tiles
        if tiles is None:
            curve = reading.curve
            share, starts = shaded_share(curve.y, curve.variance, seen.moved, self._line_width(curve))
            block = max(curve.y.size // 16, 1)
            return share, tuple(i for s in starts for i in range(s, min(s + block, curve.y.size)))
        if self._arrays["tiles"].shape != tiles.ratio.shape:
            return _NAN, ()
        if seen.darker is None:
            return 0.0, ()
        return float(tiles.used[seen.darker].sum()) / max(float(tiles.used.sum()), 1.0), ()

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
            if found.agreement >= FAR or reading.quadrants is None:
                self._zero, self._strain = found.zero, found.strain
            self._strange = 0
            self._scale = self._drifted(found, reading)
        elif not self._known:
            self._strange += 1
        self._n += 1
        self._blend(reading, _SLOW_RATE if doubtful else _RATE, spotty)
        if self._strange >= (_REBASE_DOUBTFUL if doubtful else _REBASE_AFTER):
            self._begin(reading, spotty)
        elif self._slowly(found, reading) and not doubtful:  # go on from here before it is strange
            kept = self._arrays["recent"]
            self._begin(reading, spotty)
            self._arrays["recent"] = kept if kept.size == curve.y.size else self._arrays["recent"]

    def _slowly(self, found: Fit | None, reading: Reading) -> bool:
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
        self._arrays = {name: value.astype(np.float32).astype(np.float64) for name, value in new.items()}

    def _take_levels(self, reading: Reading, monitor: float) -> None:
        self._level = _followed(self._level, reading.level, _RATE)
        if reading.curve.width > 0:  # the mean of the logarithm: errors are large upwards
            old, new = math.log(self._width), math.log(reading.curve.width)
            self._width = math.exp(_followed(old, new, max(_RATE, 1.0 / (self._n + 1))))
        if monitor == monitor:
            self._monitor = _followed(self._monitor, monitor, _RATE)
            self._monitor_now = _followed(self._monitor_now, monitor, _DRIFT_RATE)
            if self._n < _STARTS:
                self._monitor_start = _followed(self._monitor_start, monitor, 1.0 / (self._n + 1))

    def _blend(self, reading: Reading, rate: float, spotty: bool) -> None:
        """Move the mean of the newest readings by ``rate`` towards this one, and that of their tiles."""
        recent, tiles, y = self._arrays["recent"], self._arrays["tiles"], reading.curve.y
        if recent.size != y.size:
            y = np.interp(self._arrays["axis"], reading.curve.axis, y)
        ratio = tiles if reading.tiles is None or spotty else reading.tiles.ratio
        if not tiles.size and ratio.size:  # the readings before were spotty
            self._arrays["tiles"] = ratio.astype(np.float32).astype(np.float64)
        taken_in(recent, y, rate, tiles, ratio if ratio.shape == tiles.shape else tiles, _RATE)

    def _on(self, axis: Float, *stored: Float) -> tuple[Float, ...]:
        """Return stored patterns on the axis of a reading."""
        own = self._arrays["axis"]
        if own.size == axis.size and abs(own.item(0) - axis.item(0)) < 1e-5 * abs(axis.item(-1)):
            return stored
        return tuple(np.interp(axis, own, y) for y in stored)

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
            k: np.frombuffer(data, "<f4").reshape(shape).astype(np.float64)
            for k, (shape, data) in state["arrays"].items()
        }


def _followed(old: float, new: float, rate: float) -> float:
    return new if old != old else old + rate * (new - old)
