"""The reduction on measured data: a Pilatus frame of CeO2, an xpdAcq geometry, and NIST LaB6."""

import json

import numpy as np
import pytest

from streamproc.frames.pattern_files import read_image, read_pattern
from streamproc.reduction.azimuthal import AzimuthalPlan, PlanOptions
from streamproc.reduction.correction import Correction
from streamproc.reduction.geometry import geometry_from_calibration_md, load_geometry

pytestmark = pytest.mark.real

DIOPTAS = "rows"
"""The .poni file was made with Dioptas, which shows (and calibrates) frames with their rows reversed."""

CUKA1_A, CUKA2_A = 1.5405929, 1.5444274
"""Copper K-alpha (Hoelzer et al., Phys. Rev. A 56 (1997) 4554), as in the SRM 660c certificate."""


@pytest.fixture(scope="module")
def ceria(shared_data):
    return shared_data / "img2d_CeO2_pilatus"


@pytest.fixture(scope="module")
def image(ceria):
    return read_image(ceria / "CeO2_Pilatus1M.tif")


@pytest.fixture(scope="module")
def geometry(ceria):
    return load_geometry(ceria / "CeO2_Pilatus1M.poni")


def peak_position(axis, intensity, near, half_width):
    """Centre of a peak: a Gaussian on a sloping background, by least squares on the points around it."""
    from scipy.optimize import curve_fit

    window = np.abs(axis - near) < half_width
    x, y = axis[window], intensity[window]

    def model(x, height, centre, width, level, slope):
        return height * np.exp(-(((x - centre) / width) ** 2) / 2) + level + slope * (x - near)

    start = (np.ptp(y), x[np.argmax(y)], half_width / 4, y.min(), 0.0)
    return curve_fit(model, x, y, start)[0][1]


@pytest.mark.parametrize("splitting", ["no", "bbox"])
@pytest.mark.parametrize("unit", ["2th_deg", "q_A^-1"])
def test_the_measured_ceria_frame_integrates_as_with_pyfai(image, geometry, splitting, unit):
    mask = image < 0
    plan = AzimuthalPlan.build(
        geometry,
        Correction(mask=mask, polarization_factor=0.99),
        PlanOptions(1000, unit, splitting=splitting),
    )
    profile = plan.integrate(image)
    reference = geometry.integrator().integrate1d(
        image, 1000, unit=unit, mask=mask, polarization_factor=0.99, error_model="poisson",
        method=(splitting, "csr", "cython"),
    )  # fmt: skip
    assert np.array_equal(np.isnan(profile.intensity), reference.count == 0)
    used = reference.count > 0
    np.testing.assert_allclose(profile.axis, reference.radial, rtol=1e-9)
    np.testing.assert_allclose(profile.intensity[used], reference.intensity[used], rtol=1e-5)
    np.testing.assert_allclose(profile.sigma[used], reference.sigma[used], rtol=1e-5)


def test_the_gaps_of_the_pilatus_are_masked_without_a_mask_file(image, geometry):
    span = PlanOptions(1000, radial_range=(0.1, 30.0))
    plain = AzimuthalPlan.build(geometry, options=span, shape=image.shape).integrate(image)
    masked = AzimuthalPlan.build(geometry, Correction(mask=image < 0), span).integrate(image)
    assert plain.n_masked > 70_000
    assert np.array_equal(plain.signal, masked.signal) and np.array_equal(plain.counts, masked.counts)
    np.testing.assert_allclose(plain.intensity, masked.intensity, rtol=1e-12)


@pytest.mark.parametrize("splitting", ["no", "bbox"])
def test_ceria_lines_lie_within_a_hundredth_of_a_degree(ceria, image, geometry, splitting):
    """d spacings of NIST SRM 674b from the calibrant file, Bragg's law, first 12 separate lines."""
    options = PlanOptions(2000, splitting=splitting, flip=DIOPTAS)
    profile = AzimuthalPlan.build(geometry, Correction(), options, shape=image.shape).integrate(image)
    lines = [line.split() for line in (ceria / "CeO2.D").read_text().splitlines() if not line.startswith("#")]
    spacings = np.array([float(words[0]) for words in lines])[:12]
    expected = 2 * np.rad2deg(np.arcsin(geometry.wavelength_A / (2 * spacings)))
    found = [peak_position(profile.axis, profile.intensity, at, 0.15) for at in expected]
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_the_ceria_pattern_is_the_one_another_program_made(ceria, image, geometry):
    """Dioptas integrated the frame as it is, gaps included, polarisation 0.99, bounding boxes, on the .xy axis."""
    theirs = read_pattern(ceria / "CeO2_Pilatus1M.xy")
    assert theirs.axis_kind == "two_theta_deg" and theirs.wavelength_A == pytest.approx(0.4066)
    step = np.diff(theirs.axis).mean()
    span = (theirs.axis[0] - step / 2, theirs.axis[-1] + step / 2)
    options = PlanOptions(theirs.axis.size, radial_range=span, splitting="bbox", flip=DIOPTAS)
    correction = Correction(polarization_factor=0.99, mask_negative=False)
    ours = AzimuthalPlan.build(geometry, correction, options, shape=image.shape).integrate(image)
    both = ours.counts > 100  # near the beam centre old and new pyFAI weigh a pixel's share differently
    assert both.sum() > 1300
    ratio = ours.intensity[both] / theirs.intensity[both]
    assert np.percentile(np.abs(ratio - 1), 98) < 3e-4
    assert np.median(np.abs(ratio - 1)) < 3e-5


def test_the_geometry_of_a_real_xpd_run_is_read_from_its_start_document(shared_data):
    start = json.loads((shared_data / "real_documents" / "xpd_start.json").read_text())
    geometry = geometry_from_calibration_md(start["calibration_md"])
    assert geometry.shape == (2048, 2048) and geometry.wavelength_A == pytest.approx(0.1671)
    fit2d = geometry.integrator().getFit2D()
    assert fit2d["directDist"] == pytest.approx(1e3 * start["calibration_md"]["dist"], rel=1e-6)
    rings = AzimuthalPlan.build(geometry, options=PlanOptions(500, "q_A^-1"))
    assert 20 < rings.axis[-1] < 60  # a PDF geometry reaches high q


def doublet_position(axis, intensity, near):
    """Two-theta of the K-alpha1 line: two pseudo-Voigts whose distance and ratio copper fixes."""
    from scipy.optimize import curve_fit

    x, y = (a[np.abs(axis - near) < 0.45] for a in (axis, intensity))

    def line(x, centre, fwhm, eta):
        u = 2 * (x - centre) / fwhm
        return eta / (1 + u**2) + (1 - eta) * np.exp(-np.log(2) * u**2)

    def model(x, height, centre, fwhm, eta, level):
        other = 2 * np.rad2deg(np.arcsin(np.sin(np.deg2rad(centre / 2)) * CUKA2_A / CUKA1_A))
        return height * (line(x, centre, fwhm, eta) + 0.5 * line(x, other, fwhm, eta)) + level

    start = (np.ptp(y), x[np.argmax(y)], 0.08, 0.5, y.min())
    bounds = ([0, near - 0.3, 0.01, 0, 0], [np.inf, near + 0.3, 0.5, 1, np.inf])
    return curve_fit(model, x, y, start, bounds=bounds)[0][1]


def test_nist_lab6_lines_lie_within_a_hundredth_of_a_degree_for_the_certified_cell(shared_data):
    """The scan is raw: specimen displacement (cos theta, in the file) and axial divergence (cot 2theta) shift it.

    Two instrument constants are fitted to 20 lines (Klug & Alexander, X-ray Diffraction Procedures, ch. 5); the cell
    is the known 4.156780 A, not fitted. The displacement found must be the one the file states.
    """
    text = (shared_data / "nist_srm660c" / "nist_srm660c_100a.cif").read_text().splitlines()
    begin = next(i for i, line in enumerate(text) if "_pd_proc_ls_weight" in line) + 1
    axis, intensity, _ = np.array([line.split() for line in text[begin : begin + 5332]], float).T
    sums = np.array([1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22])
    theta = np.arcsin(CUKA1_A * np.sqrt(sums) / 2 / 4.156780)
    expected = 2 * np.rad2deg(theta)
    found = np.array([doublet_position(axis, intensity, at) for at in expected])
    shapes = np.column_stack([np.cos(theta), 1 / np.tan(2 * theta)])
    constants = np.linalg.lstsq(shapes, found - expected, rcond=None)[0]
    np.testing.assert_allclose(found - shapes @ constants, expected, atol=0.01)
    displacement_mm = -constants[0] * np.pi / 180 * 217.5 / 2
    assert displacement_mm == pytest.approx(-0.07877, abs=0.02)
