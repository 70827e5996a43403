"""Training library of cakes: texture and grains of a sample, seen by several detectors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from streamproc.models.defects.cake.detector import seen_by_detectors
from streamproc.models.defects.cake.fibre import cosines_to_axis, pole_density, ring_cosines
from streamproc.models.defects.cake.heights import AZIMUTHS
from streamproc.models.defects.cake.ranges import CAKE_TARGETS, CakeRanges, Scene, draw_scene, targets_of
from streamproc.models.defects.cake.rings import LEAST_RINGS, Rings
from streamproc.models.defects.cake.statistics import points_of
from streamproc.models.defects.spotty import draw_spots

__all__ = ["LOOKS", "CakeLibrary", "CakeSystem", "build_cakes", "densities", "draw_cake"]

Array = npt.NDArray[np.float64]

LOOKS = 4
"""Detectors that each sample is seen by."""

_BLOCK = 64
_FINE = 5
"""Bins drawn per cell: 0.5 degrees each."""

_ANGLES = np.linspace(0, np.pi / 2, 46)


@dataclass(frozen=True, slots=True)
class CakeSystem:
    """What a cake model is for: the rings of one material, and the ranges of training."""

    rings: Rings
    ranges: CakeRanges = field(default_factory=CakeRanges)


@dataclass(frozen=True, slots=True, eq=False)
class CakeLibrary:
    """Drawn cakes.

    Attributes
    ----------
    x : ndarray of float32, shape (n, points)
        Statistics of the rings, what the network reads.
    targets : ndarray of float32, shape (n, k)
        True values.
    odd : ndarray of float32, shape (n,)
        Of :class:`~streamproc.models.defects.cake.statistics.Statistics`.
    """

    x: npt.NDArray[np.float32] = field(repr=False)
    targets: npt.NDArray[np.float32] = field(repr=False)
    odd: npt.NDArray[np.float32] = field(repr=False)

    def __len__(self) -> int:
        return len(self.x)

    def sha256(self) -> str:
        """Return a hash of the contents."""
        return hashlib.sha256(self.x.tobytes() + self.targets.tobytes()).hexdigest()


def densities(rings: Rings, scene: Scene, azimuth_rad: Array) -> Array:
    """Return the pole densities over the rings, shape (rings, n), in multiples of random."""
    if scene.march_r == 1.0:
        return np.ones((len(rings.hkl), len(azimuth_rad)))
    sines = np.minimum(scene.sine * rings.q_invA / rings.q_invA[0], 0.999)
    rows = []
    for members, sine in zip(rings.members, sines, strict=True):
        half = cosines_to_axis(members[: len(members) // 2], scene.axis)  # their opposites say the same
        course = pole_density(half, np.cos(_ANGLES), scene.march_r)
        psi = np.arccos(
            np.minimum(np.abs(ring_cosines(sine, azimuth_rad, scene.tilt_rad, scene.turn_rad)), 1)
        )
        rows.append(np.interp(psi, _ANGLES, course))
    return np.array(rows)


def draw_cake(rng: np.random.Generator, rings: Rings, scene: Scene) -> Array:
    """Draw texture and grains, shape (rings, AZIMUTHS); 1 on average without texture."""
    n = AZIMUTHS * _FINE
    azimuth = (np.arange(n) + 0.5) * 2 * np.pi / n
    sines = np.minimum(scene.sine * rings.q_invA / rings.q_invA[0], 0.999)
    chance = rings.multiplicity * np.sqrt(1 - sines**2)
    expected = scene.spots * chance / chance[0]
    fine = draw_spots(rng, expected, densities(rings, scene, azimuth), scene.spot_deg, scene.size_sigma)
    return np.asarray(fine.reshape(len(fine), AZIMUTHS, _FINE).mean(-1))


def build_cakes(
    system: CakeSystem, rows: int, seed: int, progress: Callable[[int], None] = lambda done: None
) -> CakeLibrary:
    """Draw samples and what ``LOOKS`` detectors see of each, up to ``rows`` in all; one seed, one library.

    What too few rings are seen of is left out, as the service leaves it unread.
    """
    rings, samples = system.rings, -(-rows // LOOKS)
    x = np.zeros((samples * LOOKS, points_of(len(rings.hkl))), np.float32)
    targets = np.zeros((samples * LOOKS, len(CAKE_TARGETS)), np.float32)
    enough, odd = np.zeros(samples * LOOKS, bool), np.zeros(samples * LOOKS, np.float32)
    for first in range(0, samples, _BLOCK):
        rows_of = range(first, min(first + _BLOCK, samples))
        scenes, cakes = [], []
        for row in rows_of:
            rng = np.random.default_rng([seed, 0, row])
            scenes.append(draw_scene(rng, system.ranges))
            cakes.append(draw_cake(rng, rings, scenes[-1]))
        part = slice(first * LOOKS, (first + len(rows_of)) * LOOKS)
        many = np.repeat(np.array(cakes), LOOKS, 0)
        sines = np.repeat([scene.sine for scene in scenes], LOOKS)
        rng = np.random.default_rng([seed, 1, first])
        read = seen_by_detectors(rng, many, sines, rings, system.ranges)
        x[part], enough[part], odd[part] = read.x, read.seen.sum(-1) >= LEAST_RINGS, read.odd
        targets[part] = np.repeat([targets_of(scene) for scene in scenes], LOOKS, 0)
        for done in range(part.start, min(part.stop, rows)):
            progress(done + 1)
    kept = np.flatnonzero(enough)[:rows]
    return CakeLibrary(x[kept], targets[kept], odd[kept])
