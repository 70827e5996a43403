"""The classical numbers beside a model's: single lines, Williamson-Hall plots, Warren's shifts and
broadening."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from streamproc.models.defects.dislocations import (
    LineFit,
    ModifiedWilliamsonHall,
    WilliamsonHall,
    fault_shifts,
    fault_slopes,
    modified_williamson_hall,
    williamson_hall,
)
from streamproc.models.defects.evidence import count_scale
from streamproc.models.defects.reference import Reference
from streamproc.models.defects.singles import fit_lines

from streamproc.errors import FrameFailed

__all__ = ["ClassicalCheck", "classical_check"]

Array = npt.NDArray[np.float64]

_LEAST_LINES = 4
_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class ClassicalCheck:
    """What single lines say.

    Attributes
    ----------
    lines : tuple of LineFit
        Fitted lines, the instrument taken off.
    plot : WilliamsonHall
        Breadths against s.
    modified : ModifiedWilliamsonHall
        With contrast factors, for fcc with planar faults.
    alpha, alpha_sigma : float
        Deformation faults by Warren's shifts; NaN but for fcc.
    broadening : float
        1.5 alpha + beta by Warren's broadening; NaN but for fcc.
    """

    lines: tuple[LineFit, ...]
    plot: WilliamsonHall
    modified: ModifiedWilliamsonHall
    alpha: float
    alpha_sigma: float
    broadening: float


def classical_check(two_theta_deg: Array, intensity: Array, reference: Reference, q: float) -> ClassicalCheck:
    """Fit single lines and read the classical plots.

    Parameters
    ----------
    two_theta_deg, intensity : ndarray, shape (n,)
        The pattern, in any scale: noise is taken from its second differences.
    reference : Reference
        Of the model's card.
    q : float
        Contrast parameter of the dislocations (the model's estimate).

    Raises
    ------
    FrameFailed
        When fewer than four lines can be fitted.
    """
    scale = count_scale(intensity)
    floor = max(float(np.quantile(intensity, 0.02)), 1e-4 * float(intensity.max()))
    variance = scale * np.maximum(intensity, floor)
    material = reference.material
    lines = _told_apart(fit_lines(two_theta_deg, intensity, variance, material, reference.instrument))
    if len(lines) < _LEAST_LINES:
        raise FrameFailed(f"{len(lines)} lines of {material.name} stand alone, at least {_LEAST_LINES}")
    contrast, fcc = material.contrast(q), material.lattice == "fcc"
    modified = modified_williamson_hall(lines, contrast, material.burgers_nm, faults=fcc)
    alpha = sigma = broadening = _NAN
    if fcc:
        # places are known to a small part of the breadth, as the breadths are
        places = float(np.median([line.sigma * line.breadth_per_nm / line.s_per_nm for line in lines]))
        _, alpha, sigma = fault_shifts(lines, max(places, 1e-6))
        broadening = fault_slopes(lines, material.a_nm, contrast)
    return ClassicalCheck(tuple(lines), williamson_hall(lines), modified, alpha, sigma, broadening)


def _told_apart(lines: list[LineFit]) -> list[LineFit]:
    """Leave out families that lie on each other (333 and 511)."""
    norms = [sum(i * i for i in line.hkl) for line in lines]
    return [line for line, norm in zip(lines, norms, strict=True) if norms.count(norm) == 1]
