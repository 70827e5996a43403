"""The whole way of the defect network, small: command, card, golden vectors, reading, flags."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch (extra train)")
pytest.importorskip("gemmi", reason="reflection tables need gemmi (extra demo or train)")

import torch
from streamproc.models.defects.cake.pair import cake_file
from streamproc.models.defects.cake.ranges import CAKE_TARGETS
from streamproc.models.defects.material import material_of
from streamproc.models.defects.network.command import main
from streamproc.models.defects.network.estimate import flags, read_defects
from streamproc.models.defects.network.library import DefectSystem, build_library
from streamproc.models.defects.network.mixer import Mixer
from streamproc.models.defects.network.ranges import (
    DefectRanges,
    draw_state,
    stress_offsets,
    target_names,
    targets_of,
)
from streamproc.models.defects.network.scores import auroc
from streamproc.models.networks.conformal import OnnxRunner
from streamproc.models.powder.optics import CU_KA1_A, Instrument
from streamproc.models.powder.structures import structure

from streamproc.errors import ConfigurationError
from streamproc.inference.card import CARD_KEY, ModelCard
from streamproc.inference.model import OnnxModel
from streamproc.inference.onnxfile import inspect_onnx
from streamproc.settings import InferenceSettings

COPPER = material_of(structure("copper"), CU_KA1_A)
IRON = material_of(structure("iron"), CU_KA1_A)


NICKEL_CIF = """data_nickel
_cell_length_a 3.5238
_cell_length_b 3.5238
_cell_length_c 3.5238
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_IT_number 225
_space_group_name_H-M_alt 'F m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
_atom_site_B_iso_or_equiv
Ni1 Ni 0 0 0 1 0.40
"""


class Trained(tuple):
    """Model file, card, golden vectors; and where they lie."""

    def __new__(cls, data, card, golden, folder):
        made = super().__new__(cls, (data, card, golden))
        made.folder = folder
        return made


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "defects" / "1"
    code = main(
        ["--structure", "copper", "--wavelength", str(CU_KA1_A), "--ka2", "--range", "40", "100", "--points", "400",
         "--quick", "--steps", "40", "--library", "80", "--threads", "1", "--out", str(out)]
    )  # fmt: skip
    assert code == 0
    assert {f.name for f in out.iterdir()} == {
        "model.onnx",
        "golden.npz",
        "evidence.npz",
        "report.html",
        "report.pdf",
        "cake",
    }
    data = (out / "model.onnx").read_bytes()
    card = ModelCard.from_json(inspect_onnx(data).metadata[CARD_KEY], file="model.onnx")
    return Trained(data, card, np.load(out / "golden.npz"), out)


def test_the_command_writes_a_model_with_a_complete_card(trained) -> None:
    data, card, _ = trained
    assert card.task == "defect-estimates"
    assert card.labels == target_names(COPPER)
    assert set(card.calibration.q90) == set(card.labels)
    assert card.weights_sha256 == inspect_onnx(data).content_sha256
    assert {"alpha_error_68", "twin_against_fault_auroc", "density_factor_68", "coverage_90"} <= set(
        card.scores
    )
    assert len(data) < 5e6


def test_with_it_comes_its_pair_which_its_card_names_by_hash(trained) -> None:
    _, card, _ = trained
    file = cake_file(card, trained.folder / "model.onnx")
    pair = OnnxModel(file, InferenceSettings())
    assert pair.card.task == "cake-estimates" and pair.card.labels == CAKE_TARGETS
    assert pair.card.name == "defects_copper_cake" and pair.card.reference["material"] == "copper"
    assert {"coverage_90", "texture_auroc", "uneven_detectors_noticed"} <= set(pair.card.scores)
    assert {"distance", "odd_wave"} == set(pair.card.calibration.limits)


def test_nickel_from_a_cif_in_one_command_and_one_half_alone(tmp_path) -> None:
    cif = tmp_path / "ni.cif"
    cif.write_text(NICKEL_CIF)
    tiny = ["--quick", "--steps", "10", "--library", "40", "--threads", "1", "--points", "300"]
    out = tmp_path / "defects_nickel" / "1"
    line = [
        "--cif",
        str(cif),
        "--wavelength",
        str(CU_KA1_A),
        "--range",
        "40",
        "100",
        *tiny,
        "--out",
        str(out),
    ]
    assert main([*line, "--only", "pattern"]) == 0
    model = OnnxModel(out / "model.onnx", InferenceSettings())
    assert model.card.name == "defects_ni_225" and model.card.reference["lattice"] == "fcc"
    assert str(tmp_path) not in str(model.card.training["command"])
    assert cake_file(model.card, model.path) is None
    assert main([*line, "--only", "cake"]) == 0
    card = OnnxModel(out / "model.onnx", InferenceSettings()).card
    assert cake_file(card, out / "model.onnx") == out / "cake" / "model.onnx"
    assert card.weights_sha256 == model.card.weights_sha256


def test_fluorite_is_for_the_fit_and_for_rings_alone(tmp_path) -> None:
    line = ["--structure", "fluorite", "--wavelength", "1.5406", "--out", str(tmp_path / "1")]
    with pytest.raises(ConfigurationError, match="are for the fit"):
        main(line)
    assert main([*line, "--only", "cake", "--quick", "--steps", "5", "--library", "80"]) == 0
    assert {f.name for f in (tmp_path / "1").iterdir()} == {"cake"}


def test_golden_vectors_come_out_again(trained) -> None:
    data, _, golden = trained
    for name, values in OnnxRunner(data)(golden["x"]).items():
        np.testing.assert_allclose(values, golden[name], rtol=1e-5, atol=1e-6)


def test_a_reading_has_ordered_intervals_and_flags_need_them_above_the_limit(trained) -> None:
    data, card, golden = trained
    outputs = {k: v[0] for k, v in OnnxRunner(data)(golden["x"][:1]).items()}
    reading = read_defects(outputs, card)
    assert set(reading.estimates) >= {"density_per_m2", "size_nm", "deformation", "growth", "amorphous"}
    for estimate in reading.estimates.values():
        assert estimate.low <= estimate.low68 <= estimate.value <= estimate.high
    density = reading.estimates["density_per_m2"]
    assert reading.in_domain
    assert flags(reading, {"density_per_m2": 0.99 * density.low}) == {"density_per_m2": True}
    assert flags(reading, {"density_per_m2": 1.01 * density.low}) == {"density_per_m2": False}
    assert flags(reading, {"density_per_m2": 0.99 * density.low68}, confidence=0.84)["density_per_m2"]


def test_a_pattern_unlike_the_training_raises_no_flag_and_says_why(trained) -> None:
    data, card, _ = trained
    strange = np.abs(np.sin(np.arange(card.axis.n) / 3.0)).astype(np.float32)[None]
    outputs = {k: v[0] for k, v in OnnxRunner(data)(strange).items()}
    reading = read_defects(outputs | {"distance": np.float32(99)}, card)
    assert not reading.in_domain
    assert "unlike the training patterns" in reading.reasons[0]
    assert not any(flags(reading, {"density_per_m2": 1e6, "growth": -1.0}).values())


def test_names_and_confidences_that_do_not_exist_are_refused(trained) -> None:
    data, card, golden = trained
    reading = read_defects({k: v[0] for k, v in OnnxRunner(data)(golden["x"][:1]).items()}, card)
    with pytest.raises(ConfigurationError, match="no defect estimate is called twins"):
        flags(reading, {"twins": 0.1})
    with pytest.raises(ConfigurationError, match="confidence must be one of"):
        flags(reading, {"growth": 0.1}, confidence=0.5)


def test_a_library_is_the_same_for_the_same_seed_row_by_row() -> None:
    system = DefectSystem(COPPER, Instrument(asymmetry_deg=0.0), 40.0, 80.0, 200)
    few, more = build_library(system, 3, 7), build_library(system, 5, 7)
    np.testing.assert_array_equal(few.patterns, more.patterns[:3])
    assert few.sha256() != build_library(system, 3, 8).sha256()
    ranges = DefectRanges(density_per_m2=(1e12, 1e13))
    assert system.key() != DefectSystem(COPPER, system.instrument, 40.0, 80.0, 200, ranges).key()


def test_mixed_patterns_scatter_as_counts_do() -> None:
    """One pattern drawn with few and with many counts: the noise about the mean falls as their root."""
    noise = {}
    for counts in (1e4, 1e6):
        ranges = DefectRanges(counts=(counts, 1.001 * counts), background=(1e-6, 2e-6), absent_share=1.0)
        system = DefectSystem(COPPER, Instrument(asymmetry_deg=0.0), 40.0, 80.0, 300, ranges)
        x, truth = Mixer(build_library(system, 1, 1), system, 3).batch(torch.zeros(2000, dtype=torch.long))
        assert float(truth[:, -1].max()) == 0
        y = x.numpy().astype(float) ** 2 * counts
        flank = np.argmin(np.abs(y.mean(0) - 0.3 * counts))
        noise[counts] = y[:, flank].var() / y[:, flank].mean()
    # the highest point is noisy as well and all are divided by it: 1 + 0.3 of the variance
    assert noise[1e4] == pytest.approx(1.3, rel=0.25)
    assert noise[1e6] == pytest.approx(1.3, rel=0.25)


def test_states_are_drawn_within_their_ranges_and_iron_has_no_faults() -> None:
    rng, ranges = np.random.default_rng(1), DefectRanges()
    states = [draw_state(rng, IRON, ranges) for _ in range(200)]
    assert all(ranges.density_per_m2[0] <= s.density_per_m2 <= ranges.density_per_m2[1] for s in states)
    assert all(s.faults.growth == s.faults.deformation == 0 for s in states)
    assert "growth" not in target_names(IRON)
    assert targets_of(IRON, states[0])[0] == pytest.approx(np.log(states[0].density_per_m2))


def test_auroc_is_the_chance_of_the_right_order() -> None:
    truth = np.array([True, True, False, False])
    assert auroc(np.array([2.0, 3.0, 0.0, 1.0]), truth) == 1.0
    assert auroc(np.array([0.0, 3.0, 2.0, 1.0]), truth) == 0.5


def test_wrong_commands_are_refused_in_words(tmp_path) -> None:
    out = ["--out", str(tmp_path / "m" / "1")]
    copper = ["--structure", "copper", "--wavelength", "1.5406"]
    for extra, words in (
        (["--structure", "copper"], "--wavelength"),
        ([*copper, "--range", "90", "40"], "two rising angles"),
        ([*copper, "--set", "rho=1,2"], "no range is called 'rho'"),
        ([*copper, "--set", "density_per_m2=1e13"], "needs 2 numbers"),
        (["--structure", "unobtainium", "--wavelength", "1.5406"], "no structure named"),
        (["--structure", "corundum", "--wavelength", "1.5406"], "fcc and bcc metals"),
        ([*copper, "--steps", "0"], "at least 1"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            main([*extra, *out])


def test_residual_stress_moves_h00_against_hhh_and_leaves_the_others_between() -> None:
    off = dict(zip(map(tuple, COPPER.hkl.tolist()), stress_offsets(COPPER, 2e-3), strict=True))
    assert off[2, 0, 0] == off[4, 0, 0] == pytest.approx(1e-3)  # d of h00 is smaller: s larger
    assert off[1, 1, 1] == off[2, 2, 2] == pytest.approx(-1e-3)
    assert off[1, 1, 1] < off[2, 2, 0] < off[3, 1, 1] < off[2, 0, 0]


def test_a_library_of_stressed_films_has_the_same_defects_with_lines_elsewhere() -> None:
    plain, stressed = (
        build_library(DefectSystem(COPPER, Instrument(), 40, 100, 600, DefectRanges(stress_strain=s)), 3, 5)
        for s in (0.0, 0.01)
    )
    np.testing.assert_array_equal(plain.targets, stressed.targets)
    assert np.abs(plain.patterns.astype(float) - stressed.patterns).max(axis=1).min() > 0.02


def test_small_foreign_peaks_are_mixed_in_where_the_ranges_say_so() -> None:
    quiet = {"counts": (1e9, 1e9), "background": (1e-6, 1e-6), "amorphous": (0.0, 0.0)}
    tops = []
    for foreign in (0.0, 0.02):
        system = DefectSystem(COPPER, Instrument(), 54, 70, 400, DefectRanges(foreign=foreign, **quiet))
        library = build_library(system, 2, 5)  # between 200 and 220 there is no line
        x, _ = Mixer(library, system, 1).batch(torch.zeros(200, dtype=torch.int64))
        middle = (x.numpy() ** 2)[:, 100:300]
        tops.append((middle.max(1) - middle.min(1)).std())
    assert tops[1] > 5 * max(tops[0], 1e-9)
