"""Strain, size and contrast against closed forms, quadrature and published values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from streamproc.models.defects.dislocations import (
    ELASTIC_GPA,
    FLUORITE_GPA,
    Contrast,
    LineFit,
    contrast_factor,
    cubic_contrast,
    fault_shifts,
    fault_slopes,
    modified_williamson_hall,
    strain_coefficients,
    wilkens,
    williamson_hall,
)
from streamproc.models.defects.faults import Faults, centroid_shift, warren_table
from streamproc.models.defects.size import column_mean_nm, size_coefficients, volume_mean_nm

from streamproc.errors import ConfigurationError

LINES = [(1, 1, 1), (2, 0, 0), (2, 2, 0), (3, 1, 1), (2, 2, 2), (4, 0, 0)]
ISOTROPIC = (108.0, 60.0, 24.0)


def test_wilkens_function_is_continuous_and_has_its_limits() -> None:
    eta = np.array([1 - 1e-9, 1 + 1e-9])
    assert wilkens(eta)[0] == pytest.approx(wilkens(eta)[1], abs=1e-7)
    for small in (1e-6, 1e-3):  # ln(Re/L) + 2 in terms of eta
        assert wilkens(small) == pytest.approx(7 / 4 - np.log(2) - np.log(small), abs=2 * small)
    assert wilkens(1e4) * 1e4 == pytest.approx(256 / (45 * np.pi), rel=1e-3)
    assert (np.diff(wilkens(np.geomspace(1e-5, 50, 4000))) < 0).all()


def test_the_arcsine_integral_in_it_is_the_quadrature() -> None:
    """Wilkens at 0.7 with the integral done by adaptive quadrature."""
    eta = 0.7
    integral = quad(lambda v: np.arcsin(v) / v, 0, eta)[0]
    expected = (
        -np.log(eta) + 7 / 4 - np.log(2) + eta**2 / 6 + 256 / (45 * np.pi * eta)
        + 2 / np.pi * (1 - 1 / (4 * eta**2)) * integral
        - np.sqrt(1 - eta**2) / np.pi * (769 / (180 * eta) + 41 * eta / 90 + 2 * eta**3 / 90)
        - np.arcsin(eta) / np.pi * (11 / (12 * eta**2) + 7 / 2 + eta**2 / 3)
    )  # fmt: skip
    assert wilkens(eta) == pytest.approx(expected, rel=1e-10)


def test_strain_coefficients_begin_at_one_and_fall_with_the_order_of_the_line() -> None:
    length = np.linspace(0, 40, 81)
    first, second = (strain_coefficients(length, s, 1e-3, 60.0, 0.25, 0.2) for s in (4.8, 9.6))
    assert first[0] == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(np.log(second[1:]), 4 * np.log(first[1:]))


@pytest.mark.parametrize("hkl", [(1, 0, 1), (1, 1, 1), (3, 1, 2), (0, 0, 1)])
def test_an_isotropic_screw_has_the_closed_form(hkl) -> None:
    """C = sin^2 cos^2 of the angle between diffraction vector and line."""
    cos2 = hkl[2] ** 2 / np.dot(hkl, hkl)
    assert contrast_factor(ISOTROPIC, (0, 0, 1), (0, 0, 1), hkl) == pytest.approx(cos2 * (1 - cos2), abs=1e-4)


def test_an_isotropic_edge_has_the_closed_form() -> None:
    """Distortions of an edge in Hirth & Lothe 1982, equation 3-45, squared and averaged around the line."""
    nu = 60 / (2 * (60 + 24))
    angle = (np.arange(3600) + 0.5) * 2 * np.pi / 3600
    x, y = np.cos(angle), np.sin(angle)
    exx = -y * ((3 - 2 * nu) * x**2 + (1 - 2 * nu) * y**2) / (2 * (1 - nu))
    eyy = y * ((1 + 2 * nu) * x**2 - (1 - 2 * nu) * y**2) / (2 * (1 - nu))
    for hkl, field in (((1, 0, 0), exx), ((0, 1, 0), eyy)):
        expected = 2 * np.mean(field**2)
        assert contrast_factor(ISOTROPIC, (1, 0, 0), (0, 0, 1), hkl) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("element", "lattice", "character", "h00", "q"),
    [("Cu", "fcc", "edge", 0.304, 1.68), ("Cu", "fcc", "screw", 0.298, 2.37), ("Al", "fcc", "screw", 0.19, 1.33),
     ("Fe", "bcc", "edge", 0.26, 1.28), ("Fe", "bcc", "screw", 0.30, 2.65)],
)  # fmt: skip
def test_contrast_factors_are_the_published_ones(element, lattice, character, h00, q) -> None:
    """Ungar et al. 1999, J. Appl. Cryst. 32, 992, read off to what elastic constants differ by."""
    found = cubic_contrast(ELASTIC_GPA[element], lattice, character)
    assert found.h00 == pytest.approx(h00, rel=0.05)
    assert found.q == pytest.approx(q, abs=0.06)


def test_fluorite_slips_on_cubes_and_is_taken_for_what_it_is() -> None:
    """The mean over {100}<110>, dislocation by dislocation; the material from its structure alone."""
    pytest.importorskip("gemmi", reason="reflection tables need gemmi (extra demo or train)")
    from streamproc.models.defects.material import material_of
    from streamproc.models.powder.structures import structure

    crystal = material_of(structure("fluorite"), 1.5405929)
    assert crystal.lattice == "fluorite" and crystal.burgers_nm == pytest.approx(0.54631 / np.sqrt(2))
    lines = [((1, 1, 0), (1, -1, 0)), ((1, -1, 0), (1, 1, 0)), ((1, 0, 1), (1, 0, -1)),
             ((1, 0, -1), (1, 0, 1)), ((0, 1, 1), (0, 1, -1)), ((0, 1, -1), (0, 1, 1))]  # fmt: skip
    for hkl in ((3, 1, 1), (4, 2, 0)):
        direct = np.mean([contrast_factor(FLUORITE_GPA["Ca"], b, line, hkl) for b, line in lines])
        assert crystal.edge.of(hkl) == pytest.approx(direct, rel=1e-9)
    with pytest.raises(ConfigurationError, match="known: Ca"):
        material_of(structure("ceria"), 1.5405929)
    assert material_of(structure("ceria"), 1.5405929, elastic_gpa=(403, 105, 60)).lattice == "fluorite"


def test_the_mean_over_slip_systems_depends_on_hkl_by_the_invariant_alone() -> None:
    mean = cubic_contrast(ELASTIC_GPA["Cu"], "fcc", "screw")
    burgers = [(1, 1, 0), (1, -1, 0), (1, 0, 1), (1, 0, -1), (0, 1, 1), (0, 1, -1)]
    for hkl in ((3, 1, 1), (4, 2, 0), (2, 1, 1)):
        direct = np.mean([contrast_factor(ELASTIC_GPA["Cu"], b, b, hkl) for b in burgers])
        assert mean.of(hkl) == pytest.approx(direct, rel=1e-9)


def test_size_coefficients_are_the_mean_over_a_sample_of_spheres() -> None:
    rng = np.random.default_rng(5)
    median, sigma = 30.0, 0.4
    # drawn by volume: the log-normal moves by 3 sigma^2
    diameter = median * np.exp(3 * sigma**2 + sigma * rng.standard_normal(200_000))
    length = np.array([0.0, 5.0, 20.0, 60.0])
    x = length[:, None] / diameter
    each = np.where(x < 1, 1 - 1.5 * x + 0.5 * x**3, 0.0)
    np.testing.assert_allclose(size_coefficients(length, median, sigma), each.mean(1), atol=0.004)
    np.testing.assert_allclose(
        size_coefficients(length, 30.0, 0.0), size_coefficients(length, 30.0, 2e-3), atol=2e-3
    )


def test_mean_sizes_are_the_breadth_and_the_slope_of_the_coefficients() -> None:
    area = 2 * quad(lambda length: float(size_coefficients(np.array(length), 20.0, 0.3)), 0, 400)[0]
    assert area == pytest.approx(volume_mean_nm(20.0, 0.3), rel=1e-3)
    slope = (1 - float(size_coefficients(np.array(1e-3), 20.0, 0.3))) / 1e-3
    assert 1 / slope == pytest.approx(column_mean_nm(20.0, 0.3), rel=1e-3)


def lines(breadth, a_nm: float = 0.36) -> list[LineFit]:
    return [
        LineFit(hkl, s := float(np.sqrt(np.dot(hkl, hkl))) / a_nm, float(breadth(hkl, s))) for hkl in LINES
    ]


def test_williamson_hall_plots_give_back_what_was_put_in() -> None:
    plain = williamson_hall(lines(lambda hkl, s: 1 / 40 + 2 * 0.001 * s))
    assert (plain.size_nm, plain.strain) == pytest.approx((40, 0.001))
    contrast = Contrast(0.3, 2.0)
    rule = lines(lambda hkl, s: 1 / 40 + 0.004 * s * np.sqrt(contrast.of(hkl)) + 0.03 * warren_table(hkl)[1])
    modified = modified_williamson_hall(rule, contrast, 0.2556, faults=True)
    assert (modified.size_nm, modified.strain, modified.fault) == pytest.approx((40, 0.004, 0.03))
    assert modified.misfit < 1e-9
    assert williamson_hall(rule).misfit > 0.05  # contrast and faults make a plain plot scatter
    assert fault_slopes(rule, 0.36, contrast) == pytest.approx(2 * 0.03 * 0.36)


def test_centroids_give_back_cell_and_alpha() -> None:
    faults = Faults(deformation=0.01)
    seen = [
        LineFit(line.hkl, line.s_per_nm * (1 + centroid_shift(line.hkl, (0.36,), faults, "fcc")), 0.02)
        for line in lines(lambda hkl, s: 0.02)
    ]
    a_nm, alpha, sigma = fault_shifts(seen)
    assert a_nm == pytest.approx(0.36, rel=1e-6)
    assert alpha == pytest.approx(0.01, rel=0.02)
    assert 0 < sigma < 1e-3


def test_wrong_input_is_refused_in_words() -> None:
    with pytest.raises(ConfigurationError, match="known for fcc, bcc and fluorite, got 'hcp'"):
        cubic_contrast(ELASTIC_GPA["Cu"], "hcp", "edge")
    with pytest.raises(ConfigurationError, match="edge or screw here, got 'mixed'"):
        cubic_contrast(ELASTIC_GPA["Cu"], "fcc", "mixed")
    with pytest.raises(ConfigurationError, match="no stable cubic crystal"):
        contrast_factor((100, 120, 50), (1, 0, 0), (0, 0, 1), (1, 0, 0))
    with pytest.raises(ConfigurationError, match="2 parameters, got 1 lines"):
        williamson_hall(lines(lambda hkl, s: 0.02)[:1])
    with pytest.raises(ConfigurationError, match="median > 0"):
        size_coefficients(np.array([1.0]), -3.0, 0.2)
