"""Lattice dynamics as the physics of a map: against an independent drawing, closed forms, and maps it made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamproc.models.excitations.lattice.born_karman import MEV_PER_ROOT_NM_U, Dynamics
from streamproc.models.excitations.lattice.case import case_of
from streamproc.models.excitations.lattice.crystal import cubic
from streamproc.models.excitations.lattice.density import mean_square_A2, mesh, zone_of
from streamproc.models.excitations.lattice.scattering import PowderModel
from streamproc.models.excitations.lattice.seen import seen_modes
from streamproc.models.excitations.mapmodel.errors import NotStable
from streamproc.models.excitations.maps.check import MapChecker
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.example_powder import ALUMINIUM, powder_case, powder_counts
from streamproc.models.excitations.maps.fit import MapFitter
from streamproc.models.excitations.maps.inputs import Preparer
from streamproc.models.excitations.maps.joint import fit_jointly
from streamproc.models.excitations.maps.kinds import case_of as any_case
from streamproc.models.excitations.maps.kinds import physics_of, read_case
from streamproc.models.excitations.maps.widths import Widths

from streamproc.errors import ConfigurationError

ENERGY, Q = np.arange(8.5, 48.0, 1.0), np.arange(2.0, 8.1, 0.4)
COLUMNS = np.stack([Q, 0 * Q, 0 * Q], 1)
WIDE = Widths(3.2, 1.6, 52.0)
KELVIN = 0.08617333262


def counted(y: np.ndarray) -> SqeMap:
    return SqeMap.of(COLUMNS, ENERGY, y, np.sqrt(np.maximum(y, 1)))


@pytest.mark.parametrize("kind", ["fcc", "bcc", "sc", "diamond"])
def test_compiled_modes_are_those_of_the_general_code(kind: str) -> None:
    rng = np.random.default_rng(2)
    along = np.outer(np.linspace(0, 2, 30), [1.0, 1.0, 0.0]) + 1e-9 * rng.normal(size=(30, 3))
    q = np.concatenate([3 * rng.normal(size=(200, 3)), along, [[0.0, 0.0, 0.0], [0.3, 0.0, 0.0]]])
    dynamics = Dynamics(cubic(kind, 4.0, 27.0), 2, q)
    forces = (20.0, 1.0, 3.0, 0.5)
    energy, square = seen_modes(dynamics, forces)
    modes = dynamics.modes(forces)
    assert np.allclose(np.sort(energy, 1), modes.energy_meV, atol=1e-6 * energy.max())
    root = np.sqrt(dynamics.crystal.masses_u)[None, :, None, None]
    known = np.abs((q[:, None, :, None] * modes.vectors / root).sum((1, 2))) ** 2
    # modes of one energy may be mixed, so the sums over modes are compared
    for power in (0, 2, 4):
        ours, theirs = (square * energy**power).sum(1), (known * modes.energy_meV**power).sum(1)
        assert np.allclose(ours, theirs, rtol=1e-9, atol=1e-9 * theirs.max())


@pytest.mark.parametrize("kind", ["fcc", "bcc", "sc", "diamond"])
def test_the_48th_part_of_the_zone_samples_it_like_the_whole(kind: str) -> None:
    crystal, forces = cubic(kind, 4.0, 27.0), (20.0, 1.0, 3.0, 0.5)
    whole = Dynamics(crystal, 2, mesh(crystal, 16)).energies_meV(forces)
    q, weights = zone_of(4.0, 12)
    part = Dynamics(crystal, 2, q).energies_meV(forces)
    assert weights.sum() == pytest.approx(1.0)
    # the trace of the dynamical matrix, averaged, is known exactly by both
    assert (weights @ part**2).mean() == pytest.approx((whole**2).mean(), rel=1e-9)
    assert (weights @ part).mean() == pytest.approx(whole.mean(), rel=1e-4)
    share = np.repeat(weights[:, None], part.shape[1], 1)
    same = mean_square_A2(whole, 27.0, 5.0)
    assert mean_square_A2(part, 27.0, 5.0, share) == pytest.approx(same, rel=5e-3)


@pytest.mark.parametrize("kelvin", [5.0, 300.0])
def test_a_drawn_map_is_that_of_the_other_powder_model(kelvin: float) -> None:
    case, kT = powder_case(), kelvin * KELVIN
    edges = np.append(Q - 0.2, Q[-1] + 0.2)
    fine = np.arange(8.1, 48.0, 0.2)
    other = PowderModel(
        cubic("fcc", 4.0325, 26.9815), 3, edges, fine, lambda e: WIDE.sigma(e) * 2.3548200450309493, kelvin,
        points=3000,
    ).intensity(list(ALUMINIUM.values()))  # fmt: skip
    # the other is off by the scatter of its some 3000 directions for each |Q|
    ours = physics_of(case).renderer(COLUMNS, fine, 60).map(ALUMINIUM, replace(WIDE, kT=kT))
    assert np.sqrt(((ours - other) ** 2).mean()) < 0.04 * np.sqrt((other**2).mean())
    # as a function of Q: the Debye-Waller factor, and what several phonons fill in
    assert np.abs(ours.sum(1) / other.sum(1) - 1).max() < 0.015


def test_zone_boundary_energies_of_nearest_neighbours_are_the_closed_forms() -> None:
    case = powder_case()
    free = dict.fromkeys(ALUMINIUM, 0.0) | {"L1": 20.0}
    found = dict(zip([d.name for d in case.derived], physics_of(case).derived()(free), strict=True))
    # at X bonds along x swing in phase opposition: M w^2 = 8 L1 (longitudinal), 4 L1 (transverse)
    unit = MEV_PER_ROOT_NM_U / np.sqrt(26.9815)
    assert found["X_longitudinal"] == pytest.approx(unit * np.sqrt(8 * 20.0), rel=1e-9)
    assert found["X_transverse"] == pytest.approx(unit * np.sqrt(4 * 20.0), rel=1e-9)
    # and the longitudinal van Hove maximum lies just below the top of the band
    assert 0.9 * found["X_longitudinal"] < found["longitudinal_maximum"] < found["X_longitudinal"]


def test_an_unstable_lattice_is_said_to_be_one() -> None:
    physics = physics_of(powder_case())
    soft = ALUMINIUM | {"T1": -9.0}
    with pytest.raises(NotStable, match="no real energy"):
        physics.renderer(COLUMNS, ENERGY, 4).map(soft, WIDE)
    with pytest.raises(NotStable):
        physics.probe(np.random.default_rng(0)).check(soft)


def test_the_trial_nearest_to_the_truth_explains_a_map_best() -> None:
    case = powder_case()
    preparer = Preparer(case)
    for row in (3, 100, 200):
        values = case.parameters.values(case.parameters.values_at(preparer.bank.units[row][None])[0])
        y = powder_counts(case, Q, ENERGY, values, 300.0, row)
        x = preparer.prepare(counted(y)).x
        best = np.argsort(-x[: preparer.layout.trials])[:5]
        # L1 fixes the energies; the best trials must have about the right one
        assert np.abs(preparer.bank.units[best, 0] - preparer.bank.units[row, 0]).min() < 0.1


def test_least_squares_find_the_force_constants_and_widths_of_a_map() -> None:
    case = powder_case()
    whole = counted(powder_counts(case, Q, ENERGY, ALUMINIUM, 150.0, 4))
    start = case.parameters.values_at(np.full((1, 6), 0.45))[0]
    found = MapChecker(case).refine(whole, 1.0, start, kT=0.4)
    for value, sigma, (name, truth) in zip(
        found.posterior.mean, np.sqrt(np.diag(found.posterior.covariance)), ALUMINIUM.items(), strict=True
    ):
        assert abs(value - truth) < 4 * sigma, (name, value, sigma)
    assert found.fit.chi2_reduced < 1.2 and found.fit.explained > 0.9
    assert abs(found.fit.widths.energy_fwhm - 3.2) < 4 * found.fit.sigma["energy_fwhm"]


def test_two_temperatures_share_the_force_constants_and_tension_shows_where_they_do_not() -> None:
    case, checker = powder_case(), MapChecker(powder_case())
    start = case.parameters.values_at(np.full((1, 6), 0.45))[0]

    def fitted(values, kT: float, seed: int):
        y = powder_counts(case, Q, ENERGY, values, 60.0, seed, kT)
        return checker.refine(counted(y), 1.0, start, kT=kT)

    cold, warm = fitted(ALUMINIUM, 0.4, 1), fitted(ALUMINIUM, 20.0, 2)
    joint = fit_jointly([cold, warm])
    sigma = np.sqrt(np.diag(joint.posterior.covariance))
    assert (np.abs(joint.posterior.mean - list(ALUMINIUM.values())) < 4 * sigma).all()
    assert sigma[0] < min(float(np.sqrt(m.posterior.covariance[0, 0])) for m in (cold, warm))
    assert sum(m.share for m in joint.members) == pytest.approx(1.0) and joint.tension < 3
    softer = {n: 0.95 * v for n, v in ALUMINIUM.items()}
    assert fit_jointly([cold, fitted(softer, 20.0, 3)]).tension > 3


def test_errors_of_a_file_name_the_key(tmp_path: Path) -> None:
    content = powder_case().file.model_dump(mode="json", exclude_none=True)
    with pytest.raises(ConfigurationError, match=r"crystal.lattice"):
        case_of(content | {"crystal": content["crystal"] | {"lattice": "hcp"}}, Path("f"))
    with pytest.raises(ConfigurationError, match=r"parameters.T3 is missing"):
        without = {k: v for k, v in content["parameters"].items() if k != "T3"}
        case_of(content | {"parameters": without}, Path("f"))
    with pytest.raises(ConfigurationError, match=r"derived\[1\].*exactly one of at"):
        case_of(content | {"derived": [{"name": "x"}]}, Path("f"))
    with pytest.raises(ConfigurationError, match=r"energy.start"):
        case_of(content | {"energy": {"start": 0.0, "stop": 50.0}}, Path("f"))
    with pytest.raises(ConfigurationError, match=r"kind = 'glass'.*'lattice-model'"):
        any_case({"kind": "glass"}, Path("f"))
    (tmp_path / "broken.toml").write_text("name = ")
    with pytest.raises(ConfigurationError, match="not a TOML file"):
        read_case(tmp_path / "broken.toml")


def test_a_single_crystals_columns_are_drawn_at_its_own_energies() -> None:
    content = powder_case().file.model_dump(mode="json", exclude_none=True)
    content["q"] = {"path": [[2.0, 0.0, 0.0], [3.0, 0.0, 0.0]], "columns": 8}
    case = case_of(content, Path("path"))
    q = np.array([[2.5, 0.0, 0.0], [2.8, 0.0, 0.0]])
    fine = np.arange(8.0, 48.0, 0.1)
    sharp = Widths(0.6, 0.6, 52.0)
    drawn = physics_of(case).renderer(q, fine, 10).map(ALUMINIUM, sharp)
    known = physics_of(case).dispersion(q).energies(ALUMINIUM)[:, -1]
    # Q is along the wave vector: only the longitudinal mode is seen
    assert np.abs(fine[drawn.argmax(1)] - known).max() < 0.15
    bins, weights = physics_of(case).trials().look(q)
    assert bins.shape == weights.shape == (256, 6)
    fitter = MapFitter(case, SqeMap.of(q, fine, drawn, np.full(drawn.shape, drawn.max() / 50)))
    assert fitter.settings.widths == ("energy_fwhm", "end_fwhm", "q_fwhm")
