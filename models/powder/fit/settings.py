"""What a fit refines and how strongly it is held: radiation, geometry, priors, background."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from streamproc.models.powder.fit.kinds import CELL, OWN, SHARED
from streamproc.models.powder.fit.radiation import Radiation

from streamproc.errors import ConfigurationError

__all__ = [
    "FIXED",
    "FREE",
    "QUICK_VERSION",
    "Geometry",
    "Prior",
    "Settings",
    "quick_settings",
    "refine_settings",
]

Geometry = Literal["bragg-brentano", "debye-scherrer"]

FREE = float("inf")
FIXED = 0.0

_NAMES = (*SHARED, "cell_length", "cell_angle_deg", *OWN[CELL:])

_BLUR = (0.012, 0.003)
"""The widest finds cells that are off by one per cent, the second brings them to within a sharp line."""

QUICK_VERSION = 2
"""Raised whenever the quick fit starts otherwise: a model's rules are calibrated with one of them."""

_BLUR_OF: dict[int, tuple[float, ...]] = {1: (), 2: _BLUR}


@dataclass(frozen=True, slots=True)
class Prior:
    """Start value of a parameter and how it is held.

    Attributes
    ----------
    start : float
        Start value, and centre of the Gaussian prior.
    sigma : float
        Width of the prior: infinite for free, 0 for fixed.
    low, high : float
        Bounds.
    """

    start: float
    sigma: float
    low: float = -np.inf
    high: float = np.inf


@dataclass(frozen=True, slots=True)
class Settings:
    """How patterns are fitted.

    Attributes
    ----------
    radiation : Radiation
        Emission lines.
    geometry : {'bragg-brentano', 'debye-scherrer'}
        Says how a displaced specimen moves the lines.
    radius_mm : float
        Goniometer radius, or distance to the detector.
    lorentz_factor : bool
        Whether the data hold the Lorentz factor (false: already corrected).
    priors : mapping of str to Prior
        One for each name of :data:`~.kinds.SHARED`, for ``cell_length`` (relative), ``cell_angle_deg``,
        ``inverse_size``, ``microstrain``, ``log_march``, ``delta_b``. The start of ``width`` is replaced by
        the width of the pattern's lines where it shows any.
    background_degree : int
        Degree of the Bernstein polynomials.
    background_positive : bool
        Whether each background component must be non-negative.
    air, humps : bool
        Adds air scatter near the beam, and the two broad maxima of common glasses.
    model_error : float
        Relative error of calculated intensities in the weights (texture, graininess, profile).
    steps : int
        Most Levenberg-Marquardt steps per start.
    tolerance : float
        Decrease of the cost at which a fit has converged, in units of the reduced chi-squared: 0.01 is a
        tenth of a standard deviation.
    tail_level : float
        Tails are drawn until they fall below this share of the phase's strongest line.
    good_chi2 : float
        A start whose reduced chi-squared is below is not followed by others.
    more_starts : int
        How many others: from wider, then from sharper lines.
    tube_tails_mm : float
        Half-width of the source beside the focus, on the scale of ``radius_mm``.
    staged : bool
        Refine positions and widths before everything else.
    blur : tuple of float
        Relative blurs of the spacings (FWHM, widest first) of first fits that find cells and shifts; none:
        start from the reference cells.
    intensity_sigma : mapping of str to float
        Phases whose lines each get an intensity of their own (textured films, phases known by their cell
        alone), with its relative standard deviation about the table's. Their weight fractions mean little.
    """

    radiation: Radiation
    geometry: Geometry = "bragg-brentano"
    radius_mm: float = 173.0
    lorentz_factor: bool = True
    priors: Mapping[str, Prior] = field(default_factory=dict)
    background_degree: int = 7
    background_positive: bool = True
    air: bool = True
    humps: bool = True
    model_error: float = 0.03
    steps: int = 12
    tolerance: float = 10.0
    tail_level: float = 5e-4
    good_chi2: float = 3.0
    more_starts: int = 1
    tube_tails_mm: float = 1.0
    staged: bool = False
    blur: tuple[float, ...] = ()
    intensity_sigma: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check names and numbers."""
        unknown = set(self.priors) - set(_NAMES)
        missing = set(_NAMES) - set(self.priors)
        if unknown or missing:
            raise ConfigurationError(
                f"fit settings: unknown parameters {sorted(unknown)}, missing {sorted(missing)}; "
                f"there are {', '.join(_NAMES)}"
            )
        if self.geometry not in ("bragg-brentano", "debye-scherrer"):
            raise ConfigurationError(
                f"fit settings: geometry {self.geometry!r}, expected 'bragg-brentano' or 'debye-scherrer'"
            )
        if self.radius_mm <= 0 or self.background_degree < 0 or self.steps < 1:
            raise ConfigurationError("fit settings: radius, background degree and steps must be positive")

    def changed(self, priors: Mapping[str, Prior] | None = None, **changes: object) -> Settings:
        """Return other settings: ``priors`` replaces single priors, keywords replace fields."""
        return replace(self, priors={**self.priors, **(priors or {})}, **changes)


def _priors(radiation: Radiation, geometry: Geometry, radius_mm: float) -> dict[str, Prior]:
    """What the quick fit refines: zero, displacement, width, K-alpha2, polarisation; cells, widths,
    texture."""
    bragg = geometry == "bragg-brentano"
    per_mm = np.rad2deg(2 / radius_mm) if bragg else np.rad2deg(1 / radius_mm)
    second = Prior(radiation.ka2_ratio, 0.15 if radiation.has_second else FIXED, 0.0, 0.8)
    return {
        "zero_deg": Prior(0.0, 0.03, -0.5, 0.5),
        "displacement_mm": Prior(0.0, 0.06 / per_mm, -1 / per_mm, 1 / per_mm),
        "shift2_mm": Prior(0.0, FIXED, -1 / per_mm, 1 / per_mm),
        "width": Prior(np.log(0.12), 0.5, np.log(0.002), np.log(2.0)),
        "u_deg2": Prior(0.0, FIXED, -0.2, 0.5),
        "v_deg2": Prior(0.0, FIXED, -0.2, 0.2),
        "x_deg": Prior(0.0, FIXED, 0.0, 1.0),
        "y_deg": Prior(0.0, FIXED, -0.03, 1.0),
        "axial": Prior(0.0, FIXED, 0.0, 0.15),
        "equatorial_deg": Prior(0.0, FIXED, 0.0, 5.0),
        "tube_tails": Prior(0.0, FIXED, 0.0, 0.3),
        "ka2_ratio": second,
        "polarisation": Prior(0.85, 0.12, 0.0, 1.0),
        "absorption": Prior(0.0, FIXED, 0.0, 3.0),
        "cell_length": Prior(0.0, 0.002, -0.05, 0.05),
        "cell_angle_deg": Prior(0.0, 0.1, -3.0, 3.0),
        "inverse_size": Prior(1 / 130, 0.0125, 1 / 4000, 0.3),
        "microstrain": Prior(2e-4, 4.4e-4, 0.0, 0.02),
        "log_march": Prior(0.0, 0.15, -1.2, 1.2),
        "delta_b": Prior(0.0, FIXED, -1.5, 3.0),
    }


def quick_settings(
    radiation: Radiation,
    geometry: Geometry = "bragg-brentano",
    radius_mm: float = 173.0,
    version: int = QUICK_VERSION,
) -> Settings:
    """Return the settings of the cross-check beside a network's answer (milliseconds).

    Parameters
    ----------
    radiation, geometry, radius_mm
        As in :class:`Settings`.
    version : int
        Which quick fit: 1 starts from the reference cells, 2 from fits of the blurred pattern.
    """
    if version not in _BLUR_OF:
        raise ConfigurationError(
            f"quick fit: version {version!r}, this release knows {', '.join(map(str, _BLUR_OF))}; "
            "install the release that the model was trained with, or train it again"
        )
    priors = _priors(radiation, geometry, radius_mm)
    return Settings(radiation, geometry, radius_mm, priors=priors, blur=_BLUR_OF[version])


def refine_settings(
    radiation: Radiation,
    geometry: Geometry = "bragg-brentano",
    radius_mm: float = 173.0,
    *,
    polarisation: float | None = None,
) -> Settings:
    """Return the settings of a publishable refinement of one pattern (tens of milliseconds).

    Beyond the quick fit U, V, axial divergence (Bragg-Brentano also has it) and the overall B of each
    phase are refined, priors are wider, weights are those of counting alone.

    Parameters
    ----------
    radiation, geometry, radius_mm
        As in :class:`Settings`.
    polarisation : float, optional
        k of 1 + k cos^2(2theta), then fixed: 0 where data are corrected, cos^2(2theta_m) with a
        monochromator.
    """
    priors, bragg = _priors(radiation, geometry, radius_mm), geometry == "bragg-brentano"
    fixed = {} if polarisation is None else {"polarisation": Prior(polarisation, FIXED, 0.0, 1.0)}
    second = Prior(radiation.ka2_ratio, 0.03 if radiation.has_second else FIXED, 0.0, 0.8)
    priors |= {
        "zero_deg": Prior(0.0, 0.05, -1.0, 1.0),
        "displacement_mm": replace(priors["displacement_mm"], sigma=3 * priors["displacement_mm"].sigma),
        "width": replace(priors["width"], sigma=0.5),
        "u_deg2": Prior(0.0, 0.01, -0.2, 0.5),
        "v_deg2": Prior(0.0, 0.01, -0.2, 0.2),
        # usual Soller slits pass 0.04 rad; the pattern does not depend on it to first order at 0
        "axial": Prior(0.04, 0.02, 0.004, 0.15) if bragg else Prior(0.003, 0.01, 0.0005, 0.1),
        "ka2_ratio": second,
        "cell_length": Prior(0.0, 0.01, -0.05, 0.05),
        "cell_angle_deg": Prior(0.0, 0.5, -3.0, 3.0),
        "inverse_size": Prior(1 / 200, 0.0125, 1 / 4000, 0.5),
        "microstrain": Prior(2e-4, 1e-3, 0.0, 0.03),
        "log_march": Prior(0.0, 0.3, -1.2, 1.2),
        "delta_b": Prior(0.0, 0.2, -1.5, 3.0),
        **fixed,
    }
    return Settings(
        radiation, geometry, radius_mm, priors=priors, background_degree=9, model_error=0.0, steps=40,
        tolerance=0.1, tail_level=5e-5, good_chi2=10.0, staged=True, more_starts=2,
        blur=_BLUR,
    )  # fmt: skip
