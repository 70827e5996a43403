"""A bank of trial couplings: how well each would explain a map, which is what the network reads.

For every trial the dispersion at the columns that were measured says in which channels to look; the weighted
sum of what is found there over its noise is the trial's matched-filter significance (Turin 1960): a
likelihood surface over couplings, whatever the path, the coverage and the masks. It costs the trials'
dispersions and a lookup.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lswt.bogoliubov import Magnons, diagonalise
from streamproc.models.excitations.lswt.errors import NotAMinimum
from streamproc.models.excitations.lswt.hamiltonian import quadratic_form
from streamproc.models.excitations.lswt.intensity import observer
from streamproc.models.excitations.lswt.waves import SpinWaves
from streamproc.models.excitations.maps.channels import BINS
from streamproc.models.excitations.maps.render import powder_directions
from streamproc.models.excitations.spinmodel.case import SpinCase

from streamproc.errors import ConfigurationError

__all__ = ["Bank", "probe_of"]

Array = npt.NDArray[np.float64]

_TRIALS = {1: 96, 2: 160, 3: 224}
_MOST_TRIALS = 256
_STRONG = 4.0
"""Intensities near a Goldstone point diverge: they count as so many times a ferromagnet's at most."""

_POWDER_DIRECTIONS = 24


def probe_of(case: SpinCase, rng: np.random.Generator) -> SpinWaves:
    """Return wave vectors at which a state must be a minimum: a coarse grid of the zone and random points."""
    line = np.arange(4) / 4
    grid = np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    thirds = np.array([[1 / 3, 1 / 3, 0.0], [0, 0, 1 / 3], [1 / 3, 1 / 3, 0.5]])
    return SpinWaves(case.model, np.concatenate([grid, thirds, rng.random((120, 3))]))


class Bank:
    """Trial couplings spread over the prior.

    Parameters
    ----------
    case : SpinCase
        Model.

    Attributes
    ----------
    size : int
        Number of trials t.
    units : ndarray, shape (t, p)
        Their places in the prior.
    modes : int
        Bands looked for in each column.
    """

    shared = False

    def __init__(self, case: SpinCase) -> None:
        self.case = case
        free = len(case.parameters.free)
        wanted = _TRIALS.get(free, _MOST_TRIALS)
        units = _stable(case, wanted)
        values = [case.parameters.values(x) for x in case.parameters.values_at(units)]
        self._form = quadratic_form(case.model)
        self._values = np.array([[v[n] for n in self._form.names] for v in values])
        self.size, self.units = len(units), units
        self._merged = self._always_degenerate()
        sites = len(case.model.sites)
        self._usual = sum(s.spin for s in case.model.sites) / case.model.cells
        self.modes = (1 if self._merged else sites) * (_POWDER_DIRECTIONS if case.powder else 1)

    def look(self, q_rlu: Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float16]]:
        """Return where each trial expects magnons and how strong.

        Parameters
        ----------
        q_rlu : ndarray, shape (n, 3)
            Columns (a powder's |Q| in the first component).

        Returns
        -------
        bins : ndarray of uint8, shape (t, n * modes)
            Place in the window, 0 to BINS - 1; BINS: outside.
        weights : ndarray of float16, shape (t, n * modes)
            Expected intensity over that of a ferromagnet, at most 4.
        """
        q = np.atleast_2d(np.asarray(q_rlu, dtype=float))
        if self.case.powder:
            q = powder_directions(self.case, q[:, 0], 0.0)
            q = q[:, :: q.shape[1] // _POWDER_DIRECTIONS][:, :_POWDER_DIRECTIONS].reshape(-1, 3)
        energy, intensity = self._waves(q)
        table = self.case.file.energy
        place = (energy - table.start) / (table.stop - table.start) * BINS
        inside = (place >= 0) & (place < BINS)
        bins = np.where(inside, place, BINS).astype(np.uint8)
        weights = np.minimum(intensity / self._usual, _STRONG) * inside
        return bins, weights.astype(np.float16)

    def _waves(self, q: Array) -> tuple[Array, Array]:
        """Energies and intensities, shape (t, n * modes); a trial that is unstable somewhere sees nothing."""
        t, n = self.size, len(q)
        h = self._form.at_many(self._values, self._form.phases(q))
        size = h.shape[-1]
        try:
            found = diagonalise(h.reshape(t * n, size, size))
            good = np.ones(t, bool)
        except NotAMinimum:
            good = np.linalg.eigvalsh(h)[:, :, 0].min(1) > -1e-9 * float(np.abs(h).max())
            h = np.where(good[:, None, None, None], h, np.eye(size))
            found = diagonalise(h.reshape(t * n, size, size))
        amplitudes = found.amplitudes.reshape(t, n, size, -1)
        seen = observer(self.case.model, q)
        intensity = seen.neutron(Magnons(found.energy_meV, amplitudes)).reshape(t, n, -1)
        energy = found.energy_meV.reshape(t, n, -1)
        if self._merged:
            energy, intensity = energy[..., :1], intensity.sum(-1, keepdims=True)
        intensity = intensity * good[:, None, None]
        return energy.reshape(t, -1), intensity.reshape(t, -1)

    def _always_degenerate(self) -> bool:
        q = np.random.default_rng(3).random((12, 3))
        h = self._form.at_many(self._values[:8], self._form.phases(q))
        energy = diagonalise(h.reshape(-1, *h.shape[-2:])).energy_meV
        return bool(np.allclose(energy, energy[:, :1], rtol=1e-5))


def _stable(case: SpinCase, wanted: int) -> Array:
    """Quasi-random places in the prior (Roberts' R_d) at which the order is a minimum."""
    free = len(case.parameters.free)
    root = 2.0
    for _ in range(40):
        root = (1 + root) ** (1 / (free + 1))
    unit = np.mod(0.5 + np.arange(1, 6 * wanted)[:, None] * root ** -np.arange(1.0, free + 1), 1.0)
    probe = probe_of(case, np.random.default_rng(4))
    kept = []
    for u in unit:
        try:
            probe.check(case.parameters.values(case.parameters.values_at(u[None])[0]))
        except NotAMinimum:
            continue
        kept.append(u)
        if len(kept) == wanted:
            break
    if len(kept) < wanted // 4:
        raise ConfigurationError(
            f"{case.name}: of {len(unit)} couplings in the ranges only {len(kept)} make the stated order "
            "a minimum of the energy; check signs, order and ranges"
        )
    return np.array(kept)
