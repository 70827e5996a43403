"""The rings of a frame again, without isolated high pixels: a hit is neither a line nor a grain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.parts import PartedPlan, Parts, read_only
from streamproc.reduction.flags.rings import spottiness, view_rings
from streamproc.reduction.passes import Constants

__all__ = ["WithoutHits", "spotty_without", "without_hits"]

Float = npt.NDArray[np.float64]

_SAME_LINES = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class WithoutHits:
    """Parts and sturdy rings without high pixels."""

    parts: Parts
    rings: Float


def without_hits(
    parted: PartedPlan, parts: Parts, cells: Constants, image: npt.NDArray[Any], high: npt.NDArray[np.int64],
    rings: Float,
) -> WithoutHits:  # fmt: skip
    """Take pixels out of one image's parts.

    Parameters
    ----------
    parted : PartedPlan
        Rings and parts of each pixel.
    parts, rings
        Of the image, with them.
    cells : Constants
        The table, with the dark that was subtracted.
    image : ndarray, shape (n_pixels,)
        Raw values.
    high : ndarray of int64
        Flat indices of used pixels.
    """
    place, values = parted.cell_of(high), image[high].astype(np.float64)
    net = values if cells.dark is None else values - cells.dark.mean[high]
    copied = {n: getattr(parts, n).copy() for n in ("signal", "variance", "norm", "counts")}
    for name, less in (
        ("signal", net), ("variance", np.maximum(values, 0)), ("norm", cells.norm[high]), ("counts", 1.0)
    ):  # fmt: skip
        np.subtract.at(copied[name].reshape(-1), place, less)
    copied |= {n: read_only(copied[n]) for n in ("norm", "counts")}
    found = replace(parts, **copied)
    sturdy = view_rings(found).sturdy[0]
    return WithoutHits(found, np.where(np.isfinite(sturdy), sturdy, rings))


def spotty_without(
    without: WithoutHits, rings: Float, floor: Float, spotty: float, limit: float
) -> tuple[float, tuple[int, int]] | None:
    """Return spottiness without high pixels, where they were hits and no grains; None: it stays as it is.

    Hits leave the middle mean of the quadrants (``rings``) as it was; grains are what lines are made of.
    Where no line stands out of that mean, so few grains may be left that a quadrant has none: then the mean
    of all tells.
    """
    if spotty != spotty:
        norm = without.parts.norm.sum(axis=1)
        mean = np.divide(without.parts.signal.sum(axis=1), norm, out=rings.copy(), where=norm > 0)
        found = spottiness(without.parts, mean, floor)
        return found if found[0] >= limit else None
    before, after = (np.maximum(r - floor, 0).sum() for r in (rings, without.rings))
    found = spottiness(without.parts, without.rings, floor)
    return found if after > _SAME_LINES * before and found[0] < limit else None
