from __future__ import annotations

from pathlib import Path

import numpy as np
import pyFAI
import pytest
import tifffile

from streamproc.demo.calibration import (
    SHAPE,
    CalibrationFiles,
    beam_stop,
    dark_level,
    hot_pixels,
    module_gaps,
    write_calibration,
)
from streamproc.demo.detector import Camera, background_counts, single_phase_patterns

MIXTURE = (0.4, 0.3, 0.2, 0.1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> CalibrationFiles:
    return write_calibration(tmp_path_factory.mktemp("calibration"))


@pytest.fixture(scope="module")
def camera(files: CalibrationFiles) -> Camera:
    return Camera(files.geometry, seed=1)


def test_gaps_are_those_pyfai_knows_of_the_same_detector() -> None:
    assert np.array_equal(module_gaps(), pyFAI.detector_factory("Pilatus1M").mask.astype(bool))


def test_the_geometry_covers_20_to_100_degrees_with_no_empty_bin(files: CalibrationFiles) -> None:
    integrator = pyFAI.load(str(files.geometry))
    two_theta = np.rad2deg(integrator.center_array(SHAPE, unit="2th_rad"))
    used = two_theta[tifffile.imread(files.mask) == 0]
    counts, _ = np.histogram(used, np.linspace(20, 100, 2001))
    assert counts.min() >= 50


def test_calibration_that_is_there_is_left_alone(tmp_path: Path) -> None:
    first = write_calibration(tmp_path)
    first.geometry.write_text("mine", encoding="utf-8")
    assert write_calibration(tmp_path) == first
    assert first.geometry.read_text(encoding="utf-8") == "mine"


def test_a_frame_depends_on_seed_and_point_alone(files: CalibrationFiles, camera: Camera) -> None:
    frame = camera.frame(5, MIXTURE)
    camera.frame(6, MIXTURE)
    assert np.array_equal(frame, camera.frame(5, MIXTURE))
    assert np.array_equal(frame, Camera(files.geometry, seed=1).frame(5, MIXTURE))
    assert not np.array_equal(frame, camera.frame(6, MIXTURE))
    assert not np.array_equal(frame, Camera(files.geometry, seed=2).frame(5, MIXTURE))


def test_noise_is_poisson_about_the_expectation(camera: Camera) -> None:
    expected = camera.expected(MIXTURE)
    good = ~module_gaps()
    good.flat[hot_pixels()[0]] = False
    residual = (camera.frame(0, MIXTURE)[good] - expected[good]) / np.sqrt(expected[good])
    assert abs(residual.mean()) < 4 / np.sqrt(residual.size)
    assert residual.var() == pytest.approx(1.0, abs=0.01)


def test_gaps_are_zero_and_hot_pixels_and_beam_stop_are_masked(
    files: CalibrationFiles, camera: Camera
) -> None:
    frame = camera.frame(0, MIXTURE)
    mask = tifffile.imread(files.mask).astype(bool)
    assert frame.dtype == np.dtype("<u2")
    assert not frame[module_gaps()].any()
    assert frame.flat[hot_pixels()[0]].min() > 1000
    assert frame[~mask].max() < 1000
    shadow = beam_stop() & ~module_gaps()
    assert mask[shadow].all()
    assert (frame - dark_level())[shadow].mean() < 0.05 * (frame - dark_level())[~mask].mean()


def test_pyfai_recovers_the_simulated_pattern_from_a_frame(files: CalibrationFiles, camera: Camera) -> None:
    result = pyFAI.load(str(files.geometry)).integrate1d(
        camera.frame(0, MIXTURE), 2000, unit="2th_deg", radial_range=(20, 100),
        method=("no", "histogram", "cython"), error_model="poisson",
        mask=tifffile.imread(files.mask), dark=tifffile.imread(files.dark),
    )  # fmt: skip
    axis = np.arange(19.0, 101.5, 0.01)
    phases = single_phase_patterns(axis)
    pattern = np.asarray(MIXTURE) @ phases * (300.0 / phases.mean(axis=0).max()) + background_counts(axis)
    wanted = np.interp(result.radial, axis, pattern)
    assert np.corrcoef(result.intensity, wanted)[0, 1] > 0.999
    assert result.intensity.sum() == pytest.approx(wanted.sum(), rel=0.005)
