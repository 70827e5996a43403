"""What a crystal's defects are: what the simulator draws, the fit refines and the network answers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from streamproc.models.defects.dislocations.wilkens import wilkens
from streamproc.models.defects.faults.stacking import Faults
from streamproc.models.defects.material import Material

from streamproc.errors import ConfigurationError

__all__ = ["DefectState", "microstrain"]


@dataclass(frozen=True, slots=True)
class DefectState:
    """Defects of one material.

    Attributes
    ----------
    density_per_m2 : float
        Dislocation density rho (1/m^2).
    arrangement : float
        M = Re sqrt(rho): below 1 dipoles, above 2 weakly correlated dislocations.
    q : float
        Contrast parameter: near the material's edge or screw value.
    size_nm : float
        Area-weighted mean diameter m exp(2.5 sigma^2) of spherical coherent domains (nm).
    size_sigma : float
        Width of their log-normal distribution.
    faults : Faults
        Stacking faults of fcc.
    march_r : float
        March-Dollase parameter; 1 without texture.
    static_b_A2 : float
        What point defects and static displacements add to B (square angstrom).
    amorphous : float
        Part of the intensity of material in the range that comes from amorphous material, 0 to 1.
    cell_scale : float
        Factor on the lattice parameter.
    """

    density_per_m2: float = 1e13
    arrangement: float = 2.0
    q: float = 2.0
    size_nm: float = 200.0
    size_sigma: float = 0.4
    faults: Faults = field(default_factory=Faults)
    march_r: float = 1.0
    static_b_A2: float = 0.0
    amorphous: float = 0.0
    cell_scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ("density_per_m2", "arrangement", "size_nm", "march_r", "cell_scale"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name} must be positive, got {getattr(self, name):g}")
        if not 0 <= self.amorphous < 1:
            raise ConfigurationError(f"amorphous must be from 0 to below 1, got {self.amorphous:g}")

    @property
    def density_per_nm2(self) -> float:
        """Dislocation density (1/nm^2)."""
        return self.density_per_m2 * 1e-18

    @property
    def cutoff_nm(self) -> float:
        """Effective outer cut-off radius Re (nm)."""
        return self.arrangement / float(np.sqrt(self.density_per_nm2))

    @property
    def median_nm(self) -> float:
        """Median diameter (nm)."""
        return self.size_nm * float(np.exp(-2.5 * self.size_sigma**2))


def microstrain(material: Material, state: DefectState, length_nm: float = 10.0) -> float:
    """Return the root mean square strain along h00 over a column of ``length_nm`` (Wilkens 1970)."""
    f = float(wilkens(0.5 * np.exp(-0.25) * length_nm / state.cutoff_nm))
    contrast = material.contrast(state.q).h00
    return material.burgers_nm / 2 * float(np.sqrt(state.density_per_nm2 * contrast * f / np.pi))
