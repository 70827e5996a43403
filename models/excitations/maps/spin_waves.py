"""Spin waves as the physics of a map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lswt.waves import SpinWaves
from streamproc.models.excitations.maps.bank import Bank, probe_of
from streamproc.models.excitations.maps.render import Renderer
from streamproc.models.excitations.spinmodel.case import SpinCase, case_of

__all__ = ["SpinPhysics"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SpinPhysics:
    """Of one spin model; see :class:`~streamproc.models.excitations.maps.physics.Physics`."""

    case: SpinCase
    drawn_points: ClassVar[int] = 10
    checked_points: ClassVar[int] = 24

    def renderer(self, q_rlu: Array, energy: Array, points: int) -> Renderer:
        """Return what draws maps."""
        return Renderer(self.case, q_rlu, energy, points)

    def trials(self) -> Bank:
        """Return the bank of trial couplings."""
        return Bank(self.case)

    def probe(self, rng: np.random.Generator) -> SpinWaves:
        """Return wave vectors at which the order must be a minimum."""
        return probe_of(self.case, rng)

    def dispersion(self, q_rlu: Array) -> SpinWaves:
        """Return the magnons at wave vectors."""
        return SpinWaves(self.case.model, q_rlu)

    def modes(self) -> int:
        """Return how many there are."""
        return len(self.case.model.sites)

    def lengths(self, q_rlu: Array) -> Array:
        """Return |Q| (1/angstrom); of a powder it is the first component."""
        if self.case.powder:
            return np.asarray(q_rlu[:, 0])
        return np.asarray(np.linalg.norm(q_rlu @ self.case.model.lattice.reciprocal(), axis=1))

    def derived(self) -> Callable[[Mapping[str, float]], Array]:
        """Return the energies at the derived wave vectors as a function of the couplings."""
        if not self.case.derived:
            return lambda values: np.zeros(0)
        highest = np.array([d.mode == "highest" for d in self.case.derived], dtype=bool)
        waves = SpinWaves(self.case.model, np.array([d.at for d in self.case.derived], dtype=float))

        def energies(values: Mapping[str, float]) -> Array:
            found = waves.energies(values)
            return np.where(highest, found[:, -1], found[:, 0])

        return energies

    def foreign(self) -> SpinCase | None:
        """Return the ferromagnet on the same bonds; None where the model is one."""
        if not any(self.case.file.order.propagation):
            return None
        content: dict[str, Any] = self.case.file.model_dump(mode="json", exclude_none=True)
        content["order"] = {"propagation": [0, 0, 0]}
        content["derived"] = []
        exchange = {e["name"] for e in content["exchange"]}
        for name, table in content["parameters"].items():
            if name in exchange and table.get("range") and not table.get("relative_to"):
                table["range"] = [-table["range"][1], -table["range"][0]]
            elif table.get("relative_to") and name not in exchange:
                table["range"] = sorted([-table["range"][0], -table["range"][1]])
        return case_of(content, Path(f"{self.case.name} (other order)"))
