"""The training library: thousands of phases rendered alone, once, for mixtures made fresh at every step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.priors import draw_glass, draw_grain, draw_instrument, draw_material
from streamproc.models.powder.simulate import Instrument, amorphous_profile, bin_edges, render_phase
from streamproc.models.powder.structures import KNOWN, UNKNOWN
from streamproc.models.powder.tables import CU_KA1_A, PhaseTable, phase_table

__all__ = ["AXIS", "Library", "build_library"]

AXIS = np.linspace(20.0, 100.0, 2000)
"""The model's grid (degrees 2theta)."""

_AREA_SHARE = 0.4
_GLASSES = 400


@dataclass(frozen=True, slots=True)
class Library:
    """Rendered phases.

    Attributes
    ----------
    known : ndarray of float32, shape (n, 4, 2000)
        Intensity per degree per unit weight of each known phase, one instrument a row.
    unknown : ndarray of float32, shape (n, 2000)
        One unknown material with the row's instrument, its mean over the axis set to one.
    area : ndarray of bool, shape (n,)
        Whether the row's instrument is an area detector.
    glass : ndarray of float32, shape (m, 2000)
        Amorphous materials per unit weight.
    """

    known: npt.NDArray[np.float32]
    unknown: npt.NDArray[np.float32]
    area: npt.NDArray[np.bool_]
    glass: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.area)

    def sha256(self) -> str:
        """Return the hash of all its numbers (hexadecimal)."""
        digest = hashlib.sha256()
        for array in (self.known, self.unknown, self.area, self.glass):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def save(self, file: Path) -> None:
        """Write it to an ``.npz`` file."""
        np.savez(file, known=self.known, unknown=self.unknown, area=self.area, glass=self.glass)

    @classmethod
    def load(cls, file: Path) -> Library:
        """Read what :meth:`save` wrote."""
        with np.load(file, allow_pickle=False) as stored:
            return cls(stored["known"], stored["unknown"], stored["area"], stored["glass"])


def build_library(
    n: int,
    seed: int,
    materials: tuple[str, ...] = UNKNOWN,
    *,
    drawn_share: float = 0.6,
    progress: Callable[[int], None] = lambda done: None,
) -> Library:
    """Render a library; every row has its own generator, so the order of work does not matter.

    Parameters
    ----------
    n : int
        Rows.
    seed : int
        Seed; the same seed gives the same library.
    materials : tuple of str
        Named materials that play the unknown.
    drawn_share : float
        Share of unknown materials that are drawn at random instead.
    progress : callable, optional
        Called with the number of rows done.
    """
    tables = {name: phase_table(name, CU_KA1_A) for name in (*KNOWN, *materials)}
    edges = bin_edges(AXIS)
    known = np.zeros((n, len(KNOWN), AXIS.size), np.float32)
    unknown = np.zeros((n, AXIS.size), np.float32)
    area = np.zeros(n, bool)

    def row(i: int) -> None:
        rng = np.random.default_rng([seed, 1, i])
        area[i] = rng.random() < _AREA_SHARE
        instrument = draw_instrument(rng, bool(area[i]))
        for k, name in enumerate(KNOWN):
            grain = draw_grain(rng, tables[name], bool(area[i]))
            known[i, k] = render_phase(edges, tables[name], instrument, grain, rng)
        table = draw_material(rng) if rng.random() < drawn_share else tables[str(rng.choice(materials))]
        unknown[i] = _unit_mean(_render_unknown(edges, table, instrument, bool(area[i]), rng))

    with ThreadPoolExecutor(2) as pool:
        for start in range(0, n, 100):
            list(pool.map(row, range(start, min(n, start + 100))))
            progress(min(n, start + 100))
    rng = np.random.default_rng([seed, 2])
    glasses = [amorphous_profile(AXIS, Instrument(), draw_glass(rng)) for _ in range(min(_GLASSES, n))]
    return Library(known, unknown, area, np.array(glasses, np.float32))


def _render_unknown(
    edges: npt.NDArray[np.float64],
    table: PhaseTable,
    instrument: Instrument,
    area: bool,
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    return render_phase(edges, table, instrument, draw_grain(rng, table, area), rng)


def _unit_mean(pattern: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    mean = pattern.mean()
    return pattern / mean if mean > 0 else np.ones_like(pattern)
