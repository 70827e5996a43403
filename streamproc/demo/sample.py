"""The demo's sample: a known composition map, the truth every answer of the demo is compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["MOTORS", "PHASES", "SamplePoint", "composition", "grid_points", "grid_shape"]

PHASES = ("corundum", "zincite", "fluorite", "brucite")
"""Phases of the sample, in the order of every fraction vector of this package."""

MOTORS = ("sample_x", "sample_y")
"""Names of the two sample motors (mm)."""

_HALF_WIDTH_MM = 5.0
_MAX_ASPECT = 2.0
_BOUNDARY_WIDTH = 0.12
_CONTRAST = 1.3


@dataclass(frozen=True, slots=True)
class SamplePoint:
    """One point of the map: its number (from 0), where it lies (mm), and its weight fractions (sum 1)."""

    index: int
    x_mm: float
    y_mm: float
    fractions: tuple[float, ...]


def grid_shape(points: int) -> tuple[int, int]:
    """Choose rows and columns of a near-square grid that holds ``points``.

    An exact rectangle is taken when one with sides no more than 2:1 exists, else the smallest near-square
    grid, whose last row then stays incomplete.

    Returns
    -------
    rows, columns : int
        ``rows * columns >= points``.

    Raises
    ------
    ValueError
        For fewer than one point.
    """
    if points < 1:
        raise ValueError(f"a map needs at least 1 point, got {points}")
    rows = next(r for r in range(math.isqrt(points), 0, -1) if points % r == 0)
    if points // rows <= _MAX_ASPECT * rows:
        return rows, points // rows
    columns = math.ceil(math.sqrt(points))
    return math.ceil(points / columns), columns


def composition(x_mm: npt.ArrayLike, y_mm: npt.ArrayLike, seed: int) -> npt.NDArray[np.float64]:
    """Return the weight fractions at places of the sample.

    Two regions meet at a bent boundary: corundum and zincite on one side, fluorite and brucite on the other.
    Within each the composition changes smoothly. The map is a function of place and seed alone, so a
    finer scan sees the same sample.

    Parameters
    ----------
    x_mm, y_mm : array_like
        Places on the sample (mm), of one common shape.
    seed : int
        Chooses the sample.

    Returns
    -------
    ndarray, shape (..., 4)
        Weight fractions in the order of :data:`PHASES`; they sum to 1.
    """
    u = np.asarray(x_mm, dtype=np.float64) / _HALF_WIDTH_MM
    v = np.asarray(y_mm, dtype=np.float64) / _HALF_WIDTH_MM
    rng = np.random.default_rng([seed, 0x5A])
    angle, bend, offset = rng.uniform(-0.6, 0.6), rng.uniform(0.15, 0.35), rng.uniform(-0.2, 0.2)
    along = u * math.cos(angle) + v * math.sin(angle)
    across = v * math.cos(angle) - u * math.sin(angle)
    side = np.tanh((along - offset - bend * np.sin(2.2 * across)) / _BOUNDARY_WIDTH)
    left, right = _wave(u, v, rng), _wave(u, v, rng)
    logits = np.stack([left - side, -left - side, right + side, -right + side], axis=-1) * _CONTRAST
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def grid_points(points: int, seed: int) -> list[SamplePoint]:
    """Return exactly ``points`` places in snake order with their fractions (x is the fast axis)."""
    rows, columns = grid_shape(points)
    xs, ys = _axis(columns), _axis(rows)
    places: list[tuple[float, float]] = []
    for row, y in enumerate(ys):
        ordered: Sequence[float] = xs if row % 2 == 0 else xs[::-1]
        places.extend((x, y) for x in ordered)
    places = places[:points]
    fractions = composition([x for x, _ in places], [y for _, y in places], seed)
    return [SamplePoint(i, x, y, tuple(float(f) for f in fractions[i])) for i, (x, y) in enumerate(places)]


def _axis(n: int) -> list[float]:
    """Return ``n`` positions over the sample, rounded to a motor's resolution (mm)."""
    return [round(float(p), 4) for p in (np.linspace(-0.9, 0.9, n) * _HALF_WIDTH_MM if n > 1 else [0.0])]


def _wave(
    u: npt.NDArray[np.float64], v: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return one smooth field with values in [-1, 1] over the unit square, near zero at its centre."""
    direction, phase = rng.uniform(0.0, 2.0 * math.pi), rng.uniform(-0.4, 0.4)
    k = rng.uniform(1.4, 2.2)
    return np.asarray(np.sin(k * (u * math.cos(direction) + v * math.sin(direction)) + phase))
