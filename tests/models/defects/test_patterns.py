"""Whole patterns of defective crystals: against the phase simulator, sums over components, and their own fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("gemmi", reason="reflection tables need gemmi (extra demo or train)")

from streamproc.models.defects.dislocations import fault_shifts, modified_williamson_hall, williamson_hall
from streamproc.models.defects.faults import Faults, family_coefficients, split_family
from streamproc.models.defects.fit import fit_defects
from streamproc.models.defects.lines import grid_for, instrument_coefficients, line_spectra
from streamproc.models.defects.material import material_of
from streamproc.models.defects.pattern import family_patterns, family_strengths, render_defects
from streamproc.models.defects.singles import fit_lines
from streamproc.models.defects.size import size_coefficients, volume_mean_nm
from streamproc.models.defects.state import DefectState, microstrain
from streamproc.models.powder.optics import CU_KA1_A, Grain, Instrument
from streamproc.models.powder.simulate import bin_edges, render_phase, table_of
from streamproc.models.powder.structures import structure

from streamproc.errors import ConfigurationError

AXIS = np.arange(38.0, 150.0, 0.03)
OPTICS = Instrument(asymmetry_deg=0.0)
NICKEL = material_of(structure("nickel"), CU_KA1_A)
IRON = material_of(structure("iron"), CU_KA1_A)
PERFECT = DefectState(density_per_m2=1e9, size_nm=1e5, size_sigma=0.1)
FAULTED = DefectState(
    density_per_m2=2e15,
    size_nm=40,
    size_sigma=0.35,
    q=1.9,
    faults=Faults(deformation=0.01, growth=0.02),
    march_r=0.8,
)


def counts(state: DefectState, material=NICKEL, top: float = 2e4, seed: int = 0) -> np.ndarray:
    pattern = render_defects(AXIS, material, OPTICS, state)
    return np.random.default_rng(seed).poisson(pattern / pattern.max() * top + 80).astype(float)


def test_a_perfect_crystal_is_the_phase_simulators_pattern() -> None:
    """Two ways to draw Voigt lines: transforms here, the Thompson-Cox-Hastings formula there."""
    ours = render_defects(AXIS, NICKEL, OPTICS, PERFECT)
    table = table_of(structure("nickel"), CU_KA1_A)
    theirs = render_phase(bin_edges(AXIS), table, OPTICS, Grain(size_nm=1e5, strain=0.0))
    assert np.abs(ours / ours.max() - theirs / theirs.max()).max() < 0.01


def test_strengths_of_lines_are_the_phase_simulators() -> None:
    families, patterns = family_patterns(AXIS, NICKEL, OPTICS, PERFECT)
    areas = family_strengths(NICKEL, PERFECT)[families] * patterns.sum(1)
    table = table_of(structure("nickel"), CU_KA1_A)
    whole = render_phase(bin_edges(AXIS), table, OPTICS, Grain(size_nm=1e5, strain=0.0))
    for family, area in zip(families, areas, strict=True):
        place = np.rad2deg(2 * np.arcsin(NICKEL.norm[family] / NICKEL.a_nm * CU_KA1_A / 20))
        if not 40 < place < 146:
            continue
        near = np.abs(AXIS - place - 0.2) < 2
        assert area / areas[0] == pytest.approx(
            whole[near].sum() / whole[np.abs(AXIS - 44.7) < 2].sum(), rel=0.02
        )


def test_ka1_and_ka2_are_both_there_at_their_places() -> None:
    sharp = replace(OPTICS, w_deg2=4e-4, u_deg2=0.0, v_deg2=0.0, lorentz_x_deg=0.0)
    axis = np.arange(90.0, 150.0, 0.01)
    pattern = render_defects(axis, NICKEL, sharp, PERFECT)
    s = NICKEL.norm[list(map(tuple, NICKEL.hkl)).index((4, 0, 0))] / NICKEL.a_nm
    for wavelength, height in ((sharp.wavelength_A, 1.0), (sharp.wavelength2_A, 0.5)):
        place = np.rad2deg(2 * np.arcsin(s * wavelength / 20))
        window = np.abs(axis - place) < 0.1
        assert axis[window][pattern[window].argmax()] == pytest.approx(place, abs=0.012)
        first = np.abs(axis - np.rad2deg(2 * np.arcsin(s * sharp.wavelength_A / 20))) < 0.1
        assert pattern[window].max() / pattern[first].max() == pytest.approx(height, rel=0.05)


def test_a_line_is_the_product_of_its_coefficients() -> None:
    grid = grid_for(AXIS, OPTICS)
    state = replace(FAULTED, density_per_m2=1e9)
    families, spectra = line_spectra(grid, NICKEL, OPTICS, state)
    row = 1
    hkl = tuple(int(i) for i in NICKEL.hkl[families[row]])
    s0 = NICKEL.norm[families[row]] / NICKEL.a_nm
    length = grid.length_nm[: spectra[row].size]
    expected = (
        size_coefficients(length, state.median_nm, state.size_sigma)
        * family_coefficients(length, split_family(hkl, (NICKEL.a_nm,), "fcc"), state.faults, "fcc")
        * instrument_coefficients(length, s0, OPTICS)
    )
    turned = np.conj(spectra[row] * np.exp(2j * np.pi * length * (s0 - grid.start_per_nm)))
    np.testing.assert_allclose(turned, expected, atol=2e-5)


def test_the_instrument_is_gaussian_times_lorentzian_and_asymmetry_moves_the_centroid_down() -> None:
    length = np.linspace(0, 200, 400)
    plain = instrument_coefficients(length, 5.0, OPTICS)
    assert plain[0] == 1
    assert np.abs(plain.imag).max() == 0
    skew = instrument_coefficients(length, 5.0, replace(OPTICS, asymmetry_deg=0.05))
    assert np.angle(skew[1]) < 0  # shifts have the sign of the phase


def test_displacements_move_intensity_from_lines_to_diffuse_scattering() -> None:
    """Per shell of reciprocal space nothing is lost: what lines lose, the diffuse part gains, up to 15 %."""
    flat = replace(OPTICS, polarisation=0.0, ka2_ratio=0.0)
    axis = np.arange(20.0, 170.0, 0.05)
    per_shell = np.sin(np.deg2rad(axis) / 2) ** 2 * np.cos(np.deg2rad(axis) / 2)
    still, moved = (
        render_defects(axis, NICKEL, flat, replace(PERFECT, static_b_A2=b)) * per_shell for b in (0.0, 1.0)
    )
    families, patterns = family_patterns(axis, NICKEL, flat, PERFECT)
    loss = (family_strengths(NICKEL, PERFECT) - family_strengths(NICKEL, replace(PERFECT, static_b_A2=1.0)))[
        families
    ]
    lost = float((loss @ patterns * per_shell).sum())
    assert lost > 0.05 * still.sum()
    assert abs((moved - still).sum()) < 0.15 * lost


def test_the_amorphous_part_is_that_part_of_the_intensity() -> None:
    clean = render_defects(AXIS, NICKEL, OPTICS, FAULTED)
    hump = render_defects(AXIS, NICKEL, OPTICS, replace(FAULTED, amorphous=0.25)) - clean
    assert hump.sum() / (hump.sum() + clean.sum()) == pytest.approx(0.25)
    assert hump.min() >= 0


def test_microstrain_is_what_the_strain_coefficients_say() -> None:
    state = DefectState(density_per_m2=1e15, q=IRON.edge.q)
    grid = grid_for(AXIS, OPTICS)
    from streamproc.models.defects.dislocations import strain_coefficients

    s, length = 6.977, 10.0
    c = IRON.contrast(state.q).h00
    a = strain_coefficients(np.array([length]), s, 1e-3, state.cutoff_nm, IRON.burgers_nm, c)[0]
    assert microstrain(IRON, state, length) == pytest.approx(
        np.sqrt(-np.log(a) / 2) / (np.pi * s * length), rel=1e-6
    )
    assert grid.points > 1000


def test_q_between_edge_and_screw_gives_both_ends() -> None:
    for end in (IRON.edge, IRON.screw):
        assert IRON.contrast(end.q).h00 == pytest.approx(end.h00)


def test_the_fit_gives_back_the_defects_it_was_drawn_with() -> None:
    y = counts(FAULTED)
    found = fit_defects(
        AXIS, y, np.maximum(y, 1), NICKEL, OPTICS, starts=[DefectState(1e15, size_nm=30, q=1.8)]
    )
    assert found.chi2 < 1.15
    assert found.state.faults.deformation == pytest.approx(0.01, abs=0.0015)
    assert found.state.faults.growth == pytest.approx(0.02, abs=0.004)
    assert found.state.density_per_m2 == pytest.approx(2e15, rel=0.25)
    assert found.state.size_nm == pytest.approx(40, rel=0.1)
    assert found.state.q == pytest.approx(1.9, abs=4 * found.sigma["q"])
    assert not found.at_limit


def test_a_bcc_pattern_is_fitted_without_faults() -> None:
    true = DefectState(density_per_m2=5e14, size_nm=60, size_sigma=0.35, q=2.3)
    y = counts(true, IRON)
    found = fit_defects(
        AXIS, y, np.maximum(y, 1), IRON, OPTICS, starts=[DefectState(2e14, size_nm=40, q=2.0)]
    )
    assert "growth" not in found.sigma
    assert found.state.density_per_m2 == pytest.approx(5e14, rel=0.3)
    assert found.state.size_nm == pytest.approx(60, rel=0.15)


def test_single_lines_lead_to_the_classical_numbers() -> None:
    y = counts(replace(FAULTED, faults=Faults(), density_per_m2=1e10))
    lines = fit_lines(AXIS, y, np.maximum(y, 1), NICKEL, OPTICS)
    plain = williamson_hall(lines)
    # the breadth of spheres is 4/3 D for one size; the log-normal mean is the volume-weighted one
    assert plain.size_nm == pytest.approx(volume_mean_nm(FAULTED.median_nm, 0.35), rel=0.15)
    assert plain.strain < 1e-3
    y = counts(FAULTED)
    lines = fit_lines(AXIS, y, np.maximum(y, 1), NICKEL, OPTICS)
    assert fault_shifts(lines)[1] == pytest.approx(0.01, abs=0.004)
    modified = modified_williamson_hall(lines, NICKEL.contrast(1.9), NICKEL.burgers_nm, faults=True)
    assert 1e15 < modified.density_per_m2 < 4e15
    assert modified.misfit < 0.5 * williamson_hall(lines).misfit


def test_what_cannot_be_fitted_is_refused_in_words() -> None:
    y = counts(FAULTED)
    with pytest.raises(ConfigurationError, match="no defect parameter is called twins"):
        fit_defects(AXIS, y, y + 1, NICKEL, OPTICS, free=("twins",))
    with pytest.raises(ConfigurationError, match="of one length"):
        fit_defects(AXIS, y[:-1], y + 1, NICKEL, OPTICS)
    with pytest.raises(ConfigurationError, match="points are too few"):
        fit_defects(AXIS, y, y + 1, NICKEL, OPTICS, used=AXIS < 39)
    with pytest.raises(ConfigurationError, match=r"this is cubic with 8 atoms|this is cubic with"):
        material_of(structure("silicon"), CU_KA1_A)
    with pytest.raises(ConfigurationError, match="amorphous must be from 0"):
        DefectState(amorphous=1.5)
    with pytest.raises(ConfigurationError, match="no elastic constants are known for Pd"):
        material_of(
            replace(structure("nickel"), sites=(replace(structure("nickel").sites[0], element="Pd"),)),
            CU_KA1_A,
        )


def test_lines_may_be_moved_by_residual_stress_and_the_shapes_still_tell_twins() -> None:
    """A line moved by 5e-4 is taken for deformation faults unless lines may sit where they like."""
    state = replace(FAULTED, faults=Faults(growth=0.03))
    families = np.arange(len(NICKEL.norm))
    offsets = np.where(families == 1, 5e-4, 0.0)
    rows, patterns = family_patterns(AXIS, NICKEL, OPTICS, state, None, offsets)
    pattern = family_strengths(NICKEL, state)[rows] @ patterns
    y = np.random.default_rng(2).poisson(pattern / pattern.max() * 3e4 + 80).astype(float)
    found = fit_defects(
        AXIS, y, np.maximum(y, 1), NICKEL, OPTICS, starts=[DefectState(1e15, size_nm=30)], move_lines=True
    )
    assert found.state.faults.growth == pytest.approx(0.03, abs=0.004)
    assert found.state.faults.deformation < 0.003
    assert found.shifts[1] - found.shifts[0] == pytest.approx(5e-4, abs=1e-4)
