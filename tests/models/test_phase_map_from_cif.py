"""From CIF files to a system and, in small, to a model: what is said when something is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch (extra train)")
pytest.importorskip("spglib", reason="reading CIF files needs spglib (extra train)")

from streamproc.models.phase_map.command import main

from streamproc.errors import ConfigurationError
from streamproc.inference.model import OnnxModel
from streamproc.settings import InferenceSettings

pytestmark = pytest.mark.train

CIF = """data_{name}
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {a}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
_atom_site_B_iso_or_equiv
{sites}
"""


def cif(folder: Path, name: str, a: float, *sites: str) -> str:
    file = folder / f"{name}.cif"
    file.write_text(CIF.format(name=name, a=a, sites="\n".join(sites)))
    return str(file)


@pytest.fixture
def halite(tmp_path: Path) -> str:
    return cif(tmp_path, "NaCl", 5.6402, "Na1 Na 0 0 0 1 1.6", "Cl1 Cl 0.5 0.5 0.5 1 1.3")


@pytest.fixture
def copper(tmp_path: Path) -> str:
    return cif(tmp_path, "Cu", 3.6149, "Cu1 Cu 0 0 0 1 0.54")


def run(tmp_path: Path, *arguments: str) -> None:
    main(["--out", str(tmp_path / "mine" / "1"), "--quick", *arguments])


def test_two_cifs_become_a_model_for_a_synchrotron_that_reads_its_own_patterns(
    tmp_path: Path, halite: str, copper: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "--cif", halite, copper, "--wavelength", "0.4", "--range", "4", "20", "--points", "1000",
        "--steps", "40", "--geometry", "debye-scherrer")  # fmt: skip
    model = OnnxModel(tmp_path / "mine" / "1" / "model.onnx", InferenceSettings())
    card = model.card
    assert len(card.labels) == 2 and card.name == "mine"
    assert card.axis.wavelength_A == pytest.approx(0.4) and card.axis.n == 1000
    assert "wavelength2_A" not in card.reference
    with np.load(tmp_path / "mine" / "1" / "golden.npz") as golden:
        assert golden["fractions"].shape[1] == 2
    assert "line widths" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--wavelength"),
        (("--wavelength", "0.4", "--ka2"), "K-alpha1"),
        (("--wavelength", "99"), "angstrom"),
        (("--wavelength", "1.5406", "--range", "90", "20"), "--range"),
        (("--wavelength", "1.5406", "--geometry", "sideways"), "--geometry sideways"),
        (("--wavelength", "1.5406", "--span", "quartz=0.01"), "--span names quartz"),
        (("--wavelength", "1.5406", "--span", "*=much"), "--span"),
        (("--wavelength", "1.5406", "--points", "3"), "--points 3"),
        (("--wavelength", "1.5406", "--also-unknown", "nowhere"), "no .cif file"),
        (("--wavelength", "1.5406", "--range", "5", "12"), "no line|no reflection"),
        (("--wavelength", "1.5406", "--validate", "nowhere"), "cannot be read"),
    ],
)
def test_what_cannot_be_trained_is_said_in_a_sentence(
    tmp_path: Path, halite: str, copper: str, options: tuple[str, ...], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        run(tmp_path, "--cif", halite, copper, *options)
    assert not (tmp_path / "mine").exists()


def test_a_phase_given_twice_is_refused(tmp_path: Path, halite: str) -> None:
    again = cif(tmp_path, "salt", 5.6405, "Na1 Na 0 0 0 1 1.6", "Cl1 Cl 0.5 0.5 0.5 1 1.3")
    with pytest.raises(ConfigurationError, match="same structure given twice"):
        run(tmp_path, "--cif", halite, again, "--wavelength", "1.5406")


def test_a_wrong_occupancy_is_refused_at_its_line(tmp_path: Path, copper: str) -> None:
    wrong = cif(tmp_path, "wrong", 5.6, "Na1 Na 0 0 0 1.7 1.6", "Cl1 Cl 0.5 0.5 0.5 1 1.3")
    with pytest.raises(ConfigurationError, match=r"wrong\.cif line 17"):
        run(tmp_path, "--cif", copper, wrong, "--wavelength", "1.5406")


def test_no_phase_of_the_system_plays_the_unknown(halite: str, copper: str) -> None:
    from streamproc.models.phase_map.from_cif import Measurement, system_from_cifs

    measurement = Measurement(1.5406, True, (20.0, 100.0))
    system, _ = system_from_cifs("mine", [Path(halite), Path(copper)], [], measurement)
    names = {m.name for m in (*system.foreign, *system.held_out)}
    assert not {"halite", "copper"} & names
    assert {"nickel", "sylvite"} <= names
