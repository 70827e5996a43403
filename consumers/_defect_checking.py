"""Classical checks beside the hot path: one thread, one reading after the other, in the order of the run."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.consumers._defect_outputs import CHECKS, evidence_text
from streamproc.models.defects.crosscheck import ClassicalCheck, classical_check
from streamproc.models.defects.evidence import WITHOUT, reflections_of
from streamproc.models.defects.reference import Reference

from streamproc.analysis import RunResult
from streamproc.errors import FrameFailed

__all__ = ["Asked", "Checking", "DefectChecker"]

_NAN = float("nan")
_KEPT = ("density_per_m2", "size_nm", "q", "deformation", "growth")


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A reading that is to be checked.

    Attributes
    ----------
    seq_num : int
        Reading.
    why : str
        What for.
    intensity : ndarray, shape (n,)
        The pattern as the model read it.
    network : mapping of str to float
        The model's estimates.
    """

    seq_num: int
    why: str
    intensity: npt.NDArray[np.float64] = field(repr=False)
    network: Mapping[str, float]

    def snapshot(self) -> list[Any]:
        """Return it as plain data."""
        pattern = self.intensity.astype("<f8").tobytes()
        return [self.seq_num, self.why, pattern, dict(self.network)]

    @classmethod
    def restored(cls, stored: list[Any]) -> Asked:
        """Take up what :meth:`snapshot` gave."""
        seq_num, why, pattern, network = stored
        return cls(int(seq_num), why, np.frombuffer(pattern, "<f8").astype(float), network)


@dataclass(frozen=True, slots=True)
class Found:
    """What a check found: the plots, or why there are none; reflections and their support, as JSON."""

    plots: ClassicalCheck | FrameFailed
    evidence: str


class DefectChecker:
    """Fits single lines; one thread for all runs of a process.

    Parameters
    ----------
    axis : ndarray
        The model's axis (degrees 2theta).
    reference : Reference
        Of the model's card.
    """

    def __init__(self, axis: npt.NDArray[np.float64], reference: Reference) -> None:
        self._axis, self._reference = axis, reference
        self._pool: ThreadPoolExecutor | None = None

    def submit(self, asked: Asked) -> Future[Found]:
        """Begin a check."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="defect-check")
        return self._pool.submit(self._check, asked)

    def _check(self, asked: Asked) -> Found:
        names = [name for name in WITHOUT if name in asked.network]
        evidence = reflections_of(self._axis, asked.intensity, self._reference, asked.network, names)
        try:
            plots = classical_check(self._axis, asked.intensity, self._reference, asked.network["q"])
        except FrameFailed as error:
            return Found(error, evidence_text(evidence))
        return Found(plots, evidence_text(evidence))


class Checking:
    """The checks of one run: at most one is under way, and it is said before the next begins.

    So the documents come in one order, whatever the speed of the machine.
    """

    def __init__(self, checker: DefectChecker) -> None:
        self._checker = checker
        self._pending: tuple[Asked, Future[Found]] | None = None

    def ask(self, asked: Asked) -> list[RunResult]:
        """Begin with a reading; return what is said of the one before it."""
        before = self.rest()
        self._pending = (asked, self._checker.submit(asked))
        return before

    def rest(self) -> list[RunResult]:
        """Wait for the reading under way and say what was found."""
        if self._pending is None:
            return []
        asked, future = self._pending
        self._pending = None
        return [check_said(asked, future.result())]

    def snapshot(self) -> list[Any] | None:
        """Return the reading under way."""
        return None if self._pending is None else self._pending[0].snapshot()

    def restore(self, stored: list[Any] | None) -> None:
        """Begin with it again."""
        if stored is not None:
            asked = Asked.restored(stored)
            self._pending = (asked, self._checker.submit(asked))


def check_said(asked: Asked, found: Found) -> RunResult:
    """Return the event of stream ``defect_checks``."""
    network = {name: asked.network.get(name, _NAN) for name in _KEPT}
    values: dict[str, Any] = {
        "seq_num": float(asked.seq_num),
        "why": asked.why,
        "evidence": found.evidence,
        "said": "",
        "network_density_per_m2": network["density_per_m2"],
        "network_size_nm": network["size_nm"],
        "network_deformation": network["deformation"],
        "network_broadening": 1.5 * network["deformation"] + network["growth"],
    }
    if isinstance(found.plots, FrameFailed):
        values |= dict.fromkeys(_CLASSICAL, _NAN) | {"lines": 0.0, "said": found.plots.message}
        return RunResult(CHECKS, values)
    plots = found.plots
    plot, modified = plots.plot, plots.modified
    numbers = (
        plot.size_nm,
        plot.strain,
        plot.misfit,
        modified.size_nm,
        modified.density_per_m2,
        modified.misfit,
        plots.alpha,
        plots.alpha_sigma,
        plots.broadening,
    )
    values |= {name: float(v) for name, v in zip(_CLASSICAL, numbers, strict=True)}
    return RunResult(CHECKS, values | {"lines": float(len(plots.lines))})


_CLASSICAL = (
    "wh_size_nm",
    "wh_strain",
    "wh_misfit",
    "mwh_size_nm",
    "mwh_density_per_m2",
    "mwh_misfit",
    "warren_deformation",
    "warren_deformation_sigma",
    "warren_broadening",
)
