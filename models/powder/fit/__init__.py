"""Full-profile least squares: the quick cross-check beside a network and the publishable refinement, one
engine.

numpy, scipy and numba only. Reflection tables come from :func:`reference_of` (written into a model's card)
and are read back by :func:`phases_of`; :class:`ProfileFitter` fits a measured pattern (:func:`pattern_of`),
:class:`QuickFitter` a pattern prepared for a network.
"""

from streamproc.models.powder.fit.data import Pattern, measured_points, pattern_of
from streamproc.models.powder.fit.engine import ProfileFitter
from streamproc.models.powder.fit.quick import QuickFitter, radiation_of
from streamproc.models.powder.fit.radiation import Radiation, cu_k_alpha, doublet, single_line
from streamproc.models.powder.fit.reference import PhaseLines, phases_of, reference_of, sticks_of
from streamproc.models.powder.fit.results import CrossCheck, FitState, PhaseResult, Refined, Value
from streamproc.models.powder.fit.screen import Candidate, Selection, screen, select
from streamproc.models.powder.fit.settings import (
    FIXED,
    FREE,
    Prior,
    Settings,
    quick_settings,
    refine_settings,
)

__all__ = [
    "FIXED",
    "FREE",
    "Candidate",
    "CrossCheck",
    "FitState",
    "Pattern",
    "PhaseLines",
    "PhaseResult",
    "Prior",
    "ProfileFitter",
    "QuickFitter",
    "Radiation",
    "Refined",
    "Selection",
    "Settings",
    "Value",
    "cu_k_alpha",
    "doublet",
    "measured_points",
    "pattern_of",
    "phases_of",
    "quick_settings",
    "radiation_of",
    "reference_of",
    "refine_settings",
    "screen",
    "select",
    "single_line",
    "sticks_of",
]
