"""The model file in the repository: its card, and what it says to spectra it was and was not made for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import streamproc.models as package
from streamproc.models.excitations.oscillators.answer import answer
from streamproc.models.excitations.oscillators.calibration import ModeCalibration
from streamproc.models.excitations.oscillators.foreign import KINDS, foreign_spectrum
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.instruments import build_library
from streamproc.models.excitations.oscillators.interpret import (
    best_next_energy,
    differences,
    reasons_of,
    still_needed,
)
from streamproc.models.excitations.oscillators.judge import judge, zero_prior
from streamproc.models.excitations.oscillators.parameters import PER_MODE, Composition, Mode
from streamproc.models.excitations.oscillators.prepare import CONDITIONS, prepare
from streamproc.models.excitations.oscillators.resolution import Gaussian
from streamproc.models.excitations.oscillators.search import search
from streamproc.models.excitations.oscillators.spectrum import spectrum_of

from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.settings import InferenceSettings

FOLDER = Path(package.__path__[0]) / "dho" / "1"
ENERGY = np.linspace(-30.0, 40.0, 161)


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    settings = InferenceSettings()
    return OnnxModel(find_model("dho", settings), settings)


@pytest.fixture(scope="module")
def calibrated(model) -> ModeCalibration:
    return ModeCalibration(model.card.calibration)


def said_of(model: OnnxModel, data, forward: Forward):
    shape = forward.resolution
    outputs = model.run(prepare(data, shape.fwhm, shape.lorentzian, forward.kT)[None])
    return answer(forward, data, outputs, 0, zero_prior(shape.fwhm))


def two_modes(seed: int, kT: float = 3.0):
    forward, c = Forward(ENERGY, Gaussian(1.5), kT), Composition(2)
    mu = forward(c, c.vector([Mode(12.0, 1.0, 250.0), Mode(26.0, 2.0, 500.0)], 900.0, 0.05, 2.0))[0]
    return spectrum_of(ENERGY, np.random.default_rng(seed).poisson(mu)), forward


def test_the_file_is_small_and_its_card_says_what_a_reader_needs(model):
    assert (FOLDER / "model.onnx").stat().st_size <= 5_000_000
    card = model.card
    assert (card.task, card.conditions, card.labels) == ("excitation-spectrum", CONDITIONS, PER_MODE)
    assert "FWHM" in card.reference["convention"]
    assert card.training["duration_s"] <= 3600
    assert all(0.87 <= card.scores["coverage90"][name] <= 0.93 for name in PER_MODE)
    assert all(card.scores["ranks"][name]["largest_distance"] < 0.03 for name in PER_MODE)


def test_modes_are_found_from_the_networks_start_without_the_search(model):
    started = 0
    for seed in range(8):
        data, forward = two_modes(seed)
        said = said_of(model, data, forward)
        assert reasons_of(said, forward, data, model.card) == ()
        assert [m.energy for m in said.fitted.modes] == pytest.approx([12.0, 26.0], abs=0.4)
        started += not said.searched
    assert started >= 6


def test_the_fast_answer_is_the_maximum_that_the_search_finds(model, calibrated):
    for seed in range(4):
        data, forward = two_modes(seed)
        said = said_of(model, data, forward)
        other = min(search(forward, data, zero_prior(1.5)), key=lambda f: f.bic)
        compared = differences(said.fitted, other, calibrated.sigma(said.fitted))
        assert compared.said == ()
        assert said.fitted.deviance == pytest.approx(other.deviance, abs=0.1)


def test_spectra_never_seen_are_read_as_well_as_the_card_says(model, calibrated):
    judged = judge(model.run, build_library(150, 4321), 8765, 150)
    truth, value, sigma, peak = judged.matched()
    right = np.mean([c.right_number for c in judged.cases])
    sharp = (truth[:, 1] < 1) & (peak >= 50)
    covered = calibrated.covers(truth, value, sigma).mean(0)
    assert right > 0.75
    assert np.median(np.abs(value - truth)[sharp, 0]) < 0.05
    assert (covered > 0.8).all()


def test_an_interval_reaches_further_to_where_the_truth_more_often_is(calibrated):
    """A width that is hardly told: the error that goes with a small one is too small, and a width is positive."""
    values = np.array([[10.0, 1.0, 100.0], [10.0, 1.0, 100.0]])
    sigmas = values * [[0.01, 0.01, 0.01], [0.01, 1.5, 0.2]]
    low, high = ((e - values) / sigmas for e in calibrated.ends(values, sigmas))
    assert (low <= 0).all() and (high >= 0).all()
    assert high[0, 1] == pytest.approx(-low[0, 1], rel=0.25)
    assert high[1, 1] > -1.5 * low[1, 1]
    assert calibrated.ranks(values + high * sigmas, values, sigmas) == pytest.approx(
        np.full((2, 3), 0.95), abs=0.01
    )


@pytest.mark.parametrize("kind", KINDS)
def test_foreign_spectra_are_flagged(model, kind):
    library, flagged = build_library(10, 77), 0
    for k in range(10):
        data, forward = foreign_spectrum(kind, library, k, 500 + k)
        flagged += bool(reasons_of(said_of(model, data, forward), forward, data, model.card))
    assert flagged >= 8


def test_two_modes_against_one_differ_in_words(calibrated):
    data, forward = two_modes(1)
    found = search(forward, data, zero_prior(1.5))
    said = differences(found[2], found[1], calibrated.sigma(found[2]))
    assert said.said == ("modes: 2 against 1",)
    assert np.isnan(said.values).all()


def test_what_is_still_needed_follows_the_root_of_the_counts():
    assert still_needed(np.array([0.1, 0.2]), 0.1, 500.0) == pytest.approx(1500.0)
    assert still_needed(np.array([0.1]), 0.2, 500.0) == 0.0
    assert np.isnan(still_needed(np.array([]), 0.2, 500.0))


def test_the_best_next_energy_is_where_one_more_count_shrinks_the_covariance_most():
    """Brute force: add a little exposure at every point in turn and take determinants."""
    data, forward = two_modes(2)
    fitted = min(search(forward, data, zero_prior(1.5)), key=lambda f: f.bic)
    k = 3 * fitted.composition.modes
    _, derivatives = forward(fitted.composition, fitted.vector)
    information, gains = np.linalg.inv(fitted.covariance), []
    for p in range(forward.points):
        more = information + 1e-3 * np.outer(derivatives[:, p], derivatives[:, p]) / fitted.spectrum[p]
        gains.append(-np.linalg.slogdet(np.linalg.inv(more)[:k, :k])[1])
    best = forward.energy[int(np.argmax(gains))]
    assert best_next_energy(forward, fitted) == pytest.approx(best, abs=1e-9)
