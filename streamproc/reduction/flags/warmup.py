"""Compile what judges frames before the first one comes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.patterns import read_pattern
from streamproc.reduction.flags.reader import FrameReader
from streamproc.reduction.flags.settings import FlagSettings
from streamproc.reduction.flags.watch import FlagWatch

__all__ = ["warm_up"]

Float = npt.NDArray[np.float64]

_PLACES = 2000
"""Places along the radius of an image at which lines are calculated."""


def warm_up(settings: FlagSettings, reader: FrameReader | None = None) -> None:
    """Judge a few patterns, or images, so that no live one waits for what is compiled at first use.

    Parameters
    ----------
    settings : FlagSettings
        Thresholds.
    reader : FrameReader, optional
        Given where frames are images.
    """
    watch = FlagWatch(settings)
    if reader is None:
        axis = np.linspace(10.0, 60.0, 500)
        for y in _scan((axis - axis[0]) / (axis[-1] - axis[0])):
            watch.take(read_pattern(axis, y, "two_theta_deg", 1.5, settings))
        return
    reader.warm_up()
    rows, columns = reader.plan.shape
    away = np.hypot(np.arange(rows)[:, None] / rows - 0.5, np.arange(columns) / columns - 0.5)
    place = np.minimum((away * _PLACES).astype(np.int32), _PLACES - 1)
    noise = np.resize(np.random.default_rng(0).integers(0, 30, 4099, np.uint16), (rows, columns))
    for y in _scan(np.arange(_PLACES) / _PLACES):
        watch.take(reader.read(y.astype(np.uint16)[place] + noise)[0])  # rows without noise were not read


def _scan(x: Float) -> Iterator[Float]:
    """Lines along ``x`` (0 to 1) that grow, are joined by another, and move."""
    for scale, lines, moved in ((1.0, 3, 0.0), (1.01, 3, 0.0), (1.02, 3, 0.0), (1.0, 4, 0.0), (1.0, 3, 0.01)):
        at = np.array([0.2, 0.42, 0.68, 0.55])[:lines] + moved
        yield scale * (100.0 + sum(1e3 * np.exp(-(((x - centre) / 0.004) ** 2)) for centre in at))
