"""Settings of the training prior: what instruments and grains may be; defaults are the shipped model's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.optics import CU_KA1_A, CU_KA2_A, Geometry

__all__ = ["PriorRanges", "Span"]

Range = tuple[float, float]
Span = float | tuple[float, float, float]
"""Relative lattice span: one number for all axes, or one for each of a, b, c."""

_DEFAULT_SPAN = 0.004


@dataclass(frozen=True, slots=True)
class PriorRanges:
    """What training patterns may be; pairs are the ends of ranges.

    Attributes
    ----------
    wavelength_A, wavelength2_A : float
        As of :class:`~streamproc.models.powder.optics.Instrument`.
    geometry : {'bragg-brentano', 'debye-scherrer'}
        Geometry.
    radius_mm : float
        Radius of the diffractometer or distance of the detector.
    missing_deg : tuple of (float, float)
        Stretches of 2theta no detector covers.
    cell_span : float, (float, float, float), or mapping of label to either
        Relative half-width of the lattice parameters' range; ``"*"`` in a mapping is for the others.
    fwhm_deg, u_deg2, v_deg2, lorentz_x_deg, lorentz_y_deg, asymmetry_deg : (float, float)
        Instrumental profile of a scanning diffractometer; the first is the square root of W.
    ka2_ratio, ka2_absent_share : (float, float), float
        Second line over the first, and how often there is none.
    displacement_mm, displacement_along_mm, zero_deg : (float, float)
        Shifts; the zero is normal with ``zero_sigma_deg`` and clipped.
    area_fwhm_deg, area_u_deg2, ... : (float, float)
        The same of an azimuthally averaged area detector.
    polarisation, unpolarised_share : (float, float), float
        k of the polarisation term, and how often it is 1 instead.
    mu_r : (float, float)
        Absorption of a capillary.
    particle_um : (float, float)
        Radius of particles (log-uniform): in a mixture those that absorb more show less (Brindley).
    size_nm, microstrain, march_r, delta_b_A2, graininess : (float, float)
        Grains; March r and B are normal about 1 and 0 with their sigmas and clipped.
    peak_counts, background_of_peak, first_two_theta_deg, last_two_theta_deg : (float, float)
        Counting statistics and ends of the measured axis, for the mixing of patterns.
    """

    wavelength_A: float = CU_KA1_A
    wavelength2_A: float = CU_KA2_A
    geometry: Geometry = "bragg-brentano"
    radius_mm: float = 173.0
    missing_deg: tuple[Range, ...] = ()
    cell_span: Span | Mapping[str, Span] = field(default=_DEFAULT_SPAN)
    fwhm_deg: Range = (0.07, 0.2)
    u_deg2: Range = (0.0, 0.02)
    v_deg2: Range = (-0.012, 0.0)
    lorentz_x_deg: Range = (0.0, 0.07)
    lorentz_y_deg: Range = (0.0, 0.0)
    asymmetry_deg: Range = (0.0, 0.035)
    ka2_ratio: Range = (0.45, 0.56)
    ka2_absent_share: float = 0.05
    displacement_mm: Range = (-0.15, 0.15)
    displacement_along_mm: Range = (0.0, 0.0)
    zero_deg: Range = (-0.05, 0.05)
    zero_sigma_deg: float = 0.02
    area_fwhm_deg: Range = (0.05, 0.4)
    area_u_deg2: Range = (0.0, 0.02)
    area_lorentz_x_deg: Range = (0.0, 0.03)
    area_ka2_ratio: Range = (0.47, 0.53)
    area_ka2_absent_share: float = 0.4
    area_displacement_mm: Range = (-0.1, 0.1)
    polarisation: Range = (0.6, 1.0)
    unpolarised_share: float = 0.35
    mu_r: Range = (0.0, 0.0)
    particle_um: Range = (0.2, 5.0)
    size_nm: Range = (15.0, 800.0)
    microstrain: Range = (0.0, 0.002)
    march_r: Range = (0.6, 1.4)
    march_sigma: float = 0.12
    delta_b_A2: Range = (-0.25, 0.5)
    delta_b_sigma_A2: float = 0.12
    graininess: Range = (0.0, 0.08)
    peak_counts: Range = (300.0, 3e6)
    background_of_peak: Range = (0.002, 0.5)
    first_two_theta_deg: Range = (20.0, 30.0)
    last_two_theta_deg: Range = (70.0, 100.0)

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            pairs = value if one.name == "missing_deg" else [value] if isinstance(value, tuple) else []
            for pair in pairs:
                if len(pair) == 2 and not pair[0] <= pair[1]:
                    raise ValueError(f"{one.name}: a range (low, high) is expected, got {tuple(pair)}")
        spans = self.cell_span.values() if isinstance(self.cell_span, Mapping) else [self.cell_span]
        for span in spans:
            if not all(0 <= v < 0.2 for v in np.ravel(span)):
                raise ValueError(f"cell_span: relative spans of 0 to 0.2 are expected, got {span}")

    def span_of(self, label: str) -> npt.NDArray[np.float64]:
        """Return the relative lattice span of a phase along a, b, c."""
        span = self.cell_span
        if isinstance(span, Mapping):
            span = span.get(label, span.get("*", _DEFAULT_SPAN))
        return np.array(np.broadcast_to(span, 3), float)

    def card(self) -> dict[str, str | float | Range]:
        """Return the ranges as a model's card holds them: numbers and pairs, with units in the names."""
        both = (self.fwhm_deg, self.area_fwhm_deg)
        found: dict[str, str | float | Range] = {
            "fwhm_deg": (min(r[0] for r in both), max(r[1] for r in both)),
            **self._spans(),
            "size_nm": self.size_nm,
            "microstrain": self.microstrain,
            f"displacement_mm_at_{self.radius_mm:g}": self.displacement_mm,
            "zero_deg": self.zero_deg,
            "monochromator_cos2": self.polarisation,
            "march_r": self.march_r,
            "particle_um": self.particle_um,
            "peak_counts": self.peak_counts,
            "background_of_peak": self.background_of_peak,
            "first_two_theta_deg": self.first_two_theta_deg,
            "last_two_theta_deg": self.last_two_theta_deg,
            "radiation": self._radiation(),
        }
        default = PriorRanges.__dataclass_fields__
        for name in ("geometry", "lorentz_y_deg", "displacement_along_mm", "mu_r"):
            if getattr(self, name) != default[name].default:
                found[name] = getattr(self, name)
        for n, pair in enumerate(self.missing_deg, 1):
            found[f"missing_{n}_deg"] = pair
        return found

    def _spans(self) -> dict[str, Any]:
        spans = self.cell_span if isinstance(self.cell_span, Mapping) else {"*": self.cell_span}
        found: dict[str, Any] = {}
        for label, span in spans.items():
            name = "cell_relative" if label == "*" else f"cell_relative {label}"
            if isinstance(span, tuple):
                found |= {f"{name} {axis}": (-v, v) for axis, v in zip("abc", span, strict=True)}
            else:
                found[name] = (-span, span)
        return found

    def _radiation(self) -> str:
        tail = "polarisation and Lorentz factor not corrected"
        if (self.wavelength_A, self.wavelength2_A) == (CU_KA1_A, CU_KA2_A):
            return f"Cu K-alpha, with or without K-alpha2; {tail}"
        single = self.ka2_absent_share == 1.0 and self.area_ka2_absent_share == 1.0
        second = "" if single else f" and {self.wavelength2_A:g}"
        return f"{self.wavelength_A:g}{second} angstrom; {tail}"
