"""Camera images to spectra: against loops over pixels, and against images whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from streamproc.errors import ConfigurationError, FrameFailed
from streamproc.reduction.spectrum.camera import CameraReducer
from streamproc.reduction.spectrum.channels import Channels, align, lay, normalise, shifted, straighten
from streamproc.reduction.spectrum.curvature import measure_curvature
from streamproc.reduction.spectrum.energy import EnergyScale, calibrate_energy
from streamproc.reduction.spectrum.photons import find_photons
from streamproc.reduction.spectrum.settings import CameraSettings

ROWS, COLUMNS = 120, 200
BEND = (60.0, 3.0, 7.0)


def line_row(column: np.ndarray) -> np.ndarray:
    x = 2 * column / (COLUMNS - 1) - 1
    return BEND[0] + BEND[1] * x + BEND[2] * x**2


def bent_image(rng, height=40.0, background=0.3, second=25.0) -> np.ndarray:
    """An elastic line, and a weaker one ``second`` rows up, bent alike."""
    row, middle = np.arange(ROWS)[:, None], line_row(np.arange(COLUMNS))[None, :]
    mu = background + height * np.exp(-0.5 * ((row - middle) / 1.6) ** 2)
    mu = mu + 0.15 * height * np.exp(-0.5 * ((row - middle + second) / 2.0) ** 2)
    return rng.poisson(mu).astype(float)


def test_the_curvature_is_found_within_its_errors_below_a_tenth_of_a_pixel():
    rng, pulls = np.random.default_rng(1), []
    columns = np.arange(COLUMNS)
    for _ in range(30):
        found = measure_curvature(bent_image(rng), degree=2)
        off = found.row(columns) - line_row(columns)
        assert np.abs(off).max() < 0.1
        pulls.append(off[[10, 100, 190]] / found.sigma([10, 100, 190]))
    assert np.std(pulls) == pytest.approx(1.0, abs=0.35)
    assert abs(np.mean(pulls)) < 0.5


def test_hot_pixels_and_dead_columns_do_not_bend_the_curve():
    rng = np.random.default_rng(2)
    image = bent_image(rng)
    image[rng.integers(ROWS, size=12), rng.integers(COLUMNS, size=12)] = 5e3
    image[:, 50:60] = 0
    found = measure_curvature(image, degree=2)
    columns = np.arange(COLUMNS)
    assert np.abs(found.row(columns) - line_row(columns)).max() < 0.15


def test_straightening_agrees_with_a_loop_over_pixels_and_keeps_every_count():
    rng = np.random.default_rng(3)
    image, shift = rng.poisson(3.0, (17, 9)).astype(float), rng.uniform(-4, 4, 9)
    found = straighten(image, shift)
    expected, spread = np.zeros(60), np.zeros(60)
    for r in range(17):
        for c in range(9):
            place = r - shift[c] + 20
            low = int(np.floor(place))
            expected[low] += image[r, c] * (low + 1 - place)
            expected[low + 1] += image[r, c] * (place - low)
            spread[low] += image[r, c] * (low + 1 - place) ** 2
            spread[low + 1] += image[r, c] * (place - low) ** 2
    start = found.first + 20
    assert found.counts == pytest.approx(expected[start : start + found.counts.size], abs=1e-12)
    assert found.variance == pytest.approx(spread[start : start + found.counts.size], abs=1e-12)
    assert found.counts.sum() == pytest.approx(image.sum(), rel=1e-14)
    assert (found.pixel * found.counts).sum() == pytest.approx(
        ((np.arange(17)[:, None] - shift) * image).sum(), rel=1e-12
    )


def test_whole_shifts_move_counts_and_change_nothing_else():
    image = np.arange(20.0).reshape(5, 4)
    found = straighten(image, [0, 0, 0, 0])
    assert found.first == 0
    assert found.counts[:5].tolist() == image.sum(1).tolist()
    moved = shifted(found, 3.0)
    assert moved.first == 3
    assert moved.counts[:5].tolist() == image.sum(1).tolist()


def test_what_is_not_finite_is_not_counted():
    image = np.ones((4, 3))
    image[1, 1] = np.nan
    assert straighten(image, [0.2, 0.4, 0.1]).counts.sum() == pytest.approx(11.0)
    with pytest.raises(FrameFailed, match="shifts of columns"):
        straighten(image, [0.0])


def test_single_photons_agree_with_a_loop_over_pixels():
    rng = np.random.default_rng(4)
    image = rng.normal(0, 2, (40, 50))
    for r, c in zip(rng.uniform(2, 37, 25), rng.uniform(2, 47, 25), strict=True):
        y, x = np.mgrid[0:40, 0:50]
        image += 100 * np.exp(-0.5 * ((y - r) ** 2 + (x - c) ** 2) / 0.5**2) / (2 * np.pi * 0.25)
    found = find_photons(image, 30.0, 100.0)
    expected = []
    for r in range(40):
        for c in range(50):
            box = image[max(0, r - 1) : r + 2, max(0, c - 1) : c + 2]
            if image[r, c] > 30 and image[r, c] == box.max():
                positive = np.maximum(box, 0)
                y, x = np.mgrid[max(0, r - 1) : min(40, r + 2), max(0, c - 1) : min(50, c + 2)]
                expected.append(((y * positive).sum(), (x * positive).sum(), positive.sum()))
    table = np.array(expected)
    assert found.row == pytest.approx(table[:, 0] / table[:, 2])
    assert found.column == pytest.approx(table[:, 1] / table[:, 2])
    assert found.charge == pytest.approx(table[:, 2])


def test_photons_are_placed_below_a_pixel_and_a_plateau_is_one_photon():
    rng, off = np.random.default_rng(5), []
    y, x = np.mgrid[0:15, 0:15]
    for _ in range(200):
        r, c = rng.uniform(6, 8, 2)
        cloud = 100 * np.exp(-0.5 * ((y - r) ** 2 + (x - c) ** 2) / 0.5**2) / (2 * np.pi * 0.25)
        found = find_photons(cloud, 20.0, 100.0)
        off.append((found.row[0] - r, found.column[0] - c))
        assert found.number.tolist() == [1]
    assert np.sqrt(np.mean(np.square(off))) < 0.1  # a whole pixel would be off by 0.29
    flat = np.zeros((7, 7))
    flat[3, 3] = flat[3, 4] = 50.0
    assert find_photons(flat, 20.0, 100.0).row == pytest.approx([3.0])


def test_alignment_finds_a_shift_within_its_sigma():
    rng, pulls = np.random.default_rng(6), []
    pixel = np.arange(100.0)

    def line(at):
        return 400 * np.exp(-0.5 * ((pixel - at) / 2.5) ** 2) + 3

    reference = lay(pixel, rng.poisson(50 * line(50.0)) / 50.0, line(50.0) / 50)
    for _ in range(60):
        shift = rng.uniform(-3, 3)
        found, sigma = align(lay(pixel, rng.poisson(line(50 + shift))), reference)
        pulls.append((found - shift) / sigma)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.3)
    assert sigma < 0.1
    with pytest.raises(FrameFailed, match="align"):
        align(*[Channels(0, np.full(100, 5.0), np.full(100, 5.0))] * 2)


def test_normalising_propagates_the_noise_of_the_monitor():
    rng = np.random.default_rng(7)
    counts, monitor = rng.poisson(900.0, 40000), rng.poisson(400.0, 40000)
    _, variance = normalise([900.0], [900.0], 400.0)
    assert np.var(counts / monitor) == pytest.approx(variance[0], rel=0.05)
    with pytest.raises(FrameFailed, match="above 0"):
        normalise([1.0], [1.0], 0.0)


def test_the_energy_scale_through_known_lines_is_right_within_its_errors():
    rng, pulls = np.random.default_rng(8), []
    energy = np.array([-50.0, 0.0, 120.0, 200.0])
    for _ in range(300):
        pixel = 410 + energy / -0.8 + rng.normal(0, 0.1, 4)
        scale = calibrate_energy(pixel, energy, np.full(4, 0.1))
        pulls.append([(scale.slope + 0.8), (scale.energy(300.0) - 88.0) / scale.sigma(300.0)])
    assert np.std(np.array(pulls)[:, 1]) == pytest.approx(1.0, abs=0.12)
    assert np.mean(np.array(pulls)[:, 0]) == pytest.approx(0.0, abs=1e-4)
    with pytest.raises(ConfigurationError, match="two lines"):
        calibrate_energy([1.0], [2.0])
    with pytest.raises(ConfigurationError, match="must not be 0"):
        EnergyScale.from_slope(0.0, 1.0)


@pytest.mark.parametrize("axis", [0, 1])
def test_an_image_becomes_a_spectrum_with_both_lines_in_place(axis):
    image = bent_image(np.random.default_rng(9))
    settings = CameraSettings(dispersive_axis=axis, energy_per_pixel=-2.0)
    found = CameraReducer(settings).spectrum(image if axis == 0 else image.T)
    # edges that some columns do not reach are left out: at most the bend's 14 of 120 rows
    assert 0.97 * image.sum() < found.counts.sum() <= image.sum()
    assert found.counts[0] + found.counts[-1] > 0.3 * COLUMNS
    assert (np.diff(found.energy) > 0).all()
    assert found.energy[np.argmax(found.counts)] == pytest.approx(0.0, abs=1.5)
    loss = found.energy > 30
    assert found.energy[loss][np.argmax(found.counts[loss])] == pytest.approx(50.0, abs=4.0)
    # straightened: the elastic line is as narrow as it was in each column
    near = np.abs(found.energy) < 12
    y = np.maximum(found.counts[near] - np.median(found.counts), 0)
    width = np.sqrt((found.energy[near] ** 2 * y).sum() / y.sum())
    assert width == pytest.approx(2.0 * 1.6, rel=0.15)


def test_a_given_curvature_gives_the_same_spectrum_as_a_measured_one():
    image = bent_image(np.random.default_rng(10), height=200.0)
    measured = CameraReducer(CameraSettings(energy_per_pixel=1.0)).spectrum(image)
    given = CameraReducer(CameraSettings(energy_per_pixel=1.0, curvature=BEND)).spectrum(image)
    assert measured.counts.max() == pytest.approx(given.counts.max(), rel=0.02)
    assert measured.elastic_pixel == pytest.approx(given.elastic_pixel, abs=0.05)


def test_photon_images_give_the_photons():
    rng = np.random.default_rng(11)
    column = rng.integers(2, COLUMNS - 2, 150)
    image = np.zeros((ROWS, COLUMNS))
    y, x = np.mgrid[0:ROWS, 0:COLUMNS]
    for c in column:
        r = line_row(np.array(c)) + rng.normal(0, 1.0)
        image += 100 * np.exp(-0.5 * ((y - r) ** 2 + (x - c) ** 2) / 0.45**2) / (2 * np.pi * 0.45**2)
    settings = CameraSettings(
        energy_per_pixel=1.0, curvature=BEND, photon="threshold", photon_value=100.0, elastic_pixel=60.0
    )
    found = CameraReducer(settings).spectrum(image)
    assert found.counts.sum() == pytest.approx(150, abs=8)  # clouds that overlap are found as one
    spread = np.sqrt((found.counts * found.energy**2).sum() / found.counts.sum())
    assert spread == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize(
    ("image", "said"),
    [(np.ones(5), "rows and columns"), (np.zeros((9, 9)), "empty"), ([["a"] * 5] * 5, "not numeric"),
     (np.full((50, 50), 1e300), "saturated"), (np.ones((50, 50)), "elastic line")],
)  # fmt: skip
def test_what_is_no_image_is_refused_with_the_reason(image, said):
    with pytest.raises(FrameFailed, match=said):
        CameraReducer(CameraSettings(energy_per_pixel=1.0)).spectrum(image)


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ConfigurationError, match="energy_per_pixel"):
        CameraReducer(CameraSettings())
    with pytest.raises(ConfigurationError, match="photon_value"):
        CameraReducer(CameraSettings(energy_per_pixel=1.0, photon="threshold"))
