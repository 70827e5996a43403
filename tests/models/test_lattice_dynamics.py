"""Born-von Karman lattice dynamics against closed forms, and the scattering of powders against sum rules."""

from __future__ import annotations

import numpy as np
import pytest
from streamproc.models.excitations.lattice.born_karman import MEV_PER_ROOT_NM_U, Dynamics
from streamproc.models.excitations.lattice.crystal import Crystal, cubic, shells
from streamproc.models.excitations.lattice.density import (
    HBAR2_2U_MEV_A2,
    KELVIN_MEV,
    Density,
    density_of_states,
    laid_out,
    mean_square_A2,
    mesh,
    peaks_of,
)
from streamproc.models.excitations.lattice.eigen import rising_roots_of_three
from streamproc.models.excitations.lattice.scattering import (
    PowderModel,
    bose,
    directions,
    is_cubic,
)
from streamproc.models.excitations.lattice.several import several_phonons

from streamproc.errors import ConfigurationError

A, MASS = 4.05, 26.98
AL = cubic("fcc", A, MASS)
FORCES = (20.0, -1.0, 2.5, -0.4, -0.3, 0.3)


def along(direction, zeta) -> np.ndarray:
    return 2 * np.pi / A * np.multiply.outer(zeta, np.array(direction, float))


@pytest.mark.parametrize(
    ("kind", "counts"),
    [("sc", [6, 12, 8]), ("bcc", [8, 6, 12]), ("fcc", [12, 6, 24]), ("diamond", [8, 24, 24])],
)
def test_shells_hold_the_neighbours_of_the_lattice(kind: str, counts: list[int]) -> None:
    found = shells(cubic(kind, A, MASS), 3)
    assert [len(s.first) for s in found] == counts
    assert all(np.allclose(np.linalg.norm(s.vector_A, axis=1), s.distance_A) for s in found)


def test_central_forces_between_nearest_neighbours_of_fcc_have_the_textbook_branches() -> None:
    zeta, stiffness = np.linspace(0.05, 1.0, 20), 20.0
    # M w^2 = 8 a sin^2(pi z / 2) along [100] for L, 4 a for T (each bond's tensor is a rr)
    energy = Dynamics(AL, 1, along((1, 0, 0), zeta)).energies_meV((stiffness, 0.0))
    half = np.sin(np.pi * zeta / 2) * MEV_PER_ROOT_NM_U / np.sqrt(MASS)
    assert energy[:, 2] == pytest.approx(half * np.sqrt(8 * stiffness), rel=1e-9)
    assert energy[:, 0] == pytest.approx(half * np.sqrt(4 * stiffness), rel=1e-9)
    assert energy[:, 1] == pytest.approx(half * np.sqrt(4 * stiffness), rel=1e-9)


def test_a_simple_cubic_lattice_of_springs_is_three_chains() -> None:
    zeta = np.linspace(0.05, 1.0, 20)
    simple = cubic("sc", A, MASS)
    energy = Dynamics(simple, 1, along((1, 0, 0), zeta / 2)).energies_meV((9.0, 2.0))
    half = 2 * np.sin(np.pi * zeta / 2) * MEV_PER_ROOT_NM_U / np.sqrt(MASS)
    assert energy[:, 2] == pytest.approx(half * 3.0, rel=1e-9)
    assert energy[:, 0] == pytest.approx(half * np.sqrt(2.0), rel=1e-9)


def test_a_chain_of_two_masses_has_the_textbook_gap() -> None:
    # widely spaced chains: only neighbours along x are near; first shell is the pair at a/2
    pair = Crystal(np.diag([4.0, 30.0, 30.0]), np.array([[0.0, 0, 0], [0.5, 0, 0]]), np.array([10.0, 40.0]))
    q = np.array([[np.pi / 4.0, 0, 0]])
    energy = np.sort(Dynamics(pair, 1, q).energies_meV((5.0, 0.0))[0])[-2:]
    expected = MEV_PER_ROOT_NM_U * np.sqrt([2 * 5.0 / 40.0, 2 * 5.0 / 10.0])
    assert energy == pytest.approx(expected, rel=1e-9)


def test_long_waves_travel_with_the_speed_of_the_elastic_constants() -> None:
    # nearest central forces in fcc: c11 = 2 a / edge, c44 = a / edge (Cauchy: c12 = c44)
    stiffness, q = 20.0, 1e-3
    energy = Dynamics(AL, 1, [[q, 0, 0]]).energies_meV((stiffness, 0.0))[0]
    density = 4 * MASS / A**3
    speed = MEV_PER_ROOT_NM_U * np.sqrt(np.array([1, 1, 2]) * stiffness / A / density)
    assert energy == pytest.approx(speed * q, rel=1e-5)


def test_shifting_the_whole_crystal_costs_nothing_and_symmetry_is_kept() -> None:
    diamond = cubic("diamond", 5.43, 28.09)
    gamma = Dynamics(diamond, 2, [[0.0, 0, 0]]).energies_meV((150.0, 20.0, 8.0, -3.0))[0]
    assert np.abs(gamma[:3]).max() < 1e-5
    assert gamma[3:] == pytest.approx([gamma[5]] * 3)
    q = np.array([[0.3, 0.7, 0.2]])
    turned = np.concatenate([q[:, [1, 2, 0]], -q, q[:, [1, 0, 2]]])
    assert Dynamics(AL, 3, turned).energies_meV(FORCES) == pytest.approx(
        np.repeat(Dynamics(AL, 3, q).energies_meV(FORCES), 3, 0)
    )


def test_slopes_are_the_derivatives_of_the_energies() -> None:
    dynamics = Dynamics(AL, 3, np.random.default_rng(0).normal(size=(5, 3)))
    slopes = dynamics.slopes(dynamics.modes(FORCES))
    for p in range(6):
        step = np.zeros(6)
        step[p] = 1e-4
        up, down = (dynamics.energies_meV(np.array(FORCES) + s) for s in (step, -step))
        assert slopes[p] == pytest.approx((up - down) / 2e-4, rel=1e-4, abs=1e-6)


def test_an_unstable_lattice_has_negative_energies_not_imaginary_ones() -> None:
    assert Dynamics(AL, 1, along((1, 0, 0), [1.0])).energies_meV((-5.0, 0.0)).max() < 0


def test_a_wrong_number_of_constants_is_said() -> None:
    with pytest.raises(ConfigurationError, match="expected 6: L1, T1, L2, T2, L3, T3"):
        Dynamics(AL, 3, [[0.1, 0, 0]]).energies_meV((1.0, 2.0))
    with pytest.raises(ConfigurationError, match="lattice 'hexagonal' is not known"):
        cubic("hexagonal", 3.0, 1.0)


def test_a_density_of_states_is_normalised_and_rises_as_debye_says() -> None:
    zone = Dynamics(AL, 1, mesh(AL, 40))
    axis = np.arange(0.0, 45.0, 0.05)
    found = density_of_states(zone, (20.0, 0.0), axis, 0.3)
    assert (found.states * 0.05).sum() == pytest.approx(1.0)
    low = (axis > 5) & (axis < 8)
    power = np.polyfit(np.log(axis[low]), np.log(found.states[low]), 1)[0]
    assert power == pytest.approx(2.0, abs=0.2)


def test_displacements_of_one_oscillator_are_those_of_quantum_mechanics() -> None:
    for kelvin in (0.0, 300.0):
        expected = HBAR2_2U_MEV_A2 / MASS / 10 / np.tanh(10 / (2 * KELVIN_MEV * max(kelvin, 1e-3)))
        assert mean_square_A2(np.array([10.0, 10.0]), MASS, kelvin) == pytest.approx(expected)


def test_detailed_balance_holds() -> None:
    energy = np.array([1.0, 10.0, 30.0])
    assert bose(-energy, 77.0) / bose(energy, 77.0) == pytest.approx(np.exp(-energy / (KELVIN_MEV * 77.0)))


def test_directions_of_a_cubic_crystal_average_as_the_whole_sphere_does() -> None:
    wedge, half = directions(40, True), directions(2000, False)
    assert np.linalg.norm(wedge, axis=1) == pytest.approx(1.0)
    for power, exact in ((2, 1 / 3), (4, 1 / 5)):
        assert (half**power).mean() == pytest.approx(exact, rel=2e-3)
        assert (wedge**power).mean() == pytest.approx(exact, rel=2e-2)
    assert is_cubic(AL) and is_cubic(cubic("diamond", 5.43, 28.09))
    assert not is_cubic(Crystal(np.diag([3.0, 3.0, 4.0]), np.zeros((1, 3)), np.array([20.0])))


def test_all_processes_together_scatter_every_neutron_once() -> None:
    """Elastic, one and more phonons: integral over E is 1 (incoherent approximation, any Q)."""
    energy, q = np.arange(-200.0, 400.0, 0.25), np.array([3.0, 6.0, 9.0])
    zone = Dynamics(AL, 3, mesh(AL, 16))
    u2 = mean_square_A2(zone.energies_meV(FORCES), MASS, 300.0)
    density = density_of_states(zone, FORCES, np.arange(0.0, 45.0, 0.1), 0.5)
    twice_w = q**2 * u2
    more = several_phonons(density, u2, 300.0, energy, q, most=12).sum(1) * 0.25
    assert np.exp(-twice_w) * (1 + twice_w) + more == pytest.approx(1.0, rel=5e-3)
    # the coherent single phonons, averaged over directions and |Q|, weigh as much as the incoherent ones
    edges = np.linspace(8.0, 10.0, 11)
    wide = PowderModel(AL, 3, edges, energy, lambda e: np.full_like(e, 1.5), 300.0, points=400)
    many = wide.q_invA
    twice_w = many**2 * u2
    one = wide.intensity(FORCES).sum(1) * 0.25
    one -= several_phonons(density, u2, 300.0, energy, many).sum(1) * 0.25
    assert one.mean() == pytest.approx((np.exp(-twice_w) * twice_w).mean(), rel=0.04)


def test_a_powder_of_a_cubic_crystal_is_the_same_from_the_irreducible_directions(monkeypatch) -> None:
    energy, edges = np.arange(5.0, 45.0, 0.5), np.array([2.4, 2.6, 4.0, 4.2])
    part = PowderModel(AL, 3, edges, energy, lambda e: np.full_like(e, 5.0), 5.0, points=2000)
    monkeypatch.setattr("streamproc.models.excitations.lattice.scattering.is_cubic", lambda crystal: False)
    full = PowderModel(AL, 3, edges, energy, lambda e: np.full_like(e, 5.0), 5.0, points=50_000)
    expected = full.intensity(FORCES)
    assert part.intensity(FORCES) == pytest.approx(expected, rel=0.03, abs=0.03 * expected.max())


def test_peaks_lie_between_the_points_of_the_axis() -> None:
    axis = np.arange(0.0, 50.0, 0.3)
    curve = np.exp(-0.5 * ((axis - 20.07) / 2) ** 2) + np.exp(-0.5 * ((axis - 36.2) / 1) ** 2)
    assert peaks_of(axis, curve) == pytest.approx([20.07, 36.2], abs=0.02)


def test_compiled_roots_rise_and_keep_the_sign_of_what_is_unstable() -> None:
    made = np.random.default_rng(3).normal(size=(300, 3, 3))
    matrix = made + made.transpose(0, 2, 1)
    matrix[0], matrix[1] = 0.0, np.diag([2.0, 2.0, -1.0])
    known = np.linalg.eigvalsh(matrix)
    assert (known < 0).any()
    found = rising_roots_of_three(matrix, 3.0)
    assert np.allclose(found, 3.0 * np.sign(known) * np.sqrt(np.abs(known)), atol=1e-6)
    assert (np.diff(found, axis=1) >= 0).all()


def test_amounts_laid_on_an_axis_keep_sum_and_mean_and_leave_out_what_is_beyond() -> None:
    energies = np.array([[1.23, 2.0, 3.77], [0.99, 4.0, 9.0]])
    amounts = np.array([[1.0, 2.0, 3.0], [50.0, 60.0, 70.0]])
    found = laid_out(energies, amounts, 1.0, 0.5, 7)
    axis = 1.0 + 0.5 * np.arange(7)
    # 0.99 lies before the axis, its last point (4.0) and 9.0 are beyond
    assert found.sum() == pytest.approx(6.0)
    assert found @ axis == pytest.approx(amounts[0] @ energies[0])
    assert found[2] == pytest.approx(2.0) and found[0] == pytest.approx(0.54)


@pytest.mark.parametrize("temperature_K", [0.0, 4.6, 300.0])
def test_several_phonons_are_convolutions_of_one(temperature_K):
    axis = np.arange(0.0, 40.5, 0.5)
    density = Density(axis, np.where(axis < 36, axis**2, 0.0) / 36**3 * 3)
    energy, q, u2 = np.arange(5.0, 48.0), np.array([3.0, 8.0]), 0.004
    found = several_phonons(density, u2, temperature_K, energy, q)
    step, reach = 0.5, 160
    x = step * np.arange(-reach, reach + 1)
    one = np.interp(np.abs(x), axis, density.states, right=0.0)
    kT = KELVIN_MEV * max(temperature_K, 1e-3)
    with np.errstate(all="ignore"):
        one = np.where(x == 0, 0.0, one / x / -np.expm1(-x / kT))
    one /= one.sum() * step
    expected, more = np.zeros(found.shape), one
    for n, factor in ((2, 2), (3, 6), (4, 24), (5, 120)):
        more = np.convolve(more, one, "same") * step
        share = np.exp(-(q**2) * u2) * (q**2 * u2) ** n / factor
        expected += share[:, None] * np.interp(energy, x, more)
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4 * expected.max())
