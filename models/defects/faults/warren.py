"""Warren's first-order rules for faulted fcc powders, for cross-checks and single-line fits.

B. E. Warren 1990, X-ray Diffraction (Dover), chapter 13: shifts are proportional to alpha, the initial
slope of the
Fourier coefficients to 1.5 alpha + beta. Both follow from the members of each family.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from streamproc.models.defects.faults.components import split_family

__all__ = ["warren_shift_deg", "warren_slope", "warren_table"]


def warren_table(hkl: Sequence[int]) -> tuple[float, float]:
    """Return the weights G and V of a cubic reflection: 1/4 and sqrt(3)/4 for 111, -1/2 and 1 for 200, ...

    Parameters
    ----------
    hkl : sequence of int
        Cubic indices.

    Returns
    -------
    g, v : float
        Weight of the shift, and of the broadening.
    """
    norm = float(np.sqrt(sum(i * i for i in hkl)))
    g = v = 0.0
    for component in split_family(hkl, (1.0,), "fcc"):
        v += component.share * component.layers_per_nm
        g += component.share * component.layers_per_nm / norm * {0: 0, 1: 1, 2: -1}[component.place]
    return g, v


def warren_shift_deg(hkl: Sequence[int], two_theta_deg: float, alpha: float) -> float:
    """Return Warren's shift 90 sqrt(3) alpha tan(theta) G / pi^2 of a line (degrees 2theta)."""
    g, _ = warren_table(hkl)
    return float(90 * np.sqrt(3) * alpha * np.tan(np.deg2rad(two_theta_deg) / 2) * g / np.pi**2)


def warren_slope(hkl: Sequence[int], a_nm: float, alpha: float, beta: float) -> float:
    """Return Warren's (1.5 alpha + beta) V / a (1/nm), what 1/D gains by faults."""
    _, v = warren_table(hkl)
    return (1.5 * alpha + beta) * v / a_nm
