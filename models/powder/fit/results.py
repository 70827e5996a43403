"""What a fit says: values with standard deviations, agreement factors, and a state to go on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["CrossCheck", "FitState", "PhaseResult", "Refined", "Value"]

Array = npt.NDArray[np.float64]


class CrossCheck(Protocol):
    """What the judgement of a network's answer needs of a fit."""

    @property
    def fractions(self) -> Mapping[str, float]:
        """Weight fractions among the fitted phases; NaN where there is no crystalline intensity at all."""

    @property
    def esd(self) -> Mapping[str, float]:
        """Their standard deviations."""

    @property
    def r_wp(self) -> float:
        """Weighted profile R factor on counting weights."""

    @property
    def chi2_reduced(self) -> float:
        """Weighted mean square residual."""

    @property
    def unexplained(self) -> float:
        """Share of the intensity above background that the fit leaves over."""

    @property
    def crystalline(self) -> float:
        """Share of all measured intensity that the phases explain."""


@dataclass(frozen=True, slots=True)
class Value:
    """A refined number.

    Attributes
    ----------
    value, esd : float
        Estimate and standard deviation; esd is 0 where it was fixed, both are NaN where the pattern does not
        determine it.
    """

    value: float
    esd: float


@dataclass(frozen=True, slots=True)
class FitState:
    """Where a fit ended, to start another one from.

    Attributes
    ----------
    phases : tuple of str
        Phases with a scale above zero.
    values : dict of str to float
        Parameters by name: ``width``, ``corundum.a`` (relative change), ``corundum.inverse_size`` ...
    """

    phases: tuple[str, ...]
    values: dict[str, float] = field(repr=False)

    @classmethod
    def from_estimate(
        cls,
        phases: tuple[str, ...],
        *,
        strain: Mapping[str, float | Mapping[str, float]] | None = None,
        size_nm: Mapping[str, float] | None = None,
        fwhm_deg: float | None = None,
    ) -> FitState:
        """Return a start from what a network or a person knows.

        Parameters
        ----------
        phases : tuple of str
            Phases to fit.
        strain : mapping, optional
            Per phase the relative change of all axes, or of each free one by name.
        size_nm : mapping of str to float, optional
            Crystallite sizes.
        fwhm_deg : float, optional
            Gaussian width of the instrument (degrees).
        """
        values: dict[str, float] = {}
        for phase, change in (strain or {}).items():
            axes = change if isinstance(change, Mapping) else dict.fromkeys("abc", change)
            values |= {f"{phase}.{axis}": float(v) for axis, v in axes.items()}
        values |= {f"{phase}.inverse_size": 1 / s for phase, s in (size_nm or {}).items() if s > 0}
        if fwhm_deg is not None:
            values["width"] = float(np.log(fwhm_deg))
        return cls(phases, values)


@dataclass(frozen=True, slots=True)
class PhaseResult:
    """What the fit says about one phase; NaN where its share is zero or the pattern does not say.

    Attributes
    ----------
    fraction : Value
        Weight fraction among the fitted phases.
    cell : ndarray, shape (6,)
        a, b, c (angstrom), alpha, beta, gamma (degrees).
    cell_esd : ndarray, shape (6,)
        Standard deviations; 0 where symmetry fixes the value.
    volume_A3 : Value
        Cell volume.
    strain : Value
        Linear strain (V / V0)^(1/3) - 1 against the reference cell.
    axis_strain : dict of str to Value
        Relative change of each free axis, change of each free angle (degrees).
    size_nm, microstrain, march_r, delta_b_A2 : Value
        Apparent size, microstrain, texture, change of the overall B.
    """

    fraction: Value
    cell: Array
    cell_esd: Array
    volume_A3: Value
    strain: Value
    axis_strain: dict[str, Value]
    size_nm: Value
    microstrain: Value
    march_r: Value
    delta_b_A2: Value


@dataclass(frozen=True, slots=True)
class Refined:
    """Result of a fit; satisfies :class:`CrossCheck`.

    Attributes
    ----------
    phases : dict of str to PhaseResult
        One for each fitted phase.
    instrument : dict of str to Value
        ``zero_deg``, ``displacement_mm``, ``fwhm_deg`` (square root of W), U, V, X, Y, ...
    r_wp, r_exp : float
        Weighted profile R factor and the value counting noise alone would give.
    chi2_reduced : float
        Weighted mean square residual (counting noise, and the model error where one is set); standard
        deviations are multiplied by its square root where it is above one.
    unexplained, crystalline : float
        Share of the intensity above background that is left over, noise taken off; share of all intensity
        that the phases explain.
    converged : bool
        Whether the descent ended by itself.
    message : str
        How it ended, in words.
    steps : int
        Levenberg-Marquardt steps over all starts.
    two_theta_deg, observed, calculated, background : ndarray, shape (n,)
        The fitted points and the fit.
    contribution : dict of str to ndarray
        Pattern of each phase.
    state : FitState
        To start another fit from.
    """

    phases: dict[str, PhaseResult]
    instrument: dict[str, Value]
    r_wp: float
    r_exp: float
    chi2_reduced: float
    unexplained: float
    crystalline: float
    converged: bool
    message: str
    steps: int
    two_theta_deg: Array = field(repr=False)
    observed: Array = field(repr=False)
    calculated: Array = field(repr=False)
    background: Array = field(repr=False)
    contribution: dict[str, Array] = field(repr=False)
    state: FitState = field(repr=False)

    @property
    def fractions(self) -> dict[str, float]:
        """Weight fractions among the fitted phases; NaN where no phase was found at all."""
        return {name: p.fraction.value for name, p in self.phases.items()}

    @property
    def esd(self) -> dict[str, float]:
        """Standard deviations of the fractions."""
        return {name: p.fraction.esd for name, p in self.phases.items()}
