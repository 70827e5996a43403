"""Settings, calibration files and geometries: what is read, and what is refused by name."""

import fabio
import h5py
import numpy as np
import pytest
import tifffile
from pydantic import ValidationError

from streamproc.errors import ConfigurationError, RunRefused
from streamproc.reduction.calibration import load_calibration
from streamproc.reduction.fingerprint import fingerprint, sha256_file
from streamproc.reduction.geometry import geometry_from_calibration_md, load_geometry
from streamproc.reduction.settings import ReductionSettings

SHAPE = (180, 211)

CALIBRATION_MD = {
    "detector": "Perkin detector",
    "pixel1": 0.0002,
    "pixel2": 0.0002,
    "max_shape": [4096, 4096],
    "dist": 0.25,
    "poni1": 0.2,
    "poni2": 0.21,
    "rot1": -0.0002,
    "rot2": -0.0004,
    "rot3": 0.0,
    "wavelength": 1.671e-11,
    "splineFile": None,
}


def write(path, array):
    """Write an image in the format the name asks for; return how the settings name it."""
    match path.suffix:
        case ".npy":
            np.save(path, array)
        case ".npz":
            np.savez(path, array)
        case ".tif":
            tifffile.imwrite(path, array)
        case ".edf":
            fabio.edfimage.EdfImage(data=array).write(str(path))
        case ".h5":
            with h5py.File(path, "w") as file:
                file["entry/other"] = np.zeros((3, 3))
                file["entry/image"] = array
            return f"{path.name}::/entry/image"
    return path.name


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".tif", ".edf", ".h5"])
def test_mask_dark_and_flat_are_read_from_every_format_and_hashed(tmp_path, poni, rng, suffix):
    dark = rng.uniform(0, 9, SHAPE).astype(np.float32)
    mask = (rng.random(SHAPE) < 0.1).astype(np.uint8)
    settings = ReductionSettings(
        poni=poni.name,
        mask=write(tmp_path / f"mask{suffix}", mask),
        dark=write(tmp_path / f"dark{suffix}", dark),
        flat=write(tmp_path / f"flat{suffix}", dark + 1),
        bins=50,
    )
    loaded = load_calibration(settings, tmp_path)
    assert np.array_equal(loaded.correction.mask, mask != 0)
    assert np.array_equal(loaded.correction.dark, dark) and np.array_equal(loaded.correction.flat, dark + 1)
    assert set(loaded.files) == {"poni", "mask", "dark", "flat"}
    assert loaded.files["poni"]["sha256"] == sha256_file(poni)
    assert loaded.plan().shape == SHAPE


def test_every_setting_reaches_the_plan(tmp_path, poni):
    settings = ReductionSettings(
        poni=poni.name, saturation=900, polarization_factor=0.9, solid_angle=False, mask_negative=False,
        dead_time_s=1e-7, exposure_s=0.5, hot_dark_above=50, unit="q_A^-1", bins=33, range_min=1, range_max=5,
        splitting="bbox", azimuth_bins=18, stack="sum", variance_floor="bin",
        flip="both",
    )  # fmt: skip
    plan = load_calibration(settings, tmp_path).plan()
    limits = ("saturation", "mask_negative", "dead_time_s", "exposure_s", "hot_dark_above")
    for name in (*limits, "polarization_factor", "solid_angle"):
        assert getattr(plan.correction, name) == getattr(settings, name)
    for name in (
        "unit",
        "bins",
        "splitting",
        "azimuth_bins",
        "stack",
        "variance_floor",
        "radial_range",
        "flip",
    ):
        assert getattr(plan.options, name) == getattr(settings, name)
    assert plan.axis.shape == (33,) and plan.axes.azimuthal.shape == (18,)


def test_every_setting_has_a_description_and_unknown_keys_are_refused():
    for model in (ReductionSettings, ReductionSettings.model_fields["from_run"].annotation):
        assert all(field.description for field in model.model_fields.values())
        with pytest.raises(ValidationError, match="Extra inputs"):
            model(ponny="x")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"range_min": 1.0}, "go together"),
        ({"range_min": 5.0, "range_max": 5.0}, "must be below"),
        ({"dead_time_s": 1e-6}, "needs exposure_s"),
        ({"bins": 1}, "greater than 1"),
        ({"polarization_factor": 1.5}, "less than or equal to 1"),
        ({"unit": "d"}, "2th_deg"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        ReductionSettings(**wrong)


@pytest.mark.parametrize("setting", ["poni", "mask", "dark", "flat", "hot_pixels"])
def test_a_missing_file_is_named_with_its_setting(tmp_path, setting):
    name = "gone.poni" if setting == "poni" else "gone.npy"
    with pytest.raises(ConfigurationError) as failure:
        load_calibration(ReductionSettings(**{setting: name}), tmp_path)
    assert name in failure.value.message and f"reduction.{setting}" in failure.value.message


def test_no_poni_gives_no_geometry_and_no_plan(tmp_path):
    loaded = load_calibration(ReductionSettings(), tmp_path)
    assert loaded.geometry is None
    with pytest.raises(ConfigurationError, match="no detector geometry"):
        loaded.plan()


@pytest.mark.parametrize("absent", ["Distance", "Poni1", "Poni2", "Rot1", "Rot2", "Rot3", "Detector"])
def test_a_poni_file_without_a_value_is_refused_where_pyfai_would_take_a_default(poni, absent):
    lines = [line for line in poni.read_text().splitlines() if not line.startswith(absent)]
    poni.write_text("\n".join(lines))
    with pytest.raises(ConfigurationError, match=absent):
        load_geometry(poni)


@pytest.mark.parametrize("value", ["nan", "-0.25", "far"])
def test_a_poni_file_with_an_impossible_distance_is_refused(poni, value):
    poni.write_text(poni.read_text().replace("Distance: 0.25", f"Distance: {value}"))
    with pytest.raises(ConfigurationError, match=r"detector\.poni"):
        load_geometry(poni)


def test_a_poni_file_that_is_something_else_is_refused(tmp_path):
    other = tmp_path / "x.poni"
    other.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    with pytest.raises(ConfigurationError, match=r"x\.poni"):
        load_geometry(other)


def test_a_geometry_without_wavelength_serves_two_theta_but_not_q(tmp_path, poni):
    poni.write_text("\n".join(line for line in poni.read_text().splitlines() if "Wavelength" not in line))
    assert load_calibration(ReductionSettings(poni=poni.name, bins=20), tmp_path).plan().axis.size == 20
    with pytest.raises(ConfigurationError, match="no wavelength"):
        load_calibration(ReductionSettings(poni=poni.name, unit="q_A^-1"), tmp_path).plan()


def test_a_geometry_that_does_not_know_its_pixels_needs_the_shape(tmp_path, poni):
    poni.write_text(poni.read_text().replace('"max_shape": [180, 211], ', ""))
    loaded = load_calibration(ReductionSettings(poni=poni.name, bins=20), tmp_path)
    with pytest.raises(ConfigurationError, match=r"set reduction\.shape"):
        loaded.plan()
    assert loaded.plan(shape=SHAPE).shape == SHAPE


def test_a_hot_pixel_list_is_read_from_text_and_from_npy(tmp_path):
    (tmp_path / "hot.txt").write_text("# row column\n3 4\n5, 6\n")
    np.save(tmp_path / "hot.npy", np.array([[3, 4], [5, 6]]))
    (tmp_path / "none.txt").write_text("\n")
    for name, expected in (("hot.txt", [[3, 4], [5, 6]]), ("hot.npy", [[3, 4], [5, 6]]), ("none.txt", [])):
        loaded = load_calibration(ReductionSettings(hot_pixels=name), tmp_path)
        assert loaded.correction.hot_pixels.tolist() == expected


@pytest.mark.parametrize("text", ["3 4 5\n", "3.5 1\n", "a b\n"])
def test_a_hot_pixel_list_of_another_form_is_refused(tmp_path, text):
    (tmp_path / "hot.txt").write_text(text)
    with pytest.raises(ConfigurationError, match="hot_pixels"):
        load_calibration(ReductionSettings(hot_pixels="hot.txt"), tmp_path)


def test_mask_and_dark_of_different_shapes_are_refused_with_both_shapes(tmp_path):
    np.save(tmp_path / "m.npy", np.zeros((5, 6)))
    np.save(tmp_path / "d.npy", np.zeros((6, 5)))
    with pytest.raises(ConfigurationError, match=r"mask \(5, 6\), dark \(6, 5\)"):
        load_calibration(ReductionSettings(mask="m.npy", dark="d.npy"), tmp_path)


def test_an_hdf5_file_of_several_arrays_must_say_which(tmp_path):
    write(tmp_path / "d.h5", np.zeros(SHAPE))
    with pytest.raises(ConfigurationError, match=r"holds /entry/image, /entry/other"):
        load_calibration(ReductionSettings(dark="d.h5"), tmp_path)
    with pytest.raises(ConfigurationError, match="no array /nowhere"):
        load_calibration(ReductionSettings(dark="d.h5::/nowhere"), tmp_path)


def test_a_pickled_npy_is_refused(tmp_path):
    np.save(tmp_path / "d.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_calibration(ReductionSettings(dark="d.npy"), tmp_path)


def test_calibration_md_gives_the_geometry_xpdacq_wrote():
    geometry = geometry_from_calibration_md(CALIBRATION_MD)
    assert geometry.shape == (2048, 2048)  # a Perkin-Elmer at 200 um is binned 2 x 2
    assert geometry.wavelength_A == pytest.approx(0.1671)
    assert geometry.source == "calibration_md"
    integrator = geometry.integrator()
    assert (integrator.dist, integrator.poni1, integrator.rot2) == (0.25, 0.2, -0.0004)
    moved = geometry_from_calibration_md({**CALIBRATION_MD, "dist": 0.26})
    assert moved.sha256 != geometry.sha256


def test_calibration_md_of_an_unknown_detector_takes_its_shape_from_the_document():
    geometry = geometry_from_calibration_md(
        {**CALIBRATION_MD, "detector": "home made", "max_shape": [100, 200]}
    )
    assert geometry.shape == (100, 200)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dist": None}, "calibration_md"),
        ({"poni1": "far"}, "calibration_md"),
        ({"rot1": float("nan")}, "finite"),
        ({"dist": -1}, "positive lengths"),
        ({"pixel1": 0}, "positive lengths"),
        ({"wavelength": 0}, "wavelength"),
        ({"splineFile": "x.spline"}, "splineFile"),
        ({"detector": "home made", "max_shape": "big"}, "max_shape"),
    ],
)
def test_calibration_md_that_cannot_be_used_refuses_the_run_by_name(change, message):
    with pytest.raises(RunRefused, match=message):
        geometry_from_calibration_md({**CALIBRATION_MD, **change})


def test_calibration_md_without_a_key_names_the_key():
    with pytest.raises(RunRefused, match="rot3"):
        geometry_from_calibration_md({k: v for k, v in CALIBRATION_MD.items() if k != "rot3"})


def test_the_fingerprint_sees_values_and_not_memory_layout(rng):
    array = rng.integers(0, 100, (4, 5)).astype(np.int32)
    base = fingerprint({"a": 1, "b": 2}, {"x": array})
    assert fingerprint({"b": 2, "a": 1}, {"x": np.asfortranarray(array)}) == base
    assert fingerprint({"a": 1, "b": 2}, {"x": array.astype(">i4")}) == base
    assert fingerprint({"a": 1, "b": 2}, {"x": array.T}) != base
    assert fingerprint({"a": 1, "b": 2}, {"x": array.astype(np.int64)}) != base
    assert fingerprint({"a": 1, "b": 2}, {"x": None}) != base
