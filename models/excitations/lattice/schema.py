"""What a `model.toml` of a lattice model may say."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator
from streamproc.models.excitations.mapmodel.tables import DerivedTable, MapFile, Range, Table

__all__ = ["CrystalTable", "LatticeFile", "PhononTable"]


class CrystalTable(Table):
    """``[crystal]``: a cubic element."""

    lattice: Literal["sc", "bcc", "fcc", "diamond"]
    a: float = Field(gt=0)
    """Edge of the cubic cell (angstrom)."""
    mass: float = Field(gt=0)
    """Atomic mass (u)."""
    shells: int = Field(ge=1, le=6)
    """Shells of neighbours that are joined by force constants."""


class PhononTable(DerivedTable):
    """``[[derived]]``: energy of a mode at a wave vector (units of 2 pi / a along
    the cubic axes), or of a maximum of the density of states."""

    maximum: Range | None = None
    """The highest maximum of the density of states between two energies, in parts of the highest phonon's."""

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if (self.at is not None) + (self.maximum is not None) != 1:
            raise ValueError(
                "expected exactly one of at (a wave vector) and maximum (of the density of states)"
            )
        if self.maximum is not None and not 0 <= self.maximum[0] < self.maximum[1]:
            raise ValueError(f"maximum {list(self.maximum)}: expected 0 <= low < high")
        return self


class LatticeFile(MapFile):
    """A whole file."""

    kind: Literal["lattice-model"]
    crystal: CrystalTable
    derived: tuple[PhononTable, ...] = ()

    @model_validator(mode="after")
    def _in_meV(self) -> Self:
        if self.energy.scale_free:
            raise ValueError("energy.scale_free: force constants and masses fix the energies; give meV")
        if self.energy.start <= 0:
            raise ValueError("energy.start: expected above 0, beyond the elastic line")
        return self
