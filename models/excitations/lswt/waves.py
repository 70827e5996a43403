"""Spin waves of a model: dispersion, intensities, and the loss of order they cause."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lswt.bogoliubov import Magnons, diagonalise
from streamproc.models.excitations.lswt.hamiltonian import check_stationary, quadratic_form
from streamproc.models.excitations.lswt.intensity import Observer, observer
from streamproc.models.excitations.lswt.slopes import laid_slopes, pairs_of
from streamproc.models.excitations.spinmodel.structure import SpinModel

__all__ = ["SpinWaves", "moment_reduction"]

Array = npt.NDArray[np.float64]


class SpinWaves:
    """Spin waves at fixed wave vectors: what does not depend on the parameters is computed once.

    Parameters
    ----------
    model : SpinModel
        All sites of the magnetic cell.
    q_rlu : ndarray, shape (m, 3)
        Wave vectors, reciprocal lattice units of the chemical cell.
    like : SpinWaves, optional
        Of the same model at other wave vectors; what does not depend on those is shared.
    """

    def __init__(self, model: SpinModel, q_rlu: Array, like: SpinWaves | None = None) -> None:
        self.q_rlu = np.atleast_2d(np.asarray(q_rlu, dtype=float))
        self._model = model
        self._form = quadratic_form(model) if like is None or like._model is not model else like._form
        self._phases = self._form.phases(self.q_rlu)
        self._observer: Observer = observer(model, self.q_rlu)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the couplings."""
        return self._form.names

    def check(self, values: Mapping[str, float]) -> None:
        """Refuse a structure that is not stationary, or not a minimum at one of the wave vectors.

        Raises
        ------
        NotAMinimum
            Says where.
        """
        check_stationary(self._model, values)
        self.magnons(values)

    def magnons(self, values: Mapping[str, float]) -> Magnons:
        """Return energies and amplitudes for parameter values (meV)."""
        return diagonalise(self._form.at(values, self._phases), self.q_rlu)

    def energies(self, values: Mapping[str, float]) -> Array:
        """Return the dispersion (meV), shape (m, n), rising."""
        return self.magnons(values).energy_meV

    def neutron(self, values: Mapping[str, float]) -> tuple[Array, Array]:
        """Return energies (meV) and neutron intensities per chemical cell, both of shape (m, n)."""
        found = self.magnons(values)
        return found.energy_meV, self._observer.neutron(found)

    def laid_slopes(self, values: Mapping[str, float], step: float, points: int, columns: int) -> Array:
        """Return how neutron intensities, laid on a grid of energies from 0, change with each coupling.

        Each magnon is shared between two neighbours of the grid, its share of the change too; modes of the
        same energy change together (:mod:`~streamproc.models.excitations.lswt.slopes`).

        Parameters
        ----------
        values : mapping
            Couplings (meV), in the order wanted.
        step : float
            Of the grid (meV).
        points, columns : int
            Points f of the grid, and columns c that equal shares of the wave vectors belong to.

        Returns
        -------
        ndarray, shape (p, c, f)
            Per meV.
        """
        h = self._form.at(values, self._phases)
        found = diagonalise(h, self.q_rlu)
        pairs = pairs_of(h, found, self.q_rlu)
        order = [self._form.names.index(name) for name in values]
        moved = self._form.at_many(np.eye(len(self._form.names))[order], self._phases)
        return laid_slopes(
            found.energy_meV, pairs.energy_meV, found.amplitudes, pairs.amplitudes, moved,
            self._observer.weights, self._observer.direction, step, points, columns,
        )  # fmt: skip

    def correlations(self, values: Mapping[str, float]) -> tuple[Array, npt.NDArray[np.complex128]]:
        """Return energies (meV) and S^ab of every mode, shape (m, n, 3, 3)."""
        found = self.magnons(values)
        return found.energy_meV, self._observer.correlations(found)


def moment_reduction(
    model: SpinModel, values: Mapping[str, float], n: int = 64, dimensions: int = 3
) -> Array:
    """Return <b^+ b> of every site: by how much zero-point motion shortens the ordered moment.

    Parameters
    ----------
    model : SpinModel
        All sites of the magnetic cell.
    values : mapping
        Parameters (meV).
    n : int
        Points per axis; midpoints, so that no Goldstone mode is hit.
    dimensions : int
        1, 2 or 3: axes that the couplings run along (h; h, k; h, k, l).

    Returns
    -------
    ndarray, shape (sites,)
        sum of |v|^2 over modes, averaged over the zone.
    """
    line = (np.arange(n) + 0.5) / n
    axes = [line if k < dimensions else np.zeros(1) for k in range(3)]
    q = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    sites = len(model.sites)
    total = np.zeros(sites)
    for part in np.array_split(q, max(1, len(q) // 20000)):
        amplitudes = SpinWaves(model, part).magnons(values).amplitudes
        total += (np.abs(amplitudes[:, sites:, :]) ** 2).sum((0, 2))
    return total / len(q)
