"""CIF files that cannot be right: each is refused with file, line, block, and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("gemmi", reason="CIF files are read with gemmi (extra demo or train)")

from streamproc.models.powder.cif import read_cif, read_cifs

from streamproc.errors import ConfigurationError

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
_space_group_IT_number 136
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

OPERATIONS = """\
loop_
_space_group_symop_operation_xyz
x,y,z
-x,-y,z
1/2-y,1/2+x,1/2+z
1/2+y,1/2-x,1/2+z
1/2-x,1/2+y,1/2-z
1/2+x,1/2-y,1/2-z
y,x,-z
-y,-x,-z
-x,-y,-z
x,y,-z
1/2+y,1/2-x,1/2-z
1/2-y,1/2+x,1/2-z
1/2+x,1/2-y,1/2+z
1/2-x,1/2+y,1/2+z
-y,-x,z
y,x,z
"""


def changed(*pairs: tuple[str, str], text: str = RUTILE) -> str:
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def without(*tags: str) -> str:
    return "".join(line for line in RUTILE.splitlines(True) if not line.startswith(tags))


SYMBOL = "_space_group_name_H-M_alt 'P 42/m n m'\n_space_group_IT_number 136\n"
TI, OX = "Ti1 Ti4+ 0 0 0 1 0.0055", "O1 O2- 0.3053(1) 0.3053 0 1.0 0.0053"

# name: text, what the message must say, and words of the line it must point at (None: no line can be named)
REFUSED = {
    "no cell length": (without("_cell_length_b"), "no cell: _cell_length_b .* missing", None),
    "cell length unknown": (changed(("2.9587(1)", "?")), "no cell: _cell_length_c", None),
    "cell length a word": (changed(("2.9587(1)", "long")), "'long', a number of 1 to 500", "long"),
    "cell in nanometres": (changed(("2.9587(1)", "0.29587")), "looks like nanometres", "0.29587"),
    "angle impossible": (changed(("_angle_gamma 90", "_angle_gamma 190")), "20 to 160 degrees", "_angle_gamma"),
    "angles span nothing": (
        changed(("alpha 90", "alpha 30"), ("beta 90", "beta 30"), ("gamma 90", "gamma 120")),
        "span no volume", "alpha 30",
    ),
    "cell is not tetragonal": (
        changed(("_length_b 4.5937(2)", "_length_b 4.6937")), "does not have the symmetry of P 42/m n m",
        "_length_a",
    ),
    "no atoms": (RUTILE.split("loop_")[0], "no atoms|no crystal structure|but no atoms", "_chemical"),
    "no coordinates column": (
        changed(("_atom_site_fract_z\n", "_atom_site_other\n")), "_atom_site_fract_z missing", None,
    ),
    "Cartesian only": (
        RUTILE.replace("fract_", "Cartn_"), "Cartesian coordinates only", "loop_",
    ),
    "coordinate a word": (changed(("0.3053(1)", "abc")), "coordinate 'abc'", "abc"),
    "decimal comma": (changed(("0.3053(1)", "0,3053")), "not a comma", "0,3053"),
    "coordinate missing": (changed(("0.3053(1)", "?")), "O1 has no coordinate", "O1"),
    "unknown element": (changed(("Ti1 Ti4+", "Xx1 Xx4+")), "'Xx4\\+' begins with no chemical element", "Xx1"),
    "vacancy": (RUTILE + "Va1 Va 0.5 0.5 0.25 1 0.01\n", "'Va' begins with no chemical element", "Va1"),
    "number as element": (changed(("Ti1 Ti4+", "1 22")), "'22' begins with no chemical element", "1 22"),
    "heavier than uranium": (changed(("Ti1 Ti4+", "Pu1 Pu4+")), None, None),
    "occupancy zero": (changed((TI, TI.replace(" 1 ", " 0 "))), "occupancy '0'.*delete the atom", "Ti1"),
    "occupancy negative": (changed((TI, TI.replace(" 1 ", " -0.5 "))), "occupancy '-0.5'", "Ti1"),
    "occupancy above one": (changed((TI, TI.replace(" 1 ", " 1.3 "))), "occupancy '1.3'", "Ti1"),
    "occupancy in per cent": (changed((TI, TI.replace(" 1 ", " 100 "))), "at most 1", "Ti1"),
    "position filled twice": (
        RUTILE + "Fe1 Fe3+ 0 0 0 0.3 0.005\n", "fill it 1.3 times", "Fe1",
    ),
    "atom listed twice": (RUTILE + TI.replace("Ti1", "Ti2") + "\n", "listed twice", "Ti2"),
    "whole cell and symmetry": (
        RUTILE + "Ti2 Ti4+ 0.5 0.5 0.5 1 0.005\n", "whole cell and symmetry operations", "Ti2",
    ),
    "atoms too close": (RUTILE + "N1 N 0.06 0.0 0 1 0.01\n", "0.28 angstrom apart", "N1"),
    "own image too close": (
        changed((OX, "O1 O2- 0.3053 0.2453 0 1 0.005")), "O1 and its symmetry image are 0.39", "O1",
    ),
    "density absurd": (
        changed(("2.9587(1)", "290.587"), ("_cell_volume 62.43\n", ""), (OX + "\n", "")),
        "density of 0.0", None,
    ),
    "two elements in one type": (
        changed(("Ti1 Ti4+", "Ti1 Ti/Sn")),
        "'Ti/Sn' is not one element", "Ti/Sn",
    ),
    "two elements run together": (changed(("Ti1 Ti4+", "Ti1 TiSn")), "'TiSn' is not one element", "TiSn"),
    "symbol and number contradict": (changed(("IT_number 136", "IT_number 137")),
        "'P 42/m n m' is space group 136, but the file gives number 137", "137"),
    "symbol unknown": (changed(("'P 42/m n m'", "'Q 42/z'"), ("_space_group_IT_number 136\n", "")), "'Q 42/z' is not known", "Q 42/z"),
    "no symmetry": (changed((SYMBOL, "")), "no symmetry: neither operations", None),
    "operation garbled": (changed((SYMBOL, OPERATIONS.replace("-x,-y,z\n", "-x,-w,z\n", 1))), "'-x,-w,z' is not understood", "-w"),
    "operation with two parts": (changed((SYMBOL, OPERATIONS.replace("-x,-y,z\n", "-x,-y\n", 1))), "is not understood", "-x,-y\n"),
    "operations no group": (
        changed((SYMBOL, OPERATIONS.replace("y,x,-z\n", "", 1))), "15 symmetry operations form no group", "x,y,z",
    ),
    "operation no symmetry": (
        changed((SYMBOL, OPERATIONS.replace("-y,-x,z\n", "x,x,z\n", 1))), "no symmetry operation of a crystal", "x,y,z",
    ),
    "operations contradict symbol": (
        changed((SYMBOL, OPERATIONS + "_space_group_name_H-M_alt 'P 42/n m c'\n")),
        r"are those of P 42/m n m \(number 136\), but the file names 'P 42/n m c' \(number 137\)", "P 42/n m c",
    ),
    "only the identity and a symbol": (
        changed((SYMBOL, SYMBOL + "loop_\n_symmetry_equiv_pos_as_xyz\n'x, y, z'\n")), "are those of P 1", "'P 42/m n m'",
    ),
    "Hall symbol contradicts": (
        changed((SYMBOL, SYMBOL + "_space_group_name_Hall '-P 4 2'\n")), "Hall symbol '-P 4 2' is that of group number 123", "-P 4 2",
    ),
    "Hall symbol garbled": (
        changed((SYMBOL, "_space_group_name_Hall '-P 9q'\n")), "Hall symbol '-P 9q' is not understood", "-P 9q",
    ),
    "loop incomplete": (changed((" 1.0 0.0053", "")), "Wrong number of values", "loop_"),
    "quote open": (changed(("'P 42/m n m'", "'P 42/m n m")), "unterminated", "P 42/m n m"),
    "tag twice": (changed(("_cell_volume 62.43", "_cell_length_c 3.0")), "duplicate tag", "_cell_length_c 3.0"),
    "no data block": ("hello\n", "expected block header", "hello"),
    "magnetic": (changed((SYMBOL, SYMBOL + "_space_group_magn.number_BNS 136.495\n")), "magnetic structure", "_magn"),
    "modulated": (changed((SYMBOL, SYMBOL + "_cell_modulation_dimension 1\n")), "modulated structure", "_modulation"),
    "powder data": (
        "data_scan\nloop_\n_pd_meas_2theta_scan\n_pd_meas_counts_total\n10 5\n11 6\n", "powder data, no structure", "loop_",
    ),
    "reflections": ("data_h\nloop_\n_refln_index_h\n_refln_index_k\n1 0\n", "reflections, no structure", "loop_"),
    "several structures": (RUTILE + RUTILE.replace("data_rutile", "data_other"), "2 structures .*rutile, other", None),
    "origin open and undecided": (
        changed(("'P 42/m n m'\n_space_group_IT_number 136", "'P n n n'"), ("_cell_formula_units_Z 2", "_cell_formula_units_Z ."), ("'O2 Ti'", "?"),
                (OX + "\n", ""), (TI, "Ti1 Ti4+ 0.1 0.2 0.3 1 0.005"), ("_volume 62.43", "_volume ?")),
        "which choice of origin .*write the symbol with", None,
    ),
    "dummies only": (
        changed(("_atom_site_occupancy", "_atom_site_calc_flag"), (TI, TI.replace(" 1 ", " dum ")), (OX, OX.replace(" 1.0 ", " dum "))),
        "no atom is left", "loop_",
    ),
}  # fmt: skip


def write(tmp_path: Path, text: str | bytes, name: str = "case.cif") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("name", sorted(n for n, case in REFUSED.items() if case[1]))
def test_what_cannot_be_right_is_refused_at_its_line(name: str, tmp_path: Path) -> None:
    text, said, words = REFUSED[name]
    with pytest.raises(ConfigurationError) as caught:
        read_cif(write(tmp_path, text))
    message = caught.value.message
    assert said is not None and re.search(said, message), message
    assert "case.cif" in message
    if words is not None:
        at = re.search(r"case\.cif line (\d+)", message)
        assert at, message
        assert words.strip() in text.splitlines()[int(at[1]) - 1], message


def test_an_element_without_dispersion_is_refused_when_its_pattern_is_wanted(tmp_path: Path) -> None:
    from streamproc.models.powder.tables import table_of

    phase = read_cif(write(tmp_path, REFUSED["heavier than uranium"][0]))
    with pytest.raises(ConfigurationError, match=r"Pu .*up to uranium"):
        table_of(phase.structure, 1.5406)


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    for content, said in (
        (b"", "is empty"),
        (b"\x00\x01\x02data", "zero bytes"),
        (b"   \n", "is empty"),
        (b"\x1f\x8b\x08", "unpack"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            read_cif(write(tmp_path, content))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_cif(tmp_path / "none.cif")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_cif(tmp_path)


def test_a_file_given_twice_and_a_block_that_is_not_there_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, RUTILE)
    with pytest.raises(ConfigurationError, match="given twice"):
        read_cifs([path, tmp_path / "." / "case.cif"])
    with pytest.raises(ConfigurationError, match="no data block 'x'; there are rutile"):
        read_cif(path, block="x")


def test_a_wavelength_that_no_table_covers_is_refused(tmp_path: Path) -> None:
    from streamproc.models.powder.tables import table_of

    structure = read_cif(write(tmp_path, RUTILE)).structure
    for wrong in (0.01, 15.4, float("nan")):
        with pytest.raises(ConfigurationError, match="wavelength"):
            table_of(structure, wrong)
    with pytest.raises(ConfigurationError, match="no reflection"):
        table_of(structure, 1.54, 12.0)
    with pytest.raises(ConfigurationError, match="lattice points"):
        table_of(structure, 0.7, 0.01)
