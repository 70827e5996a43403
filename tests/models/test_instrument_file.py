"""Instrument files: the three kinds are read to the same words, and faults are named."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gemmi", reason="the simulator's tables need gemmi (extra demo or train)")

from streamproc.models.powder.instrument import read_instrument
from streamproc.models.powder.priors import draw_instrument

from streamproc.errors import ConfigurationError

TOML = """\
[radiation]
wavelength_A = 1.5406
wavelength2_A = 1.5444
ka2_ratio = 0.5
polarisation = 0.8

[geometry]
kind = "bragg-brentano"
radius_mm = 240
missing_deg = [[32.0, 32.5]]

[profile]
u_deg2 = 0.004
v_deg2 = -0.003
w_deg2 = 0.0036
lorentz_x_deg = 0.02
lorentz_y_deg = 0.01
asymmetry_deg = 0.01

[shifts]
zero_deg = 0.01
displacement_mm = -0.05

[prior]
size_nm = [20, 500]
cell_span = {"*" = 0.003, TiO2_136 = [0.01, 0.01, 0.005]}
particle_um = [0.5, 10]
"""

# the values of GSAS-II's built-in laboratory diffractometer
INSTPRM = """\
#GSAS-II instrument parameter file for lab CuKa data
Type:PXC
Lam1:1.5405;Lam2:1.5443;Zero:0.0;Polariz.:0.7;Azimuth:0.0;I(L2)/I(L1):0.5
U:2.0;V:-2.0;W:5.0;X:0.0;Y:1.5;SH/L:0.02
"""

PONI = """\
poni_version: 2.1
Detector: Detector
Detector_config: {"pixel1": 1e-4, "pixel2": 1e-4, "max_shape": [1000, 1000], "orientation": 3}
Distance: 0.2
Poni1: 0.05
Poni2: 0.05
Rot1: 0.0
Rot2: 0.0
Rot3: 0.0
Wavelength: 4.1e-11
"""


def write(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_our_own_file_gives_the_instrument_and_the_ranges_about_it(tmp_path: Path) -> None:
    found = read_instrument(write(tmp_path, "lab.toml", TOML))
    instrument, ranges = found.instrument, found.ranges
    assert (instrument.wavelength_A, instrument.wavelength2_A, instrument.ka2_ratio) == (1.5406, 1.5444, 0.5)
    assert (instrument.radius_mm, instrument.missing_deg) == (240.0, ((32.0, 32.5),))
    assert (instrument.zero_deg, instrument.displacement_mm) == (0.01, -0.05)
    assert not found.area
    assert ranges.size_nm == (20.0, 500.0) and ranges.particle_um == (0.5, 10.0)
    assert np.array_equal(ranges.span_of("TiO2_136"), [0.01, 0.01, 0.005])
    assert np.array_equal(ranges.span_of("other"), [0.003] * 3)
    rng = np.random.default_rng(1)
    drawn = [draw_instrument(rng, False, ranges=ranges) for _ in range(100)]
    assert {d.missing_deg for d in drawn} == {((32.0, 32.5),)}
    assert pytest.approx(np.median([math.sqrt(d.w_deg2) for d in drawn]), rel=0.1) == 0.06
    assert all(d.ka2_ratio > 0.4 for d in drawn)


def test_the_least_file_is_a_wavelength(tmp_path: Path) -> None:
    found = read_instrument(write(tmp_path, "mono.toml", "[radiation]\nwavelength_A = 0.7\n"))
    assert found.instrument.ka2_ratio == 0.0
    assert draw_instrument(np.random.default_rng(1), False, ranges=found.ranges).ka2_ratio == 0.0


def test_gsas_widths_are_variances_and_come_out_as_full_widths(tmp_path: Path) -> None:
    found = read_instrument(write(tmp_path, "lab.instprm", INSTPRM))
    i = found.instrument
    # W = 5 centidegrees^2: sigma 0.0224 degrees, full width 2.3548 times as much
    assert math.sqrt(i.w_deg2) == pytest.approx(2.354820 * math.sqrt(5.0) / 100, rel=1e-6)
    assert (i.u_deg2, i.v_deg2) == pytest.approx((i.w_deg2 * 2 / 5, -i.w_deg2 * 2 / 5))
    assert i.lorentz_y_deg == pytest.approx(0.015)
    assert (i.wavelength_A, i.wavelength2_A, i.ka2_ratio) == (1.5405, 1.5443, 0.5)
    # share 0.7 across the plane: (0.7 + 0.3 cos^2) / 1 is 1 + k cos^2 with k = 3/7
    assert i.polarisation == pytest.approx(3 / 7)
    assert i.geometry == "bragg-brentano"
    assert any("SH/L" in note for note in found.notes)


def test_a_single_wavelength_in_gsas_is_taken_for_a_capillary(tmp_path: Path) -> None:
    text = INSTPRM.replace("Lam1:1.5405;Lam2:1.5443", "Lam:0.4133").replace(
        "I(L2)/I(L1):0.5", "Gonio. radius:1000"
    )
    found = read_instrument(write(tmp_path, "bm.INSTPRM", text))
    assert found.instrument.geometry == "debye-scherrer" and found.instrument.radius_mm == 1000.0
    assert found.instrument.ka2_ratio == 0.0 and found.instrument.wavelength_A == 0.4133


def test_a_poni_file_gives_wavelength_distance_and_a_width_of_pixel_and_sample(tmp_path: Path) -> None:
    pytest.importorskip("pyFAI")
    found = read_instrument(write(tmp_path, "det.poni", PONI))
    assert found.area and found.instrument.geometry == "debye-scherrer"
    assert found.instrument.wavelength_A == pytest.approx(0.41)
    assert found.instrument.radius_mm == pytest.approx(200.0)
    low, high = found.ranges.area_fwhm_deg
    assert low == pytest.approx(math.degrees(math.hypot(0.1, 0.1) / 200))
    assert high == pytest.approx(math.degrees(math.hypot(0.1, 1.0) / 200))
    assert any("estimated" in note for note in found.notes)


REFUSED = {
    "unknown end": ("x.irf", "", "ends in .toml, .instprm, .poni"),
    "no TOML": ("a.toml", "[radiation\n", "not a TOML file: .*line 1"),
    "no wavelength": ("b.toml", "[geometry]\nradius_mm = 200\n", "radiation.wavelength_A .* is missing"),
    "section": ("c.toml", "[optics]\nx = 1\n", r"\[optics\] is not known; there are \[radiation\]"),
    "key": ("d.toml", "[radiation]\nwavelength = 1.5\n", "radiation.wavelength is not known; there are wavelength_A"),
    "value": ("e.toml", "[radiation]\nwavelength_A = '1.5'\n", "a number of 0.1 to 3 is expected, got '1.5'"),
    "metres": ("f.toml", "[radiation]\nwavelength_A = 1.54e-10\n", "0.1 to 3 is expected"),
    "nan": ("g.toml", "[radiation]\nwavelength_A = nan\n", "expected, got nan"),
    "kind": ("h.toml", TOML.replace("bragg-brentano", "guinier"), "'bragg-brentano' or 'debye-scherrer' is expected"),
    "stretch": ("i.toml", TOML.replace("[[32.0, 32.5]]", "[[33, 32]]"), "pairs .from, to. in degrees"),
    "prior key": ("j.toml", TOML.replace("size_nm", "sizes"), "prior.sizes is not known; there are"),
    "prior pair": ("k.toml", TOML.replace("[20, 500]", "20"), "prior.size_nm: a pair"),
    "prior order": ("l.toml", TOML.replace("[20, 500]", "[500, 20]"), r"\[prior\] size_nm: a range"),
    "prior span": ("m.toml", TOML.replace('"*" = 0.003', '"*" = "x"'), "prior.cell_span: a number, three"),
    "prior no table": ("n.toml", "prior = 3\n[radiation]\nwavelength_A = 1.5\n", r"\[prior\] must be a table"),
    "ratio without line": ("o.toml", "[radiation]\nwavelength_A = 1.5\nka2_ratio = 0.5\n", "needs radiation.wavelength2_A"),
    "no GSAS-II": ("p.instprm", "Type:PXC\n", "line 1: '#GSAS-II"),
    "neutrons": ("q.instprm", INSTPRM.replace("PXC", "PNC"), "Type PNC: constant-wavelength X-ray"),
    "no U": ("r.instprm", INSTPRM.replace("U:2.0;", ""), "U is missing"),
    "U a word": ("s.instprm", INSTPRM.replace("U:2.0", "U:two"), "line 4: U: a number is expected, got 'two'"),
    "no Lam": ("t.instprm", INSTPRM.replace("Lam1", "Lambda1"), "Lam is missing"),
    "share": ("u.instprm", INSTPRM.replace("Polariz.:0.7", "Polariz.:0"), "above 0 and at most 1"),
    "poni without wavelength": ("v.poni", PONI.replace("Wavelength: 4.1e-11\n", ""), "names no wavelength"),
    "poni in angstrom": ("w.poni", PONI.replace("4.1e-11", "0.41"), "a number of 0.1 to 3 is expected"),
    "poni incomplete": ("x.poni", PONI.replace("Rot1: 0.0\n", ""), "lacks Rot1"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_faults_are_named(name: str, tmp_path: Path) -> None:
    file, text, said = REFUSED[name]
    with pytest.raises(ConfigurationError, match=said):
        read_instrument(write(tmp_path, file, text))


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        read_instrument(tmp_path / "none.toml")
