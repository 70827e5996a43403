"""Faulted crystals against Warren's rules, random stacking sequences and the sum over rods."""

from __future__ import annotations

import numpy as np
import pytest
from streamproc.models.defects.faults import (
    Faults,
    centroid_shift,
    correlation,
    family_coefficients,
    initial_slope,
    modes,
    peak_mode,
    powder_rods,
    rod_intensity,
    split_family,
    warren_shift_deg,
    warren_slope,
    warren_table,
)

from streamproc.errors import ConfigurationError

A_NM = 0.36
FCC_LINES = [(1, 1, 1), (2, 0, 0), (2, 2, 0), (3, 1, 1), (2, 2, 2), (4, 0, 0)]
MIXED = Faults(deformation=0.06, extrinsic=0.04, growth=0.08)


def random_stack(lattice: str, faults: Faults, layers: int, rng: np.random.Generator) -> np.ndarray:
    """Positions 0, 1, 2 of the layers of one crystal, laid down one by one as the words describe faults."""
    position, orientation, pending = 0, int(rng.choice([1, -1])), False
    out = np.zeros(layers, int)
    for layer in range(1, layers):
        if pending:
            step, pending = -orientation, False
        else:
            turn = rng.random() < faults.growth
            if lattice == "hcp":
                turn = not turn
            orientation = -orientation if turn else orientation
            u = rng.random()
            pending = u < faults.extrinsic
            step = -orientation if u < faults.extrinsic + faults.deformation else orientation
        position = (position + step) % 3
        out[layer] = position
    return out


@pytest.mark.parametrize("hkl", FCC_LINES)
def test_the_centroid_shift_is_warrens_within_one_and_a_half_percent(hkl) -> None:
    exact = centroid_shift(hkl, (A_NM,), Faults(deformation=0.01), "fcc")
    two_theta = 60.0
    linear = np.deg2rad(warren_shift_deg(hkl, two_theta, 0.01)) / 2 / np.tan(np.deg2rad(two_theta / 2))
    assert abs(exact / linear - 1) < 0.0155


@pytest.mark.parametrize("hkl", FCC_LINES)
def test_warrens_line_is_eight_percent_low_at_five_percent_of_faults(hkl) -> None:
    exact = centroid_shift(hkl, (A_NM,), Faults(deformation=0.05), "fcc")
    linear = np.sqrt(3) * 0.05 / (4 * np.pi) * warren_table(hkl)[0]
    assert 1.07 < exact / linear < 1.09


def test_weights_are_those_of_warrens_table() -> None:
    """International Tables / Warren 1990, tables 13.1 and 13.2."""
    g, v = np.array([warren_table(hkl) for hkl in FCC_LINES]).T
    np.testing.assert_allclose(g, [1 / 4, -1 / 2, 1 / 4, -1 / 11, -1 / 8, 1 / 4])
    expected = [np.sqrt(3) / 4, 1, 1 / np.sqrt(2), 3 / (2 * np.sqrt(11)), np.sqrt(3) / 4, 1]
    np.testing.assert_allclose(v, expected)


@pytest.mark.parametrize("alpha", [0.001, 0.02, 0.1, 0.25])
def test_the_eigenvalue_of_deformation_faults_is_the_closed_form(alpha) -> None:
    mode = peak_mode(Faults(deformation=alpha), "fcc", 1)
    assert np.exp(2 * mode.log.real) == pytest.approx(1 - 3 * alpha * (1 - alpha), rel=1e-12)
    w = -0.5 + 0.5j * np.sqrt(3) * (1 - 2 * alpha)
    assert mode.log.imag == pytest.approx(np.angle(w) - 2 * np.pi / 3, abs=1e-12)


@pytest.mark.parametrize("hkl", FCC_LINES)
@pytest.mark.parametrize(("alpha", "beta"), [(0.005, 0.0), (0.0, 0.005), (0.005, 0.005)])
def test_initial_slopes_are_warrens(hkl, alpha, beta) -> None:
    slope = initial_slope(hkl, (A_NM,), Faults(deformation=alpha, growth=beta), "fcc")
    assert slope == pytest.approx(warren_slope(hkl, A_NM, alpha, beta), rel=0.01)


def test_the_slope_is_that_of_the_coefficients_themselves() -> None:
    components = split_family((2, 0, 0), (A_NM,), "fcc")
    a = family_coefficients(np.array([0.0, 1e-4]), components, MIXED, "fcc")
    assert (a[0] - a[1]).real / 1e-4 == pytest.approx(
        initial_slope((2, 0, 0), (A_NM,), MIXED, "fcc"), rel=1e-3
    )


def test_extrinsic_faults_shift_the_other_way_by_as_much() -> None:
    intrinsic = centroid_shift((1, 1, 1), (A_NM,), Faults(deformation=0.005), "fcc")
    extrinsic = centroid_shift((1, 1, 1), (A_NM,), Faults(extrinsic=0.005), "fcc")
    assert intrinsic > 0
    assert extrinsic == pytest.approx(-intrinsic, rel=0.02)


def test_twins_hardly_shift_but_skew() -> None:
    mode = peak_mode(Faults(growth=0.05), "fcc", 1)
    deformation = peak_mode(Faults(deformation=0.05), "fcc", 1)
    assert abs(mode.log.imag) < 0.02 * deformation.log.imag
    assert mode.weight.imag > 0.02
    assert peak_mode(Faults(growth=0.05), "fcc", 2).weight.imag == pytest.approx(-mode.weight.imag)


@pytest.mark.parametrize(("place", "alpha", "beta"), [(0, 3, 3), (1, 3, 1)])
def test_hcp_lines_broaden_as_warren_says(place, alpha, beta) -> None:
    """Even l: 3 alpha + 3 beta; odd l: 3 alpha + beta, of the squared amplitude per layer."""
    for faults, expected in ((Faults(deformation=1e-4), alpha), (Faults(growth=1e-4), beta)):
        assert -2 * peak_mode(faults, "hcp", place).log.real / 1e-4 == pytest.approx(expected, rel=1e-3)
        assert abs(peak_mode(faults, "hcp", place).log.imag) < 1e-12


@pytest.mark.parametrize("lattice", ["fcc", "hcp"])
@pytest.mark.parametrize("faults", [Faults(0.08), Faults(0, 0.08), Faults(0, 0, 0.1), MIXED])
def test_the_matrix_is_the_mean_over_random_crystals(lattice, faults) -> None:
    """4,000 crystals of 40 layers, each laid down at random: their correlation within 4.5 standard errors."""
    rng = np.random.default_rng(8)
    stacks = np.array([random_stack(lattice, faults, 40, rng) for _ in range(4000)])
    m = np.arange(1, 13)
    # from layer 13 on: by then a crystal begins anywhere in a fault, as the stationary state says
    apart = np.stack([stacks[:, 13 + m_] - stacks[:, 13] for m_ in m], axis=1)
    waves = np.exp(2j * np.pi * apart / 3)
    error = waves - correlation(m, faults, lattice)
    mean, sigma = error.mean(0), error.std(0) / np.sqrt(len(stacks))
    assert (np.abs(mean) < 4.5 * sigma + 1e-12).all()


@pytest.mark.parametrize("lattice", ["fcc", "hcp"])
def test_a_rod_is_the_mean_scattering_of_random_crystals(lattice) -> None:
    rng = np.random.default_rng(3)
    layers, places = 60, np.linspace(0, 1, 31)
    stacks = np.array([random_stack(lattice, MIXED, layers + 20, rng)[20:] for _ in range(3000)])
    amplitude = np.exp(2j * np.pi * stacks / 3) @ np.exp(-2j * np.pi * np.outer(np.arange(layers), places))
    seen = np.abs(amplitude) ** 2 / layers
    sigma = seen.std(0) / np.sqrt(len(stacks))
    assert (np.abs(seen.mean(0) - rod_intensity(places, MIXED, lattice, layers=layers)) < 4.5 * sigma).all()


@pytest.mark.parametrize("lattice", ["fcc", "hcp"])
def test_modes_add_up_to_the_correlation(lattice) -> None:
    m = np.arange(1, 30)
    total = sum(mode.weight * np.exp(m * mode.log) for mode in modes(MIXED, lattice))
    np.testing.assert_allclose(total, correlation(m, MIXED, lattice), atol=1e-12)
    places = np.linspace(0, 1, 101)
    np.testing.assert_allclose(
        rod_intensity(places, MIXED, lattice), rod_intensity(places, MIXED, lattice, layers=40_000), rtol=2e-3
    )


def test_components_are_the_sum_over_rods_within_one_percent_of_the_maximum() -> None:
    """Flat sphere and straight rod against the sum on spheres, both smeared by 0.03 / nm."""
    faults, smear = Faults(deformation=0.03), 0.03
    edges = np.linspace(2, 12, 2001)
    s = (edges[1:] + edges[:-1]) / 2
    kernel = np.exp(-0.5 * (np.arange(-60, 61) * 0.005 / smear) ** 2)
    rods = np.convolve(powder_rods(edges, (A_NM,), faults, "fcc"), kernel / kernel.sum(), "same")
    length, step = np.arange(0, 60, 0.05), 0.05
    lines = np.zeros_like(s)
    families = {
        (1, 1, 1): 8,
        (2, 0, 0): 6,
        (2, 2, 0): 12,
        (3, 1, 1): 24,
        (2, 2, 2): 8,
        (4, 0, 0): 6,
        (3, 3, 1): 24,
    }
    for hkl, members in families.items():
        touched = [c for c in split_family(hkl, (A_NM,), "fcc") if c.layers_per_nm]
        a = family_coefficients(length, touched, faults, "fcc") * np.exp(-2 * (np.pi * smear * length) ** 2)
        a[0] /= 2
        s0 = np.sqrt(np.dot(hkl, hkl)) / A_NM
        lines += members * 0.005 * 2 * step * (np.exp(-2j * np.pi * np.outer(s - s0, length)) @ a).real
    inside = s < 10.5
    assert np.abs(rods - lines)[inside].max() < 0.01 * rods.max()


def test_the_maximum_of_111_hardly_moves_though_its_centroid_does() -> None:
    faults = Faults(deformation=0.05)
    length = np.arange(0, 400, 0.2)
    a = family_coefficients(length, split_family((1, 1, 1), (A_NM,), "fcc"), faults, "fcc")
    a = a * np.clip(1 - length / 40, 0, None)
    a[0] /= 2
    s = np.linspace(-0.1, 0.1, 4001)
    profile = (np.exp(-2j * np.pi * np.outer(s, length)) @ a).real
    centroid = centroid_shift((1, 1, 1), (A_NM,), faults, "fcc") * np.sqrt(3) / A_NM
    assert abs(s[profile.argmax()]) < 0.35 * centroid


def test_shares_of_a_family_sum_to_one_and_220_is_half_sharp() -> None:
    for hkl in [*FCC_LINES, (4, 2, 0), (5, 3, 1)]:
        assert sum(c.share for c in split_family(hkl, (A_NM,), "fcc")) == pytest.approx(1)
    assert split_family((2, 2, 0), (A_NM,), "fcc")[0].share == pytest.approx(0.5)
    assert split_family((1, 1, 0), (0.25, 0.41), "hcp")[0].layers_per_nm == 0


def test_impossible_probabilities_are_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"growth must be from 0 to 0.4 per layer, got 0.5"):
        Faults(growth=0.5)
    with pytest.raises(ConfigurationError, match="fcc and hcp, got 'bcc'"):
        peak_mode(Faults(0.1), "bcc", 1)
