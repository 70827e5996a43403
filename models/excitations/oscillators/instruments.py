"""Random spectrometers and oscillators, rendered once: the library that simulated spectra are mixed from.

All energies are in units of the resolution's full width at half maximum: nothing else sets a scale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.parameters import Composition
from streamproc.models.excitations.oscillators.resolution import Gaussian, Resolution, Voigt

__all__ = ["Library", "Priors", "build_library"]

Array = npt.NDArray[np.float64]

_POINTS = 400
_MODES = 10
"""Oscillators rendered per spectrometer; spectra hold up to four of them."""


@dataclass(frozen=True, slots=True)
class Priors:
    """Ranges that spectra are drawn from; energies in resolution widths.

    Attributes
    ----------
    window : tuple of float
        Width of the axis (log-uniform).
    loss_only : float
        Share of axes that begin at the elastic line or above it.
    points_per_fwhm : tuple of float
        (log-uniform); never fewer than 40 points or more than 400.
    thermal : tuple of float
        kT (log-uniform).
    lorentzian : float
        Largest Lorentzian share of a Voigt resolution; half of all resolutions are Gaussian.
    zero : float
        Standard deviation of the zero's place.
    width : tuple of float
        Widths (log-uniform).
    overdamped : float
        Share of modes drawn overdamped.
    """

    window: tuple[float, float] = (12.0, 80.0)
    loss_only: float = 0.25
    points_per_fwhm: tuple[float, float] = (1.5, 10.0)
    thermal: tuple[float, float] = (0.02, 40.0)
    lorentzian: float = 0.6
    zero: float = 0.07
    width: tuple[float, float] = (0.03, 12.0)
    overdamped: float = 0.08

    def card(self) -> dict[str, str | float | tuple[float, float]]:
        """Return the ranges with units in their names, for a model card."""
        return {
            "window_over_fwhm": self.window,
            "points": (40.0, float(_POINTS)),
            "points_per_fwhm": self.points_per_fwhm,
            "kT_over_fwhm": self.thermal,
            "lorentzian_share": (0.0, self.lorentzian),
            "zero_over_fwhm_sigma": self.zero,
            "width_over_fwhm": self.width,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """Spectrometers c, points up to 400 (the rest is zero), oscillators m.

    Attributes
    ----------
    points : ndarray of int, shape (c,)
        Points used.
    energy, elastic : ndarray, shape (c, 400)
        Axis; elastic line of unit area.
    shape : ndarray, shape (c, 2)
        Gaussian and Lorentzian width of the resolution.
    kT, zero : ndarray, shape (c,)
        Thermal energy, place of zero.
    modes : ndarray of float32, shape (c, m, 400)
        Oscillators of unit amplitude.
    peak : ndarray, shape (c, m)
        Their largest value in the window.
    truth : ndarray, shape (c, m, 2)
        Their energies and widths.
    """

    points: npt.NDArray[np.int64]
    energy: Array
    elastic: Array
    shape: Array
    kT: Array
    zero: Array
    modes: npt.NDArray[np.float32]
    peak: Array
    truth: Array

    def __len__(self) -> int:
        return len(self.points)

    def resolution(self, row: int) -> Resolution:
        """Return the line shape of a spectrometer."""
        gaussian, lorentzian = (float(v) for v in self.shape[row])
        return Voigt(gaussian, lorentzian) if lorentzian > 0 else Gaussian(gaussian)

    def sha256(self) -> str:
        """Return a hash of everything in it."""
        digest = hashlib.sha256()
        for f in fields(self):
            digest.update(np.ascontiguousarray(getattr(self, f.name)).tobytes())
        return digest.hexdigest()


def build_library(
    spectrometers: int, seed: int, priors: Priors | None = None, progress: Callable[[int], None] | None = None
) -> Library:
    """Draw and render; the same arguments give the same bytes on the same machine.

    Parameters
    ----------
    spectrometers : int
        How many.
    seed : int
        Of the random numbers.
    priors : Priors, optional
        Ranges.
    progress : callable, optional
        Called with the number done.
    """
    rng, p, c = np.random.default_rng(seed), priors or Priors(), spectrometers
    library = Library(
        np.zeros(c, np.int64), np.zeros((c, _POINTS)), np.zeros((c, _POINTS)), np.zeros((c, 2)), np.zeros(c),
        np.zeros(c), np.zeros((c, _MODES, _POINTS), np.float32), np.zeros((c, _MODES)),
        np.zeros((c, _MODES, 2)),
    )  # fmt: skip
    for row in range(c):
        _render(library, row, rng, p)
        if progress is not None:
            progress(row + 1)
    return library


def _render(library: Library, row: int, rng: np.random.Generator, p: Priors) -> None:
    energy, n = _axis(rng, p), 0
    n = energy.size
    library.points[row], library.energy[row, :n] = n, energy
    library.shape[row] = _shape(rng, p)
    library.kT[row] = _log_uniform(rng, *p.thermal)
    library.zero[row] = np.clip(rng.normal(0, p.zero), -3 * p.zero, 3 * p.zero)
    exact = library.resolution(row)
    forward = Forward(energy, _Tabled(exact, energy[-1] - energy[0]), float(library.kT[row]))
    zero = float(library.zero[row])
    line = Composition(0)
    library.elastic[row, :n] = forward(line, line.vector([], 1.0, zero))[0]
    one = Composition(1, elastic=False)
    for m in range(_MODES):
        centre, width = _mode(rng, p, energy)
        seen = forward(one, np.array([centre, width, 1.0, zero, 0.0]))[0]
        library.modes[row, m, :n] = seen
        library.peak[row, m], library.truth[row, m] = seen.max(), (centre, width)


def _axis(rng: np.random.Generator, p: Priors) -> Array:
    window = _log_uniform(rng, *p.window)
    if rng.random() < p.loss_only:
        low = rng.uniform(-0.5, 0.15 * window)
    else:
        low = -rng.choice([rng.uniform(2.0, 6.0), rng.uniform(0.1, 0.55) * window])
    low = max(low, -0.6 * window)
    n = int(np.clip(window * _log_uniform(rng, *p.points_per_fwhm), 40, _POINTS))
    axis = np.linspace(low, low + window, n)
    if rng.random() < 0.3:
        axis[1:-1] += rng.uniform(-0.35, 0.35, n - 2) * (axis[1] - axis[0])
    return axis


def _shape(rng: np.random.Generator, p: Priors) -> tuple[float, float]:
    """Gaussian and Lorentzian widths of a resolution whose full width is 1."""
    if rng.random() < 0.5:
        return 1.0, 0.0
    share = rng.uniform(0.0, p.lorentzian)
    both = Voigt(1.0 - share, share)
    return (1.0 - share) / both.fwhm, share / both.fwhm


def _mode(rng: np.random.Generator, p: Priors, axis: Array) -> tuple[float, float]:
    low = max(0.6, axis[0] + 0.5)
    centre = rng.uniform(low, max(0.97 * axis[-1], low + 0.1))
    if rng.random() < p.overdamped:
        return centre, centre * rng.uniform(2.0, 4.0)
    return centre, min(_log_uniform(rng, *p.width), 2 * centre)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


class _Tabled:
    """A resolution from a fine table: rendering thousands of spectrometers asks for it a billion times."""

    def __init__(self, exact: Resolution, span: float) -> None:
        self.fwhm, self.lorentzian = exact.fwhm, exact.lorentzian
        self.reach, self.steps = exact.reach, exact.steps
        self._step = exact.fwhm / 300
        n = int((span + exact.reach + 20 * exact.fwhm) / self._step) + 2
        self._half = exact(self._step * np.arange(n))

    def __call__(self, energy: Array) -> Array:
        place = np.abs(energy) / self._step
        i = np.minimum(place.astype(np.int64), self._half.size - 2)
        part = place - i
        return np.asarray(self._half[i] * (1 - part) + self._half[i + 1] * part)
