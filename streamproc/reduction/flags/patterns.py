"""A 1-D pattern that no image of ours stands behind, to its :class:`Reading`."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.against import strain_slope
from streamproc.reduction.flags.curve import describe_curve
from streamproc.reduction.flags.lines import channel_faults, ice_places, ice_rings, negative_share
from streamproc.reduction.flags.reading import Reading
from streamproc.reduction.flags.said import axis_said
from streamproc.reduction.flags.settings import FlagSettings

__all__ = ["read_pattern"]

Float = npt.NDArray[np.float64]

_NAN = float("nan")


def _bridged(y: Float, channels: list[int]) -> Float:
    """Return a pattern with single channels replaced by the mean of their neighbours."""
    y, at = y.copy(), np.asarray(channels)
    y[at] = 0.5 * (y[np.maximum(at - 1, 0)] + y[np.minimum(at + 1, y.size - 1)])
    return y


def read_pattern(
    axis: Float, y: Float, axis_kind: str, wavelength_A: float | None, settings: FlagSettings | None = None
) -> Reading:
    """Read a 1-D pattern that no image of ours stands behind.

    Parameters
    ----------
    axis, y : ndarray of float64, shape (n,)
        Rising axis and intensity, finite.
    axis_kind : {"two_theta_deg", "q_invA"}
        Its axis.
    wavelength_A : float or None
        Needed for the ice lines on a 2theta axis.
    settings : FlagSettings, optional
        Limit of the counter; default: a flat top is one.
    """
    saturation = None if settings is None else settings.saturation
    # What cannot be written to, as frames, is another type to the compiler; one is compiled at the start.
    axis, y = (np.require(values, np.float64, ("C", "W")) for values in (axis, y))
    curve = describe_curve(axis, y)
    faults = channel_faults(curve, saturation)
    if faults.spikes:
        curve = curve._replace(y=_bridged(curve.y, faults.spikes))
    places = ice_places(axis_kind, wavelength_A)
    ice, tops = ice_rings(curve, places)
    n, nan = y.size, _NAN
    numbers = {
        "saturated": len(faults.flat_top) / n, "dead": len(faults.dead) / n, "hot": nan, "ice_rings": ice,
        "spikes": float(len(faults.spikes)), "spotty": nan, "shadow": nan,
        "over_exposed_dark": negative_share(curve), "missing_rows": nan,
    }  # fmt: skip
    evidence = {
        name: axis_said(axis, channels)
        for name, channels in (
            ("saturated", faults.flat_top), ("dead", faults.dead), ("ice_rings", tops),
            ("spikes", faults.spikes),
        )
        if numbers[name] > 0
    }  # fmt: skip
    data = y.tobytes()
    checksum = zlib.crc32(data) | zlib.adler32(data) << 32
    constant = bool(y.max() == y.min())
    level = float(curve.y.mean())  # without spikes
    slope = strain_slope(axis, axis_kind)
    return Reading(numbers, evidence, checksum, level, curve, slope, constant, used=n, ice_places=places)
