"""A lattice model with its parameters and its measurement, as read from `model.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamproc.models.excitations.lattice.born_karman import force_names
from streamproc.models.excitations.lattice.crystal import Crystal, cubic, shells
from streamproc.models.excitations.lattice.schema import LatticeFile
from streamproc.models.excitations.mapmodel.case import MapCase, Words
from streamproc.models.excitations.mapmodel.parameters import parameters_of
from streamproc.models.excitations.mapmodel.tables import parsed

__all__ = ["CONVENTION", "LatticeCase", "case_of"]

CONVENTION = (
    "axially symmetric Born-von Karman force constants in N/m: a pair of atoms at r pulls with the tensor "
    "L rr/r^2 + T (1 - rr/r^2), L along and T across the bond; every atom feels each of its neighbours once, "
    "so the dynamical matrix of one atom is sum over its neighbours of tensor (1 - cos q.r) / mass; shells "
    "are numbered by distance; harmonic, at the temperature of the measurement"
)

_WORDS = Words(
    task="lattice-model",
    signal="phonons",
    one="force constant",
    many="force constants",
    units="N/m",
    prefix="",
    heading="force_constants_N_m",
    unstable="the lattice is unstable",
    too_little="too little of the phonons is measured for a fit",
    foreign="another lattice, wrong axes, or bands no lattice has",
    cannot=(
        "Forces beyond the shells of the model, and those that are not axially symmetric, are not in it: "
        "what they do to the energies is spread over the force constants there are.",
        "Mass and edge of the cell are taken for known: energies fix only force constants over the mass.",
        "Alloys, several elements and phonons so broad that they have no energy are not in the simulation.",
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class LatticeCase(MapCase):
    """Everything a fit needs to know.

    Attributes
    ----------
    file : LatticeFile
        As written.
    parameters : Parameters
        Force constants (N/m), free, fixed and tied ones.
    crystal : Crystal
        Cell and masses.
    """

    file: LatticeFile = field(repr=False)
    crystal: Crystal = field(repr=False)

    @property
    def number(self) -> int:
        """Shells of neighbours."""
        return self.file.crystal.shells

    @property
    def words(self) -> Words:
        """How it is spoken of."""
        return _WORDS

    @property
    def convention(self) -> str:
        """What the force constants mean."""
        return CONVENTION

    @property
    def assumed(self) -> dict[str, str]:
        """The crystal."""
        c = self.file.crystal
        return {"crystal": f"{c.lattice}, a = {c.a:g} angstrom, mass = {c.mass:g} u, {c.shells} shells"}

    @property
    def background(self) -> int:
        """Five of what falls off (see :attr:`background_falls`)."""
        return 5

    @property
    def background_q(self) -> bool:
        """Scattering by several phonons, and by the sample holder's, grows with Q^2."""
        return True

    @property
    def background_falls(self) -> bool:
        """Functions that may bend anywhere would take what a powder's density of states says.

        A parabola leaves the bend of what falls off above the elastic line to the force constants: that was
        a third of their standard deviation at 200 counts, and most of it at 2000.
        """
        return True

    @property
    def edges_tell(self) -> bool:
        """The top of the phonons fixes the stiffness along the nearest bond."""
        return True

    @property
    def missed(self) -> float:
        """Coarse fits of strong simulated maps may end elsewhere, which sets no limit for what a map is."""
        return 5.0

    @property
    def left_over(self) -> float:
        """A powder's map shows all phonons at once: fits of its own material leave next to nothing over,
        however little was counted."""
        return 0.2 if self.powder else 1.0

    @property
    def normal_where_told(self) -> bool:
        """Energies go smoothly with all force constants: valleys are straight where much was counted."""
        return True

    @property
    def fitted_widths(self) -> tuple[str, ...]:
        """Widths in energy; that in Q is the distance of the columns of a powder."""
        return ("energy_fwhm", "end_fwhm") if self.powder else ("energy_fwhm", "end_fwhm", "q_fwhm")

    def meaning(self, name: str) -> str:
        """Return what a force constant is, as its data key's description says it."""
        shell, along = int(name[1:]), name[0] == "L"
        found = shells(self.crystal, shell)[-1]
        neighbours, way = int((found.first == 0).sum()), "along" if along else "across"
        return (
            f"stiffness {way} the bond to each of the {neighbours} neighbours at {found.distance_A:.3f} "
            f"angstrom, axially symmetric, each neighbour once; {self.assumed['crystal']}"
        )


def case_of(content: Mapping[str, Any], path: Path) -> LatticeCase:
    """Build from the content of a file; ``path`` is for messages.

    Raises
    ------
    ConfigurationError
        A key is wrong (with the key).
    """
    file = parsed(LatticeFile, dict(content), path)
    table = file.crystal
    crystal = cubic(table.lattice, table.a, table.mass)
    return LatticeCase(file, parameters_of(file.parameters, force_names(table.shells), path), crystal)
