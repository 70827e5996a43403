"""A spin model with its parameters and its measurement, as read from `model.toml`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.mapmodel.case import MapCase, Words
from streamproc.models.excitations.mapmodel.parameters import parameters_of
from streamproc.models.excitations.mapmodel.tables import parsed
from streamproc.models.excitations.model_file import read_toml
from streamproc.models.excitations.spinmodel.order import in_magnetic_cell
from streamproc.models.excitations.spinmodel.schema import BondEntry, ModelFile
from streamproc.models.excitations.spinmodel.structure import (
    Bond,
    Coupling,
    Lattice,
    OnSite,
    Site,
    SpinModel,
    dm_matrix,
)

from streamproc.errors import ConfigurationError

__all__ = ["CONVENTION", "SpinCase", "case_of", "read_case"]

Array = npt.NDArray[np.float64]

CONVENTION = (
    "H = sum over bonds S_i.J.S_j + sum over sites D (n.S_i)^2, every bond counted once, S the quantum "
    "number (not sqrt(S(S+1))), J > 0 antiferromagnetic; a measured dispersion gives Zc*J (Zc: quantum "
    "renormalisation of the spin-wave energies), which is what is reported; only S*J is measured: for "
    "another spin J scales as 1/S"
)


_WORDS = Words(
    task="spin-model",
    signal="magnons",
    one="coupling",
    many="couplings",
    units="meV",
    prefix="Zc*",
    heading="couplings_meV",
    unstable="the assumed magnetic order is unstable",
    too_little="too little of the magnons is measured for a fit",
    foreign="another magnet, wrong axes, or bands no spin wave has",
    cannot=(
        "Zc and the spin cannot be told from a dispersion: given is Zc times the coupling, for the spin "
        "stated.",
        "Couplings that a scan's columns do not depend on stay as uncertain as the prior; intervals say so.",
        "Two-magnon scattering, phonons that cross the band and several domains are not in the simulation.",
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class SpinCase(MapCase):
    """Everything a fit needs to know.

    Attributes
    ----------
    file : ModelFile
        As written.
    parameters : Parameters
        Free, fixed and tied ones.
    model : SpinModel
        All sites of the magnetic cell.
    """

    file: ModelFile = field(repr=False)
    model: SpinModel = field(repr=False)

    @property
    def spins(self) -> str:
        """The spins assumed, as a text."""
        return ", ".join(f"S({s.name}) = {s.spin:g}" for s in self.file.site)

    @property
    def words(self) -> Words:
        """How it is spoken of."""
        return _WORDS

    @property
    def convention(self) -> str:
        """What the couplings mean."""
        return CONVENTION

    @property
    def assumed(self) -> dict[str, str]:
        """The spins."""
        return {"spins": self.spins}

    def meaning(self, name: str) -> str:
        """Return what a coupling is, as its data key's description says it."""
        return f"Zc times {name} in H = sum over bonds of {name} S.S, each bond once; {self.spins}"


def read_case(path: Path) -> SpinCase:
    """Read a ``model.toml``.

    Raises
    ------
    ConfigurationError
        File missing, not TOML (with the line), or a key wrong (with the key).
    """
    return case_of(read_toml(path), path)


def case_of(content: Mapping[str, Any], path: Path) -> SpinCase:
    """Build from the content of a file; ``path`` is for messages (see :func:`read_case`)."""
    file = parsed(ModelFile, dict(content), path)
    sites = tuple(Site(s.name, s.position, s.spin, s.direction, s.g, s.form_factor) for s in file.site)
    index = _index([s.name for s in sites], "site", path)
    couplings = [
        Coupling.exchange(e.name, _bonds(e.bonds, index, f"exchange[{n}]", path), e.diagonal)
        for n, e in enumerate(file.exchange, start=1)
    ]
    for n, d in enumerate(file.dm, start=1):
        bonds = tuple(_bonds(d.bonds, index, f"dm[{n}]", path))
        couplings.append(Coupling(d.name, bonds, np.repeat(dm_matrix(d.vector)[None], len(bonds), 0)))
    couplings = _joined(couplings)
    onsite = []
    for n, a in enumerate(file.anisotropy, start=1):
        where = tuple(_site(name, index, f"anisotropy[{n}].sites", path) for name in a.sites)
        axis = np.asarray(a.axis) / np.linalg.norm(a.axis)
        onsite.append(OnSite(a.name, where, np.outer(axis, axis)))
    chemical = SpinModel(Lattice(**file.lattice.model_dump()), sites, tuple(couplings), tuple(onsite))
    try:
        model = in_magnetic_cell(chemical, file.order.propagation, file.order.axis)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: order: {error.message}") from error
    return SpinCase(file, parameters_of(file.parameters, model.parameters, path), model)


def _joined(couplings: Sequence[Coupling]) -> list[Coupling]:
    """Tables of one name become one coupling (a DM vector that differs from bond to bond, say)."""
    found: dict[str, Coupling] = {}
    for c in couplings:
        if c.name in found:
            old = found[c.name]
            c = Coupling(c.name, old.bonds + c.bonds, np.concatenate([old.matrices, c.matrices]))
        found[c.name] = c
    return list(found.values())


def _index(names: Sequence[str], what: str, path: Path) -> dict[str, int]:
    twice = sorted({n for n in names if list(names).count(n) > 1})
    if twice:
        raise ConfigurationError(f"{path}: {what}: the name {', '.join(twice)} is given twice")
    return {n: i for i, n in enumerate(names)}


def _site(name: str, index: Mapping[str, int], key: str, path: Path) -> int:
    if name not in index:
        raise ConfigurationError(f"{path}: {key}: there is no site {name!r}; there are {', '.join(index)}")
    return index[name]


def _bonds(entries: Sequence[BondEntry], index: Mapping[str, int], key: str, path: Path) -> list[Bond]:
    """Bonds, each once: the reverse of a bond is the same bond."""
    seen: dict[tuple[int, int, tuple[int, int, int]], int] = {}
    found = []
    for n, (first, second, cell) in enumerate(entries, start=1):
        where = f"{key}.bonds[{n}]"
        bond = Bond(_site(first, index, where, path), _site(second, index, where, path), cell)
        back = (bond.j, bond.i, (-cell[0], -cell[1], -cell[2]))
        if back == (bond.i, bond.j, cell):
            raise ConfigurationError(f"{path}: {where}: a bond from {first} to itself")
        for same in ((bond.i, bond.j, cell), back):
            if same in seen:
                raise ConfigurationError(
                    f"{path}: {where}: the bond {first}-{second} {list(cell)} is bonds[{seen[same]}] again "
                    "(from its other end or not); in this convention every bond is listed once"
                )
        seen[(bond.i, bond.j, cell)] = n
        found.append(bond)
    return found
