"""Patterns for indexing: crystals that do not exist (random cells, Wilson intensities), and some that do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.indexing.forms import CENTRINGS, allowed
from streamproc.models.powder.indexing.lattice import primitive_metric, signature
from streamproc.models.powder.priors import draw_instrument
from streamproc.models.powder.simulate import Grain, Instrument, bin_edges, render_phase
from streamproc.models.powder.structures import structures
from streamproc.models.powder.tables import PhaseTable, phase_table, reciprocal_metric

Array = npt.NDArray[np.float64]

KINDS = ("cubic", "hexagonal", "tetragonal", "orthorhombic", "monoclinic", "known", "none")
PSEUDO = "pseudo"
"""Metrically near to a higher symmetry, as many real crystals (perovskites) and few random cells are."""

_PARENTS = {"tetragonal": "cubic", "orthorhombic": "tetragonal", "monoclinic": "orthorhombic"}


@dataclass(frozen=True)
class Drawn:
    """A pattern, whether the beam holds K-alpha2, and the truth: system and lattice of each strong phase.

    There are two where two phases are of like strength (either is right), none where there is no cell.
    """

    name: str
    x: Array
    counts: Array
    ka2: bool
    truths: tuple[tuple[str, Array], ...]


def draw(rng: np.random.Generator, kind: str) -> Drawn:
    """Draw one pattern of a kind."""
    x = np.arange(rng.uniform(5, 15), rng.uniform(75, 110), rng.choice([0.01, 0.02, 0.03]))
    instrument = draw_instrument(rng, area=bool(rng.random() < 0.3))
    grain = Grain(
        size_nm=float(np.exp(rng.uniform(np.log(30), np.log(500)))), strain=float(rng.uniform(0, 0.001))
    )
    if kind == "known":
        name = str(rng.choice(sorted(structures())))
        table = phase_table(name, instrument.wavelength_A)
        centring = _centring_of(structures()[name].space_group)
        system = {"trigonal": "hexagonal"}.get(table.system, table.system)
        truths = [_truth(system, table, centring)]
    elif kind == "none":
        name, table, centring = _nothing(rng, x, instrument)
        truths = [] if name != "two phases" else [_truth(table.system, table, centring)]
    elif kind == PSEUDO:
        system = str(rng.choice(list(_PARENTS)))
        table, centring = crystal(rng, system, float(np.exp(rng.uniform(np.log(3e-4), np.log(1e-2)))))
        name = f"nearly {_PARENTS[system]} {system} {centring} {np.round(table.cell, 3).tolist()}"
        truths = [_truth(system, table, centring)]
    else:
        table, centring = crystal(rng, kind)
        name = f"{kind} {centring} {np.round(table.cell, 2).tolist()}"
        truths = [_truth(kind, table, centring)]
    pattern = render_phase(bin_edges(x), table, instrument, grain)
    if name == "two phases":
        other, centring = crystal(rng, str(rng.choice(KINDS[:5])))
        truths.append(_truth(other.system, other, centring))
        second = render_phase(bin_edges(x), other, instrument, grain)
        pattern = pattern / pattern.max() + second / second.max()
    elif rng.random() < 0.35:
        other, _ = crystal(rng, str(rng.choice(KINDS[:4])))
        second = render_phase(bin_edges(x), other, instrument, grain)
        pattern = pattern / pattern.max() + rng.uniform(0.01, 0.06) * second / second.max()
    pattern /= pattern.max()
    background = rng.uniform(0.003, 0.1) * (1 + 2 * np.exp(-(x - x[0]) / 12))
    counts = rng.poisson((pattern + background) * np.exp(rng.uniform(np.log(1e3), np.log(1e5))))
    return Drawn(name, x, counts.astype(float), instrument.ka2_ratio > 0, tuple(truths))


def _truth(system: str, table: PhaseTable, centring: str) -> tuple[str, Array]:
    return system, signature(primitive_metric(table.cell, centring))


def _centring_of(space_group: str) -> str:
    return space_group[0]


def _nothing(rng: np.random.Generator, x: Array, instrument: Instrument) -> tuple[str, PhaseTable, str]:
    """What has no cell to be found: triclinic, two phases of like strength, or lines anywhere."""
    what = str(rng.choice(["triclinic", "two", "random"]))
    if what == "two":
        table, centring = crystal(rng, str(rng.choice(KINDS[:5])))
        return "two phases", table, centring
    if what == "triclinic":
        table, _ = crystal(rng, "triclinic")
        return "triclinic", table, "P"
    d = instrument.wavelength_A / (
        2 * np.sin(np.deg2rad(rng.uniform(x[0] + 3, x[-1], rng.integers(6, 30))) / 2)
    )
    table = _table("random", np.sort(d)[::-1], np.ones(d.size), rng.exponential(size=d.size), np.ones(6))
    return "lines anywhere", table, "P"


def crystal(rng: np.random.Generator, system: str, distortion: float | None = None) -> tuple[PhaseTable, str]:
    """Draw a cell, a centring and intensities; some zonal reflections are extinct, as in many groups.

    With a distortion the cell differs by so much only from one of the next higher system.
    """
    centring = str(rng.choice(CENTRINGS.get(system, ("P",))))
    points = {"P": 1, "F": 4, "R": 3}.get(centring, 2)
    volume = points * float(np.exp(rng.uniform(np.log(25), np.log(350))))
    ratio_b, ratio_c = np.exp(rng.uniform(-0.6, 0.6, 2))
    angles = [90.0, 90.0, 90.0]
    if system == "cubic":
        edges = np.ones(3)
    elif system in ("tetragonal", "hexagonal"):
        edges = np.array([1.0, 1.0, np.exp(rng.uniform(-0.6, 1.2))])
        angles[2] = 120.0 if system == "hexagonal" else 90.0
    else:
        edges = np.array([1.0, ratio_b, ratio_c])
    if system == "monoclinic":
        angles[1] = rng.uniform(91, 118)
    if system == "triclinic":
        angles = list(rng.uniform(70, 110, 3))
    if distortion is not None:
        if system == "tetragonal":
            edges = np.array([1.0, 1.0, 1.0 + distortion])
        elif system == "orthorhombic":
            edges[1] = 1.0 + distortion
        else:
            angles[1] = 90.0 + np.rad2deg(distortion)
    unit = np.array([*edges, *angles])
    edges = edges * (volume * np.sqrt(np.linalg.det(reciprocal_metric(unit)))) ** (1 / 3)
    cell = np.array([*edges, *angles])
    metric = reciprocal_metric(cell)
    d_min = 0.95
    reach = np.ceil(edges / d_min).astype(int) + 1
    grid = np.stack(np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij"), -1).reshape(-1, 3)
    s2 = np.einsum("ni,ij,nj->n", grid, metric, grid)
    keep = (s2 > 1e-9) & (s2 <= d_min**-2) & allowed(grid, centring)
    if rng.random() < 0.6:  # a glide plane or screw axis
        axis = int(rng.integers(3))
        zone = (grid[:, (axis + 1) % 3] == 0) & (rng.random() < 0.5 or grid[:, (axis + 2) % 3] == 0)
        keep &= ~(zone & (grid[:, axis] % 2 == 1)) if system not in ("cubic", "hexagonal") else True
    s2 = s2[keep]
    _, first, multiplicity = np.unique(np.round(s2, 8), return_index=True, return_counts=True)
    s2 = s2[first]
    f2 = rng.exponential(size=s2.size) * np.exp(-rng.uniform(0.5, 3) * s2 / 2)
    return _table(system, 1 / np.sqrt(s2), multiplicity.astype(float), f2, cell), centring


def _table(name: str, d_A: Array, multiplicity: Array, f2: Array, cell: Array) -> PhaseTable:
    n = d_A.size
    return PhaseTable(
        name=name, wavelength_A=1.5405929, hkl=np.zeros((n, 3), np.int64), multiplicity=multiplicity, d_A=d_A,
        f2=f2, cell=cell, system=name, volume_A3=1.0, density_g_cm3=1.0, mass_u=1.0,
        texture_cos=np.ones((n, 1)),
    )  # fmt: skip
