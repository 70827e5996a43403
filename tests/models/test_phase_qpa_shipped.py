"""The model file in the repository: its card, its golden vectors, and what it says to simulated and foreign input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import streamproc.models.phase_qpa as package
from streamproc.models.phase_map.check import Checker
from streamproc.models.phase_map.interpret import STATES, Answer, interpret
from streamproc.models.powder.pattern import prepare

from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.settings import InferenceSettings

FOLDER = Path(package.__file__).parent / "4"
GRID = np.linspace(20, 100, 2000)


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    settings = InferenceSettings()
    return OnnxModel(find_model("phase_qpa", settings), settings)


@pytest.fixture(scope="module")
def fitter(model: OnnxModel) -> Checker:
    return Checker(model.card)


def answer(model: OnnxModel, fitter: Checker | None, axis, intensity) -> Answer:
    x, coverage = prepare(axis, intensity, model.card.axis)
    outputs = model.run(x[None])
    checked = fitter.check(x, outputs["presence"][0]) if fitter else None
    return interpret(outputs, model.card, 0, coverage, checked)


def test_the_file_is_small_and_its_card_says_what_a_reader_needs(model: OnnxModel) -> None:
    assert (FOLDER / "model.onnx").stat().st_size <= 5_000_000
    card = model.card
    assert card.labels == ("corundum", "zincite", "fluorite", "brucite")
    assert card.axis.wavelength_A == pytest.approx(1.5406, abs=1e-4)
    assert card.axis.min_coverage <= 0.75
    names = {*card.labels, "unknown", "amorphous", *(f"{p}_{s}" for p in card.labels for s in STATES)}
    assert set(card.calibration.q90) == set(card.calibration.q68) == names
    assert {"foreign", "foreign_with_fit", "amorphous", "distance", "residual"} <= set(
        card.calibration.limits
    )
    assert {"data_sha256", "seed", "steps", "duration_s"} <= set(card.training)
    assert card.scores["simulated"]["fraction_mae_wt_percent"] < 2.0
    assert 0.86 <= card.scores["simulated"]["coverage90"] <= 0.95
    assert card.licence == "BSD-3-Clause"


def test_golden_vectors_cover_enough_patterns(model: OnnxModel) -> None:
    with np.load(FOLDER / "golden.npz") as golden:
        assert golden["x"].shape[0] >= 16
        assert {o.name for o in model.card.outputs} <= set(golden.files)
    assert model.golden_deviation < 1e-4


def test_an_answer_does_not_depend_on_the_batch_bit_for_bit(model: OnnxModel) -> None:
    with np.load(FOLDER / "golden.npz") as golden:
        x = golden["x"]
    together = model.run(x)
    for size in (1, 2, 3, 7):
        parts = [model.run(x[i : i + size]) for i in range(0, len(x), size)]
        for name, whole in together.items():
            assert np.array_equal(np.concatenate([p[name] for p in parts]), whole), (name, size)


def test_fits_in_several_processes_give_the_same_as_one_after_the_other(model: OnnxModel) -> None:
    with np.load(FOLDER / "golden.npz") as golden:
        x = np.tile(golden["x"], (4, 1))[:100]
    presence = model.run(x)["presence"]
    counted: list[int] = []
    alone = Checker(model.card).check_many(x, presence)
    together = Checker(model.card, processes=2).check_many(x, presence, counted.append)
    assert counted[-1] == 100 and counted == sorted(counted)
    assert [c.excess for c in together] == [c.excess for c in alone]
    assert all(
        np.array_equal(a.fit.calculated, b.fit.calculated) for a, b in zip(together, alone, strict=True)
    )


@pytest.mark.parametrize(
    "kind", ["flat", "noise", "sparse noise", "spike", "glass", "ramp", "random lines", "one strong line"]
)
def test_what_holds_no_known_phase_is_refused(model, fitter, kind: str) -> None:
    rng = np.random.default_rng(5)
    centres = rng.uniform(22, 98, 25)
    lines = sum(
        h * np.exp(-(((GRID - c) / 0.12) ** 2))
        for c, h in zip(centres, rng.exponential(500, 25), strict=True)
    )
    hump = np.exp(-(((GRID - 22) / 5) ** 2))
    pattern = {
        "flat": np.full(2000, 100.0),
        "noise": rng.poisson(50, 2000),
        "sparse noise": rng.poisson(0.3, 2000),
        "spike": np.where(np.arange(2000) == 900, 5000.0, 10.0),
        "glass": rng.poisson(20 + 800 * hump + 60 * np.exp(-(((GRID - 42) / 12) ** 2))),
        "ramp": rng.poisson(np.linspace(500, 20, 2000)),
        "random lines": rng.poisson(20 + lines),
        "one strong line": rng.poisson(15 + 4000 * np.exp(-(((GRID - 36.3) / 0.1) ** 2))),
    }[kind]
    assert not answer(model, fitter, GRID, pattern).in_domain
    assert not answer(model, None, GRID, pattern).in_domain


def test_simulated_mixtures_are_read_with_and_without_glass(model, fitter) -> None:
    pytest.importorskip("gemmi", reason="simulated patterns need gemmi (extra demo or train)")
    from streamproc.models.powder.simulate import CU_KA1_A, Instrument, phase_table, render_pattern

    tables = {n: phase_table(n, CU_KA1_A) for n in (*model.card.labels, "calcite")}
    axis = np.arange(15.0, 105.0, 0.02)
    area = Instrument(w_deg2=0.03, u_deg2=0, v_deg2=0, asymmetry_deg=0, polarisation=1.0)

    def read(shares, instrument=None, background=0.02) -> Answer:
        rng = np.random.default_rng(8)
        y = render_pattern(
            axis, shares, instrument, rng, peak_counts=8000, background=background, tables=tables
        )
        return answer(model, fitter, axis, y)

    shares = {"corundum": 0.35, "zincite": 0.2, "fluorite": 0.15, "brucite": 0.3}
    for instrument in (None, area):
        found = read(shares, instrument)
        assert found.in_domain, found.reasons
        assert max(abs(found.phases[n].value - s) for n, s in shares.items()) < 0.04
    glassy = read({"corundum": 0.35, "zincite": 0.35, "amorphous": 0.3}, background=0.004)
    assert glassy.in_domain
    assert glassy.amorphous.value == pytest.approx(0.3, abs=0.12)
    assert glassy.phases["corundum"].value == pytest.approx(0.5, abs=0.05)
    foreign = read({"corundum": 0.4, "calcite": 0.6})
    assert not foreign.in_domain
    assert {"unknown-phase", "unknown-material"} & set(foreign.reasons)
