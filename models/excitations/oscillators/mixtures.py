"""Simulated spectra: oscillators of a library with random strengths, elastic line, background and counts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.oscillators.instruments import Library
from streamproc.models.excitations.oscillators.parameters import MOST_MODES
from streamproc.models.excitations.oscillators.prepare import CONDITIONS, GRID, conditions_of, resample
from streamproc.models.excitations.oscillators.spectrum import Spectrum

__all__ = ["Batch", "Mixer", "Strengths"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Strengths:
    """How strong things are, in counts per point.

    Attributes
    ----------
    number : tuple of float
        Probability of 0, 1, 2, 3, 4 modes.
    height : tuple of float
        Peak of the strongest mode (log-uniform).
    relative : float
        The others reach down to this share of it (log-uniform).
    elastic : tuple of float
        Peak of the elastic line (log-uniform); ``no_elastic`` of all have none.
    background : tuple of float
        (log-uniform), at most twice the strongest mode.
    least_seen : float
        Modes whose amplitude is known to fewer sigmas, beside the others and the background, are left out:
        nobody can see them.
    apart : float
        Of two modes nearer than this many (narrower) widths, resolution included, the weaker is left out:
        nobody can tell them apart.
    """

    number: tuple[float, ...] = (0.05, 0.25, 0.25, 0.24, 0.21)
    height: tuple[float, float] = (8.0, 5000.0)
    relative: float = 0.1
    elastic: tuple[float, float] = (1.0, 1e5)
    no_elastic: float = 0.15
    background: tuple[float, float] = (0.05, 30.0)
    least_seen: float = 5.0
    apart: float = 0.75


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Spectra b and what is true of them.

    Attributes
    ----------
    x : ndarray of float32, shape (b, GRID + conditions)
        What the network reads.
    row : ndarray of int, shape (b,)
        Spectrometer in the library.
    number : ndarray of int, shape (b,)
        Modes.
    modes : ndarray, shape (b, 4, 3)
        Energy, width, amplitude of each, in rising energy; NaN beyond ``number``.
    peak : ndarray, shape (b, 4)
        Expected counts at the highest point of each mode.
    counts : ndarray, shape (b, 400)
        As measured.
    """

    x: npt.NDArray[np.float32]
    row: npt.NDArray[np.int64]
    number: npt.NDArray[np.int64]
    modes: Array
    peak: Array
    counts: Array

    def spectrum(self, k: int, library: Library) -> Spectrum:
        """Return one of them as if it had been measured."""
        n = library.points[self.row[k]]
        return Spectrum(library.energy[self.row[k], :n], self.counts[k, :n])


class Mixer:
    """Draws spectra from a library.

    Parameters
    ----------
    library : Library
        Spectrometers and oscillators.
    seed : int
        Of the random numbers.
    strengths : Strengths, optional
        Ranges.
    """

    def __init__(self, library: Library, seed: int, strengths: Strengths | None = None) -> None:
        self.library, self.rng, self.strengths = (
            library,
            np.random.default_rng(seed),
            strengths or Strengths(),
        )

    def batch(self, size: int, *, in_turn: bool = False) -> Batch:
        """Return ``size`` spectra, all different, of spectrometers at random or one after the other."""
        lib, rng = self.library, self.rng
        row = np.arange(size) % len(lib) if in_turn else rng.integers(len(lib), size=size)
        chosen, amplitude = self._strengths(row)
        shapes = lib.modes[row[:, None], chosen]
        rest = self._rest(row, (amplitude * lib.peak[row[:, None], chosen]).max(1))
        expected = np.einsum("bk,bkp->bp", amplitude, shapes) + rest
        amplitude = _visible(amplitude, shapes, expected, self.strengths.least_seen)
        expected = np.einsum("bk,bkp->bp", amplitude, shapes) + rest
        used = np.arange(lib.energy.shape[1]) < lib.points[row][:, None]
        counts = rng.poisson(np.where(used, expected, 0.0)).astype(float)
        modes, peak = _sorted(lib, row, chosen, amplitude)
        number = (amplitude > 0).sum(1)
        return Batch(self._inputs(row, counts), row, number, modes, peak, counts)

    def _strengths(self, row: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], Array]:
        """Which four oscillators, and how strong; 0: not there."""
        rng, s, b = self.rng, self.strengths, len(row)
        chosen = np.argsort(rng.random((b, self.library.peak.shape[1])), 1)[:, :MOST_MODES]
        number = rng.choice(len(s.number), size=b, p=s.number)
        relative = np.exp(rng.uniform(np.log(s.relative), 0.0, (b, MOST_MODES)))
        relative[:, 0] = 1.0
        top = np.exp(rng.uniform(*np.log(s.height), b))
        height = np.where(np.arange(MOST_MODES) < number[:, None], relative * top[:, None], 0.0)
        height = _apart(height, self.library.truth[row[:, None], chosen], s.apart)
        return chosen, height / np.maximum(self.library.peak[row[:, None], chosen], 1e-12)

    def _rest(self, row: npt.NDArray[np.int64], top: Array) -> Array:
        """Elastic line and background."""
        rng, s, lib, b = self.rng, self.strengths, self.library, len(row)
        line = lib.elastic[row]
        height = np.exp(rng.uniform(*np.log(s.elastic), b)) * (rng.random(b) >= s.no_elastic)
        unit = np.array([lib.resolution(int(r))(np.zeros(1))[0] for r in row])
        flat = np.exp(rng.uniform(*np.log(s.background), b))
        flat = np.where(top > 0, np.minimum(flat, 2 * top), flat)
        slope = rng.uniform(-0.5, 0.5, b) * (rng.random(b) < 0.3)
        ramp = np.linspace(-1, 1, line.shape[1])[None] * line.shape[1] / lib.points[row][:, None]
        tilted = flat[:, None] * np.maximum(1 + slope[:, None] * np.clip(ramp, -1, 1), 0.0)
        return line * (height / unit)[:, None] + tilted

    def _inputs(self, row: npt.NDArray[np.int64], counts: Array) -> npt.NDArray[np.float32]:
        lib = self.library
        x = np.empty((len(row), GRID + len(CONDITIONS)), np.float32)
        for k, r in enumerate(row):
            n = lib.points[r]
            energy = lib.energy[r, :n]
            channels = resample(energy, counts[k, :n])
            shape = lib.resolution(int(r))
            x[k, :GRID] = np.log1p(channels) / 2
            x[k, GRID:] = conditions_of(energy, shape.fwhm, shape.lorentzian, lib.kT[r], channels.max())
        return x


def _apart(height: Array, truth: Array, least: float) -> Array:
    """Of modes that are too near to each other the weaker is taken out, shape (b, 4)."""
    kept = height.copy()
    for i, j in combinations(range(height.shape[1]), 2):
        narrower = np.minimum(truth[:, i, 1], truth[:, j, 1])
        near = np.abs(truth[:, i, 0] - truth[:, j, 0]) < least * np.hypot(1.0, narrower)
        both = near & (kept[:, i] > 0) & (kept[:, j] > 0)
        weaker = np.where(kept[:, i] < kept[:, j], i, j)
        kept[both, weaker[both]] = 0.0
    return kept


def _visible(amplitude: Array, shapes: npt.NDArray[np.float32], expected: Array, least: float) -> Array:
    """Modes whose amplitude is known to fewer sigmas, the others and the background free, are taken out."""
    there = amplitude > 0
    columns = np.concatenate([shapes * there[..., None], np.ones_like(shapes[:, :1])], 1)
    used = shapes.any(1)[:, None]
    weighted = columns * (used / np.maximum(expected, 1e-3)[:, None]).astype(np.float32)
    fisher = (weighted @ columns.transpose(0, 2, 1)).astype(float)
    scale = np.sqrt(np.maximum(np.diagonal(fisher, 0, 1, 2), 1e-12))
    unit = fisher / (scale[:, :, None] * scale[:, None]) + 1e-6 * np.eye(fisher.shape[1])
    absent = np.concatenate([~there, np.zeros((len(there), 1), bool)], 1)
    unit[absent, :] = 0.0
    unit.transpose(0, 2, 1)[absent, :] = 0.0
    unit += absent[:, :, None] * np.eye(fisher.shape[1])
    sigma = np.sqrt(np.diagonal(np.linalg.inv(unit), 0, 1, 2)) / scale
    return np.where(amplitude >= least * sigma[:, :-1], amplitude, 0.0) * there


def _sorted(
    lib: Library, row: npt.NDArray[np.int64], chosen: npt.NDArray[np.int64], amplitude: Array
) -> tuple[Array, Array]:
    """Modes in rising energy, absent ones last as NaN."""
    truth = lib.truth[row[:, None], chosen]
    modes = np.concatenate([truth, amplitude[..., None]], 2)
    modes[amplitude <= 0] = np.nan
    peak = amplitude * lib.peak[row[:, None], chosen]
    order = np.argsort(modes[..., 0], 1)  # NaN last
    return np.take_along_axis(modes, order[..., None], 1), np.take_along_axis(peak, order, 1)
