"""A library of rendered maps without noise: costly physics once, cheap nuisances at every training step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.mapmodel.case import MapCase
from streamproc.models.excitations.mapmodel.errors import NotStable
from streamproc.models.excitations.maps.channels import channels_of
from streamproc.models.excitations.maps.kinds import physics_of
from streamproc.models.excitations.maps.physics import MapRenderer, Probe
from streamproc.models.excitations.maps.places import random_columns
from streamproc.models.excitations.maps.widths import Widths, direct_geometry

from streamproc.errors import ConfigurationError

__all__ = ["SETS", "Library", "build_library", "draw_widths"]

Array = npt.NDArray[np.float64]

_TRIES = 200

SETS = 32
"""Sets of columns that the maps of a library share where a bank looks at every place of the window."""


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """Rendered maps of r draws, n columns, m channels, p free parameters, t trial couplings of the bank.

    Attributes
    ----------
    signal : ndarray of float32, shape (r, n, m)
        Excitations, 1 where they are strong (their 99 % quantile).
    q_rlu : ndarray of float32, shape (r, n, 3)
        Columns.
    unit : ndarray of float32, shape (r, p)
        Parameters as places in the prior, 0 to 1.
    fwhm : ndarray of float32, shape (r,)
        Resolution at zero energy transfer.
    bins, weights : ndarray of uint8 and float16, shapes (s, t or 1, n * k) and (s, t, n * k)
        Where the bank looks in each set of columns, and how strong it expects each place
        (:class:`~streamproc.models.excitations.maps.physics.Trials`).
    look : ndarray of int64, shape (r,)
        Set of columns of each map; every map has its own where a bank looks at few places.
    units : ndarray, shape (t, p)
        Places of the bank's trials in the prior.
    """

    signal: npt.NDArray[np.float32] = field(repr=False)
    q_rlu: npt.NDArray[np.float32] = field(repr=False)
    unit: npt.NDArray[np.float32] = field(repr=False)
    fwhm: npt.NDArray[np.float32] = field(repr=False)
    bins: npt.NDArray[np.uint8] = field(repr=False)
    weights: npt.NDArray[np.float16] = field(repr=False)
    look: npt.NDArray[np.int64] = field(repr=False)
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


def draw_widths(case: MapCase, rng: np.random.Generator) -> Widths:
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
    case: MapCase, draws: int, seed: int, progress: Callable[[int], None] = lambda done: None
) -> Library:
    """Render maps at random parameters, columns and widths; states that are no minimum are drawn again.

    Parameters
    ----------
    case : MapCase
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
    physics = physics_of(case)
    probe, bank = physics.probe(rng), physics.trials()
    n, m = case.file.q.columns, len(energy)
    sets = min(SETS, draws) if bank.shared else draws
    signal, places = np.zeros((draws, n, m), np.float32), np.zeros((draws, n, 3), np.float32)
    units, fwhm = np.zeros((draws, len(case.parameters.free)), np.float32), np.zeros(draws, np.float32)
    seen: list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.float16]]] = []
    known: list[tuple[Array, MapRenderer]] = []

    def columns() -> tuple[Array, MapRenderer]:
        q = random_columns(case, rng)
        return q, physics.renderer(q, energy, physics.drawn_points)

    for k in range(draws):
        # a renderer is costly to make, so maps of one set of columns share it
        place = columns if k < sets else partial(known.__getitem__, k % sets)
        units[k], drawn, widths, signal[k] = _one(case, probe, place, rng)
        places[k], fwhm[k] = drawn[0], widths.energy_fwhm
        if k < sets:
            seen.append(bank.look(places[k]))
            known += [drawn] if bank.shared else []
        progress(k + 1)
    bins, weights = (np.stack(v) for v in zip(*seen, strict=True))
    return Library(signal, places, units, fwhm, bins, weights, np.arange(draws) % sets, bank.units)


def _one(
    case: MapCase, probe: Probe, place: Callable[[], tuple[Array, MapRenderer]], rng: np.random.Generator
) -> tuple[Array, tuple[Array, MapRenderer], Widths, Array]:
    for _ in range(_TRIES):
        unit = rng.random(len(case.parameters.free))
        values = case.parameters.values(case.parameters.values_at(unit[None])[0])
        try:
            probe.check(values)
            drawn = place()
            widths = draw_widths(case, rng)
            found = drawn[1].map(values, widths)
        except NotStable:
            continue
        strong = float(np.quantile(found, 0.99))
        if strong > 0:
            return unit, drawn, widths, np.minimum(found / strong, 30.0)
    raise ConfigurationError(
        f"{case.name}: of {_TRIES} draws from the ranges of the parameters none is stable (the stated order "
        "or the lattice is no minimum of the energy) and lies in the energy window; check signs and ranges"
    )
