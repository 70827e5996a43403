"""Compile what judges frames before the first one comes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from streamproc.reduction.azimuthal import AzimuthalPlan
from streamproc.reduction.calibration import Calibration
from streamproc.reduction.flags.grains import few_grains
from streamproc.reduction.flags.parts import PARTS
from streamproc.reduction.flags.patterns import PatternReader
from streamproc.reduction.flags.reader import FrameReader
from streamproc.reduction.flags.settings import FlagSettings
from streamproc.reduction.flags.watch import FlagWatch
from streamproc.reduction.geometry import geometry_from_calibration_md

__all__ = ["warm_up"]

Float = npt.NDArray[np.float64]

_PLACES = 2000
"""Places along the radius of an image at which lines are calculated."""

_SIDE, _RINGS = 128, 100
"""Pixels of a side, and rings of at most so many: each has enough pixels to be judged."""

_SIDE_OF_MANY = 1024
"""The same where so many rings are asked for that their numbers are of a wider type."""

_SHARP, _BROAD = 0.004, 0.012
"""Widths of the lines of patterns and of images, whose pixels are larger."""


def warm_up(settings: FlagSettings, calibration: Calibration | None = None) -> None:
    """Judge a few patterns, or images, so that no live one waits for what is compiled at first use.

    Parameters
    ----------
    settings : FlagSettings
        Thresholds.
    calibration : Calibration, optional
        Given where frames are images: how they become patterns. It need not know the geometry: the images
        are those of a small detector of its own, of the same types.
    """
    watch = FlagWatch(settings)
    if calibration is None:
        axis, patterns = np.linspace(10.0, 60.0, 500), PatternReader(settings)
        for y in _scan((axis - axis[0]) / (axis[-1] - axis[0]), _SHARP):
            watch.take(patterns.read(axis, y, "two_theta_deg", 1.5))
        shaded = np.where(axis > axis[axis.size // 2], 1.0, 0.5) * y  # and what few runs ask
        watch.take(patterns.read(axis, shaded, "two_theta_deg", 1.5))
        return
    reader = FrameReader(_small_plan(calibration), settings)
    reader.warm_up()
    rows, columns = reader.plan.shape
    away = np.hypot(np.arange(rows)[:, None] / rows - 0.5, np.arange(columns) / columns - 0.5)
    place = np.minimum((away * _PLACES).astype(np.int32), _PLACES - 1)
    noise = np.resize(np.random.default_rng(0).integers(0, 30, 4099, np.uint16), (rows, columns))
    for y in _scan(np.arange(_PLACES) / _PLACES, _BROAD):
        reading = reader.read(y.astype(np.uint16)[place] + noise)[0]  # rows without noise were not read
        watch.take(reading)
    curve, parts, there = reading.curve, reading.parts, reading.measured
    assert parts is not None
    # which the watch asks only where the lines have gone
    few_grains(*parts[:4], np.empty(0, np.bool_) if there is None else there, curve.y, curve.floor, curve.y)


def _small_plan(calibration: Calibration) -> AzimuthalPlan:
    """Return a plan of a few pixels whose frames need what those of any plan of this calibration need."""
    asked, correction = calibration.settings, calibration.correction
    many = asked.bins * PARTS >= np.iinfo(np.uint16).max
    side, pixel = (_SIDE_OF_MANY if many else _SIDE), 2e-4
    middle = 0.5 * side * pixel
    geometry = geometry_from_calibration_md(
        {
            "dist": 0.1, "poni1": middle, "poni2": middle, "rot1": 0.0, "rot2": 0.0, "rot3": 0.0,
            "pixel1": pixel, "pixel2": pixel, "wavelength": 5e-11, "detector": "detector",
        }
    )  # fmt: skip
    dark = correction.dark
    if dark is not None:
        dark = np.resize(dark, (side, side))
        dark.flags.writeable = False
    small = {
        "bins": asked.bins if many else min(asked.bins, _RINGS),
        "range_min": None, "range_max": None, "azimuth_bins": None, "shape": (side, side),
    }  # fmt: skip
    return replace(
        calibration,
        settings=asked.model_copy(update=small),
        geometry=geometry,
        correction=replace(
            correction, mask=None, flat=None, hot_pixels=None, hot_dark_above=None, saturation=None, dark=dark
        ),
    ).plan()


def _scan(x: Float, width: float) -> Iterator[Float]:
    """Lines along ``x`` (0 to 1) that grow, are joined by another, and move."""
    for scale, lines, moved in ((1.0, 3, 0.0), (1.01, 3, 0.0), (1.02, 3, 0.0), (1.0, 4, 0.0), (1.0, 3, 0.01)):
        at = np.array([0.2, 0.42, 0.68, 0.55])[:lines] + moved
        yield scale * (100.0 + sum(1e3 * np.exp(-(((x - centre) / width) ** 2)) for centre in at))
