"""Pattern files as programs and people write them, good and bad."""

import codecs

import fabio
import h5py
import numpy as np
import pytest
import tifffile

from streamproc.errors import ConfigurationError, FrameFailed
from streamproc.frames.pattern_files import is_image, read_image, read_pattern

X = np.round(np.arange(10.0, 12.0, 0.05), 4)
Y = np.arange(X.size) % 7 * 100.5 + 3
ROWS = list(zip(X, Y, strict=True))


def text(separator, header="", end="\n", third=None, decimal="."):
    rows = [f"{x}{separator}{y}" + ("" if third is None else f"{separator}{third}") for x, y in ROWS]
    return header + end.join(rows).replace(".", decimal) + end


def save(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("blanks.xy", text(" ")),
        ("padded.prn", text("        ", header="   ").replace("\n", "   \n ")),
        ("tabs.xy", text("\t", end="\r\n")),
        ("old_mac.dat", text("\t", end="\r")),
        ("commas.csv", text(",", header="two theta,counts\n")),
        ("commas_and_blanks.csv", text(" , ")),
        ("trailing.csv", text(",").replace("\n", ",\n")),
        ("semicolons.csv", text(";", header="sep=;\n2theta;I\n")),
        ("german.csv", text(";", decimal=",", header="2Theta;Intensität\n").encode("latin-1")),
        ("german_tabs.txt", text("\t", decimal=",")),
        ("bom.xy", codecs.BOM_UTF8 + text(" ").encode()),
        ("utf16.xy", text("\t", header="Winkel 2θ\tI\n").encode("utf-16")),
        ("comments.xy", text(" ", header="# 2th_deg I\n! note\n'quoted 1\n\n") + "# the end\n"),
        ("header.txt", text(" ", header="Sample: 12 mg\nstart step\n5.0\n")),
        ("reversed.xy", "\n".join(f"{x} {y}" for x, y in reversed(ROWS))),
    ],
)
def test_two_columns_are_read_whatever_the_dressing(tmp_path, name, content):
    pattern = read_pattern(save(tmp_path, name, content))
    assert np.array_equal(pattern.axis, X) and np.array_equal(pattern.intensity, Y)
    assert pattern.axis_kind == "two_theta_deg" and pattern.sigma is None
    assert pattern.source_format == name.rpartition(".")[2]


@pytest.mark.parametrize("decimal", [".", ","])
def test_integers_before_decimals_do_not_confuse_the_separator(tmp_path, decimal):
    lines = ["5 10"] + [f"5{decimal}{i:02d} 1{i}" for i in range(1, 15)]
    pattern = read_pattern(save(tmp_path, "a.xy", "\n".join(lines)))
    assert pattern.axis[:2].tolist() == [5.0, 5.01] and pattern.intensity[1] == 11


def test_the_third_column_is_a_sigma_only_where_the_file_says_so(tmp_path):
    assert read_pattern(save(tmp_path, "a.xye", text(" ", third=2.5))).sigma.tolist() == [2.5] * X.size
    assert read_pattern(save(tmp_path, "a.xy", text("\t", third=2.5))).sigma is None
    titled = text(" ", third=2.5, header="# 2th_deg I sigma\n")
    assert read_pattern(save(tmp_path, "b.xy", titled)).sigma.tolist() == [2.5] * X.size
    fitted = text(",", third=2.5, header="2theta,I,background\n")
    assert read_pattern(save(tmp_path, "c.csv", fitted)).sigma is None


@pytest.mark.parametrize(
    ("header", "kind", "factor"),
    [
        ("# 2th_deg I\n", "two_theta_deg", 1),
        ("# 2th_rad I\n", "two_theta_deg", 180 / np.pi),
        ("# q_A^-1 I\n", "q_invA", 1),
        ("# q_nm^-1 I\n", "q_invA", 0.1),
        ("# Q (1/nm)  I\n", "q_invA", 0.1),
        ("Q (Å⁻¹), I\n", "q_invA", 1),
        ("two theta (degrees), I\n", "two_theta_deg", 1),
    ],
)
def test_the_axis_is_what_the_header_says(tmp_path, header, kind, factor):
    rows = "\n".join(f"{x / 10} {y}" for x, y in ROWS)
    pattern = read_pattern(save(tmp_path, "a.dat", header + rows))
    assert pattern.axis_kind == kind
    np.testing.assert_allclose(pattern.axis, X / 10 * factor)


def test_the_caller_says_the_axis_where_the_file_does_not(tmp_path):
    path = save(tmp_path, "a.xy", text(" "))
    assert read_pattern(path, axis="q_invA").axis_kind == "q_invA"
    assert read_pattern(save(tmp_path, "b.xy", text(" ", header="# q I\n")), axis="q_invA").axis[0] == 10
    with pytest.raises(ConfigurationError, match="has no unit"):
        read_pattern(tmp_path / "b.xy")


def test_an_axis_that_contradicts_the_file_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="two_theta_deg, but axis = q_invA"):
        read_pattern(save(tmp_path, "a.xy", text(" ", header="# 2th_deg I\n")), axis="q_invA")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("# Wavelength: 4.066e-11 m\n", 0.4066),
        ("# wavelength = 1.5406\n", 1.5406),
        ("# Wavelength (A): 0.1671\n", 0.1671),
        ("# lambda 0.15406 nm\n", 1.5406),
        ("# Wavelength: None\n", None),
    ],
)
def test_the_wavelength_in_a_header_is_read_with_its_unit(tmp_path, header, expected):
    path = save(tmp_path, "a.xy", text(" ", header=header))
    found = read_pattern(path).wavelength_A
    assert found == expected if expected is None else found == pytest.approx(expected)
    assert read_pattern(path, wavelength_A=0.7).wavelength_A == 0.7


@pytest.mark.parametrize(
    ("label", "kind", "factor"),
    [("2-Theta Angle (Degrees)", "two_theta_deg", 1), ("q (nm^-1)", "q_invA", 0.1), ("Q ( A^-1 )", "q_invA", 1),
     ("q (inverse nm)", "q_invA", 0.1)],
)  # fmt: skip
def test_a_chi_file_is_read_by_its_four_header_lines(tmp_path, label, kind, factor):
    content = f"1 2\n {label}\n Intensity\n     {X.size}\n" + text("  ")
    pattern = read_pattern(save(tmp_path, "a.chi", content))
    assert pattern.axis_kind == kind
    np.testing.assert_allclose(pattern.axis, X * factor)


def test_a_truncated_chi_file_is_refused(tmp_path):
    content = "title\n2-Theta\nIntensity\n  4096\n" + text(" ")
    with pytest.raises(FrameFailed, match=r"a\.chi line 4 announces 4096 points, the file holds 40"):
        read_pattern(save(tmp_path, "a.chi", content))


@pytest.mark.parametrize(
    ("line", "bad", "message"),
    [
        (5, "10.25 abc", r"a\.xy: line 5 is '10\.25 abc' after rows of 2 numbers"),
        (5, "10.25", r"line 5 is '10\.25'"),
        (5, "10.2 1 2", r"line 5"),
        (5, "1_0 2_0", r"line 5"),
        (5, "10.2 nan", r"line 5 holds a value that is not finite"),
        (5, "10.2 inf", r"line 5 holds a value that is not finite"),
        (5, "10.15 3", r"line 5 repeats an axis value"),
        (5, "10.01 3", r"line 5 breaks the order"),
        (1, "-1 3", r"line 1 has a negative axis value"),
        (40, "181 3", r"line 40 has a two-theta above 180"),
    ],
)
def test_a_bad_line_is_named_with_the_file(tmp_path, line, bad, message):
    lines = text(" ").splitlines()
    lines[line - 1] = bad
    with pytest.raises(FrameFailed, match=message):
        read_pattern(save(tmp_path, "a.xy", "\n".join(lines)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no line holds two or three numbers"),
        ("only words\nand more\n", "no line holds two or three numbers"),
        ("1 2\n2 3\n", "holds 2 points, expected at least 10"),
        (b"\x7fELF\0\0\0" + bytes(300), "binary file"),
        ("1 2 3 4 5\n" * 20, "no line holds two or three numbers"),
    ],
)
def test_what_is_no_pattern_is_refused(tmp_path, content, message):
    with pytest.raises(FrameFailed, match=message):
        read_pattern(save(tmp_path, "a.txt", content))


def test_unknown_formats_missing_files_and_impossible_wavelengths_are_configuration_errors(tmp_path):
    with pytest.raises(ConfigurationError, match=r"unknown pattern format, expected one of \.chi"):
        read_pattern(save(tmp_path, "a.raw", text(" ")))
    with pytest.raises(ConfigurationError, match="does not exist"):
        read_pattern(tmp_path / "gone.xy")
    with pytest.raises(ConfigurationError, match="wavelength"):
        read_pattern(save(tmp_path, "a.xy", text(" ")), wavelength_A=1.5e-10)


def test_npz_holds_documented_names(tmp_path):
    np.savez(tmp_path / "a.npz", q_invA=X[::-1], intensity=Y[::-1], sigma=Y[::-1] / 10, wavelength_A=0.5)
    pattern = read_pattern(tmp_path / "a.npz")
    assert np.array_equal(pattern.axis, X) and np.array_equal(pattern.sigma, Y / 10)
    assert pattern.axis_kind == "q_invA" and pattern.wavelength_A == 0.5


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": X, "y": Y},
        {"two_theta_deg": X, "q_invA": X, "intensity": Y},
        {"two_theta_deg": X, "intensity": Y[:-1]},
        {"two_theta_deg": X, "intensity": Y.astype(complex)},
        {"two_theta_deg": X, "intensity": Y, "wavelength_A": X},
        {"two_theta_deg": X, "intensity": np.array([{}] * X.size, dtype=object)},
    ],
)
def test_an_npz_of_other_contents_is_refused_and_never_unpickled(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(FrameFailed, match=r"a\.npz"):
        read_pattern(tmp_path / "a.npz")


def test_a_broken_npz_is_refused(tmp_path):
    with pytest.raises(FrameFailed, match="not a readable"):
        read_pattern(save(tmp_path, "a.npz", b"PK\x03\x04 nothing"))


XRDML = """<?xml version="1.0" encoding="UTF-8"?>
<xrdMeasurements xmlns="http://www.xrdml.com/XRDMeasurement/1.5" status="Completed">
 <xrdMeasurement measurementType="Scan">
  <usedWavelength intended="{intended}">
   <kAlpha1 unit="Angstrom">1.5405980</kAlpha1><kAlpha2 unit="Angstrom">1.5444260</kAlpha2>
   <ratioKAlpha2KAlpha1>0.5000</ratioKAlpha2KAlpha1>
  </usedWavelength>
  <scan><dataPoints>
   <positions axis="Omega" unit="deg"><startPosition>0</startPosition><endPosition>1</endPosition></positions>
   <positions axis="2Theta" unit="deg">{positions}</positions>
   {data}
  </dataPoints></scan>
 </xrdMeasurement>
</xrdMeasurements>"""
START_END = "<startPosition>10.0</startPosition><endPosition>11.95</endPosition>"
COUNTS = " ".join(str(int(10 * y)) for y in Y)


def xrdml(tmp_path, data, positions=START_END, intended="K-Alpha 1"):
    content = XRDML.format(data=data, positions=positions, intended=intended)
    return read_pattern(save(tmp_path, "a.xrdml", content))


def test_xrdml_counts_with_start_and_end(tmp_path):
    pattern = xrdml(tmp_path, f'<counts unit="counts">{COUNTS}</counts>')
    np.testing.assert_allclose(pattern.axis, X)
    assert np.array_equal(pattern.intensity, 10 * Y) and np.array_equal(pattern.sigma, np.sqrt(10 * Y))
    assert pattern.wavelength_A == 1.540598 and pattern.axis_kind == "two_theta_deg"


def test_xrdml_listed_positions_cps_and_attenuation(tmp_path):
    listed = f"<listPositions>{' '.join(map(str, X))}</listPositions>"
    cps = f'<commonCountingTime unit="seconds">20</commonCountingTime><intensities unit="cps">{COUNTS}</intensities>'
    pattern = xrdml(tmp_path, cps, listed, "K-Alpha")
    assert np.array_equal(pattern.axis, X) and np.array_equal(pattern.intensity, 200 * Y)
    assert pattern.wavelength_A == pytest.approx((1.540598 + 0.5 * 1.544426) / 1.5)
    factors = " ".join(["2"] * X.size)
    data = f"<beamAttenuationFactors>{factors}</beamAttenuationFactors><counts>{COUNTS}</counts>"
    attenuated = xrdml(tmp_path, data)
    assert np.array_equal(attenuated.intensity, 20 * Y) and np.array_equal(
        attenuated.sigma, 2 * np.sqrt(10 * Y)
    )


@pytest.mark.parametrize(
    ("data", "positions", "message"),
    [
        ("", START_END, "neither counts nor intensities"),
        ("<counts>1 2 x</counts>", START_END, "must hold numbers"),
        ("<counts></counts>", START_END, "is empty"),
        (f'<intensities unit="cps">{COUNTS}</intensities>', START_END, "commonCountingTime"),
        (f"<counts>{COUNTS}</counts>", "<startPosition>1</startPosition>", "no 2Theta positions"),
        (f"<counts>{COUNTS}</counts>", "<listPositions>1 2</listPositions>", "2 two-theta positions for 40"),
    ],
)
def test_an_incomplete_xrdml_is_refused_by_what_it_lacks(tmp_path, data, positions, message):
    with pytest.raises(FrameFailed, match=message):
        xrdml(tmp_path, data, positions)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>',
        '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x SYSTEM "http://example.invalid/x.dtd">',
    ],
)
def test_xml_entities_are_refused_unexpanded(tmp_path, encoding, doctype):
    content = f'<?xml version="1.0" encoding="{encoding}"?>{doctype}<x>&c;</x>'.encode(encoding)
    with pytest.raises(FrameFailed, match="document type or entities"):
        read_pattern(save(tmp_path, "a.xrdml", content))


def test_truncated_xml_and_several_scans_are_refused(tmp_path):
    whole = XRDML.format(data=f"<counts>{COUNTS}</counts>", positions=START_END, intended="K-Alpha 1")
    with pytest.raises(FrameFailed, match="not a complete XML file"):
        read_pattern(save(tmp_path, "a.xrdml", whole[:-30]))
    scan = whole[whole.index("<scan>") : whole.index("</scan>") + 7]
    with pytest.raises(FrameFailed, match="holds 2 scans"):
        read_pattern(save(tmp_path, "b.xrdml", whole.replace(scan, scan + scan)))


IMAGE = np.arange(30 * 20, dtype=np.int32).reshape(30, 20)


def test_an_image_is_read_from_every_format(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE)
    np.save(tmp_path / "a.npy", IMAGE)
    fabio.edfimage.EdfImage(data=IMAGE).write(str(tmp_path / "a.edf"))
    fabio.cbfimage.CbfImage(data=IMAGE).write(str(tmp_path / "a.cbf"))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data"] = IMAGE[np.newaxis]
    for name in ("a.tif", "a.npy", "a.edf", "a.cbf", "a.h5", "a.h5::/entry/data"):
        image = read_image(tmp_path / name)
        assert np.array_equal(image, IMAGE) and image.dtype.kind == "i" and not image.flags.writeable
        assert is_image(tmp_path / name)
    assert not is_image("a.xy") and not is_image("a.npz") and is_image("a.npz::frame")


def test_a_file_of_several_frames_is_refused_with_what_it_holds(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data"] = np.stack([IMAGE] * 7)
    with pytest.raises(FrameFailed, match="7 frames of 30 x 20 pixels"):
        read_image(tmp_path / "a.h5")
    tifffile.imwrite(tmp_path / "a.tif", np.stack([IMAGE] * 3), photometric="minisblack")
    with pytest.raises(FrameFailed, match="3 frames of 30 x 20 pixels"):
        read_image(tmp_path / "a.tif")
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        file.write(IMAGE)
        file.write(IMAGE[:5])
    with pytest.raises(ConfigurationError, match="holds 2 image series"):
        read_image(tmp_path / "b.tif")


def test_what_is_no_image_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(5))
    with pytest.raises(FrameFailed, match=r"shape \(5,\)"):
        read_image(tmp_path / "a.npy")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_image(save(tmp_path, "a.tif", b"no tiff"))
    with pytest.raises(ConfigurationError, match="unknown array format"):
        read_image(save(tmp_path, "a.jpg", b""))
    with pytest.raises(ConfigurationError, match="does not exist"):
        read_image(tmp_path / "gone.tif")
