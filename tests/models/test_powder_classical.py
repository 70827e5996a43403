"""The classical fit against the simulator, finite differences and a generic least-squares routine."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("gemmi", reason="reflection tables need gemmi (extra demo or train)")

from streamproc.models.powder.classical import ClassicalFitter
from streamproc.models.powder.lines import lines_of, reference_of
from streamproc.models.powder.simulate import (
    CU_KA1_A,
    CU_KA2_A,
    Grain,
    Instrument,
    bin_edges,
    phase_table,
    render_pattern,
    render_phase,
)
from streamproc.models.powder.structures import KNOWN

AXIS = np.linspace(20, 100, 2000)


@pytest.fixture(scope="module")
def tables() -> dict:
    return {name: phase_table(name, CU_KA1_A) for name in (*KNOWN, "rutile")}


@pytest.fixture(scope="module")
def reference(tables: dict) -> dict:
    return reference_of({n: tables[n] for n in KNOWN}, CU_KA1_A, CU_KA2_A)


@pytest.fixture(scope="module")
def fitter(reference: dict) -> ClassicalFitter:
    return ClassicalFitter(reference, KNOWN, 20.0, 100.0, 2000)


def pattern(shares: dict, tables: dict, seed: int = 0, **more) -> np.ndarray:
    instrument = more.pop("instrument", Instrument())
    counts = render_pattern(
        AXIS,
        shares,
        instrument,
        np.random.default_rng(seed),
        peak_counts=6000,
        background=0.02,
        tables=tables,
        **more,
    )
    root = np.sqrt(counts)
    return (root / root.max()).astype(np.float32)


def test_lines_are_drawn_as_the_simulator_draws_them(tables: dict, reference: dict) -> None:
    lines = lines_of(reference, KNOWN, AXIS)
    names = ["zero", "displacement", "width", "ka2", "polarisation"]
    values = dict(zip(names, lines.start[:5], strict=True))
    lorentz, strain = lines.start[5], lines.start[6]
    instrument = Instrument(
        u_deg2=0, v_deg2=0, w_deg2=float(np.exp(values["width"])) ** 2, lorentz_x_deg=0, asymmetry_deg=0,
        ka2_ratio=values["ka2"], polarisation=values["polarisation"],
    )  # fmt: skip
    grain = Grain(size_nm=0.09 * CU_KA1_A / np.deg2rad(lorentz), strain=np.deg2rad(strain) / 4)
    drawn = lines.profiles(lines.draw(lines.start))
    for row, name in zip(drawn, KNOWN, strict=True):
        expected = render_phase(bin_edges(AXIS), tables[name], instrument, grain)
        # the constant K = 1/(1+k) and the bins' integration differ; tails end at 2.4 degrees
        assert np.abs(row - expected).max() < 0.04 * expected.max()
        assert row.sum() == pytest.approx(expected.sum(), rel=0.03)


def test_derivatives_equal_finite_differences(reference: dict) -> None:
    lines = lines_of(reference, KNOWN, AXIS)
    scales = np.array([1.0, 0.3, 0.5, 0.8])
    at = lines.start + 0.2 * np.minimum(lines.prior_sigma, 0.02)
    jacobian = lines.jacobian(lines.draw(at), scales)
    for k in range(at.size):
        delta = 1e-6
        up, down = at.copy(), at.copy()
        up[k] += delta
        down[k] -= delta
        numeric = scales @ (lines.profiles(lines.draw(up)) - lines.profiles(lines.draw(down))) / (2 * delta)
        # cells also move widths and the Lorentz factor a little, which the step may leave out
        assert np.abs(jacobian[k] - numeric).max() < 0.03 * np.abs(numeric).max(), f"parameter {k}"


@pytest.mark.parametrize("seed", range(3))
def test_weight_fractions_of_a_simulated_mixture_come_back(fitter, tables, seed) -> None:
    shares = {"corundum": 0.4, "zincite": 0.15, "fluorite": 0.25, "brucite": 0.2}
    grains = {
        "corundum": Grain(cell_scale=(1.001, 1.001, 0.9995)),
        "brucite": Grain(size_nm=60, march_r=0.85),
    }
    instrument = Instrument(displacement_mm=0.06, zero_deg=0.02)
    fit = fitter.fit(pattern(shares, tables, seed, grains=grains, instrument=instrument))
    for name, share in shares.items():
        assert fit.fractions[name] == pytest.approx(share, abs=0.012)
        assert 0 < fit.esd[name] < 0.02
    assert fit.unexplained < 0.15
    assert fit.chi2_reduced < 2.0


def test_absent_phases_get_nothing(fitter, tables) -> None:
    fit = fitter.fit(pattern({"zincite": 1.0}, tables))
    assert fit.fractions["zincite"] > 0.99


def test_what_no_known_phase_explains_is_unexplained(fitter, tables) -> None:
    alone = fitter.fit(pattern({"rutile": 1.0}, tables))
    half = fitter.fit(pattern({"rutile": 0.5, "corundum": 0.5}, tables))
    none = fitter.fit(pattern({"corundum": 1.0}, tables))
    assert alone.unexplained > 0.6
    assert none.unexplained < 0.15 < half.unexplained < alone.unexplained


def test_glass_is_background_to_the_fit(fitter, tables) -> None:
    fit = fitter.fit(pattern({"corundum": 0.3, "zincite": 0.2, "amorphous": 0.5}, tables))
    assert fit.fractions["corundum"] == pytest.approx(0.6, abs=0.02)
    assert fit.unexplained < 0.2


def test_missing_ends_are_not_fitted(fitter, tables) -> None:
    x = pattern({"corundum": 0.5, "fluorite": 0.5}, tables)
    x[AXIS > 80] = 0
    x[AXIS < 25] = 0
    assert fitter.fit(x).fractions["corundum"] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("kind", ["flat", "noise", "spike", "zeros"])
def test_patterns_without_lines_give_numbers_not_exceptions(fitter, kind: str) -> None:
    rng = np.random.default_rng(0)
    x = {
        "flat": np.ones(2000), "noise": np.sqrt(rng.poisson(30, 2000) / 60), "zeros": np.zeros(2000),
        "spike": np.where(np.arange(2000) == 700, 1.0, 0.05),
    }[kind].astype(np.float32)  # fmt: skip
    fit = fitter.fit(x)
    assert 0 <= fit.unexplained <= 1
    assert np.isfinite(fit.r_wp)


def test_the_fit_is_deterministic(fitter, tables) -> None:
    x = pattern({"corundum": 0.5, "fluorite": 0.5}, tables)
    assert fitter.fit(x) == fitter.fit(x.copy())
