"""The fast answer: the network's start, a few scoring steps, and what speaks for or against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from streamproc.models.excitations.oscillators.fit import Fitted, bounds_for, fit
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.parameters import MOST_MODES, Composition, Mode
from streamproc.models.excitations.oscillators.search import add_mode, composition_for, leftover
from streamproc.models.excitations.oscillators.slots import Guess, guess_of
from streamproc.models.excitations.oscillators.spectrum import Spectrum

__all__ = ["Answer", "Signals", "answer", "signals_of", "start_from"]

Array = npt.NDArray[np.float64]

_LIKELY = 0.1
"""Numbers of modes of at least this probability are tried."""

_STEPS = 12
_LEFT = 5.0
"""Sigmas of a peak that is left over, from which another mode is tried there."""


@dataclass(frozen=True, slots=True)
class Signals:
    """What tells spectra that the model is not meant for; larger is more suspicious.

    Attributes
    ----------
    distance : float
        Of the network's features from those of training spectra.
    misfit : float
        Pearson's chi-square beyond its expectation, in its standard deviations.
    leftover : float
        Largest peak or dip, of the resolution's width, in what the fit leaves over (sigmas).
    surprise : float
        Largest difference between network and fit over the width that the network states.
    """

    distance: float
    misfit: float
    leftover: float
    surprise: float


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What is said about one spectrum.

    Attributes
    ----------
    fitted : Fitted
        The maximum of the likelihood that the network's start led to.
    guess : Guess
        What the network said for that number of modes.
    probability : ndarray, shape (5,)
        Of 0 to 4 modes, by the network.
    signals : Signals
        Whether to believe it.
    """

    fitted: Fitted
    guess: Guess
    probability: Array
    signals: Signals


def start_from(
    forward: Forward, data: Spectrum, modes: Sequence[Mode], zero_sigma: float, slope: bool
) -> tuple[Composition, Array]:
    """Return a start with these energies and widths; everything linear is solved for, not below zero.

    Parameters
    ----------
    forward : Forward
        Model on the axis of the data.
    data : Spectrum
        What was measured.
    modes : sequence of Mode
        Energies and widths.
    zero_sigma : float
        Prior of the zero.
    slope : bool
        Linear background.
    """
    c = composition_for(forward, data, len(modes), zero_sigma, slope)
    vector = c.vector([Mode(m.energy, m.width, 1.0) for m in modes])
    _, derivatives = forward(c, vector)
    linear = [3 * k + 2 for k in range(c.modes)] + [3 * c.modes] * c.elastic + [c.background]
    variance = np.maximum(data.counts, 1.0) if data.variance is None else data.variance
    weight = 1 / np.sqrt(variance)
    vector[linear], _ = nnls((derivatives[linear] * weight).T, data.counts * weight)
    return c, vector


def answer(
    forward: Forward, data: Spectrum, outputs: Mapping[str, npt.NDArray[Any]], row: int,
    zero_sigma: float, *, slope: bool = False,
) -> Answer:  # fmt: skip
    """Refine what the network says about a spectrum.

    Parameters
    ----------
    forward : Forward
        Model on the axis of the data.
    data : Spectrum
        What was measured.
    outputs : mapping of str to ndarray
        The network's outputs.
    row : int
        Which of them is this spectrum.
    zero_sigma : float
        Prior of the zero; 0: the axis is trusted.
    slope : bool
        Linear background.
    """
    probability = np.asarray(outputs["number"][row], float)
    top, fwhm = float(forward.energy[-1]), forward.resolution.fwhm
    best: tuple[float, Fitted] | None = None
    for number in np.flatnonzero(probability >= min(_LIKELY, probability.max())):
        guess = guess_of(outputs, row, int(number), top, fwhm)
        c, start = start_from(forward, data, guess.modes, zero_sigma, slope)
        limits = bounds_for(forward, c, zero_sigma, float(data.counts.max()))
        found = fit(forward, data, c, start, limits, _STEPS)
        score = found.bic - 2 * np.log(probability[number])
        if best is None or score < best[0]:
            best = (score, found)
    if best is None:
        raise ValueError("the network gave no number of modes")
    fitted = _with_leftovers(forward, data, best[1], zero_sigma)
    guess = guess_of(outputs, row, fitted.composition.modes, top, fwhm)
    return Answer(fitted, guess, probability, signals_of(forward, data, fitted, guess, outputs, row))


def _with_leftovers(forward: Forward, data: Spectrum, fitted: Fitted, zero_sigma: float) -> Fitted:
    """Where a peak is left over, one mode more is tried."""
    while fitted.composition.modes < MOST_MODES:
        place, significance = leftover(forward, data, fitted)
        if significance < _LEFT:
            break
        c, start = add_mode(forward, data, fitted, place)
        limits = bounds_for(forward, c, zero_sigma, float(data.counts.max()))
        more = fit(forward, data, c, start, limits, 2 * _STEPS)
        if more.bic >= fitted.bic:
            break
        fitted = more
    return fitted


def signals_of(
    forward: Forward, data: Spectrum, fitted: Fitted, guess: Guess,
    outputs: Mapping[str, npt.NDArray[Any]], row: int,
) -> Signals:  # fmt: skip
    """Return what speaks against an answer."""
    freedom = max(1, fitted.points - len(fitted.composition))
    # the fourth moment of Poisson counts makes chi-square wider than 2 n
    extra = float((1 / fitted.spectrum).sum()) if data.variance is None else 0.0
    misfit = (fitted.pearson - freedom) / np.sqrt(2 * freedom + extra)
    surprise = 0.0
    for mode, said, sigma in zip(fitted.modes, guess.modes, guess.sigma, strict=True):
        width = float(np.hypot(sigma[0], 0.1 * mode.width))
        surprise = max(surprise, abs(mode.energy - said.energy) / width)
    left = leftover(forward, data, fitted, both=True)[1]
    return Signals(float(outputs["distance"][row]), float(misfit), left, surprise)
