"""The excitation fit of spectra: numbers against the truth, units, monitors, cameras, predictions, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamproc.consumers._excitation_settings import ExcitationFitSettings
from streamproc.consumers.excitation_fit import ExcitationFit
from streamproc.models.excitations.oscillators.calibration import ModeCalibration
from streamproc.models.excitations.oscillators.dho import thermal_energy
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.parameters import PER_MODE, Composition, Mode
from streamproc.models.excitations.oscillators.resolution import Gaussian

from streamproc.analysis import FrameFailure, FrameResult, LoadContext
from streamproc.errors import ConfigurationError, RunRefused
from streamproc.settings import InferenceSettings

EXAMPLE = ExcitationFit.example(Path())
ENERGY = np.asarray(EXAMPLE.frames[0].readings["energy"])


def loaded(**changes: Any) -> ExcitationFit:
    settings = ExcitationFitSettings(**{**EXAMPLE.settings, **changes})
    return ExcitationFit.load(settings, LoadContext(InferenceSettings()))


def answers_of(frames, run=None, **changes: Any) -> list[FrameResult]:
    return list(loaded(**changes).begin(run or EXAMPLE.run).process(frames))


@pytest.fixture(scope="module")
def usual() -> list[FrameResult]:
    return answers_of(EXAMPLE.frames)


def test_every_reading_of_the_phonon_is_answered_in_domain_near_the_truth(usual):
    for frame, answer in zip(EXAMPLE.frames, usual, strict=True):
        assert answer.in_domain, answer.reasons
        assert answer.values["modes"] == 1
        energy, width = answer.values["energy_1"], answer.values["width_1"]
        truth = 24.0 * np.sin(np.pi * frame.readings["q"] / 2)
        assert abs(energy.value - truth) < 0.15  # a tenth of the resolution
        assert abs(energy.value - truth) < 4 * energy.sigma
        assert abs(width.value - 1.0) < 4 * width.sigma
        assert energy.interval90[0] < energy.value < energy.interval90[1]
        assert answer.values["energy_1_classical"] == pytest.approx(energy.value, abs=3 * energy.sigma)
        assert not answer.values["overdamped_1"]
        assert np.isnan(answer.values["energy_2"].value)


def test_intervals_are_those_of_the_card_for_the_fit_that_was_made(usual):
    """Their ends, in sigmas from the value, are the quantiles that the card holds for that mode."""
    calibration = ModeCalibration(loaded().fit.model.card.calibration)
    for answer in usual:
        found = [answer.values[f"{name}_1"] for name in PER_MODE]
        values = np.array([[e.value for e in found]])
        sigmas = np.array([[e.sigma for e in found]]) / calibration.factor
        low, high = calibration.ends(values, sigmas)
        ends = np.array([e.interval90 for e in found])
        assert ends[:, 0] == pytest.approx(np.maximum(low[0], 0.0))
        assert ends[:, 1] == pytest.approx(high[0])


def test_the_covariance_belongs_to_the_sigmas(usual):
    for answer in usual:
        matrix = answer.values["covariance"]
        for k, name in enumerate(("energy_1", "width_1", "amplitude_1")):
            assert np.sqrt(matrix[k, k]) == pytest.approx(answer.values[name].sigma)
        assert np.isnan(matrix[3:]).all()


def test_the_dispersion_builds_and_its_branch_is_the_truth_within_its_interval():
    run = loaded().begin(EXAMPLE.run)
    said = [*run.update(run.process(EXAMPLE.frames)), *run.end()]
    dispersions = [s.values for s in said if s.stream == "dispersion"]
    assert [v["points"] for v in dispersions] == [4, 6]
    last = dispersions[-1]
    assert last["q"][:6] == pytest.approx([f.readings["q"] for f in EXAMPLE.frames])
    assert np.isnan(last["q"][6:]).all()
    assert (last["energies_sigma"][:6, 0] > 0).all()
    assert last["branch"].value == pytest.approx(24.0, abs=4 * last["branch"].sigma)
    assert said[-1].values["points_in_domain"] == 6


def test_the_unit_of_energy_changes_nothing_but_the_unit(usual):
    frames = [replace(f, readings=f.readings | {"energy": ENERGY * 1e-3}) for f in EXAMPLE.frames[:2]]
    there = answers_of(
        frames, energy_units="eV", resolution={"fwhm": 1.5e-3}, target_energy_sigma=5e-5
    )  # fmt: skip
    for one, other in zip(usual, there, strict=False):
        assert other.values["energy_1"].value == pytest.approx(1e-3 * one.values["energy_1"].value, rel=1e-3)
        assert other.values["energy_1"].sigma == pytest.approx(1e-3 * one.values["energy_1"].sigma, rel=1e-2)


def test_amplitudes_are_per_monitor_count(usual):
    frames = [replace(f, readings=f.readings | {"i0": 200.0}) for f in EXAMPLE.frames[:1]]
    found = answers_of(frames, monitor_key="i0")[0].values
    assert found["amplitude_1"].value == pytest.approx(usual[0].values["amplitude_1"].value / 200)
    assert found["energy_1"].value == usual[0].values["energy_1"].value
    frames = [replace(f, readings=f.readings | {"i0": 0.0}) for f in EXAMPLE.frames[:1]]
    assert "monitor" in answers_of(frames, monitor_key="i0")[0].reason


def test_the_prediction_holds_when_that_much_more_is_counted():
    forward = Forward(ENERGY, Gaussian(1.5), thermal_energy(300.0))
    c = Composition(1)
    mu = forward(c, c.vector([Mode(18.0, 1.0, 150.0)], 500.0, 0.0, 1.0))[0]
    first = EXAMPLE.frames[0]

    def at(exposure: float, seed: int) -> dict[str, Any]:
        counts = np.random.default_rng(seed).poisson(mu * exposure).astype(float)
        frame = replace(first, array=counts, readings=first.readings | {"t": 10.0 * exposure})
        return dict(answers_of([frame], time_key="t", target_energy_sigma=0.025)[0].values)

    sigmas, needed = [], []
    for seed in range(4):
        now = at(1.0, seed)
        assert now["energy_1"].sigma > 0.025
        assert now["time_needed_s"] == pytest.approx(10 * now["counts_needed"] / now["counts"])
        needed.append(now["counts_needed"] / now["counts"])
        sigmas.append(at(1 + needed[-1], 100 + seed)["energy_1"].sigma)
    assert np.mean(sigmas) == pytest.approx(0.025, rel=0.1)
    assert at(60.0, 9)["counts_needed"] == 0


def test_the_next_energy_is_on_a_flank_of_the_mode(usual):
    """The energy of a line is told by its flanks, its width by its flanks and top."""
    for answer in usual:
        away = abs(abs(answer.values["next_energy"]) - answer.values["energy_1"].value)
        assert away < 1.5 * 1.5


def test_the_axis_may_stand_in_the_configuration(usual):
    descriptor = dict(next(iter(EXAMPLE.run.descriptors.values())))
    descriptor["configuration"] = {"spectrometer": {"data": {"energy": list(ENERGY)}, "data_keys": {}}}
    run = replace(EXAMPLE.run, descriptors={"d": descriptor})
    frames = [replace(f, readings={"q": f.readings["q"]}) for f in EXAMPLE.frames[:1]]
    assert answers_of(frames, run)[0].values["energy_1"] == usual[0].values["energy_1"]
    assert "axis_key" in answers_of(frames)[0].reason


def test_a_camera_image_is_reduced_and_answered():
    """RIXS: a bent image of an elastic line and an excitation 24 pixels (12 meV) away from it."""
    rng, rows, columns = np.random.default_rng(3), 160, 120
    x = 2 * np.arange(columns) / (columns - 1) - 1
    pixel = np.arange(rows)[:, None] - (60 + 2 * x + 5 * x**2)[None, :]
    forward = Forward(np.arange(-45.0, 60.0, 0.25), Gaussian(2.0), thermal_energy(20.0))
    c = Composition(1)
    line = forward(c, c.vector([Mode(12.0, 1.5, 3.0)], 6.0, 0.0, 0.01))[0]
    image = rng.poisson(np.interp(0.5 * pixel, forward.energy, line)).astype(float)
    frame = replace(EXAMPLE.frames[0], array=image, readings={"q": 0.3})
    found = answers_of(
        [frame], axis_key=None, resolution={"fwhm": 2.1}, temperature_K=20.0,
        camera={"energy_per_pixel": 0.5, "dispersive_axis": 0},
    )[0]  # fmt: skip
    assert isinstance(found, FrameResult)
    assert found.values["counts"] == pytest.approx(image.sum(), rel=0.02)
    assert found.values["modes"] == 1
    assert found.values["energy_1"].value == pytest.approx(12.0, abs=0.2)


def _foreign(kind: str) -> np.ndarray:
    rng = np.random.default_rng(5)
    if kind == "noise":
        return np.abs(rng.normal(0, 300.0, ENERGY.size))
    if kind == "flat":
        return rng.poisson(20.0, ENERGY.size).astype(float)
    peaks = rng.uniform(-28, 38, 30)
    lines = np.exp(-0.5 * ((ENERGY[:, None] - peaks) / 0.4) ** 2) @ (10 ** rng.uniform(2, 3.5, 30))
    return rng.poisson(30 + lines).astype(float)


@pytest.mark.parametrize("kind", ["noise", "flat", "diffraction pattern"])
def test_what_is_no_spectrum_of_modes_is_flagged_and_claims_nothing(kind):
    found = answers_of([replace(EXAMPLE.frames[0], array=_foreign(kind))], cross_check_every=10)
    assert not found[0].in_domain
    assert found[0].reasons
    energy = found[0].values["energy_1"]
    assert np.isnan(energy.value) or energy.sigma > 5


def test_a_resolution_that_does_not_fit_the_axis_is_said():
    found = answers_of(EXAMPLE.frames[:1], resolution={"fwhm": 12.0})[0]
    assert any(r.startswith("outside-training-range: window_over_fwhm") for r in found.reasons)


def test_a_frame_without_temperature_or_errors_fails_with_the_key():
    bare = [replace(EXAMPLE.frames[0], seq_num=7)]
    found = answers_of(bare, temperature_K=None, temperature_key="t")[0]
    assert isinstance(found, FrameFailure)
    assert "'t'" in found.reason
    assert "error_key" in answers_of(bare, error_key="err")[0].reason


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"resolution": {}}, "no default resolution"),
        ({"resolution": {"fwhm": 1.0, "file": "x.dat"}}, "fwhm, file"),
        ({"resolution": {"lorentzian_fwhm": 1.0}}, "gaussian_fwhm"),
        ({"resolution": {"file": "missing.dat"}}, "missing.dat"),
        ({"temperature_K": None}, "temperature"),
        ({"axis_key": None}, "axis_key"),
        ({"model": "phase_qpa"}, "phase-fractions"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_the_setting(changes, said):
    with pytest.raises(ConfigurationError, match=said):
        loaded(**changes)


def test_a_measured_line_is_read_from_its_file(tmp_path):
    e = np.linspace(-5, 5, 101)
    np.savetxt(tmp_path / "line.dat", np.stack([e, 1e4 * Gaussian(1.5)(e)], 1))
    found = answers_of(EXAMPLE.frames[:1], base_dir=tmp_path, resolution={"file": "line.dat"})[0]
    assert found.values["energy_1"].value == pytest.approx(24 * np.sin(np.pi * 0.32 / 2), abs=0.15)
    (tmp_path / "line.dat").write_text("1\n2\n")
    with pytest.raises(ConfigurationError, match="two columns"):
        loaded(base_dir=tmp_path, resolution={"file": "line.dat"})


def test_a_run_with_two_spectra_or_without_the_q_key_is_refused():
    descriptor = dict(next(iter(EXAMPLE.run.descriptors.values())))
    keys = dict(descriptor["data_keys"])
    run = replace(
        EXAMPLE.run, descriptors={"d": descriptor | {"data_keys": keys | {"other": keys["spectrum"]}}}
    )
    with pytest.raises(RunRefused, match="spectrum, other"):
        loaded().frame_key(run)
    with pytest.raises(RunRefused, match="q_key"):
        loaded(q_key="nowhere").begin(EXAMPLE.run)
    assert loaded(key="spectrum").frame_key(run) == "spectrum"
