"""What training cakes look like, and what is asked of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from streamproc.models.defects.cake.fibre import texture_strength
from streamproc.models.defects.spotty import spottiness

__all__ = ["CAKE_TARGETS", "CakeRanges", "Scene", "draw_scene", "targets_of"]

Range = tuple[float, float]

CAKE_TARGETS = ("texture", "ln_spottiness", "ln_spots")
"""Strength of the fibre texture; logarithms of the relative scatter of the first ring's intensity that the
number of grains causes, and of how many grains diffract into that ring."""

_AXES = ((1, 1, 1), (1, 1, 0), (1, 0, 0))


@dataclass(frozen=True, slots=True)
class CakeRanges:
    """Ranges of training; pairs that span decades are logarithmic.

    Attributes
    ----------
    spots : tuple of float
        Grains that diffract into the first ring, on average and without texture.
    size_sigma : tuple of float
        Width of the log-normal distribution of grain diameters.
    spot_deg : tuple of float
        Width of a spot along the azimuth, standard deviation (degrees).
    march_r : tuple of float
        March parameter of the fibre; ``absent_share`` of the cakes have no texture.
    sine : tuple of float
        sin(theta) of the first ring.
    counts : tuple of float
        Counts in a cell of the strongest ring, on average.
    background : tuple of float
        Background of the line's zone over the strongest ring's height.
    gain : tuple of float
        Counts per photon, in ``gain_share`` of the cakes; 1 in the others.
    leak : float
        Share of the lines that lies in the zones of the background, at most.
    uneven : float
        Smooth unevenness over the azimuth that all rings have (absorption, polarisation, shadows), at most.
    strength_sigma : float
        Of the logarithm of a ring's strength about the structure's.
    """

    spots: Range = (20.0, 1e7)
    size_sigma: Range = (0.1, 0.5)
    spot_deg: Range = (0.1, 1.5)
    march_r: Range = (0.35, 1.9)
    absent_share: float = 0.35
    sine: Range = (0.03, 0.38)
    counts: Range = (20.0, 2e5)
    background: Range = (0.05, 5.0)
    gain: Range = (0.3, 20.0)
    gain_share: float = 0.3
    leak: float = 0.25
    uneven: float = 0.02
    strength_sigma: float = 0.1


@dataclass(frozen=True, slots=True)
class Scene:
    """One sample before the detector.

    Attributes
    ----------
    spots, size_sigma, spot_deg, march_r, sine
        As in :class:`CakeRanges`.
    axis : tuple of int
        Crystal axis that the fibre gathers.
    tilt_rad, turn_rad : float
        Angle of the fibre to the beam, and its azimuth.
    """

    spots: float
    size_sigma: float
    spot_deg: float
    march_r: float
    sine: float
    axis: tuple[int, int, int]
    tilt_rad: float
    turn_rad: float


def draw_scene(rng: np.random.Generator, ranges: CakeRanges) -> Scene:
    """Draw one sample: fibres across the beam (wires, tension), along it (films) and anywhere."""

    def log(both: Range) -> float:
        return float(np.exp(rng.uniform(*np.log(both))))

    kind = rng.random()
    if kind < 0.4:
        tilt = np.pi / 2 + np.deg2rad(rng.normal(0, 5))
    elif kind < 0.6:
        tilt = abs(np.deg2rad(rng.normal(0, 8)))
    else:
        tilt = np.arccos(rng.uniform(0, 1))
    march = 1.0 if rng.random() < ranges.absent_share else log(ranges.march_r)
    return Scene(
        log(ranges.spots), float(rng.uniform(*ranges.size_sigma)), log(ranges.spot_deg), march,
        float(rng.uniform(*ranges.sine)), _AXES[int(rng.integers(len(_AXES)))], float(tilt),
        float(rng.uniform(0, 2 * np.pi)),
    )  # fmt: skip


def targets_of(scene: Scene) -> npt.NDArray[np.float64]:
    """Return the true values in the order of :data:`CAKE_TARGETS`."""
    scatter = spottiness(scene.spots, scene.size_sigma)
    return np.array([texture_strength(scene.march_r), np.log(scatter), np.log(scene.spots)])
