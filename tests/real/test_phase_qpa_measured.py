"""The shipped model on measured patterns: weighed mixtures are read, foreign materials are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from streamproc.models.phase_map.check import Checker
from streamproc.models.phase_map.interpret import Answer, interpret
from streamproc.models.phase_qpa.validate import WEIGHED, measured_patterns, read_columns
from streamproc.models.powder.pattern import prepare

from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.settings import InferenceSettings

pytestmark = pytest.mark.real

MIXTURES = ("cpd-1a", "cpd-1c", "cpd-1e", "cpd-1g")


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    settings = InferenceSettings()
    return OnnxModel(find_model("phase_qpa", settings), settings)


@pytest.fixture(scope="module")
def fitter(model: OnnxModel) -> Checker:
    return Checker(model.card)


def answer(model: OnnxModel, fitter: Checker, axis, intensity) -> Answer:
    x, coverage = prepare(axis, intensity, model.card.axis)
    outputs = model.run(x[None])
    return interpret(outputs, model.card, 0, coverage, fitter.check(x, outputs["presence"][0]))


@pytest.fixture(scope="module")
def weighed(shared_data: Path, model: OnnxModel, fitter: Checker) -> dict[str, Answer]:
    patterns = measured_patterns(shared_data / "iucr_qarr")
    return {p.name: answer(model, fitter, p.two_theta_deg, p.intensity) for p in patterns}


def error(found: Answer, name: str) -> float:
    return 100 * float(
        np.mean([abs(q.value - t) for q, t in zip(found.phases.values(), WEIGHED[name], strict=True)])
    )


def test_weighed_mixtures_are_read_within_one_weight_per_cent(weighed: dict[str, Answer]) -> None:
    errors = {name: error(weighed[name], name) for name in MIXTURES}
    assert np.mean(list(errors.values())) <= 1.0, errors
    assert max(errors.values()) <= 1.5, errors


def test_weighed_mixtures_and_pure_phases_are_in_domain(weighed: dict[str, Answer]) -> None:
    assert {name: a.reasons for name, a in weighed.items() if not a.in_domain} == {}
    for name, found in weighed.items():
        assert found.unknown.value < 0.05, name
        assert found.amorphous.value < 0.05, name


def test_pure_phases_are_called_pure(weighed: dict[str, Answer]) -> None:
    for name in ("corundum", "zincite", "fluorite", "brucite"):
        assert weighed[name].phases[name].value > 0.98


def test_intervals_hold_the_weighed_fractions(weighed: dict[str, Answer]) -> None:
    held = [
        q.interval90[0] - 1e-6 <= t <= q.interval90[1] + 1e-6
        for name in MIXTURES
        for q, t in zip(weighed[name].phases.values(), WEIGHED[name], strict=True)
    ]
    assert np.mean(held) >= 0.8


def test_the_classical_fit_agrees_with_the_weighed_mixtures(weighed, shared_data, model, fitter) -> None:
    for pattern in measured_patterns(shared_data / "iucr_qarr"):
        x, _ = prepare(pattern.two_theta_deg, pattern.intensity, model.card.axis)
        fit = fitter.fitter.fit(x)
        assert np.abs(np.array(list(fit.fractions.values())) - pattern.fractions).max() < 0.02, pattern.name
        assert fit.r_wp < 0.18


def test_measured_foreign_materials_are_refused_for_the_right_reason(shared_data, model, fitter) -> None:
    files = sorted((shared_data / "xrd_autoanalyzer" / "spectra").iterdir())
    assert len(files) == 9
    for file in files:
        found = answer(model, fitter, *read_columns(file))
        assert not found.in_domain, file.name
        assert {"unknown-material", "unknown-phase"} & set(found.reasons), (
            file.name,
            found.reasons,
        )


def test_the_network_alone_refuses_measured_foreign_materials(shared_data, model) -> None:
    for file in sorted((shared_data / "xrd_autoanalyzer" / "spectra").iterdir()):
        x, coverage = prepare(*read_columns(file), model.card.axis)
        assert not interpret(model.run(x[None]), model.card, 0, coverage).in_domain, file.name


@pytest.mark.parametrize("last_deg", [72.0, 80.0, 90.0])
def test_shorter_scans_of_weighed_mixtures_still_give_the_answer(
    shared_data, model, fitter, last_deg
) -> None:
    for pattern in measured_patterns(shared_data / "iucr_qarr"):
        keep = pattern.two_theta_deg <= last_deg
        found = answer(model, fitter, pattern.two_theta_deg[keep], pattern.intensity[keep])
        assert error(found, pattern.name) < 2.5, pattern.name
