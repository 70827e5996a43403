"""The material system a model is for: its phases, what may be foreign to it, and how it is measured."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.crystal import Structure
from streamproc.models.powder.ranges import PriorRanges
from streamproc.models.powder.tables import PhaseTable, d_min_of, table_of

from streamproc.errors import ConfigurationError
from streamproc.inference.card import Axis

__all__ = ["Grid", "System"]

_MOST_PHASES = 60
_MIN_COVERAGE = 0.5
"""Training cuts up to an eighth of the axis in front and three eighths behind."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The model's axis: ``n`` even points from ``start_deg`` to ``stop_deg`` (2theta), both included."""

    start_deg: float
    stop_deg: float
    n: int = 2000

    def points(self) -> npt.NDArray[np.float64]:
        """Return the points (degrees), shape (n,)."""
        return np.linspace(self.start_deg, self.stop_deg, self.n)


@dataclass(frozen=True, slots=True)
class System:
    """What determines the patterns a model is trained on.

    Attributes
    ----------
    name : str
        Name of the model.
    phases : tuple of Structure
        Phases the model quantifies, in the order of its outputs.
    foreign : tuple of Structure
        Named materials that play the unknown in training.
    held_out : tuple of Structure
        Materials never seen in training: abstention is scored on these.
    grid : Grid
        The axis.
    ranges : PriorRanges
        Wavelengths, geometry, instruments and states of grains to span.
    area_share : float
        Share of training patterns from an area detector (smooth rings, other widths) instead of a
        scanning diffractometer.
    """

    name: str
    phases: tuple[Structure, ...]
    foreign: tuple[Structure, ...] = field(repr=False)
    held_out: tuple[Structure, ...] = field(repr=False)
    grid: Grid
    ranges: PriorRanges
    area_share: float = 0.4

    def __post_init__(self) -> None:
        labels = self.labels
        if not 1 <= len(labels) <= _MOST_PHASES:
            raise ConfigurationError(f"a model has 1 to {_MOST_PHASES} phases, got {len(labels)}")
        if len(set(labels)) != len(labels):
            twice = sorted({n for n in labels if labels.count(n) > 1})
            raise ConfigurationError(f"phases of one name: {', '.join(twice)}; give each its own")

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the phases, in order."""
        return tuple(p.name for p in self.phases)

    @property
    def second_A(self) -> float | None:
        """Wavelength of the second line (angstrom); None for a single line."""
        both = (self.ranges.ka2_absent_share, self.ranges.area_ka2_absent_share)
        return None if min(both) >= 1 else self.ranges.wavelength2_A

    def axis(self) -> Axis:
        """Return the axis as the card holds it."""
        grid = self.grid
        return Axis(
            kind="two_theta_deg",
            start=grid.start_deg,
            stop=grid.stop_deg,
            n=grid.n,
            wavelength_A=self.ranges.wavelength_A,
            min_coverage=_MIN_COVERAGE,
        )

    def tables(self, materials: tuple[Structure, ...]) -> list[PhaseTable]:
        """Return reflection tables down to what the axis shows.

        Raises
        ------
        ConfigurationError
            When a phase has no reflection on the axis.
        """
        d_min = d_min_of(min(self.ranges.wavelength_A, self.ranges.wavelength2_A), self.grid.stop_deg)
        return [table_of(m, self.ranges.wavelength_A, d_min) for m in materials]
