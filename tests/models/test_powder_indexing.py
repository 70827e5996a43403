"""Indexing against cells whose spacings are written out, with impurities, shifts, and lines of no cell."""

from __future__ import annotations

import time

import numpy as np
import pytest
from streamproc.models.powder.indexing import NONE, StructureHint, index_lines
from streamproc.models.powder.indexing.calibration import Calibration, chances_of
from streamproc.models.powder.indexing.evidence import evaluate
from streamproc.models.powder.indexing.forms import SYSTEMS, allowed, cell_of, coefficients, parameters_of
from streamproc.models.powder.indexing.index import _observed
from streamproc.models.powder.indexing.lattice import (
    metric_of,
    primitive_metric,
    same_lattice,
    signature,
    superlattice_index,
)
from streamproc.models.powder.indexing.merit import merit
from streamproc.models.powder.indexing.observed import Observed
from streamproc.models.powder.indexing.weighing import weigh

from streamproc.errors import FrameFailed

WAVELENGTH_A = 1.5406
CELLS = {
    "cubic P": (4.1568, 4.1568, 4.1568, 90.0, 90.0, 90.0),
    "cubic F": (5.4309, 5.4309, 5.4309, 90.0, 90.0, 90.0),
    "cubic I": (3.1652, 3.1652, 3.1652, 90.0, 90.0, 90.0),
    "hexagonal P": (3.2499, 3.2499, 5.2066, 90.0, 90.0, 120.0),
    "hexagonal R": (4.7592, 4.7592, 12.9918, 90.0, 90.0, 120.0),
    "tetragonal P": (4.5937, 4.5937, 2.9587, 90.0, 90.0, 90.0),
    "tetragonal I": (3.7852, 3.7852, 9.5139, 90.0, 90.0, 90.0),
    "orthorhombic P": (4.9614, 7.9671, 5.7404, 90.0, 90.0, 90.0),
    "orthorhombic C": (5.1, 8.3, 4.6, 90.0, 90.0, 90.0),
    "monoclinic P": (5.1505, 5.2116, 5.3173, 90.0, 99.23, 90.0),
    "monoclinic C": (9.76, 8.93, 5.25, 90.0, 105.8, 90.0),
}


def spacings(cell: tuple[float, ...], centring: str, d_min: float) -> np.ndarray:
    """Every spacing of a cell, from the closed form of the triclinic system (any textbook), by falling d."""
    a, b, c = cell[:3]
    ca, cb, cg = np.cos(np.deg2rad(cell[3:]))
    volume = a * b * c * np.sqrt(1 - ca**2 - cb**2 - cg**2 + 2 * ca * cb * cg)
    sa, sb, sg = np.sin(np.deg2rad(cell[3:]))
    found = set()
    for h in range(-16, 17):
        for k in range(-16, 17):
            for ell in range(17):
                if (h, k, ell) == (0, 0, 0):
                    continue
                ok = {
                    "P": True, "I": (h + k + ell) % 2 == 0, "C": (h + k) % 2 == 0,
                    "F": h % 2 == k % 2 == ell % 2, "R": (-h + k + ell) % 3 == 0,
                }[centring]  # fmt: skip
                s = (
                    (b * c * sa * h) ** 2 + (a * c * sb * k) ** 2 + (a * b * sg * ell) ** 2
                    + 2 * a * b * c**2 * (ca * cb - cg) * h * k + 2 * a**2 * b * c * (cb * cg - ca) * k * ell
                    + 2 * a * b**2 * c * (ca * cg - cb) * h * ell
                ) / volume**2  # fmt: skip
                if ok and s <= d_min**-2:
                    found.add(round(s**-0.5, 7))
    return np.sort(np.array(list(found)))[::-1]


def lines(name: str, most: int = 24, zero: float = 0.0, error: float = 0.0, seed: int = 0) -> np.ndarray:
    d = spacings(CELLS[name], name[-1], 0.78)
    x = np.rad2deg(2 * np.arcsin(WAVELENGTH_A / 2 / d))
    x = x[np.concatenate([[True], np.diff(x) > 0.07])][:most]
    return x + zero + error * np.random.default_rng(seed).standard_normal(x.size)


def index(x: np.ndarray, **more: object) -> StructureHint:
    return index_lines(x, WAVELENGTH_A, fwhm_deg=0.1, first_deg=8.0, **{"max_s": 60.0, **more})


def assert_right(hint: StructureHint, name: str, tolerance: float = 0.001) -> None:
    best = hint.best
    assert best is not None, hint
    truth = signature(primitive_metric(np.array(CELLS[name]), name[-1]))
    assert same_lattice(signature(primitive_metric(np.array(best.cell), best.centring)), truth, tolerance), (
        best
    )
    assert max(hint.systems, key=lambda s: hint.systems[s]) == name.split()[0], hint.systems
    assert sum(hint.systems.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("name", CELLS)
def test_known_cells_are_found_from_their_spacings(name: str) -> None:
    hint = index(lines(name, error=0.005))
    assert_right(hint, name)
    assert hint.unfinished == ()
    assert hint.best.probability > 0.5


@pytest.mark.parametrize("name", ["cubic F", "hexagonal P", "orthorhombic P"])
@pytest.mark.parametrize("zero", [-0.05, 0.05])
def test_a_shifted_axis_does_not_matter_and_is_told(name: str, zero: float) -> None:
    hint = index(lines(name, zero=zero, error=0.003))
    assert_right(hint, name)
    assert hint.best.zero_deg == pytest.approx(zero, abs=0.02)


def test_a_few_lines_of_another_phase_do_not_matter() -> None:
    x = np.sort(np.concatenate([lines("tetragonal P", most=16, error=0.004), [21.77, 47.13]]))
    hint = index(x)
    assert_right(hint, "tetragonal P")
    assert hint.best.indexed >= 15


@pytest.mark.parametrize("seed", range(4))
def test_lines_anywhere_are_abstained_from(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hint = index(np.sort(rng.uniform(15, 80, 20)), max_s=30)
    assert hint.cells == ()
    assert hint.abstained
    assert hint.systems[NONE] > 0.5


@pytest.mark.parametrize("x", [[], [30.0], [20.0, 30.0, 40.0, 50.0], [30.0] * 12])
def test_too_few_lines_are_abstained_from(x: list[float]) -> None:
    hint = index_lines(x, WAVELENGTH_A)
    assert hint.systems[NONE] == 1.0
    assert "expected at least 5" in hint.abstained


@pytest.mark.parametrize(
    ("x", "more"),
    [
        ([20.0, np.nan, 30, 40, 50], {}),
        ([-5.0, 20, 30, 40, 50], {}),
        ([20.0, 30, 40, 50, 190], {}),
        ([20.0, 30, 40, 50, 60], {"sigma_deg": [0.1]}),
        ([20.0, 30, 40, 50, 60], {"fwhm_deg": 0.0}),
    ],
)
def test_what_are_no_lines_is_refused(x: list[float], more: dict) -> None:
    with pytest.raises(FrameFailed):
        index_lines(x, WAVELENGTH_A, **more)


def test_the_deadline_is_kept_and_what_was_left_undone_is_said() -> None:
    x = lines("monoclinic C", error=0.005)
    index(x)  # compile
    begin = time.monotonic()
    hint = index(x, max_s=0.3)
    assert time.monotonic() - begin < 5
    assert any("monoclinic" in note for note in hint.unfinished)


def test_the_same_lines_give_the_same_answer() -> None:
    x = lines("hexagonal R", error=0.005)
    assert index(x) == index(x[::-1])


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda s: s.name)
def test_quadratic_forms_give_the_closed_form_spacings(system) -> None:
    name = next(n for n in CELLS if n.startswith(system.name) and n.endswith("P"))
    cell = np.array(CELLS[name])
    parameters = parameters_of(system, cell)
    assert cell_of(system, parameters) == pytest.approx(cell)
    grid = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing="ij"), -1).reshape(-1, 3)
    q = coefficients(system, grid[np.any(grid != 0, axis=1)]) @ parameters
    wanted = spacings(CELLS[name], "P", 1.5)
    drawn = np.unique(np.round(q[q <= 1.5**-2] ** -0.5, 6))[::-1]
    assert drawn == pytest.approx(np.unique(np.round(wanted, 6))[::-1], abs=2e-6)


def test_figures_of_merit_are_those_of_their_definitions() -> None:
    x = lines("cubic P", most=20)
    off = np.where(np.arange(20) % 2, 0.01, -0.01)
    seen = Observed(x + off, np.full(20, 0.003), np.ones(20), WAVELENGTH_A, 8.0, 0.1, 0.07)
    fitted = evaluate(SYSTEMS[0], np.array([4.1568**-2]), "P", seen)
    assert fitted is not None
    m, f, n = merit(fitted, seen)
    assert n == 20
    possible = np.sum(np.diff(lines("cubic P", most=60)) > 0) and fitted.predicted_deg.size
    # F = N / (mean |d 2theta| N_poss): alternating errors of 0.01 degrees, every line seen
    assert f == pytest.approx(20 / (0.01 * possible), rel=0.1)
    off_q = np.mean(np.abs((2 * np.sin(np.deg2rad(x + off) / 2)) ** 2 - (2 * np.sin(np.deg2rad(x) / 2)) ** 2))
    top = (2 * np.sin(np.deg2rad(x[-1]) / 2)) ** 2
    assert m == pytest.approx(top / (2 * off_q * possible), rel=0.1)


def test_one_lattice_has_one_signature_in_every_setting() -> None:
    cubic = primitive_metric(np.array([4.0, 4, 4, 90, 90, 90]), "F")
    root = 4 / np.sqrt(2)
    as_tetragonal = primitive_metric(np.array([root, root, 4, 90, 90, 90]), "I")
    as_rhombohedral = primitive_metric(np.array([root, root, 4 * np.sqrt(3), 90, 90, 120]), "R")
    assert same_lattice(signature(cubic), signature(as_tetragonal), 1e-9)
    assert same_lattice(signature(cubic), signature(as_rhombohedral), 1e-9)
    assert not same_lattice(
        signature(cubic), signature(primitive_metric(np.array([4.0, 4, 4, 90, 90, 90]), "I"))
    )


def test_any_basis_of_a_lattice_gives_its_signature() -> None:
    rng = np.random.default_rng(0)
    metric = metric_of(np.array([5.1, 6.3, 7.9, 81, 97, 112.0]))
    for _ in range(20):
        basis = np.eye(3)
        for _ in range(6):
            i, j = rng.choice(3, 2, replace=False)
            basis[i] += rng.integers(-2, 3) * basis[j]
        assert same_lattice(signature(metric), signature(basis @ metric @ basis.T), 1e-9)


def test_superlattices_are_recognised() -> None:
    small = metric_of(np.array([3.0, 3.0, 5.0, 90, 90, 90]))
    assert superlattice_index(small, metric_of(np.array([3.0, 3.0, 10.0, 90, 90, 90]))) == 2
    root = 3 * np.sqrt(2)
    assert superlattice_index(small, metric_of(np.array([root, root, 5.0, 90, 90, 90]))) == 2
    assert superlattice_index(small, metric_of(np.array([3.0, 3.0, 10.4, 90, 90, 90]))) == 0


def test_centrings_leave_the_lattice_points_they_should() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(6)] * 3, indexing="ij"), -1).reshape(-1, 3)
    for centring, share in {"P": 1, "I": 1 / 2, "F": 1 / 4, "C": 1 / 2, "A": 1 / 2, "R": 1 / 3}.items():
        assert allowed(grid, centring).mean() == pytest.approx(share)


def weighed_of(x: np.ndarray):
    found, given = _observed(x, WAVELENGTH_A, None, None, 0.1, 8.0)
    return weigh(found, given, 60.0)


def test_chances_sum_to_one_and_none_has_at_least_the_lapse() -> None:
    weighed = weighed_of(lines("cubic F", error=0.003))
    for lapse in (0.0, 0.03):
        chances = chances_of(weighed, Calibration(2.0, 2.0, lapse, 8.0))
        assert chances.lattice.sum() + chances.none == pytest.approx(1.0)
        assert chances.none >= lapse
    hot, cold = (chances_of(weighed, Calibration(t, 0.0)).lattice.max() for t in (20.0, 1.0))
    assert hot < cold


def test_a_lattice_is_named_after_the_highest_system_that_is_not_excluded(monkeypatch) -> None:
    monkeypatch.setitem(CELLS, "nearly cubic P", (5.0, 5.0, 5.002, 90.0, 90.0, 90.0))
    weighed = weighed_of(lines("nearly cubic P", error=0.001))
    best = weighed.fitted[0].system.name
    for excluded, name in ((0.0, best), (1e6, "cubic")):
        chances = chances_of(weighed, Calibration(2.0, 2.0, 0.0, excluded))
        top = chances.lattices[int(chances.lattice.argmax())]
        assert weighed.fitted[top[0]].system.name == name


def test_a_distortion_that_the_lines_show_is_not_named_after_the_higher_system(monkeypatch) -> None:
    monkeypatch.setitem(CELLS, "clearly tetragonal P", (5.0, 5.0, 5.15, 90.0, 90.0, 90.0))
    hint = index(lines("clearly tetragonal P", error=0.003))
    assert hint.best.system == "tetragonal"
    assert max(hint.systems, key=lambda s: hint.systems[s]) == "tetragonal"
