"""Spin-wave theory gives every closed form in the literature, energies and intensities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from streamproc.models.excitations.lswt.bogoliubov import _colpa, diagonalise
from streamproc.models.excitations.lswt.errors import NotAMinimum
from streamproc.models.excitations.lswt.hamiltonian import quadratic_form
from streamproc.models.excitations.lswt.waves import SpinWaves, moment_reduction
from streamproc.models.excitations.spinmodel.order import in_magnetic_cell
from streamproc.models.excitations.spinmodel.structure import (
    Bond,
    Coupling,
    Lattice,
    OnSite,
    Site,
    SpinModel,
    dm_matrix,
)

from streamproc.errors import ConfigurationError

TOLERANCE = 1e-6
Z2 = np.diag([0.0, 0.0, 1.0])
RNG = np.random.default_rng(7)


def along_h(n: int = 41) -> np.ndarray:
    """Wave vectors along h that avoid the Goldstone points 0, 1/2 and 1."""
    return np.array([[h, 0.0, 0.0] for h in np.linspace(0.013, 0.487, n)])


def chain(j_bonds: str = "J", spin: float = 1.5) -> SpinModel:
    site = Site("M", (0.0, 0.0, 0.0), spin)
    return SpinModel(Lattice(4.0, 9.0, 9.0), (site,), (Coupling.exchange(j_bonds, [Bond(0, 0, (1, 0, 0))]),))


def square(spin: float = 1.0) -> SpinModel:
    """Square lattice with J1, J2, J3 and D (S^z)^2, antiferromagnetic."""
    around = {
        "J1": [(1, 0, 0), (0, 1, 0)],
        "J2": [(1, 1, 0), (1, -1, 0)],
        "J3": [(2, 0, 0), (0, 2, 0)],
    }
    couplings = tuple(Coupling.exchange(n, [Bond(0, 0, o) for o in v]) for n, v in around.items())
    model = SpinModel(
        Lattice(3.9, 3.9, 12.6), (Site("Ni", (0.0, 0.0, 0.0), spin),), couplings, (OnSite("D", (0,), Z2),)
    )
    return in_magnetic_cell(model, (0.5, 0.5, 0.0))


def honeycomb(spin: float = 1.5, canted: bool = False) -> SpinModel:
    """Ferromagnetic honeycomb lattice with nearest exchange and the DM vector along z on second neighbours."""
    cell = Lattice(6.0, 6.0, 20.0, gamma=120.0)
    sites = (Site("A", (1 / 3, 2 / 3, 0.0), spin), Site("B", (2 / 3, 1 / 3, 0.0), spin))
    nearest = [Bond(0, 1, (0, 0, 0)), Bond(0, 1, (-1, 0, 0)), Bond(0, 1, (0, 1, 0))]
    around = [(1, 0, 0), (0, 1, 0), (-1, -1, 0)]
    second = [Bond(0, 0, o) for o in around] + [Bond(1, 1, o) for o in around]
    signs = [1, 1, 1, -1, -1, -1]
    matrices = np.array([dm_matrix((0.0, 0.0, float(s))) for s in signs])
    return SpinModel(cell, sites, (Coupling.exchange("J", nearest), Coupling("DM", tuple(second), matrices)))


def square_closed_form(q, spin, j1, j2, j3, d):
    """Return energy and transverse intensity ratio of the square antiferromagnet (A, B of the Bogoliubov form)."""
    h, k = 2 * np.pi * q[:, 0], 2 * np.pi * q[:, 1]
    a = (
        4 * j1 * spin
        - 4 * j2 * spin * (1 - np.cos(h) * np.cos(k))
        - 2 * j3 * spin * (2 - np.cos(2 * h) - np.cos(2 * k))
        - 2 * d * spin
    )
    b = 2 * j1 * spin * (np.cos(h) + np.cos(k))
    return np.sqrt(a**2 - b**2), np.sqrt((a - b) / (a + b))


def test_a_ferromagnetic_chain_has_the_cosine_band() -> None:
    q = np.array([[h, 0.0, 0.0] for h in np.linspace(0.01, 0.99, 40)])
    found = SpinWaves(chain(), q).energies({"J": -3.0})[:, 0]
    assert np.abs(found - 2 * 3.0 * 1.5 * (1 - np.cos(2 * np.pi * q[:, 0]))).max() < TOLERANCE


def test_an_antiferromagnetic_chain_has_the_sine_band() -> None:
    q = along_h()
    found = SpinWaves(in_magnetic_cell(chain(), (0.5, 0.0, 0.0)), q).energies({"J": 26.3})
    expected = 2 * 26.3 * 1.5 * np.abs(np.sin(2 * np.pi * q[:, 0]))
    assert np.abs(found - expected[:, None]).max() < TOLERANCE


def test_at_a_goldstone_point_the_energy_is_small_but_not_zero() -> None:
    found = SpinWaves(in_magnetic_cell(chain(), (0.5, 0.0, 0.0)), np.zeros((1, 3))).energies({"J": 26.3})
    assert 0 < found.max() < 1e-3


@pytest.mark.parametrize("direction", [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.3, -0.5, 0.8)])
def test_the_direction_of_the_order_does_not_matter_to_an_isotropic_magnet(direction) -> None:
    model = square()
    turned = replace(
        model,
        sites=tuple(replace(s, direction=tuple(np.multiply(direction, s.direction[2]))) for s in model.sites),
    )
    values = {"J1": 29.0, "J2": 1.0, "J3": 0.5, "D": 0.0}
    q = RNG.uniform(0.05, 0.45, (20, 3))
    assert np.abs(SpinWaves(model, q).energies(values) - SpinWaves(turned, q).energies(values)).max() < 1e-6


@pytest.mark.parametrize("j2,j3,d", [(0.0, 0.0, 0.0), (1.67, 0.0, 0.0), (1.0, 2.0, -0.4), (-2.0, 0.7, -0.05)])
def test_the_square_antiferromagnet_with_j1_j2_j3_and_easy_axis(j2: float, j3: float, d: float) -> None:
    q = RNG.uniform(-1.4, 1.4, (300, 3))
    q = q[
        np.abs(np.cos(2 * np.pi * q[:, 0]) + np.cos(2 * np.pi * q[:, 1])) < 1.97
    ]  # away from Goldstone points
    energy, ratio = square_closed_form(q, 1.0, 29.0, j2, j3, d)
    found, moments = SpinWaves(square(), q).correlations({"J1": 29.0, "J2": j2, "J3": j3, "D": d})
    assert np.abs(found - energy[:, None]).max() < TOLERANCE
    # <Sx Sx> summed over the two degenerate modes: S/2 sqrt((A - B)/(A + B)) per site
    total = moments.sum(1)
    assert np.abs(total[:, 0, 0] - 0.5 * ratio).max() < TOLERANCE
    assert np.abs(total[:, 1, 1] - 0.5 * ratio).max() < TOLERANCE
    assert np.abs(total[:, 2, 2]).max() < 1e-12


def test_the_anisotropic_square_magnet_rb2mnf4_has_its_gap_and_zone_boundary_energy() -> None:
    bonds = [Bond(0, 0, (1, 0, 0)), Bond(0, 0, (0, 1, 0))]
    j, alpha, spin = 0.6544, 0.0048, 2.5
    coupling = Coupling.exchange("J", bonds, (1.0, 1.0, 1.0 + alpha))
    site = Site("Mn", (0.0, 0.0, 0.0), spin)
    model = in_magnetic_cell(SpinModel(Lattice(4.2, 4.2, 13.8), (site,), (coupling,)), (0.5, 0.5, 0.0))
    q = np.vstack([[0.5, 0.5, 0.0], [0.5, 0.0, 0.0], RNG.uniform(0, 1, (30, 3))])
    found = SpinWaves(model, q).energies({"J": j})
    gamma = (np.cos(2 * np.pi * q[:, 0]) + np.cos(2 * np.pi * q[:, 1])) / 2
    expected = 4 * j * spin * np.sqrt((1 + alpha) ** 2 - gamma**2)
    assert np.abs(found - expected[:, None]).max() < TOLERANCE
    assert found[0, 0] == pytest.approx(0.642, abs=1e-3)
    assert found[1, 0] == pytest.approx(6.575, abs=1e-3)


def test_the_honeycomb_ferromagnet_has_both_bands_and_the_dirac_gap_of_its_dm_vector() -> None:
    j, dm, spin = -2.0, 0.1, 1.5
    q = np.vstack([[1 / 3, 1 / 3, 0.0], RNG.uniform(0.03, 0.97, (60, 3))])
    found = SpinWaves(honeycomb(spin), q).energies({"J": j, "DM": dm})
    h, k = 2 * np.pi * q[:, 0], 2 * np.pi * q[:, 1]
    f = np.abs(1 + np.exp(-1j * h) + np.exp(1j * k))
    g = 2 * dm * (np.sin(h) + np.sin(k) - np.sin(h + k))
    middle, half = 3 * abs(j) * spin, spin * np.sqrt(j**2 * f**2 + g**2)
    assert np.abs(found[:, 0] - (middle - half)).max() < TOLERANCE
    assert np.abs(found[:, 1] - (middle + half)).max() < TOLERANCE
    assert found[0, 1] - found[0, 0] == pytest.approx(6 * np.sqrt(3) * dm * spin, abs=TOLERANCE)


def test_the_triangular_antiferromagnet_of_120_degrees_has_its_band() -> None:
    """E = 3 J S sqrt((1 - g)(1 + 2 g)), g the mean cosine (Jolicoeur & Le Guillou, PRB 40, 2727, 1989)."""
    cell = Lattice(5.0, 5.0, 12.0, gamma=120.0)
    bonds = [Bond(0, 0, (1, 0, 0)), Bond(0, 0, (0, 1, 0)), Bond(0, 0, (1, 1, 0))]
    site = Site("M", (0.0, 0.0, 0.0), 0.5, (1.0, 0.0, 0.0))
    base = SpinModel(cell, (site,), (Coupling.exchange("J", bonds),))
    model = in_magnetic_cell(base, (1 / 3, 1 / 3, 0.0), (0.0, 0.0, 1.0))
    q = RNG.uniform(0.04, 0.29, (40, 3)) * [1.0, 0.5, 1.0]

    def band(shift: float) -> np.ndarray:
        h, k = 2 * np.pi * (q[:, 0] + shift), 2 * np.pi * (q[:, 1] + shift)
        g = (np.cos(h) + np.cos(k) + np.cos(h + k)) / 3
        return 3 * 4.0 * 0.5 * np.sqrt((1 - g) * (1 + 2 * g))

    expected = np.sort(np.stack([band(s) for s in (0.0, 1 / 3, -1 / 3)], 1), 1)
    waves = SpinWaves(model, q)
    waves.check({"J": 4.0})
    assert np.abs(waves.energies({"J": 4.0}) - expected).max() < TOLERANCE


def test_the_intensity_of_a_ferromagnet_is_that_of_free_spins_and_sees_the_polarisation() -> None:
    q = np.array([[0.3, 0.0, 0.0], [0.0, 0.0, 0.7], [0.2, 0.0, 0.0]])
    _, found = SpinWaves(chain(), q).neutron({"J": -1.0})
    # spins along z: Sx and Sy carry S/2 each; Q along x hides one of them, Q along z none
    assert np.allclose(found[:, 0], [0.75, 1.5, 0.75], atol=1e-9)


def test_form_factor_and_g_enter_squared() -> None:
    model = chain()
    site = replace(model.sites[0], g=3.0, form_factor=(0.5, 10.0, 0.3, 5.0, 0.2, 1.0, 0.0))
    q = np.array([[0.3, 0.0, 0.0]])
    _, plain = SpinWaves(model, q).neutron({"J": -1.0})
    _, found = SpinWaves(replace(model, sites=(site,)), q).neutron({"J": -1.0})
    s2 = (0.3 / 4.0 / 2) ** 2
    j0 = 0.5 * np.exp(-10 * s2) + 0.3 * np.exp(-5 * s2) + 0.2 * np.exp(-s2)
    assert found[0, 0] == pytest.approx(plain[0, 0] * (1.5 * j0) ** 2, rel=1e-12)


def test_zero_point_motion_shortens_the_moment_of_the_square_antiferromagnet_by_0_197() -> None:
    found = moment_reduction(square(0.5), {"J1": 1.0, "J2": 0.0, "J3": 0.0, "D": 0.0}, 400, 2)
    assert np.allclose(found, 0.1957, atol=2e-4)
    assert np.allclose(
        moment_reduction(honeycomb(), {"J": -1.0, "DM": 0.0}, 12, 2), 0, atol=1e-9
    )  # a ferromagnet has none


def test_the_way_of_half_the_size_agrees_with_that_of_colpa() -> None:
    q = RNG.uniform(-1, 1, (200, 3))
    form = quadratic_form(square())
    h = form.at({"J1": 29.0, "J2": 1.2, "J3": -0.7, "D": -0.3}, form.phases(q))
    fast, slow = diagonalise(h), _colpa(h)
    assert not np.iscomplexobj(h)
    assert np.abs(fast.energy_meV - slow.energy_meV).max() < 1e-8
    for found in (fast, slow):
        t, g = found.amplitudes, np.diag([1.0, 1.0, -1.0, -1.0])
        assert np.abs(t.conj().transpose(0, 2, 1) @ g @ t - np.eye(2)).max() < 1e-8
        assert np.abs(g @ h @ t - t * found.energy_meV[:, None, :]).max() < 1e-6
    # single modes of a degenerate pair are arbitrary; their sum over the pair is not
    sums = [np.einsum("mik,mjk->mij", f.amplitudes, f.amplitudes) for f in (fast, slow)]
    assert np.abs(sums[0] - sums[1]).max() < 1e-7


def test_without_pairs_the_upper_block_alone_agrees_with_colpa() -> None:
    q = RNG.uniform(-1, 1, (100, 3))
    form = quadratic_form(honeycomb())
    h = form.at({"J": -2.0, "DM": 0.15}, form.phases(q))
    scaled = h + 1e-11 * np.abs(h).max() * np.eye(4)
    fast, slow = diagonalise(h), _colpa(scaled)
    assert np.abs(fast.energy_meV - slow.energy_meV).max() < 1e-8
    assert np.abs(np.abs(fast.amplitudes) - np.abs(slow.amplitudes)).max() < 1e-6
    with pytest.raises(NotAMinimum):
        diagonalise(form.at({"J": 2.0, "DM": 0.0}, form.phases(q)))


def test_an_unstable_state_is_refused_with_the_wave_vector() -> None:
    waves = SpinWaves(square(), np.array([[0.1, 0.1, 0.0], [0.5, 0.0, 0.0]]))
    with pytest.raises(NotAMinimum, match=r"not a minimum at q = \(0\.5, 0, 0\)"):
        waves.check({"J1": 10.0, "J2": 7.0, "J3": 0.0, "D": 0.0})
    with pytest.raises(NotAMinimum, match="not a minimum"):
        SpinWaves(chain(), along_h()).check({"J": 5.0})


def test_a_structure_off_its_field_is_refused_with_the_site() -> None:
    model = honeycomb()
    sites = (model.sites[0], replace(model.sites[1], direction=(1.0, 0.0, 1.0)))
    with pytest.raises(NotAMinimum, match=r"field on site . is .* degrees off"):
        SpinWaves(replace(model, sites=sites), along_h()).check({"J": -2.0, "DM": 0.0})


def test_an_incommensurate_vector_and_a_turning_one_without_axis_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="commensurate"):
        in_magnetic_cell(chain(), (0.2871, 0.0, 0.0))
    with pytest.raises(ConfigurationError, match="axis"):
        in_magnetic_cell(chain(), (0.25, 0.0, 0.0))


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(ConfigurationError, match="J2"):
        SpinWaves(square(), along_h()).energies({"J1": 1.0, "J3": 0.0, "D": 0.0})
