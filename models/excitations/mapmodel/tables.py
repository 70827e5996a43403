"""Tables of a `model.toml` that all models of maps share; field by field, so that an error names its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from streamproc.errors import ConfigurationError

__all__ = [
    "DerivedTable",
    "EnergyTable",
    "MapFile",
    "MeasurementTable",
    "ParameterTable",
    "QTable",
    "Range",
    "Table",
    "Vector",
    "parsed",
]

Vector = tuple[float, float, float]
Range = tuple[float, float]


class Table(BaseModel):
    """A table without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ParameterTable(Table):
    """``[parameters.NAME]``: free in a range, fixed, or tied to another."""

    range: Range | None = None
    relative_to: str | None = None
    """The range is of the ratio to this parameter."""
    prior: Literal["uniform", "log", "origin"] = "uniform"
    """How training draws: uniform, uniform in the logarithm, or crowded towards zero."""
    value: float | None = None
    of: str | None = None
    factor: float = 1.0

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if (self.range is not None) + (self.value is not None) + (self.of is not None) != 1:
            raise ValueError("expected exactly one of range (free), value (fixed) and of (tied)")
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError(f"range {list(self.range)}: expected low < high")
        if self.prior == "log" and self.range is not None and self.range[0] * self.range[1] <= 0:
            raise ValueError("prior 'log': expected a range that does not hold zero")
        return self


class QTable(Table):
    """``[q]``: where spectra are taken. One of path, box and powder."""

    path: tuple[Vector, ...] | None = None
    """Corners, r.l.u."""
    box: tuple[Range, Range, Range] | None = None
    """Any columns and paths in this box of h, k, l."""
    powder: Range | None = None
    """|Q| of a powder, 1/angstrom."""
    columns: int = Field(32, ge=8, le=128)
    """Columns that the network reads at a time; a measured map is averaged into as many."""

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if (self.path is not None) + (self.box is not None) + (self.powder is not None) != 1:
            raise ValueError("expected exactly one of path, box and powder")
        if self.path is not None and len(self.path) < 2:
            raise ValueError("path: expected at least two corners")
        if self.powder is not None and not 0 < self.powder[0] < self.powder[1]:
            raise ValueError("powder: expected 0 < first < last")
        return self


class EnergyTable(Table):
    """``[energy]``: the window of energies, meV; with scale_free in units of the window's end."""

    start: float = Field(ge=0)
    stop: float = Field(gt=0)
    channels: int = Field(48, ge=16, le=256)
    scale_free: bool = False

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if not self.start < self.stop:
            raise ValueError("expected start < stop")
        if self.scale_free and self.stop != 1:
            raise ValueError("scale_free: energies are in units of the window's end: stop = 1")
        return self


class MeasurementTable(Table):
    """``[measurement]``: what spoils a measured map; each a range that training draws from, or one value.

    Energies are in the unit of ``[energy]``.
    """

    energy_fwhm: Range | float
    """Gaussian resolution at zero energy transfer."""
    end_fwhm: Range | float | None = None
    """The same at the end of the window; linear between. Unset: from ei, or the same everywhere."""
    ei: float | None = Field(None, gt=0)
    """Incident energy of a direct-geometry spectrometer: the width falls as (1 - E/Ei)^1.5."""
    q_fwhm: Range | float = 0.0
    """Full width of the box of Q along the path of the columns, r.l.u. (1/angstrom for a powder).

    Across the path training draws anything up to that.
    """
    q_axes: tuple[Vector, ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    """Directions in which Q is smeared: two or three span what across the path means; one is all there is."""
    damping: Range | float = 0.0
    """FWHM of the excitations themselves (damped harmonic oscillator)."""
    temperature: Range | float = 0.0
    """kT in the unit of energy (meV, or parts of the window); 1 K is 0.0862 meV."""
    counts: Range = (1.0, 100.0)
    """Counts of the excitations in the channels where they are strongest."""
    background: Range = (0.05, 3.0)
    """Background over their counts in the middle of the window."""

    @model_validator(mode="after")
    def _checked(self) -> Self:
        for name in type(self).model_fields:
            value = getattr(self, name)
            ends = value if isinstance(value, tuple) and len(value) == 2 and name != "q_axes" else None
            if ends is not None and not (0 <= ends[0] <= ends[1] and np.isfinite(ends).all()):
                raise ValueError(f"{name} = {list(ends)}: expected 0 <= low <= high")
            if isinstance(value, float) and value < 0:
                raise ValueError(f"{name} = {value}: expected no negative number")
        return self

    def ends(self, name: str) -> Range:
        """Return the range of a quantity; one value is a range of no width."""
        value = getattr(self, name)
        if value is None:
            return self.ends("energy_fwhm")
        return value if isinstance(value, tuple) else (float(value), float(value))


class DerivedTable(Table):
    """``[[derived]]``: an energy that is published beside the parameters: of a mode at a wave vector."""

    name: str
    at: Vector | None = None
    mode: Literal["lowest", "highest"] = "lowest"
    description: str = ""


class MapFile(Table):
    """What every file says, whatever its physics."""

    name: str
    kind: str
    description: str = ""
    parameters: dict[str, ParameterTable]
    q: QTable
    energy: EnergyTable
    measurement: MeasurementTable
    derived: tuple[DerivedTable, ...] = ()


File = TypeVar("File", bound=MapFile)


def parsed(kind: type[File], content: dict[str, Any], path: Path) -> File:
    """Validate a file's content.

    Raises
    ------
    ConfigurationError
        Names the file and the first keys that are wrong.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        wrong = "; ".join(f"{_key(e['loc'])}: {_said(e)}" for e in error.errors()[:3])
        raise ConfigurationError(f"{path}: {wrong}") from error


def _key(loc: tuple[int | str, ...]) -> str:
    """Write ``exchange[1].bonds`` for ('exchange', 0, 'bonds'): a reader counts tables from one."""
    text = ""
    for part in loc:
        text += f"[{part + 1}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return text or "the file"


def _said(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "is not known here"
    return str(error["msg"]).removeprefix("Value error, ")
