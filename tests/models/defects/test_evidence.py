"""Reflections that carry a defect, the classical plots beside it, and what a card says of its material."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamproc.models.defects.crosscheck import classical_check
from streamproc.models.defects.evidence import count_scale, reflections_of
from streamproc.models.defects.faults import Faults
from streamproc.models.defects.material import material_of
from streamproc.models.defects.network.estimate import read_defects
from streamproc.models.defects.pattern import render_defects
from streamproc.models.defects.reference import reference_of, state_of
from streamproc.models.defects.state import DefectState, microstrain
from streamproc.models.powder.optics import CU_KA1_A
from streamproc.models.powder.structures import structure

from streamproc.errors import ConfigurationError, FrameFailed
from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.settings import InferenceSettings

COPPER = material_of(structure("copper"), CU_KA1_A)


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    return OnnxModel(find_model("defects_copper", InferenceSettings()), InferenceSettings())


def _axis(model: OnnxModel) -> np.ndarray:
    return np.linspace(model.card.axis.start, model.card.axis.stop, model.card.axis.n)


def _read(model: OnnxModel, state: DefectState, counts: float = 5e4):
    """Return the pattern as counts and what the model reads from it."""
    axis, instrument = _axis(model), reference_of(model.card).instrument
    y = render_defects(axis, COPPER, instrument, state)
    y = np.random.default_rng(1).poisson(y / y.max() * counts + 0.01 * counts).astype(float)
    out = model.run(np.sqrt(y / y.max()).astype(np.float32)[None])
    return y, read_defects({k: v[0] for k, v in out.items()}, model.card)


def _values(reading) -> dict[str, float]:
    return {name: e.value for name, e in reading.estimates.items()}


def test_a_card_gives_the_lines_of_its_metal(model) -> None:
    """Reflections of the reference equal those of the structure, found there from the space group."""
    found = reference_of(model.card).material
    n = len(found.hkl)
    assert [tuple(sorted(r)) for r in found.hkl] == [tuple(sorted(r)) for r in COPPER.hkl[:n]]
    np.testing.assert_allclose(found.multiplicity, COPPER.multiplicity[:n])
    assert found.burgers_nm == pytest.approx(model.card.reference["burgers_nm"])
    iron = OnnxModel(find_model("defects_iron", InferenceSettings()), InferenceSettings())
    assert all(sum(row) % 2 == 0 for row in reference_of(iron.card).material.hkl)


def test_a_card_of_another_kind_is_refused_in_words() -> None:
    other = OnnxModel(find_model("phase_qpa", InferenceSettings()), InferenceSettings())
    with pytest.raises(ConfigurationError, match="does not describe material and instrument"):
        reference_of(other.card)


def test_the_state_of_a_reading_has_its_microstrain(model) -> None:
    truth = DefectState(density_per_m2=2e15, arrangement=1.5, q=2.0, size_nm=80)
    _, reading = _read(model, truth)
    state = state_of(_values(reading), COPPER)
    assert microstrain(COPPER, state) == pytest.approx(reading.estimates["microstrain"].value, rel=1e-2)
    assert state.density_per_m2 == reading.estimates["density_per_m2"].value


@pytest.mark.parametrize(
    ("state", "name", "absent"),
    [
        (DefectState(density_per_m2=3e15, arrangement=1.5, q=2.0, size_nm=250), "density_per_m2", "growth"),
        (DefectState(density_per_m2=3e13, q=2.0, size_nm=250, faults=Faults(growth=0.05)), "growth",
         "deformation"),
        (DefectState(density_per_m2=3e13, q=2.0, size_nm=15), "size_nm", "deformation"),
    ],
)  # fmt: skip
def test_the_defect_that_is_there_is_carried_by_its_reflections_and_others_are_not(
    model, state, name, absent
) -> None:
    y, reading = _read(model, state)
    found = reflections_of(
        _axis(model), y, reference_of(model.card), _values(reading), [name, absent, "amorphous"]
    )
    assert found[name][0].support > 100
    assert [r.support for r in found[name]] == sorted((r.support for r in found[name]), reverse=True)
    assert found[absent][0].support < 0.1 * found[name][0].support
    assert found["amorphous"] == ()


def test_texture_and_the_cell_carry_no_evidence(model) -> None:
    """Heights and places of the lines are free: other strengths and another cell give the same support."""
    state = DefectState(density_per_m2=3e15, arrangement=1.5, q=2.0, size_nm=250)
    y, reading = _read(model, state)
    moved, _ = _read(model, replace(state, march_r=0.7, cell_scale=1.001))
    reference = reference_of(model.card)
    first = reflections_of(_axis(model), y, reference, _values(reading), ["density_per_m2"])["density_per_m2"]
    second = reflections_of(_axis(model), moved, reference, _values(reading), ["density_per_m2"])[
        "density_per_m2"
    ]
    assert {r.hkl for r in first[:4]} == {r.hkl for r in second[:4]}
    assert min(r.support for r in second[:4]) > 100


def test_noise_is_read_from_a_pattern_in_any_scale() -> None:
    smooth = 500 + 400 * np.sin(np.linspace(0, 6, 2000))
    y = np.random.default_rng(2).poisson(smooth).astype(float)
    assert count_scale(y) == pytest.approx(1.0, rel=0.15)
    assert count_scale(y * 1e-4) == pytest.approx(1e-4, rel=0.15)


def test_the_plots_read_density_faults_and_size_of_simulated_copper(model) -> None:
    """Right to some 20 to 50 %, as such plots are; the truth is what was rendered."""
    reference = reference_of(model.card)
    y, _ = _read(model, DefectState(density_per_m2=2e15, arrangement=1.0, q=2.0, size_nm=250))
    check = classical_check(_axis(model), y, reference, 2.0)
    assert 0.5 < check.modified.density_per_m2 / 2e15 < 2
    assert check.modified.misfit < check.plot.misfit  # contrast factors explain what a straight line does not
    y, _ = _read(model, DefectState(density_per_m2=3e13, q=2.0, size_nm=60, faults=Faults(growth=0.04)))
    check = classical_check(_axis(model), y, reference, 2.0)
    assert check.broadening == pytest.approx(0.04, rel=0.5)
    y, _ = _read(model, DefectState(density_per_m2=3e13, q=2.0, size_nm=60))
    check = classical_check(_axis(model), y, reference, 2.0)
    assert 30 < check.modified.size_nm < 90 and check.broadening < 0.01


def test_too_few_lines_make_no_plot(model) -> None:
    flat = np.random.default_rng(0).poisson(100.0, model.card.axis.n).astype(float)
    with pytest.raises(FrameFailed, match="stand alone, at least 4"):
        classical_check(_axis(model), flat, reference_of(model.card), 2.0)


def test_models_are_shipped_where_the_tests_look() -> None:
    assert Path(find_model("defects_iron", InferenceSettings())).is_file()
