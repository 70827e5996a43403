"""Derivatives of a powder's map by force constants and widths, against small differences of the maps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from streamproc.models.excitations.lattice.case import case_of
from streamproc.models.excitations.lattice.crystal import cubic
from streamproc.models.excitations.lattice.density import (
    laid_out,
    mean_square_A2,
    smeared,
)
from streamproc.models.excitations.lattice.density_slopes import (
    laid_out_slopes,
    mean_square_slopes_A2,
    smeared_slopes,
)
from streamproc.models.excitations.lattice.powder_mesh import PowderMesh
from streamproc.models.excitations.lattice.several import several_phonons, several_slopes
from streamproc.models.excitations.mapmodel.case import MapCase
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.descent import jacobian
from streamproc.models.excitations.maps.example_powder import ALUMINIUM, powder_case, powder_counts
from streamproc.models.excitations.maps.fit import MapFitter
from streamproc.models.excitations.maps.noise import variance_per_intensity
from streamproc.models.excitations.maps.widths import Widths

Array = npt.NDArray[np.float64]

ENERGY, Q = np.arange(8.5, 48.0, 1.0), np.arange(2.0, 8.1, 0.4)
COLUMNS = np.stack([Q, 0 * Q, 0 * Q], 1)
WIDE = Widths(3.2, 1.6, 52.0, kT=0.4)
FORCES = np.array([20.0, 1.0, 3.0, 0.5])
STEP_MEV, U2_A2 = 0.2, 0.004
SMALL = 1e-7
"""A mode that crosses from one cell of a grid to the next has a kink there: few do on so small a step."""


def off(found: Array, known: Array) -> float:
    return float(np.linalg.norm(found - known) / np.linalg.norm(known))


@pytest.mark.parametrize("kind", ["sc", "bcc", "fcc"])
def test_slopes_of_a_mesh_are_differences_where_modes_are_alike_too(kind: str) -> None:
    mesh = PowderMesh(cubic(kind, 4.0, 27.0), 2, 4.0, np.array([2.5, 6.0]), 0.3, 12)
    modes = mesh.modes(FORCES)
    gaps = np.diff(np.sort(modes.energy_meV, 1), axis=1)
    assert (gaps < 1e-9).any()  # on the threefold axes
    laid = mesh.laid(modes, U2_A2, STEP_MEV, 300)
    found = mesh.slopes(modes, U2_A2, STEP_MEV, laid)
    for k, step in enumerate(SMALL * np.eye(4)):
        up, down = mesh.modes(FORCES + step), mesh.modes(FORCES - step)
        known = [mesh.laid(m, U2_A2, STEP_MEV, 300) for m in (up, down)]
        assert off(found.forces[k], (known[0] - known[1]) / (2 * SMALL)) < 1e-5, k
        apart = np.sort(up.energy_meV, 1) - np.sort(down.energy_meV, 1)
        single = (gaps > 1e-3).all(1)
        order = np.argsort(modes.energy_meV, 1)
        own = np.take_along_axis(found.energy[k], order, 1)
        assert off(own[single], apart[single] / (2 * SMALL)) < 1e-5, k
    more, less = (mesh.laid(modes, U2_A2 + d, STEP_MEV, 300) for d in (SMALL, -SMALL))
    assert off(found.displacement, (more - less) / (2 * SMALL)) < 1e-5


@pytest.mark.parametrize("temperature_K", [0.0, 5.0, 300.0])
def test_slopes_of_what_modes_sum_to_are_differences(temperature_K: float) -> None:
    mesh = PowderMesh(cubic("fcc", 4.0, 27.0), 2, 4.0, Q, 0.4, 12)
    modes = mesh.modes(FORCES)
    energy, share, axis = modes.energy_meV, mesh.shares, np.arange(0.0, 50.0, 0.5)
    laid = mesh.laid(modes, U2_A2, STEP_MEV, 300)
    moved = mesh.slopes(modes, U2_A2, STEP_MEV, laid).energy

    def of(e: Array) -> tuple[Array, ...]:
        u2, density = mean_square_A2(e, 27.0, temperature_K, share), smeared(e, axis, 1.5, mesh.weights)
        more = several_phonons(density, u2, temperature_K, ENERGY, Q)
        return np.array([u2]), laid_out(e, share / e, 0.0, STEP_MEV, 300), density.states, more

    density, u2 = smeared(energy, axis, 1.5, mesh.weights), float(of(energy)[0][0])
    u2_slopes = mean_square_slopes_A2(energy, moved, 27.0, temperature_K, share)
    states = smeared_slopes(energy, moved, density, 1.5, mesh.weights)
    found = (
        u2_slopes[:, None], laid_out_slopes(energy, share / energy, moved, -share / energy**2, STEP_MEV, 300),
        states, several_slopes(density, states, u2, u2_slopes, temperature_K, ENERGY, Q),
    )  # fmt: skip
    for k in range(len(FORCES)):
        ends = of(energy + SMALL * moved[k]), of(energy - SMALL * moved[k])
        for what, (up, down, own) in enumerate(zip(*ends, found, strict=True)):
            assert off(own[k], (up - down) / (2 * SMALL)) < 1e-5, (k, what)


@pytest.mark.parametrize("kT_meV", [0.4, 26.0])
def test_slopes_of_a_fit_are_differences_of_its_residuals(kT_meV: float) -> None:
    widths = replace(WIDE, kT=kT_meV)
    fitter, x = fitter_of(200.0, 3)
    problem, bounds = fitter.problem(widths), fitter.bounds()
    linear = fitter.counted(problem(x, fitter._linear))
    solved = problem(x, linear)
    found = problem.slopes(x, linear, solved)
    assert np.array_equal(found, jacobian(problem, x, linear, solved, bounds))
    for k, size in enumerate([1e-8] * 6 + [1e-5] * 2):
        ends = [problem(x + way * size * np.eye(len(x))[k], linear) for way in (1, -1)]
        known = (linear.residual(ends[0]) - linear.residual(ends[1])) / (2 * size)
        assert off(found[k], known) < 1e-4, k
    fixed = replace(bounds, moving=np.arange(len(x)) != 2)
    assert not jacobian(problem, x, linear, solved, fixed)[2].any()


def test_tied_and_fixed_force_constants_move_as_the_free_ones_do() -> None:
    content = powder_case().file.model_dump(mode="json", exclude_none=True)
    content["parameters"]["T3"] = {"of": "T2", "factor": 0.5}
    content["parameters"]["L3"] = {"value": -1.3}
    case = case_of(content, Path("tied"))
    fitter, _ = fitter_of(200.0, 3, case)
    x = np.append(np.full(4, 0.45), [3.2, 1.6])
    problem, linear = fitter.problem(WIDE), fitter._linear
    found = problem.slopes(x, linear, problem(x, linear))
    assert found.shape[0] == 6
    for k in range(4):
        ends = [problem(x + way * 1e-8 * np.eye(6)[k], linear) for way in (1, -1)]
        assert off(found[k], (linear.residual(ends[0]) - linear.residual(ends[1])) / 2e-8) < 1e-4, k


def fitter_of(counts: float, seed: int, case: MapCase | None = None) -> tuple[MapFitter, Array]:
    own, case = powder_case(), case or powder_case()
    y = powder_counts(own, Q, ENERGY, ALUMINIUM, counts, seed)
    measured = SqeMap.of(COLUMNS, ENERGY, y, np.sqrt(np.maximum(y, 1)))
    fitter = MapFitter(case, measured, points=16, per_intensity=variance_per_intensity(measured, 220))
    places = own.parameters.places_of(np.array([list(ALUMINIUM.values())]))[0]
    return fitter, np.append(places + 0.01, [3.2, 1.6])
