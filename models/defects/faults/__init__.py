"""Stacking faults of close-packed crystals: exact rods by transfer matrix, and powder lines as components."""

from streamproc.models.defects.faults.components import (
    Component,
    centroid_shift,
    family_coefficients,
    initial_slope,
    split_family,
)
from streamproc.models.defects.faults.rods import powder_rods, rod_intensity
from streamproc.models.defects.faults.stacking import Faults, Mode, correlation, modes, peak_mode
from streamproc.models.defects.faults.warren import warren_shift_deg, warren_slope, warren_table

__all__ = [
    "Component",
    "Faults",
    "Mode",
    "centroid_shift",
    "correlation",
    "family_coefficients",
    "initial_slope",
    "modes",
    "peak_mode",
    "powder_rods",
    "rod_intensity",
    "split_family",
    "warren_shift_deg",
    "warren_slope",
    "warren_table",
]
