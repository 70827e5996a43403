"""CIF files as databases, journals and programs write them: every one reads, to what its name or origin says."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("gemmi", reason="CIF files are read with gemmi (extra demo or train)")
pytest.importorskip("spglib", reason="P 1 files need spglib (extra train)")

from streamproc.models.powder.ambiguity import ambiguities, standard_differences
from streamproc.models.powder.cif import read_cif, read_cifs
from streamproc.models.powder.tables import table_of

pytestmark = pytest.mark.real

# label, crystal system, a (angstrom) and density (g/cm3) of the files' papers
SINGLE = {
    "iucr_qarr/Al2O3.cif": ("Al2O3_167", "trigonal", 4.7605, 3.98),
    "iucr_qarr/CaF2.cif": ("CaF2_225", "cubic", 5.4625, 3.18),
    "iucr_qarr/Fe3O4.cif": ("Fe3O4_227", "cubic", 8.3970, 5.195),
    "iucr_qarr/ZnO.cif": ("ZnO_186", "hexagonal", 3.2495, 5.677),
    "nist_srm660c/cod_1000055.cif": ("LaB6_221", "cubic", 4.157597, 4.71),
    "nist_srm660c/nist_srm660c_100a.cif": ("LaB6_221", "cubic", 4.156780, 4.711),
    "nist_srm660c/cod_1000236.cif": ("Na2Ca3Al2F14_199", "cubic", 10.257, 2.99),
}


@pytest.mark.parametrize("name", sorted(SINGLE))
def test_a_database_file_reads_to_what_its_paper_says(name: str, shared_data: Path) -> None:
    label, system, a_A, density = SINGLE[name]
    phase = read_cif(shared_data / name)
    assert sorted(phase.label) == sorted(label)
    assert phase.system == system
    assert phase.structure.cell[0] == pytest.approx(a_A, abs=1e-6)
    assert table_of(phase.structure, 1.5406).density_g_cm3 == pytest.approx(density, rel=2e-3)
    assert not [n for n in phase.notes if n.kind in ("formula", "setting", "symmetry", "b-impossible")]


def test_all_reference_files_find_the_space_group_in_their_names(shared_data: Path) -> None:
    files = sorted((shared_data / "xrd_autoanalyzer" / "references").glob("*.cif"))
    assert len(files) == 56
    phases = read_cifs(files)
    assert len({p.label for p in phases}) == 56
    for path, phase in zip(files, phases, strict=True):
        assert phase.number == int(path.stem.rsplit("_", 1)[1]), path.stem
        assert not [n for n in phase.notes if n.kind in ("formula", "split", "volume")], path.stem


def test_cells_of_the_reference_files_that_differ_from_standards_are_reported(shared_data: Path) -> None:
    phases = read_cifs(sorted((shared_data / "xrd_autoanalyzer" / "references").glob("*.cif")))
    found = {d.labels[0]: d.figure for d in standard_differences(phases)}
    # computed cells of lithium fluoride and the titanium oxides, against the measured ones
    assert found["LiF_225"] == pytest.approx(4.067 / 4.0270 - 1)
    assert found["TiO2_136"] == pytest.approx(4.6092 / 4.5937 - 1, abs=5e-4)
    assert set(found) == {"LiF_225", "TiO2_136", "TiO2_141"}


def test_the_measured_standard_itself_differs_from_nothing(shared_data: Path) -> None:
    phase = read_cif(shared_data / "nist_srm660c" / "nist_srm660c_100a.cif")
    assert standard_differences([phase]) == []


def test_the_same_phase_from_two_sources_is_a_duplicate(shared_data: Path) -> None:
    folder = shared_data / "nist_srm660c"
    phases = read_cifs([folder / "nist_srm660c_100a.cif", folder / "cod_1000055.cif"])
    statements = ambiguities(phases, 1.5406, (20, 100))
    assert [s.labels for s in statements if s.kind == "duplicate"] == [tuple(p.label for p in phases)]
    assert not [s for s in statements if s.kind == "alike"]
