"""What training patterns of a defective metal look like, and what is asked of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from streamproc.models.defects.dislocations.contrast import invariant
from streamproc.models.defects.faults import Faults
from streamproc.models.defects.material import Material
from streamproc.models.defects.state import DefectState, microstrain
from streamproc.models.powder.optics import Instrument

__all__ = ["DefectRanges", "draw_optics", "draw_state", "stress_offsets", "target_names", "targets_of"]

Array = npt.NDArray[np.float64]
Range = tuple[float, float]

_COMMON = ("ln_density", "ln_size", "ln_microstrain", "q", "static_b", "ln_march")
_FCC = ("deformation", "growth")


@dataclass(frozen=True, slots=True)
class DefectRanges:
    """Ranges of training; a logarithmic one where values span decades.

    Attributes
    ----------
    density_per_m2, arrangement, size_nm : tuple of float
        Dislocation density (1/m^2), M = Re sqrt(rho), area-weighted mean diameter (nm); logarithmic.
    size_sigma : tuple of float
        Width of the size distribution.
    q_margin : float
        q lies between the edge and screw values and this far beyond.
    deformation, growth : tuple of float
        Fault probabilities of fcc; ``absent_share`` of the patterns have none of a kind.
    static_b_A2, march_r, amorphous : tuple of float
        Point defects and static displacements, texture, amorphous share; absent in ``absent_share``.
    cell_span, zero_deg, displacement_mm : float
        Half ranges of relative cell changes and of the shifts of the axis.
    width_span : float
        Relative half range of the instrument's widths about those of the standard.
    counts, background : tuple of float
        Counts in the highest point; background over it; logarithmic.
    grains : float
        Standard deviation of the strength of each family.
    stress_strain : float
        Half range of the strain between hhh and h00 that residual stress makes (:func:`stress_offsets`).
    foreign : float
        Up to three foreign peaks, each up to this height over the highest point.
    """

    density_per_m2: Range = (1e13, 2e16)
    arrangement: Range = (0.7, 4.0)
    size_nm: Range = (8.0, 300.0)
    size_sigma: Range = (0.2, 0.5)
    q_margin: float = 0.1
    deformation: Range = (0.0, 0.06)
    growth: Range = (0.0, 0.1)
    absent_share: float = 0.35
    static_b_A2: Range = (0.0, 0.8)
    march_r: Range = (0.5, 1.6)
    amorphous: Range = (0.0, 0.4)
    cell_span: float = 0.003
    zero_deg: float = 0.03
    displacement_mm: float = 0.1
    width_span: float = 0.07
    counts: Range = (2e3, 1e5)
    background: Range = (0.002, 0.1)
    grains: float = 0.03
    stress_strain: float = 0.0
    foreign: float = 0.0


def target_names(material: Material) -> tuple[str, ...]:
    """Return what is read from a pattern of the material, in the order of the outputs."""
    return (*_COMMON, *(_FCC if material.lattice == "fcc" else ()), "amorphous")


def targets_of(material: Material, state: DefectState) -> Array:
    """Return the true values in the order of :func:`target_names`."""
    values = {
        "ln_density": np.log(state.density_per_m2),
        "ln_size": np.log(state.size_nm),
        "ln_microstrain": np.log(microstrain(material, state)),
        "q": state.q,
        "static_b": state.static_b_A2,
        "ln_march": np.log(state.march_r),
        "deformation": state.faults.deformation,
        "growth": state.faults.growth,
        "amorphous": state.amorphous,
    }
    return np.array([values[name] for name in target_names(material)])


def _log(rng: np.random.Generator, both: Range) -> float:
    return float(np.exp(rng.uniform(*np.log(both))))


def draw_state(rng: np.random.Generator, material: Material, ranges: DefectRanges) -> DefectState:
    """Draw the defects of one crystal; the amorphous share is mixed in later."""

    def perhaps(both: Range, none: float = 0.0) -> float:
        return none if rng.random() < ranges.absent_share else float(rng.uniform(*both))

    q = sorted((material.edge.q, material.screw.q))
    faults = Faults()
    if material.lattice == "fcc":
        faults = Faults(deformation=perhaps(ranges.deformation), growth=perhaps(ranges.growth))
    low, high = np.log(ranges.march_r)
    return DefectState(
        density_per_m2=_log(rng, ranges.density_per_m2),
        arrangement=_log(rng, ranges.arrangement),
        q=float(rng.uniform(q[0] - ranges.q_margin, q[1] + ranges.q_margin)),
        size_nm=_log(rng, ranges.size_nm),
        size_sigma=float(rng.uniform(*ranges.size_sigma)),
        faults=faults,
        march_r=float(np.exp(perhaps((low, high)))),
        static_b_A2=perhaps(ranges.static_b_A2),
        cell_scale=1 + ranges.cell_span * float(rng.uniform(-1, 1)),
    )


def stress_offsets(material: Material, strain: float) -> Array:
    """Return by how much residual stress moves each family, relative in s, shape (n,).

    Under a stress in the plane of the specimen all grains strain along its normal in proportion to
    S12 + S0 H2 with S0 = S11 - S12 - S44 / 2 (Reuss; Noyan & Cohen 1987, Residual Stress, chapter 5): h00 and
    hhh differ most. The part that all lines have in common is that of the cell.

    Parameters
    ----------
    material : Material
        Whose families.
    strain : float
        Lattice strain of hhh less that of h00.
    """
    h2 = np.array([invariant(row) for row in material.hkl])
    return -strain * (3 * h2 - 0.5)


def draw_optics(rng: np.random.Generator, instrument: Instrument, ranges: DefectRanges) -> Instrument:
    """Draw a state of the instrument about what the standard says."""
    width = 1 + ranges.width_span * float(rng.uniform(-1, 1))
    return replace(
        instrument,
        u_deg2=instrument.u_deg2 * width**2,
        v_deg2=instrument.v_deg2 * width**2,
        w_deg2=instrument.w_deg2 * width**2,
        lorentz_x_deg=instrument.lorentz_x_deg * width,
        lorentz_y_deg=instrument.lorentz_y_deg * width,
        zero_deg=instrument.zero_deg + ranges.zero_deg * float(rng.uniform(-1, 1)),
        displacement_mm=instrument.displacement_mm + ranges.displacement_mm * float(rng.uniform(-1, 1)),
        polarisation=instrument.polarisation * float(rng.uniform(0.95, 1.05)),
    )
