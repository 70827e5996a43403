"""Lines and their derivatives: against finite differences, the simulator and direct numerical integration."""

from __future__ import annotations

import numpy as np
import pytest
from streamproc.models.powder.fit.cells import cell_map, cell_names, volume_of
from streamproc.models.powder.fit.draw import draw, quadrature
from streamproc.models.powder.fit.kinds import OWN, SHARED, own_index, shared_index
from streamproc.models.powder.fit.lines import Beam, Optics
from streamproc.models.powder.fit.problem import join
from streamproc.models.powder.fit.profile import NARROW, add_core, add_narrow_core
from streamproc.models.powder.fit.radiation import cu_k_alpha
from streamproc.models.powder.fit.reference import PhaseLines

from streamproc.errors import ConfigurationError

CU = 1.5405929

CELLS = {
    "cubic": (4.2, 4.2, 4.2, 90, 90, 90),
    "tetragonal": (4.2, 4.2, 6.1, 90, 90, 90),
    "hexagonal": (4.2, 4.2, 6.1, 90, 90, 120),
    "trigonal": (4.9, 4.9, 4.9, 57, 57, 57),
    "orthorhombic": (4.2, 5.3, 6.1, 90, 90, 90),
    "monoclinic": (4.2, 5.3, 6.1, 90, 103, 90),
    "triclinic": (4.2, 5.3, 6.1, 83, 103, 97),
}
FREE = {
    "cubic": ("a",), "tetragonal": ("a", "c"), "hexagonal": ("a", "c"), "trigonal": ("a", "alpha"),
    "orthorhombic": ("a", "b", "c"), "monoclinic": ("a", "b", "c", "beta"),
    "triclinic": ("a", "b", "c", "alpha", "beta", "gamma"),
}  # fmt: skip


def phase(system: str = "cubic", seed: int = 0, n: int = 9) -> PhaseLines:
    rng = np.random.default_rng(seed)
    cell = np.array(CELLS[system], float)
    hkl = np.array(
        [(1, 0, 0), (0, 1, 1), (1, 1, 1), (2, 0, 1), (1, -1, 2), (0, 2, 2), (3, 1, 0), (2, -2, 1), (0, 0, 3)]
    )
    cosine = rng.uniform(0, 1, 2 * n)
    return PhaseLines(
        system, system, cell, cell_names(system, cell), cell_map(system, cell), hkl[:n].astype(float),
        rng.uniform(0.5, 2.0, n), cosine, rng.integers(1, 4, 2 * n).astype(float), np.arange(0, 2 * n + 1, 2),
    )  # fmt: skip


def beam(lines: int = 2) -> Beam:
    if lines == 4:
        return Beam(*cu_k_alpha().arrays())
    return Beam(
        np.array([CU, 1.5444274])[:lines], np.ones(lines), np.zeros(lines), np.arange(lines).astype(float)
    )


def values(**changes: float) -> np.ndarray:
    theta = np.zeros(len(SHARED) + len(OWN))
    start = {
        "width": np.log(0.15), "ka2_ratio": 0.5, "polarisation": 0.8, "inverse_size": 1 / 60, "microstrain": 5e-4,
        "log_march": 0.2, "delta_b": 0.3,
    }  # fmt: skip
    for name, value in (start | changes).items():
        theta[shared_index(name) if name in SHARED else own_index(0, name)] = value
    return theta


EDGES = np.concatenate([np.arange(15, 60, 0.03), np.arange(60, 130, 0.05)])
LO, HI = EDGES[:-1], EDGES[1:]
NODES = quadrature()

EVERYTHING = {
    "zero_deg": 0.02, "displacement_mm": 0.1, "shift2_mm": 0.05, "u_deg2": 0.01, "v_deg2": -0.006, "x_deg": 0.02,
    "y_deg": 0.03, "absorption": 0.4, "cell0": 0.002,
}  # fmt: skip

STEP = {
    "u_deg2": 1e-4, "v_deg2": 1e-4, "x_deg": 1e-4, "y_deg": 1e-4, "axial": 2e-4, "inverse_size": 2e-5,
    "microstrain": 1e-6, "zero_deg": 3e-4, "width": 2e-3,
}  # fmt: skip


def check(
    theta: np.ndarray, one: PhaseLines, optics: Optics, places, tolerance: float, lines: int = 2
) -> None:
    args = (join([one], beam(lines), optics), beam(lines), optics, NODES, LO, HI)
    columns = np.arange(theta.size)
    _, jacobian = draw(theta, *args, columns, np.array([1.7]))
    for place in places:
        name = (*SHARED, *OWN)[place]
        step = STEP.get(name, 2e-6 if name.startswith("cell") and len(one.free[int(name[-1])]) == 1 else 1e-3)
        up, down = theta.copy(), theta.copy()
        up[place] += step
        down[place] -= step
        numeric = 1.7 * (draw(up, *args)[0] - draw(down, *args)[0])[0] / (2 * step)
        assert np.abs(numeric).max() > 0, name
        # single bins where a tail ends or the Gaussian is dropped may jump; all others must agree
        wrong = np.sort(np.abs(jacobian[place] - numeric))[int(0.97 * numeric.size)]
        assert wrong < tolerance * np.abs(numeric).max(), (name, wrong / np.abs(numeric).max())


@pytest.mark.parametrize("geometry", [0, 1])
def test_derivatives_of_every_parameter_equal_finite_differences(geometry: int) -> None:
    one = phase("triclinic")
    places = [k for k, n in enumerate((*SHARED, *OWN)) if n not in ("axial", "equatorial_deg", "tube_tails")]
    if not geometry:  # absorption is a capillary's
        places.remove(shared_index("absorption"))
    check(values(**EVERYTHING), one, Optics(geometry, 180.0, 1, 1e-9, 0.3), places, 2e-3)


@pytest.mark.parametrize("system", CELLS)
def test_derivatives_by_the_free_cell_parameters_of_every_crystal_system(system: str) -> None:
    one = phase(system)
    assert one.free == FREE[system]
    places = [own_index(0, f"cell{k}") for k in range(len(one.free))]
    check(values(**EVERYTHING), one, Optics(0, 180.0, 1, 1e-9, 0.3), places, 1e-3)


def test_derivatives_with_axial_divergence_flat_specimen_and_four_emission_lines() -> None:
    # the aberrations' slopes leave out that their extent changes with the angle, hence the wider margin
    places = [k for k, n in enumerate((*SHARED, *OWN)) if n not in ("absorption",)]
    theta = values(**EVERYTHING, axial=0.04, equatorial_deg=0.8, tube_tails=0.05)
    check(theta, phase("triclinic"), Optics(0, 180.0, 1, 1e-9, 0.3), places, 2e-2, lines=4)


def test_data_without_lorentz_factor_have_none() -> None:
    one = phase("cubic")
    theta = values(polarisation=0.0, ka2_ratio=0.0, log_march=0.0, delta_b=0.0)
    optics = Optics(0, 180.0, 0, 1e-9, 0.3)
    drawn, _ = draw(theta, join([one], beam(1), optics), beam(1), optics, NODES, LO, HI)
    seen = (drawn[0] * (HI - LO)).sum()
    assert seen == pytest.approx(one.strength.sum(), rel=0.01)


@pytest.mark.parametrize("system", CELLS)
def test_lines_lie_where_the_inverse_of_the_direct_metric_puts_them(system: str) -> None:
    one = phase(system, n=1)
    cell = one.cell.copy()
    cell[:3] *= 1.003
    a, b, c = cell[:3]
    ca, cb, cg = np.cos(np.deg2rad(cell[3:]))
    direct = np.array(
        [[a * a, a * b * cg, a * c * cb], [a * b * cg, b * b, b * c * ca], [a * c * cb, b * c * ca, c * c]]
    )
    assert volume_of(cell) == pytest.approx(np.sqrt(np.linalg.det(direct)))
    expected = 2 * np.rad2deg(np.arcsin(CU / 2 * np.sqrt(one.hkl[0] @ np.linalg.inv(direct) @ one.hkl[0])))
    optics = Optics(0, 180.0, 1, 1e-9, 0.3)
    moved = {f"cell{k}": 0.003 for k, name in enumerate(one.free) if len(name) == 1}
    edges = np.linspace(expected - 1, expected + 1, 2001)
    theta = values(ka2_ratio=0.0, **moved)
    drawn, _ = draw(theta, join([one], beam(1), optics), beam(1), optics, NODES, edges[:-1], edges[1:])
    middle = (edges[1:] + edges[:-1]) / 2
    centroid = (middle * drawn[0]).sum() / drawn[0].sum()
    assert centroid == pytest.approx(expected, abs=1e-4)


def one_line(two_theta: float) -> PhaseLines:
    spacing = CU / 2 / np.sin(np.deg2rad(two_theta / 2))
    cell = np.array([spacing, spacing, spacing, 90.0, 90, 90])
    return PhaseLines(
        "x", "cubic", cell, ("a",), cell_map("cubic", cell), np.array([[1.0, 0, 0]]), np.ones(1), np.zeros(0),
        np.zeros(0), np.zeros(2, np.int64),
    )  # fmt: skip


def cone_angles(two_theta: float, axial: float) -> tuple[np.ndarray, np.ndarray]:
    """Parallel beam: rays from every height of the specimen to every height of the slit."""
    heights = (np.arange(200) + 0.5) / 200 * 2 - 1
    apart = axial * (heights[:, None] - heights[None, :]).ravel()
    # a cone of half-angle 2theta meets a detector at height z where cos(2phi) = cos(2theta) sqrt(1 + z^2)
    at = np.rad2deg(np.arccos(np.cos(np.deg2rad(two_theta)) * np.sqrt(1 + apart**2)))
    return at, np.ones(at.size)


def soller_angles(two_theta: float, axial: float) -> tuple[np.ndarray, np.ndarray]:
    """Bragg-Brentano: the angle between ray vectors with axial parts in front of and behind the specimen."""
    t = (np.arange(200) + 0.5) / 200 * 2 - 1
    before, behind = np.repeat(axial * t, t.size), np.tile(axial * t, t.size)
    weight = np.repeat(1 - np.abs(t), t.size) * np.tile(1 - np.abs(t), t.size)
    # cos(2theta) = cos a cos b cos(2phi) + sin a sin b, 2phi the angle the goniometer shows
    inner = np.cos(np.deg2rad(two_theta)) - np.sin(before) * np.sin(behind)
    return np.rad2deg(np.arccos(inner / (np.cos(before) * np.cos(behind)))), weight


@pytest.mark.parametrize(("two_theta", "axial"), [(22.0, 0.03), (22.0, 0.04), (45.0, 0.05), (140.0, 0.05)])
@pytest.mark.parametrize("geometry", [0, 1])
def test_axial_divergence_equals_the_sum_over_rays(two_theta, axial, geometry) -> None:
    """Independent: exact angles of very many rays, by brute force."""
    optics = Optics(geometry, 180.0, 0, 1e-9, 0.3)
    edges = np.arange(two_theta - 1.5, two_theta + 1.5, 0.004)
    lo, hi = edges[:-1], edges[1:]
    args = (join([one_line(two_theta)], beam(1), optics), beam(1), optics, NODES)
    theta = values(
        ka2_ratio=0.0, polarisation=0.0, log_march=0.0, delta_b=0.0, microstrain=0.0, inverse_size=0.002
    )
    theta[shared_index("width")] = np.log(0.06)
    drawn, _ = draw(values_with(theta, axial=axial), *args, lo, hi)
    at, weight = (cone_angles if geometry else soller_angles)(two_theta, axial)
    shifts, place = np.unique(np.round(at - two_theta, 4), return_inverse=True)
    weights = np.bincount(place, weight)
    expected = np.zeros(lo.size)
    for shift, share in zip(shifts, weights / weights.sum(), strict=True):
        expected += share * draw(values_with(theta, zero_deg=shift), *args, lo, hi)[0][0]
    assert np.abs(drawn[0] - expected).max() < 0.01 * expected.max()
    middle = (lo + hi) / 2
    near = np.abs(middle - two_theta) < 1.2

    def centroid(y: np.ndarray) -> float:
        return float((middle * y)[near].sum() / y[near].sum())

    plain, _ = draw(theta, *args, lo, hi)
    shift = centroid(expected) - centroid(plain[0])
    assert centroid(drawn[0]) - centroid(plain[0]) == pytest.approx(shift, rel=0.06, abs=3e-4)


def values_with(theta: np.ndarray, **changes: float) -> np.ndarray:
    out = theta.copy()
    for name, value in changes.items():
        out[shared_index(name)] = value
    return out


def test_a_crystal_system_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no crystal system 'quasi'"):
        cell_names("quasi", np.array(CELLS["cubic"], float))


def test_a_second_line_that_is_not_there_has_a_slope() -> None:
    # where the ratio rests on zero the fit must know that the line would come back
    one, place = phase("cubic"), shared_index("ka2_ratio")
    optics = Optics(0, 180.0, 1, 1e-9, 0.3)
    args = (join([one], beam(), optics), beam(), optics, NODES, LO, HI)
    theta = values(ka2_ratio=0.0)
    _, jacobian = draw(theta, *args, np.arange(theta.size), np.array([1.7]))
    up, step = theta.copy(), 1e-5
    up[place] = step
    numeric = 1.7 * (draw(up, *args)[0] - draw(theta, *args)[0])[0] / step
    assert np.abs(jacobian[place] - numeric).max() < 1e-3 * np.abs(numeric).max()


@pytest.mark.parametrize("slopes", [True, False])
@pytest.mark.parametrize(("f", "eta", "shift"), [(0.11, 0.0, 0.0), (0.12, 0.7, 0.013), (0.4, 0.3, -0.9)])
def test_narrow_bins_done_several_at_once_give_what_they_give_one_by_one(slopes, f, eta, shift) -> None:
    edges = np.linspace(29.0, 31.0, 101)
    keep = np.abs(edges[:-1] - 29.7) > 0.05  # with a gap
    lo, hi = edges[:-1][keep], edges[1:][keep]
    assert (hi - lo).max() <= NARROW * f
    args = 30.0 + shift, f, eta, 0.8, 0.3, -0.2, slopes
    one_by_one, at_once = np.zeros((7, lo.size)), np.zeros((7, lo.size))
    add_core(lo, hi, 2, lo.size - 3, *args, one_by_one)
    add_narrow_core(lo, hi, 2, lo.size - 3, *args, at_once)
    assert one_by_one[0, 2:-3].min() > 0
    assert not at_once[:, :2].any()
    assert not at_once[:, -3:].any()
    scale = np.abs(one_by_one).max(axis=1, keepdims=True)
    np.testing.assert_allclose(
        at_once / np.maximum(scale, 1e-300), one_by_one / np.maximum(scale, 1e-300), atol=1e-9
    )
