"""Answers to simulated spectra beside the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from streamproc.models.excitations.oscillators.answer import Answer, answer
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.instruments import Library
from streamproc.models.excitations.oscillators.mixtures import Batch, Mixer, Strengths

__all__ = ["SIGNALS", "Case", "Judged", "judge", "pairs", "zero_prior"]

Array = npt.NDArray[np.float64]
Runner = Callable[[npt.NDArray[np.float32]], dict[str, npt.NDArray[np.float32]]]

SIGNALS = ("distance", "misfit", "leftover", "surprise")
_ZERO_SIGMA = 0.07
"""Prior of the zero, in resolution widths."""


def zero_prior(fwhm: float) -> float:
    """Return the default standard deviation of the zero's place."""
    return _ZERO_SIGMA * fwhm


def pairs(modes: Array, others: Array) -> npt.NDArray[np.int64]:
    """Return which of the others each mode is, shape (n,).

    Modes are paired so that energies differ least in all, each in the width with which it is seen (the place
    of a sharp line is known well, that of a broad one not).

    Parameters
    ----------
    modes, others : ndarray, shapes (n, 3) and (n, 3)
        Energy, width and amplitude of each, in resolution widths; as many of the one as of the other.
    """
    apart = np.abs(modes[:, None, 0] - others[None, :, 0])
    return np.asarray(linear_sum_assignment(apart / np.hypot(1.0, modes[:, None, 1]))[1])


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One simulated spectrum, answered.

    Attributes
    ----------
    row, place : int
        Spectrometer in the library, spectrum in the batch.
    truth : ndarray, shape (n, 3)
        True modes.
    peak : ndarray, shape (n,)
        Their expected peak counts.
    answer : Answer
        What was said.
    """

    row: int
    place: int
    truth: Array
    peak: Array
    answer: Answer

    @property
    def right_number(self) -> bool:
        """As many modes as there are."""
        return self.answer.fitted.composition.modes == len(self.truth)

    def paired(self) -> tuple[Array, Array]:
        """Return answered modes and their Fisher sigmas, shape (n, 3), in the order of the true ones.

        Only for the right number.
        """
        k = 3 * self.answer.fitted.composition.modes
        values = self.answer.fitted.vector[:k].reshape(-1, 3)
        sigmas = self.answer.fitted.sigma[:k].reshape(-1, 3)
        order = pairs(self.truth, values)
        return values[order], sigmas[order]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Cases, the batch and the library they come from."""

    cases: list[Case]
    batch: Batch
    library: Library

    def matched(self) -> tuple[Array, Array, Array, Array]:
        """Return truth, value, sigma (m, 3) and peak (m,) of all modes in spectra with the right number."""
        right = [c for c in self.cases if c.right_number and len(c.truth)]
        if not right:
            empty = np.empty((0, 3))
            return empty, empty, empty, np.empty(0)
        return (
            np.concatenate([c.truth for c in right]),
            np.concatenate([c.paired()[0] for c in right]),
            np.concatenate([c.paired()[1] for c in right]),
            np.concatenate([c.peak for c in right]),
        )

    def one_of_each(self) -> npt.NDArray[np.int64]:
        """Return which rows of :meth:`matched` to take so that each spectrum gives one, in turn.

        Modes of one spectrum do not err independently: the place of zero shifts them all.
        """
        modes = np.array([len(c.truth) for c in self.cases if c.right_number and len(c.truth)], np.int64)
        begins = np.cumsum(modes) - modes
        return np.asarray(begins + np.arange(len(modes)) % np.maximum(modes, 1))

    def sound(self, limits: Mapping[str, float]) -> Judged:
        """Return the cases in domain: converged, and no signal beyond its limit."""
        highest = np.array([limits[s] for s in SIGNALS])
        kept = [
            c for c, s in zip(self.cases, self.signals(), strict=True)
            if c.answer.fitted.converged and not (s > highest).any()
        ]  # fmt: skip
        return Judged(kept, self.batch, self.library)

    def signals(self) -> Array:
        """Return every case's signals, shape (cases, 4), in the order of :data:`SIGNALS`."""
        return np.array([[getattr(c.answer.signals, s) for s in SIGNALS] for c in self.cases])


def judge(
    run: Runner, library: Library, seed: int, n: int, strengths: Strengths | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Judged:  # fmt: skip
    """Simulate ``n`` spectra and answer them as the analysis would.

    Parameters
    ----------
    run : callable
        The network: inputs to outputs by name.
    library : Library
        Spectrometers the training never saw, one after the other; energies in resolution
        widths. With ``n`` of them no two spectra share where zero is, and answers err independently.
    seed, n : int
        Of the random numbers; how many spectra.
    strengths : Strengths, optional
        Ranges of strengths.
    progress : callable, optional
        Called with the number done.
    """
    batch = Mixer(library, seed, strengths).batch(n, in_turn=True)
    outputs, cases = run(batch.x), []
    forwards: dict[int, Forward] = {}
    for k in range(n):
        row, number = int(batch.row[k]), int(batch.number[k])
        data = batch.spectrum(k, library)
        forward = forwards.pop(row, None)
        if forward is None:
            forward = Forward(data.energy, library.resolution(row), float(library.kT[row]))
        said = answer(forward, data, outputs, k, zero_prior(1.0))
        if k + len(library) < n:  # its turn comes again; thousands of them would fill the memory
            forwards[row] = forward
        cases.append(Case(row, k, batch.modes[k, :number], batch.peak[k, :number], said))
        progress(k + 1)
    return Judged(cases, batch, library)
