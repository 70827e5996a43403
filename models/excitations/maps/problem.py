"""A map as a problem of a descent: from places and widths to a drawn map whose linear part is solved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.mapmodel.errors import NotStable
from streamproc.models.excitations.mapmodel.parameters import Parameters
from streamproc.models.excitations.maps.linear import Linear, Projection
from streamproc.models.excitations.maps.physics import MapRenderer
from streamproc.models.excitations.maps.prior import folded
from streamproc.models.excitations.maps.widths import Widths

__all__ = ["MapProblem"]

Array = npt.NDArray[np.float64]

_STEP = 1e-6
"""Half a step of places, to see how parameters change with them."""


@dataclass(slots=True, eq=False)
class MapProblem:
    """Solves scales and background of one map; a :class:`~...descent.Problem`.

    Attributes
    ----------
    parameters : Parameters
        Places are those of its free ones.
    fitted : tuple of str
        Widths that stand behind the places.
    renderer : MapRenderer
        What draws.
    cells : ndarray of bool, shape (n, m)
        What is measured.
    widths : Widths
        All others.
    """

    parameters: Parameters = field(repr=False)
    fitted: tuple[str, ...]
    renderer: MapRenderer = field(repr=False)
    cells: npt.NDArray[np.bool_] = field(repr=False)
    widths: Widths
    _drawn: tuple[bytes, tuple[Array, Array]] | None = field(default=None, init=False, repr=False)

    def __call__(self, x: Array, linear: Linear) -> Projection | None:
        """Return the solved map at places and widths; None where there is no model."""
        drawn = self._own(x)
        return None if drawn is None else linear.solve(*drawn)

    def slopes(self, x: Array, linear: Linear, solved: Projection) -> Array | None:
        """Return how weighted residuals change with places and widths, shape (numbers, cells).

        What is solved changes along. None where the renderer knows differences only.
        """
        drawn, p = self._own(x), len(self.parameters.free)
        if drawn is None:
            return None
        values, widths = self.parts(x)
        found = self.renderer.slopes(values, widths, self.fitted)
        if found is None:
            return None
        change, beside = (self._picked(f) for f in found)
        names, steps = tuple(values), np.concatenate([np.eye(p), -np.eye(p)]) * _STEP
        moved = np.array([[v[n] for n in names] for v in self._values(x[:p] + steps)])
        turn = (moved[:p] - moved[p:]) / (2 * _STEP)
        v = len(names)
        change = np.concatenate([turn @ change[:v], change[v:]])
        beside = np.concatenate([np.tensordot(turn, beside[:v], 1), beside[v:]])
        return linear.slopes(solved, *drawn, change, beside)

    def parts(self, x: Array) -> tuple[Mapping[str, float], Widths]:
        """Return parameters and widths at some numbers."""
        n = len(self.parameters.free)
        given = dict(zip(self.fitted, map(float, x[n:]), strict=True))
        return self._values(x[None, :n])[0], replace(self.widths, **given)

    def _own(self, x: Array) -> tuple[Array, Array] | None:
        """What is drawn in the cells; not again with other weights."""
        key = x.tobytes()
        if self._drawn is None or self._drawn[0] != key:
            values, broad = self.parts(x)
            try:
                signal = self._picked(self.renderer.map(values, broad))
                others = self.renderer.beside(values, broad)
            except NotStable:
                return None
            self._drawn = (key, (signal, self._picked(others)))
        return self._drawn[1]

    def _picked(self, maps: Array) -> Array:
        """What maps (..., n, m) have in the cells: without a copy where those are all, or there is no map."""
        if self.cells.all() or not maps.size:
            return maps.reshape(*maps.shape[:-2], self.cells.size)[..., : np.count_nonzero(self.cells)]
        return np.asarray(maps[..., self.cells])

    def _values(self, places: Array) -> list[dict[str, float]]:
        found = self.parameters.values_at(folded(self.parameters, places))
        return [self.parameters.values(row) for row in found]
