"""The classical fit beside the network: which phases it takes, and what it finds foreign."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

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
    threads : int
        How many patterns :meth:`check_many` fits at a time.
    """

    def __init__(self, card: ModelCard, threads: int = 1) -> None:
        self.labels, self._threads = card.labels, threads
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
        """Fit several patterns; the answers do not depend on the number of threads.

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
        with ThreadPoolExecutor(self._threads) as pool:
            for checked in pool.map(self.check, x, presence):
                found.append(checked)
                progress(len(found))
        return found

    def _candidates(self, pattern: Pattern, presence: npt.NDArray[np.float32]) -> tuple[str, ...]:
        """Return the phases worth a try: those the network thinks likely, and those a first look finds."""
        order = np.argsort(-presence, kind="stable")[:_MOST_NAMED]
        named = [self.labels[int(i)] for k, i in enumerate(order) if presence[i] > _LIKELY or k < 3]
        seen = [c.name for c in self.fitter.screen(pattern)[:_MOST_SCREENED]]
        return tuple(dict.fromkeys([*named, *seen]))
