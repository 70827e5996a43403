"""From the sums of a frame to what the cake network reads (numpy only)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from streamproc.models.defects.cake.detector import expected_heights
from streamproc.models.defects.cake.heights import AZIMUTHS, ZONES, ring_heights
from streamproc.models.defects.cake.rings import LEAST_RINGS, Rings
from streamproc.models.defects.cake.statistics import Statistics, statistics_of

from streamproc.errors import FrameFailed
from streamproc.reduction.passes import Sums

__all__ = ["grains_of", "ring_zones", "rings_read"]

Array = npt.NDArray[np.float64]


def ring_zones(rings: Rings) -> Array:
    """Return the zones of the rings in q (1/angstrom), shape (rings, ZONES, 2): line, below, above."""
    q, line, (near, far) = rings.q_invA, rings.line, rings.sides.T
    ends = [(1 - line, 1 + line), (1 - far, 1 - near), (1 + near, 1 + far)]
    return np.stack([np.stack([q * low, q * high], -1) for low, high in ends], 1)


def rings_read(sums: Sums, rings: Rings, wavelength_A: float) -> Statistics:
    """Read the rings of a frame.

    Parameters
    ----------
    sums : Sums
        Arrays of shape (rings, ZONES, AZIMUTHS).
    rings : Rings
        Of the model's card.
    wavelength_A : float
        Of the frame (angstrom).

    Raises
    ------
    FrameFailed
        When fewer than three rings are covered by the detector and stand out of the noise.
    """
    shape = (len(rings.hkl), ZONES, AZIMUTHS)
    if sums.signal.shape != shape:
        raise ValueError(f"sums have shape {sums.signal.shape}, expected {shape}")
    norm = np.where(sums.counts > 0, sums.norm, 0.0)
    sine = np.array(rings.sines(wavelength_A)[0])
    read = statistics_of(ring_heights(sums.signal, sums.variance, norm), expected_heights(rings, sine), sine)
    if (number := int(read.seen.sum())) < LEAST_RINGS:
        raise FrameFailed(
            f"{number} of {len(rings.hkl)} rings of {rings.material} are on the detector and stand out, at "
            f"least {LEAST_RINGS} are needed"
        )
    return read


def grains_of(spots: float, rings: Rings, wavelength_A: float, acceptance_deg: float) -> float:
    """Return how many grains are in the beam when so many diffract into the first ring.

    A grain's plane diffracts within ``acceptance_deg`` of its angle (divergence, bandwidth, mosaic, rocking):
    the chance is multiplicity cos(theta) / 2 times the acceptance (radians).
    """
    cosine = float(np.sqrt(1 - min(float(rings.sines(wavelength_A)[0]), 1.0) ** 2))
    return float(spots / (rings.multiplicity[0] * 0.5 * cosine * np.deg2rad(acceptance_deg)))
