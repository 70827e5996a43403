"""The training library: thousands of phases rendered alone, once, for mixtures made fresh at every step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
from streamproc.models.phase_map.system import System
from streamproc.models.powder.crystal import Structure
from streamproc.models.powder.priors import draw_glass, draw_grain, draw_instrument, draw_material
from streamproc.models.powder.ranges import PriorRanges
from streamproc.models.powder.simulate import Grain, Instrument, amorphous_profile, bin_edges, render_phase
from streamproc.models.powder.tables import PhaseTable

__all__ = ["Library", "build_library", "state_of"]

_GLASSES = 400
_CHUNK = 100


@dataclass(frozen=True, slots=True)
class Library:
    """Rendered phases; p phases, n rows, m glasses, k points of the axis.

    Attributes
    ----------
    axis : ndarray, shape (k,)
        The axis (degrees 2theta).
    known : ndarray of float16, shape (n, p, k)
        Intensity per degree of each known phase over its maximum, one instrument a row.
    height : ndarray of float32, shape (n, p)
        That maximum, per unit weight.
    state : ndarray of float32, shape (n, 3, p)
        Strain, ln of size (nm) and ln of March-Dollase r of each.
    unknown : ndarray of float16, shape (n, k)
        One unknown material with the row's instrument, over its maximum.
    area : ndarray of bool, shape (n,)
        Whether the row's instrument is an area detector.
    glass : ndarray of float32, shape (m, k)
        Amorphous materials per unit weight.
    density_g_cm3, absorption_per_um : ndarray, shape (p,)
        Density and linear absorption coefficient of each known phase, for absorption contrast.
    particle_um : ndarray, shape (2,)
        Smallest and largest radius of particles.
    """

    axis: npt.NDArray[np.float64]
    known: npt.NDArray[np.float16]
    height: npt.NDArray[np.float32]
    state: npt.NDArray[np.float32]
    unknown: npt.NDArray[np.float16]
    area: npt.NDArray[np.bool_]
    glass: npt.NDArray[np.float32]
    density_g_cm3: npt.NDArray[np.float64]
    absorption_per_um: npt.NDArray[np.float64]
    particle_um: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.area)

    def sha256(self) -> str:
        """Return the hash of all its numbers (hexadecimal)."""
        digest = hashlib.sha256()
        for field in fields(self):
            digest.update(np.ascontiguousarray(getattr(self, field.name)).tobytes())
        return digest.hexdigest()

    def save(self, file: Path) -> None:
        """Write it to an ``.npz`` file, whole or not at all."""
        part = file.with_name(f"{file.stem}.part.npz")
        np.savez(part, **{f.name: getattr(self, f.name) for f in fields(self)})
        part.replace(file)

    @classmethod
    def load(cls, file: Path) -> Library:
        """Read what :meth:`save` wrote."""
        with np.load(file, allow_pickle=False) as stored:
            return cls(**{f.name: stored[f.name] for f in fields(cls)})


def state_of(grain: Grain) -> tuple[float, float, float]:
    """Return linear strain, ln of size (nm) and ln of March-Dollase r of a phase's grains."""
    strain = float(np.prod(grain.cell_scale) ** (1 / 3) - 1)
    return strain, float(np.log(grain.size_nm)), float(np.log(grain.march_r))


def build_library(
    system: System,
    n: int,
    seed: int,
    materials: tuple[Structure, ...] | None = None,
    *,
    drawn_share: float = 0.6,
    threads: int = 2,
    progress: Callable[[int], None] = lambda done: None,
) -> Library:
    """Render a library; every row has its own generator, so the order of work does not matter.

    Parameters
    ----------
    system : System
        Phases, axis and ranges.
    n : int
        Rows.
    seed : int
        Seed; the same seed gives the same library.
    materials : tuple of Structure, optional
        Named materials that play the unknown; the system's foreign ones by default.
    drawn_share : float
        Share of unknown materials that are drawn at random instead.
    threads : int
        Rows rendered at a time.
    progress : callable, optional
        Called with the number of rows done.
    """
    foreign = system.tables(system.foreign if materials is None else materials)
    share = drawn_share if foreign else 1.0
    tables = system.tables(system.phases)
    axis = system.grid.points()
    edges, ranges = bin_edges(axis), system.ranges
    known = np.zeros((n, len(tables), axis.size), np.float16)
    height = np.zeros((n, len(tables)), np.float32)
    state = np.zeros((n, 3, len(tables)), np.float32)
    unknown = np.zeros((n, axis.size), np.float16)
    area = np.zeros(n, bool)

    def row(i: int) -> None:
        rng = np.random.default_rng([seed, 1, i])
        area[i] = rng.random() < system.area_share
        instrument = draw_instrument(rng, bool(area[i]), ranges=ranges)
        for k, table in enumerate(tables):
            grain = draw_grain(rng, table, bool(area[i]), ranges=ranges)
            pattern = render_phase(edges, table, instrument, grain, rng)
            height[i, k] = pattern.max()
            known[i, k] = pattern / max(float(height[i, k]), 1e-30)
            state[i, :, k] = state_of(grain)
        other = _unknown(edges, instrument, foreign, share, bool(area[i]), ranges, rng)
        unknown[i] = other / other.max()

    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, n, _CHUNK):
            list(pool.map(row, range(start, min(n, start + _CHUNK))))
            progress(min(n, start + _CHUNK))
    glass = _glasses(axis, ranges, min(_GLASSES, n), seed)
    density = np.array([t.density_g_cm3 for t in tables])
    absorption = 1e-4 * np.array([t.absorption_per_cm for t in tables])
    particle = np.array(ranges.particle_um)
    return Library(axis, known, height, state, unknown, area, glass, density, absorption, particle)


def _unknown(
    edges: npt.NDArray[np.float64],
    instrument: Instrument,
    foreign: list[PhaseTable],
    drawn_share: float,
    area: bool,
    ranges: PriorRanges,
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """Render one unknown material; one without a line on the axis is drawn again."""
    for _ in range(20):
        drawn = rng.random() < drawn_share
        table = draw_material(rng, ranges=ranges) if drawn else foreign[int(rng.integers(len(foreign)))]
        pattern = render_phase(edges, table, instrument, draw_grain(rng, table, area, ranges=ranges), rng)
        if pattern.max() > 0:
            return pattern
    return np.ones(edges.size - 1)


def _glasses(
    axis: npt.NDArray[np.float64], ranges: PriorRanges, n: int, seed: int
) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng([seed, 2])
    instrument = Instrument(wavelength_A=ranges.wavelength_A)
    return np.array([amorphous_profile(axis, instrument, draw_glass(rng)) for _ in range(n)], np.float32)
