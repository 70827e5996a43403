"""A library of rendered maps without noise: costly physics once, cheap nuisances at every training step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lswt.errors import NotAMinimum
from streamproc.models.excitations.lswt.waves import SpinWaves
from streamproc.models.excitations.maps.bank import Bank, channels_of, probe_of
from streamproc.models.excitations.maps.places import random_columns
from streamproc.models.excitations.maps.render import Renderer
from streamproc.models.excitations.maps.widths import Widths, direct_geometry
from streamproc.models.excitations.spinmodel.case import SpinCase

from streamproc.errors import ConfigurationError

__all__ = ["Library", "build_library", "draw_widths"]

Array = npt.NDArray[np.float64]

_POINTS = 10
"""Points for the resolution in Q of a training map's column."""

_TRIES = 200


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """Rendered maps of r draws, n columns, m channels, p free parameters, t trial couplings of the bank.

    Attributes
    ----------
    signal : ndarray of float32, shape (r, n, m)
        Magnons, 1 where they are strong (their 99 % quantile).
    q_rlu : ndarray of float32, shape (r, n, 3)
        Columns.
    unit : ndarray of float32, shape (r, p)
        Parameters as places in the prior, 0 to 1.
    fwhm : ndarray of float32, shape (r,)
        Resolution at zero energy transfer.
    bins, weights : ndarray of uint8 and float16, shape (r, t, n * modes)
        Where the bank looks in each column, and how strong it expects each mode (:class:`Bank`).
    units : ndarray, shape (t, p)
        Places of the bank's trials in the prior.
    """

    signal: npt.NDArray[np.float32] = field(repr=False)
    q_rlu: npt.NDArray[np.float32] = field(repr=False)
    unit: npt.NDArray[np.float32] = field(repr=False)
    fwhm: npt.NDArray[np.float32] = field(repr=False)
    bins: npt.NDArray[np.uint8] = field(repr=False)
    weights: npt.NDArray[np.float16] = field(repr=False)
    units: Array = field(repr=False)

    def save(self, file: Path) -> None:
        """Write it as one ``.npz`` file; :meth:`load` reads it."""
        part = file.with_suffix(".part.npz")
        np.savez(part, **{k: getattr(self, k) for k in self.__slots__})
        part.replace(file)

    @classmethod
    def load(cls, file: Path) -> Library:
        """Read what :meth:`save` wrote."""
        with np.load(file, allow_pickle=False) as stored:
            return cls(**{k: stored[k] for k in stored.files})

    def __len__(self) -> int:
        return len(self.unit)

    def sha256(self) -> str:
        """Return the hash of everything in it (hexadecimal)."""
        digest = hashlib.sha256()
        for values in (self.signal, self.q_rlu, self.unit, self.fwhm):
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()


def draw_widths(case: SpinCase, rng: np.random.Generator) -> Widths:
    """Draw resolution, damping and temperature of a measurement."""
    table = case.file.measurement
    stop = case.file.energy.stop
    elastic = _between(table.ends("energy_fwhm"), rng)
    if table.end_fwhm is not None:
        end = _between(table.ends("end_fwhm"), rng)
    else:
        end = direct_geometry(elastic, stop, table.ei) if table.ei else elastic
    cold = rng.random() < 0.5 and table.ends("temperature")[0] == 0
    along = _between(table.ends("q_fwhm"), rng)
    return Widths(
        elastic,
        end,
        stop,
        _between(table.ends("damping"), rng),
        along,
        0.0 if cold else _between(table.ends("temperature"), rng),
        along * float(rng.random()),
    )


def _between(ends: tuple[float, float], rng: np.random.Generator) -> float:
    return float(rng.uniform(*ends))


def build_library(
    case: SpinCase, draws: int, seed: int, progress: Callable[[int], None] = lambda done: None
) -> Library:
    """Render maps at random parameters, columns and widths; states that are no minimum are drawn again.

    Parameters
    ----------
    case : SpinCase
        Model.
    draws : int
        Number of maps.
    seed : int
        Seed; the same seed gives the same library.
    progress : callable, optional
        Called with the number of maps done.

    Raises
    ------
    ConfigurationError
        Hardly any parameters in the ranges make the stated order a minimum.
    """
    rng = np.random.default_rng(seed)
    energy = channels_of(case)
    probe = probe_of(case, rng)
    n, m = case.file.q.columns, len(energy)
    bank = Bank(case)
    signal, places = np.zeros((draws, n, m), np.float32), np.zeros((draws, n, 3), np.float32)
    units, fwhm = np.zeros((draws, len(case.parameters.free)), np.float32), np.zeros(draws, np.float32)
    bins = np.zeros((draws, bank.size, n * bank.modes), np.uint8)
    weights = np.zeros(bins.shape, np.float16)
    for k in range(draws):
        units[k], places[k], widths, signal[k] = _one(case, probe, energy, rng)
        fwhm[k] = widths.energy_fwhm
        bins[k], weights[k] = bank.look(places[k])
        progress(k + 1)
    return Library(signal, places, units, fwhm, bins, weights, bank.units)


def _one(
    case: SpinCase, probe: SpinWaves, energy: Array, rng: np.random.Generator
) -> tuple[Array, Array, Widths, Array]:
    for _ in range(_TRIES):
        unit = rng.random(len(case.parameters.free))
        values = case.parameters.values(case.parameters.values_at(unit[None])[0])
        try:
            probe.check(values)
            q, widths = random_columns(case, rng), draw_widths(case, rng)
            found = Renderer(case, q, energy, _POINTS).map(values, widths)
        except NotAMinimum:
            continue
        strong = float(np.quantile(found, 0.99))
        if strong > 0:
            return unit, q, widths, np.minimum(found / strong, 30.0)
    raise ConfigurationError(
        f"{case.name}: in {_TRIES} draws from the ranges of the parameters no state with the stated order "
        "is a minimum of the energy and lies in the energy window; check signs, order and ranges"
    )
