"""The fast answer: the network's start, a few scoring steps, and what speaks for or against it.

Where the start does not lead to a fit that explains the spectrum, the classical search takes over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from streamproc.models.excitations.oscillators.fit import Fitted, bounds_for, fit
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.parameters import Composition, Mode
from streamproc.models.excitations.oscillators.search import composition_for, leftover, search
from streamproc.models.excitations.oscillators.slots import Guess, guess_of
from streamproc.models.excitations.oscillators.spectrum import Spectrum

__all__ = ["Answer", "Signals", "answer", "signals_of", "start_from"]

Array = npt.NDArray[np.float64]

_LIKELY = 0.1
"""Numbers of modes of at least this probability are tried."""

_STEPS = 20
_CLEARLY = 3.5
"""A fit that leaves no line of so many sigmas over needs no other number of modes beside it."""

_LEFT, _MISFIT = 4.0, 3.0
"""Sigmas of a line that is left over, and of chi-square, from which the network's start is not trusted."""


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
    searched : bool
        The network's start did not explain the spectrum, and the classical search took over.
    """

    fitted: Fitted
    guess: Guess
    probability: Array
    signals: Signals
    searched: bool


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
    c = composition_for(forward, len(modes), zero_sigma, slope)
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
    tried: list[Fitted] = []
    guesses: dict[int, Guess] = {}
    # fewer modes first: a fit with too many goes astray slowly, one with too few shows it at once
    for number in np.flatnonzero(probability >= min(_LIKELY, probability.max())):
        guess = guesses[int(number)] = guess_of(outputs, row, int(number), top, fwhm)
        c, start = start_from(forward, data, guess.modes, zero_sigma, slope)
        limits = bounds_for(forward, c, zero_sigma, float(data.counts.max()))
        tried.append(fit(forward, data, c, start, limits, _STEPS))
        judged = tried[-1], _unexplained(forward, data, tried[-1])
        if judged[1] < _CLEARLY:
            break
    fitted = _without_idle(forward, data, min(tried, key=lambda f: f.bic), zero_sigma)
    left = judged[1] if fitted is judged[0] else _unexplained(forward, data, fitted)
    searched = left >= _LEFT
    if searched:
        found = search(forward, data, zero_sigma, slope=slope)
        fitted = min([fitted, *found], key=lambda f: f.bic)
    number = fitted.composition.modes
    guess = guesses.get(number) or guess_of(outputs, row, number, top, fwhm)
    signals = signals_of(forward, data, fitted, guess, float(outputs["distance"][row]))
    return Answer(fitted, guess, probability, signals, searched)


def _unexplained(forward: Forward, data: Spectrum, fitted: Fitted) -> float:
    """Significance of what looks like a line, sharp or broad, and is left over; infinite for no good fit."""
    if not fitted.converged or _misfit(data, fitted) > _MISFIT:
        return float("inf")
    return max(leftover(forward, data, fitted, both=True, widths=w)[1] for w in (1.0, 4.0))


def _without_idle(forward: Forward, data: Spectrum, fitted: Fitted, zero_sigma: float) -> Fitted:
    """Take modes out as long as the information criterion prefers it, the least significant first."""
    while (k := fitted.composition.modes) > 0:
        significance = fitted.vector[2 : 3 * k : 3] / np.maximum(fitted.sigma[2 : 3 * k : 3], 1e-300)
        weakest = int(np.argmin(significance))
        if significance[weakest] > np.sqrt(3 * np.log(fitted.points)):
            break  # it would cost more deviance than is charged for it (Wald)
        old = fitted.composition
        c = Composition(k - 1, old.elastic, old.zero, old.slope)
        limits = bounds_for(forward, c, zero_sigma, float(data.counts.max()))
        start = np.delete(fitted.vector, range(3 * weakest, 3 * weakest + 3))
        fewer = fit(forward, data, c, start, limits, _STEPS)
        if fewer.bic >= fitted.bic:
            break
        fitted = fewer
    return fitted


def _misfit(data: Spectrum, fitted: Fitted) -> float:
    """Pearson's chi-square beyond its expectation, in its standard deviations."""
    freedom = max(1, fitted.points - len(fitted.composition))
    # the fourth moment of Poisson counts makes chi-square wider than 2 n
    extra = float((1 / fitted.spectrum).sum()) if data.variance is None else 0.0
    return float((fitted.pearson - freedom) / np.sqrt(2 * freedom + extra))


def signals_of(forward: Forward, data: Spectrum, fitted: Fitted, guess: Guess, distance: float) -> Signals:
    """Return what speaks against an answer."""
    surprise = 0.0
    for mode, said, sigma in zip(fitted.modes, guess.modes, guess.sigma, strict=True):
        width = float(np.hypot(sigma[0], 0.1 * mode.width))
        surprise = max(surprise, abs(mode.energy - said.energy) / width)
    return Signals(distance, _misfit(data, fitted), leftover(forward, data, fitted, both=True)[1], surprise)
