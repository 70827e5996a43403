"""Spectra that the model is not meant for: what it must not answer as if it were."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.instruments import Library
from streamproc.models.excitations.oscillators.parameters import Composition, Mode
from streamproc.models.excitations.oscillators.spectrum import Spectrum

__all__ = ["KINDS", "foreign_spectrum"]

Array = npt.NDArray[np.float64]


def _many(rng: np.random.Generator, forward: Forward) -> Array:
    """Six to eight modes, well apart."""
    top, n = forward.energy[-1], int(rng.integers(6, 9))
    centres = (np.arange(n) + rng.uniform(0.3, 0.7, n)) * top / n + 0.3
    modes = [Mode(float(e), float(rng.uniform(0.1, 0.5)), float(rng.uniform(200, 900))) for e in centres]
    c = Composition(n)
    return forward(c, c.vector(modes, 500.0, 0.0, 2.0))[0]


def _diffraction(rng: np.random.Generator, forward: Forward) -> Array:
    """A powder pattern: dozens of lines of any height, wider with angle, a falling background."""
    e = forward.energy
    share = (e - e[0]) / (e[-1] - e[0])
    y = 20 + 60 * np.exp(-3 * share)
    for _ in range(int(rng.integers(20, 40))):
        width = rng.uniform(0.3, 1.5)
        place = rng.uniform(e[0], e[-1])
        y += 10 ** rng.uniform(1.5, 3.5) * np.exp(-0.5 * ((e - place) / width) ** 2)
    return np.asarray(y)


def _noise(rng: np.random.Generator, forward: Forward) -> Array:
    """No spectrum at all: noise far larger than that of counts."""
    return np.abs(rng.normal(0.0, 50.0, forward.points))


def _steps(rng: np.random.Generator, forward: Forward) -> Array:
    """A detector with dead and hot stretches over a smooth slope."""
    y = np.linspace(rng.uniform(50, 200), rng.uniform(50, 200), forward.points)
    for _ in range(4):
        start = int(rng.integers(forward.points - 8))
        y[start : start + int(rng.integers(3, 12))] *= rng.choice([0.0, 3.0])
    return y


KINDS: dict[str, Callable[[np.random.Generator, Forward], Array]] = {
    "six modes or more": _many,
    "diffraction pattern": _diffraction,
    "noise": _noise,
    "dead and hot channels": _steps,
}
"""What is drawn, by name."""


def foreign_spectrum(kind: str, library: Library, row: int, seed: int) -> tuple[Spectrum, Forward]:
    """Return a spectrum of a kind on the axis of a spectrometer, and the model of that spectrometer.

    Parameters
    ----------
    kind : str
        One of :data:`KINDS`.
    library : Library
        Spectrometers.
    row : int
        Which of them.
    seed : int
        Of the random numbers.
    """
    rng, n = np.random.default_rng(seed), int(library.points[row])
    forward = Forward(library.energy[row, :n], library.resolution(row), float(library.kT[row]))
    return Spectrum(forward.energy, rng.poisson(KINDS[kind](rng, forward)).astype(float)), forward
