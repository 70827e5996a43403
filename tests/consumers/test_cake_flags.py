"""Images in the defect flags: what the model's pair reads from the rings, and how its absence is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamproc.consumers.defect_flags import DefectFlags, DefectFlagsSettings
from streamproc.models.defects.cake.library import draw_cake
from streamproc.models.defects.cake.pair import cake_file
from streamproc.models.defects.cake.ranges import Scene, targets_of
from streamproc.models.defects.cake.rings import Rings
from streamproc.models.defects.spotty import spottiness

from streamproc.analysis import Estimate, Example, Frame, LoadContext
from streamproc.documents import Position
from streamproc.errors import ConfigurationError
from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.reduction.geometry import load_geometry
from streamproc.runs import Run
from streamproc.settings import InferenceSettings
from streamproc.testing.conformance import check_analysis
from tests.consumers import defect_bench

SIDE = 420
PONI = """poni_version: 2.1
Detector: Detector
Detector_config: {{"pixel1": 4e-4, "pixel2": 4e-4, "max_shape": [{side}, {side}], "orientation": 3}}
Distance: 0.3
Poni1: 0.085
Poni2: 0.082
Rot1: 0.01
Rot2: -0.01
Rot3: 0.0
Wavelength: 0.25e-10
"""
UID = "0c4a6a6e-0b59-4c43-9d2c-0cb3f0a7c111"
SETTINGS = InferenceSettings()
PATTERN = OnnxModel(find_model("defects_copper", SETTINGS), SETTINGS)
CAKE = cake_file(PATTERN.card, PATTERN.path)
RINGS = Rings.of_card(OnnxModel(CAKE, SETTINGS).card.reference)
SMOOTH = Scene(1e6, 0.2, 0.4, 1.0, 0.0599, (1, 1, 1), np.pi / 2, 0.3)
WIRE = Scene(1e6, 0.2, 0.4, 0.5, 0.0599, (1, 1, 1), np.pi / 2, 0.3)
COARSE = Scene(400.0, 0.2, 0.4, 1.0, 0.0599, (1, 1, 1), np.pi / 2, 0.3)


@pytest.fixture
def poni(tmp_path) -> Path:
    path = tmp_path / "detector.poni"
    path.write_text(PONI.format(side=SIDE))
    return path


def image(poni: Path, scene: Scene, seed: int = 1, factor: Any = 1.0) -> np.ndarray:
    """Counts of the rings of copper over a falling background."""
    rng = np.random.default_rng(seed)
    integrator = load_geometry(poni).integrator()
    q = integrator.center_array((SIDE, SIDE), unit="q_A^-1")
    chi = integrator.center_array((SIDE, SIDE), unit="chi_deg")
    cake = draw_cake(rng, RINGS, scene)
    column = (((chi + 180) / 2.5).astype(int)) % cake.shape[1]
    mean = 20.0 + 60 * np.exp(-q / 3)
    for row, place in enumerate(RINGS.q_invA):
        height = 600 * RINGS.strength[row] / RINGS.strength[0] / (place / RINGS.q_invA[0]) ** 2
        mean += height * cake[row][column] * np.exp(-0.5 * ((q / place - 1) / 0.008) ** 2)
    return rng.poisson(np.maximum(mean * factor, 0)).astype(np.uint16)


def frames(images: list[np.ndarray]) -> list[Frame]:
    return [Frame(UID, "primary", k + 1, "detector", a, 1.7e9 + k, {}) for k, a in enumerate(images)]


def run() -> Run:
    keys = {
        "detector": {"dtype": "array", "dtype_numpy": "<u2", "shape": [SIDE, SIDE], "source": "simulation"}
    }
    descriptor = {
        "uid": f"{UID}-d", "run_start": UID, "name": "primary", "time": 1.7e9, "data_keys": keys,
        "configuration": {}, "hints": {}, "object_keys": {k: [k] for k in keys},
    }  # fmt: skip
    start = {"uid": UID, "time": 1.7e9, "scan_id": 4, "plan_name": "count", "plan_type": "generator"}
    return Run(UID, start, Position("example", 0, 0), descriptors={f"{UID}-d": descriptor})


def table(poni: Path, **defects: Any) -> dict[str, Any]:
    return {
        "reduction": {"poni": str(poni), "bins": 600},
        "data_flags": {"saturation": 60000},
        "defects": {"model": "defects_copper", **defects},
    }


def went(poni: Path, images: list[np.ndarray], **defects: Any):
    settings = DefectFlagsSettings.model_validate(table(poni, **defects))
    running = DefectFlags.load(settings, LoadContext(SETTINGS)).begin(run())
    answers = running.process(frames(images))
    said = [*running.update(answers), *running.end()]
    return answers, [r.values for r in said if r.stream == "defect_flags"]


class ImageFlags(DefectFlags):
    """The consumer with a pair, on images."""

    @classmethod
    def example(cls, folder: Path) -> Example:
        poni = folder / "detector.poni"
        poni.write_text(PONI.format(side=SIDE))
        images = [image(poni, scene, k) for k, scene in enumerate((SMOOTH, WIRE, COARSE, SMOOTH))]
        return Example(table(poni, acceptance_deg=0.3, limits={"texture": 0.3}), run(), frames(images))


def test_with_images_it_passes_the_conformance_checks() -> None:
    assert {f.claim: f.fault for f in check_analysis(ImageFlags) if f.fault} == {}


def test_texture_and_grains_are_estimated_with_intervals_that_hold_the_truth(poni) -> None:
    scenes = (SMOOTH, WIRE, COARSE)
    answers, _ = went(poni, [image(poni, s, k) for k, s in enumerate(scenes)], acceptance_deg=0.3)
    found = [
        {n: a.values[f"defect_{n}"] for n in ("texture", "spottiness", "spots", "grains")} for a in answers
    ]
    assert all(a.values["defect_cake_in_domain"] and a.values["defect_cake_absent"] == "" for a in answers)
    assert all(isinstance(e, Estimate) and e.sigma > 0 for row in found for e in row.values())
    smooth, wire, coarse = found
    strength = targets_of(WIRE)[0]
    assert wire["texture"].interval90[0] < strength < wire["texture"].interval90[1]
    assert wire["texture"].value > 0.5 * strength and smooth["texture"].value < 0.15
    assert coarse["spots"].interval90[0] < 400 < coarse["spots"].interval90[1]
    assert coarse["spottiness"].value == pytest.approx(spottiness(400, 0.2), rel=0.5)
    assert smooth["spottiness"].value < 0.1 * coarse["spottiness"].value
    chance = RINGS.multiplicity[0] * 0.5 * np.sqrt(1 - 0.0599**2) * np.deg2rad(0.3)
    for row in found:
        assert row["grains"].value == pytest.approx(row["spots"].value / chance, rel=1e-3)
        assert row["grains"].interval90[1] == pytest.approx(row["spots"].interval90[1] / chance, rel=1e-3)


def test_without_an_acceptance_there_are_no_grains(poni) -> None:
    (answer,), _ = went(poni, [image(poni, SMOOTH)])
    assert "defect_grains" not in answer.values and "defect_spots" in answer.values


def test_a_texture_beyond_its_limit_is_flagged_though_the_pattern_is_of_another_wavelength(poni) -> None:
    answers, said = went(
        poni, [image(poni, SMOOTH, 1), image(poni, WIRE, 2)], limits={"texture": 0.3, "spots": 50}
    )
    assert all("wavelength" in "; ".join(a.reasons) and not a.values["defect_in_domain"] for a in answers)
    assert [v["defect_flag_texture"] for v in said] == [False, True]
    assert [v["defect_flag_spots"] for v in said] == [False, False]
    assert [(v["defect_judged"], v["defect_cake_judged"]) for v in said] == [(False, True)] * 2
    assert "texture beyond 0.3" in said[1]["reasons"]


def test_texture_can_be_watched_over_a_scan(poni) -> None:
    images = [image(poni, SMOOTH, k) for k in range(8)] + [image(poni, WIRE, 20 + k) for k in range(3)]
    _, said = went(poni, images, alarms=("texture",))
    assert not said[7]["defect_alarm_texture"] and said[10]["defect_alarm_texture"]


def test_a_bad_frame_raises_no_flag_of_its_rings(poni) -> None:
    bad = image(poni, WIRE, 2)
    bad[: SIDE // 3] = 62000
    answers, said = went(poni, [image(poni, WIRE, 1), bad], limits={"texture": 0.3})
    assert [v["defect_flag_texture"] for v in said] == [True, False]
    assert "bad-frame" in said[1]["reasons"] and not said[1]["defect_cake_judged"]
    assert np.isnan(answers[1].values["defect_texture"].value)


def test_a_frame_that_is_bright_on_one_side_is_out_of_domain_and_says_why(poni) -> None:
    columns = np.linspace(0.4, 1.6, SIDE)[None, :]
    (answer,), (said,) = went(poni, [image(poni, SMOOTH, 1, columns)], limits={"texture": 0.01})
    assert not answer.values["defect_cake_in_domain"] and not said["defect_flag_texture"]
    assert "brighter on one side" in "; ".join(answer.reasons)
    assert np.isnan(answer.values["defect_texture"].value)


def test_a_frame_without_rings_says_so(poni) -> None:
    flat = np.random.default_rng(1).poisson(40, (SIDE, SIDE)).astype(np.uint16)
    (answer,), _ = went(poni, [flat])
    assert "rings of copper are on the detector" in "; ".join(answer.reasons)
    assert not answer.values["defect_cake_in_domain"]


def test_patterns_alone_still_work_and_say_that_there_is_no_cake() -> None:
    running = defect_bench.loaded().begin(defect_bench.run())
    (answer,) = running.process(defect_bench.frames([defect_bench.expected(defect_bench.SOUND)]))
    assert answer.in_domain and answer.values["defect_in_domain"]
    assert answer.values["defect_cake_absent"] == "frames are patterns: they have no azimuth"
    assert not answer.values["defect_cake_in_domain"]
    assert np.isnan(answer.values["defect_texture"].value)  # absent, not zero


def test_a_geometry_without_wavelength_has_no_cake_and_says_so(poni) -> None:
    poni.write_text("\n".join(row for row in poni.read_text().splitlines() if "Wavelength" not in row) + "\n")
    (answer,), _ = went(poni, [np.full((SIDE, SIDE), 9, np.uint16)])
    assert "has no wavelength" in answer.values["defect_cake_absent"]


def test_the_halves_of_a_pair_belong_together(tmp_path) -> None:
    folder = tmp_path / "1"
    (folder / "cake").mkdir(parents=True)
    for name in ("model.onnx", "golden.npz"):
        (folder / name).write_bytes(PATTERN.path.with_name(name).read_bytes())
    with pytest.raises(ConfigurationError, match="cannot be read"):
        cake_file(PATTERN.card, folder / "model.onnx")
    (folder / "cake" / "model.onnx").write_bytes(b"another")
    with pytest.raises(ConfigurationError, match="belong to one training"):
        cake_file(PATTERN.card, folder / "model.onnx")
