"""Rings of finite numbers of grains: spots along the azimuth, and the graininess of integrated lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr
from streamproc.models.defects.material import Material

from streamproc.errors import ConfigurationError

__all__ = ["GrainStatistics", "draw_rings", "draw_spots", "expected_spots", "graininess", "spottiness"]

Array = npt.NDArray[np.float64]

_COUNTED_SPOTS = 20_000
"""Rings of more spots are drawn by the two moments of each bin's sum, not spot by spot."""


@dataclass(frozen=True, slots=True)
class GrainStatistics:
    """What makes a ring spotty.

    Attributes
    ----------
    grains : float
        Grains in the beam.
    acceptance_deg : float
        Range of orientations that diffract: divergence, bandwidth, mosaic and rocking together (degrees).
    spot_deg : float
        Width of a spot along the azimuth, standard deviation (degrees).
    size_sigma : float
        Width of the log-normal distribution of grain diameters: a spot is as strong as its grain's volume.
    """

    grains: float
    acceptance_deg: float = 0.3
    spot_deg: float = 0.4
    size_sigma: float = 0.3

    def __post_init__(self) -> None:
        for name in ("grains", "acceptance_deg", "spot_deg"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name} must be positive, got {getattr(self, name):g}")


def expected_spots(material: Material, wavelength_A: float, statistics: GrainStatistics) -> Array:
    """Return the mean number of spots on each family's whole ring, shape (n,); 0 beyond 2theta = 180 degrees.

    A plane normal diffracts when its angle to the beam is 90 degrees - theta within the acceptance: the share
    cos(theta) / 2 of the sphere per radian of acceptance; each member of the family has that chance.
    """
    sine = material.norm / material.a_nm * wavelength_A / 20
    cos = np.sqrt(np.clip(1 - sine**2, 0, None))
    share = 0.5 * cos * np.deg2rad(statistics.acceptance_deg)
    return np.asarray(statistics.grains * material.multiplicity * share * (sine < 1))


def graininess(material: Material, wavelength_A: float, statistics: GrainStatistics) -> Array:
    """Return the relative standard deviation of each integrated ring, shape (n,); inf without spots.

    For N spots on average whose strengths are log-normal volumes it is sqrt(<V^2> / <V>^2 / N), with
    <V^2> / <V>^2 = exp(9 sigma^2).
    """
    spots = expected_spots(material, wavelength_A, statistics)
    with np.errstate(divide="ignore"):
        return np.asarray(np.sqrt(np.exp(9 * statistics.size_sigma**2) / spots))


def draw_rings(
    rng: np.random.Generator,
    material: Material,
    wavelength_A: float,
    statistics: GrainStatistics,
    azimuths: int = 360,
) -> Array:
    """Draw the azimuthal course of each ring.

    Parameters
    ----------
    rng : numpy Generator
        Source of chance.
    material, wavelength_A
        Which rings.
    statistics : GrainStatistics
        Of the grains.
    azimuths : int
        Bins of the whole circle.

    Returns
    -------
    ndarray, shape (n, azimuths)
        Relative intensity: 1 on average over many draws. Row means are factors for ``grains`` of
        :func:`~streamproc.models.defects.pattern.render_defects`.
    """
    expected = expected_spots(material, wavelength_A, statistics)
    return draw_spots(
        rng, expected, np.ones((len(expected), azimuths)), statistics.spot_deg, statistics.size_sigma
    )


def spottiness(spots: float, size_sigma: float) -> float:
    """Return the relative standard deviation of a ring of so many spots, as :func:`graininess` does."""
    return float(np.sqrt(np.exp(9 * size_sigma**2) / spots))


def draw_spots(
    rng: np.random.Generator, expected: Array, density: Array, spot_deg: float, size_sigma: float
) -> Array:
    """Draw rings of spots where the poles are not equally dense everywhere.

    Parameters
    ----------
    rng : numpy Generator
        Source of chance.
    expected : ndarray, shape (n,)
        Mean number of spots on each whole ring without texture.
    density : ndarray, shape (n, azimuths)
        Pole densities, in multiples of random.
    spot_deg, size_sigma : float
        As in :class:`GrainStatistics`.

    Returns
    -------
    ndarray, shape (n, azimuths)
        Relative intensity: ``density`` on average over many draws.
    """
    azimuths = density.shape[1]
    smear = np.fft.rfft(_spot(azimuths, spot_deg * azimuths / 360))
    rings = np.zeros(density.shape)
    for row, mean in enumerate(expected):
        if mean > 0:
            sums = _volumes(rng, mean / azimuths * density[row], size_sigma)
            rings[row] = np.fft.irfft(np.fft.rfft(sums) * smear, azimuths) * azimuths / mean
    return np.maximum(rings, 0.0)


def _volumes(rng: np.random.Generator, expected: Array, size_sigma: float) -> Array:
    """Sum of the relative volumes of the grains in each bin."""
    total = float(expected.sum())
    if total > _COUNTED_SPOTS:
        spread = np.exp(9 * size_sigma**2)  # <V^2> / <V>^2: a gamma variate of the sum's mean and variance
        return np.asarray(rng.gamma(np.maximum(expected, 1e-12) / spread, spread))
    spots = int(rng.poisson(total))
    if not spots:
        return np.zeros(expected.size)
    volume = np.exp(3 * size_sigma * rng.standard_normal(spots) - 4.5 * size_sigma**2)
    place = np.searchsorted(np.cumsum(expected), total * rng.random(spots), side="right")
    return np.bincount(np.minimum(place, expected.size - 1), weights=volume, minlength=expected.size)


def _spot(azimuths: int, sigma_bins: float) -> Array:
    """Share of a Gaussian spot in each bin around its own, on the circle."""
    away = (np.arange(azimuths) + azimuths // 2) % azimuths - azimuths // 2
    share = ndtr((away + 0.5) / sigma_bins) - ndtr((away - 0.5) / sigma_bins)
    return np.asarray(share / share.sum())
