"""What can be refined: names, units and places of the nonlinear parameters in one flat vector.

The vector holds the :data:`SHARED` parameters first and then :data:`OWN` for each phase. Scales and
background are linear and not in it.
"""

from __future__ import annotations

__all__ = ["CELL", "OWN", "SHARED", "own_index", "shared_index"]

SHARED = (
    "zero_deg", "displacement_mm", "shift2_mm", "width", "u_deg2", "v_deg2", "x_deg", "y_deg", "axial",
    "equatorial_deg", "tube_tails", "ka2_ratio", "polarisation", "absorption",
)  # fmt: skip
"""Parameters of the instrument.

``zero_deg``
    shift of the whole axis (degrees 2theta).
``displacement_mm``
    Bragg-Brentano: specimen displacement s, shift -2 s cos(theta) / R. Debye-Scherrer: shift of the specimen
    along the beam, -s sin(2theta) / R.
``shift2_mm``
    Bragg-Brentano: transparency, shift -t sin(2theta) / R. Debye-Scherrer: shift across the beam,
    -s cos(2theta) / R.
``width``
    ln sqrt(W), W in square degrees.
``u_deg2``, ``v_deg2``
    Gaussian FWHM^2 = U tan^2 + V tan + W.
``x_deg``, ``y_deg``
    instrumental Lorentzian FWHM = X / cos + Y tan.
``axial``
    Bragg-Brentano: largest axial angle that the Soller slits pass (radians), before and behind the specimen.
    Debye-Scherrer: half-height of specimen and of slit over the radius, taken as equal.
``equatorial_deg``
    divergence that makes the flat-specimen error.
``tube_tails``
    intensity of the pedestal that rays from beside the tube's focus make, over that of the line.
``ka2_ratio``
    intensity of the second group of emission lines over the first.
``polarisation``
    k of 1 + k cos^2(2theta).
``absorption``
    mu R of a capillary.
"""

CELL = 6
OWN = (
    "cell0",
    "cell1",
    "cell2",
    "cell3",
    "cell4",
    "cell5",
    "inverse_size",
    "microstrain",
    "log_march",
    "delta_b",
)
"""Parameters of each phase.

``cell0`` ... ``cell5``
    the free cell parameters in the order of :func:`~.cells.cell_names`: lengths as relative change, angles in
    degrees. ``inverse_size`` (1/nm), ``microstrain``, ``log_march`` = ln r, ``delta_b`` (square angstrom).
"""


def shared_index(name: str) -> int:
    """Return the place of a shared parameter."""
    return SHARED.index(name)


def own_index(phase: int, name: str) -> int:
    """Return the place of a phase's parameter."""
    return len(SHARED) + phase * len(OWN) + OWN.index(name)
