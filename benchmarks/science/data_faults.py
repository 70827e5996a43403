"""Faults for :mod:`data_flags`: what goes wrong at a detector, put into sound frames and patterns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from streamproc.reduction.flags.lines import ICE_LINES_A

Array = np.ndarray[Any, Any]

FROM = 6
"""Reading (from 0) with which a fault begins."""


@dataclass(frozen=True)
class Scene:
    """A sound series: counts as expected, and how one reading is drawn from them.

    ``images`` are expected counts (n, rows, columns) or patterns (n, channels); ``axis`` is 2theta of each
    channel, or of each pixel of an image; ``valid`` False marks gaps, which hold ``gap``.
    """

    name: str
    images: Sequence[Array]
    axis: Array
    wavelength_A: float | None
    dtype: str
    limit: float
    valid: Array
    gap: float = -1.0
    dark: Array | None = None
    noisy: bool = True
    step: float = 1.0
    """Width of one channel, in the unit of ``axis``."""

    width: float = 3.0
    """Width of a line, in channels."""

    whole: bool = False
    """Readings are whole counts."""


@dataclass(frozen=True)
class Series:
    """Readings with what is wrong with each: kind or empty, and kinds of which nothing is asked there."""

    readings: list[Array]
    truth: list[str]
    darks: list[Array | None]


def drawn(scene: Scene, expected: Array, random: np.random.Generator) -> Array:
    """Draw a reading: counting noise, gaps, the type and limit of the detector."""
    if scene.noisy:
        counts = random.poisson(np.maximum(expected, 0)).astype(float)
    else:  # measured counts that a fault has scaled are not whole: up or down by chance, not always down
        counts = np.floor(expected + random.random(expected.shape)) if scene.whole else expected
    if scene.dark is not None:
        counts = counts + random.poisson(scene.dark)
    counts = np.minimum(counts, scene.limit)
    return np.where(scene.valid, counts, scene.gap).astype(scene.dtype)


Fault = Callable[[Scene, Array, int, np.random.Generator, dict[str, Any]], Array]
"""(scene, expected, readings since the fault began, chance, what the fault remembers) -> expected."""


def _once(memory: dict[str, Any], name: str, make: Callable[[], Any]) -> Any:
    if name not in memory:
        memory[name] = make()
    return memory[name]


class NoPlace(Exception):
    """The scene has no place for this fault."""


def lost(scene: Scene, y: Array, n: int, random: np.random.Generator, memory: dict[str, Any]) -> Array:
    """Lose 90 to 100 % of the beam."""
    return y * _once(memory, "left", lambda: random.choice([0.0, 0.003, 0.03, 0.1]))


def drift(scene: Scene, y: Array, n: int, random: np.random.Generator, memory: dict[str, Any]) -> Array:
    """Lose (or win) 3 % per reading, up to 45 %."""
    sign = _once(memory, "sign", lambda: random.choice([-1, 1]))
    return y * (1 + sign * min(0.03 * (n + 1), 0.45))


def ring(scene: Scene, at: float, width: float) -> Array:
    """Return a Gaussian line of height 1 at an angle."""
    return np.exp(-0.5 * ((scene.axis - at) / width) ** 2)


def ice(scene: Scene, y: Array, n: int, random: np.random.Generator, memory: dict[str, Any]) -> Array:
    """Add the rings of hexagonal ice, a fifth to five times the floor high."""
    usual = float(np.median(y))
    height = _once(memory, "height", lambda: usual * random.uniform(0.4, 4) + 15 * float(np.sqrt(usual)))
    width = _once(
        memory, "width", lambda: scene.step * min(scene.width, 4) / 2.355 * random.uniform(0.8, 1.2)
    )
    strain = _once(memory, "strain", lambda: random.uniform(-0.002, 0.001))
    out = y.copy()
    for spacing, strength in ICE_LINES_A:
        sine = scene.wavelength_A / (2 * spacing * (1 + strain))
        if sine < 1:
            out = out + height * strength * ring(scene, 2 * np.rad2deg(np.arcsin(sine)), width)
    return out


def parasite(scene: Scene, y: Array, n: int, random: np.random.Generator, memory: dict[str, Any]) -> Array:
    """Add one ring where the pattern is low, of 1 % of the area of all peaks at least: twice the limit."""

    def place() -> float:
        inside, floor = np.sort(scene.axis[scene.valid]), smooth_part(scene, y)
        for _ in range(1000):
            at = random.uniform(*np.quantile(inside, [0.1, 0.9]))
            near = np.abs(scene.axis - at) < 1.5 * scene.width * scene.step
            if y[near & scene.valid].max(initial=0) < 1.5 * floor[near & scene.valid].max(initial=0):
                return at
        raise NoPlace

    at, width = _once(memory, "at", place), scene.step * min(scene.width, 4) / 2.355
    height = _once(memory, "height", lambda: random.uniform(0.2, 0.6) * np.quantile(y[scene.valid], 0.999))
    least = _once(memory, "least", lambda: 0.01 * peak_area(scene, y) / (2.5066 * width))
    clear = 2 * np.median(y) + 8 * np.sqrt(np.median(y)) if y.ndim == 1 else 2 * np.median(y)
    return y + max(height, clear, least) * ring(scene, at, width)


def peak_area(scene: Scene, y: Array) -> float:
    """Return the area of all peaks of the pattern (of the means over the azimuth), in units of the axis."""
    axis, values = scene.axis[scene.valid], (y - smooth_part(scene, y))[scene.valid]
    bins = ((axis - axis.min()) / scene.step).astype(int)
    means = np.bincount(bins, values) / np.maximum(np.bincount(bins), 1)
    return float(np.maximum(means, 0).sum() * scene.step)


def spotty(scene: Scene, y: Array, n: int, random: np.random.Generator, memory: dict[str, Any]) -> Array:
    """Give each ring few grains: spots of two pixels, at random on the ring."""
    from scipy.ndimage import gaussian_filter

    floor = _once(memory, "floor", lambda: smooth_part(scene, y))
    share = _once(memory, "share", lambda: random.uniform(0.0007, 0.002))
    grains = (random.random(y.shape) < share) * random.exponential(1.0, y.shape)
    field = gaussian_filter(grains, 0.9)
    spots = np.where(y > 1.5 * floor, floor + (y - floor) * field / share, y)
    return np.minimum(spots, 0.8 * scene.limit)


def smooth_part(scene: Scene, y: Array) -> Array:
    """Return the floor below the rings: a low quantile over the azimuth and over neighbouring angles."""
    edges = np.linspace(scene.axis[scene.valid].min(), scene.axis[scene.valid].max(), 25)
    levels = [
        np.quantile(y[scene.valid & (scene.axis >= a) & (scene.axis <= b)], 0.1) for a, b in pairwise(edges)
    ]
    return np.interp(scene.axis, 0.5 * (edges[:-1] + edges[1:]), levels)


def shade(scene: Scene, y: Array, n: int, random: np.random.Generator, memory: dict[str, Any]) -> Array:
    """Take 45 to 80 % from part of the detector, or of the axis."""

    def made() -> Array:
        if y.ndim == 1:
            start, length = random.uniform(0.1, 0.6), random.uniform(0.14, 0.3)
            where = np.arange(y.size) / y.size
            return (where > start) & (where < start + length)
        rows, columns = np.indices(y.shape)
        angle, offset = random.uniform(0, 2 * np.pi), random.uniform(0.15, 0.35)
        far = np.cos(angle) * (rows / y.shape[0] - 0.5) + np.sin(angle) * (columns / y.shape[1] - 0.5)
        return far > offset

    where, left = _once(memory, "where", made), _once(memory, "left", lambda: random.uniform(0.2, 0.55))
    return np.where(where, y * left, y)


EXPECTED: dict[str, Fault] = {
    "beam_loss": lost, "i0_drift": drift, "ice_rings": ice, "parasitic_rings": parasite, "spotty": spotty,
    "shadow": shade,
}  # fmt: skip
"""Faults of what is expected."""


def saturate(scene: Scene, data: Array, n: int, random: np.random.Generator, memory: dict[str, Any]) -> Array:
    """Put a spot, a module (or the tops of the lines) at the limit."""
    out = data.copy()
    if data.ndim == 1:
        now = float(np.partition(data, -12)[-12])
        return np.minimum(out, min(_once(memory, "top", lambda: now), now))  # lines that broaden are lower
    size = _once(memory, "size", lambda: random.choice([6, 12, 64, 130]))
    row, column = _once(memory, "at", lambda: [random.integers(0, k - size) for k in data.shape])
    out[row : row + size, column : column + size] = scene.limit
    return np.where(scene.valid, out, data)


def dead(scene: Scene, data: Array, n: int, random: np.random.Generator, memory: dict[str, Any]) -> Array:
    """Take the counts of a module, or of every 300th pixel (of a stretch of channels)."""
    out = data.copy()
    if data.ndim == 1:
        start = _once(memory, "start", lambda: random.integers(20, data.size - 60))
        out[start : start + 20] = 0
        return out
    if _once(memory, "single", lambda: random.random() < 0.4 and np.quantile(data[scene.valid], 0.02) > 20):
        where = _once(memory, "pixels", lambda: random.random(data.shape) < 1 / 300)
    else:
        where = np.zeros(data.shape, bool)
        size = _once(memory, "size", lambda: random.choice([64, 100, 200]))
        row, column = _once(memory, "at", lambda: [random.integers(0, k - size) for k in data.shape])
        where[row : row + size, column : column + size] = True
    out[where & scene.valid] = 0
    return out


def hot(scene: Scene, data: Array, n: int, random: np.random.Generator, memory: dict[str, Any]) -> Array:
    """Make some pixels (always the same) or a module high."""
    out = data.copy()
    if _once(memory, "single", lambda: random.random() < 0.6):
        pixels = _once(memory, "pixels", lambda: random.choice(data.size, 60, replace=False))
        out.flat[pixels] = min(0.5 * scene.limit, 200 * np.median(data[scene.valid]) + 2000)
    else:
        size = _once(memory, "size", lambda: random.choice([130, 200]))
        row, column = _once(memory, "at", lambda: [random.integers(0, k - size) for k in data.shape])
        box = (slice(row, row + size), slice(column, column + size))
        out[box] = np.minimum(out[box] * 8.0 + 200, 0.9 * scene.limit).astype(out.dtype)
    return np.where(scene.valid, out, data)


def spike(scene: Scene, data: Array, n: int, random: np.random.Generator, memory: dict[str, Any]) -> Array:
    """Add hits of one to three pixels, always elsewhere."""
    out = data.astype(float)
    count = random.integers(12, 80) if data.ndim == 2 else random.integers(5, 9)
    pixels = random.choice(data.size - 4, count, replace=False)
    high = np.median(data[scene.valid])
    for pixel in pixels:
        length = random.integers(1, 4) if data.ndim == 2 else 1
        out.flat[pixel : pixel + length] += random.uniform(20, 200) * high + 500
    return np.where(scene.valid, np.minimum(out, 0.9 * scene.limit), data).astype(data.dtype)


def rows(scene: Scene, data: Array, n: int, random: np.random.Generator, memory: dict[str, Any]) -> Array:
    """Lose one row to a third of the frame."""
    out = data.copy()
    count = int(random.choice([1, 4, 30, data.shape[0] // 3]))
    start = random.integers(0, data.shape[0] - count)
    out[start : start + count] = np.where(scene.valid[start : start + count], 0, out[start : start + count])
    return out


DRAWN: dict[str, Fault] = {
    "saturated": saturate, "dead": dead, "hot": hot, "spikes": spike, "missing_rows": rows
}  # fmt: skip
"""Faults of the data as drawn."""


def _without_gaps(scene: Scene, y: Array, memory: dict[str, Any]) -> Array:
    """Return a frame whose gaps hold what lies at the same angle elsewhere: a beam that moves uncovers
    them."""
    if scene.noisy:
        return y  # what is expected is known behind the gaps
    order = _once(memory, "order", lambda: np.argsort(scene.axis[scene.valid], kind="stable"))
    angles, values = scene.axis[scene.valid][order], y[scene.valid][order]
    # a neighbour in angle, another one for each pixel: real counts with their noise
    at = np.searchsorted(angles, scene.axis[~scene.valid])
    at = np.clip(at + np.arange(at.size) * 7919 % 101 - 50, 0, angles.size - 1)
    out = y.copy()
    out[~scene.valid] = values[at]
    return out


def moved(scene: Scene, y: Array, memory: dict[str, Any], random: np.random.Generator) -> Array:
    """Move the beam on the detector, or all lines alike, by 0.4 to 1.5 of a line's width."""
    if y.ndim == 2:
        y = _without_gaps(scene, y, memory)
        pixel = float(np.abs(np.diff(scene.axis, axis=0)).max())

        def pixels() -> list[int]:
            angle, far = (
                random.uniform(0, 2 * np.pi),
                random.uniform(0.4, 1.5) * scene.width * scene.step / pixel,
            )
            return [round(max(far, 1.0) * v) for v in (np.cos(angle), np.sin(angle))]

        return np.roll(y, _once(memory, "by", pixels), (0, 1))
    shift = _once(memory, "by", lambda: random.uniform(0.4, 1.5) * random.choice([-1, 1]))
    at = np.arange(y.size) - shift * scene.width
    return np.interp(at, np.arange(y.size), y)


def with_fault(scene: Scene, kind: str, n: int, random: np.random.Generator) -> Series:
    """Draw ``n`` readings; from ``FROM`` on with a fault of ``kind`` (empty: none)."""
    readings: list[Array] = []
    truth: list[str] = []
    memory: dict[str, Any] = {}
    darks: list[Array | None] = [scene.dark] * n
    for k in range(n):
        y, since = scene.images[k % len(scene.images)], k - FROM
        there = bool(kind) and since >= 0
        if there and kind in EXPECTED:
            y = EXPECTED[kind](scene, y, since, random, memory)
        if there and kind == "zero_drift":
            y = moved(scene, y, memory, random)
        data = drawn(scene, y, random)
        if there and kind in DRAWN:
            data = DRAWN[kind](scene, data, since, random, memory)
        if there and kind == "stale":
            data = readings[-1].copy()
        if there and kind == "over_exposed_dark":
            base = np.zeros(y.shape) if scene.dark is None else scene.dark
            share = _once(memory, "share", lambda: random.choice([0.3, 1.0]))
            darks[k] = _once(memory, "dark", lambda y=y, base=base, s=share: base + random.poisson(s * y))
        readings.append(data)
        truth.append(kind if there else "")
    return Series(readings, truth, darks)


def thinned(scene: Scene, counts: Sequence[Array], random: np.random.Generator) -> Scene:
    """Return a scene that draws half of the measured counts by chance: real noise, new each time."""
    halves = [random.binomial(np.maximum(c, 0).astype(np.int64), 0.5).astype(float) for c in counts]
    return replace(scene, images=halves, noisy=False, whole=True)
