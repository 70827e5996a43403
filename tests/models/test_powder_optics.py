"""Geometry, absorption and priors against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("gemmi", reason="reflection tables need gemmi (extra demo or train)")

from scipy.integrate import quad
from streamproc.models.powder.optics import (
    Grain,
    Instrument,
    brindley_tau,
    cylinder_transmission,
    measured,
)
from streamproc.models.powder.priors import (
    PRIOR_RANGES,
    PriorRanges,
    draw_grain,
    draw_instrument,
    draw_material,
)
from streamproc.models.powder.simulate import bin_edges, render_pattern, render_phase
from streamproc.models.powder.structures import structure
from streamproc.models.powder.tables import d_min_of, phase_table, table_of

SYNCHROTRON = Instrument(
    wavelength_A=0.4, wavelength2_A=0.4, ka2_ratio=0.0, u_deg2=0.0, v_deg2=0.0, w_deg2=1e-4, lorentz_x_deg=0.0,
    asymmetry_deg=0.0, geometry="debye-scherrer", polarisation=0.0, radius_mm=200.0,
)  # fmt: skip


def place_of(instrument: Instrument, near: float, table=None) -> float:
    axis = np.arange(near - 0.4, near + 0.4, 0.0005)
    table = table or phase_table("silicon", instrument.wavelength_A, 1.0)
    pattern = render_phase(bin_edges(axis), table, instrument, Grain(size_nm=1e4, strain=0))
    return float(axis[pattern.argmax()])


@pytest.mark.parametrize("mu_r", [0.1, 1.0, 3.0, 5.0])
def test_absorption_of_a_cylinder_is_the_integral_over_chords_forward_and_backward(mu_r: float) -> None:
    # forward every ray crosses a whole chord; backward it goes in and out along one line
    forward = (
        quad(lambda y: 2 * np.sqrt(1 - y * y) * np.exp(-2 * mu_r * np.sqrt(1 - y * y)), -1, 1)[0] / np.pi
    )

    def ring(r: float) -> float:
        def ray(p: float) -> float:
            return float(np.exp(-2 * mu_r * (np.sqrt(1 - (r * np.sin(p)) ** 2) - r * np.cos(p))))

        return quad(ray, 0, np.pi, limit=200)[0] / np.pi * 2 * r

    backward = quad(ring, 0, 1, limit=200)[0]
    found = cylinder_transmission(mu_r, [0.0, np.pi / 2])
    assert found == pytest.approx([forward, backward], rel=1e-3)


def test_absorption_matters_in_transmission_only_and_lifts_high_angles() -> None:
    table = phase_table("silicon", 0.4, 0.5)
    axis = np.arange(5, 45, 0.01)
    grain = Grain(size_nm=200)
    free, absorbing = (
        render_phase(bin_edges(axis), table, Instrument(**_fields(SYNCHROTRON) | {"mu_r": m}), grain)
        for m in (0.0, 2.0)
    )
    ratio = absorbing[free > 0.01 * free.max()] / free[free > 0.01 * free.max()]
    assert ratio[-1] > ratio[0]
    assert ratio[0] == pytest.approx(cylinder_transmission(2.0, np.deg2rad(7.3 / 2)), rel=0.02)
    flat = [
        render_phase(
            bin_edges(axis),
            table,
            Instrument(**_fields(SYNCHROTRON) | {"mu_r": m, "geometry": "bragg-brentano"}),
        )
        for m in (0.0, 2.0)
    ]
    assert np.array_equal(*flat)


def _fields(instrument: Instrument) -> dict[str, object]:
    return {name: getattr(instrument, name) for name in instrument.__slots__}


def test_absorption_contrast_of_a_sphere_follows_its_mean_path_and_mean_square_path() -> None:
    # in and out of a sphere of radius 1 the mean path is 3/4 each, so tau = 1 - 1.5 x + ...
    for contrast in (-0.01, 0.01):
        assert brindley_tau(contrast) == pytest.approx(1 - 1.5 * contrast, abs=3e-4)
    assert brindley_tau(0.0) == pytest.approx(1.0, abs=1e-12)
    rng = np.random.default_rng(1)
    point = rng.normal(size=(200_000, 3))
    point *= (rng.random(200_000) ** (1 / 3) / np.linalg.norm(point, axis=1))[:, None]
    inside = 1 - (point**2).sum(1)
    path = sum(np.sqrt(inside + point[:, i] ** 2) - point[:, i] for i in (0, 1))
    assert brindley_tau(0.5) == pytest.approx(np.exp(-0.5 * path).mean(), rel=3e-3)


def test_tau_scales_one_phase() -> None:
    axis = np.arange(20, 80, 0.02)
    table = phase_table("silicon", 1.5405929)
    plain, weak = (render_phase(bin_edges(axis), table, Instrument(), Grain(tau=t)) for t in (1.0, 0.8))
    assert weak == pytest.approx(0.8 * plain)


def test_a_displaced_capillary_shifts_lines_by_cosine_and_sine_of_two_theta() -> None:
    d_A = 5.43112 / np.sqrt(19)
    angle = float(2 * np.rad2deg(np.arcsin(0.4 / 2 / d_A)))
    zero = place_of(SYNCHROTRON, angle)
    for across, along in ((0.3, 0.0), (0.0, 0.3)):
        moved = Instrument(
            **_fields(SYNCHROTRON) | {"displacement_mm": across, "displacement_along_mm": along}
        )
        expected = -np.rad2deg(
            (across * np.cos(np.deg2rad(angle)) + along * np.sin(np.deg2rad(angle))) / 200.0
        )
        assert place_of(moved, angle) - zero == pytest.approx(expected, abs=1.1e-3)


def test_the_lorentzian_tangent_term_broadens_as_strain_does() -> None:
    table = phase_table("silicon", 1.5405929)
    axis = np.arange(20, 140, 0.02)
    by_instrument = render_phase(
        bin_edges(axis), table, Instrument(lorentz_y_deg=float(np.rad2deg(4 * 0.002))), Grain(strain=0.0)
    )
    by_strain = render_phase(bin_edges(axis), table, Instrument(), Grain(strain=0.002))
    assert by_instrument == pytest.approx(by_strain, rel=1e-9)


def test_missing_stretches_are_zero_and_nothing_else_is() -> None:
    axis = np.linspace(20, 80, 601)
    gaps = Instrument(missing_deg=((30.0, 32.0), (50.05, 51.0)))
    pattern = render_pattern(axis, {"silicon": 1.0}, gaps, background=0.1)
    lost = ((axis >= 30) & (axis <= 32)) | ((axis >= 50.05) & (axis <= 51))
    assert np.array_equal(pattern == 0, lost)
    assert np.array_equal(measured(axis, gaps), ~lost)


def test_an_unknown_geometry_is_refused() -> None:
    with pytest.raises(ValueError, match="geometry must be one of bragg-brentano, debye-scherrer"):
        Instrument(geometry="guinier")  # type: ignore[arg-type]


def test_a_table_ends_where_the_axis_ends_at_any_wavelength() -> None:
    for wavelength in (0.2, 0.7093, 1.5406, 2.2897):
        table = table_of(structure("quartz"), wavelength, d_min_of(wavelength, 60.0, 0.0))
        assert 1.0 <= table.d_A.min() / wavelength < 1.1
        assert table.wavelength_A == wavelength


def test_absorption_coefficients_are_the_tabulated_ones() -> None:
    # mu / rho (cm2/g) of Cu K-alpha: International Tables C, 4.2.4.3; they hold 1 to 2 % of scattering, and the
    # calculated f'' is below the measured one by some per cent
    for name, expected in (("aluminium", 50.2), ("copper", 51.8), ("iron", 304.0), ("silicon", 65.3)):
        table = phase_table(name, 1.5418)
        assert table.absorption_per_cm / table.density_g_cm3 == pytest.approx(expected, rel=0.08)


def test_dispersion_has_no_spikes_beyond_the_k_edges_of_heavy_elements() -> None:
    from streamproc.models.powder.scattering import dispersion

    for wavelength in np.linspace(0.1, 0.16, 61):
        for symbol in ("Au", "Hg", "Tl", "Pb", "Bi", "Th", "U"):
            f1, f2 = dispersion([symbol], float(wavelength))[symbol]
            # Kramers-Kronig: some electrons at an edge, little beyond it
            assert -8 < f1 < 2 and 0.5 < f2 < 4, (symbol, wavelength)
    assert dispersion(["H", "D", "He"], 1.54) == {"H": (0.0, 0.0), "D": (0.0, 0.0), "He": (0.0, 0.0)}


def test_ranges_are_kept_by_what_is_drawn() -> None:
    ranges = PriorRanges(
        wavelength_A=0.4, wavelength2_A=0.4, geometry="debye-scherrer", radius_mm=900.0, fwhm_deg=(0.01, 0.02),
        lorentz_y_deg=(0.0, 0.05), mu_r=(0.2, 0.6), displacement_along_mm=(-0.1, 0.1), ka2_absent_share=1.0,
        polarisation=(0.0, 0.1), unpolarised_share=0.0, missing_deg=((5.0, 6.0),),
        cell_span={"*": 0.01, "silicon": 0.002, "zincite": (0.0, 0.0, 0.02)},
    )  # fmt: skip
    rng = np.random.default_rng(2)
    silicon, zincite = (phase_table(n, 0.4, 1.0) for n in ("silicon", "zincite"))
    for _ in range(200):
        drawn = draw_instrument(rng, False, ranges=ranges)
        assert (drawn.wavelength_A, drawn.geometry, drawn.radius_mm) == (0.4, "debye-scherrer", 900.0)
        assert drawn.missing_deg == ((5.0, 6.0),) and drawn.ka2_ratio == 0.0
        assert 0.01 <= np.sqrt(drawn.w_deg2) <= 0.02 and 0.2 <= drawn.mu_r <= 0.6
        assert 0 <= drawn.lorentz_y_deg <= 0.05 and 0 <= drawn.polarisation <= 0.1
        a, b, c = draw_grain(rng, silicon, False, ranges=ranges).cell_scale
        assert a == b == c and abs(a - 1) <= 0.002
        grain = draw_grain(rng, zincite, False, ranges=ranges)
        assert grain.cell_scale[0] == grain.cell_scale[1] == 1.0 and abs(grain.cell_scale[2] - 1) <= 0.02


def test_invented_materials_reach_the_end_of_the_axis_at_their_wavelength() -> None:
    ranges = PriorRanges(wavelength_A=0.4, wavelength2_A=0.4, last_two_theta_deg=(15.0, 20.0))
    smallest = min(draw_material(np.random.default_rng(i), ranges=ranges).d_A.min() for i in range(20))
    assert smallest == pytest.approx(0.4 / (2 * np.sin(np.deg2rad(10.0))), rel=0.05)


def test_the_card_states_what_differs_from_the_shipped_models_ranges() -> None:
    assert PriorRanges().card() == PRIOR_RANGES
    assert PRIOR_RANGES["cell_relative"] == (-0.004, 0.004)
    card = PriorRanges(
        wavelength_A=0.4, wavelength2_A=0.4, ka2_absent_share=1.0, area_ka2_absent_share=1.0,
        cell_span={"*": 0.005, "A_1": 0.02, "B_2": (0.01, 0.01, 0.03)}, mu_r=(0.0, 1.0),
    ).card()  # fmt: skip
    assert card["radiation"] == "0.4 angstrom; polarisation and Lorentz factor not corrected"
    assert card["cell_relative"] == (-0.005, 0.005) and card["cell_relative A_1"] == (-0.02, 0.02)
    assert card["cell_relative B_2 c"] == (-0.03, 0.03)
    assert card["mu_r"] == (0.0, 1.0)


def test_impossible_ranges_are_refused() -> None:
    with pytest.raises(ValueError, match="size_nm: a range"):
        PriorRanges(size_nm=(100.0, 10.0))
    with pytest.raises(ValueError, match="cell_span"):
        PriorRanges(cell_span={"A": 0.5})
