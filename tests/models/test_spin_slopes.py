"""Derivatives of a map of spin waves by couplings and widths, against small differences of the maps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from streamproc.models.excitations.lswt.errors import NotAMinimum
from streamproc.models.excitations.lswt.waves import SpinWaves
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.descent import jacobian
from streamproc.models.excitations.maps.example import example_case, simulated_counts
from streamproc.models.excitations.maps.fit import MapFitter
from streamproc.models.excitations.maps.fitted import FitSettings
from streamproc.models.excitations.maps.joint_problem import AllMaps, Parts
from streamproc.models.excitations.maps.noise import variance_per_intensity
from streamproc.models.excitations.maps.refine import refine_map
from streamproc.models.excitations.maps.render import Renderer, deposit
from streamproc.models.excitations.maps.widths import Widths
from streamproc.models.excitations.spinmodel.case import SpinCase, case_of
from streamproc.models.excitations.spinmodel.order import in_magnetic_cell
from streamproc.models.excitations.spinmodel.structure import Bond, Coupling, Lattice, OnSite, Site, SpinModel

Array = npt.NDArray[np.float64]

TRUTH = {
    "magnon-square": {"J": 0.23, "J2": 0.013, "D": -0.0014},
    "magnon-chain": {"J": 0.19, "D": -0.0007},
    "magnon-honeycomb": {"J": -0.07, "J2": -0.002, "DM": 0.006, "D": -0.0014},
}
ENERGY = np.linspace(0.15, 1.0, 60)
PATH = np.linspace([0.75, 0.25, 0.1], [0.2, 0.6, 0.9], 40)
FITTED = ("energy_fwhm", "end_fwhm", "damping_fwhm", "q_fwhm")
WIDE = Widths(0.06, 0.035, 1.0, 0.015, 0.03, 0.05, 0.01)
SMALL = 1e-8
"""A mode that crosses from one cell of a grid to the next has a kink there: few do on so small a step."""


def off(found: Array, known: Array) -> float:
    return float(np.linalg.norm(found - known) / np.linalg.norm(known))


def powder() -> SpinCase:
    content = example_case("magnon-chain").file.model_dump(mode="json", exclude_none=True)
    content["q"] = {"powder": [0.3, 3.0], "columns": 16}
    content["measurement"]["q_axes"] = [[1, 0, 0]]
    return case_of(content, Path("powder"))


def drawn_differences(renderer: Renderer, values: dict[str, float], name: str, size: float) -> Array:
    up, down = (renderer.map(values | {name: values[name] + way * size}, WIDE) for way in (1, -1))
    return (up - down) / (2 * size)


@pytest.mark.parametrize("name", [*TRUTH, "powder"])
def test_slopes_of_a_map_are_differences(name: str) -> None:
    case = powder() if name == "powder" else example_case(name)
    values = TRUTH["magnon-chain" if name == "powder" else name]
    q = np.linspace([0.4, 0, 0], [2.5, 0, 0], 8) if name == "powder" else PATH
    renderer = Renderer(case, q, ENERGY, 10)
    found, beside = renderer.slopes(values, WIDE, FITTED)
    assert found.shape == (len(values) + 4, len(q), 60) and beside.shape == (len(values) + 4, 0, len(q), 60)
    for k, coupling in enumerate(values):
        assert off(found[k], drawn_differences(renderer, values, coupling, SMALL)) < 1e-4, coupling
    for k, width in enumerate(FITTED, start=len(values)):
        size = 1e-5
        ends = [
            renderer.map(values, replace(WIDE, **{width: getattr(WIDE, width) + way * size}))
            for way in (1, -1)
        ]
        assert off(found[k], (ends[0] - ends[1]) / (2 * size)) < 0.02, width


def test_slopes_follow_the_order_of_the_values() -> None:
    values = TRUTH["magnon-square"]
    renderer = Renderer(example_case(), PATH, ENERGY, 10)
    known = renderer.slopes(values, WIDE, ())[0]
    turned = renderer.slopes(dict(reversed(values.items())), WIDE, ())[0]
    assert np.allclose(turned[::-1], known, rtol=1e-12)


def triangle() -> SpinModel:
    """Spins at 120 degrees with an easy plane: nothing is real, and no block is like another."""
    cell = Lattice(5.0, 5.0, 12.0, gamma=120.0)
    bonds = [Bond(0, 0, (1, 0, 0)), Bond(0, 0, (0, 1, 0)), Bond(0, 0, (1, 1, 0))]
    site = Site("M", (0.0, 0.0, 0.0), 0.5, (1.0, 0.0, 0.0), form_factor=(0.5, 10.0, 0.3, 5.0, 0.2, 1.0, 0.0))
    plane = OnSite("A", (0,), np.diag([0.0, 0.0, 1.0]))
    model = SpinModel(cell, (site,), (Coupling.exchange("J", bonds),), (plane,))
    return in_magnetic_cell(model, (1 / 3, 1 / 3, 0.0), (0.0, 0.0, 1.0))


def laid(waves: SpinWaves, values: dict[str, float], columns: int, step: float, points: int) -> Array:
    energy, intensity = waves.neutron(values)
    return deposit(
        energy.reshape(columns, -1), intensity.reshape(columns, -1), step * np.arange(points, dtype=float)
    )


def test_slopes_of_a_structure_that_is_not_collinear_are_differences() -> None:
    q = np.random.default_rng(5).uniform(0.04, 0.29, (60, 3))
    waves, values = SpinWaves(triangle(), q), {"A": 0.3, "J": 4.0}
    found = waves.laid_slopes(values, 0.1, 120, 20)
    for k, name in enumerate(values):
        up, down = (laid(waves, values | {name: values[name] + way * SMALL}, 20, 0.1, 120) for way in (1, -1))
        assert off(found[k], (up - down) / (2 * SMALL)) < 1e-4, name


def test_modes_that_are_alike_change_together() -> None:
    """At the Dirac point two modes cross, and DM parts them: what is laid has a slope that each has not."""
    case, values = example_case("magnon-honeycomb"), TRUTH["magnon-honeycomb"] | {"DM": 0.0}
    found = []
    for away in (0.0, 1e-11, 1e-9, 1e-7, 1e-5):
        waves = SpinWaves(case.model, np.array([[1 / 3 + away, 1 / 3, 0.4], [4 / 3, 1 / 3 + away, 0.2]]))
        found.append(waves.laid_slopes(values, 0.01, 120, 2))
        gap = np.diff(waves.energies(values))
        assert gap.max() < 2 * away + 1e-9
    for other in found[1:]:
        assert off(other, found[0]) < 1e-3
    for k, name in enumerate(values):
        waves, size = SpinWaves(case.model, np.array([[1 / 3, 1 / 3, 0.4], [4 / 3, 1 / 3, 0.2]])), 1e-6
        up, down = (laid(waves, values | {name: values[name] + w * size}, 2, 0.01, 120) for w in (1, -1))
        assert np.abs(found[0][k] - (up - down) / (2 * size)).max() < 1e-3 * np.abs(found[0][0]).max(), name


def test_a_mode_at_zero_energy_leaves_no_slope_that_is_not_finite() -> None:
    waves = SpinWaves(example_case().model, np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0], [0.4, 0.5, 0.0]]))
    found = waves.laid_slopes({"J": 0.2, "J2": 0.01, "D": 0.0}, 0.01, 120, 3)
    assert np.isfinite(found).all() and not found[:, :2].any() and found[:, 2].any()


def test_where_a_step_of_the_wave_vectors_leads_out_of_the_order_differences_tell(monkeypatch) -> None:
    renderer = Renderer(example_case(), PATH, ENERGY, 10)
    values, own = TRUTH["magnon-square"], renderer._laid

    def unstable(values, widths, lines):
        if widths.q_fwhm > WIDE.q_fwhm:
            raise NotAMinimum("there")
        return own(values, widths, lines)

    monkeypatch.setattr(renderer, "_laid", unstable)
    assert renderer.slopes(values, WIDE, FITTED) is None
    assert renderer.slopes(values, WIDE, FITTED[:3]) is not None


@pytest.mark.parametrize("masked", [False, True])
def test_slopes_of_a_fits_residuals_are_differences_with_scales_and_background_solved(masked: bool) -> None:
    fitter, x = fitter_of("magnon-honeycomb", 60.0, 3, masked)
    problem, linear, bounds = fitter.problem(WIDE), fitter._linear, fitter.bounds()
    solved = problem(x, linear)
    found = jacobian(problem, x, linear, solved, bounds)
    assert np.array_equal(found, problem.slopes(x, linear, solved))
    for k, size in enumerate([SMALL] * 4 + [1e-5] * (len(x) - 4)):
        ends = [problem(x + way * size * np.eye(len(x))[k], linear) for way in (1, -1)]
        known = (linear.residual(ends[0]) - linear.residual(ends[1])) / (2 * size)
        assert off(found[k], known) < (1e-4 if k < 4 else 0.02), k


def test_slopes_of_several_maps_at_once_are_differences() -> None:
    case = example_case("magnon-chain")
    members = []
    for seed in range(2):
        measured = measured_of("magnon-chain", 60.0, seed)
        start = np.array(list(TRUTH["magnon-chain"].values()))
        members.append(refine_map(case, measured, Widths(0.06, 0.03, 1.0, 0.01, 0.03), start))
    whole = AllMaps(members)
    linear = Parts(whole._linears, whole.noise)
    x = np.concatenate([members[0].fit.places, members[1].fit.places[whole.couplings :]])
    solved = whole(x, linear)
    found = whole.slopes(x, linear, solved)
    assert found is not None and found.shape == (len(x), len(linear.residual(solved)))
    for k in range(len(x)):
        size = SMALL if k < whole.couplings else 1e-5
        ends = [whole(x + way * size * np.eye(len(x))[k], linear) for way in (1, -1)]
        known = (linear.residual(ends[0]) - linear.residual(ends[1])) / (2 * size)
        assert off(found[k], known) < (1e-3 if k < whole.couplings else 0.02), k


def test_a_fit_by_slopes_ends_where_one_by_differences_does(monkeypatch) -> None:
    fitter, x = fitter_of("magnon-square", 60.0, 11)
    start = fitter.case.parameters.values_at(x[None, :3])
    fits = []
    for _ in range(2):
        fitter = fitter.until(1e-7)
        fits.append(fitter.fit(start, Widths(0.06, 0.03, 1.0, 0.01, 0.03)))
        monkeypatch.setattr(Renderer, "slopes", lambda *_: None)
    sigma = np.sqrt(np.diag(fits[0].covariance))
    assert (np.abs(fits[0].best - fits[1].best) < 0.1 * sigma).all()
    assert np.allclose(np.sqrt(np.diag(fits[1].covariance)), sigma, rtol=0.02)
    assert fits[0].chi2_reduced == pytest.approx(fits[1].chi2_reduced, rel=1e-5)


def measured_of(name: str, counts: float, seed: int, masked: bool = False) -> SqeMap:
    y = simulated_counts(example_case(name), PATH, ENERGY, TRUTH[name], counts, seed, 1.0)
    there = np.ones(y.shape, bool)
    there[3:6, 20:40] = not masked
    return SqeMap.of(PATH, ENERGY, y, np.sqrt(np.maximum(y, 1)), there)


def fitter_of(name: str, counts: float, seed: int, masked: bool = False) -> tuple[MapFitter, Array]:
    case, measured = example_case(name), measured_of(name, counts, seed, masked)
    fitter = MapFitter(case, measured, FitSettings.of(case), 10, variance_per_intensity(measured, 220))
    places = case.parameters.places_of(np.array([[TRUTH[name][n] for n in case.parameters.free]]))[0]
    return fitter, np.concatenate([places + 0.01, [getattr(WIDE, w) for w in fitter.settings.widths]])
