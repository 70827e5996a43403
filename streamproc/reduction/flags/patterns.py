"""PatternReader: from a 1-D pattern that no image of ours stands behind to its :class:`Reading`."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.against import strain_slope
from streamproc.reduction.flags.curve import describe_curve
from streamproc.reduction.flags.lines import channel_faults, ice_places, ice_rings, negative_share
from streamproc.reduction.flags.reading import Reading
from streamproc.reduction.flags.said import axis_said
from streamproc.reduction.flags.settings import FlagSettings

__all__ = ["PatternReader"]

Float = npt.NDArray[np.float64]

_NAN = float("nan")


class _Axis(NamedTuple):
    """What is known of an axis before its pattern comes: where lines of ice are, what strain does there."""

    kind: str
    wavelength_A: float | None
    values: Float
    ice_places: Float
    slope: Float


class PatternReader:
    """Reads 1-D patterns that no image of ours stands behind. Safe among threads.

    Parameters
    ----------
    settings : FlagSettings, optional
        Limit of the counter; default: a flat top is one.
    """

    def __init__(self, settings: FlagSettings | None = None) -> None:
        self._saturation = None if settings is None else settings.saturation
        self._last: _Axis | None = None
        """Axis of the pattern before: mostly that of the next one too."""

    def read(self, axis: Float, y: Float, axis_kind: str, wavelength_A: float | None) -> Reading:
        """Read a pattern.

        Parameters
        ----------
        axis, y : ndarray of float64, shape (n,)
            Rising axis and intensity, finite.
        axis_kind : {"two_theta_deg", "q_invA"}
            Its axis.
        wavelength_A : float or None
            Needed for the ice lines on a 2theta axis.
        """
        # What cannot be written to, as frames, is another type to the compiler; one is compiled at the start.
        axis, y = (np.require(values, np.float64, ("C", "W")) for values in (axis, y))
        known, n = self._known(axis, axis_kind, wavelength_A), y.size
        curve = describe_curve(known.values, y)
        faults = channel_faults(curve, self._saturation)
        if faults.spikes:
            curve = curve._replace(y=_bridged(curve.y, faults.spikes))
        ice, tops = ice_rings(curve, known.ice_places)
        numbers = {
            "saturated": len(faults.flat_top) / n, "dead": len(faults.dead) / n, "hot": _NAN,
            "ice_rings": ice, "spikes": float(len(faults.spikes)), "spotty": _NAN, "shadow": _NAN,
            "over_exposed_dark": negative_share(curve), "missing_rows": _NAN,
        }  # fmt: skip
        evidence = {
            name: axis_said(axis, channels)
            for name, channels in (
                ("saturated", faults.flat_top), ("dead", faults.dead), ("ice_rings", tops),
                ("spikes", faults.spikes),
            )
            if numbers[name] > 0
        }  # fmt: skip
        checksum = zlib.crc32(y.data) | zlib.adler32(y.data) << 32
        constant = bool(y.max() == y.min())
        level = float(curve.y.mean())  # without spikes
        return Reading(
            numbers, evidence, checksum, level, curve, known.slope, constant, used=n,
            ice_places=known.ice_places,
        )  # fmt: skip

    def _known(self, axis: Float, kind: str, wavelength_A: float | None) -> _Axis:
        last = self._last
        if last is None or (kind, wavelength_A) != last[:2] or not np.array_equal(axis, last.values):
            places, slope = ice_places(kind, wavelength_A), strain_slope(axis, kind)
            self._last = last = _Axis(kind, wavelength_A, axis.copy(), places, slope)
        return last


def _bridged(y: Float, channels: list[int]) -> Float:
    """Return a pattern with single channels replaced by the mean of their neighbours."""
    y, at = y.copy(), np.asarray(channels)
    y[at] = 0.5 * (y[np.maximum(at - 1, 0)] + y[np.minimum(at + 1, y.size - 1)])
    return y
