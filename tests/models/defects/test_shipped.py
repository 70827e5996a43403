"""The shipped defect models: small, with complete cards, and giving their golden answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import streamproc.models
from streamproc.models.defects.cake.pair import cake_file
from streamproc.models.defects.cake.rings import Rings
from streamproc.models.defects.network.estimate import flags, read_defects

from streamproc.inference.card import CARD_KEY, ModelCard
from streamproc.inference.model import OnnxModel
from streamproc.inference.onnxfile import inspect_onnx
from streamproc.settings import InferenceSettings

FOLDERS = sorted(Path(streamproc.models.__path__[0]).glob("defects_*/*/"))
PAIRED = [folder for folder in FOLDERS if (folder / "cake").is_dir()]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_the_model_gives_its_golden_answers_and_reads_them(folder) -> None:
    from streamproc.models.networks.conformal import OnnxRunner

    data = (folder / "model.onnx").read_bytes()
    assert len(data) < 5e6
    card = ModelCard.from_json(inspect_onnx(data).metadata[CARD_KEY], file=str(folder))
    assert card.weights_sha256 == inspect_onnx(data).content_sha256
    golden = np.load(folder / "golden.npz")
    outputs = OnnxRunner(data)(golden["x"])
    for name, values in outputs.items():
        np.testing.assert_allclose(values, golden[name], rtol=2e-4, atol=2e-5)
    readings = [
        read_defects({k: v[i] for k, v in outputs.items()}, card) for i in range(len(golden["x"]) - 1)
    ]
    assert sum(reading.in_domain for reading in readings) > 0.8 * len(readings)
    assert all(reading.estimates["density_per_m2"].value > 0 for reading in readings)
    empty = read_defects({k: v[-1] for k, v in outputs.items()}, card)
    assert not empty.in_domain
    assert not any(flags(empty, {"density_per_m2": 1e10}).values())


def test_there_is_a_shipped_model() -> None:
    assert FOLDERS


def test_which_models_have_a_pair_for_images_is_as_the_documentation_says() -> None:
    assert [folder.parent.name for folder in PAIRED] == ["defects_copper", "defects_iron"]


@pytest.mark.parametrize("folder", PAIRED, ids=lambda folder: folder.parent.name)
def test_a_pair_for_images_is_small_and_gives_its_golden_answers(folder) -> None:
    pattern = OnnxModel(folder / "model.onnx", InferenceSettings())
    file = cake_file(pattern.card, pattern.path)
    assert file is not None
    assert file.stat().st_size + pattern.path.stat().st_size < 5e6
    pair = OnnxModel(file, InferenceSettings())  # compares the golden vectors
    assert Rings.of_card(pair.card.reference).material == pattern.card.reference["material"]
    golden = np.load(file.with_name("golden.npz"))
    readings = [
        read_defects({k: golden[k][i] for k in pair.run(golden["x"][:1])}, pair.card)
        for i in range(len(golden["x"]) - 1)
    ]
    assert all(set(r.estimates) == {"texture", "spottiness", "spots"} for r in readings)
    assert sum(r.in_domain for r in readings) > 0.8 * len(readings)
