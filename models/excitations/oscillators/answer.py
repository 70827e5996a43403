"""The fast answer: the network's start, a few scoring steps, and what speaks for or against it.

Where the start does not lead to a fit that explains the spectrum, the classical search takes over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.oscillators.fit import Fitted, bounds_for, fit
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.parameters import Composition
from streamproc.models.excitations.oscillators.search import composition_for, leftover, search
from streamproc.models.excitations.oscillators.slots import Guess, guess_of
from streamproc.models.excitations.oscillators.spectrum import Spectrum

__all__ = ["Answer", "Signals", "answer"]

Array = npt.NDArray[np.float64]

_LIKELY = 0.1
"""Numbers of modes of at least this probability are tried."""

_STEPS = 20
_CLEARLY = 3.5
"""A fit that leaves no line of so many sigmas over needs no other number of modes beside it."""

_BROAD = 4.0
"""Width of a broad line that a fit may leave over, in resolution widths."""

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
    most = float(data.counts.max())
    tried: list[Fitted] = []
    guesses: dict[int, Guess] = {}
    # fewer modes first: a fit with too many goes astray slowly, one with too few shows it at once
    for number in np.flatnonzero(probability >= min(_LIKELY, probability.max())).tolist():
        guess = guesses[number] = guess_of(outputs, row, number, top, fwhm)
        c = composition_for(forward, number, zero_sigma, slope)
        limits, start = bounds_for(forward, c, zero_sigma, most), c.vector(guess.modes)
        tried.append(fit(forward, data, c, start, limits, _STEPS, solve=True))
        checked = _Checked.of(forward, data, tried[-1])
        if checked.unexplained < _CLEARLY:
            break
    fitted = _without_idle(forward, data, min(tried, key=lambda f: f.bic), zero_sigma)
    if fitted is not checked.fitted:
        checked = _Checked.of(forward, data, fitted)
    searched = checked.unexplained >= _LEFT
    if searched:
        found = search(forward, data, zero_sigma, slope=slope)
        fitted = min([fitted, *found], key=lambda f: f.bic)
        checked = _Checked.of(forward, data, fitted)
    number = fitted.composition.modes
    guess = guesses.get(number) or guess_of(outputs, row, number, top, fwhm)
    signals = _signals(checked, guess, float(outputs["distance"][row]))
    return Answer(fitted, guess, probability, signals, searched)


@dataclass(frozen=True, slots=True, eq=False)
class _Checked:
    """A fit, its misfit, the most significant line as sharp as the resolution that it leaves over.

    ``unexplained`` is the significance of such a line, sharp or broad; infinite for no good fit.
    """

    fitted: Fitted
    misfit: float
    sharp: float
    unexplained: float

    @classmethod
    def of(cls, forward: Forward, data: Spectrum, fitted: Fitted) -> _Checked:
        misfit = _misfit(data, fitted)
        sharp = leftover(forward, data, fitted, both=True)[1]
        if not fitted.converged or misfit > _MISFIT:
            return cls(fitted, misfit, sharp, float("inf"))
        broad = leftover(forward, data, fitted, both=True, widths=_BROAD)[1]
        return cls(fitted, misfit, sharp, max(sharp, broad))


def _without_idle(forward: Forward, data: Spectrum, fitted: Fitted, zero_sigma: float) -> Fitted:
    """Take modes out as long as the information criterion prefers it, the least significant first."""
    while (k := fitted.composition.modes) > 0:
        sigma = np.maximum(fitted.sigma[2 : 3 * k : 3], 1e-300)
        significance = (fitted.vector[2 : 3 * k : 3] / sigma).tolist()
        weakest = significance.index(min(significance))
        if significance[weakest] > math.sqrt(3 * math.log(fitted.points)):
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
    return (fitted.pearson - freedom) / math.sqrt(2 * freedom + extra)


def _signals(checked: _Checked, guess: Guess, distance: float) -> Signals:
    """What speaks against an answer."""
    surprise = 0.0
    for mode, said, sigma in zip(checked.fitted.modes, guess.modes, guess.sigma.tolist(), strict=True):
        width = math.hypot(sigma[0], 0.1 * mode.width)
        surprise = max(surprise, abs(mode.energy - said.energy) / width)
    return Signals(distance, checked.misfit, checked.sharp, surprise)
