"""CIF files as people have them: what is made of them, and what is said about it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

gemmi = pytest.importorskip("gemmi", reason="CIF files are read with gemmi (extra demo or train)")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from streamproc.models.powder.cif import CifPhase, read_cif, read_cifs  # noqa: E402
from streamproc.models.powder.crystal import crystal_system, operations_of  # noqa: E402
from streamproc.models.powder.structures import structures  # noqa: E402
from streamproc.models.powder.tables import PhaseTable, table_of  # noqa: E402

from streamproc.errors import ConfigurationError  # noqa: E402

CU = 1.5406

RUTILE = """\
data_rutile
_chemical_formula_sum 'O2 Ti'
_cell_formula_units_Z 2
_cell_length_a 4.5937(2)
_cell_length_b 4.5937(2)
_cell_length_c 2.9587(1)
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_cell_volume 62.43
_space_group_name_H-M_alt 'P 42/m n m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
_atom_site_U_iso_or_equiv
Ti1 Ti4+ 0 0 0 1 0.0055
O1 O2- 0.3053(1) 0.3053 0 1.0 0.0053
"""
OXYGEN = "O1 O2- 0.3053(1) 0.3053 0 1.0 0.0053"


def read(tmp_path: Path, text: str | bytes, name: str = "case.cif") -> CifPhase:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_cif(path)


def kinds(phase: CifPhase) -> set[str]:
    return {note.kind for note in phase.notes}


def lines(table: PhaseTable) -> dict[float, float]:
    """Intensity by spacing: what a powder pattern shows whatever the axes are called."""
    found: dict[float, float] = {}
    for d, power in zip(table.d_A, table.multiplicity * table.f2, strict=True):
        key = next((k for k in found if abs(k / d - 1) < 2e-5), float(d))
        found[key] = found.get(key, 0.0) + float(power) / table.volume_A3**2
    return {k: v for k, v in found.items() if v > 1e-4 * max(found.values())}


def assert_same_powder(one: PhaseTable, two: PhaseTable, rel: float = 1e-3) -> None:
    a, b = lines(one), lines(two)
    assert len(a) == len(b)
    for (d1, i1), (d2, i2) in zip(sorted(a.items()), sorted(b.items()), strict=True):
        assert d1 == pytest.approx(d2, rel=5e-5)
        assert i1 == pytest.approx(i2, rel=rel, abs=1e-3 * max(a.values()) * rel)


def cif_of(name: str, *, hide: bool = False, axes: str = "x,y,z") -> str:
    """A built-in structure as a CIF; ``hide`` lists all atoms in P 1, ``axes`` gives new axes and origin."""
    material = structures()[name]
    group = gemmi.find_spacegroup_by_name(material.space_group)
    change = gemmi.Op(axes)
    inverse = change.inverse()
    ops = [inverse.combine(op).combine(change).wrap() for op in group.operations()]
    old = gemmi.UnitCell(*material.cell)
    matrix = np.array(old.orth.mat.tolist()) @ (np.array(change.rot) / 24)
    vectors = matrix.T
    lengths = np.linalg.norm(vectors, axis=1)
    angles = [
        np.rad2deg(np.arccos(vectors[i] @ vectors[j] / lengths[i] / lengths[j]))
        for i, j in ((1, 2), (0, 2), (0, 1))
    ]
    sites = []
    for s in material.sites:
        xyz = np.array(inverse.apply_to_xyz([s.x, s.y, s.z]))
        images = [xyz]
        if hide:
            for op in ops:
                image = np.mod(op.apply_to_xyz(xyz.tolist()), 1.0)
                apart = [np.abs((image - i) - np.round(image - i)).max() for i in images]
                if min(apart) > 1e-3:
                    images.append(image)
        sites += [f"{s.element}{len(sites) + n} {s.element} {i[0]:.8f} {i[1]:.8f} {i[2]:.8f}" for n, i in enumerate(images)]  # fmt: skip
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    cell = [f"_cell_{n} {v:.8f}" for n, v in zip(names, [*lengths, *angles], strict=True)]
    triplets = ["x,y,z"] if hide else [op.triplet() for op in ops]
    loop = ["loop_", *(f"_atom_site_{i}" for i in ("label", "type_symbol", "fract_x", "fract_y", "fract_z"))]
    b_line = ["_atom_site_B_iso_or_equiv"]
    sites = [f"{line} {material.b_A2}" for line in sites]
    head = ["data_x", *cell, "loop_", "_symmetry_equiv_pos_as_xyz", *(f"'{t}'" for t in triplets)]
    return "\n".join([*head, *loop, *b_line, *sites, ""])


def test_a_plain_file_gives_cell_sites_label_and_displacements(tmp_path: Path) -> None:
    phase = read(tmp_path, RUTILE)
    assert phase.label == phase.structure.name == "TiO2_136"
    assert (phase.formula, phase.number, phase.system) == ("TiO2", 136, "tetragonal")
    assert phase.structure.cell == (4.5937, 4.5937, 2.9587, 90.0, 90.0, 90.0)
    titanium, oxygen = phase.structure.sites
    assert (titanium.element, oxygen.element, oxygen.x) == ("Ti", "O", 0.3053)
    assert titanium.b_A2 == pytest.approx(8 * np.pi**2 * 0.0055)
    assert kinds(phase) == {"neutral"}
    assert "Ti4+, O2-" in phase.notes[0].text


@pytest.mark.parametrize("name", sorted(structures()))
def test_every_built_in_structure_survives_the_way_through_a_cif(name: str, tmp_path: Path) -> None:
    own = table_of(structures()[name], CU)
    phase = read(tmp_path, cif_of(name))
    table = table_of(phase.structure, CU)
    assert (table.system, phase.system) == (own.system, own.system)
    assert_same_powder(table, own)
    assert table.density_g_cm3 == pytest.approx(own.density_g_cm3, rel=1e-6)


@pytest.mark.parametrize("name", sorted(structures()))
def test_a_file_that_lists_all_atoms_in_p1_finds_its_true_symmetry(name: str, tmp_path: Path) -> None:
    pytest.importorskip("spglib", reason="finding symmetry needs spglib (extra train)")
    material = structures()[name]
    phase = read(tmp_path, cif_of(name, hide=True))
    group = gemmi.find_spacegroup_by_name(material.space_group)
    # an enantiomorphic pair has one powder pattern, and spglib may name either
    partners = {152: 154, 154: 152}
    assert phase.number in (group.number, partners.get(group.number))
    assert phase.system == group.crystal_system_str()
    assert "symmetry" in kinds(phase)
    assert_same_powder(table_of(phase.structure, CU), table_of(material, CU), rel=5e-3)


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("baddeleyite", "z,x,y"),  # unique axis c
        ("baddeleyite", "x,y,x+z"),  # another cell choice
        ("forsterite", "y,z,x"),
        ("corundum", "x+1/4,y,z+1/8"),  # an origin no table lists
        ("magnetite", "x+1/8,y+1/8,z+1/8"),
        ("rutile", "z,x,y"),  # the fourfold axis along b
        ("corundum", "2/3*x-1/3*y-1/3*z,1/3*x+1/3*y-2/3*z,1/3*x+1/3*y+1/3*z"),  # rhombohedral axes
        ("fluorite", "1/2*y+1/2*z,1/2*x+1/2*z,1/2*x+1/2*y"),  # primitive cell
    ],
)  # fmt: skip
def test_unusual_axes_and_origins_give_the_same_powder_pattern(name: str, axes: str, tmp_path: Path) -> None:
    pytest.importorskip("spglib", reason="unusual settings need spglib (extra train)")
    material = structures()[name]
    own = table_of(material, CU)
    phase = read(tmp_path, cif_of(name, axes=axes))
    table = table_of(phase.structure, CU)
    assert table.system == own.system
    assert_same_powder(table, own)
    a, b, _, alpha, beta, gamma = phase.structure.cell
    if own.system in ("tetragonal", "trigonal", "cubic"):
        assert a == pytest.approx(b)
        assert (alpha, beta, gamma) == pytest.approx((90, 90, 120 if own.system == "trigonal" else 90))


def test_crystal_system_from_operations_is_gemmis_for_every_tabulated_setting() -> None:
    for group in gemmi.spacegroup_table():
        rotations = np.array([op.rot for op in group.operations()]) // 24
        assert crystal_system(rotations) == group.crystal_system_str(), group.xhm()


@pytest.mark.parametrize(
    "spelling",
    ["P42/mnm", "P 42/mnm", "P4_2/mnm", "P 4_2/m n m", "p 42/m n m", "P 42/m n m (No. 136)", "P 42/M N M"],
)
def test_symbols_are_understood_however_they_are_spaced(spelling: str, tmp_path: Path) -> None:
    assert read(tmp_path, RUTILE.replace("P 42/m n m", spelling)).number == 136


@pytest.mark.parametrize(
    "tag",
    ["_symmetry_space_group_name_H-M", "_space_group.name_H-M_ref", "_SPACE_GROUP_NAME_H-M_ALT", "_space_group_name_H-M_full"],
)  # fmt: skip
def test_old_and_new_tags_mean_the_same(tag: str, tmp_path: Path) -> None:
    assert read(tmp_path, RUTILE.replace("_space_group_name_H-M_alt", tag)).label == "TiO2_136"
    dotted = RUTILE.replace("_atom_site_", "_atom_site.").replace("_cell_length", "_cell.length")
    assert read(tmp_path, dotted.replace("_space_group_name_H-M_alt", tag)).label == "TiO2_136"


def test_only_a_number_and_only_a_hall_symbol_are_enough(tmp_path: Path) -> None:
    symbol = "_space_group_name_H-M_alt 'P 42/m n m'"
    number = read(tmp_path, RUTILE.replace(symbol, "_symmetry_Int_Tables_number 136"))
    assert number.number == 136 and "setting" in kinds(number)
    hall = read(tmp_path, RUTILE.replace(symbol, "_space_group_name_Hall '-P 4n 2n'"))
    assert hall.number == 136 and "setting" not in kinds(hall)


def test_of_two_origins_the_one_that_fits_the_atoms_is_taken_and_said(tmp_path: Path) -> None:
    text = cif_of("magnetite")
    start, stop = text.index("loop_"), text.index("loop_", text.index("loop_") + 5)
    text = text[:start] + "_space_group_name_H-M_alt 'F d -3 m'\n_chemical_formula_sum 'Fe3 O4'\n_cell_formula_units_Z 8\n" + text[stop:]  # fmt: skip
    phase = read(tmp_path, text)
    assert phase.structure.space_group == "F d -3 m:2"
    assert any("does not say which origin" in n.text for n in phase.notes)
    assert_same_powder(table_of(phase.structure, CU), table_of(structures()["magnetite"], CU))


def test_windows_files_and_old_encodings_read_alike(tmp_path: Path) -> None:
    plain = read(tmp_path, RUTILE).structure
    author = "_publ_author_name 'Müller, Jürgen'\n"
    text = RUTILE.replace("_cell_length_a", author + "_cell_length_a")
    for content in (
        text.replace("\n", "\r\n").encode("cp1252"),
        text.replace("\n", "\r").encode(),
        text.encode("utf-8-sig"),
        text.encode("utf-16"),
        text.replace(" 0.3053 ", "\u00a00.3053\u00a0").encode(),
        text.replace("data_rutile", "# \x0c\x1b comment\ndata_rutile").encode(),
    ):
        assert read(tmp_path, content).structure.cell == plain.cell
    assert "encoding" in kinds(read(tmp_path, text.encode("cp1252")))


def test_a_minus_sign_from_a_word_processor_is_a_minus_sign(tmp_path: Path) -> None:
    phase = read(
        tmp_path,
        RUTILE.replace(OXYGEN, OXYGEN.replace("0.3053 0 ", "\u22120.3053 0 ")).replace(
            "0.3053(1)", "-0.3053"
        ),
    )
    assert phase.formula == "TiO2"


def test_rounded_coordinates_lie_on_their_special_positions(tmp_path: Path) -> None:
    text = cif_of("zincite").replace("0.33333333", "0.333").replace("0.66666667", "0.667")
    phase = read(tmp_path, text)
    assert phase.formula == "ZnO"
    assert phase.structure.sites[0].x == pytest.approx(1 / 3, abs=1e-12)
    assert_same_powder(table_of(phase.structure, CU), table_of(structures()["zincite"], CU))


def test_shared_positions_keep_their_occupancies(tmp_path: Path) -> None:
    mixed = RUTILE.replace(
        "Ti1 Ti4+ 0 0 0 1 0.0055", "Ti1 Ti4+ 0 0 0 0.75 0.0055\nSn1 Sn4+ 0 0 0 0.25(1) 0.0055"
    )
    phase = read(tmp_path, mixed)
    assert phase.label == "Ti0p75Sn0p25O2_136"
    assert [s.occupancy for s in phase.structure.sites] == [0.75, 0.25, 1.0]
    assert "formula" in kinds(phase)
    table = table_of(phase.structure, CU)
    mass = 2 * (0.75 * 47.867 + 0.25 * 118.710 + 2 * 15.999)
    assert table.mass_u == pytest.approx(mass, rel=1e-4)


def test_missing_displacements_are_assumed_by_element_and_said(tmp_path: Path) -> None:
    phase = read(tmp_path, RUTILE.replace("0.0055", "?").replace("0.0053", "."))
    assert [s.b_A2 for s in phase.structure.sites] == [0.5, 0.7]
    (note,) = [n for n in phase.notes if n.kind == "b-default"]
    assert "Ti 0.5 (heavy or transition metal)" in note.text and "O 0.7 (non-metal)" in note.text


def test_impossible_displacements_are_named_and_not_used(tmp_path: Path) -> None:
    phase = read(tmp_path, RUTILE.replace("0.0055", "0.55").replace("0.0053", "-0.002"))
    assert [s.b_A2 for s in phase.structure.sites] == [0.5, 0.7]
    said = [str(n) for n in phase.notes if n.kind == "b-impossible"]
    assert "B = 43.4" in said[0] and "(line 20)" in said[0]
    assert "-0.002" in said[1] and "(line 21)" in said[1]


def test_anisotropic_parameters_give_the_equivalent_isotropic_one(tmp_path: Path) -> None:
    aniso = """loop_
_atom_site_aniso_label
_atom_site_aniso_U_11
_atom_site_aniso_U_22
_atom_site_aniso_U_33
_atom_site_aniso_U_12
_atom_site_aniso_U_13
_atom_site_aniso_U_23
Zn0 0.006 0.006 0.009 0.003 0 0
"""
    text = cif_of("zincite").replace("_atom_site_B_iso_or_equiv", "_atom_site_other") + aniso
    zinc = read(tmp_path, text).structure.sites[0]
    # hexagonal axes with U12 = U11 / 2: two equal axes across, one along
    assert zinc.b_A2 == pytest.approx(8 * np.pi**2 * (0.006 + 0.006 + 0.009) / 3, rel=1e-6)


def test_a_formula_that_the_atoms_contradict_is_said(tmp_path: Path) -> None:
    phase = read(tmp_path, RUTILE.replace("'O2 Ti'", "'O3 Ti2'"))
    assert "formula 'O3 Ti2' contradicts" in str(next(n for n in phase.notes if n.kind == "formula"))
    assert kinds(read(tmp_path, RUTILE.replace("Units_Z 2", "Units_Z 2"))) == {"neutral"}
    assert "formula" in kinds(read(tmp_path, RUTILE.replace("units_Z 2", "units_Z 4")))
    assert "hydrogen" in kinds(read(tmp_path, RUTILE.replace("'O2 Ti'", "'H O2 Ti'")))


def test_volume_temperature_and_pressure_that_matter_are_said(tmp_path: Path) -> None:
    cold = RUTILE.replace("_cell_volume 62.43", "_cell_volume 65.0\n_cell_measurement_temperature 100(2)\n_diffrn_ambient_pressure 5.0e6")  # fmt: skip
    assert {"volume", "temperature", "pressure"} <= kinds(read(tmp_path, cold))


def test_hydrogen_without_place_and_dummies_are_left_out_and_said(tmp_path: Path) -> None:
    phase = read(tmp_path, RUTILE + "H1 H ? ? ? 1 .\nD1 D 0.5 0.5 0.25 0.2 0.02\n")
    assert {"hydrogen", "deuterium"} <= kinds(phase)
    assert [s.element for s in phase.structure.sites] == ["Ti", "O", "D"]
    assert np.isfinite(table_of(phase.structure, CU).f2).all()


def test_labels_alone_name_the_elements_and_the_formula_settles_what_is_open(tmp_path: Path) -> None:
    bare = RUTILE.replace("_atom_site_type_symbol\n", "").replace("Ti1 Ti4+", "TI1").replace("O1 O2-", "O1")
    assert read(tmp_path, bare).formula == "TiO2"
    # CA: calcium or carbon "A"; CO: cobalt or carbon
    for formula, expected in (("'Ca O2'", "Ca"), ("'C O2'", "C")):
        text = bare.replace("TI1", "CA1").replace("'O2 Ti'", formula)
        assert read(tmp_path, text).structure.sites[0].element == expected


def test_atoms_split_over_close_positions_are_kept_and_said(tmp_path: Path) -> None:
    split = RUTILE.replace(OXYGEN, "O1 O 0.3053 0.3053 0.05 0.5 0.0053")
    phase = read(tmp_path, split)
    assert "split" in kinds(phase) and phase.formula == "TiO2"


def test_several_blocks_give_several_phases_with_labels_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "two.cif"
    other = RUTILE.replace("data_rutile", "data_sn").replace("Ti1 Ti4+", "Sn1 Sn4+").replace("'O2 Ti'", "?")
    path.write_text("data_global\n_publ_section_title 'A paper'\n" + RUTILE + other)
    assert [p.label for p in read_cifs([path])] == ["TiO2_136", "SnO2_136"]
    assert read_cif(path, block="sn").formula == "SnO2"
    for name in ("a-1.cif", "b.2.cif"):
        (tmp_path / name).write_text(RUTILE)
    labels = [p.label for p in read_cifs([tmp_path / "a-1.cif", tmp_path / "b.2.cif", path])]
    assert labels == ["TiO2_136_a_1", "TiO2_136_b_2", "TiO2_136_two", "SnO2_136"]
    assert all(label.replace("_", "").isalnum() for label in labels)
    assert [p.structure.name for p in read_cifs([tmp_path / "a-1.cif"])] == ["TiO2_136"]


def test_two_halves_of_an_atom_beside_a_mirror_stay_two_and_a_rounded_whole_one_is_one(
    tmp_path: Path,
) -> None:
    half = read(tmp_path, RUTILE.replace(OXYGEN, "O1 O 0.3053 0.3053 0.012 0.5 0.0053"))
    assert half.formula == "TiO2" and "split" in kinds(half)
    whole = read(tmp_path, RUTILE.replace(OXYGEN, "O1 O 0.3053 0.3053 0.012 1 0.0053"))
    assert whole.formula == "TiO2" and "split" not in kinds(whole)
    assert whole.structure.sites[1].z == pytest.approx(0.0, abs=1e-12)


def test_a_refined_occupancy_just_above_one_is_one(tmp_path: Path) -> None:
    assert (
        read(tmp_path, RUTILE.replace("0 1.0 0.0053", "0 1.02(1) 0.0053")).structure.sites[1].occupancy == 1.0
    )


def test_multiplicities_and_density_that_the_symmetry_contradicts_are_said(tmp_path: Path) -> None:
    text = RUTILE.replace("_atom_site_U_iso_or_equiv", "_atom_site_symmetry_multiplicity").replace(
        "0.0055", "2"
    )
    assert "multiplicity" not in kinds(read(tmp_path, text.replace("1.0 0.0053", "1.0 4")))
    wrong = read(tmp_path, text.replace("1.0 0.0053", "1.0 8"))
    assert "O1: multiplicity 8 in the file, 4 by symmetry (line 21)" in [str(n) for n in wrong.notes]
    dense = read(tmp_path, RUTILE.replace("_cell_volume 62.43", "_exptl_crystal_density_diffrn 5.25"))
    assert "density" in kinds(dense)


def test_a_triclinic_file_says_what_symmetry_it_nearly_has(tmp_path: Path) -> None:
    pytest.importorskip("spglib", reason="finding symmetry needs spglib (extra train)")
    lines_of_file = cif_of("halite", hide=True).splitlines()
    rng = np.random.default_rng(4)
    for i, line in enumerate(lines_of_file):
        words = line.split()
        if len(words) == 6 and not line.startswith("'"):
            words[2:5] = [f"{float(v) + 0.0025 * rng.standard_normal():.5f}" for v in words[2:5]]
            lines_of_file[i] = " ".join(words)
    phase = read(tmp_path, "\n".join([*lines_of_file, ""]))
    assert phase.number < 225
    assert any("have the symmetry of F m -3 m (number 225)" in n.text for n in phase.notes)


@pytest.mark.parametrize("symbol", ["R -3 c", "R -3 c R", "R-3c:R", "R -3 c :R"])
def test_a_rhombohedral_cell_with_a_symbol_alone_is_understood(symbol: str, tmp_path: Path) -> None:
    pytest.importorskip("spglib", reason="unusual settings need spglib (extra train)")
    material = structures()["calcite"]
    text = cif_of("calcite", axes="2/3*x-1/3*y-1/3*z,1/3*x+1/3*y-2/3*z,1/3*x+1/3*y+1/3*z")
    start, stop = text.index("loop_"), text.index("loop_", text.index("loop_") + 5)
    text = text[:start] + f"_symmetry_space_group_name_H-M '{symbol}'\n" + text[stop:]
    phase = read(tmp_path, text)
    assert_same_powder(table_of(phase.structure, CU), table_of(material, CU))


def test_old_suffixes_of_the_origin_are_understood(tmp_path: Path) -> None:
    text = cif_of("magnetite")
    start, stop = text.index("loop_"), text.index("loop_", text.index("loop_") + 5)
    for symbol in ("F d -3 m Z", "Fd-3mZ", "F d -3 m :2"):
        named = text[:start] + f"_symmetry_space_group_name_H-M '{symbol}'\n" + text[stop:]
        phase = read(tmp_path, named)
        assert phase.structure.space_group == "F d -3 m:2" and phase.formula == "Fe3O4"


def test_peroxide_and_monoxide_have_labels_of_their_own_where_z_is_given(tmp_path: Path) -> None:
    text = RUTILE.replace("Ti1 Ti4+", "Li1 Li+").replace("'O2 Ti'", "'Li O2'").replace("Z 2", "Z 1")
    assert read(tmp_path, text).formula == "Li2O4"


@pytest.mark.parametrize(("module", "text"), [("gemmi", RUTILE), ("spglib", cif_of("rutile", hide=True))])
def test_a_missing_library_is_said_with_the_command_that_brings_it(
    module: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=rf"needs {module}: pip install 'streamproc\[train\]'"):
        read(tmp_path, text)


def test_operations_override_the_symbol_of_a_structure() -> None:
    material = structures()["baddeleyite"]
    rotations, translations = operations_of(material)
    assert rotations.shape == (4, 3, 3) and translations.shape == (4, 3)


SNIPPETS = ["", "?", ".", "-1", "1e9", "nan", "'", '"', ";", "\n", "\n;", "loop_", "data_", "_", "#", "\u22120.5", "(", "0.5(", "1/0", "\x00", "é", "x,y,z", "Xx", "save_"]  # fmt: skip


DAMAGED = {"plain": RUTILE, "operations": cif_of("zincite"), "p1": cif_of("brucite", hide=True)}


def assert_read_or_refused(path: Path, text: str) -> None:
    path.write_text(text)
    try:
        phase = read_cif(path)
        table = table_of(phase.structure, CU)
    except ConfigurationError as error:
        assert path.name in error.message or phase.label in error.message
    else:
        assert np.isfinite(table.f2).all() and (table.f2 > 0).all()
        assert phase.label.replace("_", "").isalnum()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(
        st.tuples(st.integers(0, 2000), st.integers(0, 25), st.sampled_from(SNIPPETS)), min_size=1, max_size=4
    ),
    which=st.sampled_from(sorted(DAMAGED)),
)
def test_a_damaged_file_reads_or_is_refused_with_a_sentence(tmp_path: Path, edits: list, which: str) -> None:
    text = DAMAGED[which]
    for place, length, snippet in edits:
        at = place % len(text)
        text = text[:at] + snippet + text[at + length :]
    assert_read_or_refused(tmp_path / "damaged.cif", text)


VALUES = ["?", ".", "0", "1", "-1", "0.5", "90", "1e-9", "1e9", "nan", "inf", "1(", "1/3", "1/0", "'a b'", "x,y,z", "-x,-y,-z", "Xx", "Fe", "D", "P1", "'F d -3 m'", "'-P 4n 2n'", "2.5(3)", "225"]  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, 500), st.sampled_from(VALUES)), min_size=1, max_size=3),
    which=st.sampled_from(sorted(DAMAGED)),
)
def test_wrong_values_read_or_are_refused_with_a_sentence(tmp_path: Path, edits: list, which: str) -> None:
    words = re.split(r"(\s+)", DAMAGED[which])
    values = [
        i for i, word in enumerate(words) if word.strip() and not word.startswith(("_", "loop_", "data_"))
    ]
    for place, value in edits:
        words[values[place % len(values)]] = value
    assert_read_or_refused(tmp_path / "damaged.cif", "".join(words))
