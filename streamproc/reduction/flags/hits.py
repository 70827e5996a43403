"""The rings of a frame again, without isolated high pixels: a hit is neither a line nor a grain."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.parts import PartedPlan, Parts, read_only
from streamproc.reduction.flags.rings import spottiness, view_rings
from streamproc.reduction.passes import Constants

__all__ = ["MANY_HITS", "WithoutHits", "scattered", "spotty_without", "without_hits"]

Float = npt.NDArray[np.float64]

_SAME_LINES = 0.9

MANY_HITS = 24
"""Tracks whose places tell whether they are hits or grains."""

_EXPECTED = (0.5, 2.0)
"""Tracks that a group of neighbouring rings would hold by chance: for narrow lines, and for broad ones."""

_SIGMAS = 3.0


class WithoutHits(NamedTuple):
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
    found = parts._replace(**copied)
    sturdy = view_rings(found).sturdy[0]
    return WithoutHits(found, np.where(np.isfinite(sturdy), sturdy, rings))


def scattered(parted: PartedPlan, parts: Parts, high: npt.NDArray[np.int64]) -> bool | None:
    """Tell whether high pixels lie anywhere, as hits do, or on some rings, as grains do; None: too few.

    Hits fall on a group of rings by its share of the pixels. Their counts o in groups that expect e make
    sum (o - e)^2 / e, of mean 1 and variance 2 + 1 / e for each group (Poisson); grains leave most groups
    empty. No line need be known for that: without its grains it may be none, and with hits any ring may look
    like one.

    Parameters
    ----------
    parted : PartedPlan
        Ring of each pixel.
    parts : Parts
        Of the image.
    high : ndarray of int64
        Flat indices of the high pixels, rising; neighbours in a row are one track.
    """
    tracks = high[np.diff(high, prepend=-2) > 1]
    if tracks.size < MANY_HITS:
        return None
    pixels = parts.counts.sum(axis=1)
    expected = pixels * (tracks.size / pixels.sum())
    there = np.bincount(parted.bins[tracks], minlength=pixels.size + 1)[: pixels.size]
    for each in _EXPECTED:
        group = (np.cumsum(expected) / each).astype(np.int64)
        e, o = np.bincount(group, expected), np.bincount(group, there)
        o, e = o[e > 0], e[e > 0]
        if np.sum((o - e) ** 2 / e - 1.0) > _SIGMAS * np.sqrt(np.sum(2.0 + 1.0 / e)):
            return False
    return True


def spotty_without(
    parts: Parts, without: WithoutHits, rings: Float, floor: Float, spotty: float, limit: float,
    hits: bool | None,
) -> tuple[float, tuple[int, int]] | None:  # fmt: skip
    """Return spottiness without high pixels, where they were hits and no grains; None: it stays as it is.

    Hits (``hits`` is true) are taken out, and what is left tells. Grains (false) are what lines are made of:
    so few of them may be there that a quadrant has none, so the mean of all tells. Of a few high pixels
    (None) hits leave the middle mean of the quadrants (``rings``) as it was; where no line stands out of that
    mean, that of all tells again.
    """
    if hits:
        return None if spotty < limit else spottiness(without.parts, without.rings, floor)
    if spotty != spotty or hits is not None:
        kept = without.parts if hits is None else parts
        norm = kept.norm.sum(axis=1)
        mean = np.divide(kept.signal.sum(axis=1), norm, out=rings.copy(), where=norm > 0)
        found = spottiness(kept, mean, floor)
        return found if found[0] >= limit and not spotty >= limit else None
    before, after = (np.maximum(r - floor, 0).sum() for r in (rings, without.rings))
    found = spottiness(without.parts, without.rings, floor)
    return found if after > _SAME_LINES * before and found[0] < limit else None
