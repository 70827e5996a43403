"""The quick cross-check on simulated patterns as a network reads them."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("gemmi", reason="reflection tables need gemmi (extra demo or train)")

from streamproc.models.powder.fit import QuickFitter, reference_of
from streamproc.models.powder.simulate import (
    CU_KA1_A,
    CU_KA2_A,
    Grain,
    Instrument,
    phase_table,
    render_pattern,
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
def fitter(reference: dict) -> QuickFitter:
    return QuickFitter(reference, KNOWN, 20.0, 100.0, 2000)


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
    one, two = fitter.fit(x), fitter.fit(x.copy())
    assert one.fractions == two.fractions and one.esd == two.esd and one.state == two.state
    assert np.array_equal(one.calculated, two.calculated)


def test_a_subset_of_the_phases_is_fitted_and_the_others_get_nothing(fitter, tables) -> None:
    x = pattern({"corundum": 0.5, "fluorite": 0.5}, tables)
    some = fitter.fit(x, phases=("fluorite", "corundum"))
    assert some.fractions["corundum"] == pytest.approx(0.5, abs=0.02)
    assert some.fractions["zincite"] == some.fractions["brucite"] == 0.0
    assert some.unexplained < 0.1
    without = fitter.fit(x, phases=("corundum",))
    assert without.fractions["corundum"] == 1.0
    assert without.unexplained > 0.25


def test_a_hole_in_the_axis_is_not_fitted(fitter, tables) -> None:
    x = pattern({"corundum": 0.5, "fluorite": 0.5}, tables)
    x[(AXIS > 45) & (AXIS < 49)] = 0  # holds the strongest line of fluorite
    fit = fitter.fit(x)
    assert fit.fractions["corundum"] == pytest.approx(0.5, abs=0.02)
    assert fit.unexplained < 0.1


def test_the_tables_of_earlier_cards_are_still_read(fitter, tables, reference) -> None:
    old = {"wavelength_A": CU_KA1_A, "wavelength2_A": CU_KA2_A, "phases": {}}
    for name in KNOWN:
        table = tables[name]
        uniaxial = table.system != "cubic"
        old["phases"][name] = {
            "hkl": table.hkl.tolist(), "d_A": table.d_A.tolist(), "multiplicity": table.multiplicity.tolist(),
            "f2": table.f2.tolist(), "cell": table.cell.tolist(), "system": table.system,
            "volume_A3": table.volume_A3, "density_g_cm3": table.density_g_cm3,
            "texture_cos": table.texture_cos.mean(1).tolist() if uniaxial else [],
        }  # fmt: skip
    x = pattern({"corundum": 0.3, "zincite": 0.2, "fluorite": 0.4, "brucite": 0.1}, tables)
    before = QuickFitter(old, KNOWN, 20.0, 100.0, 2000).fit(x)
    now = fitter.fit(x)
    for name in KNOWN:
        assert before.fractions[name] == pytest.approx(now.fractions[name], abs=2e-3)


def test_the_card_stays_small(reference) -> None:
    assert len(json.dumps(reference)) < 1500 * len(KNOWN)
