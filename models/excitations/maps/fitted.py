"""What a fit of a map is asked, and what it says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.mapmodel.case import MapCase
from streamproc.models.excitations.maps.linear import Linear
from streamproc.models.excitations.maps.widths import Widths

__all__ = ["FitSettings", "MapFit"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How to fit.

    Attributes
    ----------
    background : int
        Smooth functions of energy in the background.
    background_q : bool
        Part of the background may grow with Q^2, as phonons do.
    falling : bool
        The functions are those of what falls off, not splines, which may bend anywhere.
    tilt : bool
        The intensity scale may change linearly with energy (form factor, absorption, detector efficiency).
    widths : tuple of str
        Widths that are fitted; the others stay.
    iterations : int
        Most steps of a descent.
    robust : float
        Residuals beyond so many sigma count as if they were so many (spurious scattering); 0: all alike.
    tolerance : float
        A descent ends when a step lowers chi-square by less than this share.
    """

    background: int = 7
    background_q: bool = False
    falling: bool = False
    tilt: bool = True
    widths: tuple[str, ...] = ("energy_fwhm", "end_fwhm", "q_fwhm")
    iterations: int = 12
    robust: float = 4.0
    tolerance: float = 1e-5

    @classmethod
    def of(cls, case: MapCase, **more: Any) -> FitSettings:
        """Return what suits a kind of model, with anything else as given."""
        own = cls(case.background, case.background_q, case.background_falls, widths=case.fitted_widths)
        return replace(own, **more)


@dataclass(frozen=True, slots=True, eq=False)
class MapFit:
    """A fit.

    Attributes
    ----------
    values : dict of str to float
        Every coupling (meV).
    free : tuple of str
        Names of the free couplings, then the fitted widths.
    best : ndarray, shape (f,)
        Their values.
    covariance : ndarray, shape (f, f)
        (J^T W J)^-1 times max(1, reduced chi-square), and the average's own error.
    widths : Widths
        With the fitted ones.
    chi2_reduced : float
        Over the cells fitted.
    explained : float
        Share of the structure (what a smooth background leaves beyond noise) that the magnons explain, 0 to
        1.
    significance : float
        Magnon intensity over its standard deviation.
    model : ndarray, shape (n, m)
        The fitted map.
    signal : ndarray, shape (n, m)
        The magnons in it.
    iterations : int
        Steps taken.
    converged : bool
        Ended by itself.
    linear : Linear or None
        Data and weights of the fit.
    places, place_covariance : ndarray, shapes (f,) and (f, f)
        The free couplings as places in the prior, then the widths; and their covariance.
    shift : ndarray, shape (f,)
        By how much places and widths would move if the model averaged over other wave vectors; both
        covariances hold it.
    """

    values: dict[str, float]
    free: tuple[str, ...]
    best: Array
    covariance: Array = field(repr=False)
    widths: Widths
    chi2_reduced: float
    explained: float
    significance: float
    model: Array = field(repr=False)
    signal: Array = field(repr=False)
    iterations: int
    converged: bool
    linear: Linear | None = field(default=None, repr=False)
    places: Array = field(default_factory=lambda: np.zeros(0), repr=False)
    place_covariance: Array = field(default_factory=lambda: np.zeros((0, 0)), repr=False)
    shift: Array = field(default_factory=lambda: np.zeros(0), repr=False)

    @property
    def sigma(self) -> dict[str, float]:
        """Standard uncertainty of every free number."""
        return dict(zip(self.free, map(float, np.sqrt(np.diag(self.covariance))), strict=True))
