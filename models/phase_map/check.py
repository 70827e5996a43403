"""The classical fit beside the network: which phases it takes, and what it finds foreign."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt
from streamproc.models.phase_map.excess import Excess, excess_of
from streamproc.models.powder.fit import Pattern, QuickFitter, Refined

from streamproc.inference.card import ModelCard

__all__ = ["Checked", "Checker"]

_FEW = 6
"""Up to so many phases all are fitted; of more, those that a search takes in one by one."""

_LIKELY = 0.02
_MOST_NAMED = 8
_MOST_SCREENED = 6
_MOST, _TRIES = 5, 3
_LEAST_EACH, _PORTION = 50, 20
"""A process more is started for so many patterns, and gets so many at a time."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A fit and what it leaves over."""

    fit: Refined
    excess: Excess


class Checker:
    """Fits the pattern that a network read.

    Parameters
    ----------
    card : ModelCard
        The model's card.
    processes : int
        How many :meth:`check_many` may use.
    """

    def __init__(self, card: ModelCard, processes: int = 1) -> None:
        self.labels, self._card, self._processes = card.labels, card, processes
        axis = card.axis
        self.fitter = QuickFitter(card.reference, card.labels, axis.start, axis.stop, axis.n)

    def warm_up(self) -> None:
        """Compile the kernels."""
        self.fitter.warm_up()

    def check(self, x: npt.NDArray[np.float32], presence: npt.NDArray[np.float32]) -> Checked:
        """Fit one pattern.

        Parameters
        ----------
        x : ndarray of float32, shape (n,)
            Prepared pattern.
        presence : ndarray of float32, shape (p,)
            The network's probability of each phase.
        """
        if len(self.labels) <= _FEW:
            fit = self.fitter.fit(x)
        else:
            fit = self.fitter.select(
                x, lambda pattern: self._candidates(pattern, presence), most=_MOST, tries=_TRIES
            )
        return Checked(fit, excess_of(fit))

    def check_many(
        self,
        x: npt.NDArray[np.float32],
        presence: npt.NDArray[np.float32],
        progress: Callable[[int], None] = lambda done: None,
    ) -> list[Checked]:
        """Fit several patterns; the answers do not depend on the number of processes.

        Parameters
        ----------
        x : ndarray of float32, shape (b, n)
            Prepared patterns.
        presence : ndarray of float32, shape (b, p)
            The network's probabilities.
        progress : callable, optional
            Called with the number of fits done.
        """
        found: list[Checked] = []
        processes = min(self._processes, len(x) // _LEAST_EACH)
        if processes < 2:
            for pattern, said in zip(x, presence, strict=True):
                found.append(self.check(pattern, said))
                progress(len(found))
            return found
        starts = range(0, len(x), _PORTION)
        parts = [x[k : k + _PORTION] for k in starts], [presence[k : k + _PORTION] for k in starts]
        # threads would wait for each other: a third of a fit is not the kernels but numpy's small steps
        with ProcessPoolExecutor(processes, get_context("spawn"), _leave_interrupts) as pool:
            for some in pool.map(_portion, repeat(self._card.to_json()), *parts):
                found += some
                progress(len(found))
        return found

    def _candidates(self, pattern: Pattern, presence: npt.NDArray[np.float32]) -> tuple[str, ...]:
        """Return the phases worth a try: those the network thinks likely, and those a first look finds."""
        order = np.argsort(-presence, kind="stable")[:_MOST_NAMED]
        named = [self.labels[int(i)] for k, i in enumerate(order) if presence[i] > _LIKELY or k < 3]
        seen = [c.name for c in self.fitter.screen(pattern)[:_MOST_SCREENED]]
        return tuple(dict.fromkeys([*named, *seen]))


def _leave_interrupts() -> None:
    """Ctrl-C is for the process that asked."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _portion(card: str, x: npt.NDArray[np.float32], presence: npt.NDArray[np.float32]) -> list[Checked]:
    """Fit some patterns in a process of its own."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        return Checker(ModelCard.from_json(card, file="the model in training")).check_many(x, presence)
