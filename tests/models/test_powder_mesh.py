"""The mesh of a powder's average: against directions on spheres, its convergence, its slopes and its own error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamproc.models.excitations.lattice.born_karman import Dynamics
from streamproc.models.excitations.lattice.crystal import cubic
from streamproc.models.excitations.lattice.density import HBAR2_2U_MEV_A2, zone_of
from streamproc.models.excitations.lattice.powder_mesh import PowderMesh
from streamproc.models.excitations.lattice.scattering import directions
from streamproc.models.excitations.lattice.seen import seen_modes
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.descent import jacobian
from streamproc.models.excitations.maps.example_powder import ALUMINIUM, powder_case, powder_counts
from streamproc.models.excitations.maps.fit import MapFitter
from streamproc.models.excitations.maps.kinds import physics_of, read_case
from streamproc.models.excitations.maps.widths import Widths

ENERGY, Q = np.arange(8.5, 48.0, 1.0), np.arange(2.0, 8.1, 0.4)
COLUMNS = np.stack([Q, 0 * Q, 0 * Q], 1)
WIDE = Widths(3.2, 1.6, 52.0, kT=0.4)
FORCES = (20.0, 1.0, 3.0, 0.5)


@pytest.mark.parametrize("kind", ["sc", "bcc", "fcc"])
def test_moments_of_a_shell_are_those_of_very_many_directions(kind: str) -> None:
    crystal, u2, moduli = cubic(kind, 4.0, 27.0), 0.004, np.array([2.5, 6.0])
    mesh = PowderMesh(crystal, 2, 4.0, moduli, 0.3, 24)
    modes = mesh.modes(FORCES)
    step, points = 0.05, 3000
    laid = mesh.laid(modes, u2, step, points)
    axis = step * np.arange(points)
    around = directions(3000, True)
    share = np.mod(np.arange(len(around)) * 0.6180339887 + 0.5, 1.0) - 0.5
    for row, modulus in enumerate(moduli):
        q = (modulus + 0.3 * share)[:, None] * around
        energy, square = seen_modes(Dynamics(crystal, 2, q), FORCES)
        weight = HBAR2_2U_MEV_A2 * square / energy * np.exp(-(q**2).sum(1) * u2)[:, None] / len(q)
        for power in (1, 2, 3):  # at power 0 what lies near Bragg peaks is all, and directions miss it
            known = (weight * energy**power).sum()
            assert (laid[row] * axis**power).sum() == pytest.approx(known, rel=5e-3), power


def test_modes_of_the_mesh_are_those_of_the_zone() -> None:
    crystal = cubic("fcc", 4.0, 27.0)
    mesh = PowderMesh(crystal, 2, 4.0, np.array([3.0]), 0.3, 10)
    q, weights = zone_of(4.0, 10)
    known = Dynamics(crystal, 2, q).energies_meV(FORCES)
    assert np.allclose(np.sort(mesh.modes(FORCES).energy_meV, 1), known, rtol=1e-9)
    assert np.array_equal(mesh.weights, weights)


def test_a_fits_mesh_is_as_good_as_a_far_finer_one_and_its_other_says_how_good() -> None:
    physics = physics_of(powder_case())
    known = physics.renderer(COLUMNS, ENERGY, 100).map(ALUMINIUM, WIDE)
    size = np.sqrt((known**2).mean())
    coarse, fine = (physics.renderer(COLUMNS, ENERGY, points) for points in (8, 16))
    off = [np.sqrt(((r.map(ALUMINIUM, WIDE) - known) ** 2).mean()) / size for r in (coarse, fine)]
    assert off[0] < 5e-3 and off[1] < 1.5e-3, off
    other = np.sqrt(((fine.other().map(ALUMINIUM, WIDE) - fine.map(ALUMINIUM, WIDE)) ** 2).mean()) / size
    assert 0.5 * off[1] < other < 5 * off[1], (other, off)


def test_a_sharp_resolution_is_given_a_finer_mesh() -> None:
    physics = physics_of(powder_case())
    renderer = physics.renderer(COLUMNS, ENERGY, 16)
    assert renderer.exact_at(ALUMINIUM, WIDE) is renderer
    sharp = replace(WIDE, energy_fwhm=1.4, end_fwhm=0.9)
    finer = renderer.exact_at(ALUMINIUM, sharp)
    assert finer.divisions > renderer.divisions
    known = physics.renderer(COLUMNS, ENERGY, 150).map(ALUMINIUM, sharp)
    before, after = (np.abs(r.map(ALUMINIUM, sharp) - known).mean() for r in (renderer, finer))
    assert after < 0.5 * before


def test_a_resolution_that_is_sharp_beyond_the_highest_phonon_needs_no_fine_mesh() -> None:
    physics = physics_of(powder_case())
    sharp = replace(WIDE, energy_fwhm=4.5, end_fwhm=0.2)
    renderer = physics.renderer(COLUMNS, ENERGY, 16).exact_at(ALUMINIUM, sharp)
    assert renderer.divisions < 30  # 0.5 meV in the last channel alone would ask for the finest, 40
    known = physics.renderer(COLUMNS, ENERGY, 150).map(ALUMINIUM, sharp)
    off = renderer.map(ALUMINIUM, sharp) - known
    assert np.sqrt((off**2).mean()) < 1e-3 * np.sqrt((known**2).mean())


def fitter_of(counts: float, seed: int) -> MapFitter:
    y = powder_counts(powder_case(), Q, ENERGY, ALUMINIUM, counts, seed)
    return MapFitter(powder_case(), SqeMap.of(COLUMNS, ENERGY, y, np.sqrt(np.maximum(y, 1))), points=16)


def test_slopes_of_a_fit_are_those_of_much_larger_steps() -> None:
    fitter = fitter_of(200.0, 3)
    bounds, linear = fitter.bounds(), fitter._linear
    truth = np.array([list(ALUMINIUM.values())])
    x = np.append(fitter.case.parameters.places_of(truth)[0], [3.2, 1.6])
    problem = fitter.problem(WIDE)
    solved = problem(x, linear)
    assert solved is not None
    slope = jacobian(problem, x, linear, solved, bounds)
    for k in range(len(x)):
        step = np.zeros(len(x))
        step[k] = 4e-3 * (bounds.high - bounds.low)[k]
        ends = [problem(x + way * step, linear) for way in (1, -1)]
        known = (linear.residual(ends[0]) - linear.residual(ends[1])) / (2 * step[k])
        assert np.linalg.norm(slope[k] - known) < 0.03 * np.linalg.norm(known), k


def test_the_averages_own_error_is_in_the_covariance() -> None:
    fitter = fitter_of(200.0, 4)
    start = fitter.case.parameters.values_at(np.full((1, 6), 0.45))
    fit = fitter.fit(start, WIDE)
    again = fitter.other().fit(
        fit.best[None, :6], replace(WIDE, energy_fwhm=fit.best[6], end_fwhm=fit.best[7])
    )
    # the linear forecast of where a fit with the other mesh ends, and where it ends; both far within sigma
    sigma = np.sqrt(np.diag(fit.place_covariance))
    assert (np.abs(again.places - fit.places - fit.shift) < 0.1 * sigma).all()
    assert (np.abs(fit.shift) < 0.1 * sigma).all() and np.abs(fit.shift).max() > 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_powder_of_diamond_is_averaged_over_directions(seed: int, tmp_path: Path) -> None:
    file = Path(tmp_path) / "diamond.toml"
    text = (Path(__file__).parents[2] / "models/phonon-fcc/model.toml").read_text()
    file.write_text(text.replace('lattice = "fcc"', 'lattice = "diamond"'))
    case = read_case(file)
    values = dict.fromkeys(ALUMINIUM, 0.0) | {"L1": 60.0 + seed, "T1": 6.0, "L2": 4.0, "T2": 1.0}
    physics = physics_of(case)
    many, few = (physics.renderer(COLUMNS[::4], ENERGY, n) for n in (60, 3))
    exact = few.exact_at(values, WIDE)
    known = many.map(values, WIDE)
    before, after = (np.abs(r.map(values, WIDE) - known).mean() for r in (few, exact))
    assert after < 0.3 * before
    assert few.other() is None
