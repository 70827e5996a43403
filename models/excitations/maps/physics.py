"""What the physics of a model must do so that its maps can be read, fitted and trained for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.mapmodel.case import MapCase
from streamproc.models.excitations.maps.widths import Widths

__all__ = ["Dispersion", "MapRenderer", "Physics", "Probe", "Trials"]

Array = npt.NDArray[np.float64]


class MapRenderer(Protocol):
    """Draws maps at fixed columns and channels; parameters and widths may vary."""

    def map(self, values: Mapping[str, float], widths: Widths) -> Array:
        """Return the intensity of the excitations, shape (n, m); NotStable where there is no model."""

    def beside(self, values: Mapping[str, float], widths: Widths) -> Array:
        """Return further shapes with an amount of their own, shape (k, n, m); k may be 0."""

    def slopes(
        self, values: Mapping[str, float], widths: Widths, fitted: Sequence[str]
    ) -> tuple[Array, Array] | None:
        """Return how map and further shapes change with each parameter, as ``values`` has them, and width.

        Shapes (v + w, n, m) and (v + w, k, n, m) for w names of fields of widths. None where only
        differences of maps tell. NotStable where there is no model.
        """

    def exact_at(self, values: Mapping[str, float], widths: Widths) -> MapRenderer:
        """Return one that is exact at these numbers, and off elsewhere only by how the error changes.

        Itself, where it has no error that would be seen. NotStable where there is no model.
        """

    def other(self) -> MapRenderer | None:
        """Return one that averages over other wave vectors: as far as they differ either may be off.

        None where the average has no error to speak of.
        """


class Trials(Protocol):
    """Trial parameters spread over the prior, and where each expects intensity.

    Attributes
    ----------
    size : int
        Number of trials t.
    units : ndarray, shape (t, p)
        Their places in the prior.
    shared : bool
        All trials look at the same places, with different weights; ``bins`` then has one row.
    """

    size: int
    units: Array
    shared: bool

    def look(self, q_rlu: Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float16]]:
        """Return places in the window, shape (t or 1, n * k), and weights there, shape (t, n * k)."""


class Probe(Protocol):
    """Says whether there is a model at all."""

    def check(self, values: Mapping[str, float]) -> None:
        """Raise NotStable where there is none."""


class Dispersion(Protocol):
    """Energies of the modes at fixed wave vectors."""

    def energies(self, values: Mapping[str, float]) -> Array:
        """Return them, shape (n, modes), rising; NotStable where there is no model."""


class Physics(Protocol):
    """All of it, for one case.

    Attributes
    ----------
    drawn_points : int
        Wave vectors that stand for the width of a training map's columns in Q.
    checked_points : int
        The same of a fit on the model's own channels.
    """

    drawn_points: ClassVar[int]
    checked_points: ClassVar[int]

    def renderer(self, q_rlu: Array, energy: Array, points: int) -> MapRenderer:
        """Return what draws maps; ``points`` wave vectors stand for the width of each column in Q."""

    def trials(self) -> Trials:
        """Return the bank of trials."""

    def probe(self, rng: np.random.Generator) -> Probe:
        """Return what tells stable parameters from others."""

    def dispersion(self, q_rlu: Array) -> Dispersion:
        """Return the modes at wave vectors (reciprocal lattice units)."""

    def modes(self) -> int:
        """Return how many there are at a wave vector."""

    def lengths(self, q_rlu: Array) -> Array:
        """Return |Q| of columns (1/angstrom), shape (n,)."""

    def derived(self) -> Any:
        """Return a function: values by name to the derived energies, shape (d,)."""

    def foreign(self) -> MapCase | None:
        """Return a case of other excitations on the same columns, to see whether they are noticed."""
