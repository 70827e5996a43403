"""The reflections a fit needs, compactly: written into a model's card, read back without gemmi."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.fit.cells import cell_map, cell_names
from streamproc.models.powder.fit.settings import QUICK_VERSION, Geometry

from streamproc.errors import ConfigurationError

__all__ = ["PhaseLines", "phases_of", "reference_of", "sticks_of"]

Array = npt.NDArray[np.float64]

_FORMAT = 2
_WEAKEST = 5e-4
"""Reflections weaker than this share of the phase's strongest are left out."""

_COSINE = 10000
"""Cosines are stored as whole ten-thousandths."""


@dataclass(frozen=True, slots=True)
class PhaseLines:
    """Reflections of one phase.

    Attributes
    ----------
    name, system : str
        Phase and crystal system.
    cell : ndarray, shape (6,)
        a, b, c (angstrom), alpha, beta, gamma (degrees).
    free : tuple of str
        Names of the free cell parameters.
    moves : ndarray, shape (6, 6)
        What they do to the cell (:func:`~.cells.cell_map`).
    hkl : ndarray, shape (n, 3)
        One member per family.
    strength : ndarray, shape (n,)
        m |F|^2 / (density V^2): intensity per weight, Lorentz and polarisation left out.
    cosine, members : ndarray, shape (k,)
        Distinct absolute cosines to the texture axis of all families, one after the other, and how many
        members have each.
    first : ndarray of int, shape (n + 1,)
        Where each family's cosines start; no cosines where the phase has no texture axis.
    """

    name: str
    system: str
    cell: Array
    free: tuple[str, ...]
    moves: Array = field(repr=False)
    hkl: Array = field(repr=False)
    strength: Array = field(repr=False)
    cosine: Array = field(repr=False)
    members: Array = field(repr=False)
    first: npt.NDArray[np.int64] = field(repr=False)

    @property
    def has_texture(self) -> bool:
        """Whether families differ in their angle to the texture axis."""
        return bool(self.cosine.size) and bool(np.ptp(self.cosine) > 1e-3)


def reference_of(
    tables: Mapping[str, Any],
    wavelength_A: float,
    wavelength2_A: float | None = None,
    last_two_theta_deg: float = 150.0,
    geometry: Geometry = "bragg-brentano",
) -> dict[str, Any]:
    """Return a card's ``reference`` field: per phase what :func:`phases_of` needs, as plain numbers.

    It also names the quick fit that a model with it is calibrated with (``quick_fit``, 1 where missing).

    Parameters
    ----------
    tables : mapping of str to PhaseTable
        Reflection tables of the known phases.
    wavelength_A, wavelength2_A : float
        Wavelengths of K-alpha1 and K-alpha2 (angstrom); None for a single line.
    last_two_theta_deg : float
        Reflections beyond are left out, and so are those weaker than 5e-4 of the phase's strongest.
    geometry : {'bragg-brentano', 'debye-scherrer'}
        How the data are measured; says how a displaced specimen moves the lines.
    """
    phases = {name: _entry(table, wavelength_A, last_two_theta_deg) for name, table in tables.items()}
    second = {} if wavelength2_A is None else {"wavelength2_A": wavelength2_A}
    beam = {"wavelength_A": wavelength_A, **second, "geometry": geometry}
    return {"format": _FORMAT, "quick_fit": QUICK_VERSION, **beam, "phases": phases}


def _entry(table: Any, wavelength_A: float, last_deg: float) -> dict[str, Any]:
    sine = wavelength_A / (2 * table.d_A)
    # room for cells that grow by one per cent
    keep = sine < 1.01 * np.sin(np.deg2rad(min(last_deg, 178.0) / 2))
    if not keep.any():
        raise ConfigurationError(
            f"phase {table.name!r} has no reflection below {last_deg:g} degrees at {wavelength_A:g} angstrom"
        )
    theta = np.arcsin(np.minimum(sine, 0.9999))
    lorentz = (1 + np.cos(2 * theta) ** 2) / (np.sin(theta) ** 2 * np.cos(theta))
    intensity = np.where(keep, table.multiplicity * table.f2 * lorentz, 0.0)
    keep &= intensity >= _WEAKEST * intensity.max()
    return {
        "system": table.system,
        "cell": [float(f"{v:.8g}") for v in table.cell],
        "density_g_cm3": float(f"{table.density_g_cm3:.6g}"),
        "volume_A3": float(f"{table.volume_A3:.7g}"),
        "hkl": np.asarray(table.hkl)[keep].ravel().tolist(),
        "multiplicity": [int(m) for m in table.multiplicity[keep]],
        "f2": [float(f"{f:.5g}") for f in table.f2[keep]],
        "texture": [_distinct(row) for row in table.texture_cos[keep]],
    }


def _distinct(cosines: Array) -> int | list[int]:
    """One whole number where all members have one cosine, else cosine, count, cosine, count ..."""
    values, counts = np.unique(np.rint(np.abs(cosines) * _COSINE).astype(int), return_counts=True)
    if values.size == 1:
        return int(values[0])
    counts = counts // np.gcd.reduce(counts)
    return np.stack([values, counts], 1).ravel().tolist()


def sticks_of(
    hkl: npt.ArrayLike, intensity: npt.ArrayLike, cell: Sequence[float], system: str
) -> dict[str, Any]:
    """Return an entry of ``reference["phases"]`` for a phase known by cell and line intensities alone.

    Parameters
    ----------
    hkl : array_like of int, shape (n, 3)
        Indices.
    intensity : array_like, shape (n,)
        Intensity of each line; what weight is to mean is the caller's choice of unit.
    cell : sequence of float
        a, b, c (angstrom), alpha, beta, gamma (degrees).
    system : str
        Crystal system.
    """
    values = np.asarray(intensity, float)
    return {
        "system": system,
        "cell": [float(v) for v in cell],
        "density_g_cm3": 1.0,
        "volume_A3": 1.0,
        "hkl": np.asarray(hkl, int).ravel().tolist(),
        "multiplicity": [1] * values.size,
        "f2": [float(v) for v in values],
        "texture": [],
    }


def phases_of(reference: Mapping[str, Any], labels: Sequence[str] | None = None) -> tuple[PhaseLines, ...]:
    """Read the phases of a card's ``reference`` field.

    Parameters
    ----------
    reference : mapping
        The field, as :func:`reference_of` writes it or as cards held it before (format 1).
    labels : sequence of str, optional
        Phases in order; all by default.

    Raises
    ------
    ConfigurationError
        When a phase is missing or its entry cannot be read.
    """
    entries = reference.get("phases", {})
    names = tuple(labels) if labels is not None else tuple(entries)
    missing = [name for name in names if name not in entries]
    if missing or not names:
        raise ConfigurationError(
            f"the reference tables hold {', '.join(entries) or 'no phase'}; missing: {', '.join(missing)}"
        )
    found = []
    for name in names:
        try:
            found.append(_phase(name, entries[name]))
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise ConfigurationError(
                f"reference table of phase {name!r} cannot be read: {error!r}"
            ) from error
    return tuple(found)


def _phase(name: str, entry: Mapping[str, Any]) -> PhaseLines:
    cell = np.asarray(entry["cell"], float)
    hkl = np.asarray(entry["hkl"], float).reshape(-1, 3)
    strength = np.asarray(entry["multiplicity"], float) * np.asarray(entry["f2"], float)
    if cell.shape != (6,) or not (cell > 0).all() or strength.shape != hkl.shape[:1] or not hkl.size:
        raise ValueError(f"{hkl.shape[0]} reflections with {strength.shape} intensities, cell {cell}")
    volume = float(entry["volume_A3"])
    cosine, members, first = _texture(entry, len(hkl))
    return PhaseLines(
        name=name,
        system=str(entry["system"]),
        cell=cell,
        free=cell_names(str(entry["system"]), cell),
        moves=cell_map(str(entry["system"]), cell),
        hkl=hkl,
        strength=strength / (float(entry["density_g_cm3"]) * volume**2),
        cosine=cosine,
        members=members,
        first=first,
    )


def _texture(entry: Mapping[str, Any], n: int) -> tuple[Array, Array, npt.NDArray[np.int64]]:
    """Cosines, how many members have each, and where each family's start."""
    rows = entry.get("texture")
    if rows is None:  # format 1: one mean cosine per family
        rows = [round(c * _COSINE) for c in entry.get("texture_cos", [])]
    if not rows:
        return np.zeros(0), np.zeros(0), np.zeros(n + 1, np.int64)
    pairs = [np.reshape([row, 1] if isinstance(row, int) else row, (-1, 2)) for row in rows]
    together = np.concatenate(pairs).astype(float)
    first = np.concatenate([[0], np.cumsum([len(p) for p in pairs])]).astype(np.int64)
    if first.size != n + 1:
        raise ValueError(f"{first.size - 1} texture rows for {n} reflections")
    return together[:, 0] / _COSINE, together[:, 1], first
