"""Compared: what the comparison of a reading with its run says of each kind, and where it shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags import record
from streamproc.reduction.flags.reading import Evidence, Reading
from streamproc.reduction.flags.said import axis_said, boxes_said
from streamproc.reduction.flags.tiles import TILE_ROWS

__all__ = ["COMPARED", "Compared"]

COMPARED = ("i0_drift", "zero_drift", "parasitic_rings", "shadow", "ice_rings", "spotty")
"""Kinds that the comparison with the run tells, or tells as well."""

_NOTHING = (float("nan"),) * record.OF_READING


class Compared(NamedTuple):
    """What is found. Evidence is made only when it is asked for: mostly no flag is up.

    Attributes
    ----------
    reading : Reading
        What was compared.
    found : sequence of float
        As :mod:`~streamproc.reduction.flags.record` says; the first are the numbers of ``COMPARED``, NaN
        where a kind cannot be judged, as for the first reading of a run.
    base_zero : float
        Zero of the reference against that of the run's start (unit of the axis).
    tops : ndarray of int64
        Channels of ice are the first of these.
    grains : list of int
        First and last channel of the line that tells that it is spotty.
    darker : ndarray of bool, or None
        Tiles that have become darker; None: there are none.
    dark : tuple of int
        Channels of a pattern that have lost their floor.
    """

    reading: Reading
    found: Sequence[float] = _NOTHING
    base_zero: float = 0.0
    tops: npt.NDArray[np.int64] | None = None
    grains: Sequence[int] = ()
    darker: npt.NDArray[np.bool_] | None = None
    dark: tuple[int, ...] = ()

    def evidence(self, name: str) -> Evidence:
        """Return the evidence of a kind whose number is known."""
        found, axis = self.found, self.reading.curve.axis
        if self.tops is None:
            return {}
        match name:
            case "i0_drift":
                return {"by": "pattern", "scale": found[record.TOTAL_SCALE]}
            case "spotty":
                return {"axis": [[float(axis[i]) for i in self.grains]], "by": "run"}
            case "zero_drift":
                shift, beam = (
                    self.base_zero + found[record.SEEN_ZERO],
                    list(found[record.RIGHT : record.UP + 1]),
                )
                told = {
                    "shift": shift,
                    "sigma": found[record.ZERO_SIGMA],
                    "strain": found[record.SEEN_STRAIN],
                }
                return told | ({"beam": beam} if beam[0] == beam[0] else {})
            case "ice_rings":
                return axis_said(axis, self.tops[: int(found[record.ICE_TOPS])].tolist())
            case "parasitic_rings":
                return axis_said(
                    axis, list(range(int(found[record.LINE_FIRST]), int(found[record.LINE_LAST]) + 1))
                )
            case _:
                return self._shadow()

    def _shadow(self) -> Evidence:
        if self.reading.tiles is None:
            return axis_said(self.reading.curve.axis, list(self.dark))
        if self.darker is None:
            return {}
        return boxes_said(np.repeat(self.darker, TILE_ROWS, axis=0), self.reading.columns)
