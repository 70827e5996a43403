"""What a `model.toml` of a spin model may say; field by field, so that an error names its key."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator
from streamproc.models.excitations.mapmodel.tables import MapFile, Table, Vector

__all__ = ["AnisotropyTable", "BondEntry", "DmTable", "ExchangeTable", "ModelFile"]

Cells = tuple[int, int, int]
BondEntry = tuple[str, str, Cells]


class LatticeTable(Table):
    """``[lattice]``: lengths in angstrom, angles in degrees."""

    a: float = Field(gt=0)
    b: float = Field(gt=0)
    c: float = Field(gt=0)
    alpha: float = Field(90.0, gt=0, lt=180)
    beta: float = Field(90.0, gt=0, lt=180)
    gamma: float = Field(90.0, gt=0, lt=180)


class SiteTable(Table):
    """``[[site]]``."""

    name: str
    position: Vector
    spin: float = Field(gt=0)
    direction: Vector = (0.0, 0.0, 1.0)
    g: float = Field(2.0, gt=0)
    form_factor: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if not any(self.direction):
            raise ValueError("direction: expected a vector with a length")
        if self.form_factor and len(self.form_factor) % 2 == 0:
            raise ValueError("form_factor: expected A, a, B, b, ..., D: an odd number of coefficients")
        return self


class OrderTable(Table):
    """``[order]``: the propagation vector, and the axis about which spins turn from cell to cell."""

    propagation: Vector = (0.0, 0.0, 0.0)
    axis: Vector | None = None


class ExchangeTable(Table):
    """``[[exchange]]``: J S_i.S_j on bonds [site, site, cell of the second]; each bond once."""

    name: str
    bonds: tuple[BondEntry, ...] = Field(min_length=1)
    diagonal: Vector = (1.0, 1.0, 1.0)


class DmTable(Table):
    """``[[dm]]``: D vector.(S_i x S_j) on bonds, in the order of their sites."""

    name: str
    bonds: tuple[BondEntry, ...] = Field(min_length=1)
    vector: Vector = (0.0, 0.0, 1.0)


class AnisotropyTable(Table):
    """``[[anisotropy]]``: D (axis.S)^2; easy axis for D < 0."""

    name: str
    sites: tuple[str, ...] = Field(min_length=1)
    axis: Vector = (0.0, 0.0, 1.0)


class ModelFile(MapFile):
    """A whole file."""

    kind: Literal["spin-model"]
    lattice: LatticeTable
    site: tuple[SiteTable, ...] = Field(min_length=1)
    order: OrderTable = OrderTable()
    exchange: tuple[ExchangeTable, ...] = Field(min_length=1)
    dm: tuple[DmTable, ...] = ()
    anisotropy: tuple[AnisotropyTable, ...] = ()

    @model_validator(mode="after")
    def _places(self) -> Self:
        for n, d in enumerate(self.derived, start=1):
            if d.at is None:
                raise ValueError(f"derived[{n}].at: expected a wave vector")
        return self
