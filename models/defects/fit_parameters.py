"""Parameters of the whole-pattern fit of defects: ranges, and their way into a state and an instrument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from streamproc.models.defects.faults import Faults
from streamproc.models.defects.material import Material
from streamproc.models.defects.state import DefectState
from streamproc.models.powder.optics import Instrument

from streamproc.errors import ConfigurationError

__all__ = ["PARAMETERS", "Parameter", "applied", "checked_names", "default_free", "start_values"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Parameter:
    """Range of one parameter, its step for numeric slopes, and whether its logarithm is refined."""

    low: float
    high: float
    step: float
    log: bool = False

    @property
    def limits(self) -> tuple[float, float]:
        """The range as refined: of the logarithm where that is."""
        return (float(np.log(self.low)), float(np.log(self.high))) if self.log else (self.low, self.high)


PARAMETERS: Mapping[str, Parameter] = {
    "density_per_m2": Parameter(1e12, 1e17, 1e-3, True),
    "arrangement": Parameter(0.2, 50.0, 1e-3, True),
    "q": Parameter(-1.0, 2.95, 1e-3),
    "size_nm": Parameter(2.0, 1000.0, 1e-3, True),
    "size_sigma": Parameter(0.05, 0.9, 1e-3),
    "deformation": Parameter(0.0, 0.2, 1e-5),
    "extrinsic": Parameter(0.0, 0.2, 1e-5),
    "growth": Parameter(0.0, 0.3, 1e-5),
    "cell_scale": Parameter(0.97, 1.03, 1e-6),
    "zero_deg": Parameter(-0.5, 0.5, 1e-4),
    "displacement_mm": Parameter(-0.5, 0.5, 1e-3),
}
"""What can be refined."""


def default_free(material: Material) -> tuple[str, ...]:
    """Return what is refined by default: not sigma and extrinsic faults, faults only for fcc."""
    faults = ("deformation", "growth") if material.lattice == "fcc" else ()
    return ("density_per_m2", "arrangement", "q", "size_nm", *faults, "cell_scale")


def checked_names(free: Sequence[str]) -> tuple[str, ...]:
    """Return the names to refine.

    Raises
    ------
    ConfigurationError
        When one is not known.
    """
    unknown = [name for name in free if name not in PARAMETERS]
    if unknown:
        raise ConfigurationError(
            f"no defect parameter is called {', '.join(unknown)}; there are {', '.join(PARAMETERS)}"
        )
    return tuple(free)


def start_values(free: Sequence[str], state: DefectState, instrument: Instrument) -> Array:
    """Return the refined values (logarithms where they are) of a state and an instrument."""
    values = []
    for name in free:
        owner = next(o for o in (state.faults, instrument, state) if hasattr(o, name))
        value = float(np.clip(getattr(owner, name), PARAMETERS[name].low, PARAMETERS[name].high))
        values.append(np.log(value) if PARAMETERS[name].log else value)
    return np.array(values)


def applied(
    free: Sequence[str], values: Array, state: DefectState, instrument: Instrument
) -> tuple[DefectState, Instrument]:
    """Return state and instrument with the refined values in them."""
    named = {
        name: float(np.exp(value) if PARAMETERS[name].log else value)
        for name, value in zip(free, values, strict=True)
    }
    faults = {name: named.pop(name) for name in ("deformation", "extrinsic", "growth") if name in named}
    optics = {name: named.pop(name) for name in ("zero_deg", "displacement_mm") if name in named}
    total: Faults = replace(state.faults, **faults)
    return replace(state, faults=total, **named), replace(instrument, **optics)
