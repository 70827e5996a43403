"""The simulator against independent codes on structures of all seven crystal systems; how fast tables are.

Each structure is written as a CIF, read by the package and by the other code, and every reflection above
0.1 % of the strongest is compared:

- Dans_Diffraction reads the CIF, expands the symmetry and sums structure factors itself (without dispersion);
- gemmi sums structure factors itself, with f' and f'' (f'' by linearity, from a second sum with f' + f'');
- spacings are compared with both, as positions in degrees 2theta.

Usage: python benchmarks/science/simulator.py [--cif FOLDER]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import numpy.typing as npt
from streamproc.models.powder import tables
from streamproc.models.powder.cif import read_cif, read_cifs
from streamproc.models.powder.structures import Site, Structure, structures
from streamproc.models.powder.tables import PhaseTable, d_min_of, table_of

WAVELENGTH_A = 1.5405929
SHOWN = 1e-3
Array = npt.NDArray[np.float64]


def oracle_structures() -> list[Structure]:
    """All seven systems, with and without a centre, shared and partly filled positions."""
    known = structures()
    names = (
        "corundum",
        "zincite",
        "quartz",
        "rutile",
        "zircon",
        "baddeleyite",
        "aragonite",
        "yttria",
        "spinel",
    )
    forsterite = known["forsterite"]
    iron = [replace(s, occupancy=0.7) for s in forsterite.sites[:2]]
    iron += [replace(s, element="Fe", occupancy=0.3, b_A2=0.6) for s in forsterite.sites[:2]]
    olivine = replace(forsterite, name="olivine with iron", sites=(*iron, *forsterite.sites[2:]))
    manganite = replace(
        known["spinel"], name="defect spinel",
        sites=(Site("Li", 0.125, 0.125, 0.125, 0.65, 1.2), Site("Mn", 0.5, 0.5, 0.5, 0.9, 0.4),
               Site("Ni", 0.5, 0.5, 0.5, 0.1, 0.4), Site("O", 0.2624, 0.2624, 0.2624, 0.98, 0.9)),
    )  # fmt: skip
    # no crystal of this world: a triclinic cell with atoms at random places, one of them partly filled
    triclinic = Structure(
        "made up, triclinic", "P -1", (5.58, 7.13, 7.85, 106.0, 90.0, 101.1),
        (Site("Al", 0.285, 0.325, 0.704), Site("Si", 0.706, 0.296, 0.066, 1.0, 0.6),
         Site("Ba", 0.0, 0.5, 0.0, 0.8), Site("O", 0.109, 0.147, 0.129, 1.0, 0.8),
         Site("O", 0.123, 0.685, 0.181, 0.45, 0.8)),
        0.4, (0, 0, 1), "made up",
    )  # fmt: skip
    polar = replace(triclinic, name="made up, triclinic, no centre", space_group="P 1")
    return [*(known[n] for n in names), olivine, manganite, triclinic, polar]


def cif_text(material: Structure) -> str:
    """Write a structure as a CIF with operations, occupancies and B."""
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    cell = [f"_cell_{n} {v}" for n, v in zip(names, material.cell, strict=True)]
    group = gemmi.find_spacegroup_by_name(material.space_group)
    head = [f"_symmetry_space_group_name_H-M '{group.hm}'", f"_symmetry_Int_Tables_number {group.number}"]
    ops = ["loop_", "_symmetry_equiv_pos_as_xyz", *(f"'{op.triplet()}'" for op in group.operations())]
    items = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy", "B_iso_or_equiv")
    sites = [
        f"{s.element}{n} {s.element} {s.x} {s.y} {s.z} {s.occupancy} "
        f"{material.b_A2 if s.b_A2 is None else s.b_A2}"
        for n, s in enumerate(material.sites)
    ]
    return "\n".join(["data_x", *cell, *head, *ops, "loop_", *(f"_atom_site_{i}" for i in items), *sites, ""])


@contextmanager
def without_dispersion() -> Iterator[None]:
    """Leave f' and f'' out of the tables: the other code does not have them."""
    kept = tables.dispersion
    tables.dispersion = lambda elements, _wavelength: dict.fromkeys(elements, (0.0, 0.0))  # type: ignore[assignment]
    try:
        yield
    finally:
        tables.dispersion = kept  # type: ignore[assignment]


def shown(table: PhaseTable) -> npt.NDArray[np.bool_]:
    power = table.multiplicity * table.f2
    return np.asarray(power > SHOWN * power.max())


def against_dans_diffraction(path: Path) -> tuple[float, float]:
    """Largest relative difference of |F|^2 and difference of positions (degrees)."""
    import matplotlib

    matplotlib.use("Agg")
    import Dans_Diffraction

    with without_dispersion():
        table = table_of(read_cif(path).structure, WAVELENGTH_A)
    with contextlib.redirect_stdout(io.StringIO()):
        crystal = Dans_Diffraction.Crystal(str(path))
        f2 = np.asarray(crystal.Scatter.x_ray(table.hkl))
    keep = shown(table)
    off = np.abs(table.f2[keep] / f2[keep] - 1).max()
    return float(off), position_difference(table, crystal.Cell.dspace(table.hkl))


def against_gemmi(path: Path) -> tuple[float, float]:
    """Largest relative difference of |F|^2 with f' and f'', and difference of positions (degrees)."""
    table = table_of(read_cif(path).structure, WAVELENGTH_A)
    small = gemmi.make_small_structure_from_block(gemmi.cif.read(str(path)).sole_block())
    small.change_occupancies_to_crystallographic()
    calculator = gemmi.StructureFactorCalculatorX(small.cell)
    values = []
    for share in (0.0, 1.0):
        for element in {site.element.name for site in small.sites}:
            z = gemmi.Element(element).atomic_number
            f1, f2 = gemmi.cromer_liberman(z=z, energy=12398.41984 / WAVELENGTH_A) if z > 2 else (0.0, 0.0)
            calculator.addends.set(gemmi.Element(element), f1 + share * f2)
        values.append(
            np.array(
                [calculator.calculate_sf_from_small_structure(small, list(map(int, h))) for h in table.hkl]
            )
        )
    keep = shown(table)
    both = np.abs(values[0]) ** 2 + np.abs(values[1] - values[0]) ** 2
    off = np.abs(table.f2[keep] / both[keep] - 1).max()
    return float(off), position_difference(
        table, np.array([small.cell.calculate_d(list(map(int, h))) for h in table.hkl])
    )


def position_difference(table: PhaseTable, d_A: Any) -> float:
    ours, theirs = (np.rad2deg(2 * np.arcsin(WAVELENGTH_A / 2 / np.asarray(d))) for d in (table.d_A, d_A))
    return float(np.abs(ours - theirs).max())


def compare() -> list[tuple[str, str, int, float, float, float]]:
    """Name, system, reflections, differences to Dans_Diffraction, to gemmi, and of positions."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for material in oracle_structures():
            path = Path(folder) / "structure.cif"
            path.write_text(cif_text(material))
            table = table_of(read_cif(path).structure, WAVELENGTH_A)
            dans, dans_place = against_dans_diffraction(path)
            own, own_place = against_gemmi(path)
            rows.append(
                (material.name, table.system, int(shown(table).sum()), dans, own, max(dans_place, own_place))
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cif", type=Path, help="folder whose CIF files are read and tabulated for the timing"
    )
    arguments = parser.parse_args()
    print(
        f"{'structure':<32}{'system':<14}{'lines':>6}{'Dans_Diffraction':>18}{'gemmi':>10}{'position/deg':>14}"
        f"{'structure':<32}{'system':<14}{'lines':>6}{'Dans_Diffraction':>18}{'gemmi':>10}{'position/deg':>14}"
    )
    rows = compare()
    for name, system, n, dans, own, place in rows:
        print(f"{name:<32}{system:<14}{n:>6}{dans:>18.1e}{own:>10.1e}{place:>14.1e}")
    worst = [max(row[i] for row in rows) for i in (3, 4, 5)]
    print(
        f"largest difference of an intensity {max(worst[:2]):.1e} (relative), of a position {worst[2]:.1e} "
        "degrees"
    )
    if arguments.cif:
        begin = time.perf_counter()
        phases = read_cifs(sorted(arguments.cif.glob("*.cif")))
        read = time.perf_counter() - begin
        print(f"{len(phases)} CIF files read in {read:.2f} s")
        for wavelength, stop in ((1.5406, 150.0), (0.7093, 60.0), (0.2, 20.0)):
            begin = time.perf_counter()
            made = [table_of(p.structure, wavelength, d_min_of(wavelength, stop)) for p in phases]
            took, lines = time.perf_counter() - begin, sum(len(t.d_A) for t in made)
            print(f"tables at {wavelength:g} angstrom to {stop:g} degrees: {took:.2f} s, {lines} reflections")


if __name__ == "__main__":
    main()
