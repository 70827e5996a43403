"""What a detector makes of a cake: gaps, background, unevenness, gain and counting."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from streamproc.models.defects.cake.heights import AZIMUTHS, ZONES, ring_heights
from streamproc.models.defects.cake.ranges import CakeRanges
from streamproc.models.defects.cake.rings import LEAST_RINGS, Rings
from streamproc.models.defects.cake.statistics import Statistics, statistics_of

__all__ = ["expected_heights", "seen_by_detectors"]

Array = npt.NDArray[np.float64]

_FEW = 25.0
_MOST_GAPS = 5
_CELLS = np.arange(AZIMUTHS)


def expected_heights(rings: Rings, sine: Array) -> Array:
    """Return the mean height of each ring's zone for a random powder, in any unit.

    Parameters
    ----------
    rings : Rings
        The k rings.
    sine : ndarray, shape (...)
        sin(theta) of the first ring.

    Returns
    -------
    ndarray, shape (..., k)

    Notes
    -----
    Per solid angle a ring has the Lorentz factor 1 / (sin^2 theta cos theta); its zone is 4 line tan(theta)
    wide in 2theta. Polarisation is left out: whether it was corrected for is not known.
    """
    s = np.minimum(np.asarray(sine)[..., None] * rings.q_invA / rings.q_invA[0], 0.999)
    return np.asarray(rings.strength / (s**3 * rings.line))


def seen_by_detectors(
    rng: np.random.Generator, cakes: Array, sine: Array, rings: Rings, ranges: CakeRanges
) -> Statistics:
    """Draw a detector for each cake, count, and read the rings as the service does.

    Parameters
    ----------
    rng : numpy Generator
        Source of chance.
    cakes : ndarray, shape (b, k, AZIMUTHS)
        As :func:`~streamproc.models.defects.cake.library.draw_cake` gives them.
    sine : ndarray, shape (b,)
        sin(theta) of the first ring.
    rings, ranges
        Of the model.
    """
    b, k = cakes.shape[:2]
    expected = expected_heights(rings, sine)
    sine2 = np.minimum(np.asarray(sine)[:, None] * rings.q_invA / rings.q_invA[0], 1) ** 2
    polarised = 1 - 2 * rng.uniform(0, 1, (b, 1)) * sine2 * (1 - sine2)  # 1 - sin^2(2 theta) / 2 at most
    true = expected * polarised * np.exp(ranges.strength_sigma * rng.standard_normal((b, k)))
    lines = cakes * (true / true.max(1, keepdims=True))[..., None] * _smooth(rng, b, ranges.uneven)[:, None]
    ground = _log(rng, ranges.background, (b, 1, 1)) * np.exp(rng.normal(0, 0.3, (b, k, 1)))
    ground = ground * _smooth(rng, b, 0.1)[:, None]
    leak = rng.uniform(0, ranges.leak, (b, 1, 1))
    mean = np.stack([lines * (1 - leak) + ground] + 2 * [lines * (leak / 2) + ground], 2)
    pixels = np.ones((b, k, ZONES, 1))
    pixels[:, :, 1:, 0] = rng.uniform(0.3, 1.2, (b, k, 1))
    counts = _log(rng, ranges.counts, (b, 1, 1, 1))
    norm = pixels * _shares(rng, b, k)[:, :, None] * counts
    gain = np.where(rng.random(b) < ranges.gain_share, _log(rng, ranges.gain, (b,)), 1.0)[:, None, None, None]
    signal = gain * _poisson(rng, mean * norm / gain)
    variance = np.maximum(signal, 1.0) * (norm > 0)
    return statistics_of(ring_heights(signal, variance, norm), expected, np.asarray(sine))


def _log(rng: np.random.Generator, both: tuple[float, float], shape: tuple[int, ...]) -> Array:
    return np.asarray(np.exp(rng.uniform(*np.log(both), shape)))


def _poisson(rng: np.random.Generator, mean: Array) -> Array:
    """Rounded normal deviates where many are expected: they are alike, and fast."""
    drawn = np.maximum(np.rint(mean + np.sqrt(mean) * rng.standard_normal(mean.shape)), 0.0)
    few = mean < _FEW
    drawn[few] = rng.poisson(mean[few])
    return np.asarray(drawn)


def _smooth(rng: np.random.Generator, b: int, most: float) -> Array:
    """One plus a wave of one and one of two periods over the circle, shape (b, AZIMUTHS)."""
    turn = _CELLS * 2 * np.pi / AZIMUTHS
    high, at = rng.uniform(0, most, (2, b, 1)), rng.uniform(0, 2 * np.pi, (2, b, 1))
    return np.asarray(1 + high[0] * np.cos(turn - at[0]) + high[1] * np.cos(2 * turn - at[1]))


def _shares(rng: np.random.Generator, b: int, k: int) -> Array:
    """Share of each cell that is on the detector and not masked, shape (b, k, AZIMUTHS)."""
    ring = np.arange(k)[:, None]
    # detectors beside the beam see arcs, shorter ones of the outer rings
    arcs = rng.random((b, 1, 1)) < 0.3
    wide = AZIMUTHS * rng.uniform(0.35, 0.9, (b, 1, 1)) * (1 - rng.uniform(0, 0.15, (b, 1, 1)) * ring)
    away = np.abs((_CELLS - rng.integers(AZIMUTHS, size=(b, 1, 1))) % AZIMUTHS - AZIMUTHS // 2)
    share = np.where(arcs & (away > wide / 2), 0.0, 1.0)
    # gaps between modules, the arm of a beamstop
    gaps = rng.integers(0, _MOST_GAPS + 1, (b, 1, 1)) * (rng.random((b, 1, 1)) < 0.5)
    for number in range(_MOST_GAPS):
        wide = np.maximum(rng.integers(1, 6, (b, 1, 1)) * (1 - 0.12 * ring), 1)
        inside = (_CELLS - rng.integers(AZIMUTHS, size=(b, 1, 1))) % AZIMUTHS < wide
        left = np.where(rng.random((b, 1, 1)) < 0.7, 0.0, 0.4)
        share = np.where(inside & (number < gaps), left, share)
    # outer rings beyond the detector
    last = np.where(rng.random((b, 1, 1)) < 0.3, rng.integers(LEAST_RINGS, k + 1, (b, 1, 1)), k)
    return np.asarray(share * (ring < last))
