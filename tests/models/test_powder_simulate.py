"""The simulator against independent references: gemmi's structure factors, closed forms, published values."""

from __future__ import annotations

import numpy as np
import pytest

gemmi = pytest.importorskip(
    "gemmi", reason="the simulator's structure factors need gemmi (extra demo or train)"
)

from streamproc.models.powder.simulate import (  # noqa: E402
    CU_KA1_A,
    Grain,
    Instrument,
    amorphous_profile,
    bin_edges,
    phase_table,
    render_pattern,
    render_phase,
)
from streamproc.models.powder.structures import HELD_OUT, KNOWN, UNKNOWN, structure, structures  # noqa: E402

SINGLE_LINE = Instrument(ka2_ratio=0.0, asymmetry_deg=0.0)

# d (angstrom) of the strongest lines and X-ray density (g/cm3): ICDD/NIST reference patterns of the materials
PUBLISHED = {
    "corundum": ((2.551, 2.085, 1.601), 3.987),
    "zincite": ((2.476, 2.814, 2.603), 5.675),
    "fluorite": ((1.932, 3.155, 1.647), 3.181),
    "brucite": ((2.365, 4.77, 1.794), 2.37),
    "quartz": ((3.343, 4.257, 1.818), 2.65),
    "rutile": ((3.247, 1.687, 2.487), 4.25),
    "anatase": ((3.52, 1.892, 2.378), 3.89),
    "halite": ((2.821, 1.994, 1.628), 2.163),
    "calcite": ((3.035, 2.285, 2.095), 2.711),
    "hematite": ((2.70, 2.519, 1.694), 5.27),
    "magnetite": ((2.532, 1.485, 2.967), 5.20),
    "lanthanum hexaboride": ((2.939, 4.157, 1.859), 4.71),
    "silicon": ((3.1355, 1.9201, 1.6375), 2.329),
    "ceria": ((3.124, 1.913, 1.632), 7.215),
    "periclase": ((2.106, 1.489, 1.216), 3.58),
    "spinel": ((2.437, 1.429, 2.02), 3.58),
    "zircon": ((3.30, 2.518, 1.712), 4.67),
    "nickel": ((2.034, 1.762, 1.246), 8.91),
    "iron": ((2.027, 1.170, 1.433), 7.87),
    "baddeleyite": ((3.165, 2.841, 2.623), 5.82),
    "yttria": ((3.061, 1.874, 1.599), 5.03),
}

# I/Ic (corundum = 1), calculated values as the ICDD lists them
REFERENCE_INTENSITY_RATIO = {
    "zincite": 5.4, "fluorite": 3.9, "quartz": 3.05, "rutile": 3.6, "anatase": 5.0, "calcite": 3.25,
    "halite": 4.5, "hematite": 3.2, "silicon": 4.7, "periclase": 3.1,
}  # fmt: skip


def line_intensities(name: str) -> tuple[np.ndarray, np.ndarray, float]:
    table = phase_table(name, CU_KA1_A)
    theta = np.arcsin(CU_KA1_A / 2 / table.d_A)
    lp = (1 + np.cos(2 * theta) ** 2) / (np.sin(theta) ** 2 * np.cos(theta))
    area = table.multiplicity * table.f2 * lp / table.volume_A3**2
    return table.d_A, area, table.density_g_cm3


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_strong_lines_and_density_are_the_published_ones(name: str) -> None:
    lines, density = PUBLISHED[name]
    d_A, area, computed = line_intensities(name)
    strong = d_A[area > 0.05 * area.max()]
    for line in lines:
        assert np.min(np.abs(strong / line - 1)) < 4e-3
    assert computed == pytest.approx(density, rel=5e-3)


@pytest.mark.parametrize("name", sorted(REFERENCE_INTENSITY_RATIO))
def test_reference_intensity_ratio_is_the_published_one(name: str) -> None:
    _, corundum, rho_corundum = line_intensities("corundum")
    _, area, rho = line_intensities(name)
    ratio = (area.max() / rho) / (corundum.max() / rho_corundum)
    assert ratio == pytest.approx(REFERENCE_INTENSITY_RATIO[name], rel=0.09)


def cif_text(name: str) -> str:
    material = structure(name)
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    cell = [f"_cell_{n} {v}" for n, v in zip(names, material.cell, strict=True)]
    group = gemmi.find_spacegroup_by_name(material.space_group)
    ops = ["loop_", "_space_group_symop_operation_xyz", *(op.triplet() for op in group.operations())]
    items = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "U_iso_or_equiv")
    u_iso = material.b_A2 / (8 * np.pi**2)
    sites = [f"{s.element}{n} {s.element} {s.x} {s.y} {s.z} {u_iso}" for n, s in enumerate(material.sites)]
    loop = ["loop_", *(f"_atom_site_{i}" for i in items), *sites]
    return "\n".join(["data_x", *cell, f"_space_group_name_H-M_alt '{group.xhm()}'", *ops, *loop, ""])


@pytest.mark.parametrize("name", ["corundum", "zincite", "quartz", "baddeleyite", "forsterite", "magnetite"])
def test_structure_factors_equal_gemmis_own(name: str) -> None:
    material = structure(name)
    table = phase_table(name, CU_KA1_A)
    small = gemmi.make_small_structure_from_block(gemmi.cif.read_string(cif_text(name)).sole_block())
    small.change_occupancies_to_crystallographic()
    calculator = gemmi.StructureFactorCalculatorX(small.cell)
    energy = 12398.41984 / CU_KA1_A
    imaginary = 0.0
    for element in {site.element for site in material.sites}:
        number = gemmi.Element(element).atomic_number
        real, imag = gemmi.cromer_liberman(z=number, energy=energy)
        calculator.addends.set(gemmi.Element(element), real)
        imaginary = max(imaginary, imag)
    for hkl, f2 in list(zip(table.hkl, table.f2, strict=True))[:12]:
        reference = abs(calculator.calculate_sf_from_small_structure(small, [int(i) for i in hkl])) ** 2
        # gemmi leaves f'' out; it adds at most (N f'')^2 where all atoms scatter in phase
        assert f2 == pytest.approx(reference, rel=0.02, abs=(imaginary * 24) ** 2 + 1.0)


def test_multiplicities_are_those_of_the_laue_class() -> None:
    table = phase_table("fluorite", CU_KA1_A)
    found = {
        tuple(sorted(map(abs, hkl), reverse=True)): m
        for hkl, m in zip(table.hkl, table.multiplicity, strict=True)
    }
    assert found[(1, 1, 1)] == 8
    assert found[(2, 2, 0)] == 12
    assert found[(3, 1, 1)] == 24
    assert found[(4, 0, 0)] == 6


def test_areas_of_rendered_lines_follow_the_quantitative_convention() -> None:
    axis = np.arange(10, 149, 0.01)
    table = phase_table("fluorite", CU_KA1_A)
    pattern = render_phase(bin_edges(axis), table, SINGLE_LINE, Grain(size_nm=500, strain=0))
    for index in (0, 2, 3):
        position = 2 * np.rad2deg(np.arcsin(CU_KA1_A / 2 / table.d_A[index]))
        theta = np.deg2rad(position / 2)
        lp = (1 + 0.8 * np.cos(2 * theta) ** 2) / 1.8 / (np.sin(theta) ** 2 * np.cos(theta))
        expected = table.multiplicity[index] * table.f2[index] * lp / table.density_g_cm3 / table.volume_A3**2
        near = np.abs(axis - position) < 3
        assert pattern[near].sum() * 0.01 == pytest.approx(expected, rel=0.02)
        assert axis[near][pattern[near].argmax()] == pytest.approx(position, abs=0.011)


def test_bins_are_integrated_so_that_a_coarse_axis_keeps_the_area() -> None:
    table = phase_table("silicon", CU_KA1_A)
    fine, coarse = np.arange(20.005, 100, 0.01), np.arange(20.1, 100, 0.2)
    sums = [render_phase(bin_edges(a), table, SINGLE_LINE).sum() * (a[1] - a[0]) for a in (fine, coarse)]
    assert sums[0] == pytest.approx(sums[1], rel=1e-3)


def test_pseudo_voigt_equals_the_voigt_profile_of_scipy() -> None:
    from scipy.special import voigt_profile
    from streamproc.models.powder.profiles import add_peaks

    axis = np.arange(-2, 2, 0.01)
    out = np.zeros(axis.size)
    one = np.ones(1)
    add_peaks(out, bin_edges(axis), 0 * one, one, 0.12 * one, 0.08 * one, 0 * one)
    exact = voigt_profile(axis, 0.12 / 2.354820, 0.04)
    assert np.abs(out / 0.01 - exact).max() < 0.02 * exact.max()


def test_split_widths_keep_area_and_maximum() -> None:
    from streamproc.models.powder.profiles import add_peaks

    axis = np.arange(-8, 8, 0.01)
    out = np.zeros(axis.size)
    one = np.ones(1)
    add_peaks(out, bin_edges(axis), 0 * one, one, 0.2 * one, 0.02 * one, 0.06 * one)
    assert out.sum() == pytest.approx(1, rel=3e-3)
    assert abs(axis[out.argmax()]) <= 0.011
    assert out[axis < 0].sum() > out[axis > 0.005].sum()


def test_displacement_and_zero_shift_lines_as_the_formula_says() -> None:
    table = phase_table("silicon", CU_KA1_A)
    axis = np.arange(27, 30, 0.002)
    shifted = Instrument(ka2_ratio=0, asymmetry_deg=0, zero_deg=0.05, displacement_mm=0.1)
    place = [axis[render_phase(bin_edges(axis), table, i).argmax()] for i in (SINGLE_LINE, shifted)]
    theta = np.deg2rad(place[0] / 2)
    assert place[1] - place[0] == pytest.approx(0.05 - np.rad2deg(2 * 0.1 / 173 * np.cos(theta)), abs=3e-3)


def test_march_dollase_keeps_a_random_powder_and_raises_the_basal_lines() -> None:
    axis = np.arange(15, 80, 0.02)
    table = phase_table("brucite", CU_KA1_A)
    plain, plates = (render_phase(bin_edges(axis), table, SINGLE_LINE, Grain(march_r=r)) for r in (1.0, 0.6))
    basal = np.abs(axis - 18.6) < 0.5
    # plates lying flat: March-Dollase factor r^-3 for the basal lines
    assert plates[basal].max() / plain[basal].max() == pytest.approx(0.6**-3, rel=1e-3)


def test_amorphous_scattering_obeys_the_sum_rule_against_quartz() -> None:
    # over a wide range a glass scatters as much per weight as the crystal of the same atoms (without its
    # thermal diffuse part), so the two integrals agree within some tens of per cent
    axis = np.arange(15, 150, 0.05)
    quartz = render_phase(bin_edges(axis), phase_table("quartz", CU_KA1_A), Instrument()).sum()
    assert 0.7 < amorphous_profile(axis, Instrument()).sum() / quartz < 1.6


def test_the_same_seed_gives_the_same_pattern_and_none_gives_the_expectation() -> None:
    axis = np.linspace(20, 100, 500)
    tables = {n: phase_table(n, CU_KA1_A) for n in ("corundum", "zincite")}
    shares = {"corundum": 0.4, "zincite": 0.4, "amorphous": 0.2}
    first, again = (
        render_pattern(
            axis, shares, rng=np.random.default_rng(3), peak_counts=2000, background=0.05, tables=tables
        )
        for _ in range(2)
    )
    mean = render_pattern(axis, shares, peak_counts=2000, background=0.05, tables=tables)
    assert np.array_equal(first, again)
    assert np.abs(first - mean).max() < 6 * np.sqrt(mean.max())
    assert np.sum((first - mean) ** 2 / mean) / axis.size == pytest.approx(1, abs=0.25)


def test_weights_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive sum"):
        render_pattern(np.linspace(20, 100, 50), {"corundum": 0.0})
    with pytest.raises(KeyError, match="no structure named 'kryptonite'"):
        render_pattern(np.linspace(20, 100, 50), {"kryptonite": 1.0})


def test_every_named_material_exists_and_the_held_out_ones_are_not_trained_on() -> None:
    known = structures()
    assert set(KNOWN) | set(UNKNOWN) | set(HELD_OUT) == set(known)
    assert not (set(KNOWN) & set(UNKNOWN)) and not (set(HELD_OUT) & set(UNKNOWN))
