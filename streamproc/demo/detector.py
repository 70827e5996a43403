"""The demo's area detector: frames made from the simulator's physics on a real detector geometry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from streamproc.demo.calibration import SHAPE, beam_stop, dark_level, hot_pixels, module_gaps
from streamproc.demo.sample import PHASES

__all__ = ["DTYPE", "Camera", "background_counts", "pixel_map", "single_phase_patterns"]

DTYPE = np.dtype("<u2")
"""The detector's counter depth."""

_STEP_DEG = 0.01
_PEAK_COUNTS = 300.0
"""Counts per pixel at the highest point of an equal mixture of the four phases: sets the exposure."""

_BEAM_STOP_SHARE = 0.02

Array = npt.NDArray[np.float64]


def pixel_map(geometry: Path) -> tuple[Array, Array]:
    """Return 2theta (degrees) and relative solid angle of every pixel centre, both of the detector's shape.

    Raises
    ------
    ValueError
        When the geometry is not that of the demo's detector (shape).
    """
    import pyFAI

    integrator = pyFAI.load(str(geometry))
    two_theta = np.rad2deg(integrator.center_array(SHAPE, unit="2th_rad"))
    if two_theta.shape != SHAPE:
        raise ValueError(f"{geometry}: a detector of {SHAPE} pixels is expected, got {two_theta.shape}")
    return two_theta, np.asarray(integrator.solidAngleArray(SHAPE), dtype=np.float64)


def single_phase_patterns(two_theta_deg: Array) -> Array:
    """Render each phase alone on a 2theta axis (degrees), in one common unit per weight.

    An unpolarised Cu tube without monochromator; the profile's width includes the pixel's.

    Returns
    -------
    ndarray, shape (4, n)
        Rows in the order of :data:`~streamproc.demo.sample.PHASES`; a mixture's pattern is
        ``fractions @ rows`` (Hill & Howard 1987, J. Appl. Cryst. 20, 467).
    """
    from streamproc.models.powder.simulate import Instrument, render_pattern

    instrument = Instrument(w_deg2=0.008, asymmetry_deg=0.0, polarisation=1.0)
    return np.stack([render_pattern(two_theta_deg, {phase: 1.0}, instrument) for phase in PHASES])


def background_counts(two_theta_deg: Array) -> Array:
    """Return the air scattering (counts per pixel at solid angle 1): smooth, falling with the angle."""
    return np.asarray(1.5 + 5.0 * np.exp(-np.asarray(two_theta_deg) / 22.0))


class Camera:
    """Makes the frame of a mixture: rings, air scattering, dark, Poisson noise, detector faults.

    A frame depends on ``seed``, the point's number and the fractions alone; so every way of storing it stores
    the same pixels.

    Parameters
    ----------
    geometry : Path
        The ``.poni`` file that the reduction uses as well.
    seed : int
        Seed of the photon noise.

    Raises
    ------
    ValueError
        When the geometry is not that of the demo's detector.
    """

    def __init__(self, geometry: Path, seed: int) -> None:
        two_theta, solid_angle = pixel_map(geometry)
        first = float(two_theta.min()) - _STEP_DEG
        axis = np.arange(first, float(two_theta.max()) + 2 * _STEP_DEG, _STEP_DEG)
        self._patterns = single_phase_patterns(axis)
        self._patterns *= _PEAK_COUNTS / self._patterns.mean(axis=0).max()
        self._background = background_counts(axis)
        self._where = np.rint((two_theta - first) / _STEP_DEG).astype(np.int32)
        self._dark = dark_level().astype(np.float64)
        self._gain = solid_angle * np.where(beam_stop(), _BEAM_STOP_SHARE, 1.0)
        self._gain[module_gaps()] = 0.0
        self._hot = hot_pixels()
        self._seed = seed

    def expected(self, fractions: Sequence[float]) -> Array:
        """Return the expected counts per pixel without the hot pixels' own, shape of the detector."""
        pattern = np.asarray(fractions, dtype=np.float64) @ self._patterns + self._background
        rate = pattern[self._where]
        rate *= self._gain
        rate += self._dark
        return np.asarray(rate)

    def frame(self, index: int, fractions: Sequence[float]) -> npt.NDArray[np.uint16]:
        """Expose one frame.

        Parameters
        ----------
        index : int
            Number of the point; with the seed it determines the noise.
        fractions : sequence of float
            Weight fractions in the order of :data:`~streamproc.demo.sample.PHASES`.

        Returns
        -------
        ndarray of uint16
            Counts; 0 in the gaps.
        """
        rng = np.random.default_rng([self._seed, index, 0xF0])
        counts = rng.poisson(self.expected(fractions))
        where, added = self._hot
        counts.flat[where] += rng.poisson(added)
        return np.minimum(counts, np.iinfo(DTYPE).max).astype(DTYPE)
