"""The cross-check beside a network's answer: the same engine on the pattern the network read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.fit.data import Pattern, measured_points, noise_of_root, smooth3
from streamproc.models.powder.fit.engine import ProfileFitter
from streamproc.models.powder.fit.radiation import Radiation, cu_k_alpha, doublet, single_line
from streamproc.models.powder.fit.reference import phases_of
from streamproc.models.powder.fit.results import FitState, PhaseResult, Refined, Value
from streamproc.models.powder.fit.screen import Candidate, screen, select
from streamproc.models.powder.fit.settings import Settings, quick_settings

__all__ = ["QuickFitter", "prepared_pattern", "radiation_of"]

Array = npt.NDArray[np.float64]

_HOLE = 25
"""More zeros in a row (one degree of the usual axis) were never measured."""

_LEAST_POINTS = 16
_CU_KA1_A = 1.5405929


def radiation_of(reference: Mapping[str, Any], measured_shape: bool = False) -> Radiation:
    """Return the radiation a card's ``reference`` field is for.

    Parameters
    ----------
    reference : mapping
        The field.
    measured_shape : bool
        Whether Cu K-alpha is to have the shape of its emission lines, as refinements want it.
    """
    copper = abs(float(reference["wavelength_A"]) / _CU_KA1_A - 1) < 1e-4
    if measured_shape and copper and "wavelength2_A" in reference:
        return cu_k_alpha()
    if "wavelength2_A" not in reference:
        return single_line(float(reference["wavelength_A"]))
    return doublet(float(reference["wavelength_A"]), float(reference["wavelength2_A"]))


class QuickFitter:
    """Fits patterns prepared for a model, in milliseconds.

    Parameters
    ----------
    reference : mapping
        The card's ``reference`` field.
    labels : sequence of str
        Phase names in order.
    start, stop : float
        Ends of the model's axis (degrees 2theta).
    n : int
        Points of the axis.
    settings : Settings, optional
        By default :func:`~.settings.quick_settings` for the card's wavelengths and geometry, of the version
        that the model was calibrated with.
    """

    def __init__(
        self,
        reference: Mapping[str, Any],
        labels: Sequence[str],
        start: float,
        stop: float,
        n: int,
        settings: Settings | None = None,
    ) -> None:
        self.labels = tuple(labels)
        self._axis = np.linspace(start, stop, n)
        if settings is None:
            geometry = reference.get("geometry", "bragg-brentano")
            version = reference.get("quick_fit", 1)
            settings = quick_settings(radiation_of(reference), geometry, version=version)
        self._fitter = ProfileFitter(phases_of(reference, self.labels), settings)

    def warm_up(self) -> None:
        """Compile the kernels (seconds the first time on a machine), so that no frame waits for it."""
        self.fit(np.where(np.arange(self._axis.size) % 97 < 3, 1.0, 0.1).astype(np.float32))

    def fit(
        self,
        x: npt.NDArray[np.float32],
        phases: Sequence[str] | None = None,
        start: FitState | None = None,
    ) -> Refined:
        """Fit one pattern.

        Parameters
        ----------
        x : ndarray of float32, shape (n,)
            Pattern as :func:`~streamproc.models.powder.pattern.prepare` gives it: square roots of the
            intensities over their maximum, zeros where nothing was measured.
        phases : sequence of str, optional
            Phases to fit; all by default. The others get a fraction of zero.
        start : FitState, optional
            Where to start.

        Returns
        -------
        Refined
            With every phase of ``labels``. A pattern without any measured point gives ``unexplained`` 1 and
            fractions of NaN.
        """
        pattern = prepared_pattern(x, self._axis)
        if pattern is None:
            return _nothing(self.labels)
        return self._whole(self._fitter.fit(pattern, self.labels if phases is None else phases, start))

    def screen(self, pattern: Pattern) -> list[Candidate]:
        """Return the phases a first look at all of them finds; see :func:`~.screen.screen`."""
        return screen(self._fitter, pattern)

    def select(
        self,
        x: npt.NDArray[np.float32],
        candidates: Callable[[Pattern], Sequence[str]],
        *,
        most: int,
        tries: int,
    ) -> Refined:
        """Fit the few phases that explain a pattern; see :func:`~.screen.select`.

        Parameters
        ----------
        x : ndarray of float32, shape (n,)
            Prepared pattern.
        candidates : callable
            Given the pattern, the phases that may be there; the first is fitted where none explains anything.
        most, tries : int
            Most phases to take in, candidates fitted before one is taken in.
        """
        pattern = prepared_pattern(x, self._axis)
        if pattern is None:
            return _nothing(self.labels)
        names = tuple(candidates(pattern))
        found = select(self._fitter, pattern, names, most=most, tries=tries).fit
        return self._whole(found if found is not None else self._fitter.fit(pattern, names[:1]))

    def _whole(self, fit: Refined) -> Refined:
        """Add the phases that were not fitted, with a fraction of zero."""
        absent = PhaseResult(Value(0.0, 0.0), *_absent())
        return replace(fit, phases={name: fit.phases.get(name, absent) for name in self.labels})


def prepared_pattern(x: npt.NDArray[np.float32], axis_deg: Array) -> Pattern | None:
    """Return the measured points of a prepared pattern as intensities; None where there are hardly any.

    Parameters
    ----------
    x : ndarray, shape (n,)
        Square roots of the intensities over their maximum.
    axis_deg : ndarray, shape (n,)
        The model's even axis (degrees 2theta).
    """
    root = np.asarray(x, float)
    measured = measured_points(np.arange(root.size, dtype=float), root, _HOLE)
    if measured.sum() < _LEAST_POINTS:
        return None
    root, at = root[measured], axis_deg[measured]
    half = (axis_deg[1] - axis_deg[0]) / 2
    low, high = at - half, at + half
    joined = np.diff(at) < 3 * half
    low[1:][joined] = high[:-1][joined]
    variance = np.maximum(4 * smooth3(root**2) * noise_of_root(root) ** 2, 1e-10) + 1e-8
    return Pattern(at, low, high, root**2, variance)


def _absent() -> tuple[Any, ...]:
    nan = Value(float("nan"), float("nan"))
    return np.full(6, np.nan), np.full(6, np.nan), nan, nan, {}, nan, nan, nan, nan


def _nothing(labels: tuple[str, ...]) -> Refined:
    nan, none = float("nan"), np.zeros(0)
    return Refined(
        phases={name: PhaseResult(Value(nan, nan), *_absent()) for name in labels},
        instrument={},
        r_wp=1.0,
        r_exp=1.0,
        chi2_reduced=0.0,
        unexplained=1.0,
        crystalline=0.0,
        converged=False,
        message="the pattern holds hardly any measured point",
        steps=0,
        two_theta_deg=none,
        observed=none,
        calculated=none,
        background=none,
        contribution={},
        state=FitState((), {}),
    )
