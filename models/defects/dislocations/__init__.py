"""Dislocations: strain profiles after Wilkens, contrast factors of cubic crystals, classical plots."""

from streamproc.models.defects.dislocations.contrast import (
    ELASTIC_GPA,
    FLUORITE_GPA,
    Contrast,
    contrast_factor,
    cubic_contrast,
)
from streamproc.models.defects.dislocations.plots import (
    LineFit,
    ModifiedWilliamsonHall,
    WilliamsonHall,
    fault_shifts,
    fault_slopes,
    modified_williamson_hall,
    williamson_hall,
)
from streamproc.models.defects.dislocations.wilkens import strain_coefficients, wilkens

__all__ = [
    "ELASTIC_GPA",
    "FLUORITE_GPA",
    "Contrast",
    "LineFit",
    "ModifiedWilliamsonHall",
    "WilliamsonHall",
    "contrast_factor",
    "cubic_contrast",
    "fault_shifts",
    "fault_slopes",
    "modified_williamson_hall",
    "strain_coefficients",
    "wilkens",
    "williamson_hall",
]
